"""Whether pictures of a line still come as they came before: a sequential test on embeddings.

Shape letter: V values of a picture, see `heads.change_reference`.
"""

import bisect
import json
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvgssl.heads.base import Floats

STRANGE, MOVED, LIGHT, SHARES = "strange", "moved", "light", "shares"
"""Kinds of alarm: more pictures are unlike all reference pictures; those of a class all differ from
earlier ones in the same direction; they are darker, flatter, sharper or the like; a class that was
rare has become frequent."""
LIGHT_WORDS = (("darker", "brighter"), ("flatter", "richer in contrast"), ("blurred", "sharper"))

POWERS = (0.3, 0.6)  # of p-values: bets on many small ones
TAILS = ((0.001, 0.01), (0.005, 0.01), (0.02, 0.03))  # below the first comes so much more
WINDOWS = (20, 80)  # pairs from which a direction is learned
STEEP = 2.0  # best for normal displacements of a known mean
FEW = 20  # pictures of a class that are kept before one is tested
MOST_RESERVED, MOST_RANKED = 1000, 20_000  # of each class
SMALLEST = 1e-12
ALLOWANCE = 0.03  # of the CUSUM for each bet, so that it does not date a change to idle bets


class Alarm(NamedTuple):
    """Pictures have changed.

    kind: STRANGE, MOVED, LIGHT or SHARES. words: the same for people. since: number of the first
    picture that differs, an estimate. number: of the last one before the alarm; both from 1, since
    the beginning. direction: [V]; the larger a picture's product with it, the more it has changed;
    0 for SHARES.
    """

    kind: str
    words: str
    since: int
    number: int
    direction: Floats


@dataclass
class _Evidence:
    """A Shiryaev-Roberts statistic, and since when the CUSUM of the same bets has been above 0."""

    value: float = 0.0
    rise: float = 0.0  # natural logarithm
    since: int = 0

    def bet(self, outcome: float, number: int) -> None:
        """outcome: of a bet that gives 1 on average while nothing changes."""
        self.value = (1 + self.value) * outcome
        if self.rise <= 0:
            self.rise, self.since = 0.0, number
        self.rise += math.log(max(outcome, SMALLEST)) - ALLOWANCE


@dataclass
class _Class:
    """Earlier pictures that are believed to be of one class.

    count: of all. ranked: distance, level, contrast and sharpness, each sorted. reserve:
    displacements [P] of those that nobody has looked at.
    """

    count: int = 0
    ranked: list[list[float]] = field(default_factory=lambda: [[], [], [], []])
    reserve: list[Floats] = field(default_factory=list)


@dataclass
class _Direction:
    """Mean of differences (new minus kept) [P], in which the last `window` count most."""

    window: int
    mean: Floats
    seen: int = 0

    def bet(self, difference: Floats) -> float:
        """Twice the believed probability that `difference` is not the other way round."""
        believed = 0.0
        if self.seen:
            # differences of standardized numbers have variance 2; James & Stein's shrinkage
            rate = 1 / min(self.window, self.seen)
            noise = 2 * len(self.mean) * rate / (2 - rate)
            believed = max(0.0, 1 - noise / max(float(self.mean @ self.mean), SMALLEST))
        lean = STEEP * believed * float(self.mean @ difference) / 2
        self.seen += 1
        self.mean = self.mean + (difference - self.mean) / min(self.window, self.seen)
        return 2 / (1 + math.exp(-min(max(lean, -30.0), 30.0)))


