"""The compiled loops of the search for copies, in Python that numba compiles, and the form in which they are shipped.

All other modules but ``build`` and ``load`` are the source; ``kernels.ll.gz`` is what numba's front end
made of it, LLVM's language as text, by ``python -m curation.checks.duplicates.kernels.build``; ``load`` makes machine
code of that.
"""
