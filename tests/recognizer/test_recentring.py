"""Train pictures moved to where a changed camera shows them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.features.config import EmbedConfig
from cvgssl.features.embed import embed
from cvgssl.features.table import FeatureTable
from cvgssl.recognizer.alarm_file import NamedEmbeddings
from cvgssl.recognizer.card import load_recognizer, picture_places
from cvgssl.recognizer.changes import ChangeLog, identity
from cvgssl.recognizer.config import AlarmOptions, FitConfig
from cvgssl.recognizer.fit import fit
from cvgssl.recognizer.head import FittedHead
from cvgssl.recognizer.measuring import Arrival
from cvgssl.recognizer.recentring import Labelled, recentre, recentred
from cvgssl.runtime.errors import UserError
from tests.conftest import Command, MadeOnce


def test_they_move_as_far_as_others_have_moved() -> None:
    generator = np.random.default_rng(0)
    train, line = generator.normal(0, 1, (9, 4)), generator.normal(0, 1, (80, 4))
    moved = recentred(train, line, line + np.array([0.5, 0, -2, 0]))
    assert np.allclose(moved - train, [0.5, 0, -2, 0], atol=1e-6)
    assert moved.dtype == np.float32


def test_without_negative_numbers_square_roots_move() -> None:
    generator = np.random.default_rng(1)
    train, line = generator.random((9, 4)) + 1, generator.random((80, 4)) + 1
    moved = recentred(train, line, (np.sqrt(line) + 0.3) ** 2)
    assert np.allclose(np.sqrt(moved), np.sqrt(train) + 0.3, atol=1e-5)
    assert (recentred(train, line, 0 * line) >= 0).all()


@pytest.fixture(scope="module")
def fitted(made_once: MadeOnce, steel: Path, teacher_file: Path) -> Path:
    def make(to: Path) -> None:
        encoder = (f"test_vit={teacher_file}",)
        fit(FitConfig(data=steel, encoder=encoder, image_size=32, shot=2, out=to))

    return made_once("recentring", make)


def test_a_recognizer_is_written_whole(fitted: Path, tmp_path: Path) -> None:
    card, kept = load_recognizer(fitted)
    line = np.random.default_rng(2).normal(0, 1, (60, kept.train.values.shape[1]))
    line = line.astype(np.float32)
    with pytest.raises(UserError, match="49 pictures before the change and 60 since"):
        recentre(fitted, line[:49], line, tmp_path / "few")
    assert not (tmp_path / "few").exists()
    recentre(fitted, line, line + 1, tmp_path / "moved")
    again, moved = load_recognizer(tmp_path / "moved")
    assert again.classes == card.classes and moved.train.names == kept.train.names
    assert np.allclose(moved.train.values - kept.train.values, 1, atol=1e-4)
    assert kept.mirrored is not None and moved.mirrored is not None
    assert np.allclose(moved.mirrored.values - kept.mirrored.values, 1, atol=1e-4)
    labels = (fitted / "labels.csv").read_bytes()
    assert (tmp_path / "moved" / "labels.csv").read_bytes() == labels
    summary = json.loads((tmp_path / "moved" / "summary.json").read_text())
    assert summary["test"] is None and summary["head"] == card.head
    assert not (tmp_path / "moved" / "report.html").exists()


def test_labels_since_the_change_are_learned_as_they_are(fitted: Path, tmp_path: Path) -> None:
    """Of a known class, of a new one and a known name; not a copy of what it learned from."""
    card, kept = load_recognizer(fitted)
    line = np.random.default_rng(2).normal(0, 1, (60, kept.train.values.shape[1]))
    line = line.astype(np.float32)
    taken, known = kept.train.names[0], card.classes[1]
    names, values = ["new/1.png", taken, "copy.png"], np.stack([*line[:2], kept.train.values[0]])
    places = [tmp_path / name for name in ("new 1.png", "2.png", "copy.png")]
    labelled = Labelled(names, places, [known, "burr", known], values)
    joined = recentre(fitted, line, line + 1, tmp_path / "moved", labelled)
    assert joined == (2, ("burr",))
    again, moved = load_recognizer(tmp_path / "moved")
    assert again.classes == tuple(sorted([*card.classes, "burr"]))
    count = len(kept.train)
    assert moved.train.names == (*kept.train.names, "new/1.png", f"since the change/{taken}")
    assert (moved.train.values[count:] == line[:2]).all()
    found = picture_places(moved.train, again.elsewhere)
    assert found[count:] == places[:2] and all(path.is_file() for path in found[:count])
    once_more = Labelled([taken], [tmp_path / "3.png"], ["burr"], line[2:3])
    recentre(tmp_path / "moved", line, line, tmp_path / "again", once_more)
    card_of_both, both = load_recognizer(tmp_path / "again")
    assert both.train.names[-1] == f"since the change/since the change/{taken}"
    found = picture_places(both.train, card_of_both.elsewhere)
    assert found[count:] == [*places[:2], tmp_path / "3.png"]

    def classes(table: FeatureTable) -> list[str]:
        return [table.classes[label] if label >= 0 else "" for label in table.labels]

    assert classes(moved.train) == [*classes(kept.train), known, "burr"]
    assert moved.mirrored is not None and kept.mirrored is not None
    assert classes(moved.mirrored) == classes(kept.mirrored)
    listed = (tmp_path / "moved" / "labels.csv").read_text(encoding="utf-8-sig").splitlines()
    assert listed[-2:] == [f"new/1.png,{known}", f"since the change/{taken},burr"]
    summary = json.loads((tmp_path / "moved" / "summary.json").read_text())
    assert summary["labelled"] == len(listed) - 1 and "burr" in summary["classes"]
    head = FittedHead(moved, again)
    probabilities, _ = head(line[:2])
    assert [again.classes[place] for place in probabilities.argmax(axis=1)] == [known, "burr"]


def test_by_two_folders(fitted: Path, steel: Path, tmp_path: Path, command: Command) -> None:
    """They move as far as the embeddings of the darker pictures have moved."""
    for number, path in enumerate(sorted((steel / "test").glob("*/*"))):
        for turn in range(4):  # as many as are needed
            with Image.open(path) as picture:
                shown = picture.rotate(90 * turn)
            for gain, folder in ((1.0, "before"), (0.4, "after")):
                place = tmp_path / folder / f"{number}-{turn}.png"
                place.parent.mkdir(exist_ok=True)
                shown.point([round(gain * gray) for gray in range(256)]).save(place)
    count = len(list((tmp_path / "after").iterdir()))
    done = command("recentre", fitted, "moved", "--before", "before", "--after", "after")
    assert done.returncode == 0, done.stderr
    assert f"{count} pictures before the change and {count} since" in done.stdout
    (tmp_path / "after" / "bad.png").write_bytes(b"no picture")
    words = ("--before", "before", "--after", "after", "--skip-corrupt")
    assert command("recentre", fitted, "again", *words).returncode == 0
    moved, again = (load_recognizer(tmp_path / name)[1].train.values for name in ("moved", "again"))
    assert (moved == again).all()
    _, kept = load_recognizer(fitted)
    encoder = json.loads((fitted / "recognizer.json").read_text())["encoders"][0]["spec"]["file"]
    (tmp_path / "after" / "bad.png").unlink()
    first, second = (
        embed(
            EmbedConfig(
                data=tmp_path / folder,
                encoder=(f"test_vit={encoder}",),
                image_size=32,
                class_folders=False,
            )
        ).values
        for folder in ("before", "after")
    )
    assert np.allclose(moved, recentred(kept.train.values, first, second), atol=1e-4)
    assert np.abs(moved - kept.train.values).max() > 0.1
    named = command("predict", "moved", "after/0-0.png", "--csv", "-")
    assert named.returncode == 0 and named.stdout.count("\n") == 2
    _a_few_labels(fitted, tmp_path, command)


def _places(name: str, tmp_path: Path) -> list[Path]:
    card, kept = load_recognizer(tmp_path / name)
    return picture_places(kept.train, card.elsewhere)


def _a_few_labels(fitted: Path, tmp_path: Path, command: Command) -> None:
    words = ("--before", "before", "--after", "after", "--labels", "few.csv")
    few = tmp_path / "few.csv"
    few.write_text("path,label\n0-0.png,burr\nafter/0-1.png,burr\n1-0.png,\n2-0.png,?\n")
    done = command("recentre", fitted, "labelled", *words)
    assert (
        done.returncode == 0 and "; 2 labels of these are learned, too (new: burr)" in done.stdout
    )
    named = command("predict", "labelled", "after/0-0.png", "--nearest", "1", "--csv", "-")
    assert named.returncode == 0, named.stderr
    assert named.stdout.count("burr") >= 2 and "after/0-0.png" in named.stdout.split(",", 1)[1]
    assert _places("labelled", tmp_path)[-2:] == [tmp_path / "after" / f"0-{n}.png" for n in (0, 1)]
    few.write_text("path,label\n0-0.png,\n")
    done = command("recentre", fitted, "wrong", *words)
    assert done.returncode == 2 and "few.csv: no picture has a label" in done.stderr
    few.write_text("path,label\n0-0.png,burr\nbefore/0-0.png,burr\n")
    done = command("recentre", fitted, "wrong", *words)
    assert done.returncode == 2 and "few.csv line 3: before/0-0.png is no picture" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "wrong").exists()


def test_by_the_file_of_an_alarm(fitted: Path, tmp_path: Path, command: Command) -> None:
    _, kept = load_recognizer(fitted)
    width = kept.train.values.shape[1]
    log = ChangeLog(tmp_path / "line.alarm", identity(fitted), kept.train.names, AlarmOptions())

    def feed(numbers: range, level: float) -> None:
        for number in numbers:
            values = np.random.default_rng(number).standard_normal(10)
            values[1] += level
            embedding = np.full(width, level / 8 - 1, np.float32)
            log.take([Arrival(f"{number}.png", 0, embedding, values, 0)])

    feed(range(200), 0.0)
    (tmp_path / "few.csv").write_text("path,label\n229.png,burr\n")
    words = ("recentre", fitted, "moved", "--alarm", "line.alarm", "--labels", "few.csv")
    done = command(*words)
    assert done.returncode == 2 and "line.alarm: holds no alarm" in done.stderr
    feed(range(200, 230), 4.0)
    done = command(*words)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "since are known: re-centring needs 50 of each; wait for more" in done.stderr
    assert not (tmp_path / "moved").exists()
    feed(range(230, 260), 4.0)
    (alarm,) = log.alarms()
    done = command(*words)  # while the file is open here
    assert done.returncode == 0, done.stderr
    since = 260 - (alarm.pictures - alarm.since)
    assert f"{260 - since} pictures before the change and {since} since" in done.stdout
    _, moved = load_recognizer(tmp_path / "moved")
    assert np.allclose(moved.train.values[:-1] - kept.train.values, 0.5, atol=0.02)
    assert moved.train.names[-1] == "229.png" and (moved.train.values[-1] == -0.5).all()
    assert _places("moved", tmp_path)[-1] == tmp_path / "229.png", "where `predict` was asked"
    log.close()


def test_names_that_stand_for_one_picture() -> None:
    values = np.array([[1, 0], [2, 0], [1, 0], [3, 0]], np.float32)
    found = NamedEmbeddings(["a.png", "cam.png", "a.png", "cam.png"], values)
    assert found.rows() == {"a.png": 0}, "two pictures are called cam.png"


def test_what_cannot_be(fitted: Path, steel: Path, tmp_path: Path, command: Command) -> None:
    log = ChangeLog(tmp_path / "other.alarm", "another", [], AlarmOptions())
    log.close()
    (tmp_path / "note").write_text("hello")
    (tmp_path / "empty").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    shutil.copytree(steel / "test", tmp_path / "some")
    lacking = ((), ("--before", "some"), ("--after", "some"))
    both = ("--alarm", "note", "--before", "some")
    folders = ("--before", "some", "--after", "nowhere")
    for words, told in (
        *(
            ((fitted, "out", *each), "--before FOLDER --after FOLDER) is needed")
            for each in lacking
        ),
        ((fitted, "out", *both), "name the file or both folders"),
        ((fitted, "full", "--alarm", "note"), "OUT full: exists and is not an empty folder"),
        (("some", "out", "--alarm", "note"), "some: keeps no embeddings to move"),
        ((fitted, "out", "--alarm", "note"), "note: is damaged or no file of --alarm"),
        ((fitted, "out", "--alarm", "empty"), "empty: is empty, no file of --alarm"),
        ((fitted, "out", "--alarm", "missing"), "missing: no such file"),
        ((fitted, "out", "--alarm", "other.alarm"), "about the pictures of another recognizer"),
        ((fitted, "out", *folders), "nowhere: no such file or folder"),
    ):
        done = command("recentre", *words)
        assert done.returncode == 2 and told in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1 and not (tmp_path / "out").exists()
    assert (tmp_path / "empty").read_text() == ""
