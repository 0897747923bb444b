"""One honest record of how good a scorer is, on events that it did not learn from.

Owns which question is asked of which part of the data, and the record of the answers: the AUC and the
curves are quoted on the test part; thresholds are chosen on the validation part and quoted on the test
part; the training part is looked at only to see how far it differs. The definitions are in ``metrics``,
the pictures in ``plots``, the page in ``report``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.metrics import Roc, auc_with_error, thin_roc, weighted_roc
from models.scored import Measured, effective_events
from models.working_points import WorkingPoint, efficiency_at, working_point
from pipeline.declare import Declaration
from pipeline.errors import DataError

PartName = Literal["train", "validation", "test"]
Kind = Literal["signal", "background"]

KINDS: tuple[Kind, Kind] = ("signal", "background")
N_BINS = 40
N_ROC_POINTS = 500


class EvaluationSpec(Declaration):
    """The ``[evaluation]`` section of an experiment file.

    ``background_uncertainty`` and ``baselines`` are read and checked; the evaluation does not use them yet.
    """

    signal_efficiencies: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = (0.3, 0.5, 0.7)
    background_uncertainty: float = Field(default=0.1, ge=0.0, allow_inf_nan=False)
    baselines: tuple[Annotated[str, Field(min_length=1)], ...] = ()


@dataclass(frozen=True, eq=False)
class ScoredPart:
    """Events of one part of the data: scores, labels (1 = signal), physics weights, each ``(n_events,)``."""

    scores: NDArray[np.floating]
    labels: NDArray[np.integer]
    weights: NDArray[np.floating]


@dataclass(frozen=True)
class ClassCount:
    """How many events of one class a part has, and what their weights amount to."""

    part: PartName
    kind: Kind
    events: int
    sum_of_weights: float
    effective_events: float
    negative_weights: int


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """Sums of weights, and of squared weights, in equal bins of the score from 0 to 1.

    Scores outside fall into the first or last bin, so that the sums are those of all events.
    """

    part: PartName
    kind: Kind
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]

    @property
    def edges(self) -> NDArray[np.float64]:
        """The bin edges, ``(n_bins + 1,)``."""
        return np.linspace(0.0, 1.0, self.sums.size + 1)

    def density(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the histogram at unit area and its errors (those of the bin contents alone)."""
        scale = self.sums.size / self.sums.sum()
        return self.sums * scale, np.sqrt(self.squares) * abs(scale)


@dataclass(frozen=True)
class QuotedPoint:
    """A threshold chosen on the validation part for a signal efficiency, and what it does on the test part."""

    requested: float
    quoted: WorkingPoint


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The record: numbers of the test part, unless their name says otherwise.

    ``gap`` is AUC(train) - AUC(test), its error the two in quadrature; ``roc`` is thinned.
    """

    auc: Measured
    auc_train: Measured
    auc_validation: Measured
    gap: Measured
    roc: Roc
    working_points: tuple[QuotedPoint, ...]
    histograms: tuple[ScoreHistogram, ...]
    counts: tuple[ClassCount, ...]

    def histogram(self, part: PartName, kind: Kind) -> ScoreHistogram:
        """Return the score histogram of a class in the train or test part."""
        return next(found for found in self.histograms if (found.part, found.kind) == (part, kind))

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain lists and dictionaries; a number that does not exist is ``None``."""
        record = asdict(self)
        for point, written in zip(self.working_points, record["working_points"], strict=True):
            written["quoted"]["rejection"] = asdict(point.quoted.rejection)
        plain: dict[str, Any] = _plain(record)
        return plain

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Evaluation":
        """Read back what `to_json` gave."""
        return cls(
            auc=_measured(record["auc"]),
            auc_train=_measured(record["auc_train"]),
            auc_validation=_measured(record["auc_validation"]),
            gap=_measured(record["gap"]),
            roc=_roc(record["roc"]),
            working_points=tuple(_quoted_point(point) for point in record["working_points"]),
            histograms=tuple(_histogram(histogram) for histogram in record["histograms"]),
            counts=tuple(ClassCount(**count) for count in record["counts"]),
        )


