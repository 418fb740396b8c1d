"""The shape of the package: which module may import which, and what an import may do."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import cvgssl

SOURCE = Path(cvgssl.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))

# Imports flow one way: a package may import itself and what is named here.
_ORDER = ("runtime", "images", "views", "encoders", "features", "heads", "selection", "pretrain",
          "adapt", "recognizer", "export", "bench", "report", "api", "station", "cli")  # fmt: skip
# but for these, which do not know each other
_APART = {
    "views": {"images"},
    "encoders": {"images", "views"},
    "heads": {"encoders", "images", "views"},
    "selection": {"encoders", "views"},
    "pretrain": {"heads", "selection"},
    "adapt": {"pretrain"},
    "recognizer": {"pretrain"},
    "export": {"pretrain", "adapt", "selection"},
    "bench": {"export"},
}
BELOW = {name: set(_ORDER[:place]) - _APART.get(name, set()) for place, name in enumerate(_ORDER)}
ENTRANCES = {"__init__", "__main__"}  # may name everything

# Flags, help texts and checks come from these; they must be quick to import.
LIGHT = ("runtime/errors.py", "runtime/files.py", "runtime/options.py", "images/geometry.py",
         "views/recipe.py", "adapt/config.py", "pretrain/config.py",
         "features/config.py", "selection/config.py", "recognizer/config.py", "export/config.py",
         "bench/config.py", "bench/entries.py", "heads/__init__.py")  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            if node.module == "cvgssl":
                yield from (f"cvgssl.{alias.name}" for alias in node.names)


def test_every_part_has_its_place() -> None:
    parts = {part_of(path) for path in MODULES} - ENTRANCES
    assert parts <= set(BELOW), "name new packages in BELOW"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_flow_one_way(path: Path) -> None:
    part = part_of(path)
    if part in ENTRANCES:
        return
    allowed = BELOW[part] | {part}
    for module in imported(parsed(path)):
        names = module.split(".")
        if names[0] == "cvgssl" and len(names) > 1 and names[1] != "__version__":
            assert names[1] in allowed, f"{part} must not import {module}"


def _runs_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that are evaluated when a module is imported: not the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "__name__" in ast.unparse(child.test):
            continue
        yield child
        yield from _runs_on_import(child)


def import_time_work(module: ast.Module) -> list[str]:
    """Calls that read the environment, the disk or a device when a module is imported."""
    forbidden = ("os.environ", "os.getenv", "open", "print", "input", "torch.cuda", "sys.argv",
                 "Path.cwd", "Path.home", "logging.basicConfig", "torch.set_", "torch.manual_seed",
                 "warnings.simplefilter", "subprocess", "np.random.seed")  # fmt: skip
    found = []
    for node in _runs_on_import(module):
        if isinstance(node, ast.Attribute | ast.Call):
            word = ast.unparse(node.func if isinstance(node, ast.Call) else node)
            if any(word == name or word.startswith((f"{name}.", name + "_")) for name in forbidden):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_importing_a_module_does_nothing_but_define(path: Path) -> None:
    if name_of(path) == "encoders/timm_import.py":
        return  # exists to prepare one import, and says so
    assert import_time_work(parsed(path)) == []


def test_the_check_above_sees_what_it_looks_for() -> None:
    assert import_time_work(ast.parse("import os\nX = os.environ.get('X')\n"))
    assert import_time_work(ast.parse("class A:\n    file = open('x')\n"))
    assert import_time_work(ast.parse("if torch.cuda.is_available():\n    pass\n"))
    assert not import_time_work(ast.parse("def f():\n    return os.environ['X']\n"))
    assert not import_time_work(ast.parse("if __name__ == '__main__':\n    print(1)\n"))


def loaded_by(statement: str, *packages: str) -> set[str]:
    script = f"import sys; {statement}; print(*({set(packages)!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_cvgssl_is_light() -> None:
    heavy = ("torch", "numpy", "timm", "scipy", "matplotlib", "pydantic", "accelerate")
    assert loaded_by("import cvgssl", *heavy) == set()
    assert loaded_by("import cvgssl; cvgssl.UserError", *heavy) == set()


def test_what_help_needs_imports_no_torch() -> None:
    modules = (name.removesuffix(".py").removesuffix("/__init__") for name in LIGHT)
    names = ", ".join("cvgssl." + name.replace("/", ".") for name in modules)
    assert loaded_by(f"import {names}", "torch", "timm", "scipy", "sklearn", "accelerate") == set()


def test_prediction_imports_what_the_recognizer_needs() -> None:
    slow = ("torch", "torch._dynamo", "timm", "sklearn", "scipy", "accelerate", "onnxruntime")
    names = ("exported", "fitted", "trained", "watching")
    modules = ", ".join(f"cvgssl.recognizer.{name}" for name in names)
    assert loaded_by(f"import {modules}", *slow) == set()


def test_every_public_name_is_there_and_documented() -> None:
    for name in cvgssl.__all__:
        assert getattr(cvgssl, name).__doc__, name
    assert set(dir(cvgssl)) == {*cvgssl.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cvgssl.nothing  # noqa: B018


def test_the_version_is_that_of_the_project_file() -> None:
    import tomllib

    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["project"]
    assert project.get("version", cvgssl.__version__) == cvgssl.__version__
