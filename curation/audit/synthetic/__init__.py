"""A small data set of drawn faces with known planted defects, so that the tool can be tried at once.

Everything is drawn by this package; it contains no picture of a real person.
"""

from curation.audit.synthetic.make import SampleError, make_sample

__all__ = ["SampleError", "make_sample"]
