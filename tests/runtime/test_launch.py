import os
import subprocess
import textwrap

import pytest
import torch

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.launch import is_first_process, launch
from cvgssl.runtime.progress import is_first_here

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@no_gpu
def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(UserError, match="--precision fp16: needs a GPU; leave it out"):
        launch(precision="fp16")


@no_gpu
def test_bf16_on_a_processor_without_it_is_said(python: str) -> None:
    script = (
        "from cvgssl.runtime.launch import launch; launch(precision='bf16', by_torch=False); "
        "launch(precision='bf16')"
    )
    old_processor = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [python, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | old_processor,
    )
    assert "--precision bf16: this processor has no AVX-512 or AMX" in done.stderr
    assert done.stderr.count("\n") == 1


@no_gpu
def test_a_gpu_that_is_asked_for_in_vain_is_said_and_the_cpu_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert launch(gpu=0).device.type == "cpu"
    assert capsys.readouterr().err == "--gpu 0: no GPU here, the CPU is used\n"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_does_not_exist() -> None:
    with pytest.raises(UserError, match=r"--gpu 99: there are \d+ GPUs, from 0"):
        launch(gpu=99)


def test_a_second_launch_takes_its_own_precision() -> None:
    assert launch(precision="bf16").mixed_precision == "bf16"
    assert launch(precision="fp32").mixed_precision == "no"
    accelerator = launch(precision="bf16")
    linear = torch.nn.Linear(4, 4, device=accelerator.device)
    with accelerator.autocast():
        assert linear(torch.zeros(1, 4, device=accelerator.device)).dtype is torch.bfloat16


def test_the_first_process_is_the_one_of_rank_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert is_first_process()
    monkeypatch.setenv("RANK", "1")
    assert not is_first_process()


def test_a_missing_tracker_is_named_with_the_extra_that_brings_it(python: str) -> None:
    script = """
        import importlib.machinery, sys
        find = importlib.machinery.PathFinder.find_spec
        names = ("tensorboard", "wandb", "mlflow")
        def hiding(name, path=None, target=None):
            return None if name.split(".")[0] in names else find(name, path, target)
        importlib.machinery.PathFinder.find_spec = hiding
        for module in list(sys.modules):  # as if nobody had imported them before
            if module.split(".")[0] in names:
                del sys.modules[module]
        from cvgssl.runtime.errors import UserError
        from cvgssl.runtime.launch import launch
        for name in names:
            try:
                launch(track=[name])
            except UserError as error:
                print(error)
    """
    done = subprocess.run([python, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        f"--track {name}: not installed; pip install 'cvgssl[{name}]'"
        for name in ("tensorboard", "wandb", "mlflow")
    ], done.stderr


def test_a_process_that_works_for_itself_meets_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nobody at that port; a joint start would wait for them."""
    place = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}
    for name, value in (place | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}).items():
        monkeypatch.setenv(name, value)
    accelerator = launch(together=False)
    assert accelerator.num_processes == 1 and not torch.distributed.is_initialized()
    assert {name: os.environ[name] for name in place} == place
    assert not is_first_here()
