"""Alarms when pictures change: how seldom without a change, how soon with one, what they say."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from cvgssl.heads.change import (
    LIGHT,
    MOVED,
    SHARES,
    STRANGE,
    Alarm,
    ChangeDetector,
)
from cvgssl.heads.change_reference import Reference, light_of

Rows = NDArray[np.float64]
WIDTH = 8


def values(count: int, seed: int, moved: float = 0.0, level: float = 0.0) -> Rows:
    """Made-up pictures: distance, light [3], displacement, all normal."""
    rows = np.random.default_rng(seed).standard_normal((count, 4 + WIDTH))
    rows[:, 4:] += moved / WIDTH**0.5
    rows[:, 1] += level
    return rows


def feed(detector: ChangeDetector, rows: Rows, labels: NDArray[np.int64]) -> list[Alarm]:
    found = [detector.observe(int(label), row) for label, row in zip(labels, rows, strict=True)]
    return [alarm for alarm in found if alarm is not None]


def test_false_alarms_are_as_rare_as_stated() -> None:
    every, pictures = 200, 20_000
    alarms = feed(ChangeDetector(every), values(pictures, 1), np.arange(pictures) % 3)
    # a Poisson number of at most 100 on average; it is conservative, but not dead
    assert 3 < len(alarms) < 130


def test_other_shares_of_the_classes_are_no_change() -> None:
    """Two classes that look quite different; the second becomes ten times as frequent."""
    alarms: list[Alarm] = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        labels = (generator.random(1200) < np.repeat([0.08, 0.8], 600)).astype(np.int64)
        rows = values(1200, seed) + 3.0 * labels[:, None]
        alarms += feed(ChangeDetector(1200, seed), rows, labels)
    by_kind = Counter(alarm.kind for alarm in alarms)
    assert by_kind.pop(SHARES) <= 40, "once in each of the 20"
    assert by_kind.total() <= 20, "as many as are allowed in 20 times 1200"


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"moved": 3.0}, MOVED, "all moved"),
        ({"level": -4.0}, LIGHT, "darker"),
        ({"level": 4.0}, LIGHT, "brighter"),
    ],
)
def test_a_change_is_noticed_soon_and_dated(
    change: dict[str, float], kind: str, words: str
) -> None:
    before, after = values(600, 2), values(200, 3, **change)
    rows, labels = np.concatenate([before, after]), np.arange(800) % 2
    (alarm, *_) = feed(ChangeDetector(100_000), rows, labels)
    assert alarm.kind == kind
    assert alarm.words.startswith(words)
    assert 600 < alarm.number <= 720
    assert abs(alarm.since - 601) < 30
    ranked = rows[: alarm.number] @ alarm.direction
    assert (np.argsort(ranked)[-4:] >= 600).sum() >= 3, "those that changed most are new"


def test_a_change_is_noticed_where_all_seem_to_be_of_a_rare_class_then() -> None:
    rows = np.concatenate([values(600, 2), values(100, 3, level=-4)])
    labels = np.repeat([0, 1], [600, 100])
    labels[:600:100] = 1
    (alarm, *_) = feed(ChangeDetector(100_000), rows, labels)
    assert alarm.kind == SHARES and alarm.number < 625


def test_a_few_strange_pictures_are_noticed() -> None:
    rows = np.concatenate([values(2000, 4), values(2000, 5)])
    rows[2000::33, 0] += 8  # three of a hundred
    (alarm, *_) = feed(ChangeDetector(100_000), rows, np.zeros(4000, np.int64))
    assert alarm.kind == STRANGE
    assert 2000 < alarm.number < 2600
    assert (np.argsort(rows[: alarm.number] @ alarm.direction)[-3:] >= 2000).all()


def test_after_an_alarm_the_new_pictures_are_the_measure() -> None:
    rows = np.concatenate([values(400, 6), values(900, 7, level=3), values(300, 8)])
    alarms = feed(ChangeDetector(100_000), rows, np.zeros(len(rows), np.int64))
    assert [alarm.words for alarm in alarms] == ["brighter", "darker"]
    assert alarms[1].number > 1300


def test_it_goes_on_from_its_state_as_if_it_had_not_stopped() -> None:
    rows, labels = values(900, 9, moved=0.4), np.arange(900) % 3
    whole, first, second = (ChangeDetector(50) for _ in range(3))
    expected = feed(whole, rows, labels)
    found = feed(first, rows[:555], labels[:555])
    second.restore(first.state())
    found += feed(second, rows[555:], labels[555:])
    assert [alarm[:4] for alarm in found] == [alarm[:4] for alarm in expected]
    assert second.nearness == whole.nearness
    assert 0 < whole.nearness < 1


def unit_rows(count: int, seed: int, shift: float = 0.0) -> Rows:
    """Three classes in 12 directions."""
    generator = np.random.default_rng(seed)
    rows = np.eye(12)[np.arange(count) % 3] + 0.1 * generator.standard_normal((count, 12))
    rows[:, 11] += shift
    unit: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def test_what_is_measured_has_little_to_do_with_the_class() -> None:
    reference = Reference(unit_rows(300, 1))
    light = np.zeros((60, 3))
    same, shifted = (reference.measure(unit_rows(60, 2, by), light) for by in (0, 0.3))
    assert (same.nearest % 3 == np.arange(60) % 3).all()
    displacement = same.values[:, 4:].reshape(20, 3, -1).mean(axis=0)
    assert np.abs(displacement).max() < 1  # standard deviations, of the means of the classes
    assert shifted.values[:, 0].mean() > 1.3 * same.values[:, 0].mean()
    strange = reference.measure(np.eye(12)[[7]], light[:1])
    assert strange.values[0, 0] > same.values[:, 0].max()


def test_a_reference_needs_pictures() -> None:
    with pytest.raises(ValueError, match="19 reference pictures: at least 20"):
        Reference(unit_rows(19, 1))
    many = Reference(unit_rows(4100, 1)).measure(unit_rows(5, 2), np.zeros((5, 3)))
    assert many.values.shape == (5, 4 + 12)


def test_light_tells_level_contrast_and_sharpness() -> None:
    noise = np.random.default_rng(0).integers(40, 120, (1, 32, 32)).astype(np.uint8)
    level, contrast, sharpness = light_of(noise)
    darker = light_of((0.5 * noise).astype(np.uint8))
    assert darker[0] < level - 0.5
    smooth = np.repeat(np.repeat(noise[:, ::4, ::4], 4, axis=1), 4, axis=2)
    assert light_of(smooth)[2] < sharpness - 0.5
    flat = light_of((80 + 0.2 * (noise.astype(float) - 80)).astype(np.uint8))
    assert flat[1] < contrast - 1
    assert np.isfinite(light_of(np.zeros((3, 8, 8), np.uint8))).all()
