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
_INSTRUCTIONS = ("avx", "amx", "fma")


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
        "instructions": instructions(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def hardware(device: "torch.device | None" = None) -> str:
    """What computed, in a few words for tables: `NVIDIA H200` or `AMD EPYC with AVX-512, 2 cores`.

    device: where; left out: the processor.
    """
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    wide = {"amx_tile": "AMX", "avx512f": "AVX-512"}  # several times faster, under one name
    kinds = [name for flag, name in wide.items() if flag in instructions()]
    return f"{' with '.join([processor(), *kinds[:1]])}, {_cores()} cores"


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
    """The name of the processor, which virtual machines often shorten."""
    names = _cpuinfo("model name")
    return names[0] if names else platform.processor() or platform.machine()


def instructions() -> list[str]:
    """Instructions of the processor that decide how fast, and how, it computes; sorted."""
    flags = set(" ".join(_cpuinfo("flags")[:1]).split())
    return sorted(flag for flag in flags if flag.startswith(_INSTRUCTIONS))


def _cpuinfo(key: str) -> list[str]:
    """What Linux says of each core; nothing elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            lines = [line.partition(":") for line in file]
    except OSError:
        return []
    return [text.strip() for name, _, text in lines if name.strip() == key]
