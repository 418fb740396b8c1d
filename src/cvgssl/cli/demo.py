"""`cvgssl demo DIR`: the main job from end to end on generated pictures, on the CPU."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.adapt.config import FinetuneConfig
from cvgssl.cli.command import Command
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.options import STRICT, Written

if TYPE_CHECKING:
    from cvgssl.bench.config import BenchConfig

# An illustration, not an evaluation: its options were chosen by its own pictures.
PER_CLASS = 60
SHOWN = 8  # pictures of each class in the figure
GALLERY = "predictions.png"
STEEL, BANKS, PRETRAINED = "steel", "banks", "pretrained"
SCRATCH, ADAPTED, COMPARED = "scratch", "run", "bench"
HEADS = ("nearest-mean", "logistic", "diffusion", "auto")
ARCH, SIZE, SHOT = "resnet10t", 64, 16


@dataclass(frozen=True, config=STRICT)
class DemoConfig:
    """Generate pictures, check them, pre-train, fine-tune on a few labels, predict, compare."""

    out: Annotated[Path, Written(folder=True)] = Field(
        default=Path("demo"),
        description="folder for pictures and results, written again at each call",
    )


COMMAND = Command(DemoConfig, positional=("out",))


def run(argv: Sequence[str], prog: str) -> int:
    """Run the demo; 0 when everything worked."""
    out = COMMAND.parse(argv, prog).out
    _clear(out)
    from cvgssl.runtime.stopping import Stopped

    try:
        _demonstrate(out)
    except Stopped as stopped:
        print(f"{prog}: stopped; it begins from the start when it is called again")
        return stopped.exit_code
    return 0


def _demonstrate(out: Path) -> None:
    from cvgssl.api import pretrain_backbone
    from cvgssl.cli import data_check
    from cvgssl.images.surfaces import synthesize
    from cvgssl.pretrain.checkpoint import BACKBONE
    from cvgssl.report.adaptation import CONFUSION, CURVES

    data, results = out / STEEL, out / ADAPTED
    print(f"1. Generate {PER_CLASS} pictures of each of six defects in {data}", flush=True)
    synthesize(data, PER_CLASS, seed=0)
    print("\n2. Check them for what would spoil a result", flush=True)
    data_check.run([str(data)], "cvgssl data check")
    print(
        "\n3. Pre-train a small network on the training pictures, without their labels\n"
        "   (the guide that comes with cvgssl has learned from other generated pictures with\n"
        "   labels, so it helps more here than on real steel: docs/results/pretraining.md)",
        flush=True,
    )
    pretrain_backbone(_pretraining(data, out / PRETRAINED))
    print(f"\n4. Fine-tune it on {SHOT} labelled pictures of each defect, 3 draws", flush=True)
    adapted = _fine_tune(data, results, str(out / PRETRAINED / BACKBONE))
    print("\n5. The same from random weights, to see the gain", flush=True)
    scratch = _fine_tune(data, out / SCRATCH, "")
    print(f"\npre-trained {adapted} %, from random weights {scratch} %, guessing 16.67 %")
    print("\n6. Name the defects in test pictures with the first draw's model", flush=True)
    correct, total = _draw_gallery(data, results, out / GALLERY)
    print(f"{correct} of {total} right in the figure")
    print("\n7. Compare training-free heads on the pre-trained network's features, 20 draws")
    page = _compare(data, out / PRETRAINED / BACKBONE, out / COMPARED)
    figures = (out / GALLERY, results / CONFUSION, results / CURVES)
    print(f"\nLook at {', '.join(map(str, figures))}")
    print(f"All of the comparison on one page that can be sent by mail: {page}")
    print(f"Your own pictures: cvgssl predict {results} FILES AND FOLDERS")


def _pretraining(data: Path, out: Path) -> PretrainConfig:
    return PretrainConfig(
        data=data,
        arch=ARCH,
        teacher=("embedded",),
        bank=4,
        bank_dir=out.parent / BANKS,
        image_size=128,
        view_size=SIZE,
        nmb_crops=(1,),
        weak_scale=(0.4, 1.0),
        min_scale_crops=(0.4,),
        max_scale_crops=(1.0,),
        batch_size=36,
        epochs=40,
        warmup_epochs=4,
        optimizer="adamw",
        lr=0.002,
        weight_decay=0.05,
        monitor_every=40,
        out=out,
    )


def _fine_tune(data: Path, out: Path, pretrained: str) -> str:
    """Fine-tune on every draw; mean accuracy of the last epoch ± its interval."""
    from cvgssl.api import adapt_and_draw
    from cvgssl.report.adaptation import print_summary

    config = FinetuneConfig(
        data=data,
        arch=ARCH,
        pretrained=pretrained,
        shot=SHOT,
        num_draws=3,
        epochs=30,
        eval_every=10,
        image_size=SIZE,
        augment=True,
        optimizer="adamw",
        lr=0.001,
        weight_decay=0.05,
        batch_size=16,
        out=out,
    )
    folder, summary = adapt_and_draw(config)
    print_summary(folder, summary)
    return str(summary.last_epoch.accuracy)


def _compare(data: Path, weights: Path, out: Path) -> Path:
    """Few-shot heads with and without the unlabelled pictures; the page with all figures."""
    from cvgssl.bench.job import run_bench
    from cvgssl.report.bench import print_bench, write_report

    bench = run_bench(comparison(data, weights, out))
    print_bench(bench)
    return write_report(bench)


def comparison(data: Path, weights: Path, out: Path) -> "BenchConfig":
    """What `_compare` runs."""
    from cvgssl.bench.config import BenchConfig, EncoderChoice, HeadChoice

    encoder = {"encoder": [str(weights)], "image_size": SIZE}
    return BenchConfig(
        data=(data,),
        encoders=(EncoderChoice(name="pre-trained", options=encoder),),
        heads=tuple(HeadChoice(head=name, label=name, params={}) for name in HEADS),
        settings=("inductive", "semi-supervised"),
        shots=(1, 4, SHOT),
        num_draws=20,
        baseline="logistic",
        out=out,
    )


def _draw_gallery(data: Path, results: Path, path: Path) -> tuple[int, int]:
    """Draw some test pictures of each class with their predictions; how many are right, of all."""
    from cvgssl.images.reader import read_picture
    from cvgssl.images.scan import load_dataset
    from cvgssl.recognizer.predict import predict
    from cvgssl.report.gallery import Judged, gallery_figure

    test = load_dataset(data).test
    rows = []
    for label, name in enumerate(test.classes):
        members = (test.labels == label).nonzero()[0]
        chosen = [test.paths[row] for row in members[:: max(1, len(members) // SHOWN)][:SHOWN]]
        judged = []
        for prediction in predict(results, chosen):
            named, probability = prediction.ranked()[0]
            judged.append(Judged(read_picture(prediction.path), name, named, probability))
        rows.append(judged)
    gallery_figure(
        rows, path, f"Generated test pictures, named by a model trained on {SHOT} of each"
    )
    correct = sum(picture.named == picture.label for row in rows for picture in row)
    return correct, sum(map(len, rows))


def _clear(out: Path) -> None:
    """Remove an earlier demo, and nothing else."""
    if not out.exists() or not any(out.iterdir()):
        return
    if not {path.name for path in out.iterdir()} <= {
        STEEL,
        PRETRAINED,
        BANKS,
        SCRATCH,
        ADAPTED,
        COMPARED,
        GALLERY,
    }:
        raise UserError(f"{out}: holds other things than a demo; name another folder")
    shutil.rmtree(out)
