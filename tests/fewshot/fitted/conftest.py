"""Pictures enough for heads that use unlabelled ones, and a cache for the tests here."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes, 22 training and 4 test pictures each, 48 px."""
    from cvgssl.images.surfaces import synthesize

    folder = tmp_path_factory.mktemp("plates") / "data"
    synthesize(folder, per_class=26, seed=3, size=48, test_fraction=4 / 26)
    return folder


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CVGSSL_CACHE", str(_cache))
    return _cache
