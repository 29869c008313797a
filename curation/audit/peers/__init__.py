"""Second opinions: what peers call near duplicates, judged by our verification and laid beside our own pairs."""

from curation.audit.peers.compare import PEERS, Opinions, compare, second_opinions
from curation.audit.peers.peer import Opinion, Peer, PeerError, interpreter

__all__ = ["PEERS", "Opinion", "Opinions", "Peer", "PeerError", "compare", "interpreter", "second_opinions"]
