"""One record in which everything is answered, and its pictures, drawn once for all tests that look at them."""

import numpy as np
import pytest

from models.anatomy import Call
from models.evaluation import EvaluationSpec, ScoredPart, evaluate
from models.inputs import judge_inputs
from models.record import Evaluation
from models.report.network import network_picture
from models.report.picture import Picture
from models.report.pictures import pictures_of

LONG_EXPRESSION = "sqrt(" + " + ".join(f"track_{i}_momentum**2" for i in range(20)) + ")"


def part(seed: int, n_events: int = 900) -> ScoredPart:
    random = np.random.default_rng(seed)
    labels = np.arange(n_events) % 2
    spectators = {"mass*pt": random.exponential(size=n_events), "mass/pt": random.normal(size=n_events)}
    spectators |= {"field": np.full(n_events, 3.8), LONG_EXPRESSION: random.normal(size=n_events)}
    return ScoredPart(
        random.beta(2 + 2 * labels, 4 - 2 * labels),
        labels,
        np.ones(n_events),
        spectators,
        samples=np.where(labels == 1, 0, 1 + random.integers(0, 2, n_events)),
        folds=random.integers(0, 3, n_events),
    )


@pytest.fixture(scope="session")
def whole() -> Evaluation:
    random, test = np.random.default_rng(1), part(4)
    features = np.stack((test.scores, random.normal(size=900)), axis=1)
    return evaluate(
        part(2), part(3), test,
        EvaluationSpec(replicas=20, calibration="platt", templates=True),
        random=random,
        rivals={"fisher": test.scores + 0.3 * random.normal(size=900)},
        inputs=judge_inputs(lambda x: x[:, 0], features, features, ("dE/dx", "eta"), test.labels, test.weights, random),
        samples={"muons": "signal", "pions": "background", "kaons": "background"},
    )  # fmt: skip


@pytest.fixture(scope="session")
def drawn(whole: Evaluation) -> tuple[Picture, ...]:
    norms = {"dense": 0.1, "logits": 0.2}
    history = [{"epoch": n, "loss": 1.0 / n, "learning_rate": 1e-3, "gradient_norms": norms} for n in range(1, 4)]
    calls = [Call("inputs", "inputs", (2,), 0, False, ()), Call("logits", "dense", (1,), 3, True, (0,))]
    found = pictures_of(whole, [history] * 3, {"background": "pions", "signal": "muons"})
    return *found, network_picture(calls)
