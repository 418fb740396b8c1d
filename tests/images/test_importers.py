"""Public data sets in small: real formats, the names and slips of the real distributions."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvgssl.images.import_options import ImportConfig
from cvgssl.images.importers import NEU, Item, find_items
from cvgssl.images.importers_write import import_dataset, read_list, split_by_hash
from cvgssl.images.voc import ObjectBox, main_class, read_voc
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import make


def importing(dataset: str, src: Path, out: Path, **more: Any) -> ImportConfig:
    return make(ImportConfig, {"dataset": dataset, "src": src, "out": out} | more)


def picture(path: Path, width: int = 20, height: int = 10) -> bytes:
    """Noise that differs for every file name; returns the file's bytes."""
    rng = np.random.default_rng(list(path.stem.encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)).save(path)
    return path.read_bytes()


def voc(path: Path, *boxes: tuple[str, int, int, int, int]) -> None:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
        f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for name, a, b, c, d in boxes
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation><filename>wrong</filename>{objects}</annotation>")


def files(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


def test_neu_cls_splits_by_number_and_copies_bytes(tmp_path: Path) -> None:
    first = picture(tmp_path / "src/a/Cr_240.bmp")
    picture(tmp_path / "src/b/c/Cr_241.bmp")
    picture(tmp_path / "src/RS_1.BMP")
    picture(tmp_path / "src/Pa_105.bmp")
    picture(tmp_path / "src/other_1.bmp")
    picture(tmp_path / "src/Sc_301.bmp")
    report = import_dataset(importing("neu-cls", tmp_path / "src", tmp_path / "dst"))
    assert files(tmp_path / "dst") == {
        "train/crazing/Cr_240.bmp",
        "test/crazing/Cr_241.bmp",
        "train/rolled-in_scale/RS_1.BMP",
        "import.json",
    }
    assert (tmp_path / "dst/train/crazing/Cr_240.bmp").read_bytes() == first
    assert report.counts == {"crazing": (1, 1), "rolled-in_scale": (1, 0)}
    assert report.missing == 1796
    assert [Path(p).name for p in report.notes["not in the split list, left out"]] == ["Sc_301.bmp"]
    dropped = report.notes["equal to another picture of the set, left out"]
    assert [Path(p).name for p in dropped] == ["Pa_105.bmp"]
    alien = report.notes["name is not of this data set, left out"]
    assert [Path(p).name for p in alien] == ["other_1.bmp"]
    told = json.loads((tmp_path / "dst/import.json").read_text())
    assert told["dataset"] == "neu-cls"
    assert told["notes"] == report.notes


def test_second_file_of_a_name_and_equal_bytes_are_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "src/a/In_1.bmp")
    picture(tmp_path / "src/b/In_1.bmp")
    (tmp_path / "src/In_300.bmp").write_bytes((tmp_path / "src/a/In_1.bmp").read_bytes())
    report = import_dataset(importing("neu-cls", tmp_path / "src", tmp_path / "dst"))
    assert report.counts == {"inclusion": (1, 0)}
    assert len(report.notes["second file of the same name, left out"]) == 1
    assert "In_300.bmp" in report.notes["same bytes as another picture, left out"][0]


def test_neu_det_flat_whole_takes_the_largest_area(tmp_path: Path) -> None:
    picture(tmp_path / "src/IMAGES/crazing_1.jpg")
    voc(tmp_path / "src/ANNOTATIONS/crazing_1.xml", ("crazing", 1, 1, 5, 5))
    picture(tmp_path / "src/IMAGES/pitted_surface_300.jpg")
    voc(
        tmp_path / "src/ANNOTATIONS/pitted_surface_300.xml",
        ("pitted_surface", 1, 1, 6, 6),  # 36 square pixels
        ("scratches", 1, 1, 10, 2),  # 20 and 20: more in total
        ("scratches", 1, 5, 10, 6),
    )
    report = import_dataset(importing("neu-det", tmp_path / "src", tmp_path / "dst"))
    assert files(tmp_path / "dst") - {"import.json"} == {
        "train/crazing/crazing_1.jpg",
        "test/scratches/pitted_surface_300.jpg",
    }
    assert "rolled-in_scale_7" in report.notes["in the split list but not found"]
    several = report.notes["boxes of several classes, class of the largest total area"]
    assert several == ["pitted_surface_300"]


