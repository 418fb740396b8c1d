"""`cvgssl data check`: what would spoil a result on these pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import ConfigDict, Field

from cvgssl.cli.command import Command
from cvgssl.images.picture_options import SizeLimit
from cvgssl.runtime.options import Written
from cvgssl.runtime.parsing import printable, shortened

LONGEST = 80  # characters of a name in the tables; the JSON has it whole
EXAMPLES = 3  # groups of files shown per finding; the JSON has all


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckConfig(SizeLimit):
    """Find what would spoil a result on a folder of pictures.

    Exit code 1 when a result would be spoiled: files that cannot be read, a picture in both train
    and test, many near twins across train and test, a picture under two labels, masks counted as
    pictures, or a class of test that train does not have. Other findings are warnings and hints,
    exit code 0.
    """

    data: Path = Field(
        description="folder with train/ and test/, folder of classes, plain folder, or CSV of "
        "path,label,split"
    )
    json: Annotated[str, Written()] = Field(
        "", description="write all findings to this file as JSON; - is standard output"
    )


COMMAND = Command(CheckConfig, positional=("data",))


def run(argv: Sequence[str], prog: str) -> int:
    """Check, print a table (or only JSON) and return the exit code."""
    config = COMMAND.parse(argv, prog)

    from cvgssl.images.check import CheckReport, check_data
    from cvgssl.report.terminal import print_table
    from cvgssl.runtime.files import write_json

    def show(report: CheckReport) -> None:
        splits = sorted({name for row in report.counts.values() for name in row}, reverse=True)
        rows = [
            [shortened(label, LONGEST) or "(no label)", *(str(row.get(name, 0)) for name in splits)]
            for label, row in report.counts.items()
        ]
        print_table(str(config.data), ["class", *(name or "pictures" for name in splits)], rows)
        if report.findings:
            print()
            lines = [
                [
                    finding.severity,
                    shortened(finding.message, 3 * LONGEST),
                    _examples(finding.items),
                ]
                for finding in report.findings
            ]
            print_table("", ["", "finding", "for example"], lines)
        print()
        outcome = "a result would be spoiled" if report.spoiled else "nothing spoils a result"
        print(f"{report.pictures} pictures: {outcome}")
        if any(finding.kind == "unreadable" for finding in report.findings):
            print("replace or remove files that cannot be read; --skip-corrupt leaves them out")
        spoiling = [finding.kind for finding in report.findings if finding.severity == "spoils"]
        by = "--group-by twins (or a pattern in the file names)"
        if {"near_duplicates", "near_train_test"} & set(spoiling):
            folder = printable(str(config.data)) if config.data.is_dir() else "PICTURES_FOLDER"
            print(f"keep twins on one side: cvgssl data split {folder} {by}")
        if not config.json and any(len(finding.items) > EXAMPLES for finding in report.findings):
            print("--json FILE lists all files of the findings")

    report = check_data(config.data, config.max_megapixels)
    if config.json == "-":
        print(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        if config.json:  # before the reader of the table may have gone
            write_json(Path(config.json), report.to_json())
        show(report)
        if config.json:
            print(f"all findings in {config.json}")
    return 1 if report.spoiled else 0


def _examples(items: Sequence[Sequence[str]]) -> str:
    shown = [": ".join(shortened(part, LONGEST) for part in item[:3]) for item in items[:EXAMPLES]]
    return "; ".join(shown) + ("; ..." if len(items) > EXAMPLES else "")
