"""Files of answers that grow while pictures are recognized, and go on after an interruption.

`OUT.part` has whole rows, batch by batch, and takes the place of OUT at the end. Beside it,
`OUT.part.log` has a line of JSON for the job and for each batch: how many pictures were dealt with,
how long the files were then, and what else has to be known to go on. The next call for the same
pictures, recognizer and options cuts the files to the last complete batch and goes on there, so the
files end as without the interruption. Parquet, which only has rows once it is whole, is made of the
part's rows at the end.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any

import pydantic

from cvgssl import __version__
from cvgssl.recognizer.answer_table import ParquetFormat
from cvgssl.recognizer.answers import TextFormat
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.predict import Prediction, Recognition
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.files import companion, flush, naming_file, replace, sha256_file

PART, LOG = ".part", ".log"


@dataclass(frozen=True)
class Output:
    """A format and where it goes: a path, or, if it is text, a stream such as standard output."""

    format: TextFormat
    target: Path | IO[bytes]

    @property
    def path(self) -> Path | None:
        """The file that is replaced at the end; None for streams, pipes and devices."""
        if not isinstance(self.target, Path):
            return None
        real = self.target.resolve()
        return None if real.exists() and not real.is_file() else real


@dataclass
class AnswerState:
    """How far the job is.

    done: pictures dealt with. sizes: bytes of the files. counts: pictures of each answer.
    unreadable, brightest: see `Reading`; unreadable as pairs.
    """

    done: int = 0
    sizes: list[int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    brightest: int | None = None


def write_answers(
    recognition: Recognition, options: PredictOptions, outputs: Sequence[Output]
) -> tuple[dict[str, int], int]:
    """Recognize and write, going on where an interrupted call for the same stopped.

    Gives the pictures of each answer, and how many pictures were there already. After a mistake
    (UserError) no new file is left; after an interruption the parts are.
    """
    files = [output.path for output in outputs if output.path is not None]
    log = companion(files[0], "", PART + LOG) if files else None
    key = _key(recognition, options, outputs)
    # what went down a pipe cannot be cut: then all begins again
    state = _interrupted(log, key, files) if log and len(files) == len(outputs) else None
    begun = state.done if state else 0
    state = state or AnswerState()
    reading = recognition.reading
    reading.unreadable |= dict(state.unreadable)
    reading.brightest = state.brightest
    try:
        counts = _write(recognition, outputs, state, _Log(log, key, state))
    except MachineError:
        raise
    except UserError:
        _remove(files, log)
        raise
    tables = [output for output in outputs if isinstance(output.format, ParquetFormat)]
    for output in tables:  # while all parts are there, for an interruption
        _write_table(output, recognition)
    for path in files:
        if path not in [output.path for output in tables]:
            replace(_part(path), path)
    _remove(files, log)
    return counts, begun


def _write_table(output: Output, recognition: Recognition) -> None:
    form, path = output.format, output.path
    assert isinstance(form, ParquetFormat) and path is not None, "checked with the options"
    with_nearest = recognition.nearest is not None
    classes, with_verdicts = recognition.recognizer.classes, recognition.with_verdicts
    form.write(_part(path), path, classes, with_verdicts, with_nearest)


class _Log:
    """A line for the job and for each batch, if there is a place for them."""

    def __init__(self, path: Path | None, key: str, state: AnswerState) -> None:
        self._path = path
        self._file: IO[str] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8")
            self._add({"key": key})
            if state.done:
                self.note(state)

    def note(self, state: AnswerState) -> None:
        self._add(asdict(state))

    def close(self) -> None:
        if self._file is not None and self._path is not None:
            with naming_file(self._path):
                self._file.close()

    def _add(self, value: dict[str, Any]) -> None:
        if self._file is not None and self._path is not None:
            with naming_file(self._path):
                self._file.write(json.dumps(value) + "\n")
                self._file.flush()


def _write(
    recognition: Recognition, outputs: Sequence[Output], state: AnswerState, log: _Log
) -> dict[str, int]:
    reading = recognition.reading
    counts = Counter(state.counts)
    streams = [
        _open(output, size)
        for output, size in zip(outputs, state.sizes or [0] * len(outputs), strict=True)
    ]
    try:
        if not state.done:
            for output, stream in zip(outputs, streams, strict=True):
                _put(output, stream, recognition.begin(output.format))
        for batch in recognition.batches(state.done):
            for output, stream in zip(outputs, streams, strict=True):
                _put(output, stream, _joined(output.format, batch, first=not counts))
            counts.update(prediction.answer for prediction in batch)
            sizes = [stream.tell() if stream.seekable() else 0 for stream in streams]
            unreadable = sorted(reading.unreadable.items())
            log.note(AnswerState(reading.done, sizes, dict(counts), unreadable, reading.brightest))
        for output, stream in zip(outputs, streams, strict=True):
            _put(output, stream, output.format.end)
            if output.path is not None:
                with naming_file(output.path):
                    flush(stream)
    finally:
        log.close()
        for output, stream in zip(outputs, streams, strict=True):
            if isinstance(output.target, Path):
                with naming_file(output.target):  # what could not be written is tried once more
                    stream.close()
    return counts


def _joined(form: TextFormat, batch: Iterable[Prediction], first: bool) -> str:
    texts = form.between.join(map(form.text, batch))
    return texts if first else form.between + texts


def _put(output: Output, stream: IO[bytes], text: str) -> None:
    with naming_file(output.target) if isinstance(output.target, Path) else nullcontext():
        stream.write(text.encode("utf-8", "backslashreplace"))
        stream.flush()


def _open(output: Output, size: int) -> IO[bytes]:
    """The part file, cut to `size` bytes; a stream, pipe or device as it is."""
    if not isinstance(output.target, Path):
        return output.target
    if output.path is None:
        return output.target.open("wb")
    output.path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(output.path)
    file = part.open("r+b" if size else "wb")
    file.truncate(size)
    file.seek(size)
    return file


def _interrupted(log: Path, key: str, files: Sequence[Path]) -> AnswerState | None:
    """Where an interrupted call for the same was; None when there is nothing to go on from."""
    try:
        lines = log.read_text(encoding="utf-8").split("\n")[:-1]  # a last one may be cut
        if json.loads(lines[0]) != {"key": key} or len(lines) < 2:
            return None
        state = pydantic.TypeAdapter(AnswerState).validate_json(lines[-1], strict=True)
        long_enough = all(
            _part(path).stat().st_size >= size
            for path, size in zip(files, state.sizes, strict=True)
        )
    except (OSError, ValueError, TypeError, IndexError):  # none, or not of this program
        return None
    return state if long_enough and state.done > 0 and min(state.sizes) >= 0 else None


def _key(recognition: Recognition, options: PredictOptions, outputs: Sequence[Output]) -> str:
    """Hash of all that decides the files: recognizer, options, pictures by size and time."""
    settings = [
        __version__,
        sha256_file(recognition.file),
        options.batch_size,
        options.skip_corrupt,
        options.max_megapixels,
        options.rate,
        options.nearest,
        [type(output.format).__name__ for output in outputs],
    ]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for path in recognition.reading.paths:
        with suppress(OSError):  # unreadable later
            status = path.stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
        digest.update(os.fsencode(path) + b"\n")
    return digest.hexdigest()


def _part(path: Path) -> Path:
    return companion(path, "", PART)


def _remove(files: Sequence[Path], log: Path | None) -> None:
    for path in chain(map(_part, files), [log] if log else []):
        path.unlink(missing_ok=True)
