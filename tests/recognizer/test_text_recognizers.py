"""Recognizers whose head knows what the classes are called: `cvgssl fit --head text-ridge`."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvgssl.cli.main import main
from cvgssl.encoders.text_anchors import text_anchors
from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import embed
from cvgssl.features.table import load_features, save_features
from cvgssl.heads import TEXT_HEADS, CalibratedHead, OpenSetHead
from cvgssl.recognizer.card import load_recognizer
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import fit
from cvgssl.recognizer.predict import predict
from cvgssl.recognizer.recentring import Labelled, recentre
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file
from tests.conftest import CLIP, MadeOnce

PROMPTS = "crazing: [a net of cracks, A photo of crazing.]\nscratches: bright lines\n"
SIZE = 64  # of `clip_file`


@pytest.fixture(scope="module")
def fitted(made_once: MadeOnce, steel: Path, clip_file: Path) -> Callable[[str], Path]:
    """`fitted(HEAD)`: a folder of the recognizer, for all tests here; none may change it."""

    def of(head: str) -> Path:
        def make(to: Path) -> None:
            to.parent.mkdir(parents=True, exist_ok=True)
            prompts = to.parent / "prompts.yaml"
            prompts.write_text(PROMPTS)
            options: dict[str, Any] = {"shot": 3, "head": head, "prompts": prompts, "out": to}
            fit(FitConfig(data=steel, encoder=(f"{CLIP}={clip_file}",), image_size=SIZE, **options))
            prompts.unlink()  # nothing below may need it

        return made_once(f"text_recognizer_{head}", make)

    return of


@pytest.fixture
def copied(fitted: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(fitted("text-ridge"), tmp_path / "copy"))


@pytest.mark.parametrize("name", TEXT_HEADS)
def test_it_is_the_head_on_plain_rows_and_needs_no_text_tower(
    name: str,
    fitted: Callable[[str], Path],
    steel: Path,
    clip_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = fitted(name)
    card, kept = load_recognizer(folder)
    given = {"crazing": ["a net of cracks", "A photo of crazing."], "scratches": ["bright lines"]}
    texts = text_anchors(card.classes, f"{CLIP}={clip_file}", given)
    train = kept.train.take(np.argsort(np.array(kept.train.names), kind="stable"))
    rows = train.values / np.linalg.norm(train.values, axis=1, keepdims=True)
    test = embed(EmbedConfig(**_embedding(steel, clip_file))).split("test")
    assert card.preparation == "none" and kept.mirrored is None and (train.labels >= 0).sum() == 18
    monkeypatch.setitem(sys.modules, "open_clip", None)  # cannot be imported
    for around in (CalibratedHead, OpenSetHead):
        head = TEXT_HEADS[name](anchors=texts.values, anchor_scale=texts.scale)
        whole = around(head).fit(rows, train.labels)
        found = predict(
            folder, [steel / each for each in test.names], unknown=around is OpenSetHead
        )
        probabilities = np.array([one.probabilities for one in found])
        np.testing.assert_allclose(probabilities, whole.predict_proba(test.values), atol=1e-4)
        if isinstance(whole, OpenSetHead):
            assert [one.verdict for one in found] == whole.verdicts(test.values).tolist()
    (near, *_) = predict(folder, [steel / train.names[0]], nearest=2)
    assert len(near.nearest) == 2


def _embedding(steel: Path, clip_file: Path) -> dict[str, Any]:
    return {"data": steel, "encoder": (f"{CLIP}={clip_file}",), "image_size": SIZE}


def test_what_it_tells(fitted: Callable[[str], Path]) -> None:
    folder = fitted("text-ridge")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["prompts"]["scratches"][0] == "a photo of bright lines on a metal surface."
    assert summary["prompts"]["crazing"][-1] == "A photo of crazing."
    assert summary["mirror_images"] == 0 and summary["test"]["pictures"] == 18
    card = json.loads((folder / "recognizer.json").read_text())
    assert card["params"] == {"kernel": "gauss", "ridge": 0.1, "scale": 6.0}
    assert card["texts_sha256"] == sha256_file(folder / "texts.npz")


def test_the_command_writes_a_page_with_the_sentences(
    steel: Path, clip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", str(steel), "--encoder", f"{CLIP}={clip_file}", "--image-size", str(SIZE)]
    words += ["--head", "zero-shot", "--shot", "1", "--out", str(tmp_path / "it")]
    assert main(words) == 0
    assert "zero-shot on 6 labelled" in capsys.readouterr().out
    page = (tmp_path / "it" / "report.html").read_text()
    assert "a close-up photo of rolled-in scale on steel." in page
    assert "prompts: null" in (tmp_path / "it" / "config.yaml").read_text()


def test_damaged_texts_are_noticed(copied: Path, steel: Path) -> None:
    card = json.loads((copied / "recognizer.json").read_text())
    whole = load_features(copied / "texts.npz")

    def asked(**changes: Any) -> str:
        (copied / "recognizer.json").write_text(json.dumps(card | changes))
        with pytest.raises(UserError) as caught:
            predict(copied, [steel / "test" / "patches"])
        assert "\n" not in str(caught.value)
        return str(caught.value)

    for wrong, message in _wrong(whole):
        save_features(wrong, copied / "texts.npz")
        assert message in asked(texts_sha256=sha256_file(copied / "texts.npz"))
        assert "texts.npz: is not the file that" in asked()
    (copied / "texts.npz").unlink()
    assert "texts.npz: no such file; copy the whole folder" in asked()
    assert "do not belong together" in asked(texts_sha256=None)
    assert "is wrong at params.anchors" in asked(params={"anchors": [[1.0]]})
    assert "is wrong at params.anchor_scale" in asked(params={"anchor_scale": 1.0})


def _wrong(whole: Any) -> Iterator[tuple[Any, str]]:
    """Tables that are no texts of the recognizer's classes, and what is said of them."""
    few = np.arange(4)
    yield whole.take(few), "do not belong together"
    yield replace(whole, values=whole.values[:, :7]), "do not belong together"
    yield replace(whole, about={}), "texts.npz: texts of classes have no scale; write or copy"
    labels = np.array([0, 1, 2, 3, 4, 4])
    yield replace(whole, labels=labels), "do not belong together"
    yield replace(whole, labels=np.array([0, 1, 2, 3, 4, -1])), "do not belong together"
    twice = whole.take(np.array([0, 1, 2, 3, 4, 5, 5]))
    yield replace(twice, names=tuple("0123456")), "texts.npz: texts are not one row for each class"


