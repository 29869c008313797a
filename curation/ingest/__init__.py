"""Sources -> a listing: which images there are, where their bytes are, which split and label they came with."""

from curation.ingest.listing import IngestError, Listing
from curation.ingest.source import read_source

__all__ = ["IngestError", "Listing", "read_source"]
