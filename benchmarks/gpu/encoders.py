"""How fast frozen encoders are: alone in fp16 and bf16, compiled, and as `cvgssl embed`.

Encoders have random weights, which cost the same. Pictures are gray, 224 px, already on the GPU;
what is timed is what `cvgssl embed` does with them: scaling, normalising, encoding under autocast
(channels-last where the network is convolutional).
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.section import Section, device, finish, generate, rate, run
from cvgssl.encoders.frozen_encoder import FrozenEncoder
from cvgssl.encoders.loading import load_encoders
from cvgssl.images.decoding import decode_squares
from cvgssl.images.geometry import Geometry
from cvgssl.images.listing import list_pictures

ENCODERS = {
    "RN50": "RN50",
    "ViT-B/32": "ViT-B/32",
    "ViT-B/16": "ViT-B/16",
    "ViT-L/14": "ViT-L/14",
    "EfficientNet-Lite0": "tf_efficientnet_lite0",
    "ViT-Tiny": "vit_tiny_patch16_224",
}
TINY = {"ViT": "test_vit", "ResNet": "test_resnet"}
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
COMPILING = 20.0  # seconds that must be left for one; the slowest and most used first


def main(section: Section) -> None:
    """The encoders alone, then the command, then what takes longest: compiled."""
    names = TINY if section.tiny else ENCODERS
    teachers = {}
    batch = 2 if section.tiny else 256
    pixels = torch.randint(0, 256, (batch, 1, 224, 224), dtype=torch.uint8, device=device())
    for label, name in names.items():
        (teachers[label],) = load_encoders([f"{name}=random"])
        section.put(label, _rates(teachers[label].to(device()), pixels, section.tiny))
    _embed(section, "test_vit" if section.tiny else "ViT-B/16")
    first = [label for label in ("ViT-B/16", "RN50", "ViT-B/32") if label in teachers]
    for precision in PRECISIONS:  # the second where the time allows
        for label in dict.fromkeys([*first, *teachers]):
            if section.left() < (5.0 if section.tiny else COMPILING):
                return
            name = f"{label}, compiled"
            row = _compiled(teachers[label], pixels, section.tiny, precision)
            section.put(name, section.rows.get(name, {}) | row)


def _rates(
    teacher: FrozenEncoder, pixels: Tensor, tiny: bool, names: Sequence[str] = tuple(PRECISIONS)
) -> dict[str, float]:
    """Pictures per second in each of the precisions `names`."""

    def work(precision: torch.dtype) -> None:
        with torch.autocast(device().type, precision):
            teacher(pixels.float() / 255)

    seconds = 0.02 if tiny else 0.7
    return {
        name: rate(lambda name=name: work(PRECISIONS[name]), len(pixels), seconds) for name in names
    }


def _compiled(teacher: FrozenEncoder, pixels: Tensor, tiny: bool, precision: str) -> dict[str, Any]:
    """The backbone compiled as `--compile` does; seconds with compiling."""
    if tiny and not torch.cuda.is_available():
        return {"not measured": "a compiler takes longer than all the rest"}
    begun = time.monotonic()
    teacher.backbone.body.compile()
    try:
        rates = _rates(teacher, pixels, tiny, (precision,))
    except RuntimeError as error:  # what the compiler or its output raises
        return {"not measured": str(error).strip().partition("\n")[0]}
    return rates | {f"seconds, {precision}": time.monotonic() - begun}


def _embed(section: Section, name: str) -> None:
    """`cvgssl embed` of pictures on disk, without importing; and decoding them alone."""
    count = 12 if section.tiny else 5000
    data = generate(section.work / "steel", -(-count // 6), section.tiny)
    paths = list_pictures(data)
    begun = time.monotonic()
    for square in decode_squares(paths, Geometry(224, interpolation="bicubic")):
        assert square.pixels is not None
    decoding = time.monotonic() - begun
    precision = "fp16" if torch.cuda.is_available() else "fp32"
    words = ["embed", data, "--encoder", f"{name}=random", "--precision", precision]
    words += ["--batch-size", "256", "--out", section.work / "features.npz"]
    begun = time.monotonic()
    run(*words)
    finish()
    whole = time.monotonic() - begun
    row = {"pictures": len(paths), "encoder": name, "precision": precision}
    row |= {"pictures per second": len(paths) / whole, "seconds": whole}
    section.put("cvgssl embed", row | {"seconds of decoding alone": decoding})
