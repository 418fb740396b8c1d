"""`cvgssl export --int8`: encoders in integers, where answers stay as they are."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from PIL import Image

from cvgssl.cli.main import main
from cvgssl.export.config import ExportConfig
from cvgssl.export.int8 import MOST_CALIBRATION, MOST_CHECKED, Int8Changes, check_changes
from cvgssl.export.job import divided
from cvgssl.export.sources import open_source
from cvgssl.images.reader import read_picture
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.exported_file import ExportedFile
from cvgssl.recognizer.fit import fit
from cvgssl.recognizer.predict import predict
from cvgssl.runtime.errors import UserError
from tests.export.conftest import Exported

pytestmark = pytest.mark.slow


def kinds(path: Path) -> Counter[str]:
    return Counter(layer.attrib["type"] for layer in ElementTree.parse(path).iter("layer"))


def test_it_answers_nearly_as_the_folder(
    in_int8: Exported, plates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "none of 24 labelled pictures and" in in_int8.printed
    assert "of 132 of its own pool get another class" in in_int8.printed
    now = predict(in_int8.file, [plates / "train"], unknown=True)
    before = predict(in_int8.folder, [plates / "train"], unknown=True)
    pairs = list(zip(now, before, strict=True))
    assert sum(a.predicted_class == b.predicted_class for a, b in pairs) >= 119
    apart = [np.abs(np.subtract(a.probabilities, b.probabilities)).max() for a, b in pairs]
    assert 1e-4 < max(apart) < 0.5
    assert main(["verify", str(in_int8.file)]) == 0
    assert "by at most 0.0e+00" in capsys.readouterr().out


def test_encoders_are_of_integers_and_nothing_else_is(
    in_int8: Exported, for_openvino: Exported
) -> None:
    assert kinds(in_int8.file)["FakeQuantize"] > 10
    assert "FakeQuantize" not in kinds(for_openvino.file)
    ours, other = ExportedFile(in_int8.file), ExportedFile(for_openvino.file)
    assert ours.int8 and not other.int8
    for shape in [(61, 97), (600, 9)]:  # its own resize, of any size
        picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        assert ours(picture, 255).keys() == other(picture, 255).keys()


def test_others_are_checked_than_it_was_measured_on() -> None:
    pool = [Path(f"{number}.png") for number in range(1500)]
    labelled = pool[::50]
    calibration, checked = divided(pool, labelled)
    assert len(calibration) == MOST_CALIBRATION and len(checked) == MOST_CHECKED
    assert not {*calibration} & {*checked, *labelled} and {*checked} & {*labelled}
    calibration, checked = divided(pool[:600], labelled[:1])  # too few for both
    assert len(calibration) == MOST_CALIBRATION and checked == pool[:600]
    assert divided(pool[:20], pool[:5]) == ([*pool[:5], *pool[5:20]], pool[:20])


def test_changed_answers_are_refused(in_int8: Exported, plates: Path) -> None:
    exported = ExportedFile(in_int8.file)
    paths = sorted((plates / "train").rglob("*.bmp"))[::30]
    answers = {path: exported(read_picture(path, 8), 255) for path in paths}
    wanted = {path: answer["probabilities"] for path, answer in answers.items()}
    assert check_changes(exported, answers, wanted, paths[:1], paths) == Int8Changes(
        1, len(paths), 0, 0.0
    )
    wanted[paths[1]] = wanted[paths[1]][::-1].copy()  # of six classes, so the best moves
    for labelled, count in ((paths[:1], "0 of 1"), (paths[:2], "1 of 2")):
        with pytest.raises(UserError, match=f"in int8 {count} labelled pictures and 1 of") as error:
            check_changes(exported, answers, wanted, labelled, paths)
        assert str(paths[1]) in str(error.value) and "no file is left" in str(error.value)


def test_what_it_needs(
    in_int8: Exported,
    trained: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(folder: Path, name: str, *words: str) -> str:
        assert main(["export", str(folder), str(tmp_path / name), "--int8", *words]) == 2
        assert not (tmp_path / name).exists()
        return capsys.readouterr().err.splitlines()[-1]

    assert "--int8: is for OpenVINO; OUT" in refused(in_int8.folder, "it.onnx")
    assert "--check: has no effect with --int8" in refused(in_int8.folder, "it.xml", "--check", "3")
    assert "is no folder of `cvgssl fit`" in refused(trained.folder, "it.xml")
    monkeypatch.setattr("cvgssl.export.job.LEAST_CALIBRATION", 133)
    assert "is measured on 133 train pictures or more" in refused(in_int8.folder, "it.xml")
    monkeypatch.setitem(sys.modules, "nncf", None)  # how Python notes that there is none
    wanted = "nncf is not installed: pip install 'cvgssl[int8,openvino,onnx]'"
    assert wanted in refused(in_int8.folder, "it.xml")


def test_labelled_pictures_have_to_be_there(
    steel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(steel, tmp_path / "data"))
    folder, _ = fit(
        FitConfig(
            data=data,
            encoder=("test_resnet=random",),
            image_size=32,
            shot=1,
            head="nearest-mean",
            out=tmp_path / "fit",
        )
    )
    name = (folder / "labels.csv").read_text().splitlines()[1].rpartition(",")[0]
    (data / name).unlink()
    assert main(["export", str(folder), str(tmp_path / "it.xml"), "--int8"]) == 2
    errors = capsys.readouterr().err
    assert f"{data / name} cannot be read any more (1 of 6 cannot)" in errors
    assert not (tmp_path / "it.xml").exists()


def test_labelled_pictures_since_a_change_are_found_again(
    in_int8: Exported,
    plates: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where they were, from any folder; one that is gone is named."""
    monkeypatch.chdir(tmp_path)
    before, line = tmp_path / "before", tmp_path / "line"
    pictures = sorted(path for part in ("train", "test") for path in (plates / part).rglob("*.bmp"))
    for folder in (before, line):
        folder.mkdir()
    for number, path in enumerate(pictures[:120]):
        shutil.copy(path, (before, line)[number % 2] / f"{number}.bmp")
    with Image.open(line / "1.bmp") as picture:
        picture.rotate(90).save(line / "1.bmp")
    (tmp_path / "few.csv").write_text("path,label\nline/1.bmp,burr\n")
    words = ("--before", "before", "--after", "line", "--labels", "few.csv")
    assert main(["recentre", str(in_int8.folder), "moved", *words]) == 0
    monkeypatch.chdir("/")
    source = open_source(ExportConfig(tmp_path / "moved", tmp_path / "it.xml", int8=True))
    assert (len(source.labelled), len(source.pool)) == (25, 133)
    assert source.labelled[-1] == line / "1.bmp" and all(map(Path.is_file, source.labelled))
    (line / "1.bmp").unlink()
    capsys.readouterr()
    assert main(["export", str(tmp_path / "moved"), str(tmp_path / "it.xml"), "--int8"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{line / '1.bmp'} cannot be read any more (1 of 25 cannot)" in last


def test_it_reports_to_nobody(tmp_path: Path, python: str) -> None:
    """NNCF's package counts its calls by OpenVINO's telemetry, where that can be imported."""
    script = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('a connection')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "import numpy as np\n"
        "from cvgssl.recognizer.exported_session import NNCF, import_package\n"
        "nncf, openvino = import_package(NNCF), import_package('openvino')\n"
        "from openvino import opset13 as ops\n"
        "picture = ops.parameter([1, 3, 8, 8], np.float32)\n"
        "sums = ops.matmul(picture, np.eye(8, dtype=np.float32), False, False)\n"
        "rows = [np.zeros((1, 3, 8, 8), np.float32)]\n"
        "nncf.quantize(openvino.Model([sums], [picture]), nncf.Dataset(rows))\n"
        "assert not any(name.startswith('openvino_telemetry.') for name in sys.modules)\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run([python, "-c", script], check=True, env=os.environ | {"HOME": str(home)})
    assert not list(home.iterdir())


def test_a_network_that_encoders_share_runs_once(with_map: Exported) -> None:
    """A ViT has a single convolution, for patches; two encoders take of it what they pool."""
    nodes = Counter(node.op_type for node in onnx.load(with_map.file).graph.node)
    assert len(ExportedFile(with_map.file).metadata["hashes"]["weights"]) == 2
    assert nodes["Conv"] == 1
