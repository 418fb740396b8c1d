"""What the machine lacks is never taken for damage of a picture."""

import subprocess
import sys
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
if sys.argv[1] == "files":
    soft = len(os.listdir("/proc/self/fd")) - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft))
else:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 20 * 2**20, used + 20 * 2**20))
for path in large:
    try:
        load_pictures([small, path], Geometry(16), DecodingOptions(skip_corrupt=True, workers=1))
    except MachineError as error:
        print(error, file=sys.stderr)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("limit", "reason"), [("files", "too many open files"), ("memory", "memory is full")]
)
def test_too_few_files_or_too_little_memory_stop_the_job(
    tmp_path: Path, limit: str, reason: str
) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "0.png")
    for suffix in ("png", "jpg", "tif", "bmp", "webp"):  # 36 MB of memory each
        options = {"compression": "tiff_lzw"} if suffix == "tif" else {}
        Image.new("RGB", (3000, 3000)).save(tmp_path / f"{suffix}.{suffix}", **options)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, limit, str(tmp_path)], capture_output=True, text=True
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    assert all(reason in line for line in lines)
