"""Pictures that are not looked at twice."""

from cvgssl.images.dataset import without_copies


def test_copies_are_found_by_content_whatever_their_names() -> None:
    rows, copies = without_copies(["new", "b", "new", "newer", "a"], ["a", "b", "b"])
    assert rows.tolist() == [0, 3]
    assert copies == {1: 2, 2: 3, 4: 0}  # the last of equal ones; row 0 is at place 3
    rows, copies = without_copies(iter("aab"))
    assert (rows.tolist(), copies) == ([0, 2], {1: 0})
    rows, copies = without_copies([], ["a"])
    assert (rows.tolist(), copies) == ([], {})
