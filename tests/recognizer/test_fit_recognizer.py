"""A recognizer of `cvgssl fit`: it says what the benchmark's heads say, and knows its encoders."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvgssl.bench.config import BenchConfig
from cvgssl.bench.job import run_bench
from cvgssl.features.embed import embed, embed_all
from cvgssl.features.mirrors import SupportViews, embed_mirrored_each
from cvgssl.features.preparation import Preparation
from cvgssl.features.table import load_features, save_features
from cvgssl.heads import CalibratedHead, OpenSetHead
from cvgssl.recognizer.card import load_recognizer, picture_places
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import FitSummary, fit
from cvgssl.recognizer.predict import Prediction, predict
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import sha256_file

Fit = Callable[..., tuple[Path, FitSummary]]
LAYERS: dict[str, Any] = {"pooling": "cls+mean", "layers": (2, 6), "image_size": 32}


def usual(plates: Path, teacher_file: Path, out: Path) -> dict[str, Any]:
    return {"data": plates, "encoder": (f"test_vit={teacher_file}",), "out": out, **LAYERS}


@pytest.fixture(scope="module")
def as_usual(
    plates: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FitSummary]:
    out = tmp_path_factory.mktemp("usual") / "fit"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CVGSSL_CACHE", str(out.parent / "cache"))
        return fit(FitConfig(**usual(plates, teacher_file, out), shot=2))


@pytest.fixture
def fitted(
    plates: Path, teacher_file: Path, tmp_path: Path, as_usual: tuple[Path, FitSummary]
) -> Fit:
    """Fit to the plates with some options changed; a copy of `as_usual` where none is."""

    def call(**options: Any) -> tuple[Path, FitSummary]:
        out = tmp_path / "fit"
        if not options:
            return Path(shutil.copytree(as_usual[0], out)), as_usual[1]
        labels = {} if "labels" in options else {"shot": 2}
        return fit(FitConfig(**(usual(plates, teacher_file, out) | labels | options)))

    return call


def answers(found: list[Prediction]) -> list[str]:
    return [one.predicted_class for one in found]


def test_it_is_the_semi_supervised_head_of_the_benchmark(
    fitted: Fit, plates: Path, teacher_file: Path, tmp_path: Path
) -> None:
    folder, summary = fitted(seed=4)
    encoder = {"name": "vit", "encoder": [f"test_vit={teacher_file}"], **LAYERS}
    bench = run_bench(
        BenchConfig(
            data=(plates,),
            encoders=(encoder,),  # type: ignore[arg-type]
            heads=("auto",),  # type: ignore[arg-type]
            settings=("semi-supervised",),
            shots=(2,),
            num_draws=1,
            seed=4,
            jobs=1,
            out=tmp_path / "bench",
        )
    )
    (cell,) = bench.results
    assert summary.test is not None and summary.setting == "semi-supervised"
    assert (summary.labelled, summary.unlabelled, summary.test.pictures) == (12, 120, 24)
    assert summary.test.confusion == cell.confusion
    assert summary.test.macro_recall == pytest.approx(cell.macro_recall[0])
    decision = summary.decision
    assert decision is not None and decision.unlabelled == 120
    stored = json.loads((folder / "summary.json").read_text())["decision"]
    assert stored["weights"] == list(decision.weights) and stored["reason"] == decision.reason
    counts = np.zeros((6, 6), np.int64)
    for one in predict(folder, [plates / "test"], batch_size=7):
        true = summary.classes.index(one.path.parent.name)
        counts[true, summary.classes.index(one.predicted_class)] += 1
    assert counts.tolist() == cell.confusion
    assert 0 < np.trace(counts) < 24, "the test needs mistakes too"


@pytest.mark.parametrize("unknown", [False, True])
def test_probabilities_and_verdicts_are_those_of_the_calibrated_head(
    fitted: Fit, plates: Path, unknown: bool
) -> None:
    folder, _ = fitted()
    config = FitConfig(
        data=plates, encoder=encoders_of(folder), shot=2, out=folder / "none", **LAYERS
    )
    embedded = embed_all(config.embedding())
    table = embedded.table.take(np.argsort(np.array(embedded.table.names), kind="stable"))
    train, test = table.split("train"), table.split("test")
    labels = dict(label_lines(folder))
    y = np.array([table.classes.index(labels[n]) if n in labels else -1 for n in train.names])
    assert (y >= 0).sum() == 12
    prepared = Preparation(blocks=train.blocks).fit(train.values)
    rows = prepared.transform(test.values)
    head = OpenSetHead() if unknown else CalibratedHead()
    rows_of = np.array([embedded.table.names.index(train.names[i]) for i in np.flatnonzero(y >= 0)])
    (mirrored,) = embed_mirrored_each([(embedded, rows_of, config.embedding())], "both")
    assert mirrored is not None
    views = SupportViews(
        np.concatenate([prepared.transform(part) for part in np.split(mirrored.values, 3, axis=1)]),
        np.tile(np.flatnonzero(y >= 0), 3),
    )
    head.fit(prepared.transform(train.values), y, views)
    found = predict(folder, [plates / name for name in test.names], unknown=unknown, batch_size=5)
    probabilities = np.array([one.probabilities for one in found])
    np.testing.assert_allclose(probabilities, head.predict_proba(rows), atol=1e-4)
    if isinstance(head, OpenSetHead):
        assert [one.verdict for one in found] == head.verdicts(rows).tolist()
    else:
        assert {one.verdict for one in found} == {None}


def encoders_of(folder: Path) -> tuple[str, ...]:
    return tuple(json.loads((folder / "recognizer.json").read_text())["embedding"]["encoder"])


def label_lines(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "labels.csv").read_text(encoding="utf-8-sig").splitlines()[1:]
    return [(line.split(",")[0], line.split(",")[1]) for line in lines]


def test_its_own_list_of_labels_gives_it_again(fitted: Fit, tmp_path: Path) -> None:
    first, before = fitted()
    second, after = fitted(labels=first / "labels.csv", out=tmp_path / "again")
    assert before.test == after.test
    for name in ("train.npz", "labels.csv", "recognizer.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_test_pictures_change_nothing_but_what_is_said_of_them(
    fitted: Fit, plates: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(plates, tmp_path / "data"))
    first, before = fitted(data=data)
    for folder in (data / "test").iterdir():
        for picture in sorted(folder.iterdir())[1:]:
            picture.unlink()
    second, after = fitted(data=data, out=tmp_path / "fewer")
    assert before.test is not None and after.test is not None
    assert (before.test.pictures, after.test.pictures) == (24, 6)
    for name in ("train.npz", "labels.csv", "recognizer.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_folder_that_nobody_has_sorted(fitted: Fit, plates: Path, tmp_path: Path) -> None:
    (tmp_path / "loose").mkdir()
    for name in ("crazing", "patches", "scratches"):
        for picture in sorted((plates / "train" / name).iterdir()):
            shutil.copy(picture, tmp_path / "loose" / picture.name)
    names = sorted(path.name for path in (tmp_path / "loose").iterdir())
    known = {"Cr": "cracks", "Pa": "patches"}
    lines = [f"{name},{known.get(name[:2], '')}" for name in names[::4]]
    (tmp_path / "l.csv").write_text("\n".join(["path,label", *lines]))
    options = {
        "encoder": ("tf_efficientnet_lite0,image_size=64",),
        "pooling": "auto",
        "layers": (),
        "flips": "both",
    }
    folder, summary = fitted(data=tmp_path / "loose", labels=tmp_path / "l.csv", **options)
    assert summary.test is None and summary.classes == ("cracks", "patches")
    assert summary.labelled == sum(name[:2] in known for name in names[::4])
    assert summary.labelled + summary.unlabelled == len(names) == 66
    found = predict(folder, [plates / "test/crazing", plates / "test/patches"])
    right = [one.predicted_class.startswith(one.path.name[:2].lower()) for one in found]
    assert sum(right) >= 7


def test_several_encoders_that_see_pictures_differently(
    fitted: Fit, plates: Path, teacher_file: Path
) -> None:
    specs = (
        f"test_vit,pooling=cls,image_size=48={teacher_file}:0.5",
        "tf_efficientnet_lite0,image_size=64",
    )
    folder, summary = fitted(
        encoder=specs, pooling="auto", layers=(), image_size=None, head="nearest-mean"
    )
    assert summary.encoder == (
        "test_vit,pooling=cls,image_size=48+tf_efficientnet_lite0,image_size=64"
    )
    assert summary.decision is None, "only auto decides"
    together = predict(folder, [plates / "test"], batch_size=10)
    table = embed(FitConfig(data=plates, encoder=specs, shot=1, out=folder / "x").embedding())
    test = table.split("test")
    assert [one.path for one in together] == [plates / name for name in test.names]
    right = sum(one.predicted_class == one.path.parent.name for one in together)
    assert summary.test is not None
    assert summary.test.accuracy == pytest.approx(100 * right / len(together))
    for one in together[::9]:
        (alone,) = predict(folder, [one.path])
        np.testing.assert_allclose(alone.probabilities, one.probabilities, atol=1e-4)


def test_the_encoders_file_is_found_and_checked(
    fitted: Fit, plates: Path, teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVGSSL_WEIGHTS", str(tmp_path / "weights"))
    file = Path(shutil.copy(teacher_file, tmp_path / "vit.safetensors"))
    folder, _ = fitted(encoder=(f"test_vit={file}",), head="nearest-mean")
    images = [plates / "test" / "patches"]
    wanted = answers(predict(folder, images))

    moved = tmp_path / "else" / "where.safetensors"
    moved.parent.mkdir()
    shutil.move(file, moved)
    with pytest.raises(
        UserError, match=r"test_vit, .*vit\.safetensors, are gone; .*--encoder-files"
    ):
        predict(folder, images)
    assert answers(predict(folder, images, encoder_files=[str(moved)])) == wanted
    for place in (folder, tmp_path / "weights"):
        place.mkdir(exist_ok=True)
        shutil.copy(moved, place / "vit.safetensors")
        assert answers(predict(folder, images)) == wanted
        (place / "vit.safetensors").unlink()

    file.write_bytes(moved.read_bytes() + b"x")
    with pytest.raises(UserError, match=r"vit\.safetensors: has changed since .*fit again"):
        predict(folder, images)
    with pytest.raises(UserError, match=r"has sha256 .*was fitted with test_vit"):
        predict(folder, images, encoder_files=[str(file)])


def test_folders_that_are_not_whole(fitted: Fit, plates: Path, tmp_path: Path) -> None:
    folder, _ = fitted()
    images = [plates / "test" / "patches"]

    def broken(name: str, content: bytes | None, message: str) -> None:
        copy = Path(shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True))
        (copy / name).unlink()
        if content is not None:
            (copy / name).write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            predict(copy, images)
        assert "\n" not in str(caught.value)

    card = json.loads((folder / "recognizer.json").read_text())
    train = (folder / "train.npz").read_bytes()
    broken("train.npz", None, r"train\.npz: no such file")
    broken("train.npz", train[:-9], r"train\.npz: is not the file")
    broken("recognizer.json", b"{", "damaged")
    mirrored = (folder / "mirrored.npz").read_bytes()
    broken("mirrored.npz", None, r"mirrored\.npz: no such file")
    broken("mirrored.npz", train, r"mirrored\.npz: is not the file")
    other = replace(load_features(folder / "mirrored.npz"), names=tuple(map(str, range(12))))
    save_features(other, tmp_path / "other.npz")
    digest = sha256_file(tmp_path / "other.npz")
    (folder / "mirrored.npz").write_bytes((tmp_path / "other.npz").read_bytes())
    edited = json.dumps(card | {"mirrored_sha256": digest}).encode()
    broken("recognizer.json", edited, "do not belong together")
    (folder / "mirrored.npz").write_bytes(mirrored)
    broken("recognizer.json", json.dumps(card | {"format": 9}).encode(), "format 9, this version")
    broken("recognizer.json", json.dumps(card | {"classes": 3}).encode(), "wrong at classes")
    for text, place in _edits(card):
        broken("recognizer.json", text.encode(), place)
    edited = json.dumps(card | {"classes": ["a", "b"]}).encode()
    broken("recognizer.json", edited, "do not belong together")
    changed = json.dumps(card).replace('"format": 1, "reader"', '"format": 0, "reader"').encode()
    broken("recognizer.json", changed, r"gives other numbers .*\(format\); fit again")
    with pytest.raises(UserError, match="is of `cvgssl fit`; leave --draw out"):
        predict(folder, images, draw=2)


def _edits(card: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Cards that somebody edited, and where each is wrong."""
    (encoder,) = card["encoders"]
    record = encoder["record"]
    facts = record["facts"]

    def recorded(**changes: Any) -> str:
        return json.dumps(card | {"encoders": [encoder | {"record": record | changes}]})

    yield "[" * 100_000, "damaged"
    yield "[1]", "not of `cvgssl fit`"
    yield json.dumps(card | {"head": "nothing"}), "wrong at head"
    yield json.dumps(card | {"params": {"nothing": 1}}), r"wrong at params\.nothing"
    yield json.dumps(card | {"params": {"scale": "x" * 9999}}), r"wrong at params\.scale"
    yield json.dumps(card | {"embedding": {"crops": -1}}), "wrong at embedding: .*--crops -1"
    yield json.dumps(card | {"embedding": {"__dataclass_self__": 1}}), "no such option"
    yield json.dumps(card | {"encoders": []}), "wrong at encoders"
    yield json.dumps(card | {"elsewhere": {"a": "b\0c"}}), r"wrong at elsewhere\.a.*is no path"
    yield json.dumps(card | {"elsewhere": {"a": "\ud800"}}), r"wrong at elsewhere\.a"
    for spec, place in (({"file": "a\0b"}, "is no path"), ({"layers": "x"}, r"spec\.layers")):
        edited = encoder | {"spec": encoder["spec"] | spec}
        yield json.dumps(card | {"encoders": [edited]}), place
    yield json.dumps(card | {"classes": ["\ud800", "b"]}), r"wrong at classes\.0"
    yield recorded(facts={}), r"facts\.encoder"
    yield recorded(facts=facts | {"encoder": {"dim": "many"}}), r"facts\.encoder\.dim"
    yield recorded(facts=facts | {"geometry": {"size": 10**7}}), "10000000 px"
    yield recorded(weight=-1), "a weight must be"
    yield recorded(widths=[0]), "widths must be"


