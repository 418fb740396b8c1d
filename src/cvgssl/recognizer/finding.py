"""Which recognizer and which pictures are meant. Imports no torch."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from cvgssl.images.listing import list_pictures
from cvgssl.recognizer.config import DEFAULT_RATE, EXPORTED, Checkpoint, PredictOptions
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.parsing import check_file

CARD = "recognizer.json"
"""What makes a folder a recognizer of `cvgssl fit`; see `card.RecognizerCard`."""


def is_fitted(folder: Path) -> bool:
    """Whether `folder` is a recognizer of `cvgssl fit`."""
    return (folder / CARD).is_file()


def find_recognizer(options: PredictOptions) -> Path:
    """The file that says which recognizer is meant.

    Raises UserError where there is none, and for options that it cannot be asked with.
    """
    path = options.recognizer
    if is_fitted(path):
        _check_unused(path, "is of `cvgssl fit`", _flags_of_runs(options))
        return path / CARD
    if path.suffix.lower() in EXPORTED and not path.is_dir():
        check_file(path)
        rate = options.false_rejection_rate != DEFAULT_RATE
        _check_unused(
            path,
            "is of `cvgssl export`, with weights and thresholds in it, for the processor",
            {
                **_flags_of_runs(options),
                "--encoder-files": bool(options.encoder_files),
                "--false-rejection-rate": rate,
                "--gpu": options.gpu is not None,
                "--runtime": options.runtime != "auto",
            },
        )
        return path
    file = find_model(path, options.draw, options.checkpoint)
    _check_unused(file, "holds its own weights", {"--encoder-files": bool(options.encoder_files)})
    return file


def _flags_of_runs(options: PredictOptions) -> dict[str, bool]:
    return {"--draw": options.draw != 1, "--checkpoint": options.checkpoint != "last"}


def _check_unused(file: Path, what: str, given: Mapping[str, bool]) -> None:
    """Raise UserError where flags are given that a recognizer of this kind does not use."""
    if flags := [flag for flag, is_given in given.items() if is_given]:
        raise UserError(f"{file}: {what}; leave {', '.join(flags)} out")


def find_model(recognizer: Path, draw: int = 1, checkpoint: Checkpoint = "last") -> Path:
    """The model file that is meant; raises UserError that says which there are."""
    if recognizer.exists() and not recognizer.is_dir():
        check_file(recognizer)
        return recognizer
    if not recognizer.exists():
        raise UserError(f"{recognizer}: no such run folder or model file")
    folder = recognizer / "weights"
    path = folder / f"draw_{draw}{'_ema' if checkpoint == 'ema' else ''}.safetensors"
    if not path.is_file():
        raise UserError(f"{path}: no such file; {_hint(folder, draw)}")
    return path


def _hint(folder: Path, draw: int) -> str:
    names = sorted(file.name for file in folder.glob("draw_*.safetensors"))
    if not names:
        return "no draw is finished there"
    hint = f"there are {', '.join(names)} (--draw, --checkpoint)"
    if draw > 1 and not any(name.startswith((f"draw_{draw}.", f"draw_{draw}_")) for name in names):
        hint += "; only --save-weights all keeps those of draws after the first"
    return hint


def find_pictures(images: Iterable[Path]) -> list[Path]:
    """Files as they are, folders as the pictures in them; each path once.

    Raises UserError for what does not exist and for folders without pictures.
    """
    paths: list[Path] = []
    problems = []
    for image in images:
        inside = list_pictures(image) if image.is_dir() else [image]
        paths += inside
        if not image.exists():
            problems.append(f"{image}: no such file or folder")
        elif not inside:
            problems.append(f"{image}: no pictures in this folder")
        elif not image.is_dir():
            try:
                check_file(image)
            except UserError as error:
                problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return list(dict.fromkeys(paths))
