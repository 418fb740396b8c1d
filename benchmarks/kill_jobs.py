"""The commands that are killed, and what must come of them however often that happens."""

from dataclasses import dataclass

from benchmarks.fuzz.corpus_common import PRETRAIN, TINY


@dataclass(frozen=True)
class Job:
    """A command and its results.

    words: begin it, in a folder with the corpus; it writes into `out/`.
    results: files below `out/` that must not depend on disturbances.
    resume: go on with it; empty: the same words again.
    """

    name: str
    words: tuple[str, ...]
    results: tuple[str, ...]
    resume: tuple[str, ...] = ()


SMALL = ("--image-size", "32")
ARCH = ("--arch", "test_vit", "--pretrained", "tiny.safetensors", *SMALL)
FEW = ("--shot", "2", "--num-draws", "2", "--batch-size", "6")
JOBS = (
    Job(
        "pretrain",
        (*PRETRAIN, "--epochs", "2", "--save-freq", "1", "--out", "out/run"),
        ("run/backbone.safetensors", "run/metrics.jsonl"),
        ("pretrain", "--resume", "out/run"),
    ),
    Job(
        "finetune",
        ("finetune", "steel", *ARCH, *FEW, "--epochs", "2", "--ema", "0.9", "--out", "out/run"),
        (
            "run/weights/draw_1.safetensors",
            "run/weights/draw_1_ema.safetensors",
            "run/metrics.jsonl",
        ),
        ("finetune", "--resume", "out/run"),
    ),
    Job(
        "linear",
        ("linear", "steel", *ARCH, *FEW, "--epochs", "3", "--out", "out/run"),
        ("run/weights/draw_1.safetensors", "run/metrics.jsonl"),
        ("linear", "--resume", "out/run"),
    ),
    Job(
        "embed",
        ("embed", "steel", *TINY, *SMALL, "--batch-size", "4", "--out", "out/steel.npz"),
        ("steel.npz",),
    ),
    Job(
        "fit",
        ("fit", "steel", *TINY, *SMALL, "--shot", "1", "--out", "out/r"),
        ("r/train.npz", "r/labels.csv", "r/test.csv", "r/report.html"),
    ),
    Job(
        "predict", ("predict", "fitted", "steel/test", "--csv", "out/answers.csv"), ("answers.csv",)
    ),
    Job(
        "predict --sort-into",
        (
            *("predict", "fitted", "steel/test", "--batch-size", "2"),
            *("--sort-into", "out/sorted", "--csv", "out/answers.csv"),
        ),
        ("sorted", "answers.csv"),
    ),
    Job(
        "export",
        ("export", "fitted", "out/r.onnx", "--check", "0"),
        ("r.onnx",),
    ),
    Job(
        "select",
        ("select", "steel.npz", "--budget", "6", "--out", "out/chosen"),
        ("chosen/selection.csv", "chosen/selection.json"),
    ),
    Job(
        "bench",
        (
            *(
                "bench",
                "--features",
                "steel.npz",
                "--heads",
                "nearest-mean",
                "logistic",
                "--shots",
                "1",
            ),
            *("--settings", "inductive", "--num-draws", "3", "--out", "out"),
        ),
        ("results.csv",),
    ),
    Job("data split", ("data", "split", "steel/train", "--out", "out/split.csv"), ("split.csv",)),
    Job(
        "data synth",
        ("data", "synth", "out/made", "--per-class", "2", "--image-size", "32"),
        ("made",),
    ),
)
