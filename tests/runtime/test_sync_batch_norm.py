import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvgssl.encoders.timm_import import timm
from cvgssl.runtime.sync_batch_norm import SyncBatchNorm, synchronize_batch_norm

KINDS = ("plain", "timm")
SPLIT = 5  # of 8 pictures: the processes have uneven shares
WORK = """
    import sys
    from datetime import timedelta
    from pathlib import Path
    import torch
    import torch.distributed as dist

    import test_sync_batch_norm as shared
    from cvgssl.runtime.sync_batch_norm import SyncBatchNorm, synchronize_batch_norm

    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2,
        timeout=timedelta(hours=1),
    )
    for kind in shared.KINDS:
        model = shared.build(kind)
        synchronize_batch_norm(model)
        assert sum(isinstance(m, SyncBatchNorm) for m in model.modules()) == 2
        result = shared.train(model, shared.shares()[rank])
        for gradient in result["gradients"].values():  # what DDP does
            dist.all_reduce(gradient)
            gradient /= 2
        torch.save(result, folder / f"{kind}_{rank}.pt")
    dist.destroy_process_group()
"""

BatchNormAct2d: Any = timm.layers.BatchNormAct2d  # type: ignore[attr-defined]


def build(kind: str) -> nn.Module:
    """Two convolutions with batch norms: torch's, or timm's with a fused activation."""
    torch.manual_seed(0)
    norm: Any = {
        "plain": nn.BatchNorm2d,
        "timm": lambda n: BatchNormAct2d(n, act_layer=nn.SiLU),
    }[kind]
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), norm(4), nn.Sequential(nn.Conv2d(4, 4, 3, bias=False), norm(4))
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def shares() -> tuple[Tensor, Tensor]:
    pictures = 5 + 3 * torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    return pictures[:SPLIT], pictures[SPLIT:]


def train(model: nn.Module, pictures: Tensor) -> dict[str, Any]:
    """Outputs, gradients and statistics of two steps. The loss is a sum over 8 pictures, times 2.

    With it the average of two processes' gradients is that of the mean over all pictures.
    """
    inputs = pictures.clone().requires_grad_()
    for _ in range(2):
        inputs.grad = None
        model.zero_grad()
        outputs = model(inputs)
        (outputs.sin().sum() * 2 / 8).backward()
    assert inputs.grad is not None
    return {
        "outputs": outputs.detach(),
        "inputs": inputs.grad,
        "gradients": {name: p.grad for name, p in model.named_parameters()},
        "buffers": dict(model.named_buffers()),
        "evaluated": model.eval()(pictures).detach(),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, python: str) -> Path:
    """What two processes made of their shares."""
    folder = tmp_path_factory.mktemp("two")
    words = [python, "-c", textwrap.dedent(WORK), str(folder)]
    processes = [
        subprocess.Popen([*words, str(rank)], cwd=Path(__file__).parent) for rank in (0, 1)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_with_uneven_shares_give_the_result_of_one(folder: Path, kind: str) -> None:
    one = train(build(kind), torch.cat(shares()))
    two = [torch.load(folder / f"{kind}_{rank}.pt", weights_only=True) for rank in (0, 1)]

    def assert_close(found: object, expected: object) -> None:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)

    for name in ("outputs", "evaluated"):
        assert_close(torch.cat([part[name] for part in two]), one[name])
    assert_close(torch.cat([part["inputs"] for part in two]), one["inputs"])
    for part in two:
        halved = {name: gradient / 2 for name, gradient in one["gradients"].items()}
        assert_close(part["gradients"], halved)
        assert_close(part["buffers"], one["buffers"])


def test_a_single_process_keeps_its_batch_norm() -> None:
    model = build("plain")
    synchronize_batch_norm(model)
    assert not any(isinstance(module, SyncBatchNorm) for module in model.modules())
