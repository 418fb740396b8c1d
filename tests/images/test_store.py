"""The store: the same pixels wherever they are kept, never stale, never half."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from cvgssl.images import rows
from cvgssl.images.assemble import Entry, assemble
from cvgssl.images.dataset import Dataset
from cvgssl.images.geometry import Geometry
from cvgssl.images.picture_options import DecodingOptions
from cvgssl.images.store import load_dataset_pictures, load_pictures
from cvgssl.runtime.array_files import write_array
from cvgssl.runtime.cache_folder import default_cache_dir
from cvgssl.runtime.errors import UserError

SKIP = DecodingOptions(skip_corrupt=True)
GEOMETRY = Geometry(size=16)


def pictures(folder: Path, count: int = 6, colour: int | None = None, side: int = 40) -> list[Path]:
    """Noise of `count` different sizes; the one at row `colour` is in colour."""
    rng = np.random.default_rng(count)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(count):
        shape = (side + i, side, 3) if i == colour else (side + i, side)
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
        paths.append(path)
    return paths


def with_pillow(path: Path, geometry: Geometry = GEOMETRY) -> NDArray[np.uint8]:
    size = (geometry.size, geometry.size)
    return np.asarray(Image.open(path).convert("RGB").resize(size, Image.Resampling.BILINEAR))


def test_gray_pictures_are_kept_as_one_channel_in_order(tmp_path: Path) -> None:
    paths = pictures(tmp_path, count=50)
    stored, unreadable = load_pictures(paths, GEOMETRY)
    assert stored.pixels.shape == (50, 1, 16, 16)
    assert stored.pixels.dtype == np.uint8
    assert len(stored) == len(stored.digests) == 50
    assert unreadable == {}
    for square, path in zip(stored.pixels, paths, strict=True):
        np.testing.assert_array_equal(square[0], with_pillow(path)[..., 0])
    with pytest.raises(ValueError, match="read-only"):
        stored.pixels[0] = 0


@pytest.mark.parametrize("colour", [0, 3, 5])
@pytest.mark.parametrize("budget", [2**30, 6 * 16 * 16, 0], ids=["memory", "outgrown", "disk"])
def test_one_picture_in_colour_makes_three_channels(
    tmp_path: Path, colour: int, budget: int
) -> None:
    paths = pictures(tmp_path / "d", colour=colour)
    stored, _ = load_pictures(paths, GEOMETRY, memory_budget=budget, cache_dir=tmp_path / "c")
    assert stored.pixels.shape == (6, 3, 16, 16)
    for square, path in zip(stored.pixels, paths, strict=True):
        np.testing.assert_array_equal(square.transpose(1, 2, 0), with_pillow(path))
    files = [path.suffix for path in (tmp_path / "c").glob("*")]
    assert sorted(files) == ([] if budget == 2**30 else [".json", ".npy"])


def test_the_store_on_disk_equals_the_one_in_memory(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "d", colour=2)
    memory, _ = load_pictures(paths, GEOMETRY)
    for _ in range(2):
        disk, _ = load_pictures(paths, GEOMETRY, memory_budget=0, cache_dir=tmp_path / "c")
        assert isinstance(disk.pixels, np.memmap)
        assert not disk.pixels.flags.writeable
        np.testing.assert_array_equal(disk.pixels, memory.pixels)
        assert disk.digests == memory.digests
        assert disk.digest == memory.digest
    assert len(list((tmp_path / "c").iterdir())) == 2


def test_the_cache_is_used_again(tmp_path: Path) -> None:
    paths, cache = pictures(tmp_path / "d"), tmp_path / "c"
    stored, _ = load_pictures(paths, GEOMETRY, memory_budget=0, cache_dir=cache)
    (file,) = cache.glob("*.npy")
    marked = stored.pixels.copy()  # a mark that only reading the cache can show
    marked[-1, -1, -1, -1] ^= 1
    write_array(file, marked)
    again, _ = load_pictures(paths, GEOMETRY, memory_budget=0, cache_dir=cache)
    np.testing.assert_array_equal(again.pixels, marked)


def test_an_edited_picture_is_never_served_stale(tmp_path: Path) -> None:
    paths, cache = pictures(tmp_path / "d"), tmp_path / "c"
    load_pictures(paths, GEOMETRY, memory_budget=0, cache_dir=cache)
    (before,) = cache.glob("*.npy")
    status = paths[3].stat()
    image = Image.open(paths[3])
    image.putpixel((0, 0), 255 - int(image.getpixel((0, 0))))  # type: ignore[arg-type]
    image.save(paths[3])
    with paths[3].open("ab") as file:  # the same size and time as before
        file.write(b"\0" * max(0, status.st_size - paths[3].stat().st_size))
    os.utime(paths[3], ns=(status.st_atime_ns, status.st_mtime_ns))
    stored, _ = load_pictures(paths, GEOMETRY, memory_budget=0, cache_dir=cache)
    np.testing.assert_array_equal(stored.pixels[3, 0], with_pillow(paths[3])[..., 0])
    (after,) = cache.glob("*.npy")  # and the outdated file is gone
    assert after != before


@pytest.mark.parametrize(
    "geometry", [Geometry(17), Geometry(16, "pad"), Geometry(16, "stretch", "bicubic")]
)
def test_another_geometry_is_another_cache(tmp_path: Path, geometry: Geometry) -> None:
    paths, cache = pictures(tmp_path / "d"), tmp_path / "c"
    load_pictures(paths, GEOMETRY, memory_budget=0, cache_dir=cache)
    other, _ = load_pictures(paths, geometry, memory_budget=0, cache_dir=cache)
    wanted, _ = load_pictures(paths, geometry)
    np.testing.assert_array_equal(other.pixels, wanted.pixels)
    assert len(list(cache.glob("*.npy"))) == 2


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("damage", ["cut", "flipped bit", "fewer rows", "no bytes"])
def test_damaged_cache_files_are_made_again(
    tmp_path: Path, suffix: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    paths, cache = pictures(tmp_path / "d"), tmp_path / "c"
    paths[2].write_bytes(b"broken")
    memory, _ = load_pictures(paths, GEOMETRY, options=SKIP)
    load_pictures(paths, GEOMETRY, memory_budget=0, cache_dir=cache, options=SKIP)
    (file,) = cache.glob(f"*{suffix}")
    data = bytearray(file.read_bytes())
    if damage == "flipped bit":
        data[-40] ^= 1
    elif damage != "fewer rows":
        del data[50 if damage == "cut" else 0 :]
    elif suffix == ".npy":  # with a checksum of its own
        write_array(file, memory.pixels[1:])
        data = bytearray(file.read_bytes())
    else:
        data = data.replace(b'"2"', b'"3"')
    file.write_bytes(data)
    for warned in (True, False):
        caplog.clear()
        again, unreadable = load_pictures(
            paths, GEOMETRY, memory_budget=0, cache_dir=cache, options=SKIP
        )
        np.testing.assert_array_equal(again.pixels, memory.pixels)
        assert unreadable == {2: "not a picture in a known format"}
        assert ("is damaged; the pictures are decoded again" in caplog.text) == warned


SLOW_LOAD = """
import signal, sys
from pathlib import Path
from cvgssl.images.geometry import Geometry
from cvgssl.images.store import load_pictures
paths = sorted(Path(sys.argv[1]).glob("*.png"))
def progress(n):
    print("one", flush=True)
    signal.pause()
