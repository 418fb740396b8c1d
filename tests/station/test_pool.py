"""The pictures that are labelled, as requests may name them."""

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cvgssl.images.listing import list_pictures
from cvgssl.images.reader import UnreadablePicture
from cvgssl.station import pool as module
from cvgssl.station.events import LOG
from cvgssl.station.pool import Pool


@pytest.fixture
def pool(tmp_path: Path, steel: Path) -> Iterator[Pool]:
    (tmp_path / "plant").symlink_to(steel)
    (tmp_path / "station").mkdir()
    (tmp_path / "secret.bmp").write_bytes(next((steel / "test").glob("*/*")).read_bytes())
    found = Pool(tmp_path / "station", [tmp_path / "plant"], tmp_path / "station" / LOG, 1)
    yield found
    found.close()


def test_only_the_folders_of_the_station_can_be_chosen(pool: Pool, steel: Path) -> None:
    names = {choice.name: choice.pictures for choice in pool.choices()}
    assert names[steel.name] == sum(count for name, count in names.items() if name.count("/") == 1)
    assert pool.chosen() is None
    for name in ("..", "/etc", f"{steel.name}/..", ""):
        with pytest.raises(LookupError):
            pool.choose(name, "Li")
    assert pool.choose(f"{steel.name}/train", "Li") == steel.resolve() / "train"
    assert pool.chosen() == steel.resolve() / "train"


def test_pictures_of_a_folder_are_counted_once(
    tmp_path: Path, steel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[Path] = []

    def walk(folder: Path) -> list[Path]:
        walked.append(folder)
        return list_pictures(folder)

    monkeypatch.setattr(module, "list_pictures", walk)
    roots = [steel, steel / "train"]  # the one inside the other
    pool = Pool(tmp_path / "station", roots, tmp_path / LOG, 1)
    found = {choice.folder: choice.pictures for choice in pool.choices()}
    assert len(found) > 4 and found[steel] > found[steel / "train"]
    assert found == {folder: len(list_pictures(folder)) for folder in found}
    assert walked == roots
    pool.close()


def test_pictures_outside_of_the_folder_are_not_found(pool: Pool, steel: Path) -> None:
    pool.choose(f"{steel.name}/train", "Li")
    inside = next((steel / "train").glob("*/*")).relative_to(steel / "train").as_posix()
    assert pool.path(inside).is_file()
    link = steel / "train" / "link.bmp"
    link.symlink_to(next((steel / "test").glob("*/*")))
    try:
        for name in ("../test", "link.bmp", "../../secret.bmp", "/etc/passwd", "", "a\0b"):
            with pytest.raises(LookupError):
                pool.path(name)
    finally:
        link.unlink()


def test_pictures_are_shown_encoded_again(pool: Pool, tmp_path: Path) -> None:
    dark = tmp_path / "dark.tif"
    tifffile.imwrite(dark, np.arange(64 * 48, dtype=np.uint16).reshape(48, 64))
    shown = Image.open(io.BytesIO(pool.shown(dark, 32)))
    assert shown.format == "JPEG" and shown.size == (32, 24)
    assert np.asarray(shown).max() > 240, "12 of 16 bits are made visible"
    large = tmp_path / "large.png"
    Image.new("L", (1200, 1000)).save(large)
    with pytest.raises(UnreadablePicture, match="megapixel"):
        pool.shown(large, 32)


def test_uploads_are_called_by_what_they_hold(pool: Pool) -> None:
    png = io.BytesIO()
    Image.new("RGB", (20, 30), "red").save(png, "PNG")
    path = pool.upload(png.getvalue(), "oil.png", "Li")
    assert path == pool.upload(png.getvalue(), "oil.png", "Li") and path.suffix == ".png"
    assert pool.called(path.name) == "oil.png" and pool.called("a.bmp") == ""
    assert path.read_bytes() == png.getvalue()
    for data in (b"", b"<html>", png.getvalue()[:40]):
        with pytest.raises(UnreadablePicture):
            pool.upload(data, "other", "Li")
    assert list(pool.uploads.iterdir()) == [path]
    assert [choice.name for choice in pool.choices()][-1] == "uploads"


def test_roots_of_the_same_name_are_numbered(tmp_path: Path, steel: Path) -> None:
    picture = next((steel / "train").glob("*/*")).read_bytes()
    roots = [tmp_path / name for name in ("a/line1", "b/line1", "c/uploads", "d/line1")]
    for root in (*roots, tmp_path / "station" / "uploads"):
        root.mkdir(parents=True)
        (root / "0.bmp").write_bytes(picture)
    pool = Pool(tmp_path / "station", [*roots, roots[0]], tmp_path / "station" / LOG, 1)
    names = [choice.name for choice in pool.choices()]
    assert names == ["line1", "line1 (2)", "uploads (2)", "line1 (3)", "uploads"]
    for name, folder in zip(names, [*roots, pool.uploads], strict=True):
        assert pool.choose(name, "Li") == folder == pool.chosen()
    pool.close()


def test_links_and_names_that_are_no_utf8_are_not_offered(tmp_path: Path, steel: Path) -> None:
    picture = next((steel / "train").glob("*/*")).read_bytes()
    (tmp_path / "station").mkdir()
    for name in (b"root/sub", b"out", b"root/gbk\xcf\xdf"):
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        folder.mkdir(parents=True)
        (folder / "0.bmp").write_bytes(picture)
    root = tmp_path / "root"
    (root / "link").symlink_to(tmp_path / "out")
    (root / "sub" / "loop").symlink_to(root)
    (root / "sub" / "1.bmp").symlink_to(tmp_path / "out" / "0.bmp")
    pool = Pool(tmp_path / "station", [root], tmp_path / "station" / LOG, 1)
    assert [choice.name for choice in pool.choices()] == ["root", "root/sub"]
    pool.choose("root", "Li")
    assert pool.path("sub/0.bmp").is_file()
    for name in ("link/0.bmp", "sub/1.bmp", "x" * 300, "x/" * 5000):
        with pytest.raises(LookupError):
            pool.path(name)
    pool.close()


def test_a_folder_that_cannot_be_read_hides_no_other_one(
    tmp_path: Path, steel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = next((steel / "test").glob("*/*")).read_bytes()
    for name in ("line/a/1.bmp", "line/b/1.bmp", "line/b/c/1.bmp", "line/2.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "line/b/circle").symlink_to(tmp_path / "line")
    (tmp_path / "station").mkdir()
    scan = os.scandir

    def scanned(path: Path) -> Any:
        if Path(path).name == "a":  # as for a user who may not; root may
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scanned)
    found = Pool(tmp_path / "station", [tmp_path / "line"], tmp_path / "station" / LOG, 1)
    assert {each.name: each.pictures for each in found.choices()} == {
        "line": 3, "line/b": 2, "line/b/c": 1,
    }  # fmt: skip
    assert found.choose("line/b", "Li") == tmp_path / "line/b"
    found.close()
