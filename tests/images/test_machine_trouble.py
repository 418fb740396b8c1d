"""What the machine lacks is never taken for damage of a picture."""

import subprocess
from pathlib import Path

import pytest
from PIL import Image

LIMITED = """
import os, resource, sys
from pathlib import Path
import numpy, tifffile
from cvgssl.images.geometry import Geometry
from cvgssl.images.picture_options import DecodingOptions
from cvgssl.images.store import load_pictures
from cvgssl.runtime.errors import MachineError
small, *large = sorted(Path(sys.argv[2]).iterdir())
load_pictures([small], Geometry(16))  # imports what decoding needs
files = resource.getrlimit(resource.RLIMIT_NOFILE)
if sys.argv[1] == "files":
    free = os.dup(2)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, files[1]))
else:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 20 * 2**20, used + 20 * 2**20))
for path in large:
    try:
        load_pictures([small, path], Geometry(16), DecodingOptions(skip_corrupt=True, workers=1))
    except MachineError as error:
        print(error, file=sys.stderr)
resource.setrlimit(resource.RLIMIT_NOFILE, files)  # for what is done at the end
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small picture and one of 36 MB of memory in each of five formats."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.new("L", (8, 8)).save(folder / "0.png")
    for suffix in ("png", "jpg", "tif", "bmp", "webp"):
        options = {"compression": "tiff_lzw"} if suffix == "tif" else {}
        Image.new("RGB", (3000, 3000)).save(folder / f"{suffix}.{suffix}", **options)
    return folder


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("limit", "reason"), [("files", "too many open files"), ("memory", "memory is full")]
)
def test_too_few_files_or_too_little_memory_stop_the_job(
    pictures: Path, limit: str, reason: str, python: str
) -> None:
    done = subprocess.run(
        [python, "-c", LIMITED, limit, str(pictures)], capture_output=True, text=True
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    assert all(reason in line for line in lines)
