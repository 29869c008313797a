"""Second opinions: near duplicates and other findings of peers, compared with our own."""

from curation.audit.peers.compare import PEERS, Opinions, compare, second_opinions
from curation.audit.peers.peer import Opinion, Peer, PeerError, interpreter

__all__ = ["PEERS", "Opinion", "Opinions", "Peer", "PeerError", "compare", "interpreter", "second_opinions"]
