"""Every kind of trouble in real files, and what must not be called trouble."""

import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

from cvgssl.images.check import CheckReport, check_data
from cvgssl.images.check_facts import Finding
from cvgssl.images.duplicates import near_pairs, perceptual_hash
from cvgssl.images.likeness import thumbnail
from cvgssl.runtime.errors import UserError


def steel(seed: int, size: int = 96) -> NDArray[np.uint8]:
    """A rolled texture under uneven light, uint8 [size, size]."""
    rng = np.random.default_rng(seed)
    grain = ndimage.gaussian_filter(rng.normal(size=(size, size)), (4, 1.5))
    light = np.linspace(-1, 1, size)[None, :] * 30
    pixels: NDArray[np.uint8] = np.clip(128 + light + 25 * grain / grain.std(), 0, 255).astype("u1")
    return pixels


def save(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """train/ and test/ of two classes, every picture different."""
    seed = 0
    for split, count in (("train", 4), ("test", 3)):
        for label in ("pits", "scratches"):
            for number in range(count):
                save(tmp_path / "data" / split / label / f"{number}.bmp", steel(seed))
                seed += 1
    return tmp_path / "data"


def found(report: CheckReport) -> dict[str, Finding]:
    return {finding.kind: finding for finding in report.findings}


def test_clean_data_has_no_findings(clean: Path) -> None:
    report = check_data(clean)
    assert report.findings == []
    assert not report.spoiled
    assert report.pictures == 14
    assert report.counts == {
        "pits": {"train": 4, "test": 3},
        "scratches": {"train": 4, "test": 3},
    }


def test_unreadable_files_are_all_named_with_their_reason(clean: Path) -> None:
    folder = clean / "train/pits"
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_bytes(b"not a picture")
    whole = save(folder / "cut.png", steel(99)).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "bomb.png").write_bytes(bomb(whole))
    report = check_data(clean)
    finding = found(report)["unreadable"]
    reasons = {Path(name).name: reason for name, reason in finding.items}
    assert set(reasons) == {"empty.png", "text.jpg", "cut.png", "bomb.png"}
    assert "empty" in reasons["empty.png"]
    assert "truncated" in reasons["cut.png"]
    assert "too large" in reasons["bomb.png"]
    assert report.spoiled


