"""From a source to a cleaned version: the steps, the judgement of labels, decisions, and queries of the result."""
