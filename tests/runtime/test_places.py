import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import new_folder
from cvgssl.runtime.lock import locked_folder
from cvgssl.runtime.places import check_place, remedy, size_text


def _refused(path: Path, folder: bool = False) -> str:
    with pytest.raises(UserError) as refused:
        check_place(path, "--out", folder)
    text = str(refused.value)
    assert text.startswith(f"--out {path}: ")
    return text.removeprefix(f"--out {path}: ")


def test_places_that_cannot_be_are_refused_with_flag_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    below = f"{tmp_path}/file is a file, not a folder; name another place"
    assert _refused(tmp_path / "file/a/b") == below
    assert _refused(tmp_path / "file/a/b", folder=True) == below
    assert _refused(tmp_path / "file", folder=True) == "is a file; name a folder"
    assert _refused(tmp_path) == "is a folder; name a file"
    chosen = _refused(tmp_path / "chosen.csv", folder=True)
    assert chosen == "a folder is made here; name it without .csv"
    assert _refused(tmp_path / "loop") == "is a circle of links; name another place"
    assert _refused(tmp_path / "loop/x", folder=True).startswith("is a circle of links")
    assert _refused(tmp_path / ("x" * 300)) == "File name too long; name a shorter one"
    assert _refused(tmp_path / "a\0b").startswith("is no path")
    assert _refused(Path("~/x")) == "nobody expands ~ here; write the path in full, or ./~"


def test_places_that_can_be_made_are_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dead").symlink_to("not/yet")
    for name in ("file", "dead", "a/b/c"):
        check_place(tmp_path / name, "--out")
    (tmp_path / "there.csv").mkdir()
    for name in ("", "dead", "dead/x", "a/b/c", "run.2", "there.csv"):
        check_place(tmp_path / name, "--out", folder=True)
    check_place(Path(os.devnull), "--csv")


def test_a_link_to_a_folder_that_is_still_to_be_made_stays(tmp_path: Path) -> None:
    for name in ("new", "locked"):
        (tmp_path / name).symlink_to(tmp_path / f"elsewhere/{name}")
    with new_folder(tmp_path / "new", "--out") as folder:
        (folder / "a").write_text("x")
    with locked_folder(tmp_path / "locked", "--out"):
        (tmp_path / "locked/a").write_text("x")
    for name in ("new", "locked"):
        assert (tmp_path / name).is_symlink()
        assert [path.name for path in (tmp_path / "elsewhere" / name).iterdir()] == ["a"]


_AS_NOBODY = """
import os, sys
from pathlib import Path
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.files import new_folder
os.setgroups([]); os.setgid(54321); os.setuid(54321)
try:
    with new_folder(Path(sys.argv[1]), "--out") as folder:
        (folder / "b").mkdir(); (folder / "b/c").write_text("x"); (folder / "a").write_text("y")
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs two users")
def test_a_given_folder_in_somebody_elses_is_filled(tmp_path: Path) -> None:
    for path in (tmp_path, *tmp_path.parents[:-1]):
        if path.stat().st_uid == os.geteuid() and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o055)
    given = tmp_path / "given"
    given.mkdir()

    def made(path: Path) -> str:
        words = [sys.executable, "-c", _AS_NOBODY, str(path)]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    told = f"this user cannot write in {given}; name another place\n"
    assert made(given) == f"--out {given}: {told}"
    assert made(given / "x/y") == f"--out {given / 'x/y'}: {told}"
    os.chown(given, 54321, 54321)
    assert made(given) == ""
    assert sorted(path.relative_to(given).as_posix() for path in given.rglob("*")) == [
        "a",
        "b",
        "b/c",
    ]


def test_a_lack_of_space_says_how_the_job_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run/weights/draw_1.safetensors"
    path.parent.mkdir(parents=True)
    full = OSError(errno.ENOSPC, "No space left on device", str(path))
    again = "free space there, or name another place; then give the command again"
    assert remedy(full) == again
    (tmp_path / "run/environment.json").write_text("[]")
    assert remedy(full) == again
    (tmp_path / "run/environment.json").write_text(json.dumps({"started_by": "linear"}))
    assert remedy(full) == (
        f"free space there, then go on with: cvgssl linear --resume {tmp_path}/run"
    )
    refused = OSError(errno.EACCES, "Permission denied", str(path))
    assert remedy(refused) == "this user may not; change the rights, or name another place"
    assert remedy(OSError("words")) == ""


def test_a_full_disk_under_an_array_has_its_error_number(tmp_path: Path) -> None:
    script = """
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from cvgssl.runtime.array_files import write_array
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_array(Path(sys.argv[1]), np.zeros((500, 3)))
        except OSError as error:
            print(error.strerror, error.filename)
    """
    words = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "a.npy")]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert told == f"File too large {tmp_path / 'a.npy'}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (5000, "5 KiB"), (3 * 2**20, "3.0 MiB")],
)
def test_sizes_have_units_of_their_size(size: int, text: str) -> None:
    assert size_text(size) == text