OF_THE_FILE = ("crazing needs a description", "prompts.yaml: no such file")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "vit"}, "tiny_vit.safetensors has no text tower; give a file of the whole"),
        ({"encoder": "random"}, "random has no text tower; give a file of the whole CLIP"),
        ({"encoder": "installed"}, "has no text tower; give a file"),
        ({"encoder": "both"}, "texts of the same CLIP; name one --encoder, not 2"),
        ({"pooling": "mean"}, "pooling mean gives embeddings from before the CLIP's projection"),
        ({"encoder": "pooled"}, "pooling cls gives embeddings from before"),
        ({"prompts": "rust: brown"}, "no class is called rust; the classes are crazing, incl"),
        ({"prompts": "crazing: []"}, "crazing needs a description"),
        ({"prompts": "crazing: patches"}, "crazing and patches read the same; describe them apart"),
        ({"prompts": f"crazing: {'scale ' * 99}"}, "tokens, 77 are read; shorten it"),
        ({"prompts": ""}, "prompts.yaml: no such file"),
    ],
)
def test_refused_before_anything_is_embedded(
    options: dict[str, str],
    message: str,
    steel: Path,
    clip_file: Path,
    teacher_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clip = f"{CLIP}={clip_file}"
    encoders = {
        "vit": [f"test_vit={teacher_file}"],
        "random": ["test_vit=random"],
        "installed": [],
        "both": [clip, f"test_vit={teacher_file}"],
        "pooled": [f"{CLIP},pooling=cls={clip_file}"],
    }
    encoder = encoders.get(options.get("encoder", ""), [clip])
    words = ["fit", str(steel), "--head", "text-ridge", "--shot", "1", "--out", str(tmp_path / "r")]
    words += ["--encoder", *encoder] if encoder else []
    words += ["--pooling", options["pooling"]] if "pooling" in options else []
    if (given := options.get("prompts")) is not None:
        if given:
            (tmp_path / "prompts.yaml").write_text(given)
        words += ["--prompts", str(tmp_path / "prompts.yaml")]
    monkeypatch.setattr("cvgssl.recognizer.fit.embed_all", None)
    assert main(words) == 2
    printed = capsys.readouterr().err
    flag = "--prompts: " if message in OF_THE_FILE else "--head text-ridge: "
    assert message in printed and flag in printed
    assert len([line for line in printed.splitlines() if line.startswith("cvgssl")]) == 1
    assert not (tmp_path / "r").exists()


def test_features_of_another_space(steel: Path, tmp_path: Path, clip_file: Path) -> None:
    """A CLIP without a projection of pictures gives rows of another width than its texts."""
    from safetensors.torch import load_file, save_file

    state = load_file(clip_file)
    del state["visual.proj"]
    (tmp_path / "c").mkdir()
    save_file(state, tmp_path / "c" / "open_clip_model.safetensors")
    encoder = (f"{CLIP}={tmp_path / 'c' / 'open_clip_model.safetensors'}",)
    options: dict[str, Any] = {"image_size": SIZE, "shot": 1, "head": "zero-shot"}
    with pytest.raises(UserError, match=r"^--head zero-shot: .*768 numbers.* 48: not one space"):
        fit(FitConfig(data=steel, encoder=encoder, out=tmp_path / "r", **options))
    assert not (tmp_path / "r").exists()


def test_classes_of_a_list(steel: Path, clip_file: Path, tmp_path: Path) -> None:
    """They are what people wrote, and the texts are of these."""
    names = [f"train/{path.parent.name}/{path.name}" for path in steel.glob("train/*/*")]
    lines = [f"{name},{'Pits & dents' if 'pitted' in name else 'fine'}" for name in sorted(names)]
    (tmp_path / "l.csv").write_text("\n".join(["path,label", *lines[::3], f"{lines[1][:-4]}?"]))
    options = _embedding(steel, clip_file) | {"class_folders": False, "head": "text-tip"}
    folder, summary = fit(FitConfig(**options, labels=tmp_path / "l.csv", out=tmp_path / "r"))
    assert summary.classes == ("Pits & dents", "fine") and summary.test is None
    assert (
        summary.prompts is not None
        and "a photo of pits & dents on" in summary.prompts["Pits & dents"][0]
    )
    assert len(load_recognizer(folder)[1].texts or ()) == 2
    (tmp_path / "e.csv").write_text(f"path,label\n{names[0]},\n")
    with pytest.raises(UserError, match=r"^--labels .*no picture has a label"):
        fit(FitConfig(**options, labels=tmp_path / "e.csv", out=tmp_path / "e"))


def test_recentred_it_keeps_its_texts(copied: Path, steel: Path, tmp_path: Path) -> None:
    card, kept = load_recognizer(copied)
    line = np.random.default_rng(0).normal(0, 1, (60, 48)).astype(np.float32)
    others = np.random.default_rng(1).normal(0, 1, (2, 48)).astype(np.float32)
    recentre(
        copied,
        line,
        line + 0.1,
        tmp_path / "moved",
        Labelled(["a"], [steel], ["patches"], others[:1]),
    )
    again, moved = load_recognizer(tmp_path / "moved")
    assert moved.texts is not None and kept.texts is not None
    assert np.array_equal(moved.texts.values, kept.texts.values)
    assert again.head == card.head and len(moved.train) == len(kept.train) + 1
    assert len(predict(tmp_path / "moved", [steel / "test" / "patches"], unknown=True)) == 3
    with pytest.raises(UserError, match="needs a text for each class and keeps none of dent; fit"):
        recentre(
            copied, line, line, tmp_path / "more", Labelled(["a"], [steel], ["dent"], others[:1])
        )
    assert not (tmp_path / "more").exists()
