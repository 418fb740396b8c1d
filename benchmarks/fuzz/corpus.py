"""Sound files of every kind that cvgssl reads, small and made from a seed, and what reads them.

A `Target` is a file, the mutations that know its format, and the command (or function) that a user
would put it through. Everything is made by cvgssl's own commands, Pillow, tifffile and torch.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzz import mutations
from benchmarks.fuzz.mutations import Mutation

Use = Callable[[Path], int]
SELECT = ("select", "--budget", "2", "--strategy", "random", "--out", "selection")
TINY = ("--encoder", "test_vit=tiny.safetensors")
PRETRAIN = (
    *("pretrain", "steel", "--arch", "test_resnet", "--teacher", "test_vit=tiny.safetensors"),
    *("--guidance", "relational", "--image-size", "48", "--view-size", "32", "--batch-size", "9"),
    *("--nmb-crops", "1", "--min-scale-crops", "0.2", "--max-scale-crops", "1", "--bank", "1"),
    *("--mlp-dim", "32", "--out-dim", "16", "--bank-dir", "bank", "--warmup-epochs", "0"),
)


@dataclass(frozen=True)
class Target:
    """What is mutated and who reads it.

    group: the row of the result table.
    file: the sound file, below the corpus folder.
    use: reads the file, in the folder that is a copy of the corpus; the exit code.
    same: a file below the copy that must be written exactly as from the sound file: the mutated
        one is a cache.
    """

    group: str
    file: str
    mutate: tuple[Mutation, ...]
    use: Use
    same: str = ""

    @property
    def name(self) -> str:
        """The group and the file."""
        return f"{self.group}: {self.file}"


def command(*words: str) -> Use:
    """Run `cvgssl WORDS...`."""

    def use(_root: Path) -> int:
        from cvgssl.cli.main import main

        return main(words)

    return use


def decoded(name: str) -> Use:
    """Decode one of the pictures; 2 for one that is refused."""

    def use(root: Path) -> int:
        from cvgssl.images.decoding import decode_squares
        from cvgssl.images.geometry import Geometry
        from cvgssl.images.picture_options import DecodingOptions

        single = DecodingOptions(workers=1)
        (square,) = decode_squares([root / "pictures" / name], Geometry(32, "stretch"), single)
        print(square.reason)
        assert (square.pixels is None) == bool(square.reason)
        return 2 if square.pixels is None else 0

    return use


def make(folder: Path) -> list[Target]:
    """Write the corpus into the new `folder` (about 10 MB, a minute) and give its targets."""
    folder.mkdir(parents=True)
    _call(folder, "data", "synth", "steel", "--per-class", "4", "--image-size", "48")
    return [
        *_pictures(folder),
        *_lists(folder),
        *_weights(folder),
        *_features(folder),
        *_runs(folder),
    ]


def _pictures(folder: Path) -> list[Target]:
    import numpy as np
    import tifffile
    from PIL import Image

    rng = np.random.default_rng(0)
    place = folder / "pictures"
    place.mkdir()
    gray = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    colour = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    deep = rng.integers(0, 65536, (20, 30)).astype(np.uint16)
    for ending in ("png", "jpg", "bmp", "pgm", "tif", "webp"):
        Image.fromarray(gray).save(place / f"gray.{ending}")
    for ending in ("png", "jpg", "bmp", "ppm", "tif", "webp"):
        Image.fromarray(colour).save(place / f"colour.{ending}")
    Image.fromarray(colour).quantize(16).save(place / "palette.png")
    Image.fromarray(gray > 99).save(place / "bits.png")
    Image.fromarray(deep).save(place / "deep.png")
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        Image.fromarray(deep).save(place / f"deep_{compression}.tif", compression=compression)
    tifffile.imwrite(place / "deflate.tif", deep, compression="zlib", predictor=True)
    tifffile.imwrite(place / "float.tif", gray.astype(np.float32) / 255)
    tifffile.imwrite(place / "big.tif", deep, bigtiff=True, byteorder=">")
    tifffile.imwrite(place / "tiled.tif", np.tile(deep, (2, 2)), tile=(16, 16))
    return [
        Target("pictures", f"pictures/{path.name}", mutations.BYTES, decoded(path.name))
        for path in sorted(place.iterdir())
    ]


def _lists(folder: Path) -> list[Target]:
    """Labels, splits, settings, prompts and boxes."""
    _call(folder, "data", "split", "steel/train", "--out", "split.csv")
    pictures = sorted(path for path in (folder / "steel/train").glob("*/*"))
    rows = [f"{path.relative_to(folder / 'steel')},{path.parent.name}" for path in pictures]
    (folder / "labels.csv").write_text("\n".join(["path,label", *rows[::2]]) + "\n")
    (folder / "boxes").mkdir()
    shutil.copy(pictures[0], folder / "boxes" / f"crazing_1{pictures[0].suffix}")
    (folder / "boxes/crazing_1.xml").write_text(
        "<annotation><object><name>crazing</name><bndbox><xmin>2</xmin><ymin>3</ymin>"
        "<xmax>20</xmax><ymax>30</ymax></bndbox></object></annotation>"
    )
    embedded = ("--encoder", "embedded")
    _call(folder, "fit", "steel", "--labels", "x", *embedded, "--save-config", "fit.yaml")
    text = mutations.TEXT
    return [
        Target("lists", "split.csv", text, command("data", "check", "split.csv")),
        Target(
            "lists",
            "labels.csv",
            text,
            command(*SELECT, "steel.npz", "--labels", "labels.csv"),
        ),
        Target(
            "settings",
            "fit.yaml",
            (*text, mutations.mutate_yaml, mutations.mutate_yaml),
            command("fit", "--config", "fit.yaml", "--save-config", "x"),
        ),
        Target(
            "lists",
            "boxes/crazing_1.xml",
            text,
            command("data", "import", "neu-det", "boxes", "imported", "--boxes", "crop"),
        ),
    ]


def weights(folder: Path) -> None:
    """Write the weights of a tiny network in every container."""
    import torch
    from safetensors.torch import save_file

    from cvgssl.encoders.timm_import import timm

    torch.manual_seed(0)
    net = timm.create_model("test_vit", num_classes=0).eval()
    state = net.state_dict()
    save_file(state, folder / "tiny.safetensors")
    torch.save(state, folder / "tiny.pth")
    torch.save(
        {"epoch": 3, "state_dict": state, "arch": "test_vit"},
        folder / "old.pth",
        _use_new_zipfile_serialization=False,
    )
    traced = torch.jit.trace(net, torch.zeros(1, 3, 160, 160), check_trace=False)
    traced.save(str(folder / "traced.pt"))


def _weights(folder: Path) -> list[Target]:
    """Checkpoints of every container, of a tiny network."""
    _python(
        folder,
        "from pathlib import Path; from benchmarks.fuzz.corpus import weights; weights(Path())",
    )
    (folder / "few").mkdir()
    for number, path in enumerate(sorted((folder / "steel/train").glob("*/*"))[:2]):
        shutil.copy(path, folder / "few" / f"{number}{path.suffix}")

    def embed(file: str) -> Use:
        words = ("embed", "few", "--class-folders", "false", "--image-size", "32")
        return command(*words, "--encoder", f"test_vit={file}", "--out", "x.npz")

    archive = (*mutations.BYTES, mutations.mutate_archive, mutations.mutate_archive)
    return [
        Target(
            "weights",
            "tiny.safetensors",
            (*mutations.BYTES, mutations.mutate_safetensors, mutations.mutate_safetensors),
            embed("tiny.safetensors"),
        ),
        Target("weights", "tiny.pth", archive, embed("tiny.pth")),
        Target("weights", "old.pth", mutations.BYTES, embed("old.pth")),
        Target("weights", "traced.pt", archive, embed("traced.pt")),
    ]


def _features(folder: Path) -> list[Target]:
    """Features files and the caches of pictures and embeddings."""
    options = (*TINY, "--image-size", "32")
    _call(folder, "embed", "steel", *options, "--out", "steel.npz")
    _call(folder, "embed", "steel", *options, "--out", "steel.parquet")
    archive = (*mutations.BYTES, mutations.mutate_archive, mutations.mutate_archive)

    targets = [
        Target("features files", "steel.npz", archive, command(*SELECT, "steel.npz")),
        Target(
            "features files", "steel.parquet", mutations.BYTES, command(*SELECT, "steel.parquet")
        ),
    ]
    embedded = command("embed", "steel", *options, "--out", "again.npz")
    targets += _caches(folder, "cache/features", embedded, "again.npz")
    _call(folder, *PRETRAIN, "--epochs", "1", "--out", "bank_made")
    shutil.rmtree(folder / "bank_made")
    pretrained = command(*PRETRAIN, "--epochs", "1", "--out", "again")
    same = "again/backbone.safetensors"
    return [
        *targets,
        *_caches(folder, "bank", pretrained, same),
        *_caches(folder, "cache/pictures", pretrained, same),
    ]


def _caches(folder: Path, place: str, use: Use, same: str) -> list[Target]:
    """Every file below `place`, which `use` reads or writes again."""
    mutate: dict[str, tuple[Mutation, ...]] = {
        ".npz": (*mutations.BYTES, mutations.mutate_archive),
        ".json": (*mutations.TEXT, mutations.mutate_json),
        ".npy": mutations.BYTES,
    }
    files = [path for path in sorted((folder / place).rglob("*")) if path.is_file()]
    return [
        Target("caches", str(p.relative_to(folder)), mutate[p.suffix], use, same)
        for p in files
        if not p.name.startswith(".")
    ]


def _runs(folder: Path) -> list[Target]:
    """Folders of `fit`, `linear` and interrupted jobs, read by `predict` and `--resume`."""
    small = ("--image-size", "32", "--out")
    _call(folder, "fit", "steel", "--shot", "1", *TINY, *small, "fitted")
    arch = ("--arch", "test_vit", "--pretrained", "tiny.safetensors")
    linear = ("linear", "steel", *arch, "--epochs", "1")
    _call(folder, *linear, "--shot", "1", *small, "linear")
    shutil.copy(folder / "linear/draws.json", folder / "draws.json")
    finetune = ("finetune", "steel", *arch, "--shot", "1", "--epochs", "3", "--batch-size", "6")
    _stopped(folder, "[Run 1] Epoch [2/", *finetune, *small, "finetune")
    _stopped(folder, "Epoch [1/", *PRETRAIN, "--epochs", "2", "--out", "pretrain")
    draws = Target(
        "draws",
        "draws.json",
        (*mutations.TEXT, mutations.mutate_json, mutations.mutate_json),
        command(*linear, "--draws", "draws.json", *small, "again"),
    )
    uses = {
        "fitted": command("predict", "fitted", "few"),
        "linear": command("predict", "linear", "few"),
        "finetune": command("finetune", "--resume", "finetune"),
        "pretrain": command("pretrain", "--resume", "pretrain"),
    }
    return [
        draws,
        *(
            Target("runs", str(path.relative_to(folder)), mutate, use)
            for run, use in uses.items()
            for path in sorted((folder / run).rglob("*"))
            if path.is_file() and (mutate := _mutations_of(path))
        ),
    ]


def _mutations_of(path: Path) -> tuple[Mutation, ...]:
    """Those for the files of a run folder; none for pictures and pages, which nothing reads."""
    by_ending: dict[str, tuple[Mutation, ...]] = {
        ".json": (*mutations.TEXT, mutations.mutate_json, mutations.mutate_json),
        ".jsonl": mutations.TEXT,
        ".yaml": (*mutations.TEXT, mutations.mutate_yaml, mutations.mutate_yaml),
        ".safetensors": (*mutations.BYTES, mutations.mutate_safetensors),
        ".npz": (*mutations.BYTES, mutations.mutate_archive),
        ".npy": mutations.BYTES,
        ".pt": (*mutations.BYTES, mutations.mutate_archive),
        ".pth": (*mutations.BYTES, mutations.mutate_archive),
        ".csv": mutations.TEXT,
    }
    return by_ending.get(path.suffix, ())


def _call(folder: Path, *words: str) -> None:
    _run(folder, "-m", "cvgssl", *words)


def _python(folder: Path, code: str) -> None:
    _run(folder, "-c", code)


def _stopped(folder: Path, line: str, *words: str) -> None:
    """Run a job that gets SIGTERM when it has logged a line that begins so."""
    code = (
        "import os, signal, sys\n"
        "from cvgssl.cli.main import main\n"
        "from cvgssl.runtime.run import RunFolder\n"
        "log = RunFolder.log\n"
        "def logged(run, line):\n"
        "    log(run, line)\n"
        "    if line.startswith(sys.argv[1]):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "RunFolder.log = logged\n"
        "main(sys.argv[2:])\n"
    )
    _run(folder, "-c", code, line, *words)


def _run(folder: Path, *words: str) -> None:
    import os

    environment: dict[str, Any] = os.environ | {
        "CVGSSL_CACHE": "cache",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{json.dumps(words)}: {done.stderr}")
