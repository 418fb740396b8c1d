"""`cvgssl data import`: public data sets to the train/CLASS and test/CLASS layout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import ConfigDict, Field

from cvgssl.cli.command import Command
from cvgssl.images.picture_options import SizeLimit
from cvgssl.runtime.options import Written
from cvgssl.runtime.parsing import printable

EXAMPLES = 3  # file names shown per kind of oddity; import.json has all


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ImportConfig(SizeLimit):
    """Bring a public data set, as distributed, to OUT/train/CLASS and OUT/test/CLASS.

    NEU-CLS, NEU-DET and X-SDD are split by a list that comes with cvgssl, so that two people get
    the same split; GC10-DET has no customary one and is split by the series in its
    file names. Exit code 1 when pictures of the list are missing from SRC.
    """

    dataset: Literal["neu-cls", "neu-det", "x-sdd", "gc10-det"] = Field(
        description="neu-cls, neu-det, x-sdd or gc10-det"
    )
    src: Path = Field(description="the unpacked data set, in any nesting of folders")
    out: Annotated[Path, Written(folder=True)] = Field(description="new or empty folder to write")
    boxes: Literal["whole", "crop"] = Field(
        "whole",
        description="whole: pictures unchanged, of the class with the largest total box area; "
        "crop: every box as a PNG",
    )
    crop_margin: float = Field(
        0.1, ge=0, le=5, description="crops are wider by this share of the box on each side"
    )
    test_fraction: float = Field(
        0.3, gt=0, lt=1, description="share of every class for testing (gc10-det)"
    )
    seed: int = Field(0, ge=0, description="seed of the split (gc10-det)")


COMMAND = Command(ImportConfig, positional=("dataset", "src", "out"))


def run(argv: Sequence[str], prog: str) -> int:
    """Import one data set and print what was written and what was odd."""
    config = COMMAND.parse(argv, prog)

    from cvgssl.images.importers_write import import_dataset
    from cvgssl.report.terminal import print_table

    report = import_dataset(
        config.dataset,
        config.src,
        config.out,
        boxes=config.boxes,
        margin=config.crop_margin,
        test_fraction=config.test_fraction,
        seed=config.seed,
        max_megapixels=config.max_megapixels,
    )
    rows = [[name, str(train), str(test)] for name, (train, test) in report.counts.items()]
    train, test = (sum(pair[i] for pair in report.counts.values()) for i in (0, 1))
    rows.append(["all", str(train), str(test)])
    print_table(f"{config.dataset}: {config.out}", ["class", "train", "test"], rows)
    print(f"split: {report.split}")
    for kind, names in report.notes.items():
        shown = ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
        print(printable(f"{kind}: {len(names)} ({shown})"))
    print(f"all of this in {config.out / 'import.json'}")
    if report.missing:
        print(f"incomplete: {report.missing} pictures of the split list were not found")
        return 1
    return 0