load_pictures(paths, Geometry(16), memory_budget=0, cache_dir=Path(sys.argv[2]), progress=progress)
"""


def test_a_killed_writer_leaves_nothing_that_is_used(tmp_path: Path, python: str) -> None:
    paths, cache = pictures(tmp_path / "d"), tmp_path / "c"
    process = subprocess.Popen(
        [python, "-c", SLOW_LOAD, str(tmp_path / "d"), str(cache)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"one\n"
    process.send_signal(signal.SIGKILL)
    assert process.stdout.read() == b"", "it is open until the work has ended"
    process.wait()
    process.stdout.close()
    (left,) = cache.iterdir()
    memory, _ = load_pictures(paths, GEOMETRY)
    stored, _ = load_pictures(paths, GEOMETRY, memory_budget=0, cache_dir=cache)
    np.testing.assert_array_equal(stored.pixels, memory.pixels)
    assert left.exists()  # it might belong to a process at work
    long_ago = time.time() - 2 * rows._ABANDONED_S
    os.utime(left, (long_ago, long_ago))
    load_pictures(paths, Geometry(8), memory_budget=0, cache_dir=cache)
    assert not left.exists()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from cvgssl.images.geometry import Geometry
from cvgssl.images.store import load_pictures
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    load_pictures(sorted(Path(sys.argv[1]).glob("*.png")), Geometry(16), memory_budget=0)
except ValueError as error:
    print(error)
"""


