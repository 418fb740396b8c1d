"""`cvgssl demo DIR`: the main job from end to end on generated pictures, on the CPU."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from cvgssl.cli.options import parse
from cvgssl.fewshot.config import STRICT, FinetuneConfig
from cvgssl.runtime.errors import UserError

PER_CLASS = 60


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
    from cvgssl.cli import data_check, predict
    from cvgssl.cli.adapt import run_adaptation
    from cvgssl.images.surfaces import synthesize
    from cvgssl.report.adaptation import CONFUSION, CURVES
    from cvgssl.report.gallery import data_sheet

    data, results = out / "data", out / "run"
    print(f"1. Generate {PER_CLASS} pictures of each of six defects in {data}")
    synthesize(data, PER_CLASS, seed=0)
    data_sheet(data, out / "pictures.png")
    print("\n2. Check them for what would spoil a result")
    data_check.run([str(data)], "cvgssl data check")
    print("\n3. Fine-tune a small network from scratch on 8 labelled pictures per class, 3 draws")
    config = FinetuneConfig(
        data=data,
        arch="resnet18",
        shot=8,
        n=3,
        epochs=40,
        eval_every=10,
        image_size=112,
        augment=True,
        lr=0.03,
        out=results,
    )
    run_adaptation(config, prog)
    print("\n4. Name the defects in new pictures")
    predict.run([str(results), str(data / "test" / "scratches")], "cvgssl predict")
    figures = (out / "pictures.png", results / CONFUSION, results / CURVES)
    print(f"\nLook at {', '.join(map(str, figures))}")
    return 0


def _clear(out: Path) -> None:
    """Remove an earlier demo, and nothing else."""
    if not out.exists() or not any(out.iterdir()):
        return
    if not {path.name for path in out.iterdir()} <= {"data", "run", "pictures.png"}:
        raise UserError(f"{out}: holds other things than a demo; name another folder")
    shutil.rmtree(out)
