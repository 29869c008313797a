"""From a source to a cleaned version: the steps, the judgement of labels, and what is asked of the result."""
