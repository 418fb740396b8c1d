"""A small network that is taught a head's answers, for heads whose rule a graph cannot hold.

Two kinds need one: `LabelPropagation` on a large pool, whose rule looks at all of its pictures,
and heads of other packages, whose rule is not known here. The pool's pictures are the examples
(Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural network"), some of which are
held out to measure how well the network agrees with the head.

Shape letters: N pictures of the pool, B others, D numbers of an embedding, I numbers that the
network sees, K classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cvgssl.export.heads import HeadPart, Maps, ScorePart, has_part
from cvgssl.export.row_heads import unit_rows
from cvgssl.heads import FewShotHead, OpenSetHead
from cvgssl.heads.propagation import LabelPropagation
from cvgssl.images.decoding import Square
from cvgssl.images.geometry import Geometry
from cvgssl.recognizer.exported_file import Teaching
from cvgssl.recognizer.fitted import FittedRecognizer
from cvgssl.runtime.errors import UserError
from cvgssl.runtime.progress import progress

MOST_ROWS = 20_000
"""Pictures of a pool whose embeddings a graph holds."""
LEAST_ROWS = 1000  # without a label, on which a network is taught and measured
MOST_EXAMPLES, MOST_HELD_OUT = 100_000, 5000
HELD_OUT = 0.1  # of the pictures without a label
LEAST_SAME = 0.95
"""Share of the pictures held out that must get the same class."""

_WIDTH, _STEPS, _BATCH, _RATE, _DECAY, _SEED = 256, 2000, 256, 2e-3, 1e-2, 0
_CHUNK = 1024


class TaughtPart(nn.Module):
    """A network of three layers from rows, and their coordinates on the maps, to probabilities."""

    def __init__(self, width: int, classes: int) -> None:
        """Make it, untaught. width: I."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, _WIDTH),
            nn.ReLU(),
            nn.Linear(_WIDTH, _WIDTH),
            nn.ReLU(),
            nn.Linear(_WIDTH, classes),
        )

    def forward(self, spaces: Sequence[Tensor]) -> Tensor:
        """See `part_of`, for any number of rows."""
        return cast(Tensor, self.layers(torch.cat(list(spaces), dim=1)).softmax(dim=1))


def why_taught(head: FewShotHead) -> str:
    """Why the rule of a fitted head cannot be a part of a graph; "" where it can."""
    if type(head) is LabelPropagation and len(head.rows_) > MOST_ROWS:
        return (
            f"looks at all {len(head.rows_)} pictures of its pool, of which files hold {MOST_ROWS}"
        )
    return "" if has_part(type(head)) else "is of another package, which gives no rule for a graph"


def taught_part(
    name: str, head: OpenSetHead, rows: NDArray[np.float64], labelled: NDArray[np.bool_]
) -> tuple[HeadPart, Teaching]:
    """The part of a graph that answers nearly as a head does.

    name: of the head. rows: prepared embeddings [N, D] of the pool. labelled: which have a label
    [N]; they are examples.

    Raises UserError for fewer than `LEAST_ROWS` others, and where the network agrees too little.
    """
    others = np.random.default_rng(_SEED).permutation(np.flatnonzero(~labelled))
    needs = f"the head {name} {why_taught(head.head_.head_)}; a network that is taught its answers"
    remedy = "fit again with another head (docs/export.md says which)"
    if len(others) < LEAST_ROWS:
        raise UserError(
            f"{needs} needs {LEAST_ROWS} pictures without a label, here are {len(others)}; {remedy}"
        )
    count = min(round(HELD_OUT * len(others)), MOST_HELD_OUT)
    held_out = others[:count]
    examples = np.concatenate([np.flatnonzero(labelled), others[count:]])[:MOST_EXAMPLES]
    maps = Maps()
    score = ScorePart(head.score_, maps)
    asked = rows[np.concatenate([held_out, examples])]
    wanted = torch.from_numpy(head.predict_proba(asked)).float()
    seen = torch.cat([_seen(maps, asked[at : at + _CHUNK]) for at in range(0, len(asked), _CHUNK)])
    part = _taught(seen[count:], wanted[count:]).double().eval()
    with torch.no_grad():
        answered = part([seen[:count].double()]).numpy()
    teaching = _measured(name, len(examples), answered, wanted[:count].numpy(), head)
    if teaching.same_class < LEAST_SAME:
        raise UserError(
            f"{needs} gives {100 * (1 - teaching.same_class):.1f} % of {count} pictures that were "
            f"held out another class ({100 * (1 - LEAST_SAME):.0f} % may); {remedy}"
        )
    return HeadPart(maps, part, 1.0, score), teaching


def _seen(maps: Maps, rows: NDArray[np.float64]) -> Tensor:
    """What the network sees of rows [C, D]: float32 [C, I]."""
    return torch.cat(maps(unit_rows(torch.from_numpy(rows))), dim=1).float()


def _taught(seen: Tensor, expected: Tensor) -> TaughtPart:
    """Taught by gradient descent on the cross-entropy with probabilities [N, K]."""
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(_SEED)
        part = TaughtPart(seen.shape[1], expected.shape[1])
        optimizer = torch.optim.AdamW(part.parameters(), weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS)
        with progress("teach", _STEPS) as advance:
            for batch in islice(_batches(len(seen)), _STEPS):
                scores = part.layers(seen[batch])
                optimizer.zero_grad()
                nn.functional.cross_entropy(scores, expected[batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                advance(1)
    return part


@contextmanager
def _one_thread() -> Iterator[None]:
    """So small a network gains nothing by more, which wait for each other in every step."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batches(count: int) -> Iterator[Tensor]:
    """Places of examples without end, each as often as the others."""
    while True:
        yield from torch.split(torch.randperm(count), _BATCH)


def _measured(
    name: str,
    examples: int,
    answered: NDArray[np.float64],
    expected: NDArray[np.float32],
    head: OpenSetHead,
) -> Teaching:
    sure = [each.max(axis=1) >= head.probability_threshold_ for each in (answered, expected)]
    return Teaching(
        name,
        examples,
        len(expected),
        float((answered.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        float((sure[0] == sure[1]).mean()),
        float(np.abs(answered - expected).mean()),
    )


@dataclass(frozen=True)
class TaughtRecognizer:
    """A recognizer of `cvgssl fit` whose head is a taught network; see `Recognizing`."""

    fitted: FittedRecognizer
    part: HeadPart

    @property
    def classes(self) -> tuple[str, ...]:
        """K names."""
        return self.fitted.classes

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """How each picture becomes squares, one for each that differs."""
        return self.fitted.geometries

    def __call__(
        self, squares: Sequence[Sequence[Square]], /
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        """Probabilities float32 [B, K] of B pictures, and no verdicts."""
        rows = torch.from_numpy(self.fitted.head.preparation.transform(self.fitted.embed(squares)))
        with torch.no_grad():
            answers = [self.part(row[None])[0] for row in rows]
        return torch.cat(answers).float().numpy(), [None] * len(rows)
