"""The table of heads: nothing is imported for a name, and heads of other packages are in it."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cvgssl.features.table import FeatureTable, save_features
from cvgssl.heads import ALL_HEADS, HEADS, TEXT_HEADS, HeadTable
from cvgssl.heads.base import FewShotHead
from cvgssl.runtime.errors import UserError

Command = Callable[..., subprocess.CompletedProcess[str]]

OUTSIDE = """
import numpy as np
from cvgssl import FewShotHead

class FarthestMean(FewShotHead):
    def __init__(self, power=1.0):
        self.power = power

    def _fit(self, features, target):
        groups = [features[target == k] for k in range(len(self.classes_))]
        self.means_ = np.stack([group.mean(axis=0) for group in groups])

    def _probabilities(self, features):
        distances = np.linalg.norm(features[:, None] - self.means_, axis=2) ** self.power
        return distances / distances.sum(axis=1, keepdims=True)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder as pip leaves it: a module and what its package declares."""
    folder = tmp_path / "site"
    about = folder / "strange_heads-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "strange_heads.py").write_text(OUTSIDE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-heads\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[cvgssl.heads]\nfarthest-mean = strange_heads:FarthestMean\n"
    )
    return folder


def entry_points(package: Path, *lines: str) -> None:
    (points,) = package.glob("*.dist-info/entry_points.txt")
    points.write_text("\n".join(["[cvgssl.heads]", *lines]))


def features(path: Path) -> Path:
    """A features file: three classes, ten pictures of each for training and five for the test."""
    labels = np.arange(45) % 3
    values = np.eye(5)[labels] + 0.1 * np.random.default_rng(0).standard_normal((45, 5))
    splits = tuple("train" if row < 30 else "test" for row in range(45))
    names = tuple(f"{split}/{label}/{row}.png" for row, (split, label) in
                  enumerate(zip(splits, "abc" * 15, strict=True)))  # fmt: skip
    table = FeatureTable(values.astype(np.float32), names, labels, splits, ("a", "b", "c"))
    save_features(table, path)
    return path


@pytest.mark.parametrize("name", ALL_HEADS)
def test_every_name_is_a_head(name: str) -> None:
    head = ALL_HEADS[name]
    assert issubclass(head, FewShotHead)
    assert (name in TEXT_HEADS) != (name in HEADS)
    assert head.__doc__


def test_other_names_are_not_there() -> None:
    assert "nothing" not in HEADS and "zero-shot" not in HEADS
    with pytest.raises(KeyError):
        HEADS["nothing"]


def test_a_head_of_another_package_is_used_by_the_commands(
    package: Path, tmp_path: Path, command: Command, steel: Path
) -> None:
    paths = [str(package), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    env["CVGSSL_CACHE"] = str(tmp_path / "cache")
    file = features(tmp_path / "f.npz")
    words = ("bench", "--features", file, "--heads", "farthest-mean", "nearest-mean", "--shots", 2,
             "--num-draws", 3, "--settings", "inductive", "--jobs", 1, "--out", "b")  # fmt: skip
    done = command(*map(str, words), env=env)
    assert done.returncode == 0, done.stderr
    cells = {
        path.parts[-2]: json.loads(path.read_text())["value"]
        for path in (tmp_path / "b/cells").rglob("shot_2.json")
    }
    assert cells["farthest-mean"]["params"] == {"power": 1.0}
    assert np.mean(cells["farthest-mean"]["accuracy"]) < 10, "it is wrong on purpose"
    assert np.mean(cells["nearest-mean"]["accuracy"]) > 90
    module = package / "strange_heads.py"
    module.write_text(module.read_text().replace("return distances", "return 1 / distances"))
    done = command(*map(str, words), env=env)
    assert done.returncode == 0, done.stderr
    changed = json.loads(next(tmp_path.rglob("farthest-mean/shot_2.json")).read_text())["value"]
    assert changed["accuracy"] != cells["farthest-mean"]["accuracy"], "computed again"

    words = (
        "fit",
        steel,
        "--encoder",
        "tf_efficientnet_lite0,image_size=64",
        "--shot",
        "2",
        "--head",
        "farthest-mean",
    )
    done = command(*words, env=env)
    assert done.returncode == 0, done.stderr
    done = command("predict", "runs/fit", steel / "test", "--csv", "p.csv", env=env)
    assert done.returncode == 0, done.stderr
    done = command(*words, "--out", "again")
    assert done.returncode == 2, "without the package"
    assert "--head farthest-mean: no such head; there are nearest-mean, " in done.stderr


@pytest.mark.parametrize(
    ("line", "name", "message"),
    [
        ("auto = strange_heads:FarthestMean", "auto", "strange-heads: its head auto has the name"),
        ("a = strange_heads:np", "a", r"a \(strange_heads:np, .*no subclass of cvgssl.FewShotHead"),
        ("a = strange_heads:Nothing", "a", "a .*cannot be imported: .*Nothing"),
    ],
)
def test_mistakes_of_other_packages_are_told(
    package: Path, monkeypatch: pytest.MonkeyPatch, line: str, name: str, message: str
) -> None:
    entry_points(package, line)
    monkeypatch.syspath_prepend(package)
    table: HeadTable[FewShotHead] = HeadTable({"auto": "cvgssl.heads.auto:AutoHead"}, HEADS.group)
    with pytest.raises(UserError, match=message):
        table[name]
