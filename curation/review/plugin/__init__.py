"""The plugin that FiftyOne's server loads: it only hands over the operators of ``curation.review``."""

from curation.review.operators import register

__all__ = ["register"]
