"""Presets are settings that other options change."""

from importlib import resources
from pathlib import Path

import pytest

from cvgssl.cli.command import parse
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.methods.registry import Targets, choose

PRESETS = Path(str(resources.files("cvgssl.pretrain") / "presets"))


def parsed(*words: str) -> PretrainConfig:
    return parse(PretrainConfig, ["steel", *words], "cvgssl pretrain", ("data",), PRESETS)


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.iterdir()))
def test_every_preset_is_valid_and_says_what_it_is(name: str) -> None:
    config = parsed("--preset", name)
    assert config.preset == name
    assert (choose(config).form.targets is Targets.MAP) == (name != "paper")
    assert (PRESETS / f"{name}.yaml").read_text().startswith("# ")


def test_the_paper_preset_is_the_published_recipe() -> None:
    config = parsed("--preset", "paper")
    assert (config.guidance, config.bank, config.self_constraint) == ("published", 0, "published")
    assert (config.epochs, config.batch_size, config.lr, config.weight_decay) == (
        300, 64, 0.3, 1e-6
    )  # fmt: skip
    assert [recipe.size for recipe in config.recipes] == [224] * 5


def test_flags_and_files_win_over_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("preset: cpu\nepochs: 7\nwarmup-epochs: 1\n")
    assert parsed("--preset", "cpu", "--epochs", "9").epochs == 9
    from_file = parsed("--config", str(file))
    assert (from_file.epochs, from_file.view_size) == (7, 64)
    assert parsed("--config", str(file), "--epochs", "8").epochs == 8


def test_an_unknown_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="--preset tpu"):
        parsed("--preset", "tpu")
    assert not capsys.readouterr().out
