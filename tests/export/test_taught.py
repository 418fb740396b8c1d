"""A head whose rule a graph cannot hold: a network is taught its answers, and that is measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cvgssl.cli.main import main
from cvgssl.export import taught
from cvgssl.export.heads import HeadPart
from cvgssl.export.taught import taught_part, why_taught
from cvgssl.heads import HEADS, TEXT_HEADS, FewShotHead, OpenSetHead
from cvgssl.heads.base import Floats
from cvgssl.heads.nearest_mean import NearestMean
from cvgssl.recognizer.exported_file import ExportedFile, Teaching
from cvgssl.recognizer.predict import predict
from cvgssl.runtime.errors import UserError
from tests.export.conftest import fitted
from tests.export.test_export import changed
from tests.export.test_head_parts import clouds

LABELLED = 12


class Ours(NearestMean):
    """A head of another package; also of a known kind it may answer otherwise."""


class Chaos(FewShotHead):
    """Nobody can learn what it answers."""

    def _fit(self, features: Floats, target: np.ndarray) -> None:
        """Nothing to learn."""

    def _probabilities(self, features: Floats) -> Floats:
        answers = (features[:, 0] * 1e6).astype(np.int64) % len(self.classes_)
        return np.eye(len(self.classes_))[answers]


@pytest.fixture(autouse=True)
def less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taught, "MOST_ROWS", 200)
    monkeypatch.setattr(taught, "_STEPS", 400)


def fitted_to(head: FewShotHead, rows: np.ndarray, truth: np.ndarray) -> OpenSetHead:
    labels = np.where(np.arange(len(rows)) < LABELLED, truth, -1)
    return OpenSetHead(head).fit(rows, labels)


def teach(head: OpenSetHead, rows: np.ndarray) -> tuple[HeadPart, Teaching]:
    return taught_part("that", head, rows, np.arange(len(rows)) < LABELLED)


def test_which_heads_are_taught() -> None:
    rows, truth = clouds(201, 3)
    for name in HEADS:
        whys = [why_taught(HEADS[name]().fit(rows[:n], truth[:n])) for n in (200, 201)]
        many = "looks at all 201 pictures of its pool, of which files hold 200"
        assert whys == (["", many] if name == "propagation" else ["", ""])
    for head in TEXT_HEADS.values():
        assert why_taught(head(anchors=np.eye(3, rows.shape[1])).fit(rows, truth)) == ""
    assert "is of another package" in why_taught(Ours().fit(rows, truth))


@pytest.mark.parametrize("kind", [HEADS["propagation"], Ours])
def test_it_answers_nearly_as_its_head(kind: type[FewShotHead]) -> None:
    rows, truth = clouds(1300, 4)
    others = rows[1200:] * 2  # of another length; pictures that nobody has seen
    head = fitted_to(kind(), rows[:1200], truth[:1200])
    before = torch.get_rng_state()
    part, teaching = teach(head, rows[:1200])
    assert torch.equal(torch.get_rng_state(), before)
    assert (teaching.pictures, teaching.held_out) == (1200 - 119, 119)
    assert teaching.same_class > 0.97 and teaching.same_verdict > 0.9
    assert 0 < teaching.probability < 0.02
    answers = [part(torch.from_numpy(row[None])) for row in others]
    probabilities = np.concatenate([each.detach().numpy() for each, _ in answers])
    right = head.predict_proba(others)
    assert (probabilities.argmax(axis=1) == right.argmax(axis=1)).mean() > 0.95
    assert np.abs(probabilities - right).mean() < 0.02
    scores = np.concatenate([each.numpy() for _, each in answers])  # the rule itself
    np.testing.assert_allclose(scores, head.score_samples(others), atol=1e-9)
    again, same = teach(head, rows[:1200])
    assert same == teaching
    np.testing.assert_array_equal(
        probabilities[0], again(torch.from_numpy(others[:1]))[0].detach().numpy()[0]
    )


def test_agreement_is_measured_on_pictures_that_were_held_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, truth = clouds(1200, 4)
    head = fitted_to(HEADS["propagation"](), rows, truth)
    asked: list[np.ndarray] = []
    learn = taught._taught
    monkeypatch.setattr(
        taught, "_taught", lambda seen, right: asked.append(seen.numpy()) or learn(seen, right)
    )
    _, teaching = teach(head, rows)
    seen = {row.tobytes() for row in asked[0][:, :12]}
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    known = np.array([row.tobytes() in seen for row in unit])
    assert known[:LABELLED].all() and (~known).sum() == teaching.held_out


def test_what_cannot_be_taught() -> None:
    rows, truth = clouds(1200, 3)
    with pytest.raises(UserError, match="needs 1000 pictures without a label, here are 888; fit"):
        teach(fitted_to(Ours(), rows[:900], truth[:900]), rows[:900])
    with pytest.raises(UserError, match=r"that is of another .* gives 6\d\.\d % of 119 pictures"):
        teach(fitted_to(Chaos(), rows, truth), rows)


@pytest.mark.slow
def test_the_commands_say_how_well_it_agrees(
    plates: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(taught, "MOST_ROWS", 100)
    monkeypatch.setattr(taught, "LEAST_ROWS", 100)
    monkeypatch.setattr(taught, "LEAST_SAME", 0.5)  # of a hundred pictures by random weights
    options = {"data": plates, "encoder": ("test_resnet=random",), "image_size": 48}
    folder = fitted(options | {"head": "propagation", "preparation": "center"})(tmp_path)
    file = tmp_path / "it.onnx"
    assert main(["export", str(folder), str(file), "--check", "20"]) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    words = "taught the answers of propagation on 120 pictures: of 12 others "
    assert words in told and "20 pictures of its own pool: the same" in told
    about = ExportedFile(file).taught
    assert about is not None and str(about) in told
    right, now = (predict(model, [plates / "test"], unknown=True) for model in (folder, file))
    same = np.mean(
        [one.predicted_class == two.predicted_class for one, two in zip(right, now, strict=True)]
    )
    unknown = [[each.verdict == "unknown" for each in answers] for answers in (right, now)]
    assert same >= 0.5 and unknown[0] == unknown[1]  # what is unknown says the rule itself
    assert main(["verify", str(file)]) == 0
    assert str(about) in capsys.readouterr().out
    bad = json.loads(json.dumps({"head": "propagation"}))
    path = changed(file, tmp_path / "bad.onnx", taught=bad)
    assert main(["verify", str(path)]) == 2
    assert "cannot be read as a file of `cvgssl export`" in capsys.readouterr().err
