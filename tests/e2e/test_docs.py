"""The documentation's commands and code run as printed; its generated pages are up to date.

docs/plain_pytorch.md has a test of its own.
"""

import os
import re
import runpy
import subprocess
from pathlib import Path

import pytest

from cvgssl.cli.reference import reference

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", ["README.md", "docs/guide.md", "docs/heads.md", "docs/features.md", "docs/export.md"]
)
def test_commands_and_code_run_as_printed(page: str, tmp_path: Path, python: str) -> None:
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert blocks
    path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    for kind, text in blocks:
        program = ["bash", "-euc", text] if kind == "sh" else [python, "-c", text]
        done = subprocess.run(
            program,
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"


def test_both_readmes_have_the_same_commands() -> None:
    fences = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    english, chinese = (
        [
            line.split("#")[0].rstrip()
            for block in fences.findall(text)
            for line in block.split("\n")
        ]
        for text in (
            (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")
        )
    )
    assert english == chinese


def test_options_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == reference(), "make docs"


def test_generated_tables_are_up_to_date() -> None:
    recipe = runpy.run_path(str(ROOT / "recipes" / "results.py"))
    folder = ROOT / "docs" / "results" / "tables"
    assert {path.stem for path in folder.iterdir()} == set(recipe["TABLES"])
    for name in recipe["TABLES"]:
        text = (folder / f"{name}.md").read_text(encoding="utf-8")
        assert text == recipe["table"](name), "make results"


def test_links_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")]
    missing = []
    for page in pages:
        for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text(encoding="utf-8")):
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                missing.append(f"{page.relative_to(ROOT)}: {target}")
    assert not missing


def test_results_name_no_folder_of_a_machine() -> None:
    paths = re.compile(r"""["'= (]/\w+/""")
    files = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".json", ".csv")]
    assert len(files) > 30
    assert not [path for path in files if paths.search(path.read_text(encoding="utf-8"))]


def anchors(page: Path) -> set[str]:
    """What links to the headings of a page end in."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain}
