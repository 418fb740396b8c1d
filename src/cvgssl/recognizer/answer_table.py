"""Answers as a Parquet table. While pictures are recognized its rows are lines of JSON."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from cvgssl.features.table_files import import_parquet
from cvgssl.images.names import text_form
from cvgssl.recognizer.answers import JsonLinesFormat
from cvgssl.runtime.files import writing

GROUP = 10_000
"""Rows of a row group, of which two at most are in memory."""


class ParquetFormat(JsonLinesFormat):
    """The columns path, (with verdicts) answer, class, probability, probabilities, nearest.

    Probabilities are a struct with a field for each class, so that no class can be mistaken for
    another column. The labelled pictures, if there are any, are a list of structs. Numbers are
    those of the other formats.
    """

    def __init__(self) -> None:
        """Raise UserError where pyarrow is not installed."""
        self._pyarrow, self._parquet = import_parquet("use --csv or --jsonl")

    def write(
        self,
        lines: Path,
        path: Path,
        classes: Sequence[str],
        with_verdicts: bool,
        with_nearest: bool,
    ) -> None:
        """Write the table of the file `lines` to `path`, whole or not at all, group by group."""
        arrow = self._pyarrow
        numbers = arrow.struct([(text_form(name), arrow.float64()) for name in classes])
        texts = ["path", *(["answer"] if with_verdicts else []), "class"]
        columns = [(name, arrow.string()) for name in texts]
        columns += [("probability", arrow.float64()), ("probabilities", numbers)]
        if with_nearest:
            named = [(name, arrow.string()) for name in ("name", "label")]
            near = arrow.struct([*named, ("similarity", arrow.float64())])
            columns.append(("nearest", arrow.list_(near)))
        schema = arrow.schema(columns)
        with (
            lines.open(encoding="utf-8") as file,
            writing(path) as aside,
            aside.open("wb") as target,
            self._parquet.ParquetWriter(target, schema) as writer,
        ):
            while rows := [json.loads(line) for line in islice(file, GROUP)]:
                writer.write_table(arrow.Table.from_pylist(rows, schema))