def test_neu_det_halves_with_a_misplaced_annotation(tmp_path: Path) -> None:
    picture(tmp_path / "src/train/images/crazing/crazing_240.jpg")
    voc(tmp_path / "src/validation/annotations/crazing_240.xml", ("crazing", 1, 1, 5, 5))
    voc(tmp_path / "src/validation/annotations/crazing_241.xml", ("crazing", 1, 1, 5, 5))
    picture(tmp_path / "src/validation/images/rolled-in_scale/rolled-in_scale_250.jpg")
    report = import_dataset(importing("neu-det", tmp_path / "src", tmp_path / "dst"))
    assert report.counts == {"crazing": (1, 0), "rolled-in_scale": (0, 1)}
    notes = {kind: [Path(n).stem for n in names] for kind, names in report.notes.items()}
    assert notes["annotation without a picture, ignored"] == ["crazing_241"]
    without = notes["without an annotation, class taken from its name or folder"]
    assert without == ["rolled-in_scale_250"]


def test_crops_have_the_boxes_pixels_and_stay_in_one_split(tmp_path: Path) -> None:
    picture(tmp_path / "src/patches_1.png", 40, 30)
    voc(
        tmp_path / "src/patches_1.xml",
        ("patches", 11, 6, 20, 15),
        ("inclusion", 1, 1, 4, 30),
        ("inclusion", 50, 50, 60, 60),  # outside the picture
    )
    report = import_dataset(
        importing("neu-det", tmp_path / "src", tmp_path / "dst", boxes="crop", crop_margin=0.2)
    )
    assert report.counts == {"inclusion": (1, 0), "patches": (1, 0)}
    whole = np.asarray(Image.open(tmp_path / "src/patches_1.png"))
    crop = np.asarray(Image.open(tmp_path / "dst/train/patches/patches_1_1.png"))
    np.testing.assert_array_equal(crop, whole[3:17, 8:22])  # 10 px wide, 2 px more each side
    clipped = np.asarray(Image.open(tmp_path / "dst/train/inclusion/patches_1_2.png"))
    np.testing.assert_array_equal(clipped, whole[:, 0:5])
    assert len(report.notes["box outside its picture, ignored"]) == 1


def test_the_option_that_the_message_names_lets_a_large_picture_in(tmp_path: Path) -> None:
    picture(tmp_path / "src/patches_1.png", 1200, 1000)
    voc(tmp_path / "src/patches_1.xml", ("patches", 1, 1, 4, 4))
    crop = partial(importing, "neu-det", tmp_path / "src", tmp_path / "dst", boxes="crop")
    with pytest.raises(UserError, match="give --max-megapixels 2"):
        import_dataset(crop(max_megapixels=1))
    import_dataset(crop(max_megapixels=2))
    assert (tmp_path / "dst/train/patches/patches_1_1.png").is_file()


def test_x_sdd_folder_names_in_other_spellings(tmp_path: Path) -> None:
    picture(tmp_path / "src/datas/Finishing_Roll_Printing/6001.png")
    picture(tmp_path / "src/datas/red iron sheet/2008.jpg")
    picture(tmp_path / "src/datas/red iron sheet/2082.jpg")
    picture(tmp_path / "src/readme_pictures/9.jpg")
    report = import_dataset(importing("x-sdd", tmp_path / "src", tmp_path / "dst"))
    assert report.counts == {"finishing roll printing": (1, 0), "red iron": (0, 1)}
    dropped = report.notes["equal to another picture of the set, left out"]
    assert [Path(p).name for p in dropped] == ["2082.jpg"]
    assert len(report.notes["not in a folder of this data set's classes, left out"]) == 1