class ChangeDetector:
    """Takes pictures one by one and gives an alarm when they come otherwise than before.

    While pictures come in exchangeable order, the mean number of them before an alarm is at least
    `every`, and the probability of one among the first n is at most n / `every`. Where the shares
    of the classes change this holds for all but alarms of the kind "shares". Pictures that come in
    runs, one coil after the other, are not exchangeable: give it one of each run.

    Four kinds of bets, each of which gives 1 on average without a change:

    - "strange" and "light": on the rank of a picture's distance, level, contrast and sharpness
      among those of earlier pictures of its class, ties broken by chance; such p-values are
      independent and uniform (Vovk, Nouretdinov & Gammerman 2003, ICML, "Testing exchangeability
      on-line"). A bet gives k p^(k - 1); others are that a few more distances are very large.
    - "shares": the same on how rare the picture's class is among all pictures. A change after which
      all seem to be of a class that had hardly any pictures shows in nothing else.
    - "moved": on which of two pictures of a class is new, the other one being kept from before
      and looked at by nobody. By a direction learned from earlier pairs, the bet gives twice the
      believed probability of the truth (Shekhar & Ramdas 2023, IEEE Transactions on Information
      Theory 70, "Nonparametric two-sample testing by betting"; Pandeva et al. 2024, AISTATS,
      "E-valuating classifier two-sample tests").

    Shiryaev-Roberts statistics gather the outcomes; their mean alarms at `every` (Vovk et al.
    2021, COPA, "Retrain or not retrain: conformal test martingales for change-point detection";
    Shin, Ramdas & Rinaldo 2024, New England Journal of Statistics in Data Science 2, "E-detectors:
    a nonparametric framework for sequential change detection"). A change is dated to where the
    CUSUM (Page 1954, Biometrika 41) of the strongest one's bets left 0.

    After an alarm it begins again, with the pictures that come then.

    Parameters
    ----------
    every : float
        Pictures from one false alarm to the next, on average, at least; above 1.
    seed : int
        Of the draws.
    """

    def __init__(self, every: float = 100_000, seed: int = 0) -> None:
        self.every, self.count = every, 0
        self._random = np.random.default_rng(seed)
        self._begin()

    def _begin(self) -> None:
        self._classes: dict[int, _Class] = {}
        self._strange = [_Evidence() for _ in (*POWERS, *TAILS)]
        self._shares = [_Evidence() for _ in POWERS]
        self._light = [_Evidence() for _ in range(2 * len(LIGHT_WORDS) * len(POWERS))]
        self._moved = [_Evidence() for _ in WINDOWS]
        self._directions: list[_Direction] = []

    @property
    def nearness(self) -> float:
        """How near an alarm is, 0 to 1, on a logarithmic scale."""
        return min(1.0, math.log1p(self._value()) / math.log1p(self.every))

    def observe(self, label: int, values: Floats) -> Alarm | None:
        """Take the next picture. label: the class that it is believed to be of. values: [V]."""
        self.count += 1
        known = self._classes.setdefault(label, _Class())
        known.count += 1
        self._bet(self._shares, [_power(self._rarity(known), power) for power in POWERS])
        p = [self._rank(ranked, value) for ranked, value in zip(known.ranked, values, strict=False)]
        outcomes = [_power(p[0], power) for power in POWERS]
        outcomes += [1 - share + share / end * (p[0] < end) for end, share in TAILS]
        self._bet(self._strange, outcomes)
        both = [side for each in p[1:] for side in (1 - each, each)]
        self._bet(self._light, [_power(side, power) for side in both for power in POWERS])
        self._pair(known.reserve, values[len(p) :])
        if self._value() < self.every:
            return None
        alarm = self._alarm(len(values))
        self._begin()
        return alarm

    def state(self) -> dict[str, NDArray[Any]]:
        """All that is known, as arrays by name, for `restore`."""
        kinds = (self._strange, self._light, self._moved, self._shares)
        facts = {
            "count": self.count,
            "random": self._random.bit_generator.state,
            "evidence": [[astuple(each) for each in kind] for kind in kinds],
            "seen": [each.seen for each in self._directions],
            "counts": {label: each.count for label, each in self._classes.items()},
        }
        arrays = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
        if self._directions:
            arrays["means"] = np.stack([each.mean for each in self._directions])
        for label, known in self._classes.items():
            arrays[f"ranked {label}"] = np.array(known.ranked)
            arrays[f"reserve {label}"] = np.array(known.reserve)
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on where the one that gave `state` was; raises KeyError, ValueError or TypeError."""
        facts = json.loads(arrays["facts"].tobytes())
        self._begin()
        self.count = int(facts["count"])
        self._random.bit_generator.state = facts["random"]
        self._strange, self._light, self._moved, self._shares = (
            [_Evidence(*each) for each in kind] for kind in facts["evidence"]
        )
        for window, seen, mean in zip(
            WINDOWS, facts["seen"], arrays.get("means", ()), strict=False
        ):
            self._directions.append(_Direction(window, mean, seen))
        for name, values in arrays.items():
            word, _, label = name.partition(" ")
            if word == "ranked":
                reserve = list(arrays[f"reserve {label}"])
                count = facts["counts"][label]
                self._classes[int(label)] = _Class(count, values.tolist(), reserve)

    def _bet(self, gathered: list[_Evidence], outcomes: list[float]) -> None:
        for evidence, outcome in zip(gathered, outcomes, strict=True):
            evidence.bet(outcome, self.count)

    def _value(self) -> float:
        kinds = (self._strange, self._light, self._moved, self._shares)
        return sum(sum(each.value for each in kind) / len(kind) for kind in kinds) / len(kinds)

    def _rarity(self, known: _Class) -> float:
        """Share of the pictures whose class is rarer than this one, ties at random."""
        counts = [each.count for each in self._classes.values()]
        rarer = sum(count for count in counts if count < known.count)
        same = sum(count for count in counts if count == known.count)
        return (rarer + self._random.random() * same) / sum(counts)

    def _rank(self, ranked: list[float], value: float) -> float:
        """Share of the earlier ones that are larger, ties at random; keeps the value."""
        value = float(value)
        at, end = bisect.bisect_left(ranked, value), bisect.bisect_right(ranked, value)
        larger, same = len(ranked) - end, end - at
        p = (larger + self._random.random() * (same + 1)) / (len(ranked) + 1)
        if len(ranked) >= MOST_RANKED:
            del ranked[int(self._random.integers(len(ranked)))]
        bisect.insort(ranked, value)
        return max(p, SMALLEST)

    def _pair(self, reserve: list[Floats], displacement: Floats) -> None:
        if len(reserve) < FEW or self._random.random() < 0.5:
            if len(reserve) < MOST_RESERVED:
                reserve.append(displacement)
            else:
                reserve[int(self._random.integers(MOST_RESERVED))] = displacement
            return
        place = int(self._random.integers(len(reserve)))
        reserve[place], reserve[-1] = reserve[-1], reserve[place]
        difference = displacement - reserve.pop()
        if not self._directions:
            nothing = np.zeros(len(difference))
            self._directions = [_Direction(window, nothing) for window in WINDOWS]
        self._bet(self._moved, [direction.bet(difference) for direction in self._directions])

    def _alarm(self, width: int) -> Alarm:
        """What the strongest bets say."""
        direction = np.zeros(width)
        kinds = {
            STRANGE: self._strange,
            LIGHT: self._light,
            MOVED: self._moved,
            SHARES: self._shares,
        }
        strongest = {
            name: max(range(len(each)), key=lambda at, each=each: each[at].value)  # type: ignore[misc]
            for name, each in kinds.items()
        }
        kind = max(kinds, key=lambda name: kinds[name][strongest[name]].value)
        place = strongest[kind]
        words = "unlike the pictures that the recognizer was made of"
        if kind == STRANGE:
            direction[0] = 1
        elif kind == LIGHT:
            of, larger = divmod(place // len(POWERS), 2)
            words, direction[1 + of] = LIGHT_WORDS[of][larger], (-1, 1)[larger]
        elif kind == SHARES:
            words = "a class that was rare has become frequent"
        else:
            words = "all moved in one direction"
            direction[4:] = self._directions[place].mean
        return Alarm(kind, words, kinds[kind][place].since, self.count, direction)


def _power(p: float, power: float) -> float:
    """A bet on small p; its mean over a uniform p is 1."""
    return float(power * max(p, SMALLEST) ** (power - 1))
