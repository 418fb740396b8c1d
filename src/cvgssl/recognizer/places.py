"""Where a recognizer's train pictures are: below its data folder, or elsewhere."""

from collections.abc import Mapping
from pathlib import Path

from cvgssl.features.table import FeatureTable


def picture_places(train: FeatureTable, elsewhere: Mapping[str, str]) -> list[Path]:
    """Where the pictures of `train` were when the recognizer was made; some may be gone.

    elsewhere: of the `RecognizerCard`.
    """
    data = train.root.parent if train.root.is_file() else train.root  # of a CSV
    return [_place(name, data, elsewhere) for name in train.names]


def _place(name: str, data: Path, elsewhere: Mapping[str, str]) -> Path:
    if name in elsewhere:
        return Path(elsewhere[name])
    below = data / name
    if below.is_file():  # DATA may have a folder that is called as one elsewhere
        return below
    parts = name.split("/")
    for count in range(len(parts) - 1, 0, -1):
        if folder := elsewhere.get("/".join(parts[:count])):
            return Path(folder, *parts[count:])
    return below
