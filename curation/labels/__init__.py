"""Wrong and ambiguous labels: pure functions of arrays, each with its paper; one calibrated judgement of all."""
