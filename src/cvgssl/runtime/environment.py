"""Where a result was made: versions and hardware, for the run folder."""

import os
import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

from cvgssl import __version__

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "torch", "torchvision", "timm", "accelerate", "numpy", "pillow", "scipy", "openvino",
    "onnxruntime",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Command line, versions, processor and GPU as JSON values."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "command": [os.path.basename(sys.argv[0]), *sys.argv[1:]],  # noqa: PTH119
        "python": platform.python_version(),
        "packages": {"cvgssl": __version__} | {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": processor(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def hardware(device: "torch.device | None" = None) -> str:
    """What computed, in a few words for tables: `NVIDIA H200` or `AMD EPYC, 2 cores`.

    device: where; left out: the processor.
    """
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return f"{processor()}, {_cores()} cores"


def _cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """The name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
