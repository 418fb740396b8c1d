"""What people give to cvgssl: pictures, lists, settings and weights."""

import shutil
from pathlib import Path

from benchmarks.fuzz import mutations, picture_mutations
from benchmarks.fuzz.corpus_common import PRETRAIN, SELECT, TINY, embedded
from benchmarks.fuzz.targets import Target, Use, called, called_in_process, command


def _decoded(name: str) -> Use:
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


def pictures(folder: Path) -> list[Target]:
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
                _decoded(path.name),
                reads_only=True,
            )
        )
    return targets


def lists(folder: Path) -> list[Target]:
    """Labels, splits, settings, prompts and boxes."""
    from benchmarks.fuzz import table_mutations as tables

    embedded(folder)
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


def weights(folder: Path) -> list[Target]:
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
