"""`cvgssl data split DIR --out split.csv`: one folder of classes to a split in a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cvgssl.cli.command import Command
from cvgssl.runtime.options import Written


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SplitConfig:
    """Split one folder of classes into train and test, each class alike, as a CSV.

    Every command takes the CSV as DATA.
    """

    data: Path = Field(description="folder with one folder of pictures per class")
    out: Annotated[Path, Written()] = Field(
        Path("split.csv"), description="CSV file to write: path,label,split"
    )
    test_fraction: float = Field(
        0.3, gt=0, lt=1, description="share of each class's pictures that is for testing"
    )
    seed: int = Field(0, ge=0, description="another seed gives another split")


COMMAND = Command(SplitConfig, positional=("data",))


def run(argv: Sequence[str], prog: str) -> int:
    """Write the split and print how many pictures of each class went where."""
    config = COMMAND.parse(argv, prog)

    from cvgssl.images.scan import has_own_split, load_dataset
    from cvgssl.images.splits import write_split
    from cvgssl.report.terminal import print_table
    from cvgssl.runtime.errors import UserError

    if has_own_split(config.data):
        raise UserError(f"{config.data}: already split into train and test; use it as it is")
    dataset = load_dataset(config.data, test_fraction=config.test_fraction, seed=config.seed)
    write_split(dataset, config.out)

    train, test = dataset.train.counts(), dataset.test.counts()
    rows = zip(dataset.train.classes, map(str, train), map(str, test), strict=True)
    total = ("all", str(train.sum()), str(test.sum()))
    print_table("", ["class", "train", "test"], [*rows, total])
    print(f"split written to {config.out}")
    return 0
