import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest
import yaml
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cvgssl.adapt.config import FinetuneConfig, LinearConfig
from cvgssl.bench.config import BenchConfig
from cvgssl.cli.command import parse
from cvgssl.cli.published_finetune import PublishedConfig
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import OneOf, to_yaml


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Options:
    """A command with every kind of option."""

    model: Path = Field(description="first positional")
    images: tuple[Path, ...] = Field((), description="any number of positionals")
    learning_rate: float = Field(0.1, gt=0, description="a number, 100 % of it")
    steps: int = Field(4, ge=1, description="a whole number")
    name: str = Field("", description="a text")
    kind: Literal["a", "b"] = Field("a", description="a choice")
    track: tuple[Literal["x", "y"], ...] = Field((), description="several choices")
    depths: tuple[int, ...] = Field((), description="several numbers")
    ema: float | None = Field(None, gt=0, lt=1, description="a number or nothing")
    out: Path | None = Field(None, description="a path or nothing")
    quick: bool = Field(False, description="yes or no")
    maybe: bool | None = Field(None, description="yes, no or nothing")


def options(*words: str) -> Options:
    return parse(Options, words, "prog", positional=("model", "images"))


def mistakes(*words: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        options(*words)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    "words",
    [
        ("--learning-rate", "0.5"),
        ("--learning_rate", "0.5"),
        ("--learning-rate=0.5",),
        ("--learning_rate=0.5",),
        ("--learning_rate", "5e-1"),
    ],
)
def test_flags_with_hyphens_underscores_and_equals_signs(words: Sequence[str]) -> None:
    assert options("m", *words).learning_rate == 0.5


def test_underscores_in_values_stay() -> None:
    assert options("m", "--name", "a_b").name == "a_b"
    assert options("m", "--name=a_b=c_d").name == "a_b=c_d"


@pytest.mark.parametrize("word", ["True", "true", "1", "yes", "on"])
@pytest.mark.parametrize("flag", ["quick", "maybe"])
def test_booleans_that_are_true(flag: str, word: str) -> None:
    assert getattr(options("m", f"--{flag}", word), flag) is True
    assert getattr(options("m", f"--{flag}={word}"), flag) is True
    assert getattr(options("m", f"--{flag}"), flag) is True


@pytest.mark.parametrize("word", ["False", "false", "0", "no", "off"])
@pytest.mark.parametrize("flag", ["quick", "maybe"])
def test_booleans_that_are_false(flag: str, word: str) -> None:
    assert getattr(options("m", f"--{flag}", word), flag) is False
    assert getattr(options("m", f"--{flag}={word}"), flag) is False


def test_a_boolean_alone_swallows_no_path_and_no_flag() -> None:
    made = options("--quick", "m", "--maybe", "--steps", "2")
    assert (made.model, made.quick, made.maybe, made.steps) == (Path("m"), True, True, 2)


def test_lists_on_one_flag_or_several() -> None:
    assert options("m", "--track", "x", "y").track == ("x", "y")
    assert options("m", "--track", "x", "--track=y").track == ("x", "y")
    assert options("m", "--track").track == ()


def test_optional_path_and_choice() -> None:
    made = options("m", "--ema", "0.9", "--out", "a/b", "--kind", "b")
    assert (made.ema, made.out, made.kind) == (0.9, Path("a/b"), "b")
    assert (options("m").ema, options("m").out) == (None, None)


@pytest.mark.parametrize(
    "words",
    [
        ("m", "a", "b", "--steps", "2"),
        ("--steps", "2", "m", "a", "b"),
        ("m", "--steps", "2", "a", "b"),
        ("m", "a", "--steps", "2", "b"),
        ("--steps", "2", "--", "m", "a", "b"),
    ],
)
def test_positionals_before_between_and_after_flags(words: Sequence[str]) -> None:
    made = options(*words)
    assert (made.model, made.images, made.steps) == (Path("m"), (Path("a"), Path("b")), 2)


def test_paths_that_begin_with_hyphens() -> None:
    made = options("--", "--odd_name", "-b")
    assert (made.model, made.images) == (Path("--odd_name"), (Path("-b"),))
    assert options("m", "--out=--odd_name").out == Path("--odd_name")


@pytest.mark.parametrize("value", ["-1", "-0.5", "-1e-3", "-inf"])
def test_a_negative_number_is_a_bad_value_and_not_a_flag(value: str) -> None:
    (line,) = mistakes("m", "--learning-rate", value)
    assert line.startswith(f"--learning-rate {value}: ")
    assert "greater than 0" in line


