"""Whose face it is, as numbers: an embedding a face, near for one person and far for two. Opt-in."""

from curation.measure.identity.networks import IdentityError, IdentityNetwork, choose_network, weights_digest
from curation.measure.identity.probe import Embeddings, forget, load_embeddings, measure_identity

__all__ = [
    "Embeddings",
    "IdentityError",
    "IdentityNetwork",
    "choose_network",
    "forget",
    "load_embeddings",
    "measure_identity",
    "weights_digest",
]
