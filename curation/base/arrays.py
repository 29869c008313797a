"""Types of arrays, one name per dtype in all packages; defined in training, which may not import curation."""

from training.arrays import Flags, Floats, Floats32, Ints, Pixels

__all__ = ["Flags", "Floats", "Floats32", "Ints", "Pixels"]
