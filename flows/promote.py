"""Promotion: whether a new version becomes champion.

Owns the ``[promotion]`` section and the decision; who holds the alias is ``tracking``'s knowledge. The
first version of a model becomes champion; a later one only if it is better on events that neither has
seen: the test part, which by its hashed split is the same for every version trained on these events with
this ``[split]``. After another split the champion may have been trained on some of them, which can only
flatter the champion; the reason says so.
"""

from dataclasses import dataclass
from typing import Any, Literal

from models.bundle import Bundle
from models.evaluation import Evaluation
from models.metrics import auc_difference
from models.scored import Measured
from pipeline.dataset import EventArrays
from pipeline.declare import Declaration


class PromotionSpec(Declaration):
    """The ``[promotion]`` section: the metric has to rise by more than ``better_than_champion_by``."""

    metric: Literal["auc"] = "auc"
    better_than_champion_by: float = 0.0


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion, by how much it is better (``None``: there is no champion), and why."""

    is_promoted: bool
    difference: Measured | None
    reason: str


def decide(challenger: Bundle, champion: Bundle | None, test: EventArrays, spec: PromotionSpec) -> Decision:
    """Compare challenger and champion on the challenger's test events.

    Where the champion has other features than the dataset holds, the recorded test AUCs are compared, with
    their errors in quadrature, and the reason says so.
    """
    if champion is None:
        return Decision(True, None, "it is the first version")
    columns = _shared_features(challenger, champion)
    if columns is None:
        difference, basis = _recorded_difference(challenger, champion), "recorded AUCs, other features"
    else:
        scores = [challenger.score_features(test.features), champion.score_features(test.features[:, columns])]
        difference = auc_difference(scores[0], scores[1], test.label, test.physics_weight)
        basis = "the same test events" + _caveat(challenger, champion)
    is_better = difference.value > spec.better_than_champion_by
    comparison = f"AUC difference to the champion {difference.value:+.5f} ± {difference.error:.5f} on {basis}"
    return Decision(is_better, difference, f"{comparison}; more than {spec.better_than_champion_by:g} is needed")


def _shared_features(challenger: Bundle, champion: Bundle) -> list[int] | None:
    """Return where the champion's features stand among the challenger's, or ``None`` if one is not there."""
    ours, theirs = challenger.manifest.recipe, champion.manifest.recipe
    used = theirs.derived_for(theirs.inputs, champion.manifest.columns)
    is_same = all(ours.derive.get(name) == theirs.derive[name] for name in used)
    is_same &= (ours.sentinels, ours.own_sentinels) == (theirs.sentinels, theirs.own_sentinels)
    if not is_same or not set(theirs.inputs) <= set(ours.inputs):
        return None
    return [ours.inputs.index(name) for name in theirs.inputs]


def _caveat(challenger: Bundle, champion: Bundle) -> str:
    ours, theirs = (_split_of(bundle) for bundle in (challenger, champion))
    return "" if ours == theirs else ", some of which the champion may have been trained on (another split)"


def _split_of(bundle: Bundle) -> tuple[Any, ...]:
    """Return all that decides which part an event is in; an identity by content is one by certain columns."""
    split = bundle.read_json("experiment.json")["split"]
    return split, sorted(bundle.manifest.columns) if split["by"] == "content" else None


def _recorded_difference(challenger: Bundle, champion: Bundle) -> Measured:
    ours, theirs = (Evaluation.from_json(bundle.read_json("evaluation.json")).auc for bundle in (challenger, champion))
    return Measured(ours.value - theirs.value, (ours.error**2 + theirs.error**2) ** 0.5)
