"""All heads: scikit-learn's own checks, and what each has to be able to do."""

import json
from dataclasses import asdict
from itertools import combinations
from unittest import SkipTest

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import estimator_checks_generator

from cvgssl.heads import HEADS
from cvgssl.heads.base import UNLABELLED, FewShotHead
from cvgssl.heads.metrics import confusion, macro_recall

SEMI = [name for name, head in HEADS.items() if head.uses_unlabelled]
Rows = tuple[NDArray[np.float64], NDArray[np.int64]]


def wide(count: int, seed: int = 0, shares: tuple[float, ...] = (1, 1, 1)) -> Rows:
    """Three groups so wide in 30 directions that one label each says little about distances."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(3, size=count, p=np.array(shares) / sum(shares))
    return np.eye(30)[labels] * 1.2 + 0.4 * generator.standard_normal((count, 30)), labels


def blobs(count: int, seed: int = 0) -> Rows:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    return np.eye(6)[labels] + 0.3 * generator.standard_normal((count, 6)), labels


def support(labels: NDArray[np.int64], shots: int) -> NDArray[np.int64]:
    """Labels of the first `shots` rows of every class, -1 elsewhere."""
    target = np.full(len(labels), UNLABELLED)
    for label in np.unique(labels):
        target[np.flatnonzero(labels == label)[:shots]] = label
    return target


@pytest.mark.parametrize("name", HEADS)
def test_scikit_learn_accepts_it(name: str) -> None:
    passed = 0
    for estimator, check in estimator_checks_generator(HEADS[name]()):
        if check.func.__name__ == "check_classifiers_classes":
            continue  # takes -1 for a class; here it says "not labelled"
        try:
            check(estimator)
            passed += 1
        except SkipTest:  # a library that is not installed
            continue
    assert passed > 30


@pytest.mark.parametrize("name", HEADS)
def test_well_separated_groups_are_told_apart(name: str) -> None:
    rows, labels = blobs(90)
    new, truth = blobs(60, seed=1)
    head = HEADS[name]().fit(rows, support(labels, 5))
    assert (head.predict(new) == truth).mean() > 0.85
    probabilities = head.predict_proba(new)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert probabilities.min() >= 0
    assert probabilities.max(axis=1).std() > 0, "doubtful pictures are less sure"


@pytest.mark.parametrize("name", HEADS)
def test_each_new_row_is_classified_by_itself(name: str) -> None:
    rows, labels = blobs(60)
    new, _ = blobs(40, seed=1)
    head = HEADS[name]().fit(rows, support(labels, 2))
    together = head.predict_proba(new)
    alone = np.concatenate([head.predict_proba(row[None]) for row in new])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("name", SEMI)
def test_unlabelled_rows_help_where_they_should(name: str) -> None:
    """Groups that are there to be seen: one label each is enough to name them."""
    rows, labels = wide(300)
    new, truth = wide(200, seed=1)
    target = support(labels, 1)
    head = HEADS[name]().fit(rows, target)
    alone = HEADS["nearest-mean"]().fit(rows, target)
    lead = (head.predict(new) == truth).mean() - (alone.predict(new) == truth).mean()
    assert lead > 0.1
    assert (head.transduction_ == labels).mean() > 0.8
    np.testing.assert_allclose(head.label_distributions_.sum(axis=1), 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in HEADS if name not in SEMI])
def test_heads_of_labels_alone_ignore_the_others(name: str) -> None:
    rows, labels = blobs(60)
    target = support(labels, 3)
    kept = target != UNLABELLED
    one, other = HEADS[name]().fit(rows, target), HEADS[name]().fit(rows[kept], target[kept])
    np.testing.assert_array_equal(one.predict_proba(rows), other.predict_proba(rows))


@pytest.mark.parametrize("name", HEADS)
def test_one_class_has_many_labels(name: str) -> None:
    """Fifty labels of one class against one of the others: it does not swallow them."""
    rows, labels = blobs(300)
    target = np.where(labels == 0, 0, UNLABELLED)
    target[np.flatnonzero(labels == 0)[50:]] = UNLABELLED
    target[[1, 2]] = labels[[1, 2]]
    head = HEADS[name]().fit(rows, target)
    found = head.predict(rows)
    recall = [(found[labels == label] == label).mean() for label in range(3)]
    assert min(recall) > 0.45


@pytest.mark.parametrize("name", SEMI)
def test_classes_of_unequal_size(name: str) -> None:
    rows, labels = wide(300, seed=3, shares=(6, 3, 1))
    head = HEADS[name]().fit(rows, support(labels, 2))
    found = head.transduction_
    assert min((found[labels == label] == label).mean() for label in range(3)) > 0.45


def test_words_as_labels_and_mistakes() -> None:
    rows, labels = blobs(30)
    words = np.array(["dent", "hole", "scratch"])[labels]
    head = HEADS["nearest-mean"]().fit(rows, words)
    assert list(head.classes_) == ["dent", "hole", "scratch"]
    with pytest.raises(ValueError, match="labels no row"):
        clone(head).fit(rows, np.full(30, UNLABELLED))
    with pytest.raises(ValueError, match="kernel"):
        HEADS["kernel-ridge"](kernel="cubic").fit(rows, labels)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="anchors"):
        HEADS["tip-adapter"](anchors=np.ones((2, 6))).fit(rows, labels)  # type: ignore[call-arg]


def test_anchors_of_the_classes_decide_without_good_labels() -> None:
    rows, labels = blobs(90)
    wrong = np.array([0, 1, 2])
    few = rows[[1, 2, 0]]  # a label of each class, all wrong
    anchored = HEADS["tip-adapter"](anchors=np.eye(3, 6))  # type: ignore[call-arg]
    assert (anchored.fit(few, wrong).predict(rows) == labels).mean() > 0.85
    assert (HEADS["tip-adapter"]().fit(few, wrong).predict(rows) == labels).mean() < 0.3


def test_logistic_is_scikit_learns_on_balanced_rows() -> None:
    rows, labels = blobs(24)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    expected = LogisticRegression(C=10, tol=1e-8, max_iter=1000).fit(rows / length, labels)
    head: FewShotHead = HEADS["logistic"]().fit(rows, labels)
    found = head.predict_proba(rows)
    np.testing.assert_allclose(found, expected.predict_proba(rows / length), atol=0.02)


def test_discriminant_is_the_dense_formula() -> None:
    """Against the inverse of the shrunken covariance, written out."""
    from sklearn.covariance import ledoit_wolf

    rows, labels = blobs(45)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(3)])
    residual = rows - means[labels]
    _, shrinkage = ledoit_wolf(residual, assume_centered=True)
    scatter = residual.T @ residual / (45 - 3)
    covariance = (1 - shrinkage) * scatter + shrinkage * np.trace(scatter) / 6 * np.eye(6)
    away = rows[:, None] - means
    scores = -0.05 * np.einsum("mkd,de,mke->mk", away, np.linalg.inv(covariance), away)
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    found = HEADS["discriminant"]().fit(rows, labels).predict_proba(rows)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_propagation_in_steps_is_the_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    from cvgssl.heads import propagation

    rows, labels = wide(200)
    target = support(labels, 2)
    whole = HEADS["propagation"]().fit(rows, target).label_distributions_  # type: ignore[attr-defined]
    monkeypatch.setattr(propagation, "DENSE", 0)
    steps = HEADS["propagation"]().fit(rows, target).label_distributions_  # type: ignore[attr-defined]
    np.testing.assert_allclose(steps, whole, atol=0.02)


def test_auto_leaves_unlabelled_pictures_alone_when_they_mislead() -> None:
    """Groups of near twins that have nothing to do with the classes: labels alone are better."""
    generator = np.random.default_rng(0)
    twins = generator.standard_normal((40, 20)) * 3
    labels = np.arange(400) % 2
    rows = np.repeat(twins, 10, axis=0) + 0.05 * generator.standard_normal((400, 20))
    rows[:, :4] = 0.05 * generator.standard_normal((400, 4)) + 2 * (2 * labels[:, None] - 1)
    target = support(labels, 40)
    rest = target == UNLABELLED
    misled = HEADS["propagation"]().fit(rows, target)
    auto = HEADS["auto"]().fit(rows, target)
    assert auto.weights_.argmax() == 0  # type: ignore[attr-defined]
    right = (auto.predict(rows[rest]) == labels[rest]).mean()
    assert right > (misled.predict(rows[rest]) == labels[rest]).mean()
    assert right > 0.95


def test_auto_relies_on_labels_alone_where_the_map_separates_neighbours() -> None:
    """One label per class: nothing can be held out; the graph itself decides."""
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 2
    strings = np.linspace(0, 1, 300)[:, None] * generator.standard_normal((1, 20)) * 4
    rows = strings + 0.02 * generator.standard_normal((300, 20))
    rows[:, :2] += 2.5 * np.stack([labels, 1 - labels], axis=1)
    strung = HEADS["auto"]().fit(rows, support(labels, 1))
    assert len(strung.weights_) == 1  # type: ignore[attr-defined]
    clouds, kinds = wide(300)
    joined = HEADS["auto"](prior=(1, 2, 2)).fit(clouds, support(kinds, 1))
    assert len(joined.weights_) == 3  # type: ignore[attr-defined]


def test_auto_with_one_label_is_as_sure_as_its_candidates_agree() -> None:
    generator = np.random.default_rng(1)
    labels = np.arange(600) % 3
    rows = 0.9 * generator.standard_normal((600, 20)) + 3 * np.eye(20)[labels]
    target = support(labels[:400], 1)
    auto = HEADS["auto"]().fit(rows[:400], target)
    by_labels, *maps = auto.heads_  # type: ignore[attr-defined]
    free = target == UNLABELLED
    answers = [by_labels.predict(rows[:400][free]), *(head.transduction_[free] for head in maps)]
    agreed = np.mean([np.mean(a == b) for a, b in combinations(answers, 2)])
    sure = auto.label_distributions_[free].max(axis=1).mean()  # type: ignore[attr-defined]
    assert abs(sure - agreed) < 0.03
    new = auto.predict_proba(rows[400:])
    right = np.mean(new.argmax(axis=1) == labels[400:])
    assert 0 < right - new.max(axis=1).mean() < 0.12, "new rows too, within what agreement can tell"


def dominated(seed: int) -> Rows:
    """1200 rows: good parts in eight clusters, 90 % of all; three kinds of defect beside them."""
    generator = np.random.default_rng(seed)
    places = 2 * generator.standard_normal((8, 20))
    defects = places[:3] + 1.2 * generator.standard_normal((3, 20))
    kinds = np.where(generator.random(1200) < 0.9, 0, generator.integers(1, 4, 1200))
    good = places[generator.integers(0, 8, 1200)]
    centres = np.where(kinds[:, None] == 0, good, defects[kinds - 1])
    return centres + generator.standard_normal((1200, 20)), kinds


def test_auto_leaves_the_map_where_one_class_dominates() -> None:
    figures = []
    for seed in range(4):
        rows, kinds = dominated(seed)
        target = support(kinds[:600], 1)
        auto = HEADS["auto"]().fit(rows[:600], target)
        labels = HEADS["kernel-ridge"]().fit(rows[:600], target)
        scores = [
            macro_recall(confusion(kinds[600:], head.predict(rows[600:]), 4))
            for head in (auto, labels)
        ]
        decision = auto.decision_  # type: ignore[attr-defined]
        figures.append([decision.agreement, decision.weights[0], *scores])
    agreement, weight, by_auto, by_labels = np.mean(figures, axis=0)
    assert agreement < 0.8 and weight > 0.4, "with the whole prior the weight is 0.2"
    assert by_auto > by_labels + 2, "with the whole prior it is below"


def test_auto_says_what_decided() -> None:
    clouds, kinds = wide(300)
    few = HEADS["auto"]().fit(clouds[:60], support(kinds[:60], 2)).decision_  # type: ignore[attr-defined]
    assert (few.gate_open, few.candidates, few.crossed) == (False, ("kernel-ridge",), None)
    assert (few.unlabelled, few.held_out, few.weights) == (54, 6, (1.0,))
    assert str(few).startswith("unlabelled pictures are not used by this head: 54 unlabelled ")
    mean, each = few.temperature, few.temperatures[0]
    assert str(few).endswith(
        "\nthe answer is that of kernel-ridge; temperature of each "
        f"{each:.2f}, then of the answer {mean:.2f}"
    )
    for shots in (1, 3):
        head = HEADS["auto"]().fit(clouds, support(kinds, shots))
        decision = head.decision_  # type: ignore[attr-defined]
        assert decision.gate_open and decision.crossed[0] < decision.crossed[1]
        assert decision.candidates == ("kernel-ridge", "diffusion", "transport")
        assert decision.held_out == (9 if shots == 3 else 0)
        assert decision.unlabelled == 300 - 3 * shots
        np.testing.assert_array_equal(decision.weights, head.weights_)  # type: ignore[attr-defined]
        assert decision.temperatures == tuple(head.temperatures_)  # type: ignore[attr-defined]
        assert decision.temperature == head.temperature_  # type: ignore[attr-defined]
        first, second = str(decision).splitlines()
        used = "unlabelled pictures are used by this head: with them (diffusion map) fewer "
        assert first.startswith(used)
        by_map, by_labels = (f"{100 * share:.1f} %" for share in decision.crossed)
        assert f", {by_map} against {by_labels} of the links" in first
        ridge, diffusion, transport = (f"{100 * weight:.0f} %" for weight in decision.weights)
        shares = f"{ridge} kernel-ridge, {diffusion} diffusion and {transport} transport, "
        assert second.startswith(f"the answer is {shares}")
        source = "predicted 9 labels held out" if shots == 3 else "no label could be held out"
        agree = f"diffusion and transport agree on {100 * decision.agreement:.0f} % of the unl"
        assert source in second and agree in second
        assert "; temperature " in second
        stored = json.loads(json.dumps(asdict(decision)))
        assert stored["crossed"] == list(decision.crossed)


def test_stacked_weights_are_the_likeliest() -> None:
    from scipy.optimize import minimize

    from cvgssl.heads.auto import PRIOR_LABELS, stacking_weights

    likely = np.random.default_rng(0).uniform(0.01, 1, (3, 40))
    prior = np.array([0.2, 0.5, 0.3])

    def unlikely(logits: NDArray[np.float64]) -> float:
        weights = np.exp(logits) / np.exp(logits).sum()
        return -float(np.log(weights @ likely).sum() + PRIOR_LABELS * prior @ np.log(weights))

    best = np.exp(minimize(unlikely, np.zeros(3), tol=1e-10).x)
    np.testing.assert_allclose(stacking_weights(likely, prior), best / best.sum(), atol=2e-3)
    np.testing.assert_allclose(stacking_weights(np.zeros((3, 0)), prior), prior)


def test_auto_holds_every_label_out_once_and_keeps_a_label_of_each_class() -> None:
    from cvgssl.heads.calibration import held_out_folds

    target = np.array([0, 1, 1, 2, 2, 2, 2, 2, 2, 2, -1, -1])
    parts = held_out_folds(target)
    assert sorted(np.concatenate(parts)) == list(range(1, 10)), "all but the only one of its class"
    for part in parts:
        kept = np.setdiff1d(np.flatnonzero(target >= 0), part)
        assert set(target[kept]) == {0, 1, 2}
    assert held_out_folds(np.array([0, 1, -1])) == []


@pytest.mark.parametrize("name", ["diffusion", "mixture", "transport"])
def test_held_out_labels_are_predicted_as_by_a_fit_of_its_own(name: str) -> None:
    """The map is made once for all of them; nothing else may differ."""
    from cvgssl.heads.calibration import held_out_folds, held_out_predictions

    rows, labels = wide(300)
    target = support(labels, 3)
    found, places = held_out_predictions(HEADS[name](), rows, target)
    expected = []
    for part in held_out_folds(target):
        without = target.copy()
        without[part] = UNLABELLED
        expected.append(HEADS[name]().fit(rows, without).predict_proba(rows[part]))
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-8)
    assert (found.argmax(axis=1) == labels[places]).mean() > 0.5


def test_many_new_rows_are_mapped_like_few(monkeypatch: pytest.MonkeyPatch) -> None:
    from cvgssl.features import diffusion_map

    rows, labels = wide(300)
    new, _ = wide(150, seed=1)
    head = HEADS["diffusion"]().fit(rows, support(labels, 3))
    few = np.concatenate([head.predict_proba(new[:70]), head.predict_proba(new[70:])])
    monkeypatch.setattr(diffusion_map, "CHUNK", 40)
    np.testing.assert_allclose(head.predict_proba(new), few, atol=1e-8)
    new[0] = -new[0]
    assert abs(head.predict_proba(new)[0] - few[0]).max() > 1e-3, "rows changed in place are new"


def test_sinkhorn_gives_every_class_its_share() -> None:
    from cvgssl.heads.transport import sinkhorn

    free = np.random.default_rng(0).dirichlet(np.ones(3), size=200)
    shares = np.array([0.5, 0.3, 0.2])
    plan = sinkhorn(free, shares)
    np.testing.assert_allclose(plan.sum(axis=1), 1)
    np.testing.assert_allclose(plan.mean(axis=0), shares, atol=1e-3)
    # only rows and columns are scaled: odds ratios stay
    odds = [one[:, 0] * one[0, 1] / (one[:, 1] * one[0, 0]) for one in (plan, free)]
    np.testing.assert_allclose(odds[0], odds[1])


def test_temperature_makes_probabilities_honest() -> None:
    """A head that is far too sure, and one that is far too doubtful, after calibration."""
    from cvgssl.heads import CalibratedHead

    rows, labels = wide(700)
    new, truth = rows[500:], labels[500:]
    target = support(labels[:500], 20)
    for scale, way in ((60.0, 1), (1.0, -1)):
        plain = HEADS["nearest-mean"](scale=scale).fit(rows[:500], target)  # type: ignore[call-arg]
        head = CalibratedHead(clone(plain)).fit(rows[:500], target)
        assert (head.temperature_ > 1) == (way > 0)
        likely = [
            np.log(one.predict_proba(new)[np.arange(200), truth].clip(1e-12)).mean()
            for one in (plain, head)
        ]
        assert likely[1] > likely[0] + 0.05
        np.testing.assert_array_equal(head.predict(new), plain.predict(new))
    assert CalibratedHead().fit(rows[:500], support(labels[:500], 1)).temperature_ == 1
