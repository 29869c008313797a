"""Data sets by name on Kaggle: ``kaggle:OWNER/NAME``, downloaded once by kagglehub into its own cache."""

from __future__ import annotations

from curation.base.errors import optional
from curation.formats.listing import IngestError


def fetch(name: str) -> str:
    """Return the local folder of a data set on Kaggle.

    Raises:
        IngestError: Kaggle cannot be reached, or refuses.
        MissingPackageError: kagglehub is absent.

    """
    kagglehub = optional("kagglehub", "exchange", f"kaggle:{name}")
    try:
        return str(kagglehub.dataset_download(name))
    except Exception as error:
        # errors come from requests, from Kaggle and from kagglehub itself
        raise IngestError(
            f"kaggle:{name} cannot be downloaded ({type(error).__name__}); check this machine's network and "
            "that you accepted the data set's terms on Kaggle, or download it yourself and give the folder"
        ) from error
