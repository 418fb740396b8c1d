"""Two processes with half the batch each give the loss and the gradients of one process."""

import importlib.util
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
import small
import torch
from torch import Tensor

from cvgssl.pretrain.methods.base import Method

PICTURES = 8
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "published": ("cvgssl", {"t1": 0.5}),
    "margin": ("cvgssl", {"self_constraint": "margin", "self_weight": 1.0}),
    "relational": ("cvgssl", {"guidance": "relational"}),
    "mocov3": ("mocov3", {}),
    "simclr": ("simclr", {}),
    "byol": ("byol", {}),
    "simsiam": ("simsiam", {}),
    "dino": ("dino", {}),
}
NEED_LIGHTLY = ("simclr", "byol", "simsiam", "dino")
WORK = """
    import sys
    from datetime import timedelta
    from pathlib import Path
    import torch
    import torch.distributed as dist

    import small
    import test_method_processes as shared
    from cvgssl.runtime.sync_batch_norm import synchronize_batch_norm

    folder, rank, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2,
        timeout=timedelta(hours=1),
    )
    half = shared.PICTURES // 2
    for name in names:
        method = shared.build(name)
        synchronize_batch_norm(method)
        result = shared.step(method, name, rank * half, (rank + 1) * half)
        for group in ("terms", "gradients"):
            for value in result[group].values():  # gradients: what DDP does
                dist.all_reduce(value)
                value /= 2
        torch.save(result, folder / f"{name}_{rank}.pt")
    dist.destroy_process_group()
"""


def build(name: str) -> Method:
    builder, options = METHODS[name]
    return small.method(builder, **options)


def step(method: Method, name: str, start: int, stop: int) -> dict[str, dict[str, Tensor]]:
    """Terms, gradients and buffers after a step on some of the pictures."""
    batch = small.batch(guided=METHODS[name][0] == "cvgssl", pictures=PICTURES)
    terms = method(small.part(batch, start, stop))
    loss: Any = sum(terms.values())
    loss.backward()
    return {
        "terms": {name: term.detach() for name, term in terms.items()},
        "gradients": {n: p.grad for n, p in method.named_parameters() if p.grad is not None},
        "buffers": dict(method.named_buffers()),
    }


def available(names: list[str]) -> list[str]:
    installed = importlib.util.find_spec("lightly") is not None
    return [name for name in names if installed or name not in NEED_LIGHTLY]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, python: str) -> Path:
    """What two processes made of their halves."""
    folder = tmp_path_factory.mktemp("two")
    words = [python, "-c", textwrap.dedent(WORK), str(folder)]
    names = available(list(METHODS))
    processes = [
        subprocess.Popen([*words, str(rank), *names], cwd=Path(__file__).parent) for rank in (0, 1)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    return folder


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_with_half_the_batch_give_the_result_of_one(folder: Path, name: str) -> None:
    if name in NEED_LIGHTLY:
        pytest.importorskip("lightly")
    one = step(build(name), name, 0, PICTURES)
    assert sum(gradient.abs().sum() > 0 for gradient in one["gradients"].values()) > 5
    for rank in (0, 1):
        two = torch.load(folder / f"{name}_{rank}.pt", weights_only=True)
        for group, tolerance in (("terms", 1e-5), ("gradients", 1e-4), ("buffers", 1e-5)):
            torch.testing.assert_close(two[group], one[group], rtol=tolerance, atol=tolerance)
