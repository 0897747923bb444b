"""Questions: what ``[evaluation]`` may ask about which network.

Most of what can be asked is about a score that tells signal from background: thresholds, yields, probabilities of
signal. Owns the table of what applies to the networks of other heads.
"""

from collections.abc import Mapping

from models.evaluation import EvaluationSpec
from models.heads import HEADS, JudgedAs
from models.rivals import RIVALS

APPLY: Mapping[JudgedAs, frozenset[str]] = {
    "signal": frozenset(EvaluationSpec.model_fields),
    "class": frozenset({"replicas", "baselines"}),
    "flags": frozenset({"replicas", "baselines"}),
    "quantities": frozenset({"baselines"}),
}
"""The keys of ``[evaluation]`` that are answered."""


def unanswerable(spec: EvaluationSpec, head: str) -> list[str]:
    """Return one sentence for every key that was given and that the network of this head has no answer to."""
    answered = APPLY[HEADS[head].judged_as]
    able = {key: " or ".join(repr(n) for n, h in HEADS.items() if key in APPLY[h.judged_as]) for key in _given(spec)}
    problems = [
        f"evaluation.{key} is no question to head = {head!r}; it needs head = {able[key]}"
        for key in able
        if key not in answered
    ]
    _, rivals = RIVALS[HEADS[head].judged_as]
    if others := [repr(name) for name in spec.baselines if name not in rivals]:
        msg = f"evaluation.baselines: {', '.join(others)} cannot rival head = {head!r}"
        problems.append(f"{msg}; there are: {', '.join(sorted(rivals))}")
    return problems


def _given(spec: EvaluationSpec) -> list[str]:
    """Return the keys that say something else than a default would; defaults written down are no question."""
    asked = spec.model_dump()
    return sorted(key for key in spec.model_fields_set if asked[key] != _default(key))


def _default(key: str) -> object:
    return EvaluationSpec.model_fields[key].default
