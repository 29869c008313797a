"""A small data set of drawn faces with planted defects and their truth, so that the tool can be tried at once.

Everything is drawn by this package; no picture of a person is in it.
"""

from curation.audit.synthetic.make import SampleError, make_sample

__all__ = ["SampleError", "make_sample"]