def evaluate(train: ScoredPart, validation: ScoredPart, test: ScoredPart, spec: EvaluationSpec) -> Evaluation:
    """Judge scores on the three parts of a data set.

    Raises:
        DataError: a part cannot be judged: lengths differ, a class is missing or has no positive sum of
            weights, or scores are not finite; the message names the part.

    """
    parts: dict[PartName, ScoredPart] = {"train": train, "validation": validation, "test": test}
    areas = {name: _auc(name, part) for name, part in parts.items()}
    return Evaluation(
        auc=areas["test"],
        auc_train=areas["train"],
        auc_validation=areas["validation"],
        gap=_difference(areas["train"], areas["test"]),
        roc=thin_roc(weighted_roc(test.scores, test.labels, test.weights), N_ROC_POINTS),
        working_points=tuple(_quote(spec.signal_efficiencies, validation, test)),
        histograms=tuple(_fill(name, kind, parts[name]) for name in ("train", "test") for kind in KINDS),
        counts=tuple(_count(name, kind, part) for name, part in parts.items() for kind in KINDS),
    )


def _auc(name: PartName, part: ScoredPart) -> Measured:
    try:
        return auc_with_error(part.scores, part.labels, part.weights)
    except DataError as error:
        msg = f"the {name} part cannot be judged: {error}"
        raise DataError(msg) from error


def _difference(one: Measured, other: Measured) -> Measured:
    # The parts share no event, so their fluctuations are independent.
    return Measured(one.value - other.value, float(np.hypot(one.error, other.error)))


def _quote(efficiencies: tuple[float, ...], validation: ScoredPart, test: ScoredPart) -> Iterator[QuotedPoint]:
    roc = weighted_roc(validation.scores, validation.labels, validation.weights)
    for requested in efficiencies:
        threshold = working_point(roc, requested)
        yield QuotedPoint(requested, efficiency_at(threshold, test.scores, test.labels, test.weights))


def _fill(name: PartName, kind: Kind, part: ScoredPart) -> ScoreHistogram:
    members = _members(kind, part)
    weights = np.asarray(part.weights[members], dtype=np.float64)
    bins = np.clip(part.scores[members] * N_BINS, 0, N_BINS - 1).astype(np.intp)
    return ScoreHistogram(
        part=name,
        kind=kind,
        sums=np.bincount(bins, weights=weights, minlength=N_BINS).astype(np.float64),
        squares=np.bincount(bins, weights=weights**2, minlength=N_BINS).astype(np.float64),
    )


def _count(name: PartName, kind: Kind, part: ScoredPart) -> ClassCount:
    weights = np.asarray(part.weights[_members(kind, part)], dtype=np.float64)
    return ClassCount(
        part=name,
        kind=kind,
        events=weights.size,
        sum_of_weights=float(weights.sum()),
        effective_events=effective_events(weights),
        negative_weights=int(np.count_nonzero(weights < 0.0)),
    )


def _members(kind: Kind, part: ScoredPart) -> NDArray[np.bool_]:
    return np.asarray(part.labels == (1 if kind == "signal" else 0))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    return value


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _measured(record: Mapping[str, Any]) -> Measured:
    return Measured(_number(record["value"]), _number(record["error"]))


def _roc(record: Mapping[str, Any]) -> Roc:
    fpr, tpr = np.array(record["fpr"]), np.array(record["tpr"])
    # The curve begins above every score, at +inf, which JSON cannot say.
    return Roc(fpr, tpr, np.array([np.inf, *record["thresholds"][1:]]))


def _quoted_point(record: Mapping[str, Any]) -> QuotedPoint:
    quoted = record["quoted"]
    point = WorkingPoint(
        threshold=_number(quoted["threshold"]),
        signal_efficiency=_measured(quoted["signal_efficiency"]),
        background_efficiency=_measured(quoted["background_efficiency"]),
        purity=_measured(quoted["purity"]),
        n_signal=quoted["n_signal"],
        n_background=quoted["n_background"],
    )
    return QuotedPoint(record["requested"], point)


def _histogram(record: Mapping[str, Any]) -> ScoreHistogram:
    sums, squares = np.array(record["sums"]), np.array(record["squares"])
    return ScoreHistogram(record["part"], record["kind"], sums, squares)