def bomb(png: bytes) -> bytes:
    """The PNG with its header claiming 60,000 x 60,000 pixels."""
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + png[24:29]
    return png[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png[33:]


def test_picture_shared_by_train_and_test_in_another_format(clean: Path) -> None:
    pixels = np.asarray(Image.open(clean / "train/pits/0.bmp"))
    save(clean / "test/pits/copy.png", np.stack([pixels] * 3, axis=-1))
    report = check_data(clean)
    assert found(report)["train_test_overlap"].items == [["train/pits/0.bmp", "test/pits/copy.png"]]
    assert set(found(report)) == {"train_test_overlap"}
    assert report.spoiled


def test_picture_under_two_labels(clean: Path) -> None:
    (clean / "train/scratches/9.bmp").write_bytes((clean / "train/pits/0.bmp").read_bytes())
    report = check_data(clean)
    assert found(report)["two_labels"].severity == "spoils"
    assert report.spoiled


def test_copies_within_train_only_warn(clean: Path) -> None:
    for number in (7, 8):
        copy = clean / f"train/pits/{number}.bmp"
        copy.write_bytes((clean / "train/pits/0.bmp").read_bytes())
    report = check_data(clean)
    finding = found(report)["exact_duplicates"]
    assert finding.message == "more than once: 1 picture (2 files too many)"
    assert not report.spoiled


def test_classes_missing_on_either_side(clean: Path) -> None:
    save(clean / "test/only_test/1.bmp", steel(50))
    save(clean / "train/only_train/1.bmp", steel(51))
    report = check_data(clean)
    assert found(report)["class_missing_from_train"].items == [["only_test"]]
    assert found(report)["class_missing_from_train"].severity == "spoils"
    assert found(report)["class_missing_from_test"].items == [["only_train"]]
    assert found(report)["class_missing_from_test"].severity == "warning"
    assert found(report)["imbalance"].items == [["pits", "4"], ["only_train", "1"]]


def test_classes_that_windows_merges(tmp_path: Path) -> None:
    for seed, name in enumerate(("Crack", "crack", "rust", "rust ", "hole")):
        save(tmp_path / "d" / name / "1.png", steel(seed))
    (found,) = [f for f in check_data(tmp_path / "d").findings if f.kind == "alike_classes"]
    assert found.severity == "warning"
    assert found.items == [["Crack", "crack"], ["rust", "rust "]]
    assert "'Crack' and 'crack'; 'rust' and 'rust '; Windows merges them" in found.message
    (tmp_path / "d.csv").write_text("path,label\nd/Crack/1.png,A\nd/crack/1.png,a\n")
    (found,) = [f for f in check_data(tmp_path / "d.csv").findings if f.kind == "alike_classes"]
    assert found.items == [["A", "a"]]


def test_wrong_extension_is_read_and_warned_of(clean: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(steel(60)).save(buffer, "PNG")
    (clean / "train/pits/9.jpg").write_bytes(buffer.getvalue())
    report = check_data(clean)
    assert found(report)["extension"].items == [["train/pits/9.jpg", "is PNG"]]
    assert not report.spoiled


def test_format_that_gives_the_label_away(clean: Path) -> None:
    for number in range(10, 16):
        save(clean / f"train/pits/{number}.png", steel(100 + number))
    assert (
        "all 6 PNG files are of class pits" in found(check_data(clean))["format_shortcut"].message
    )
    save(clean / "train/scratches/10.png", steel(200))
    assert "format_shortcut" not in found(check_data(clean))


def test_size_and_colour_that_give_the_label_away(clean: Path) -> None:
    for number in range(10, 16):
        rng = np.random.default_rng(number)
        tint = rng.integers(0, 256, (64, 80, 3), dtype=np.uint8)
        save(clean / f"train/scratches/{number}.bmp", tint)
    findings = found(check_data(clean))
    assert "80x64" in findings["size_shortcut"].message
    assert "colour" in findings["colour_shortcut"].message
    assert len(findings["sizes"].items) == 6


@pytest.mark.parametrize(("brightest", "bits"), [(4095, 12), (900, 10), (16000, 14)])
def test_sixteen_bit_files_that_use_fewer_bits(tmp_path: Path, brightest: int, bits: int) -> None:
    for number in range(3):
        deep = steel(number).astype(np.uint16) * np.uint16(brightest // 255)
        deep[0, 0] = brightest
        save(tmp_path / f"{number}.png", deep)
    assert f"--bit-depth {bits}" in found(check_data(tmp_path))["bit_depth"].message


def test_sixteen_bit_files_in_full_get_no_hint(tmp_path: Path) -> None:
    save(tmp_path / "0.png", steel(0).astype(np.uint16) * np.uint16(257))
    assert "bit_depth" not in found(check_data(tmp_path))


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "smaller": lambda image: image.resize((48, 48)),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "darker": lambda image: image.point(lambda value: value * 0.7),
    "moved": lambda image: image.crop((2, 1, 96, 96)),
}


@pytest.mark.parametrize("name", ALTERED)
def test_altered_copies_across_train_and_test_are_near(clean: Path, name: str) -> None:
    original = Image.open(clean / "train/pits/0.bmp")
    ALTERED[name](original).save(clean / "test/pits/9.bmp")
    finding = found(check_data(clean))["near_train_test"]
    assert finding.items == [["test/pits/9.bmp", "train/pits/0.bmp"]]
    assert finding.message.startswith("test pictures with a near twin in train: 1 of 7 (1 pair)")
    assert finding.severity == "warning"


def test_recompressed_copy_in_one_folder_of_classes(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / f"class {number % 2}/{number}.png", steel(number))
    Image.fromarray(steel(0)).save(tmp_path / "class 1/copy.jpg", quality=60)
    findings = found(check_data(tmp_path))
    assert findings["near_duplicates"].severity == "warning"
    assert "1 of them of two classes" in findings["near_duplicates"].message


def test_many_near_duplicates_end_in_finite_time_and_flat_ones_in_none() -> None:
    base = steel(1)
    rng = np.random.default_rng(0)
    pictures = [base + rng.integers(0, 3, base.shape, dtype=np.uint8) for _ in range(60)]
    pictures += [np.full_like(base, level) for level in range(60)]
    hashes = np.array([perceptual_hash(picture) for picture in pictures], np.uint64)
    thumbnails = np.stack([thumbnail(picture) for picture in pictures])
    everyone = np.arange(len(pictures))
    pairs, scores = near_pairs(everyone, everyone, hashes, thumbnails)
    assert (pairs < 60).all()
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(pairs) == 60 * 59 / 2
    assert (scores[:-1] >= scores[1:]).all()
    assert scores.max() <= 1.001


def test_unlike_textures_are_not_near() -> None:
    pictures = [steel(seed) for seed in range(400)]
    hashes = np.array([perceptual_hash(picture) for picture in pictures], np.uint64)
    thumbnails = np.stack([thumbnail(picture) for picture in pictures])
    everyone = np.arange(400)
    assert len(near_pairs(everyone, everyone, hashes, thumbnails)[0]) == 0


def test_plain_folder_half_a_layout_and_loose_pictures(clean: Path, tmp_path: Path) -> None:
    plain = check_data(clean / "train/pits")
    assert plain.counts == {"": {"": 4}}
    assert plain.findings == []
    save(clean / "train/loose.bmp", steel(70))
    assert found(check_data(clean))["no_label"].items == [["train/loose.bmp"]]
    (clean / "test").rename(tmp_path / "away")
    assert check_data(clean).counts["pits"] == {"train": 4}


def test_split_csv_with_a_missing_file_and_a_shared_one(clean: Path) -> None:
    lines = ["path,label,split"]
    lines += [f"train/pits/{i}.bmp,pits,train" for i in range(3)]
    lines += ["test/pits/0.bmp,pits,test", "train/pits/0.bmp,pits,test", "none.bmp,pits,train"]
    (clean / "split.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    findings = found(check_data(clean / "split.csv"))
    assert findings["unreadable"].items[0][0] == "none.bmp"
    assert findings["train_test_overlap"].items == [["train/pits/0.bmp", "train/pits/0.bmp"]]


def test_linked_test_folder_counts_as_shared(clean: Path) -> None:
    (clean / "test/pits/link.bmp").symlink_to(clean / "train/pits/0.bmp")
    assert "train_test_overlap" in found(check_data(clean))


@pytest.mark.parametrize(
    ("content", "message"),
    [("a,b\n1,2\n", "no column path"), ("path,split\nx.bmp,valid\n", "neither train nor test")],
)
def test_csv_that_cannot_be_understood(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        check_data(tmp_path / "a.csv")


def test_a_picture_is_no_data_set(clean: Path) -> None:
    with pytest.raises(UserError, match=r"0\.bmp: DATA must be a folder or a \.csv file"):
        check_data(clean / "train/pits/0.bmp")


def test_nothing_to_check_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pictures"):
        check_data(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        check_data(tmp_path / "none")


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.bmp")
    try:
        (tmp_path / name).write_bytes(b"")
    except OSError:
        pytest.skip("the file system takes Unicode names only")
    assert found(check_data(tmp_path))["unreadable"].items == [["\\xff.bmp", "the file is empty"]]


def test_names_above_the_data_folder_are_no_matter(tmp_path: Path) -> None:
    folders = [os.fsdecode(b"gr\xfcn"), os.fsdecode(b"r\xfcss")]
    above, inside = tmp_path / folders[0] / "data", tmp_path / folders[0] / "data" / folders[1]
    try:
        inside.mkdir(parents=True)
    except OSError:
        pytest.skip("the file system takes Unicode names only")
    save(inside / "0.bmp", steel(0))
    assert found(check_data(above))["folder_name"].items == [["r\\xfcss"]]
    inside.rename(above / "soot")
    assert "folder_name" not in found(check_data(above))


@pytest.mark.real
@pytest.mark.parametrize(("folder", "near", "shortcut"), [("NEU-CLS", 11, 0), ("X-SDD", 0, 142)])
def test_real_sets(folder: str, near: int, shortcut: int) -> None:
    real = os.environ.get("CVGSSL_DATA")
    if not real:
        pytest.skip("CVGSSL_DATA is not set")
    report = check_data(Path(real) / folder)
    findings = report.findings
    assert not report.spoiled
    assert sum(len(f.items) for f in findings if f.kind.startswith("near_")) == near
    assert sum(len(f.items) for f in findings if f.kind == "format_shortcut") == shortcut
