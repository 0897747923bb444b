"""What decorrelation promises: the published measure, a gradient that turns, and a score that forgets a mass."""

from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from models.build import ModelSpec, build, head_of
from models.decorrelation import (
    DecorrelateSpec,
    Decorrelation,
    _with_slope,
    decorrelation_of,
    distance_correlation,
    nuisance_of,
)
from models.epochs import begin_epochs
from models.metrics import weighted_auc
from models.training import TrainingEvents, TrainingSpec, train
from pipeline.dataset import EventArrays
from pipeline.errors import DataError
from pipeline.nuisance import UNKNOWN, Ranks
from pipeline.shuffle import EventsInMemory
from pipeline.table import EventTable, pack

Array = NDArray[np.float64]
Method = Literal["distance-correlation", "adversary"]
MODEL = ModelSpec(architecture="mlp", options={"widths": [16]})
N_EVENTS = 4000
METHODS: list[Method] = ["distance-correlation", "adversary"]
STRENGTH = {"distance-correlation": 3.0, "adversary": 5.0}


def by_double_sums(x: Array, y: Array, weights: Array) -> float:
    """Compute the squared distance correlation as the definition writes it, sum by sum."""
    w = weights / weights.sum()

    def centred(v: Array) -> Array:
        distance = np.array([[abs(a - b) for a in v] for b in v])
        rows = np.array([sum(w * row) for row in distance])
        return np.array([[distance[i, j] - rows[i] - rows[j] + sum(w * rows) for j in range(len(v))]
                         for i in range(len(v))])  # fmt: skip

    def covariance(a: Array, b: Array) -> float:
        return float(sum(w[i] * w[j] * a[i, j] * b[i, j] for i in range(len(w)) for j in range(len(w))))

    a, b = centred(x), centred(y)
    return covariance(a, b) / np.sqrt(covariance(a, a) * covariance(b, b))


def correlation(x: Array, y: Array, weights: Array | None = None) -> float:
    weights = np.ones(len(x)) if weights is None else weights
    return float(distance_correlation(*(values.astype(np.float32) for values in (x, y, weights))))


def test_the_measure_is_that_of_its_definition() -> None:
    generator = np.random.default_rng(1)
    x, weights = generator.normal(size=40), generator.uniform(0, 2, 40)
    y = x**2 + generator.normal(0, 0.3, 40)
    assert correlation(x, y, weights) == pytest.approx(by_double_sums(x, y, weights), rel=1e-4)


@pytest.mark.parametrize("slope", [0.5, -3.0])
def test_what_is_proportional_has_a_distance_correlation_of_1(slope: float) -> None:
    x = np.random.default_rng(2).normal(size=300)
    assert correlation(x, slope * x + 1) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e-6, 1e-8])
def test_a_score_cannot_hide_what_it_tells_by_being_small(unit: float) -> None:
    mass = np.random.default_rng(1).normal(size=500)
    scores = (unit * (0.5 + 0.1 * np.tanh(mass))).astype(np.float32)
    found = float(distance_correlation(scores, mass.astype(np.float32), np.ones(500, dtype=np.float32)))
    assert found == pytest.approx(0.98, abs=0.02)


def test_what_is_independent_has_none_to_speak_of() -> None:
    x, y = np.random.default_rng(3).normal(size=(2, 1000))
    assert correlation(x, y) < 0.01


def test_an_event_of_weight_2_counts_as_two() -> None:
    generator = np.random.default_rng(4)
    x, y, counts = generator.normal(size=100), generator.normal(size=100), generator.integers(0, 4, 100)
    assert correlation(x, y, counts.astype(float)) == pytest.approx(
        correlation(np.repeat(x, counts), np.repeat(y, counts)), rel=1e-3
    )


def test_ranks_are_even_and_what_is_missing_or_alike_is_told() -> None:
    values = np.random.default_rng(5).exponential(80, 20_000)
    ranks = Ranks.learn(np.append(values, np.inf)).apply(np.append(values, [np.nan, -5.0, 1e9]))
    assert Ranks.learn(values).apply(np.array([np.inf, -np.inf])).tolist() == [UNKNOWN, UNKNOWN]
    assert np.histogram(ranks[:-3], 4, (0, 1))[0] == pytest.approx(5000, abs=60)
    assert ranks[-3:].tolist() == [UNKNOWN, 0.0, 1.0]
    assert Ranks.learn(np.repeat([0.0, 1.0], 500)).apply(np.array([0.0, 1.0])) == pytest.approx([0.25, 0.75], abs=2e-3)


def mass_toy(seed: int) -> tuple[EventTable, Array]:
    """Draw a background in which one input is nearly the mass, and another, as good, has nothing to do with it."""
    generator = np.random.default_rng(seed)
    labels = np.arange(N_EVENTS) % 2
    mass = np.where(labels, generator.normal(0.5, 0.08, N_EVENTS), generator.uniform(0, 1, N_EVENTS))
    bump = -((mass - 0.5) ** 2) * 20 + generator.normal(0, 0.2, N_EVENTS)
    free = generator.normal(size=N_EVENTS) + 1.5 * labels
    inputs = np.column_stack([bump, free]).astype(np.float32)
    weights = generator.uniform(-0.1, 1.5, N_EVENTS)
    return pack(inputs, np.column_stack([labels, mass]), weights), mass


