"""Formats of data sets, in and out: one file per format; ``source.read_source`` reads any, ``export`` writes any."""
