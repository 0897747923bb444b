"""Verdicts: what the records of several classes, of labels and of quantities say, in plain words.

Owns the words, and when a number is put into them; the numbers were made elsewhere.
"""

from collections.abc import Sequence
from math import isfinite

import numpy as np

from models.confusion import Confusion
from models.multiclass import MulticlassEvaluation
from models.multilabel import MultilabelEvaluation
from models.overtraining import Gap
from models.profiles import ResidualProfile
from models.report.matrix import strongest
from models.report.numbers import measured, plus_minus, share
from models.residuals import QuantityFinding
from models.scored import Measured

N_ERRORS = 3.0
"""Standard errors beyond which a difference is not taken for chance."""
HEAVY_TAILS = 1.2
"""The ratio of RMS and half-width, 1 for a Gaussian, from which on tails are spoken of."""
MATTERS = 0.01
"""The size of a slope below which it is not worth a correction."""


def confusion_sentence(found: MulticlassEvaluation) -> str:
    """Say how often the class is right, and which two classes are confused most."""
    names, matrix = found.classes, found.confusion
    right = f"{share(found.accuracy)} % of the test events are taken for what they are"
    balanced = f"{share(found.balanced_accuracy)} % if every class counts alike."
    mistakes = np.where(np.eye(len(names), dtype=bool), np.nan, matrix.efficiencies.values)
    places = strongest(mistakes, 1)
    if not places or not mistakes[places[0]] > 0.0:
        return f"{right}, {balanced} No class is taken for another."
    return f"{right}, {balanced} The most frequent confusion: {_confused(names, *places[0], matrix)}."


def labels_sentence(found: MultilabelEvaluation) -> str:
    """Say how often all labels are right, and which label is found worst."""
    worst = min(found.outputs, key=lambda output: output.auc.value)
    return (
        f"Of {share(found.exact_match)} % of the test events every label is right. The label that is found worst is "
        f"{worst.name}, with an AUC of {measured(worst.auc)}."
    )


def gap_sentence(name: str, found: Gap) -> str:
    """Say what the difference of training and test part means for a number of this name, such as ``mean AUC``."""
    gap = found.gap
    if not isfinite(gap.error):
        return f"Whether the network is overtrained cannot be told: the error of {name} cannot be estimated."
    difference = f"{name}(train) - {name}(test) = {plus_minus(gap)}"
    if found.verdict == "none seen":
        return f"No overtraining is seen: {difference}."
    if found.verdict == "seen but harmless":
        return f"The training part does differently by more than chance explains, but harmlessly: {difference}."
    return (
        f"The training and test part differ: {difference}. Either the network knows its training events too well, or "
        "the parts are not alike. The number of the test part remains an honest one."
    )


def residuals_sentence(found: QuantityFinding) -> str:
    """Say how far predictions are off, what was gained, and how heavy the tails are."""
    gained = found.rms.value / found.trivial_rms.value if found.trivial_rms.value > 0.0 else float("nan")
    gain = f", {100.0 * gained:.3g} % of that of predicting the same for every event" if isfinite(gained) else ""
    return (
        f"The predictions of {found.name} are off by {measured(found.rms)} (RMS){gain}; the central 68 % lie within "
        f"± {measured(found.width)} of {measured(found.median)}. {_bias(found.bias)} {_tails(found)}"
    )


def dependence_sentence(found: QuantityFinding) -> str:
    """Say whether residuals depend on the true value, and whether predictions could be corrected."""
    on_true, on_predicted = found.against_true, found.against_predicted
    if not isfinite(on_true.slope.error) or not isfinite(on_predicted.slope.error):
        return f"Whether the residuals of {found.name} depend on its value cannot be told."
    return f"{_on_true(on_true.slope)} {_on_predicted(on_predicted)}"


def _confused(names: Sequence[str], row: int, column: int, matrix: Confusion) -> str:
    forth, back = (_cell(matrix, *place) for place in ((row, column), (column, row)))
    true, chosen = names[row], names[column]
    how_many = f"{share(back)} %" if back.value else "none"
    in_turn = f"{how_many} of the {chosen} events for {true}"
    return f"{share(forth)} % of the {true} events are taken for {chosen} (and {in_turn})"


def _cell(matrix: Confusion, row: int, column: int) -> Measured:
    found = matrix.efficiencies
    return Measured(float(found.values[row, column]), float(found.errors[row, column]))


def _bias(bias: Measured) -> str:
    if not isfinite(bias.error):
        return f"Their mean is {measured(bias)}."
    if abs(bias.value) <= N_ERRORS * bias.error:
        return f"No bias is seen: the mean residual is {measured(bias)}."
    return (
        f"They are biased: the mean residual is {measured(bias)}, {abs(bias.value) / bias.error:.0f} errors from none."
    )


def _tails(found: QuantityFinding) -> str:
    beyond = f"{share(found.tails)} % of the events lie beyond three half-widths, where a Gaussian has 0.27 %"
    if found.width.value > 0.0 and found.rms.value > HEAVY_TAILS * found.width.value:
        ratio = found.rms.value / found.width.value
        return f"The tails are heavy: {beyond}, and the RMS is {ratio:.2g} times the half-width."
    return f"{beyond}."


def _on_true(slope: Measured) -> str:
    where = f"with each unit of the true value the mean residual changes by {measured(slope)}"
    if abs(slope.value) <= N_ERRORS * slope.error:
        return f"No dependence on the true value is seen: {where}."
    if slope.value > 0.0:
        return f"The bias depends on the true value: {where}, as if differences between events were exaggerated."
    return (
        f"The bias depends on the true value: {where}, large values being predicted too small in comparison with small "
        "ones. That has to be so where the inputs do not tell everything (regression to the mean)."
    )


def _on_predicted(profile: ResidualProfile) -> str:
    slope = profile.slope
    where = f"with each unit of the predicted value the mean residual changes by {measured(slope)}"
    if abs(slope.value) <= N_ERRORS * slope.error:
        return f"No straight dependence on the predicted value is seen, so there is none to correct: {where}."
    if abs(slope.value) < MATTERS:
        return f"The dependence on the predicted value is too small to matter: {where}."
    return f"The bias depends on the predicted value as well, so that predictions could be corrected: {where}."
