"""Sound files of every kind that cvgssl reads, small and made from a seed, and what reads them.

A `Target` is a file, the mutations that know its format, and the command (or function) that a user
would put it through. Everything is made by cvgssl's own commands, Pillow, tifffile and torch.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fuzz import mutations, picture_mutations
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

SELECT = ("select", "--budget", "2", "--strategy", "random", "--out", "selection")
WRITTEN = (
    *("cache", "bank", "fitted", "linear", "finetune", "pretrain", "bench", "station", "sorted"),
    *("answers.csv", "compiled.npz"),
)
TINY = ("--encoder", "test_vit=tiny.safetensors")
PRETRAIN = (
    *("pretrain", "steel", "--arch", "test_resnet", "--teacher", "test_vit=tiny.safetensors"),
    *("--guidance", "relational", "--image-size", "48", "--view-size", "32", "--batch-size", "9"),
    *("--nmb-crops", "1", "--min-scale-crops", "0.2", "--max-scale-crops", "1", "--bank", "1"),
    *("--mlp-dim", "32", "--out-dim", "16", "--bank-dir", "bank", "--warmup-epochs", "0"),
)


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


def make(folder: Path, groups: Collection[str] = ()) -> list[Target]:
    """Write the corpus into the new `folder` (about 20 MB, a minute) and give its targets.

    groups: leave out what is of none of these groups; empty: all.
    """
    folder.mkdir(parents=True)
    called(folder, "data", "synth", "steel", "--per-class", "4", "--image-size", "48")
    forked(folder, lambda: weights(folder) or 0, "weights")
    (folder / "few").mkdir()
    for number, path in enumerate(sorted((folder / "steel/train").glob("*/*"))[:2]):
        shutil.copy(path, folder / "few" / f"{number}{path.suffix}")
    targets = []
    for part, made in _PARTS.items():
        if not groups or not made.isdisjoint(groups):
            targets += part(folder)
    return [target for target in targets if not groups or target.group in groups]


def _pictures(folder: Path) -> list[Target]:
    from benchmarks.fuzz import sound_pictures

    place = folder / "pictures"
    place.mkdir()
    targets = []
    for path in sound_pictures.write(place):
        mutate = picture_mutations.BY_ENDING[path.suffix]
        file = f"pictures/{path.name}"
        targets.append(
            Target(
                "pictures",
                file,
                (*mutations.BYTES, *[mutate] * 6),
                decoded(path.name),
                reads_only=True,
            )
        )
    return targets


def _lists(folder: Path) -> list[Target]:
    """Labels, splits, settings, prompts and boxes."""
    from benchmarks.fuzz import table_mutations as tables

    _embedded(folder)
    called(folder, "data", "split", "steel/train", "--out", "split.csv")
    pictures = sorted(path for path in (folder / "steel/train").glob("*/*"))
    rows = [f"{path.relative_to(folder / 'steel')},{path.parent.name}" for path in pictures]
    (folder / "labels.csv").write_text("\n".join(["path,label", *rows[::2]]) + "\n")
    (folder / "boxes").mkdir()
    shutil.copy(pictures[0], folder / "boxes" / f"crazing_1{pictures[0].suffix}")
    (folder / "boxes/crazing_1.xml").write_text(
        "<annotation><object><name>crazing</name><bndbox><xmin>2</xmin><ymin>3</ymin>"
        "<xmax>20</xmax><ymax>30</ymax></bndbox></object></annotation>"
    )
    csv = (*mutations.TEXT, *[tables.mutate_rows] * 6)
    targets = [
        Target("lists", "split.csv", csv, command("data", "check", "split.csv")),
        Target("lists", "labels.csv", csv, command(*SELECT, "steel.npz", "--labels", "labels.csv")),
        Target(
            "lists",
            "boxes/crazing_1.xml",
            (*mutations.TEXT, *[tables.mutate_boxes] * 6),
            command("data", "import", "neu-det", "boxes", "imported", "--boxes", "crop"),
        ),
    ]
    words = 'crazing: [fine cracks, a net of cracks]\n"01": a scratch.\n"no": nothing\n'
    (folder / "prompts.yaml").write_text(words)
    (folder / "prompts.json").write_text('{"crazing": ["fine cracks"], "01": "a scratch."}')
    (folder / "prompts.txt").write_text("# of the mill\ncrazing: fine cracks\n01: a scratch.\n")
    settings = (*mutations.TEXT, mutations.mutate_yaml, *[tables.mutate_words] * 4)
    for file, mutate in (
        ("prompts.yaml", settings),
        ("prompts.json", (*mutations.TEXT, *[mutations.mutate_json] * 6)),
        ("prompts.txt", (*mutations.TEXT, tables.mutate_words)),
    ):
        targets.append(Target("lists", file, mutate, _described(file)))
    arch = ("--arch", "test_vit", "--pretrained", "tiny.safetensors", "--shot", "1")
    jobs: dict[str, tuple[str, ...]] = {
        "fit": ("steel", "--labels", "x", "--encoder", "tf_efficientnet_lite0"),
        "finetune": ("steel", *arch),
        "pretrain": PRETRAIN[1:],
        "embed": ("steel", *TINY, "--out", "x.npz"),
        "bench": ("--features", "steel.npz", "--heads", "nearest-mean", "--out", "x"),
    }
    for job, given in jobs.items():
        file = f"{job}.yaml"
        called(folder, job, *given, "--save-config", file)
        use = command(job, "--config", file, "--save-config", "x")
        targets.append(Target("settings", file, settings, use))
    return targets


def _described(file: str) -> Use:
    """Read the descriptions of classes."""

    def read(_root: Path) -> None:
        from cvgssl.encoders.text_anchors import class_prompts

        class_prompts(("crazing", "01", "no", "pits"), Path(file))

    return called_in_process(read)


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
    """Checkpoints of every container, of tiny networks."""
    from benchmarks.fuzz import sound_weights, weight_mutations

    def embed(encoder: str) -> Use:
        words = ("embed", "few", "--class-folders", "false", "--image-size", "32")
        return command(*words, "--encoder", encoder, "--out", "x.npz")

    encoders = sound_weights.write(folder)
    encoders += [
        f"test_vit={name}" for name in ("tiny.safetensors", "tiny.pth", "old.pth", "traced.pt")
    ]
    by_name = {
        "old.pth": weight_mutations.OLD_CHECKPOINT,
        "traced.pt": (*weight_mutations.ARCHIVE, weight_mutations.mutate_pickle),
        "model.safetensors.index.json": (*mutations.TEXT, *[sound_weights.mutate_index] * 6),
    }
    by_ending = {
        ".safetensors": weight_mutations.SAFETENSORS,
        ".pth": weight_mutations.CHECKPOINT,
        ".bin": weight_mutations.CHECKPOINT,
        ".json": (*mutations.TEXT, *[mutations.mutate_json] * 6),
    }
    targets = []
    for encoder in encoders:
        place = Path(encoder.split("=")[-1])
        inside = place if (folder / place).is_dir() else place.parent
        files = (
            [place]
            if inside == Path()
            else sorted(p.relative_to(folder) for p in (folder / inside).iterdir())
        )
        targets += [
            Target(
                "weights",
                str(file),
                by_name.get(file.name) or by_ending[file.suffix],
                embed(encoder),
            )
            for file in files
        ]
    sentences = called_in_process(_sentences)
    targets += [
        Target("weights", f"texts/{file}", mutate, sentences)
        for file, mutate in (
            ("model.safetensors", weight_mutations.SAFETENSORS),
            ("config.json", by_ending[".json"]),
        )
    ]
    shutil.copytree(folder / "clip", folder / "texts")
    return targets


def _sentences(_root: Path) -> None:
    """Read the text tower of a CLIP, and use it."""
    from cvgssl.encoders.text_tower import load_text_tower

    assert load_text_tower("texts/model.safetensors")(["a scratch."]).isfinite().all()


def _features(folder: Path) -> list[Target]:
    """Features files and the caches of pictures and embeddings."""
    from benchmarks.fuzz import parquet_mutations
    from benchmarks.fuzz import table_mutations as tables

    options = (*TINY, "--image-size", "32")
    _embedded(folder)
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
    embedded = command("embed", "steel", *options, "--out", "again.npz")
    targets += _caches(folder, "cache/features", embedded, "again.npz")
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


def _embedded(folder: Path) -> None:
    """Write the features file that several parts need."""
    if not (folder / "steel.npz").exists():
        called(folder, "embed", "steel", *TINY, "--image-size", "32", "--out", "steel.npz")


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


def _runs(folder: Path) -> list[Target]:
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


def _deployed(folder: Path) -> list[Target]:
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


def _bench(folder: Path) -> list[Target]:
    """The folder of a benchmark, which goes on with what is there."""
    _embedded(folder)
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


_PARTS: dict[Callable[[Path], list[Target]], set[str]] = {
    _pictures: {"pictures"},
    _lists: {"lists", "settings"},
    _weights: {"weights"},
    _features: {"features files", "caches"},
    _runs: {"runs", "draws"},
    _deployed: {"exported", "station", "answers"},
    _bench: {"bench"},
}