def gc10(src: Path, rolls: int) -> None:
    """Ten folders, annotations apart in `lable`, several pictures per roll."""
    names = ["chongkong", "hanfeng", "yueyawan", "shuiban", "youban", "siban", "yiwu", "yahen"]
    names += ["zhehen", "yaozhed"]
    for number, name in enumerate(names, start=1):
        for roll in range(rolls):
            for count in range(2):
                stem = f"img_0{count + 1}_42500{number:02}{roll:02}_0000{count}"
                picture(src / str(number) / f"{stem}.jpg")
                voc(src / "lable" / f"{stem}.xml", (f"{number}_{name}", 1, 1, 9, 9))


def test_gc10_classes_splits_and_rolls(tmp_path: Path) -> None:
    gc10(tmp_path / "src", rolls=6)
    extra = tmp_path / "src/2/img_03_4406742300_00001"
    picture(extra.with_suffix(".jpg"))
    voc(tmp_path / f"src/lable/{extra.name}.xml", ("d", 1, 1, 5, 5), ("2_hanfeng", 1, 1, 3, 3))
    picture(tmp_path / "src/5/img_03_4406742301_00001.jpg")  # no annotation: the folder tells
    report = import_dataset(
        importing("gc10-det", tmp_path / "src", tmp_path / "dst", test_fraction=0.5)
    )
    assert len(report.counts) == 10
    assert sum(report.counts["waist_folding"]) == 12
    assert sum(report.counts["welding_line"]) == 13
    assert sum(report.counts["oil_spot"]) == 13
    assert report.missing == 0
    assert len(report.notes["box of unknown class 'd', ignored"]) == 1
    for train, test in report.counts.values():
        assert abs(train - test) <= 2
    rolls = {
        split: {p.stem.split("_")[2] for p in (tmp_path / "dst" / split).rglob("*.jpg")}
        for split in ("train", "test")
    }
    assert not rolls["train"] & rolls["test"]


def test_gc10_split_depends_on_the_seed_alone(tmp_path: Path) -> None:
    gc10(tmp_path / "src", rolls=6)
    listings = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        import_dataset(importing("gc10-det", tmp_path / "src", tmp_path / name, seed=seed))
        listings.append(files(tmp_path / name))
    assert listings[0] == listings[1]
    assert listings[0] != listings[2]


def test_hash_split_keeps_the_share_with_groups_of_uneven_size() -> None:
    items = [
        Item(Path(f"{label}{i}"), f"{label}{i}", label, f"{label}{i % (7 + 3 * (i % 2))}")
        for label, count in (("a", 200), ("b", 40))
        for i in range(count)
    ]
    splits = split_by_hash(items, 0.25, seed=3)
    for label, count in (("a", 200), ("b", 40)):
        test = sum(splits[item.name] == "test" for item in items if item.label == label)
        assert 0.15 * count <= test <= 0.35 * count
    sides: dict[str, set[str]] = {}
    for item in items:
        sides.setdefault(item.group, set()).add(splits[item.name])
    assert all(len(side) == 1 for side in sides.values())


def test_refuses_what_would_overwrite_or_cannot_work(tmp_path: Path) -> None:
    picture(tmp_path / "src/Cr_1.bmp")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        import_dataset(importing("neu-cls", tmp_path / "src", tmp_path / "full"))
    assert files(tmp_path / "full") == {"mine.txt"}
    with pytest.raises(UserError, match="not a folder"):
        import_dataset(importing("neu-cls", tmp_path / "none", tmp_path / "dst"))
    with pytest.raises(UserError, match="has no boxes"):
        import_dataset(importing("neu-cls", tmp_path / "src", tmp_path / "dst", boxes="crop"))
    with pytest.raises(UserError, match=r"no \.xml annotations"):
        picture(tmp_path / "src/crazing_1.jpg")
        import_dataset(importing("neu-det", tmp_path / "src", tmp_path / "dst"))
    with pytest.raises(UserError, match="no picture is named as x-sdd"):
        import_dataset(importing("x-sdd", tmp_path / "src", tmp_path / "dst"))
    assert not (tmp_path / "dst").exists()


