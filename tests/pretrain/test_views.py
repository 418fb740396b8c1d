"""Which views a student is trained on."""

from pathlib import Path

import pytest

from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.views import Views


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"guidance": "published"}, 8),
        ({"guidance": "spectral"}, 0),
        ({"builder": "distill"}, 8),
        ({"builder": "mocov3"}, 0),
    ],
)
def test_stored_views_are_kept_where_targets_are_stored_by_view(
    options: dict[str, object], kept: int
) -> None:
    config = PretrainConfig(data=Path("d"), **options)  # type: ignore[arg-type]
    assert Views.of(config).bank == kept
