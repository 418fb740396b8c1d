"""Beyond one process: embedding by several that share the GPU, and answers of the CPU alone.

A recognizer is made on the GPU, exported, and checked in ONNX Runtime on the CPU, as on the line
where it is to work. Encoders have random weights, which cost the same.
"""

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.section import Section, generate, run
from cvgssl.features.table import load_features
from cvgssl.images.listing import list_pictures
from cvgssl.images.reader import read_picture
from cvgssl.runtime.errors import UserError

TORCHRUN = ("-m", "torch.distributed.run", "--standalone")
PER_CLASS = 500  # of six classes
ANSWERS = 50  # pictures that are timed one by one
STARTING = 20.0  # seconds that must be left for several processes


def main(section: Section) -> None:
    """One process, then several at once; then the exported recognizer."""
    data = generate(section.work / "steel", 4 if section.tiny else PER_CLASS, section.tiny)
    counts = (1, 2) if section.tiny else (1, 2, 4)
    for count in counts:
        name = f"embed, {count} process{'es' if count > 1 else ''}"
        if section.time_for(name, STARTING):
            section.put(name, _embed(section, data, count))
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            section.put("export", {"not measured": f"{package} is not installed"})
            return
    try:
        section.put("export", _export(section, data))
    except UserError as error:  # what `cvgssl export` does not let pass
        section.put("export", {"refused": str(error)})


def _embed(section: Section, data: Path, count: int) -> dict[str, Any]:
    """`cvgssl embed` by `count` processes, with a cache of their own; the first is what is right.

    Its pictures a second are of the time from when a process has imported all to its last picture.
    """
    precision = "fp16" if torch.cuda.is_available() else "fp32"
    out = section.work / f"{count}.npz"
    encoder = "test_vit=random" if section.tiny else "ViT-B/16=random"
    words = ["embed", str(data), "--encoder", encoder, "--precision", precision]
    words += ["--runtime", "torch", "--batch-size", "256", "--out", str(out)]
    program = [*TORCHRUN, f"--nproc-per-node={count}", "-m", "--", "cvgssl"]
    if count == 1:
        program = ["-m", "cvgssl"]
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, *program, *words],
        check=True,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"CVGSSL_CACHE": str(section.work / f"cache_{count}")},
    )
    whole = time.monotonic() - begun
    seconds = [float(text) for text in re.findall(r"cache; ([0-9.]+) s", done.stderr)]
    assert len(seconds) == count, done.stderr
    table = load_features(out)
    first = load_features(section.work / "1.npz")
    assert table.names == first.names
    difference = np.abs(table.values - first.values).max() / np.abs(first.values).max()
    return {
        "pictures": len(table),
        "encoder": encoder.partition("=")[0],
        "precision": precision,
        "pictures per second": len(table) / max(*seconds, 0.01),
        "seconds": whole,
        "worst difference": float(difference),
    }


def _export(section: Section, data: Path) -> dict[str, Any]:
    """How far ONNX Runtime on the CPU is from the GPU, and how long a picture takes."""
    from cvgssl.export.config import ExportConfig
    from cvgssl.export.job import export
    from cvgssl.recognizer.exported_file import ExportedFile

    folder, file = section.work / "recognizer", section.work / "recognizer.onnx"
    encoder = "test_vit" if section.tiny else "tf_efficientnet_lite0"
    small = ["--image-size", 32, "--head", "nearest-mean"] if section.tiny else []
    run("fit", data, "--encoder", f"{encoder}=random", *small, "--shot", 2, "--out", folder)
    begun = time.monotonic()
    summary = export(ExportConfig(recognizer=folder, out=file))
    seconds = time.monotonic() - begun
    assert summary.pool is not None
    pictures = [read_picture(path, 16) for path in list_pictures(data)[:ANSWERS]]
    exported = ExportedFile(file)
    exported(pictures[0], 255)
    begun = time.monotonic()
    for picture in pictures:
        exported(picture, 255)
    return {
        "encoder": encoder,
        "MB": summary.bytes / 1e6,
        "seconds": seconds,
        "pictures": summary.pool.pictures,
        "worst probability": summary.pool.probability,
        "worst of generated pictures": summary.golden.probability,
        "ms per picture on the CPU": 1000 * (time.monotonic() - begun) / len(pictures),
    }
