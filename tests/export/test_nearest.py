"""The nearest labelled pictures: a file of `cvgssl export` says the same as its folder."""

from pathlib import Path

import pytest

from cvgssl.images.decoding import decode_squares
from cvgssl.images.geometry import Geometry, Whole
from cvgssl.recognizer.config import PredictOptions
from cvgssl.recognizer.finding import find_recognizer
from cvgssl.recognizer.nearest import nearest_of
from cvgssl.recognizer.predict import Neighbour, open_recognizer, predict
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import Runtime
from tests.export.conftest import Exported

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))


def nearest(model: Path, pictures: list[Path]) -> list[tuple[Neighbour, ...]] | None:
    runtime: Runtime = "torch" if model.is_dir() else "auto"  # nothing is to be compiled
    options = PredictOptions(recognizer=model, pictures=tuple(pictures), runtime=runtime)
    recognizer = open_recognizer(find_recognizer(options), options)
    find = nearest_of(recognizer, model)
    if find is None:
        return None
    ways: tuple[Geometry | Whole, ...] = recognizer.geometries
    *answers, found = find([list(decode_squares(pictures, way)) for way in ways])
    alone = recognizer([list(decode_squares(pictures, way)) for way in ways])
    assert (answers[0] == alone[0]).all() and answers[1] == alone[1]
    return found


@pytest.mark.parametrize("which", ["with_map", "of_labels"])
def test_files_and_folders_agree(
    which: str, steel: Path, plates: Path, request: pytest.FixtureRequest
) -> None:
    made: Exported = request.getfixturevalue(which)
    data = plates if which == "with_map" else steel
    pictures = sorted((data / "test").glob("*/*"))[::4]
    of_folder, of_file = nearest(made.folder, pictures), nearest(made.file, pictures)
    assert of_folder is not None and of_file is not None
    assert len(of_folder) == len(of_file) == len(pictures)
    for one, two in zip(of_folder, of_file, strict=True):
        assert [each.similarity for each in one] == pytest.approx(
            [each.similarity for each in two], abs=1e-3
        )
        cosines = {each.name: each.similarity for each in one}
        for each in two:  # those that are equally near may change places
            assert each.similarity == pytest.approx(
                cosines.get(each.name, one[-1].similarity), abs=1e-3
            )
        assert (data / one[0].name).parent.name == one[0].label


def test_a_trained_run_names_none(trained: Exported, steel: Path) -> None:
    pictures = sorted((steel / "test").glob("*/*"))[:1]
    model = next((trained.folder / "weights").iterdir())
    assert nearest(model, pictures) is None and nearest(trained.file, pictures) is None
    for which in (model, trained.file):
        with pytest.raises(UserError, match=r"--nearest: .* keeps no labelled pictures; it needs"):
            predict(which, pictures, nearest=1)
