"""Promotion: whether a new version becomes champion.

Owns the ``[promotion]`` section and the decision; who holds the alias is ``tracking``'s knowledge. The
first version of a model becomes champion; a later one only if it is better on events that neither has
seen: the test part, which by its hashed split is the same for every version trained on these events with
this ``[split]``. After another split the champion may have been trained on some of them, which can only
flatter the champion; the reason says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.bundle import Bundle
from models.comparison import judged
from models.metrics import auc_difference
from models.record import recorded_auc
from models.scored import Measured
from pipeline.dataset import EventArrays
from pipeline.declare import Declaration


class PromotionSpec(Declaration):
    """The ``[promotion]`` section: the metric has to rise by more than ``better_than_champion_by``.

    What counts is the rise less ``standard_errors`` of its paired errors: of versions that are alike chance promotes
    one in six with 1, one in 40 with 2, and every other one with 0.
    """

    metric: Literal["auc"] = "auc"
    better_than_champion_by: float = 0.0
    standard_errors: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion, by how much it is better (``None``: there is no champion), and why."""

    is_promoted: bool
    difference: Measured | None
    reason: str


def decide(challenger: Bundle, champion: Bundle | None, tests: Sequence[EventArrays], spec: PromotionSpec) -> Decision:
    """Compare challenger and champion on the challenger's test events, those of all folds.

    Where the champion has other features than the dataset holds, or folds that cannot be told from the dataset, the
    recorded test AUCs are compared, with their errors in quadrature, and the reason says so.
    """
    if champion is None:
        return Decision(True, None, "it is the first version")
    columns = _shared_features(challenger, champion)
    if columns is None:
        difference, basis = _recorded_difference(challenger, champion), "recorded AUCs, other features or folds"
    else:
        scores = [_scores(challenger, tests, slice(None)), _scores(champion, tests, columns)]
        labels, weights = (np.concatenate([getattr(t, n) for t in tests]) for n in ("label", "physics_weight"))
        difference = auc_difference(scores[0], scores[1], labels, weights)
        basis = "the same test events" + _caveat(challenger, champion)
    # A difference whose error cannot be estimated promotes nothing, unless no error is asked for.
    doubt = spec.standard_errors * difference.error if spec.standard_errors else 0.0
    is_better = difference.value - doubt > spec.better_than_champion_by
    found = f"{difference.value:+.5f} ± {difference.error:.5f} (p = {judged(difference).p_value:.2g})"
    if np.isnan(difference.error):
        found = f"{difference.value:+.5f}, with an error that cannot be estimated,"
    needed = f"more than {spec.better_than_champion_by:g}"
    needed += f" plus {spec.standard_errors:g} times that error is needed" if spec.standard_errors else " is needed"
    return Decision(is_better, difference, f"AUC difference to the champion {found} on {basis}; {needed}")


def _scores(bundle: Bundle, tests: Sequence[EventArrays], columns: Any) -> NDArray[np.float32]:
    """Return the bundle's scores of the events of all parts, each by a network that has not seen it."""
    return np.concatenate(
        [
            bundle.score_features(test.features[:, columns], test.content[:, 0] if bundle.manifest.folds > 1 else None)
            for test in tests
        ]
    )


def _shared_features(challenger: Bundle, champion: Bundle) -> list[int] | None:
    """Return where the champion's features stand among the challenger's, or ``None`` if one is not there."""
    ours, theirs = challenger.manifest.recipe, champion.manifest.recipe
    used = theirs.derived_for(theirs.texts, champion.manifest.columns)
    is_same = all(ours.derive.get(name) == theirs.derive[name] for name in used)
    is_same &= ours.collections | theirs.collections == ours.collections and ours.images | theirs.images == ours.images
    is_same &= (ours.sentinels, ours.own_sentinels) == (theirs.sentinels, theirs.own_sentinels)
    # With folds an event is known by the columns of all features: other columns, and it would be taken for new.
    is_same &= champion.manifest.folds == 1 or _is_known_alike(challenger, champion)
    places = {name: place for place, name in enumerate(ours.names)}
    if not is_same or not places.keys() >= {*theirs.names}:
        return None
    return [places[name] for name in theirs.names]


def _is_known_alike(challenger: Bundle, champion: Bundle) -> bool:
    return challenger.manifest.folds > 1 and challenger.manifest.columns.keys() == champion.manifest.columns.keys()


def _caveat(challenger: Bundle, champion: Bundle) -> str:
    ours, theirs = (_split_of(bundle) for bundle in (challenger, champion))
    return "" if ours == theirs else ", some of which the champion may have been trained on (another split)"


def _split_of(bundle: Bundle) -> tuple[Any, ...]:
    """Return all that decides which part an event is in; an identity by content is one by certain columns."""
    split = bundle.read_json("experiment.json")["split"]
    return split, sorted(bundle.manifest.columns) if split["by"] == "content" else None


def _recorded_difference(challenger: Bundle, champion: Bundle) -> Measured:
    ours, theirs = (recorded_auc(bundle.read_json("evaluation.json")) for bundle in (challenger, champion))
    return Measured(ours.value - theirs.value, (ours.error**2 + theirs.error**2) ** 0.5)
