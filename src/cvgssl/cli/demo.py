"""`cvgssl demo DIR`: the main job from end to end on generated pictures, on the CPU."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.cli.options import parse
from cvgssl.fewshot.config import FinetuneConfig
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.job_options import STRICT

PER_CLASS = 60
# Options tried on seed 0 and 5; the optimizer and size by seed 5, the epochs by time.
SHOWN = 8  # pictures of each class in the figure
GALLERY = "predictions.png"


@dataclass(frozen=True, config=STRICT)
class DemoConfig:
    """Generate pictures, check them, fine-tune on a few labels, predict. A few minutes."""

    out: Path = Field(
        default=Path("demo"), description="folder for pictures and results, made anew"
    )


def run(argv: Sequence[str], prog: str) -> int:
    """Run the demo; 0 when everything worked."""
    out = parse(DemoConfig, argv, prog, positional=("out",)).out
    _clear(out)
    from cvgssl.cli import data_check
    from cvgssl.cli.adapt import run_adaptation
    from cvgssl.images.surfaces import synthesize
    from cvgssl.report.adaptation import CONFUSION, CURVES

    data, results = out / "steel", out / "run"
    print(f"1. Generate {PER_CLASS} pictures of each of six defects in {data}", flush=True)
    synthesize(data, PER_CLASS, seed=0)
    print("\n2. Check them for what would spoil a result", flush=True)
    data_check.run([str(data)], "cvgssl data check")
    print(
        "\n3. Train a small network from scratch on 16 labelled pictures of each, 3 draws",
        flush=True,
    )
    config = FinetuneConfig(
        data=data,
        arch="resnet10t",
        shot=16,
        n=3,
        epochs=60,
        eval_every=20,
        image_size=64,
        augment=True,
        optimizer="adamw",
        lr=0.001,
        weight_decay=0.05,
        batch_size=16,
        out=results,
    )
    run_adaptation(config, prog)
    print("\n4. Name the defects in test pictures with the first draw's model", flush=True)
    right, total = _draw_gallery(data, results, out / GALLERY)
    print(f"{right} of {total} right in the figure")
    figures = (out / GALLERY, results / CONFUSION, results / CURVES)
    print(f"\nLook at {', '.join(map(str, figures))}")
    print(f"Your own pictures: cvgssl predict {results} FILES AND FOLDERS")
    return 0


def _draw_gallery(data: Path, results: Path, path: Path) -> tuple[int, int]:
    """Draw some test pictures of each class with their predictions; how many are right, of all."""
    from cvgssl.deploy.predict import predict
    from cvgssl.images.reader import read_picture
    from cvgssl.images.scan import load_dataset
    from cvgssl.report.gallery import Judged, gallery_figure

    test = load_dataset(data).test
    rows = []
    for label, name in enumerate(test.classes):
        own = (test.labels == label).nonzero()[0]
        chosen = [test.paths[row] for row in own[:: max(1, len(own) // SHOWN)][:SHOWN]]
        judged = []
        for prediction in predict(results, chosen):
            named, probability = prediction.ranked()[0]
            judged.append(Judged(read_picture(prediction.path), name, named, probability))
        rows.append(judged)
    gallery_figure(rows, path, "Generated test pictures, named by a model trained on 16 of each")
    right = sum(one.named == one.label for row in rows for one in row)
    return right, sum(map(len, rows))


def _clear(out: Path) -> None:
    """Remove an earlier demo, and nothing else."""
    if not out.exists() or not any(out.iterdir()):
        return
    if not {path.name for path in out.iterdir()} <= {"steel", "run", GALLERY}:
        raise UserError(f"{out}: holds other things than a demo; name another folder")
    shutil.rmtree(out)
