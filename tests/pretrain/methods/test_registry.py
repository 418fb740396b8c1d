"""Declarations of methods: what follows from them, and those of other packages."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvgssl.pretrain.config import PretrainConfig, pretrain_config
from cvgssl.pretrain.methods.registry import (
    GUIDANCES,
    METHODS,
    Declaration,
    Registry,
    Targets,
    options_read,
)
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import fields_of

HERE = Path(__file__).parent
Command = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ["--arch", "test_resnet", "--image-size", "48", "--view-size", "32", "--batch-size", "8"]
SMALL += ["--epochs", "1", "--warmup-epochs", "0", "--out-dim", "16", "--nmb-crops", "1"]
SMALL += ["--min-scale-crops", "0.2", "--max-scale-crops", "1"]
ENTRIES = """[cvgssl.methods]
agreement = plug_in:AGREEMENT

[cvgssl.guidances]
matching = plug_in:MATCHING
"""


def install(folder: Path, entries: str) -> Path:
    """What pip leaves of a package with these entry points, beside its modules in this folder."""
    facts = folder / "plug_in-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(entries)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who installed the package of `plug_in`."""
    paths = [install(tmp_path / "site", ENTRIES), HERE, os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}


def terms(run: Path) -> set[str]:
    row = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    return set(row) & {"agreement", "matching", "relation", "regression"}


def test_a_method_from_outside_is_used_by_its_name(
    steel: Path, command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    words = ["pretrain", steel, *SMALL, "--builder", "agreement"]
    done = command(*words, "--t1", "0.5", "--out", "run", env=environment)
    assert done.returncode == 0, done.stderr
    assert "method: agreement" in done.stdout
    assert terms(tmp_path / "run") == {"agreement"}
    assert (tmp_path / "run" / "backbone.safetensors").exists()
    done = command(*words, "--bank", "2", "--margin", "0.1", env=environment)
    assert done.stderr.splitlines() == [
        "cvgssl pretrain: --margin: has no effect with --builder agreement",
        "cvgssl pretrain: --bank: has no effect with --builder agreement",
    ]


def test_a_method_from_outside_has_options_of_its_own(
    steel: Path, command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    words = ["pretrain", steel, *SMALL, "--seed", "1"]
    losses = []
    for name, options in (("a", []), ("b", ["--sharpness", "4"])):
        run = [*words, "--builder", "agreement", *options, "--lr", "1e-9", "--out", name]
        done = command(*run, env=environment)
        assert done.returncode == 0, done.stderr
        losses.append(json.loads((tmp_path / name / "summary.json").read_text())["losses"])
    assert losses[1]["agreement"] == pytest.approx(4 * losses[0]["agreement"], rel=1e-3)
    assert "# factor of the loss\nsharpness: 4.0\n" in (tmp_path / "b/config.yaml").read_text()
    done = command(*words, "--builder", "agreement", "--sharpness", "0", env=environment)
    assert "--sharpness 0: input should be greater than 0" in done.stderr
    done = command(*words, "--builder", "mocov3", "--sharpness", "2", env=environment)
    assert "--sharpness: has no effect with --builder mocov3" in done.stderr


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("lr", "pydantic.dataclasses", "there is an option lr already"),
        ("mine", "dataclasses", "no pydantic dataclass"),
    ],
)
def test_options_that_do_not_fit_are_told_of(name: str, kind: str, message: str) -> None:
    made = importlib.import_module(kind).dataclass(type("A", (), {"__annotations__": {name: int}}))
    METHODS.register("odd", Declaration(build="somewhere:Odd", options=made))
    try:
        with pytest.raises(UserError, match=f"cvgssl.methods: odd: .*{message}"):
            pretrain_config()
    finally:
        del METHODS._declared["odd"]
    assert pretrain_config() is PretrainConfig


def test_a_guidance_from_outside_gets_teachers_and_bank(
    steel: Path, command: Command, environment: dict[str, str], tmp_path: Path, teacher_file: Path
) -> None:
    words = ["pretrain", steel, *SMALL, "--guidance", "matching", "--bank-dir", "banks"]
    words += ["--bank", "2", "--teacher", f"test_vit={teacher_file}", "--out", "run"]
    done = command(*words, env=environment)
    assert done.returncode == 0, done.stderr
    assert "bank: 4 views of each picture" in done.stdout
    assert terms(tmp_path / "run") == {"matching"}
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["guidance"] == "matching"


def test_help_names_those_from_outside_and_stays_light(environment: dict[str, str]) -> None:
    code = """if True:
        import sys
        from cvgssl.cli.main import main
        try:
            main(["pretrain", "--help"])
        except SystemExit:
            print("torch" in sys.modules, "plug_in_losses" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert "simsiam,dino,agreement}" in done.stdout, done.stderr
    assert "--sharpness NUMBER" in done.stdout
    assert "relational,spectral,matching}" in done.stdout
    assert done.stdout.endswith("False False\n")


def test_entry_points_are_read_when_somebody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry("cvgssl.methods", {"own": Declaration(build="somewhere:Own")})
    monkeypatch.syspath_prepend(str(install(tmp_path, ENTRIES)))
    assert list(registry) == ["own", "agreement"]
    assert registry["agreement"].reads == ("t1",)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("mine = nowhere:THERE", "mine = nowhere:THERE: No module named 'nowhere'"),
        ("mine = plug_in:THERE", "mine = plug_in:THERE: .*no attribute 'THERE'"),
        ("mine = plug_in:ELSEWHERE", "mine: no Declaration"),
        ("own = plug_in:AGREEMENT", "own is declared twice"),
    ],
)
def test_a_broken_package_is_named(
    entry: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry("cvgssl.methods", {"own": Declaration(build="somewhere:Own")})
    monkeypatch.syspath_prepend(str(install(tmp_path, f"[cvgssl.methods]\n{entry}\n")))
    with pytest.raises(UserError, match=f"^cvgssl.methods: {message}"):
        list(registry)


def test_registered_from_python() -> None:
    registry = Registry("no.such.group", {})
    registry.register("mine", Declaration(build="somewhere:Mine", targets=Targets.MAP))
    assert registry["mine"].may_read == {"teacher", "teacher_layers", "bank", "neighbours"}
    with pytest.raises(UserError, match="mine is declared twice"):
        registry.register("mine", Declaration())


def test_declared_options_are_options() -> None:
    options = fields_of(PretrainConfig).keys()
    for name, declaration in {**METHODS, **GUIDANCES}.items():
        assert declaration.may_read <= options, name


@pytest.mark.parametrize(
    ("options", "read"),
    [
        ({"builder": "simclr"}, set()),
        ({"builder": "mocov3"}, {"t1", "target_momentum"}),
        ({"builder": "distill"}, {"teacher", "teacher_layers", "bank"}),
        (
            {"guidance": "spectral"},
            {"teacher", "teacher_layers", "bank", "guidance", "relation_temperature", "neighbours"},
        ),
        (
            {"guidance": "published", "self_constraint": "none"},
            {"teacher", "teacher_layers", "bank", "guidance", "t1", "adapter_dim",
             "self_constraint"},
        ),
    ],
)  # fmt: skip
def test_what_methods_read(options: dict[str, Any], read: set[str]) -> None:
    assert options_read(PretrainConfig(data=Path("steel"), **options)) == read