def test_a_list_may_hold_negative_numbers() -> None:
    assert options("m", "--depths", "-1", "2", "-3", "--steps", "2").depths == (-1, 2, -3)
    assert options("--depths", "4", "--depths=-1", "m").depths == (4, -1)


def test_a_negative_number_where_none_belongs() -> None:
    with pytest.raises(UserError, match=r"^-1: no such option; see prog --help$"):
        parse(FinetuneConfig, ["data", "--augment", "-1"], "prog", positional=("data",))


def test_all_mistakes_at_once() -> None:
    lines = mistakes("--steps", "0", "--kind", "c", "--bogus", "--ema", "x", "--track", "x", "z")
    assert lines == [
        "--bogus: no such option; see prog --help",
        "MODEL is needed",
        "--steps 0: input should be greater than or equal to 1",
        "--kind c: input should be 'a' or 'b'",
        "--track z: input should be 'x' or 'y'",
        "--ema x: input should be a valid number, unable to parse string as a number",
    ]


def test_flags_are_not_abbreviated_and_extra_words_not_ignored() -> None:
    told = "--step: no such option; did you mean --steps?"
    assert mistakes("m", "--step", "3", "--name", "x")[0] == told
    told = "--save_confg=a: no such option; did you mean --save-config?"
    assert mistakes("m", "--save_confg=a", "--name", "x")[0] == told.replace("_", "-")
    told = "--model=x: MODEL comes without a flag: prog MODEL IMAGES"
    assert mistakes("--model=x", "--name", "x")[0] == told
    assert "did you mean" not in mistakes("--modle", "x", "--name", "x")[0]
    with pytest.raises(UserError, match=r"^extra: not expected here; see prog --help$"):
        parse(FinetuneConfig, ["data", "extra"], "prog", positional=("data",))


def test_an_empty_path_is_not_the_working_directory() -> None:
    """As of a shell variable that is not set."""
    told = ["MODEL: is empty; give a path", "IMAGES: is empty; give a path"]
    assert mistakes("", "", "--name", "") == told
    assert mistakes("m", "--out=") == ["--out: is empty; give a path"]


def test_a_flag_without_its_value() -> None:
    assert mistakes("m", "--steps") == ["--steps: expected one argument; see prog --help"]


def test_not_a_number_and_infinity_are_no_learning_rates() -> None:
    for word in ("nan", "inf"):
        with pytest.raises(UserError, match="--lr"):
            parse(FinetuneConfig, ["data", "--lr", word], "prog", positional=("data",))


def test_checks_across_options_are_reported_one_per_line() -> None:
    words = ["data", "--start-epoch", "9", "--epochs", "9", "--draws", "d", "--imbalance", "2"]
    with pytest.raises(UserError) as caught:
        parse(FinetuneConfig, words, "prog", positional=("data",))
    assert str(caught.value).splitlines() == [
        "--start-epoch 9: must be below --epochs 9",
        "--imbalance: has no effect with --draws; leave one of them out",
    ]


EVERYTHING = [
    *("m", "a", "b", "--learning-rate", "1e-5", "--steps", "7", "--name", "1e-3", "--kind", "b"),
    *("--track", "x", "y", "--ema", "0.5", "--out", "no", "--quick", "--maybe", "false"),
]


def test_saved_options_give_the_same_options_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "options.yaml"
    with pytest.raises(SystemExit) as stopped:
        options(*EVERYTHING, "--save-config", str(file))
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"options written to {file}\n"
    assert options("--config", str(file)) == options(*EVERYTHING)
    assert "# a number, 100 % of it\nlearning_rate: " in file.read_text()


