"""Runs of a network by OpenVINO: torch's numbers, compiled once, torch where it cannot."""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cvgssl.encoders import compiled_network, compiled_run
from cvgssl.encoders.backbone import Backbone, build_backbone
from cvgssl.encoders.network_run import NetworkRun, Taken
from cvgssl.encoders.normalization import HALF
from cvgssl.encoders.programs import chosen_program
from cvgssl.encoders.runs import Runs
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import Runtime

pytest.importorskip("openvino")
RUNTIMES: list[Runtime] = ["openvino", "onnxruntime"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CVGSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled_network, "FOLDER", "compiled")
    return tmp_path / "cache" / "compiled"


def network(arch: str = "test_resnet", size: int = 48, seed: int = 1) -> Backbone:
    torch.manual_seed(seed)
    return build_backbone(arch, size).eval().requires_grad_(False)


def pictures(channels: int, size: int = 48, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (count, channels, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def tensors(taken: Taken) -> list[Tensor]:
    output, shown = taken
    return [
        *([] if output is None else [output]),
        *(each for pair in shown.values() for each in pair),
    ]


def check_equal(given: Taken, wanted: Taken) -> None:
    assert (given[0] is None) == (wanted[0] is None) and list(given[1]) == list(wanted[1])
    for mine, theirs in zip(tensors(given), tensors(wanted), strict=True):
        assert mine.shape == theirs.shape and mine.dtype == torch.float32
        if theirs.numel():
            assert (mine - theirs).abs().max() <= 1e-4 * theirs.abs().max()


SMALL = "embed_dim=24,depth=2,num_heads=2"


@torch.inference_mode()
@pytest.mark.parametrize(
    ("arch", "size", "layers", "with_output", "runtime"),
    [
        ("test_resnet", 48, (1, 3), True, "openvino"),
        (f"vit_base_patch32_clip_quickgelu_224,{SMALL}", 64, (0, 1), True, "openvino"),
        (f"vit_small_patch14_reg4_dinov2,{SMALL}", 56, (1,), False, "openvino"),
        (f"vit_base_patch32_clip_quickgelu_224,{SMALL}", 64, (0, 1), True, "onnxruntime"),
    ],
)
def test_the_numbers_of_torch(
    arch: str, size: int, layers: Sequence[int], with_output: bool, runtime: Runtime
) -> None:
    pytest.importorskip(runtime)
    runs = Runs(network(arch, size), arch)
    by_torch = runs.make(layers, with_output)
    compiled = runs.make(layers, with_output, runtime)
    assert by_torch.program == "torch" and compiled.program.split()[0] == runtime
    for pixels in (pictures(1, size), pictures(3, size), pictures(3, size).float() / 255):
        check_equal(compiled(pixels), by_torch(pixels))


def test_a_picture_has_the_same_numbers_among_others() -> None:
    run = Runs(network(), "net").make(runtime="openvino")
    whole, _ = run(pictures(3, count=9))
    assert whole is not None
    for row in (0, 4, 8):
        single, _ = run(pictures(3, count=9)[row : row + 1])
        assert single is not None and torch.equal(single[0], whole[row])


def test_less_precise(cache: Path) -> None:
    runs = Runs(network(), "net")
    exact, rounded = (
        runs.make(runtime="openvino", precision=precision)(pictures(3))[0]
        for precision in ("fp32", "bf16")
    )
    assert exact is not None and rounded is not None
    error = float((exact - rounded).abs().max() / exact.abs().max())
    assert error < 0.1, "and 0 on a processor that has no bf16"
    assert len(list(cache.iterdir())) == 2
    with pytest.raises(UserError, match=r"--runtime openvino: .* is to be in fp16"):
        runs.make(runtime="openvino", precision="fp16")
    assert runs.make(runtime="auto", precision="fp16").program == "torch"
    with pytest.raises(UserError, match=r"--runtime onnxruntime: computes in fp32, .* bf16"):
        runs.make(runtime="onnxruntime", precision="bf16")


def test_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Runs(network(), "net").make(runtime="openvino")(pictures(3))[0]
    (kept,) = cache.iterdir()
    Runs(network(seed=7), "other weights").make(runtime="openvino")
    assert len(list(cache.iterdir())) == 2
    with monkeypatch.context() as patch:
        patch.delattr(compiled_run, "_Graph")
        again = Runs(network(), "net").make(runtime="openvino")(pictures(3))[0]
        assert first is not None and again is not None and torch.equal(first, again)
    damaged = bytearray(kept.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    kept.write_bytes(damaged)
    again = Runs(network(), "net").make(runtime="openvino")(pictures(3))[0]
    assert again is not None and torch.equal(first, again)
    assert kept.read_bytes() != bytes(damaged), "written again"


def test_written_as_onnx_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    first = Runs(network(), "net").make(runtime="onnxruntime")(pictures(3))[0]
    (kept,) = cache.iterdir()
    assert kept.suffix == ".onnxruntime"
    monkeypatch.delattr(compiled_run, "_Graph")
    again = Runs(network(), "net").make(runtime="onnxruntime")(pictures(3)[1:])[0]
    assert first is not None and again is not None and torch.equal(first[1:], again)


def test_without_a_cache_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert Runs(network(), "net").make(runtime="openvino").program != "torch"


class Noisy(nn.Module):
    """Gives other numbers each time, so it is never what a check expects."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean((2, 3)) + torch.rand(3)


class Unknown(nn.Module):
    """Does what OpenVINO has no operation for."""

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.linalg.eigvalsh(pixels).mean(1)


@pytest.mark.parametrize("body", [Noisy(), Unknown()])
def test_what_openvino_cannot_take_goes_by_torch(
    body: nn.Module, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = Backbone(body, "own", 16, 3, HALF)
    runs = Runs(backbone, "our network")
    with caplog.at_level(logging.WARNING):
        run = runs.make(runtime="auto")
        assert run.program == runs.program((0,), False, "auto", "fp32") == "torch"
        assert run(pictures(3, 16))[0] is not None
    (line,) = caplog.messages
    assert line.startswith("our network: is run by torch, for openvino cannot (")
    for runtime in RUNTIMES:
        with pytest.raises(UserError, match=rf"--runtime {runtime}: our network .*--runtime torch"):
            runs.make(runtime=runtime)
    assert not cache.exists()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # how Python notes that there is none
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert Runs(network(), "net").make(runtime="auto").program.startswith("onnxruntime ")
    assert chosen_program("auto", "bf16") == "torch", "which ONNX Runtime does not have"
    runs = Runs(network(), "net")
    with pytest.raises(
        UserError, match=r"--runtime openvino: not installed; pip install 'cvgssl\["
    ):
        runs.make(runtime="openvino")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"--runtime onnxruntime: not .* 'cvgssl\[onnx\]'"):
        runs.make(runtime="onnxruntime")
    assert isinstance(runs.make(runtime="auto"), NetworkRun)


def test_it_reports_to_nobody(tmp_path: Path, python: str) -> None:
    """OpenVINO's package counts imports and conversions, and keeps a number in the home folder."""
    script = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('a connection')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from cvgssl.encoders.backbone import build_backbone\n"
        "from cvgssl.encoders.runs import Runs\n"
        "run = Runs(build_backbone('test_resnet', 48).eval(), 'net').make(runtime='openvino')\n"
        "assert run.program != 'torch'\n"
        "assert not any(name.startswith('openvino_telemetry.') for name in sys.modules)\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run([python, "-c", script], check=True, env=os.environ | {"HOME": str(home)})
    assert not list(home.iterdir())
