"""Wrong and ambiguous labels: pure functions of arrays, with references; one calibrated judgement of all opinions."""