def test_failing_half_way_leaves_nothing(tmp_path: Path) -> None:
    picture(tmp_path / "src/patches_1.png")
    voc(tmp_path / "src/patches_1.xml", ("patches", 1, 1, 5, 5))
    picture(tmp_path / "src/patches_2.png")
    voc(tmp_path / "src/patches_2.xml", ("patches", 1, 1, 5, 5))
    whole = (tmp_path / "src/patches_2.png").read_bytes()
    (tmp_path / "src/patches_2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"patches_2\.png"):
        import_dataset(importing("neu-det", tmp_path / "src", tmp_path / "dst", boxes="crop"))
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def test_empty_target_folder_is_filled(tmp_path: Path) -> None:
    picture(tmp_path / "src/Cr_1.bmp")
    (tmp_path / "dst").mkdir()
    import_dataset(importing("neu-cls", tmp_path / "src", tmp_path / "dst"))
    assert "train/crazing/Cr_1.bmp" in files(tmp_path / "dst")


BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]>
<annotation><object><name>&c;</name></object></annotation>"""


def boxed(corner: str) -> bytes:
    sides = "".join(f"<{side}>{corner}</{side}>" for side in ("xmin", "ymin", "xmax", "ymax"))
    return f"<a><object><name>x</name><bndbox>{sides}</bndbox></object></a>".encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB.encode(), "document type"),
        (BOMB.encode("utf-16"), "document type"),
        (b"<annotation><object>", "no element found|unclosed"),
        (b"<annotation><object><name>x</name></object></annotation>", "without a bndbox"),
        (b"not xml", "syntax error"),
        (boxed("inf"), "no place in a picture"),
        (boxed("nan"), "no place in a picture"),
        (boxed("1e300"), "no place in a picture"),
        (b"<a>" * 1000 + b"</a>" * 1000, "nested more than 100 deep"),
    ],
)
def test_voc_refuses(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason) as caught:
        read_voc(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_broken_annotations_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "crazing_1.jpg")
    for number in (1, 2):
        (tmp_path / f"crazing_{number}.xml").write_text("<annotation>")
    with pytest.raises(UserError) as caught:
        find_items("neu-det", tmp_path)
    assert len(str(caught.value).splitlines()) == 2


def test_main_class_breaks_ties_by_name() -> None:
    assert main_class([ObjectBox("b", 1, 1, 4, 4), ObjectBox("a", 1, 1, 4, 4)]) == "a"
    assert main_class([ObjectBox("b", 1, 1, 4, 4), ObjectBox("a", 9, 1, 4, 4)]) == "b"


def test_shipped_lists_are_complete() -> None:
    neu = read_list("neu-cls.csv")
    assert len(neu) == 6 * 300
    assert {name for name in neu if neu[name] == "dropped"} == {"Pa_105"}
    assert all((neu[f"{code}_240"], neu[f"{code}_241"]) == ("train", "test") for code in NEU)
    x_sdd = list(read_list("x-sdd.csv").values())
    assert [x_sdd.count(split) for split in ("train", "test", "dropped")] == [946, 405, 9]


@pytest.mark.real
@pytest.mark.parametrize(("dataset", "folder"), [("neu-cls", "NEU-CLS"), ("x-sdd", "X-SDD")])
def test_real_pictures_come_back_to_their_split(tmp_path: Path, dataset: str, folder: str) -> None:
    real = os.environ.get("CVGSSL_DATA")
    if not real:
        pytest.skip("CVGSSL_DATA is not set")
    root = Path(real) / folder
    wanted = {p.relative_to(root).as_posix(): p for p in root.glob("*/*/*")}
    for path in wanted.values():
        place = tmp_path / "src" / (path.parent.name if dataset == "x-sdd" else "")
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).symlink_to(path)
    report = import_dataset(importing(dataset, tmp_path / "src", tmp_path / "dst"))
    assert files(tmp_path / "dst") - {"import.json"} == set(wanted)
    assert report.missing == 0
    assert report.notes == {}
    assert all(
        (tmp_path / "dst" / name).read_bytes() == p.read_bytes() for name, p in wanted.items()
    )
