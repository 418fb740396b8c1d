"""Features files of made-up embeddings."""

from pathlib import Path

import pytest
from clouds import clouds

from cvgssl.features.table import save_features


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """A features file of 36 train and 19 test pictures."""
    path = tmp_path / "steel.npz"
    save_features(clouds(), path)
    return path
