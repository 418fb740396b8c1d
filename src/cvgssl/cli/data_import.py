"""`cvgssl data import`: public data sets to the train/CLASS and test/CLASS layout."""

from collections.abc import Sequence

from cvgssl.cli.command import Command
from cvgssl.images.import_options import ImportConfig
from cvgssl.runtime.parsing import printable

EXAMPLES = 3  # file names shown per kind of oddity; import.json has all


COMMAND = Command(ImportConfig, positional=("dataset", "src", "out"))


def run(argv: Sequence[str], prog: str) -> int:
    """Import one data set and print what was written and what was odd."""
    config = COMMAND.parse(argv, prog)

    from cvgssl.images.importers_write import import_dataset
    from cvgssl.report.terminal import print_table

    report = import_dataset(config)
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
