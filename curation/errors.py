"""The base of all errors that a user can do something about."""


class CurationError(Exception):
    """Its text is one sentence: what went wrong, where, and what to do next. The command prints it and exits 1."""
