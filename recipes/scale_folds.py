"""How sure kernel ridge and ridge should be: the scale of their scores, by folds inside train/.

    python recipes/scale_folds.py X-SDD.npz NEU-CLS.npz X-SDD_SQUEEZENET.npz --draws 4

Files, folds and draws are those of `auto_folds.py`, with 1, 4 and 16 labels per class; unlabelled
pictures centre the features, no more. Figures: log loss in nats and expected calibration error,
per cent, mean over folds and draws. The scale changes no answer, only how sure it is.
"""

import argparse
from pathlib import Path

import numpy as np
from auto_folds import cases
from sklearn.metrics import log_loss

from cvgssl.features.table import load_features
from cvgssl.heads.calibration import calibration_error
from cvgssl.heads.linear import KernelRidge, Ridge

SHOTS = (1, 4, 16)
SCALES = (6.0, 9.0, 12.0, 15.0, 20.0, 30.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=4)
    args = parser.parse_args()
    print(f"{'':<48}" + "".join(f"{scale:>14.0f}" for scale in SCALES))
    for file in args.features:
        train = load_features(file).split("train")
        found: dict[tuple[str, int], list[list[tuple[float, float]]]] = {}
        for shot, known, target, query, truth in cases(train, False, args.draws, SHOTS):
            for kind in (KernelRidge, Ridge):
                figures = []
                for scale in SCALES:
                    head = kind(scale=scale).fit(known, target)
                    probabilities = head.predict_proba(query)
                    loss = log_loss(truth, probabilities, labels=head.classes_)
                    figures.append((loss, 100 * calibration_error(probabilities, truth)))
                found.setdefault((kind.__name__, shot), []).append(figures)
        for (name, shot), values in found.items():
            cells = (f"{loss:8.2f} /{error:4.0f}" for loss, error in np.mean(values, axis=0))
            print(f"{file.stem + ', ' + name + f', {shot} labels':<48}" + "".join(cells))


if __name__ == "__main__":
    main()
