import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from cvgssl import __version__
from cvgssl.runtime.environment import environment, hardware, instructions


def test_everything_is_json_and_true_of_this_machine() -> None:
    facts = json.loads(json.dumps(environment()))
    assert facts["packages"]["cvgssl"] == __version__
    assert torch.__version__.startswith(facts["packages"]["torch"].split("+")[0])
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["cores"] == len(os.sched_getaffinity(0))
    assert facts["threads"] == torch.get_num_threads()
    assert len(facts["gpus"]) == torch.cuda.device_count()
    assert facts["processor"]


def test_hardware_names_what_computes() -> None:
    assert hardware().endswith(f"{len(os.sched_getaffinity(0))} cores")
    assert hardware(torch.device("cpu")) == hardware()
    if torch.cuda.is_available():
        assert hardware(torch.device("cuda")) == torch.cuda.get_device_name()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("fpu avx2 fma", "Some CPU, "),
        ("fpu avx2 avx512f avx512_vnni", "Some CPU with AVX-512, "),
        ("avx512f amx_tile amx_bf16", "Some CPU with AMX, "),
    ],
)
def test_processors_of_one_name_are_told_apart(
    flags: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = f"model name\t: Some CPU\nflags\t\t: {flags}\n\n"
    (tmp_path / "cpuinfo").write_text(core * 2)
    monkeypatch.setattr(
        "builtins.open",
        lambda path, opened=open, **options: opened(
            tmp_path / "cpuinfo" if path == "/proc/cpuinfo" else path, **options
        ),
    )
    assert hardware().startswith(said)
    assert instructions() == sorted(set(flags.split()) - {"fpu"})


def test_a_package_that_is_not_installed_is_none(python: str) -> None:
    script = """
        import json, sys
        from importlib import metadata
        class Hidden(metadata.MetadataPathFinder):
            @classmethod
            def find_distributions(cls, context=metadata.DistributionFinder.Context()):
                if context.name == "scipy":
                    return iter(())
                return super().find_distributions(context)
        place = [getattr(f, "__name__", "") for f in sys.meta_path].index("PathFinder")
        sys.meta_path[place].find_distributions = Hidden.find_distributions
        from cvgssl.runtime.environment import environment
        print(json.dumps(environment()["packages"]))
    """
    done = subprocess.run(
        [python, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    packages = json.loads(done.stdout)
    assert packages["scipy"] is None
    assert packages["numpy"] is not None
