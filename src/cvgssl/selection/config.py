"""Options of `cvgssl select`. Imports no torch and no sklearn, so that `--help` is quick."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.images.picture_options import SizeLimit
from cvgssl.runtime.options import STRICT, CheckedOptions, RuntimeOption, Written

StrategyName = Literal["medoids", "typiclust", "probcover", "coreset", "random"]
"""Those of `strategies.STRATEGIES`, which take sklearn to import."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelectConfig(CheckedOptions, RuntimeOption, SizeLimit):
    """Choose which training pictures to label first.

    Writes a list to fill in (selection.csv: path,label), a contact sheet of the pictures and
    selection.json. Only training pictures are looked at, and no label but those of --labels.
    The filled list goes into `cvgssl finetune DATA --labels selection.csv`, or back into
    --labels for more.
    """

    data: Path = Field(
        description="features file (.npz, .parquet) by `cvgssl embed`, or what it takes: a folder "
        "of pictures or a CSV"
    )
    budget: int = Field(ge=1, le=1_000_000, description="how many pictures to choose")
    strategy: StrategyName = Field(
        default="medoids", description="how to choose; docs/selecting.md compares them"
    )
    labels: Path | None = Field(
        default=None,
        description="CSV of path,label, such as an earlier selection.csv, filled in or half so: "
        "add to it",
    )
    out: Annotated[Path, Written(folder=True)] = Field(
        default=Path("selection"), description="new folder for the results"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of every random choice")
    encoder: tuple[str, ...] = Field(
        default=(),
        description="for DATA that is no features file: as in `cvgssl embed`, with its default",
    )
    class_folders: bool = Field(
        default=True,
        description="for DATA that is no features file; false: its folders are not classes",
    )
    pictures: Path | None = Field(
        default=None,
        description="folder of the pictures for the contact sheet, when the features file does "
        "not say it",
    )

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            problems.append(f"--out {self.out}: exists and is not an empty folder; name a new one")
        useless = self.encoder or not self.class_folders or self.runtime != "auto"
        if self.is_features_file and useless:
            problems.append(
                f"--encoder, --class-folders, --runtime: {self.data} is a features file; leave "
                "them out, or name the folder of pictures"
            )
        return problems

    @property
    def is_features_file(self) -> bool:
        """Whether DATA holds embeddings, not pictures."""
        return self.data.suffix in (".npz", ".parquet")