def test_nothing_is_left_of_a_job_that_fails(fitted: Fit, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path,label\nnone.png,a\n")
    with pytest.raises(UserError, match="not in DATA"):
        fitted(labels=tmp_path / "l.csv")
    assert not (tmp_path / "fit").exists()
    fitted()
    with pytest.raises(ValueError, match=r"--out .*exists"):
        fitted(shot=2)


def test_more_pictures_that_nobody_has_labelled(
    fitted: Fit, plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They count as if they lay in train/; copies of DATA's pictures, test/ too, do not."""
    first, whole = fitted()
    data, extra = Path(shutil.copytree(plates, tmp_path / "data")), tmp_path / "more"
    labelled = {name for name, _ in label_lines(first)}
    moved = [f for f in sorted((data / "train").rglob("*.*")) if f.relative_to(data).as_posix()
             not in labelled][::2]  # fmt: skip
    extra.mkdir()
    for number, picture in enumerate(moved):
        shutil.move(picture, extra / f"{number}{picture.suffix}")
    fewer = {"data": data, "labels": first / "labels.csv"}
    with pytest.raises(
        UserError, match=r"--unlabelled .*holds no train picture that is not in DATA"
    ):
        fitted(**fewer, out=tmp_path / "none", unlabelled=data / "test")
    for picture in (data / "test").rglob("*.*"):
        shutil.copy(picture, extra / f"copy_{picture.name}")
    shutil.copy(next((data / "train").rglob("*.bmp")), extra / "copy_of_train.bmp")
    monkeypatch.chdir(tmp_path)
    second, joined = fitted(**fewer, out=tmp_path / "joined", unlabelled=Path("more"))
    monkeypatch.chdir("/")
    card, kept = load_recognizer(second)
    places = picture_places(kept.train, card.elsewhere)
    assert {path.resolve() for path in places} == {
        *(data / "train").rglob("*.bmp"),
        *(path for path in extra.iterdir() if not path.name.startswith("copy_")),
    }
    assert len(moved) == 60 and (joined.labelled, joined.unlabelled) == (12, 120)
    assert whole.test is not None and joined.test is not None
    assert joined.test.confusion == whole.test.confusion
    pictures = [plates / "test"]
    for one, two in zip(predict(first, pictures), predict(second, pictures), strict=True):
        np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-3)


def test_a_class_that_is_called_like_a_verdict(fitted: Fit, plates: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    rows = [
        f"{path.relative_to(plates)},{'Unknown' if path.parent.name == 'patches' else 'other'}"
        for path in sorted((plates / "train").rglob("*.bmp"))[::4]
    ]
    labels.write_text("\n".join(["path,label", *rows]))
    folder, _ = fitted(labels=labels, class_folders=False)
    assert {each.predicted_class for each in predict(folder, [plates / "test"])} <= {
        "Unknown",
        "other",
    }
    with pytest.raises(UserError, match=r"--unknown: .* has a class called 'Unknown'"):
        predict(folder, [plates / "test"], unknown=True)
