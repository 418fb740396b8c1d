"""The demo takes minutes (`make demo`); that its last step's options are valid takes none."""

from pathlib import Path

from cvgssl.bench.embedding import all_features
from cvgssl.cli.demo import comparison


def test_comparison_embeds_with_the_network_that_was_pre_trained(
    steel: Path, tmp_path: Path, teacher_file: Path
) -> None:
    config = comparison(steel, Path(f"test_vit={teacher_file}"), tmp_path / "out")
    (source,) = all_features(config)
    assert source.encoder == "pre-trained" and source.file.is_file()
