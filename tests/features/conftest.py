"""A cache folder of its own for every test of embeddings."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
