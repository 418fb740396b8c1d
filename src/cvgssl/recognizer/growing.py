"""Files of answers that grow row by row for as long as pictures come.

A row is written whole and at once, or not at all. What is in a file when it is opened stays, and
says which pictures have been named before.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from cvgssl.recognizer.answer_files import Output
from cvgssl.recognizer.answers import CsvFormat, JsonLinesFormat, path_text
from cvgssl.recognizer.predict import Prediction, Recognition
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import naming_file
from cvgssl.runtime.parsing import parsing


class GrowingFile:
    """A file, or a stream such as standard output, to which rows are appended.

    answers: of the pictures that it holds from before, by `picture_key`.
    """

    def __init__(self, output: Output, work: Recognition) -> None:
        """Open it and leave out a last row that is not whole.

        Raises UserError where it holds something else than rows of this recognizer.
        """
        form, self._target = output.format, output.target
        assert isinstance(form, CsvFormat | JsonLinesFormat), "to which rows can be appended"
        self._form = form
        self.answers: dict[str, str] = {}
        begin = work.begin(form).encode()
        path = output.path
        if not isinstance(self._target, Path):
            self._file: IO[bytes] = self._target
        elif path is None:
            self._file = self._target.open("wb")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            end = self._read(path, begin) if path.exists() else 0
            self._file = path.open("ab", buffering=0)
            self._file.truncate(end)
            if end:
                return
        self._write(begin)

    def append(self, prediction: Prediction) -> None:
        """Write a row, unless the picture's is there from before."""
        if self.answers and self.answers.pop(picture_key(prediction.path), None) is not None:
            return
        self._write(self._form.text(prediction).encode("utf-8", "backslashreplace"))

    def remark(self, facts: dict[str, Any]) -> None:
        """Write a line that is about no picture, into files that have a place for such."""
        self._write(self._form.remark(facts).encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Close what was opened here."""
        if isinstance(self._target, Path):
            self._file.close()

    def _read(self, path: Path, begin: bytes) -> int:
        """Note what was answered; gives the size of the whole rows."""
        with parsing(path, "a file of answers", "name another file"), path.open("rb") as file:
            head = file.read(len(begin))
            if begin.startswith(head) and len(head) < len(begin):
                return 0  # empty, or cut while its first line was written
            if head != begin:
                raise UserError(
                    f"{path}: is not a file of this recognizer's answers, for its first line is "
                    "another; name another file, or move this one away"
                )
            end = len(begin)
            for size, written, answer in self._form.rows(file):
                end += size
                if written is not None:
                    self.answers[_key(written)] = answer
        return end

    def _write(self, data: bytes) -> None:
        if not data:
            return
        named = self._target if isinstance(self._target, Path) else None
        if named is None or not self._file.seekable():
            self._file.write(data)
            self._file.flush()
            return
        with naming_file(named):
            before = self._file.seek(0, os.SEEK_END)
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                with suppress(OSError):
                    self._file.truncate(before)
                raise


def picture_key(path: Path) -> str:
    """What tells a picture from others in such files, wherever the command is given."""
    return _key(path_text(path))


def _key(written: str) -> str:
    return os.path.abspath(written)  # noqa: PTH100 - text, not a path that is looked at
