"""Sound files of every kind that cvgssl reads, small and made from a seed, and what reads them.

A `Target` is a file, the mutations that know its format, and the command (or function) that a user
would put it through. Everything is made by cvgssl's own commands, Pillow, tifffile and torch.
"""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from benchmarks.fuzz import corpus_inputs, corpus_outputs
from benchmarks.fuzz.corpus_common import weights
from benchmarks.fuzz.targets import Target, called, forked

WRITTEN = (
    *("cache", "bank", "fitted", "linear", "finetune", "pretrain", "bench", "station", "sorted"),
    *("answers.csv", "compiled.npz"),
)


def make(folder: Path, groups: Collection[str] = ()) -> list[Target]:
    """Write the corpus into the new `folder` (about 20 MB, a minute) and give its targets.

    groups: leave out what is of none of these groups; empty: all.
    """
    folder.mkdir(parents=True)
    called(folder, "data", "synth", "steel", "--per-class", "4", "--image-size", "48")
    forked(folder, lambda: weights(folder) or 0, "weights")
    (folder / "few").mkdir()
    for number, path in enumerate(sorted((folder / "steel/train").glob("*/*"))[:2]):
        shutil.copy(path, folder / "few" / f"{number}{path.suffix}")
    targets = []
    for part, made in _PARTS.items():
        if not groups or not made.isdisjoint(groups):
            targets += part(folder)
    return [target for target in targets if not groups or target.group in groups]


_PARTS: dict[Callable[[Path], list[Target]], set[str]] = {
    corpus_inputs.pictures: {"pictures"},
    corpus_inputs.lists: {"lists", "settings"},
    corpus_inputs.weights: {"weights"},
    corpus_outputs.features: {"features files", "caches"},
    corpus_outputs.runs: {"runs", "draws"},
    corpus_outputs.deployed: {"exported", "station", "answers"},
    corpus_outputs.bench: {"bench"},
}
