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
from pydantic import Field

from models.bundle import Bundle
from models.comparison import judged
from models.headline import recorded_headline
from models.heads import HEADS
from models.paired import Scores
from models.scored import Measured
from models.yardsticks import YARDSTICKS, Truth, Yardstick
from pipeline.dataset import EventArrays
from pipeline.declare import Declaration


class PromotionSpec(Declaration):
    """The ``[promotion]`` section: the metric has to get better by more than ``better_than_champion_by``.

    ``metric`` is that of the head: ``auc``, or ``rms`` of a regression. What counts is the gain less
    ``standard_errors`` of its paired errors: of versions that are alike chance promotes one in six with 1, one in 40
    with 2, and every other one with 0.
    """

    metric: Literal["auc", "rms"] | None = None
    better_than_champion_by: float = 0.0
    standard_errors: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion, by how much it is better, and why.

    ``difference`` is ``None`` where there is nothing to compare with.
    """

    is_promoted: bool
    difference: Measured | None
    reason: str


def decide(challenger: Bundle, champion: Bundle | None, tests: Sequence[EventArrays], spec: PromotionSpec) -> Decision:
    """Compare challenger and champion on the challenger's test events, those of all folds.

    Where the champion has other features than the dataset holds, or folds that cannot be told from the dataset, the
    recorded test numbers are compared, with their errors in quadrature, and the reason says so. A champion that finds
    something else is not compared with.
    """
    if champion is None:
        return Decision(True, None, "it is the first version")
    if problem := _another_task(challenger, champion):
        return Decision(False, None, f"the champion cannot be compared with: {problem}")
    judged_as, columns = HEADS[challenger.manifest.head].judged_as, _shared_features(challenger, champion)
    yardstick = YARDSTICKS[judged_as]
    if columns is None:
        gain = _recorded_gain(challenger, champion)
        basis = f"recorded {yardstick.name.upper()}s, other features or folds"
    else:
        ours, theirs = _scores(challenger, tests, slice(None)), _scores(champion, tests, columns)
        gain = yardstick.gain(ours, _in_order_of(challenger, champion, theirs), _truth(tests))
        basis = "the same test events" + _caveat(challenger, champion)
    # A difference whose error cannot be estimated promotes nothing, unless no error is asked for.
    doubt = spec.standard_errors * gain.error if spec.standard_errors else 0.0
    is_better = gain.value - doubt > spec.better_than_champion_by
    needed = f"more than {spec.better_than_champion_by:g}"
    needed += f" plus {spec.standard_errors:g} times that error is needed" if spec.standard_errors else " is needed"
    return Decision(is_better, gain, f"{_told(gain, yardstick)} on {basis}; {needed}")


def _told(gain: Measured, yardstick: Yardstick) -> str:
    said = "difference to the champion" if yardstick.higher_is_better else "of the champion less its own"
    value = f"{yardstick.label} {said} {gain.value:+{yardstick.form}}"
    if np.isnan(gain.error):
        return f"{value}, with an error that cannot be estimated,"
    return f"{value} ± {gain.error:{yardstick.form}} (p = {judged(gain, size=_size(gain, yardstick)).p_value:.2g})"


def _size(gain: Measured, yardstick: Yardstick) -> float:
    """Return against what rounding is small: 1 for an area, the gain itself for what has a unit."""
    return 1.0 if yardstick.higher_is_better else abs(gain.value) or 1.0


def _in_order_of(challenger: Bundle, champion: Bundle, scores: Scores) -> Scores:
    """Return the champion's scores in the order of the challenger's outputs."""
    order = [champion.manifest.outputs.index(name) for name in challenger.manifest.outputs]
    return scores if scores.ndim == 1 else scores[:, order]


def _scores(bundle: Bundle, tests: Sequence[EventArrays], columns: Any) -> Scores:
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


def _recorded_gain(challenger: Bundle, champion: Bundle) -> Measured:
    ours, theirs = (recorded_headline(bundle.read_json("evaluation.json")) for bundle in (challenger, champion))
    gain = ours.value.value - theirs.value.value
    error = float(np.hypot(ours.value.error, theirs.value.error))
    return Measured(gain if ours.higher_is_better else -gain, error)


def _truth(tests: Sequence[EventArrays]) -> Truth:
    names = "label", "target", "physics_weight"
    return Truth(*(np.concatenate([getattr(test, name) for test in tests]) for name in names))


def _another_task(challenger: Bundle, champion: Bundle) -> str:
    """Return in which way the two find different things; nothing where their scores can be held against each other."""
    ours, theirs = challenger.manifest, champion.manifest
    if ours.head != theirs.head:
        return f"it has head = {theirs.head!r}, and this version {ours.head!r}"
    if set(ours.outputs) != set(theirs.outputs):
        return f"it gives {', '.join(theirs.outputs)}, and this version {', '.join(ours.outputs)}"
    if set(ours.classes) != set(theirs.classes):
        return f"it tells {', '.join(theirs.classes)} apart, and this version {', '.join(ours.classes)}"
    (targets, made), (their_targets, their_made) = (_targets_of(bundle) for bundle in (challenger, champion))
    if different := [name for name in targets if targets[name] != their_targets[name]]:
        name = different[0]
        return f"its target {name} is {their_targets[name]!r}, and that of this version {targets[name]!r}"
    if made != their_made:
        return "its targets are made of other derived columns"
    return ""


def _targets_of(bundle: Bundle) -> tuple[dict[str, str], dict[str, str]]:
    """Return the expressions of the targets, and of the derived columns that they need."""
    targets, recipe = bundle.read_json("experiment.json").get("targets", {}), bundle.manifest.recipe
    derived = recipe.derived_for(targets.values(), bundle.manifest.columns)
    return targets, {name: recipe.derive[name] for name in sorted(derived)}
