"""`cvgssl predict FILE.onnx`: the answers of the recognizer it was made of, without torch."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cvgssl.cli.main import main
from cvgssl.images.decoding import decode_squares
from cvgssl.images.geometry import Whole
from cvgssl.images.reader import read_picture
from cvgssl.recognizer import golden
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.exported_file import ExportedFile
from cvgssl.recognizer.predict import predict, recognition
from cvgssl.runtime.errors import UserError
from tests.export.conftest import Exported
from tests.export.test_client import mixed
from tests.export.test_export import changed

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is known of any file yet."""
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def of_all_kinds(folder: Path, white: int) -> list[Path]:
    """Also what the client does not read: 16-bit colour and PGM, a turned TIFF, a long strip."""
    rng = np.random.default_rng(3)
    paths = mixed(folder, white)
    colour = rng.integers(0, white + 1, (40, 30, 3)).astype(np.uint16)
    tifffile.imwrite(folder / "deep colour.tif", colour, photometric="rgb")
    gray = rng.integers(0, white + 1, (21, 33))
    header = b"P5 33 21 65535\n"
    (folder / "deep.pgm").write_bytes(header + gray.astype(">u2").tobytes())
    turned = Image.Exif()
    turned[274] = 8
    small = rng.integers(0, 256, (19, 50), dtype=np.uint8)
    Image.fromarray(small).save(folder / "turned.tif", exif=turned)
    Image.fromarray(np.tile(small, (1, 40))).save(folder / "strip.png")
    return [*paths, *(folder / name for name in ("deep colour.tif", "deep.pgm", "turned.tif",
                                                 "strip.png"))]  # fmt: skip


@pytest.mark.parametrize(("which", "white"), [("with_map", 65535), ("of_labels", 4095)])
def test_it_answers_as_the_folder(
    which: str, white: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made: Exported = request.getfixturevalue(which)
    paths = of_all_kinds(tmp_path, white)
    right = predict(made.folder, paths, unknown=True)
    answered = predict(made.file, paths, unknown=True)
    assert [each.path for each in answered] == paths
    for now, before in zip(answered, right, strict=True):
        assert (now.predicted_class, now.verdict) == (before.predicted_class, before.verdict), (
            now.path
        )
        np.testing.assert_allclose(now.probabilities, before.probabilities, atol=1e-4)
    assert {each.verdict for each in predict(made.file, paths[:2])} == {None}


def test_whole_pictures_for_encoders_that_see_them_in_several_ways(
    of_labels: Exported, tmp_path: Path
) -> None:
    ways = ExportedFile(of_labels.file).metadata["geometries"]
    assert len(ways) == 1
    file = changed(
        of_labels.file, tmp_path / "two.onnx", geometries=[*ways, ways[0] | {"size": 64}]
    )
    work = recognition(PredictOptions(recognizer=file, pictures=(of_labels.file,)))
    assert work.recognizer.geometries == (Whole(12),)
    paths = of_all_kinds(tmp_path, 4095)
    for path, square in zip(paths, decode_squares(paths, Whole(12)), strict=True):
        assert square.pixels is not None
        read = read_picture(path, 12)
        whole = read[None] if read.ndim == 2 else read.transpose(2, 0, 1)
        np.testing.assert_array_equal(square.pixels, whole)
    right = predict(of_labels.folder, paths, unknown=True)
    for now, before in zip(predict(file, paths, unknown=True), right, strict=True):
        assert (now.predicted_class, now.verdict) == (before.predicted_class, before.verdict), (
            now.path
        )
        np.testing.assert_allclose(now.probabilities, before.probabilities, atol=1e-4)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"classes": [1, 2, 3, 4, 5, 6]}, "does not name 6 classes"),
        ({"classes": ["a\0", "b", "c", "d", "e", "f"]}, "does not name 6 classes"),
        ({"not_sure_below": None}, "not_sure_below is no number"),
        ({"unknown_below": True}, "--unknown needs a file of a recognizer"),
    ],
)
def test_metadata_that_were_edited(
    of_labels: Exported, tmp_path: Path, facts: dict[str, object], told: str
) -> None:
    file = changed(of_labels.file, tmp_path / "edited.onnx", **facts)
    with pytest.raises(UserError, match=told):
        predict(file, of_all_kinds(tmp_path, 255)[:1], unknown=True)


HEAVY = {"torch", "sklearn", "scipy", "timm", "accelerate", "pandas", "torchvision", "onnx"}