def test_a_write_that_fails_is_a_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    pictures(tmp_path / "d", count=60)
    cache = tmp_path / "c"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "d")],
        env=os.environ | {"CVGSSL_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{cache}: the picture cache cannot be written (File too large)" in done.stdout
    assert "set CVGSSL_CACHE" in done.stdout
    assert list(cache.iterdir()) == []


def test_a_file_in_the_place_of_the_cache_is_named_only_where_it_is_needed(tmp_path: Path) -> None:
    paths, cache = pictures(tmp_path / "d"), tmp_path / "c"
    cache.touch()
    stored, _ = load_pictures(paths, GEOMETRY, cache_dir=cache)
    assert len(stored) == 6
    gray_fits = 6 * 16 * 16
    load_pictures(paths, GEOMETRY, memory_budget=gray_fits, cache_dir=cache)
    with pytest.raises(
        UserError, match=r"cache cannot be written .*; set CVGSSL_CACHE to a folder"
    ):
        load_pictures(paths, GEOMETRY, memory_budget=0, cache_dir=cache)


def test_temporary_files_of_killed_runs_are_removed_when_old(tmp_path: Path) -> None:
    cache = tmp_path / "c"
    cache.mkdir()
    old, new = cache / ".plan-content.json.x1.json", cache / ".plan-content.json.x2.json"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    load_pictures(pictures(tmp_path / "d"), GEOMETRY, memory_budget=0, cache_dir=cache)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_larger_limit_of_pixels_is_another_cache(tmp_path: Path) -> None:
    paths, cache = pictures(tmp_path / "d"), tmp_path / "c"
    Image.new("L", (1200, 1000)).save(paths[0])
    for limit, unreadable in ((1, 1), (2, 0), (1, 1)):
        _, reasons = load_pictures(
            paths,
            GEOMETRY,
            memory_budget=0,
            cache_dir=cache,
            options=DecodingOptions(skip_corrupt=True, max_megapixels=limit),
        )
        assert len(reasons) == unreadable


def test_too_little_space_is_found_before_any_work(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "d", count=1)
    calls: list[int] = []
    with pytest.raises(UserError, match=r"GiB needed, .* GiB free"):
        load_pictures(
            paths * 2,
            Geometry(10**8),
            cache_dir=tmp_path / "c",
            progress=calls.append,
        )
    assert calls == []


def test_all_unreadable_files_are_named_at_once(tmp_path: Path) -> None:
    paths = pictures(tmp_path)
    paths[1].write_bytes(b"")
    paths[4].write_bytes(paths[4].read_bytes()[:400])
    paths.append(tmp_path / "missing.png")
    calls: list[int] = []
    with pytest.raises(UserError) as error:
        load_pictures(paths, GEOMETRY, progress=calls.append)
    lines = str(error.value).splitlines()
    assert lines[0] == f"{paths[1]}: the file is empty"
    assert lines[1] == f"{paths[4]}: truncated"
    assert lines[2] == f"{paths[6]}: No such file or directory"
    assert lines[3] == "3 unreadable; repair them, or leave them out by --skip-corrupt"
    assert sum(calls) == 7


@pytest.mark.parametrize("budget", [2**30, 0], ids=["memory", "disk"])
def test_skip_corrupt_keeps_the_others_in_order(tmp_path: Path, budget: int) -> None:
    paths, cache = pictures(tmp_path / "d"), tmp_path / "c"
    wanted, _ = load_pictures(paths, GEOMETRY)
    paths[0].write_bytes(b"")
    paths[4].write_bytes(b"not a picture")
    for _ in range(2):  # decoded, then from the cache
        stored, unreadable = load_pictures(
            paths, GEOMETRY, memory_budget=budget, cache_dir=cache, options=SKIP
        )
        assert unreadable == {0: "the file is empty", 4: "not a picture in a known format"}
        np.testing.assert_array_equal(stored.pixels, wanted.pixels[[1, 2, 3, 5]])
        assert stored.digests == tuple(wanted.digests[i] for i in (1, 2, 3, 5))
    with pytest.raises(UserError, match="2 unreadable"):  # a cache made so does not hide them
        load_pictures(paths, GEOMETRY, memory_budget=budget, cache_dir=cache)


@pytest.mark.parametrize("budget", [2**30, 0], ids=["memory", "disk"])
def test_nothing_readable_is_an_error_even_when_skipping(tmp_path: Path, budget: int) -> None:
    (tmp_path / "a.png").touch()
    for _ in range(2):
        with pytest.raises(UserError, match=r"none of the \d+ pictures is readable"):
            load_pictures(
                [tmp_path / "a.png"],
                GEOMETRY,
                memory_budget=budget,
                cache_dir=tmp_path / "c",
                options=SKIP,
            )


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_threads_changes_nothing(tmp_path: Path, workers: int) -> None:
    paths = pictures(tmp_path / "d", count=40, colour=11)
    wanted, _ = load_pictures(paths, GEOMETRY)
    options = DecodingOptions(workers=workers)
    for _ in range(2):
        stored, _ = load_pictures(
            paths, GEOMETRY, memory_budget=0, cache_dir=tmp_path / "c", options=options
        )
        np.testing.assert_array_equal(stored.pixels, wanted.pixels)
        assert stored.digests == wanted.digests


def test_progress_counts_every_file_once(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "d", count=40)
    for _ in range(2):
        calls: list[int] = []
        load_pictures(
            paths, GEOMETRY, memory_budget=0, cache_dir=tmp_path / "c", progress=calls.append
        )
        assert sum(calls) == 40


def test_dark_sixteen_bit_pictures_are_pointed_out_by_every_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [tmp_path / "1.tif", tmp_path / "2.tif", tmp_path / "3.tif"]
    for path, brightest in zip(paths, (900, 3000, 40000), strict=True):
        tifffile.imwrite(path, np.full((8, 8), brightest, np.uint16))
    for budget in (2**30, 0, 0):  # in memory, decoded into the cache, found there
        load_pictures(paths[:2], GEOMETRY, memory_budget=budget, cache_dir=tmp_path / "c")
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "3000 of 65535" in record.message
        assert "--bit-depth 12" in record.message
        caplog.clear()
    load_pictures(paths, GEOMETRY)
    load_pictures(paths[:2], Geometry(16, bit_depth=12))
    assert caplog.records == []


def dataset_of(folder: Path, broken: tuple[str, ...] = ()) -> Dataset:
    paths = pictures(folder, count=8, colour=7)
    splits = ("train", "train", "train", "test")
    entries = [
        Entry(path, "ab"[row // 4], "train" if splits[row % 4] == "train" else "test")
        for row, path in enumerate(paths)
    ]
    for name in broken:
        (folder / name).write_bytes(b"broken")
    return assemble(folder, entries)


def test_train_and_test_are_decoded_alike(tmp_path: Path) -> None:
    loaded = load_dataset_pictures(dataset_of(tmp_path), GEOMETRY)
    assert loaded.train.pixels.shape == (6, 3, 16, 16)  # the one in colour is in test/
    assert loaded.test.pixels.shape == (2, 3, 16, 16)
    assert loaded.skipped == {}
    for table, stored in (
        (loaded.dataset.train, loaded.train),
        (loaded.dataset.test, loaded.test),
    ):
        for path, square in zip(table.paths, stored.pixels, strict=True):
            np.testing.assert_array_equal(square.transpose(1, 2, 0), with_pillow(path))


def test_tables_follow_what_was_skipped(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, ("1.png", "7.png"))
    loaded = load_dataset_pictures(dataset, GEOMETRY, options=SKIP)
    assert [path.stem for path in loaded.dataset.train.paths] == ["0", "2", "4", "5", "6"]
    assert [path.stem for path in loaded.dataset.test.paths] == ["3"]
    assert loaded.dataset.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert (len(loaded.train), len(loaded.test)) == (5, 1)
    assert [path.stem for path in loaded.skipped] == ["1", "7"]


@pytest.mark.parametrize(
    ("broken", "message"),
    [(("4.png", "5.png", "6.png"), "no readable train picture of b"),
     (("3.png", "7.png"), "no readable test picture")],
)  # fmt: skip
def test_a_class_that_is_lost_by_skipping_is_an_error(
    tmp_path: Path, broken: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_dataset_pictures(dataset_of(tmp_path, broken), GEOMETRY, options=SKIP)


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "mine"))
    assert default_cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("CVGSSL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "cvgssl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "cvgssl"


PEAK = """
import resource, sys
from pathlib import Path
from cvgssl.images.geometry import Geometry
from cvgssl.images.picture_options import DecodingOptions
from cvgssl.images.store import load_pictures
paths = sorted(Path(sys.argv[1]).glob("*.png")) * 20
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
two = DecodingOptions(workers=2)
load_pictures(paths, Geometry(512), two, memory_budget=0, cache_dir=Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(paths) * 512 * 512)
"""


def test_a_store_on_disk_takes_little_memory(tmp_path: Path) -> None:
    pictures(tmp_path / "d", count=20, side=64)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "d"), str(tmp_path / "c")],
        capture_output=True,
        text=True,
        check=True,
    )
    grown_kib, stored = map(int, done.stdout.split())
    assert stored >= 100 * 2**20
    assert grown_kib * 1024 < 50 * 2**20


@pytest.mark.real
@pytest.mark.skipif("CVGSSL_DATA" not in os.environ, reason="needs CVGSSL_DATA")
def test_real_data_sets_are_gray() -> None:
    from cvgssl.images.scan import load_dataset

    data = Path(os.environ["CVGSSL_DATA"])
    neu = load_dataset_pictures(load_dataset(data / "NEU-CLS"), Geometry())
    assert neu.train.pixels.shape == (1439, 1, 224, 224)
    xsdd = load_dataset_pictures(load_dataset(data / "X-SDD"), Geometry())
    assert xsdd.test.pixels.shape == (405, 1, 224, 224)  # RGB files, all of equal channels
