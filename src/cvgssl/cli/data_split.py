"""`cvgssl data split DIR --out split.csv`: one folder of classes to a split in a file."""

from collections import Counter
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

    Every command takes the CSV as DATA. With --group-by, pictures that are in train/ and test/
    already are split again.
    """

    data: Path = Field(
        description="folder with one folder of pictures per class; with --group-by also one with "
        "train/CLASS and test/CLASS"
    )
    out: Annotated[Path, Written()] = Field(
        Path("split.csv"), description="CSV file to write: path,label,split"
    )
    test_fraction: float = Field(
        0.3, gt=0, lt=1, description="share of each class's pictures that is for testing"
    )
    seed: int = Field(0, ge=0, description="another seed gives another split")
    group_by: str = Field(
        "",
        description="keep pictures of one part on one side: twins (near twins, as data check finds "
        r"them), or a regular expression for file names whose first group, or the group called "
        r"part, names the part, as in part_(\d+)_; with a slash in it, for paths below DATA",
    )


COMMAND = Command(SplitConfig, positional=("data",))


def run(argv: Sequence[str], prog: str) -> int:
    """Write the split and print how many pictures of each class went where."""
    config = COMMAND.parse(argv, prog)

    from cvgssl.images.part_of_picture import by_pattern, by_twins
    from cvgssl.images.scan import has_own_split, load_dataset
    from cvgssl.images.splits import write_split
    from cvgssl.report.terminal import print_table
    from cvgssl.runtime.errors import UserError
    from cvgssl.runtime.parsing import counted, one_line, printable

    own_split = has_own_split(config.data)
    if own_split and not (config.group_by and config.data.is_dir()):
        remedy = "name its folder of pictures" if config.group_by else "use it as it is"
        raise UserError(f"{config.data}: already split into train and test; {remedy}")
    sizes = Counter[str]()

    def parts_of(paths: Sequence[Path], names: Sequence[str]) -> Sequence[str]:
        twins = config.group_by == "twins"
        parts = by_twins(paths, names) if twins else by_pattern(config.group_by, names)
        sizes.update(parts)
        return parts

    dataset = load_dataset(
        config.data,
        test_fraction=config.test_fraction,
        seed=config.seed,
        parts_of=parts_of if config.group_by else None,
    )
    write_split(dataset, config.out)
    if own_split:
        shown = printable(str(config.data))
        print(f"{shown}: pictures of train/ and test/ are put together and split again")

    train, test = dataset.train.counts(), dataset.test.counts()
    rows = zip(dataset.train.classes, map(str, train), map(str, test), strict=True)
    total = ("all", str(train.sum()), str(test.sum()))
    print_table("", ["class", "train", "test"], [*rows, total])
    if sizes:
        print(f"{len(sizes)} parts, the largest with {counted(max(sizes.values()), 'picture')}")
        for name, count in zip(dataset.test.classes, test, strict=True):
            if not count:
                print(f"no test pictures of class {one_line(name)}: train needs its only part")
    print(f"split written to {config.out}")
    return 0
