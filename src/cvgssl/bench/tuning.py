"""Fine-tuning as cells of the benchmark: the runs of `cvgssl finetune` on the benchmark's draws.

They are inductive, or semi-supervised with pseudo-labels, take the first `num_finetune_draws` of
the draws that heads take all of, and are shown in the table of the encoder that they start from,
paired with the same draws.
"""

import contextlib
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvgssl.adapt.config import FinetuneConfig
from cvgssl.adapt.draws import Draws, save_draws
from cvgssl.bench.cells import CELLS, CellResult
from cvgssl.bench.config import BenchConfig, Setting
from cvgssl.bench.entries import FinetuneChoice
from cvgssl.bench.recorded import Recorded, digest_of_draws, file_name
from cvgssl.bench.sources import LoadedSource
from cvgssl.encoders.shards import weights_digest
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import CONFIG, to_dict
from cvgssl.runtime.parsing import parse_json, parsing

RUNS = "finetune"
_REMEDY = "remove its folder to run it again"


@dataclass(frozen=True)
class Tuning:
    """One data set, one way of fine-tuning, one shot. draws_digest: of the heads' draws."""

    source: LoadedSource
    choice: FinetuneChoice
    shot: int
    draws: Draws
    draws_digest: str

    def key(self) -> str:
        """SHA-256 of pictures' names, draws, options and weights."""
        named = self.choice.options.get("pretrained", "")
        weights = weights_digest(Path(named)) if named and Path(named).is_file() else named
        options = to_dict(self._config()) | {"out": None, "draws": None, "resume": None}
        parts = [1, self.source.digest, self.draws.supports, options, weights]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def path(self, out: Path) -> Path:
        """The file of the result, beside those of heads."""
        parts = (
            self.source.data,
            self.source.encoder,
            tuning_setting(self.choice),
            self.choice.name,
        )
        return out.joinpath(CELLS, *map(file_name, parts), f"shot_{self.shot}.json")

    def run(self, out: Path) -> CellResult:
        """Fine-tune on every draw, or finish a run that was interrupted.

        Raises UserError for what `cvgssl finetune` does, and Stopped after a signal.
        """
        from cvgssl.adapt.protocol import adapt
        from cvgssl.runtime.run import SUMMARY

        name = f"{file_name(self.source.data)}_{file_name(self.choice.name)}_{self.shot}"
        folder = out / RUNS / f"{name}_{self.key()[:8]}"
        if not (folder / SUMMARY).is_file():
            file = out / RUNS / f"{name}_draws.json"
            save_draws(self.draws, file)
            resume = folder if (folder / CONFIG).is_file() else None
            config = self._config(draws=file, out=folder, resume=resume)
            with contextlib.redirect_stdout(sys.stderr):
                adapt(config)
        summary = parse_json(folder / SUMMARY, "a run's summary", _REMEDY)
        with parsing(folder / SUMMARY, "a run's summary", _REMEDY):
            return self._result(summary)

    def _config(self, **more: Any) -> FinetuneConfig:
        assert self.source.pictures is not None, "planned only where there are pictures"
        return FinetuneConfig(data=self.source.pictures, **(self.choice.options | more))

    def _result(self, summary: dict[str, Any]) -> CellResult:
        scores = summary["last_epoch"]
        by_draw = scores["by_draw"]
        known = {"setting": summary["setting"]}  # says if pre-training may have seen test pictures
        return CellResult(
            self.key(),
            self.source.data,
            self.source.encoder,
            self.choice.name,
            tuning_setting(self.choice),
            self.shot,
            self.draws_digest,
            _uses_unlabelled(self.choice),
            self.choice.options | known,
            [each["accuracy"] for each in by_draw],
            [each["macro_recall"] for each in by_draw],
            [summary["seconds"] / len(by_draw)] * len(by_draw),
            summary["classes"],
            scores["confusion"],
            {},
            [],
        )


def tuning_setting(choice: FinetuneChoice) -> Setting:
    """What it uses beside the labelled pictures; test pictures are classified one by one."""
    return "semi-supervised" if _uses_unlabelled(choice) else "inductive"


def _uses_unlabelled(choice: FinetuneChoice) -> bool:
    return FinetuneConfig(data=Path(), **choice.options).pseudo_labels


def plan_tunings(
    config: BenchConfig, sources: list[LoadedSource], recorded: dict[str, Recorded]
) -> list[Tuning]:
    """All fine-tuning cells; raises UserError for those that have no pictures to tune on."""
    tunings, problems = [], []
    for choice in config.finetune:
        if tuning_setting(choice) not in config.settings:
            problems.append(
                f"finetune {choice.name}: is {tuning_setting(choice)}; add that to settings, or "
                "leave it out"
            )
        fitting = [
            source
            for source in sources
            if choice.encoder in (source.encoder, "") and source.pictures
        ]
        if not fitting:
            problems.append(
                f"finetune {choice.name}: no features with pictures"
                + (f" of the encoder {choice.encoder}" if choice.encoder else "")
            )
        for source in {source.data: source for source in reversed(fitting)}.values():
            for shot, draws in recorded[source.data].draws.items():
                first = Draws(
                    draws.supports[: config.num_finetune_draws], shot, draws.imbalance, draws.seed
                )
                tunings.append(Tuning(source, choice, shot, first, digest_of_draws(draws, None)))
    if problems:
        raise UserError("\n".join(problems))
    return tunings
