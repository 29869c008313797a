"""Formats of data sets, in and out: one file a format; ``source.read_source`` reads any, ``export`` writes any."""