def test_defaults_survive_the_round_trip(tmp_path: Path) -> None:
    config = FinetuneConfig(data=Path("größe/µm"))
    (tmp_path / "o.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert parse(FinetuneConfig, ["--config", str(tmp_path / "o.yaml")], "prog") == config


def test_flags_win_over_yaml_whose_keys_may_have_hyphens(tmp_path: Path) -> None:
    file = tmp_path / "o.yaml"
    file.write_text("model: m\nimages: [a]\nlearning-rate: 1e-3\nsteps: 5\nquick: true\n")
    made = options("--steps", "6", "--config", str(file), "--quick", "false")
    assert (made.learning_rate, made.steps, made.quick) == (0.001, 6, False)
    assert (made.model, made.images) == (Path("m"), (Path("a"),))
    assert options("other", "--config", str(file)).model == Path("other")


def test_mistakes_in_yaml_and_flags_together(tmp_path: Path) -> None:
    file = tmp_path / "o.yaml"
    file.write_text("learning_rate: fast\nstep: 5\n")
    lines = mistakes("--config", str(file), "--steps", "0")
    assert sorted(line.split()[0].rstrip(":") for line in lines) == [
        "--learning-rate", "--steps", "MODEL", "step",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"a: [", "not YAML"),
        (b"- 1\n- 2\n", "must hold `option: value` lines"),
        (b"name: \xff\xfe\n", "save it as UTF-8"),
        (b"model: !!python/object/apply:os.mkdir [x]\n", "not YAML"),
        (None, "no such file"),
    ],
)
def test_files_that_hold_no_options(tmp_path: Path, text: bytes | None, told: str) -> None:
    file = tmp_path / "o.yaml"
    if text is not None:
        file.write_bytes(text)
    (line,) = mistakes("m", "--config", str(file))
    assert line.startswith(str(file))
    assert told in line
    assert list(Path().glob("x")) == []


