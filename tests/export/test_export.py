"""`cvgssl export` and `verify`: the file's answers are those of predict, or there is no file."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cvgssl.cli.main import main
from cvgssl.export import job, taught
from cvgssl.export.onnx_graph import write_graph
from cvgssl.features.table import load_features
from cvgssl.images.reader import read_picture
from cvgssl.recognizer import golden
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.exported_file import ExportedFile
from cvgssl.recognizer.exported_session import OpenvinoSession
from cvgssl.recognizer.fit import fit
from cvgssl.recognizer.predict import predict
from cvgssl.runtime.errors import UserError
from tests.conftest import Command
from tests.export.conftest import Exported

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("which", ["with_map", "of_labels", "of_texts"])
def test_it_answers_as_predict(which: str, plates: Path, request: pytest.FixtureRequest) -> None:
    made: Exported = request.getfixturevalue(which)
    exported = ExportedFile(made.file)
    assert "10 made-up pictures" in made.printed and "20 pictures of its own pool" in made.printed
    answered = predict(made.folder, [plates / "test"], unknown=True)
    assert len(answered) == 24 and exported.classes == list(answered[0].classes)
    for each in answered:
        answer = exported(read_picture(each.path), 255)
        np.testing.assert_allclose(answer["probabilities"], each.probabilities, atol=1e-4)
        sure = answer["probabilities"].max() >= exported.metadata["not_sure_below"]
        known = answer["score"] >= exported.metadata["unknown_below"]
        assert each.verdict == (("known" if sure else "not sure") if known else "unknown")


def test_it_names_the_nearest_labelled_pictures(with_map: Exported, plates: Path) -> None:
    exported = ExportedFile(with_map.file)
    labelled = exported.metadata["labelled"]
    assert len(labelled) == 12
    for place in (0, 7):
        name, label = labelled[place]
        assert f"/{label}/" in name
        answer = exported(read_picture(plates / name), 255)
        assert answer["nearest"][0] == place and answer["similarity"][0] == pytest.approx(
            1, abs=1e-5
        )
        assert len(answer["nearest"]) == 5 and (np.diff(answer["similarity"]) <= 0).all()
        train = load_features(with_map.folder / "train.npz")
        kept = train.values[train.names.index(name)]
        np.testing.assert_allclose(answer["embedding"], kept, atol=1e-4)


def test_a_picture_is_compared_with_the_pool_once(with_map: Exported, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    onnxruntime.InferenceSession(with_map.file, options)
    graph = onnx.load(tmp_path / "run.onnx").graph
    pool = set(load_features(with_map.folder / "train.npz").values.shape)
    compared = [
        node
        for node in graph.node
        for each in graph.initializer
        if each.name in node.input and set(each.dims) == pool and node.op_type == "MatMul"
    ]
    assert len(compared) == 1  # by the map and by the score


def test_gray_pictures_may_come_as_colour(with_map: Exported) -> None:
    exported = ExportedFile(with_map.file)
    gray = np.random.default_rng(0).integers(0, 256, (50, 71), dtype=np.uint8)
    answers = [exported(each, 255) for each in (gray, np.stack([gray] * 3, axis=-1))]
    np.testing.assert_allclose(*(each["probabilities"] for each in answers), atol=1e-6)


def test_what_the_file_says_of_itself(of_labels: Exported) -> None:
    about = ExportedFile(of_labels.file).metadata
    card = json.loads((of_labels.folder / "recognizer.json").read_text())
    assert about["classes"] == card["classes"] and about["bit_depth"] == 12
    assert about["hashes"]["train"] == card["train_sha256"] and len(about["hashes"]["labels"]) == 64
    assert about["head"] == "logistic" and about["options"]["resize"] == "crop"
    assert {"cvgssl", "torch", "pillow", "onnxruntime"} <= about["versions"].keys()


def test_texts_are_in_the_file(of_texts: Exported) -> None:
    about = ExportedFile(of_texts.file).metadata
    assert about["head"] == "text-ridge" and about["options"]["preparation"] == "none"
    card = json.loads((of_texts.folder / "recognizer.json").read_text())
    assert about["hashes"]["texts"] == card["texts_sha256"]


def test_verify_repeats_the_check_without_torch(with_map: Exported, tmp_path: Path) -> None:
    script = (
        "import sys; from cvgssl.cli.main import main; code = main(sys.argv[1:]); "
        "print('torch' in sys.modules); sys.exit(code)"
    )
    words = [sys.executable, "-c", script, "verify", str(with_map.file)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "10 pictures get the same class" in done.stdout and done.stdout.endswith("False\n")


def changed(file: Path, to: Path, **metadata: Any) -> Path:
    """A copy of the file with other metadata."""
    model = onnx.load(file)
    for entry in model.metadata_props:
        if entry.key in metadata:
            entry.value = json.dumps(metadata[entry.key])
    onnx.save(model, to)
    return to


@pytest.mark.parametrize("what", ["probabilities", "embedding", "score"])
def test_another_answer_is_noticed(
    what: str, with_map: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = ExportedFile(with_map.file).metadata["golden"]
    right = golden.Golden.unpacked(pictures[3])
    other = right.expected | {what: right.expected[what] + np.float32(0.02)}
    pictures[3] = golden.Golden(right.samples, other).packed()
    path = changed(with_map.file, tmp_path / "other.onnx", golden=pictures)
    assert main(["verify", str(path)]) == 2
    errors = capsys.readouterr().err
    assert (
        f"{path}: " in errors and "do not use this file here" in errors and errors.count("\n") == 1
    )


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": 99}, "has format 99"),
        ({"golden": []}, "carries no pictures"),
        ({"golden": [{"samples": 1}]}, "cannot be read as a file of `cvgssl export`"),
        ({"classes": 7}, "cannot be read as a file of `cvgssl export`"),
        ({"classes": ["a", "b"]}, "does not name 6 classes"),
        ({"not_sure_below": None}, "not_sure_below is no number"),
        ({"unknown_below": 0.5}, None),
    ],
)
def test_files_that_are_damaged(
    metadata: Any,
    message: str | None,
    of_labels: Exported,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = changed(of_labels.file, tmp_path / "bad.onnx", **metadata)
    assert main(["verify", str(path)]) == (0 if message is None else 2)
    errors = capsys.readouterr().err
    assert message is None or (message in errors and errors.count("\n") == 1)


def test_files_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    for name, message in (("text.onnx", "cannot be read"), ("none.onnx", "no such file")):
        assert main(["verify", str(tmp_path / name)]) == 2
        errors = capsys.readouterr().err
        assert message in errors and errors.count("\n") == 1


def test_a_file_that_answers_otherwise_is_not_left(
    of_labels: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write_graph(*words: object) -> None:  # the same file, without the seconds
        shutil.copy(of_labels.file, words[-1])  # type: ignore[arg-type]

    monkeypatch.setattr(job, "write_graph", write_graph)
    monkeypatch.setattr(golden, "TOLERANCE", -1.0)  # then no answer is near enough
    assert main(["export", str(of_labels.folder), str(tmp_path / "x" / "it.onnx")]) == 2
    errors = capsys.readouterr().err.splitlines()[-1]
    assert "answers otherwise for 10 pictures of 10" in errors and "no file is" in errors
    assert list((tmp_path / "x").iterdir()) == []


def test_it_is_held_against_openvino_where_that_is_installed(
    of_labels: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert re.search(r"in ONNX Runtime [\d.]+ and OpenVINO [\d.]+ 10 made-up", of_labels.printed)
    monkeypatch.setattr(job, "write_graph", lambda *words: shutil.copy(of_labels.file, words[-1]))
    words = ["export", str(of_labels.folder), str(tmp_path / "it.onnx"), "--check", "2"]
    right = OpenvinoSession.__call__
    monkeypatch.setattr(
        OpenvinoSession, "__call__", lambda self, inputs: [x * 0.99 for x in right(self, inputs)]
    )
    assert main(words) == 2
    assert "it.onnx: OpenVINO 20" in (errors := capsys.readouterr().err)
    assert "answers otherwise for" in errors and list(tmp_path.glob("*.onnx")) == []
    monkeypatch.setitem(sys.modules, "openvino", None)  # how Python notes that there is none
    assert main(words) == 0
    assert "OpenVINO" not in capsys.readouterr().out


def test_what_cannot_be_exported(
    steel: Path,
    of_labels: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(taught, "MOST_ROWS", 41)
    folder, _ = fit(
        FitConfig(
            data=steel,
            encoder=("test_resnet=random",),
            image_size=32,
            shot=1,
            head="propagation",
            out=tmp_path / "fit",
        )
    )
    bf16 = Path(shutil.copytree(of_labels.folder, tmp_path / "bf16"))
    card = json.loads((bf16 / "recognizer.json").read_text())
    card["embedding"]["precision"] = "bf16"
    (bf16 / "recognizer.json").write_text(json.dumps(card))
    for name, out, words, message in (
        (folder, "it.onnx", (), "looks at all 42 pictures .* needs 1000 pictures without a label"),
        (bf16, "it.onnx", (), "was fitted in bf16"),
        (folder, "it.onnx", ("--draw", "2"), "without --draw and --checkpoint"),
        (tmp_path, "it.onnx", (), "draw_1.safetensors: no such file; no draw is finished there"),
        (
            tmp_path,
            "it.onnx",
            ("--encoder-files", "w"),
            "files: .* holds its own weights",
        ),
        (tmp_path / "none", "it.onnx", (), "no such run folder or model file"),
        (folder, "it.pt", (), "must end in .onnx or .xml"),
    ):
        assert main(["export", str(name), str(tmp_path / out), *words]) == 2
        errors = capsys.readouterr().err
        assert re.search(message, errors.splitlines()[-1])
        assert len([line for line in errors.splitlines() if "fitted again to" not in line]) == 1
        assert not (tmp_path / out).exists()


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(
    missing: str,
    of_labels: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # how Python notes that there is none
    assert main(["export", str(of_labels.folder), str(tmp_path / "it.onnx")]) == 2
    errors = capsys.readouterr().err
    assert f"{missing} is not installed: pip install 'cvgssl[onnx]'" in errors
    if missing == "onnxruntime":
        assert main(["verify", str(of_labels.file)]) == 2
        assert "cvgssl[onnx]" in capsys.readouterr().err


def test_a_network_that_no_file_holds(tmp_path: Path) -> None:
    large = torch.nn.Module()
    large.register_buffer("weight", torch.empty(2 * 10**9, dtype=torch.uint8, device="meta"))
    with pytest.raises(UserError, match=r"2\.0 GB of numbers, an ONNX file holds 1\.5"):
        write_graph(large, (), {}, tmp_path / "it.onnx")


def test_help_of_both(command: Command) -> None:
    for name in ("export", "verify"):
        assert command(name, "--help").stdout.startswith(f"usage: cvgssl {name}")
