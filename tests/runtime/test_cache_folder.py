import os
import stat
import tempfile
from pathlib import Path

import pytest

from cvgssl.runtime.cache_folder import default_cache_dir, give_libraries_a_cache


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder and a folder of temporary files, and no variable that names a cache."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    for name in ("CVGSSL_CACHE", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def test_what_is_named_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_cache_dir() == tmp_path / "home" / ".cache" / "cvgssl"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg" / "cvgssl"
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "mine"))
    assert default_cache_dir() == tmp_path / "mine"
    give_libraries_a_cache()
    assert "MPLCONFIGDIR" not in os.environ
    assert not any((tmp_path / "home").iterdir()), "asking makes no folder"


def _none(_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)


def _a_file(tmp_path: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home" / ".cache").write_text("a file")


def _not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access  # which root may always
    monkeypatch.setattr(
        os, "access", lambda path, mode: str(tmp_path / "home") != str(path) and access(path, mode)
    )


@pytest.mark.parametrize("home", [_none, _a_file, _not_writable])
def test_without_a_home_the_cache_is_a_private_temporary_folder(
    home: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home(tmp_path, monkeypatch)  # type: ignore[operator]
    folder = default_cache_dir()
    assert folder == tmp_path / "tmp" / f"cvgssl-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert default_cache_dir() == folder
    monkeypatch.setenv("TRITON_CACHE_DIR", "mine")
    monkeypatch.setenv("MPLCONFIGDIR", "")
    monkeypatch.delenv("MPLCONFIGDIR")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    give_libraries_a_cache()
    assert os.environ["MPLCONFIGDIR"] == str(folder / "matplotlib")
    assert os.environ["TRITON_CACHE_DIR"] == "mine"


def test_a_temporary_folder_that_another_user_could_have_made_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "home" / ".cache").write_text("a file")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tmp" / f"cvgssl-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    assert default_cache_dir() == tmp_path / "home" / ".cache" / "cvgssl"


def test_libraries_do_not_write_to_a_cache_that_is_only_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _a_file(tmp_path, monkeypatch)  # no home folder
    (tmp_path / "file").write_text("no folder can be made below it")
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "file"))
    for name in ("MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    give_libraries_a_cache()
    assert Path(os.environ["MPLCONFIGDIR"]).is_relative_to(tmp_path / "tmp")