def test_an_empty_file_is_no_options(tmp_path: Path) -> None:
    (tmp_path / "o.yaml").write_text("# nothing\n")
    assert options("m", "--config", str(tmp_path / "o.yaml")) == options("m")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("features: [5]", "--features 5: file: must be a path"),
        ("features: [{file: [1]}]", "file: must be a path"),
        ("features: [{file: 'x.npz', prompts: 3}]", "no such file"),
        ("encoders: [{options: 3}]", "options: must be"),
        ("encoders: [{encoder: resnet18, prompts: 3}]", "prompts: must be a path"),
        ("finetune: [{options: [1]}]", "options: must be"),
        ("heads: [{head: knn, params: 3}]", "params: must be"),
        ("heads: [{head: [knn]}]", "no such head"),
        ("__dataclass_self__: 1", "__dataclass_self__: no such option"),
        ("encoders: [{encoder: resnet18, __dataclass_self__: 1}]", "no such option"),
        ("self: 1", "self: no such option"),
        ("chosen: [{__dataclass_self__: 1}]", "--chosen"),
        ("seed: [" + "9, " * 30_000 + "9]", "--seed [9, 9,"),
        ("seed: " + "9" * 4000, "--seed 999"),
        ('"a\\u2028b\\e": 1', "a\\u2028b\\x1b: no such option"),
        ("out: {a: &x [1], b: [*x, *x]}", "--out {'a': [1], 'b': [[1], [1]]}"),
    ],
)
def test_strange_values_of_a_benchmark_are_short_lines(
    tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "o.yaml"
    file.write_text(text + "\n")
    with pytest.raises(UserError) as caught:
        parse(BenchConfig, ["--config", str(file)], "prog")
    assert told in str(caught.value)
    assert all(len(line) < 400 for line in str(caught.value).splitlines())


class TestResume:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        config = FinetuneConfig(data=Path("d"), shot=8, track=("wandb",), ema=0.5)
        (tmp_path / "config.yaml").write_text(to_yaml(config))
        (tmp_path / "environment.json").write_text('{"started_by": "finetune"}')
        return tmp_path

    def parse(self, *words: Any) -> FinetuneConfig:
        words = tuple(map(str, words))
        return parse(FinetuneConfig, words, "cvgssl finetune", positional=("data",))

    def test_takes_the_options_of_the_run(self, run: Path) -> None:
        made = self.parse("--resume", run)
        assert made.resume == run
        assert (made.data, made.shot, made.track, made.ema) == (Path("d"), 8, ("wandb",), 0.5)

    def test_options_that_agree_may_be_repeated(self, run: Path) -> None:
        assert self.parse("d", "--shot", 8, "--resume", run).shot == 8

    def test_every_option_that_disagrees_is_told(self, run: Path) -> None:
        with pytest.raises(UserError) as caught:
            self.parse("other", "--shot", 4, "--lr", 0.003, "--resume", run)
        first, second = str(caught.value).splitlines()
        assert first.startswith("--data other: the run was started with d;")
        assert second.startswith("--shot 4: the run was started with 8;")

    def test_a_folder_that_is_no_run(self, tmp_path: Path) -> None:
        for place in (tmp_path, tmp_path / "missing"):
            with pytest.raises(UserError) as caught:
                self.parse("--resume", place)
            assert str(caught.value) == (
                f"--resume {place}: not a run folder, it has no config.yaml"
            )

    def test_a_run_of_another_command_is_named_in_one_line(self, run: Path) -> None:
        with pytest.raises(UserError) as caught:
            parse(PretrainConfig, ["--resume", str(run)], "cvgssl pretrain")
        assert str(caught.value) == (
            f"--resume {run}: was started by `cvgssl finetune`; resume it with that"
        )

    def test_another_file_of_options_is_not_ignored(self, run: Path) -> None:
        with pytest.raises(UserError, match="--config: leave it out"):
            self.parse("--resume", run, "--config", run / "config.yaml")

    def test_an_impossible_value_in_the_run_is_told_even_where_a_flag_mends_it(
        self, run: Path
    ) -> None:
        text = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(text.replace("shot: 8", "shot: 0"))
        with pytest.raises(UserError, match="--shot 0: input should be greater"):
            self.parse("--resume", run, "--shot", "8")

    def test_the_published_command_may_repeat_its_own_flags(self, run: Path) -> None:
        words = ["--finetune_model", "True", "--softmax_lincls", "False", "--resume", str(run)]
        made = parse(PublishedConfig, words, "prog").adaptation()
        assert (type(made), made.shot) == (FinetuneConfig, 8)
        words = ["--softmax_lincls", "True", "--resume", str(run)]
        assert type(parse(PublishedConfig, words, "prog").adaptation()) is LinearConfig

    def test_options_of_another_version_are_named(self, run: Path) -> None:
        values = yaml.safe_load((run / "config.yaml").read_text()) | {"gone": 1}
        (run / "config.yaml").write_text(yaml.safe_dump(values))
        with pytest.raises(UserError, match=r"^gone: no such option$"):
            self.parse("--resume", run)


def test_help_shows_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        options("--help")
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "A command with every kind of option." in text
    assert "[MODEL] [IMAGES ...]" in text
    assert "--learning-rate NUMBER a number, 100 % of it (default: 0.1)" in text
    assert "--steps INT a whole number (default: 4)" in text
    assert "--kind {a,b} a choice (default: a)" in text
    assert "--quick [true|false] yes or no (default: False)" in text
    assert "--ema NUMBER a number or nothing --out" in text  # None is not shown


def test_help_groups_what_commands_share_after_the_own_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
    class Shared:
        """What several commands take.

        More of it.
        """

        device: int = Field(0, description="shared")

    @dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
    class Own(Shared):
        """A command."""

        steps: int = Field(4, description="own")

    with pytest.raises(SystemExit):
        parse(Own, ["--help"], "prog")
    _, own, shared = capsys.readouterr().out.split("\n\n")[-3:]
    assert "--steps" in own and "--device" not in own
    assert shared.startswith("What several commands take:\n  --device INT")


def test_parsing_imports_no_torch() -> None:
    script = (
        "import sys\n"
        "from cvgssl.cli.command import parse\n"
        "from cvgssl.adapt.config import FinetuneConfig\n"
        "parse(FinetuneConfig, ['d', '--lr', '1'], 'prog', positional=('data',))\n"
        "print(sorted({'torch', 'numpy', 'timm', 'accelerate'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_names_of_a_registry_are_taken_and_shown_as_choices_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ["a", "b"]

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Named:
        """A choice that is fixed, and one that grows."""

        fixed: Literal["a", "b", "c"] = Field("a", description="a choice")
        grown: Annotated[str, OneOf(names)] = Field("a", description="a choice")

    names.append("c")
    assert parse(Named, ["--grown", "c"], "prog") == Named("a", "c")
    with pytest.raises(UserError) as caught:
        parse(Named, ["--fixed", "d", "--grown", "d"], "prog")
    fixed, grown = str(caught.value).splitlines()
    assert (
        grown
        == fixed.replace("--fixed", "--grown")
        == ("--grown d: input should be 'a', 'b' or 'c'")
    )
    with pytest.raises(pydantic.ValidationError, match="'a', 'b' or 'c'"):
        Named(grown=["a"])  # type: ignore[arg-type]
    with pytest.raises(SystemExit):
        parse(Named, ["--help"], "prog")
    assert "--grown {a,b,c}" in capsys.readouterr().out
