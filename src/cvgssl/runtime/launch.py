"""Device, precision, processes and trackers, through accelerate."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import patch_environment

from cvgssl.runtime.errors import UserError
from cvgssl.runtime.trackers import prepare_trackers

# what accelerate looks at for others that it should meet
_SINGLE = {"LOCAL_RANK": -1, "RANK": 0} | dict.fromkeys(
    ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"), 1
)
MODES = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def is_first_process() -> bool:
    """Whether this process is the one that prints and writes files."""
    return os.environ.get("RANK", "0") == "0"


def computes_bf16() -> bool:
    """Whether the processor computes bf16 itself; otherwise torch converts every number."""
    has_mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on `device`; a GPU at work on something else is not waited for."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()  # a copy from other memory would wait
    return tensor.to(device, non_blocking=True)


def launch(
    gpu: int | None = None,
    precision: str = "fp32",
    track: Sequence[str] = (),
    together: bool = True,
    by_torch: bool = True,
) -> Accelerator:
    """Set up this process: a single one, or one of those that torchrun started.

    gpu: CUDA device of a single process; without a GPU the CPU is used, with a warning.
    precision: fp32 is fp32 on a GPU too, not TF32.
    track: trackers, which `trackers.start_trackers` starts once there is a run folder.
    together: whether processes that torchrun started work on the same, with collectives. Without,
    each works for itself, on the GPU that its place among those of its machine gives it.
    by_torch: whether torch computes in that precision, which gives a warning where that is slow.
    Raises UserError for fp16 without a GPU, a GPU number that does not exist and a tracker whose
    package is not installed.
    """
    prepare_trackers(track)
    single = not together or int(os.environ.get("WORLD_SIZE", "1")) == 1
    on_gpu = torch.cuda.is_available()
    if gpu is None and on_gpu and not together:
        gpu = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
    if gpu is not None and not on_gpu:
        print(f"--gpu {gpu}: no GPU here, the CPU is used", file=sys.stderr)
    elif gpu is not None and gpu >= torch.cuda.device_count():
        raise UserError(f"--gpu {gpu}: there are {torch.cuda.device_count()} GPUs, from 0")
    elif gpu is not None and single:
        torch.cuda.set_device(gpu)
    if precision == "fp16" and not on_gpu:
        raise UserError("--precision fp16: needs a GPU; leave it out on the CPU")
    if by_torch and precision == "bf16" and not on_gpu and not computes_bf16():
        print(
            "--precision bf16: this processor has no AVX-512 or AMX for it and is several times "
            "slower than without; leave it out",
            file=sys.stderr,
        )
    # cuDNN's default would keep 10 bits of every number and still be called fp32
    torch.backends.cudnn.allow_tf32 = False
    # accelerate keeps the settings of an earlier run in this Python process: discard them
    AcceleratorState._reset_state(reset_partial_state=True)
    with nullcontext() if together else patch_environment(**_SINGLE):
        return Accelerator(
            mixed_precision=MODES[precision],
            cpu=not on_gpu,
            log_with=list(track) or None,
            project_dir=".",  # asked for by some trackers; nothing is written there
        )


def in_any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether `flag` is set in any process; all of them must ask together."""
    if accelerator.num_processes == 1:
        return flag
    number = torch.tensor(float(flag), device=accelerator.device)
    return bool(accelerator.reduce(number, "sum").item() > 0)


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Inside the block the collector looks only at what was made there.

    accelerate collects after every training, which among all objects of torch takes a few tenths
    of a second: more than a linear evaluation on stored features. Where the caller has frozen
    objects itself (`gc.freeze`), it stays at that.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
