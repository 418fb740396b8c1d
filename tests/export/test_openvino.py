"""Files for OpenVINO: the answers of ONNX's, by the same commands."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cvgssl.cli.main import main
from cvgssl.images.reader import read_picture
from cvgssl.recognizer.exported_file import ExportedFile
from cvgssl.recognizer.predict import predict
from tests.export.conftest import Exported
from tests.export.test_clients import fifty

pytestmark = pytest.mark.slow


def test_it_answers_as_the_folder(for_openvino: Exported, tmp_path: Path) -> None:
    assert "in OpenVINO 20" in for_openvino.printed and "20 pictures of its" in for_openvino.printed
    paths = fifty(tmp_path, 4095)
    right = predict(for_openvino.folder, paths, unknown=True)
    for now, before in zip(predict(for_openvino.file, paths, unknown=True), right, strict=True):
        assert (now.predicted_class, now.verdict) == (before.predicted_class, before.verdict), (
            now.path
        )
        np.testing.assert_allclose(now.probabilities, before.probabilities, atol=1e-4)


def test_it_resizes_whole_pictures_itself(
    for_openvino: Exported, of_labels: Exported, tmp_path: Path
) -> None:
    files = ExportedFile(for_openvino.file), ExportedFile(of_labels.file)
    assert [path.suffix for path in files[0].files] == [".xml", ".bin"]
    same = ("classes", "labelled", "unknown_below", "not_sure_below", "golden", "hashes")
    assert all(files[0].metadata[name] == files[1].metadata[name] for name in same)
    for path in fifty(tmp_path, 4095):
        by_openvino, by_onnxruntime = (file(read_picture(path, 12), 255) for file in files)
        assert by_openvino.keys() == by_onnxruntime.keys()
        for name in ("probabilities", "similarity"):
            np.testing.assert_allclose(by_openvino[name], by_onnxruntime[name], atol=1e-4)


def test_verify_takes_it_and_sends_nothing(for_openvino: Exported, tmp_path: Path) -> None:
    script = (
        "import sys; from cvgssl.cli.main import main; code = main(sys.argv[1:]); "
        "print('torch' in sys.modules, sys.modules['openvino_telemetry']); sys.exit(code)"
    )
    words = [sys.executable, "-c", script, "verify", str(for_openvino.file)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "10 pictures get the same class" in done.stdout and done.stdout.endswith("False None\n")


def test_files_that_are_damaged(
    for_openvino: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, weights = tmp_path / "it.xml", tmp_path / "it.bin"
    shutil.copy(for_openvino.file, path)
    assert main(["verify", str(path)]) == 2
    assert f"{weights}: no such file" in capsys.readouterr().err
    whole = for_openvino.file.with_suffix(".bin").read_bytes()
    for bad in (whole[:-100], b"", bytes(len(whole))):
        weights.write_bytes(bad)
        assert main(["verify", str(path)]) == 2
        errors = capsys.readouterr().err
        assert str(path) in errors and errors.count("\n") == 1
    path.write_text("<net/>")
    assert main(["verify", str(path)]) == 2
    assert "cannot be read as a file of `cvgssl export`" in capsys.readouterr().err
