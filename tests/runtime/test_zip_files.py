import zipfile
from pathlib import Path

import pytest

from cvgssl.runtime.zip_files import check_directory


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_a_directory_of_a_great_many_members_is_refused(tmp_path: Path, comment: bytes) -> None:
    few, many = tmp_path / "few.zip", tmp_path / "many.zip"
    for path, count in ((few, 300), (many, 150)):
        with zipfile.ZipFile(path, "w") as archive:
            archive.comment = comment
            for number in range(count):
                name = f"{number}" if path == few else f"{number:060000}"
                archive.writestr(name, b"x")
    check_directory(few)
    with pytest.raises(ValueError, match=r"a directory of 9,\d+,\d+ bytes; at most 8,388,608"):
        check_directory(many)


def test_the_64_bit_end_of_an_archive_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(150):
            archive.writestr(f"{number:060000}", b"x")
    assert b"PK\6\6" in path.read_bytes()
    with pytest.raises(ValueError, match="a directory of 9,"):
        check_directory(path)


def test_what_is_no_archive_is_left_to_its_reader(tmp_path: Path) -> None:
    for data in (b"", b"PK\5\6", b"x" * 99):
        (tmp_path / "a.zip").write_bytes(data)
        check_directory(tmp_path / "a.zip")
