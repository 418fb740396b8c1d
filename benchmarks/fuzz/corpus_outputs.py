"""What cvgssl has written and reads again: features, caches, runs, exported files, stations."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fuzz import mutations
from benchmarks.fuzz.corpus_common import PRETRAIN, SELECT, TINY, embedded
from benchmarks.fuzz.mutations import Mutation
from benchmarks.fuzz.targets import (
    Target,
    Use,
    called,
    called_in_process,
    command,
    forked,
    stopped,
)


def features(folder: Path) -> list[Target]:
    """Features files and the caches of pictures and embeddings."""
    from benchmarks.fuzz import parquet_mutations
    from benchmarks.fuzz import table_mutations as tables

    options = (*TINY, "--image-size", "32")
    embedded(folder)
    called(folder, "embed", "steel", *options, "--out", "steel.parquet")
    archive = (*mutations.BYTES, *[mutations.mutate_archive] * 2, *[tables.mutate_npz] * 6)
    parquet = (
        *mutations.BYTES,
        *[tables.mutate_parquet] * 6,
        *[parquet_mutations.mutate_claims] * 4,
    )
    targets = [
        Target("features files", "steel.npz", archive, command(*SELECT, "steel.npz")),
        Target("features files", "steel.parquet", parquet, command(*SELECT, "steel.parquet")),
    ]
    again = command("embed", "steel", *options, "--out", "again.npz")
    targets += _caches(folder, "cache/features", again, "again.npz")
    called(folder, *PRETRAIN, "--epochs", "1", "--out", "bank_made")
    shutil.rmtree(folder / "bank_made")
    pretrained = command(*PRETRAIN, "--epochs", "1", "--out", "again")
    same = "again/backbone.safetensors"
    for rank in ("0", "1"):
        with _variables(RANK=rank, WORLD_SIZE="2"):
            called(folder, "embed", "steel", *options, "--out", "shares.npz")
    targets += [
        Target("features files", f"shares.npz/{path.name}", archive, command(*SELECT, "shares.npz"))
        for path in sorted((folder / "shares.npz").iterdir())
    ]
    compiled = ("embed", "few", "--class-folders", "false", *options, "--runtime", "onnxruntime")
    shutil.rmtree(folder / "cache/compiled", ignore_errors=True)
    called(folder, *compiled, "--out", "compiled.npz")
    return [
        *targets,
        *_caches(
            folder, "cache/compiled", command(*compiled, "--out", "compiled.npz"), "compiled.npz"
        ),
        *_caches(folder, "bank", pretrained, same),
        *_caches(folder, "cache/pictures", pretrained, same),
    ]


def _caches(folder: Path, place: str, use: Use, same: str) -> list[Target]:
    """Every file below `place`, which `use` reads or writes again."""
    mutate: dict[str, tuple[Mutation, ...]] = {
        ".npz": (*mutations.BYTES, mutations.mutate_archive),
        ".json": (*mutations.TEXT, mutations.mutate_json),
    }
    files = [path for path in sorted((folder / place).rglob("*")) if path.is_file()]
    return [
        Target(
            "caches", str(p.relative_to(folder)), mutate.get(p.suffix, mutations.BYTES), use, same
        )
        for p in files
        if not p.name.startswith(".")
    ]


def runs(folder: Path) -> list[Target]:
    """Folders of `fit`, `linear` and interrupted jobs, read by `predict` and `--resume`."""
    small = ("--image-size", "32", "--out")
    called(folder, "fit", "steel", "--shot", "1", *TINY, *small, "fitted")
    arch = ("--arch", "test_vit", "--pretrained", "tiny.safetensors")
    linear = ("linear", "steel", *arch, "--epochs", "1")
    called(folder, *linear, "--shot", "1", "--num-draws", "2", *small, "linear")
    shutil.copy(folder / "linear/draws.json", folder / "draws.json")
    shutil.copy(folder / "linear/summary.json", folder / "summary.json")
    finetune = ("finetune", "steel", *arch, "--shot", "1", "--epochs", "3", "--batch-size", "6")
    stopped(folder, "[Run 1] Epoch [2/", *finetune, *small, "finetune")
    stopped(folder, "Epoch [1/", *PRETRAIN, "--epochs", "2", "--out", "pretrain")
    draws = Target(
        "draws",
        "draws.json",
        (*mutations.TEXT, *[mutations.mutate_json] * 6),
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
        Target(
            "runs",
            "summary.json",
            (*mutations.TEXT, *[mutations.mutate_json] * 4),
            called_in_process(_summary),
        ),
    ]


def deployed(folder: Path) -> list[Target]:
    """Exported files, the folder of a station, and answers that go on."""
    from benchmarks.fuzz import exported_mutations as exported
    from benchmarks.fuzz import table_mutations as tables

    called(folder, "fit", "steel", "--shot", "2", *TINY, "--image-size", "32", "--out", "deployed")
    called(folder, "export", "deployed", "tiny.onnx", "--check", "0")
    called(folder, "export", "deployed", "tiny.xml", "--check", "0")
    named = ("predict", "deployed", "few", "--sort-into", "sorted", "--csv", "answers.csv")
    called(folder, *named)
    forked(folder, lambda: exported.make_station(folder) or 0, "station")
    xml = (*mutations.TEXT, *[exported.mutate_xml] * 6)
    onnx = (*mutations.BYTES, *[exported.mutate_onnx] * 6)
    by_file = {"tiny.onnx": onnx, "tiny.xml": xml, "tiny.bin": mutations.BYTES}
    targets = [
        Target("exported", file, mutate, command("predict", model, "few", "--unknown"))
        for file, mutate in by_file.items()
        for model in ("tiny.onnx" if file == "tiny.onnx" else "tiny.xml",)
    ]
    targets.append(Target("exported", "tiny.onnx", onnx, command("verify", "tiny.onnx")))
    rows = (*mutations.BYTES, *[exported.mutate_rows] * 6)
    read = called_in_process(exported.read_station)
    targets.append(Target("station", "station/station.sqlite", rows, read))
    csv = (*mutations.TEXT, *[tables.mutate_rows] * 6)
    return [*targets, Target("answers", "answers.csv", csv, command(*named))]


@contextmanager
def _variables(**values: str) -> Iterator[None]:
    """Set variables of the environment during the block."""
    os.environ |= values
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


def _summary(_root: Path) -> None:
    """Read what the benchmark reads of a finished run."""
    from cvgssl.adapt.summary import read_summary

    read_summary(Path("summary.json"))


def bench(folder: Path) -> list[Target]:
    """The folder of a benchmark, which goes on with what is there."""
    embedded(folder)
    heads = ("--heads", "nearest-mean", "auto", "--settings", "transductive-balanced", "inductive")
    words = ("bench", "--features", "steel.npz", *heads, "--shots", "1", "--num-draws", "2")
    called(folder, *words, "--out", "bench")
    return [
        Target("bench", str(path.relative_to(folder)), mutate, command(*words, "--out", "bench"))
        for path in sorted((folder / "bench").rglob("*"))
        if path.is_file() and (mutate := _mutations_of(path))
    ]


def _mutations_of(path: Path) -> tuple[Mutation, ...]:
    """Those for the files of a run folder; none for pictures and pages, which nothing reads."""
    from benchmarks.fuzz import table_mutations as tables
    from benchmarks.fuzz import weight_mutations

    json = (*mutations.TEXT, *[mutations.mutate_json] * 6)
    by_ending: dict[str, tuple[Mutation, ...]] = {
        ".json": json,
        ".jsonl": (*mutations.TEXT, *[mutations.mutate_json_lines] * 4),
        ".yaml": (*mutations.TEXT, *[mutations.mutate_yaml] * 3, tables.mutate_words),
        ".safetensors": weight_mutations.SAFETENSORS,
        ".npz": (*mutations.BYTES, mutations.mutate_archive, *[tables.mutate_npz] * 4),
        ".npy": mutations.BYTES,
        ".pt": weight_mutations.CHECKPOINT,
        ".pth": weight_mutations.CHECKPOINT,
        ".csv": (*mutations.TEXT, *[tables.mutate_rows] * 4),
    }
    return by_ending.get(path.suffix, ())