def test_the_command_without_torch(with_map: Exported, plates: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from cvgssl.cli.main import main; code = main(sys.argv[1:]); "
        f"print(*({HEAVY!r} & sys.modules.keys()), file=sys.stderr); sys.exit(code)"
    )
    words = [
        "predict",
        with_map.file,
        plates / "test",
        "--unknown",
        "--nearest",
        "2",
        "--csv",
        "p.csv",
        "--json",
        "-",
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("\n\n"), "none of the heavy packages"
    right = predict(with_map.folder, [plates / "test"], unknown=True, nearest=2)
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["answer"] for row in rows] == [each.answer for each in right]
    entries = json.loads(done.stdout)
    assert [entry["path"] for entry in entries] == [str(r.path) for r in right]
    for row, entry, each in zip(rows, entries, right, strict=True):
        first, second = entry["nearest"]
        assert (row["nearest 1"], row["nearest 1 class"]) == (first["name"], first["label"])
        assert float(row["nearest 2 similarity"]) == second["similarity"]
        assert each.nearest is not None and len(each.nearest) == 2
        near = [one.similarity for one in each.nearest]
        assert [first["similarity"], second["similarity"]] == pytest.approx(near, abs=1e-3)


def test_it_sorts_as_the_folder(with_map: Exported, plates: Path, tmp_path: Path) -> None:
    for name in ("folder", "file"):
        words = ["--unknown", "--csv", str(tmp_path / f"{name}.csv")]
        words += ["--sort-into", str(tmp_path / name)]
        model = with_map.folder if name == "folder" else with_map.file
        assert main(["predict", str(model), str(plates / "test"), *words]) == 0
    answers = [(tmp_path / f"{name}.csv").read_text() for name in ("folder", "file")]
    assert len(answers[0].splitlines()) == 25
    firsts = [[line.split(",")[:2] for line in text.splitlines()] for text in answers]
    assert firsts[0] == firsts[1]
    sorted_ = [
        sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.*"))
        for name in ("folder", "file")
    ]
    assert sorted_[0] == sorted_[1] and len(sorted_[0]) == 24


def test_options_that_a_file_cannot_use(
    with_map: Exported, trained: Exported, plates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = str(plates / "test")
    words = ["--unknown", "--false-rejection-rate", "0.2", "--draw", "2", "--gpu", "0"]
    assert main(["predict", str(with_map.file), images, *words]) == 2
    errors = capsys.readouterr().err
    assert "leave --draw, --false-rejection-rate, --gpu out" in errors and errors.count("\n") == 1
    assert main(["predict", str(with_map.file), images, "--encoder-files", "w.safetensors"]) == 2
    assert "leave --encoder-files out" in capsys.readouterr().err
    assert main(["predict", str(trained.file), images, "--unknown"]) == 2
    errors = capsys.readouterr().err
    assert "has no score; --unknown needs" in errors and errors.count("\n") == 1
    assert main(["predict", "none.onnx", images]) == 2
    assert "none.onnx: no such file" in capsys.readouterr().err


WAYS = [
    [],
    3,
    [{"size": 0}],
    [{"size": 10**6}],
    [{"resize": "shear"}],
    [{"bit_depth": 40}],
    [{}, 1],
]


@pytest.mark.parametrize("ways", WAYS)
def test_files_that_see_pictures_in_impossible_ways(
    ways: object,
    of_labels: Exported,
    plates: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = changed(of_labels.file, tmp_path / "bad.onnx", geometries=ways)
    assert main(["predict", str(file), str(plates / "test")]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and f"{file} cannot be read as a file of" in errors


def test_unreadable_pictures_are_left_out(with_map: Exported, plates: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    images = [tmp_path / "bad.png", plates / "test"]
    with pytest.raises(UserError, match=r"bad\.png"):
        predict(with_map.file, images)
    assert len(predict(with_map.file, images, skip_corrupt=True)) == 24


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The files that were asked about the pictures which they carry."""
    asked: list[Path] = []
    check = golden.check_golden
    monkeypatch.setattr(golden, "check_golden", lambda file: asked.append(file.path) or check(file))
    yield asked


def test_it_is_checked_once(
    of_labels: Exported, plates: Path, cache: Path, checks: list[Path], tmp_path: Path
) -> None:
    pictures = [plates / "test"]
    for _ in range(2):
        predict(of_labels.file, pictures)
    assert checks == [of_labels.file]
    (note,) = (cache / "verified").iterdir()
    note.write_text("damaged")
    predict(of_labels.file, pictures)
    other = changed(of_labels.file, tmp_path / "other.onnx", unknown_below=0.5)
    predict(other, pictures)
    assert checks == [of_labels.file, of_labels.file, other]


def test_it_is_checked_every_time_without_a_cache(
    of_labels: Exported,
    plates: Path,
    checks: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        predict(of_labels.file, [plates / "test"])
    assert len(checks) == 2


def test_a_file_that_answers_otherwise_is_refused(
    with_map: Exported, plates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = ExportedFile(with_map.file).metadata["golden"]
    right = golden.Golden.unpacked(pictures[3])
    other = right.expected | {"probabilities": np.roll(right.expected["probabilities"], 1)}
    pictures[3] = golden.Golden(right.samples, other).packed()
    path = changed(with_map.file, tmp_path / "other.onnx", golden=pictures)
    for _ in range(2):  # that it failed is not remembered as passed
        assert main(["predict", str(path), str(plates / "test"), "--csv", "p.csv"]) == 2
        errors = capsys.readouterr().err
        assert "do not use this file here" in errors and errors.count("\n") == 1
