"""clients/python/recognize.py reads more formats than the other clients, as `predict` does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvgssl.recognizer.predict import predict
from tests.export.conftest import Exported

CLIENT = Path(__file__).parents[2] / "clients" / "python" / "recognize.py"

pytestmark = pytest.mark.slow


def mixed(folder: Path, white: int) -> list[Path]:
    """Twenty pictures: gray and colour, 8 and 16 bits, palettes, alpha, turned, odd sizes."""
    rng = np.random.default_rng(7)
    paths = []

    def save(image: Image.Image, name: str, **options: object) -> None:
        paths.append(folder / name)
        image.save(paths[-1], **options)

    for number, size in enumerate([(9, 11), (48, 48), (31, 200), (300, 17), (123, 77), (1, 5)]):
        gray = Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8))
        colour = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        save(gray, f"gray {number}.png")
        save(colour, f"colour_{number}.bmp")
    deep = rng.integers(0, white + 1, (40, 61)).astype(np.uint16)
    save(Image.fromarray(deep), "deep.png")
    save(Image.fromarray(deep[:, ::-1].copy()), "deep.tif")
    whole = Image.fromarray(rng.integers(0, 256, (50, 70, 4), dtype=np.uint8))
    save(whole, "alpha.png")
    save(whole.convert("LA"), "gray_alpha.png")
    save(whole.convert("RGB").quantize(32), "palette.png")
    save(whole.convert("L").convert("1"), "bilevel.png")
    save(whole.convert("RGB"), "photo.jpg")
    turned = Image.Exif()
    turned[274] = 6
    save(whole.convert("L"), "turned.jpg", exif=turned)
    assert len(paths) == 20
    return paths


@pytest.mark.parametrize(("which", "white"), [("with_map", 65535), ("of_labels", 4095)])
def test_the_python_client(
    which: str, white: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made: Exported = request.getfixturevalue(which)
    paths = mixed(tmp_path, white)
    words = [sys.executable, str(CLIENT), str(made.file), *map(str, paths)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    right = predict(made.folder, paths, unknown=True)
    assert [line[0] for line in lines] == list(map(str, paths))
    assert [line[1] for line in lines] == [each.predicted_class for each in right]
    answered = [float(line[2]) for line in lines]
    np.testing.assert_allclose(answered, [each.probability for each in right], atol=1e-4)
    assert [line[3] for line in lines] == [each.verdict for each in right]


def test_the_client_without_words_says_what_it_needs() -> None:
    done = subprocess.run([sys.executable, str(CLIENT)], capture_output=True, text=True)
    assert done.returncode == 1 and "recognize.py FILE.onnx PICTURE..." in done.stderr


def test_pictures_that_the_client_refuses(of_labels: Exported, tmp_path: Path) -> None:
    import tifffile

    deep = np.full((9, 9, 3), 4000, np.uint16)
    tifffile.imwrite(tmp_path / "colour.tif", deep, photometric="rgb")
    Image.fromarray(np.full((9, 9), 60000, np.uint16)).save(tmp_path / "bright.png")
    (tmp_path / "text.png").write_text("no picture")
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(np.zeros((9, 5), np.uint8)).save(tmp_path / "turned.tif", exif=turned)
    for name, message in (
        ("colour.tif", "16-bit colour"),
        ("bright.png", "over 12 bits"),
        ("text.png", "cannot identify image file"),
        ("none.png", "No such file"),
        ("turned.tif", "a turned TIFF"),
    ):
        words = [sys.executable, str(CLIENT), str(of_labels.file), str(tmp_path / name)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
