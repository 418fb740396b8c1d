"""The cache of embeddings: what is damaged, half-written or cannot be written."""

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvgssl.features import feature_store
from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import embed_all
from cvgssl.features.feature_store import FeatureStore, scratch
from cvgssl.runtime.errors import UserError

DIGESTS = [f"{number:064x}" for number in range(6)]
VALUES = np.arange(18, dtype=np.float32).reshape(6, 3)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A folder with two blocks of three pictures."""
    store = FeatureStore(tmp_path / "record", 3)
    store.add(DIGESTS[:3], VALUES[:3], [None, 4000, 12])
    store.add(DIGESTS[3:], VALUES[3:])
    return tmp_path / "record"


def test_rows_in_any_order(filled: Path) -> None:
    store = FeatureStore(filled, 3)
    order = [4, 0, 5, 0, 2]
    assert np.array_equal(store.gather([DIGESTS[row] for row in order]), VALUES[order])
    assert "f" * 64 not in store
    assert store.brightest(DIGESTS) == 4000
    assert store.brightest(DIGESTS[2:]) == 12
    assert store.brightest(DIGESTS[3:]) is None


def test_a_block_is_that_of_exactly_these_pictures(filled: Path) -> None:
    store = FeatureStore(filled, 3)
    block = store.block(DIGESTS[3:])
    assert block is not None and np.array_equal(block, VALUES[3:])
    assert store.block(DIGESTS[3:5]) is None
    assert store.block(DIGESTS[:0:-1]) is None


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "narrower", "other"])
def test_a_damaged_block_is_told_removed_and_not_used(
    filled: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = sorted(filled.iterdir())[0]
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    if damage == "narrower":
        FeatureStore(filled.parent / "narrow", 2).add(DIGESTS[:3], VALUES[:3, :2])
        content = bytearray(next((filled.parent / "narrow").iterdir()).read_bytes())
    written = {"cut": content[:100], "empty": b"", "other": b"PK\3\4" + bytes(500)}
    path.write_bytes(written.get(damage, content))
    store = FeatureStore(filled, 3)
    assert sum(digest in store for digest in DIGESTS) == 3
    (line,) = caplog.messages
    assert str(path) in line and "damaged; its embeddings are computed again" in line
    assert not path.exists()


def test_temporary_files_are_no_blocks_and_go_when_old(filled: Path) -> None:
    block = sorted(filled.iterdir())[0]
    young, old = filled / ".a.npy.x.npy", filled / ".gathered-x"
    for path in (young, old):
        path.write_bytes(block.read_bytes()[:50])
    os.utime(old, (0, 0))
    assert sum(digest in FeatureStore(filled, 3) for digest in DIGESTS) == 6
    assert young.exists() and not old.exists()


def test_a_block_that_goes_meanwhile_is_one_line(filled: Path) -> None:
    store = FeatureStore(filled, 3)
    for path in filled.iterdir():
        path.unlink()
    with pytest.raises(UserError, match="removed or damaged meanwhile; run the command again"):
        store.gather(DIGESTS)


def test_without_a_place_to_write_it_keeps_all_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store = FeatureStore(tmp_path / "file" / "record", 3)
    store.add(DIGESTS[:3], VALUES[:3])
    store.add(DIGESTS[3:], VALUES[3:])
    assert np.array_equal(store.gather(DIGESTS[::-1]), VALUES[::-1])
    (line,) = caplog.messages
    assert "CVGSSL_CACHE" in line and str(tmp_path / "file") in line
    assert scratch(tmp_path / "file", 4, 2).shape == (4, 2)


def options(steel: Path, teacher_file: Path, **more: Any) -> EmbedConfig:
    encoder = (f"test_vit={teacher_file}",)
    return EmbedConfig(
        data=steel, encoder=encoder, image_size=32, batch_size=8, runtime="torch", **more
    )


def test_embeddings_without_a_cache(
    steel: Path,
    teacher_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = embed_all(options(steel, teacher_file)).table
    (tmp_path / "file").touch()
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "file"))
    counts = embed_all(options(steel, teacher_file))
    table = counts.table
    assert counts.computed == 60
    assert np.array_equal(table.values, expected.values)
    assert sum("CVGSSL_CACHE" in line for line in caplog.messages) == 1


def test_damaged_blocks_are_computed_again(
    steel: Path, teacher_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "BLOCK", 8)
    config = options(steel, teacher_file)
    before = embed_all(config).table
    blocks = sorted(cache.rglob("*/*.npy"))
    assert len(blocks) == 8
    blocks[0].write_bytes(blocks[0].read_bytes()[:100])
    damaged = bytearray(blocks[2].read_bytes())
    damaged[-300] ^= 0xFF
    blocks[2].write_bytes(damaged)
    blocks[1].unlink()
    (record,) = cache.rglob("request-*.json")
    record.write_text(record.read_text().replace('"flips": "none"', '"flips": "both"'))
    again = embed_all(config)
    after = again.table
    assert 16 < again.computed <= 24
    np.testing.assert_allclose(after.values, before.values, atol=1e-5)
    assert embed_all(config).computed == 0
    assert after.about == before.about, "a changed record is not used"


def test_two_processes_on_one_cache(
    steel: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    monkeypatch.setattr(feature_store, "BLOCK", 8)
    script = (
        "import sys; from pathlib import Path; from cvgssl.features import feature_store\n"
        "feature_store.BLOCK = 8\n"
        "from cvgssl.features.config import EmbedConfig; from cvgssl.features.embed import embed\n"
        "embed(EmbedConfig(data=Path(sys.argv[1]), encoder=(sys.argv[2],), image_size=32, "
        "batch_size=8))"
    )
    words = [python, "-c", script, str(steel), f"test_vit={teacher_file}"]
    other = subprocess.Popen(words)
    table = embed_all(options(steel, teacher_file)).table
    assert other.wait() == 0
    counts = embed_all(options(steel, teacher_file))
    again = counts.table
    assert counts.computed == 0
    np.testing.assert_allclose(again.values, table.values, atol=1e-5)