def decorrelation(method: Method, strength: float) -> Decorrelation:
    spec = DecorrelateSpec(variable="mass", method=method, strength=strength)
    return decorrelation_of(spec, head_of(MODEL).output.score)


def trained(method: Method | None, **more: Any) -> tuple[Any, Any]:
    """Train on the toy, with a penalty or without, and return the record and what the network makes of new events."""
    tables = [mass_toy(seed)[0] for seed in (1, 2)]
    if method is None:
        tables = [pack(t.inputs, t.labels, t.weights) for t in tables]
    spec = TrainingSpec(epochs=25, batch_size=200, learning_rate=0.01, early_stopping=None, **more)
    network, found = build(MODEL, 2, 2, seed=1), decorrelation(method, STRENGTH[method]) if method else None
    events = TrainingEvents(*(EventsInMemory(table) for table in tables))
    record = train(network, head_of(MODEL).loss(), spec, events, ("bump", "free"), 1, decorrelation=found)
    return record, lambda inputs: 1 / (1 + np.exp(-np.float64(network(inputs))[:, 0]))


def judged(score: Any) -> tuple[float, float]:
    """Return the AUC and the distance correlation of score and mass in the background."""
    table, mass = mass_toy(3)
    scores, background = score(table.inputs), np.flatnonzero(table.labels == 0)[:1000]
    return weighted_auc(scores, table.labels), correlation(scores[background], mass[background])


@pytest.mark.parametrize("method", METHODS)
def test_the_score_forgets_the_mass_and_still_separates(method: Method) -> None:
    (_, plain), (record, free) = trained(None), trained(method)
    before, after = judged(plain), judged(free)
    assert record.is_compiled
    assert before[1] > 0.03
    assert after[1] < before[1] / 3
    # The free input alone has Phi(1.5 / √2) = 0.856.
    assert 0.83 < after[0] < before[0]


def test_the_epoch_that_is_kept_is_the_best_by_loss_and_penalty_together() -> None:
    record, _ = trained("distance-correlation")
    objectives = [epoch["validation_loss"] + epoch["penalty"] for epoch in record.history]
    assert all(epoch["penalty"] > 0 for epoch in record.history)
    assert record.best_epoch == 1 + int(np.argmin(objectives))


def test_a_reversed_gradient_has_the_other_sign_and_the_value_stays() -> None:
    import tensorflow as tf

    x = tf.constant([1.0, 4.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(_with_slope(x, -3.0) ** 2)
    assert float(value) == pytest.approx(17)
    assert tape.gradient(value, x).numpy() == pytest.approx([-6.0, -24.0])


@pytest.mark.parametrize(("method", "n_variables"), [("distance-correlation", 0), ("adversary", 4)])
def test_only_an_adversary_has_something_to_learn(method: Method, n_variables: int) -> None:
    assert len(decorrelation(method, 5.0).variables) == n_variables


@pytest.mark.parametrize("method", METHODS)
def test_averages_clipping_and_caps_go_with_it(method: Method) -> None:
    record, score = trained(
        method, averaged_weights={"decay": 0.9}, gradient_clipping={"norm": 1.0}, max_norm=3.0, l2=1e-4
    )
    assert record.is_compiled
    assert judged(score)[0] > 0.8


def test_events_of_no_class_weight_or_mass_have_no_say() -> None:
    table, _ = mass_toy(1)
    found, outputs = decorrelation("distance-correlation", 1.0), table.inputs[:, :1]
    value = found.penalty(table.targets, outputs, table.weights)
    unseen = np.array(table.targets)
    unseen[::4, -1] = UNKNOWN
    weights = np.where(np.arange(N_EVENTS) % 4, table.weights, 1e6).astype(np.float32)
    signal = np.where(table.labels > 0, 100.0, weights).astype(np.float32)
    kept = np.where(np.arange(N_EVENTS) % 4, table.weights, 0).astype(np.float32)
    assert float(found.penalty(unseen, outputs, signal)) == pytest.approx(
        float(found.penalty(table.targets, outputs, kept)), rel=1e-3
    )
    assert float(value) > 0


def arrays(mass: Array) -> EventArrays:
    n = len(mass)
    zeros = np.zeros(n)
    return EventArrays(zeros[:, None], mass[:, None], zeros.astype(np.int8), zeros[:, None], *[zeros] * 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(("mass", "what"), [(np.full(9, 7.0), "is 7"), (np.full(9, np.nan), "is missing")])
def test_a_variable_that_never_changes_is_refused(mass: Array, what: str) -> None:
    with pytest.raises(DataError, match=f"'mass' {what} in all 9 training events of 'background'"):
        nuisance_of(DecorrelateSpec(variable="mass"), ("mass",), arrays(mass))


def test_keras_own_loop_refuses_it() -> None:
    table = EventsInMemory(mass_toy(1)[0])
    spec = replace_compiled(TrainingSpec())
    with pytest.raises(Exception, match="decorrelate needs the compiled epoch"):
        begin_epochs(build(MODEL, 2, 2, 1), head_of(MODEL).loss(), spec, table, table, 1, decorrelation(METHODS[0], 1))


def replace_compiled(spec: TrainingSpec) -> TrainingSpec:
    return spec.model_copy(update={"compiled": False})


@pytest.mark.parametrize("strength", [0, -1, float("inf")])
def test_a_strength_that_is_none_is_refused(strength: float) -> None:
    with pytest.raises(ValidationError, match="strength"):
        DecorrelateSpec(variable="mass", strength=strength)
