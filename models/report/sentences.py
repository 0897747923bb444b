"""Sentences: what an evaluation says, in plain words.

Owns the words, and where a p-value or a spread is small enough to be put into them; tolerances were decided where
the numbers were made.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, log
from typing import Literal

from models.agreement import Agreement
from models.gradients import TOLERANCE, GradientFlow, Verdict
from models.overtraining import Ending, Overtraining, ScoreDistance
from models.record import Dependence, NamedPoint, Probabilities, Significance
from models.report.numbers import measured, number, p_value, plus_minus

NegativePolicy = Literal["keep", "drop", "absolute", "refuse"]

NEGATIVE_WEIGHTS: dict[NegativePolicy, str] = {
    "keep": "Negative weights were kept: they count with their sign in loss, metrics and pictures.",
    "drop": "Events of negative weight were dropped, and are counted in the cut-flow.",
    "absolute": "Negative weights were replaced by their absolute values.",
    "refuse": "Negative weights were refused, so there are none.",
}

MOST_SPREADS = 3.0
"""What is above chance by more spreads than this is not taken for chance."""

DISAGREEMENT = 0.01
"""The p-value below which the networks of the folds are not alike."""

MEASURES = {
    "asimov": ("Asimov", "median discovery significance of a counting experiment, with the background uncertainty"),
    "ams": (
        "AMS",
        "approximate median significance: the same without that uncertainty, and with 10 events more of background",
    ),
    "s_over_sqrt_b": ("s/√b", "what both tend to for little signal on much well-known background; too large elsewhere"),
    "s_over_sqrt_s_plus_b": ("s/√(s+b)", "one over the relative error with which the signal yield is measured"),
}
"""The significances: name on the page, and definition."""

ENDINGS: Mapping[Ending, str] = {
    "falling": "still fell at the end; more epochs may help",
    "level": "was level at the end",
    "rising": "rose after the epoch that was kept",
}
"""How the validation loss ended, in words."""

GRADIENTS: Mapping[Verdict, tuple[str, str]] = {
    "steady": ("Gradients neither vanish nor explode on their way to the input", ""),
    "vanish": (
        "Gradients vanish on their way to the input",
        " Fewer layers, skip connections (residual), batch norm or another activation would let them through.",
    ),
    "explode": (
        "Gradients explode on their way to the input",
        " [training] gradient_clipping, a smaller learning rate, batch norm or fewer layers would hold them.",
    ),
}
"""What becomes of gradients: the verdict in words, and what may help."""


def overtraining_sentence(found: Overtraining) -> str:
    """Say what the distances between training and test part mean together."""
    gap, auc = found.auc.gap, _gap(found)
    if found.verdict == "none seen" and not isfinite(gap.error):
        return "Whether the network is overtrained cannot be told: the errors of the two AUCs cannot be estimated."
    if found.verdict == "none seen":
        return f"No overtraining is seen: {auc}.{_blindness(found)}"
    if found.verdict == "seen but harmless":
        return (
            f"The training part scores differently by more than chance explains, but harmlessly, within the "
            f"tolerances: {auc}."
        )
    if found.auc.verdict == "harmful" and gap.value < 0.0:
        return f"The test part does better than the training part, {auc}: the two may not be alike; look at the split."
    return (
        f"The network knows its training events too well: {auc}, and {_distances(found)}. The test AUC remains an "
        "honest one; a smaller network, more events or an earlier stop may do better."
    )


def significance_sentence(found: Significance) -> str:
    """Say what can be expected at the chosen threshold."""
    if found.quoted is None:
        return f"No significance is quoted, since on the validation part {found.problem}."
    quoted = found.quoted
    where = f"At or above the score {quoted.threshold:.4g}, chosen on the validation part,"
    yields = f"{measured(quoted.signal)} signal and {measured(quoted.background)} background events are expected"
    if not isfinite(quoted.significances["asimov"].value):
        return f"{where} {yields} by the test part: too little background to quote a significance."
    return (
        f"{where} {yields}: an Asimov significance (median for a discovery) of "
        f"{measured(quoted.significances['asimov'])} standard deviations with the background known to "
        f"{100.0 * quoted.background_uncertainty:g} %."
    )


def calibration_sentence(found: Probabilities) -> str:
    """Say how far scores are probabilities, beyond what a finite number of events makes of perfect ones."""
    error = found.calibration_error
    spread = error.if_calibrated.error
    if not isfinite(spread) or spread <= 0.0:
        return "Whether the scores are probabilities cannot be told from these events."
    beyond = (error.observed.value - error.if_calibrated.value) / spread
    off = f"The scores are off the observed fractions of signal by {error.observed.value:.2g} on average"
    if beyond <= MOST_SPREADS:
        return f"{off}, which perfect probabilities would have shown as well, by chance."
    return f"{off}, {beyond:.0f} spreads more than perfect probabilities would have shown by chance."


def forgetting_sentence(found: Dependence) -> str:
    """Say whether the score has forgotten what it was not to tell."""
    before, after, chance = found.plain, found.decorrelated, found.by_chance
    events = "background events" if found.within == "background" else "events"
    numbers = f"from {measured(before)} to {measured(after)} in {events}"
    if after.value - chance.value <= MOST_SPREADS * chance.error:
        return f"Decorrelation brought what the score tells of {found.variable} {numbers}: no more than by chance."
    if after.value >= before.value:
        return (
            f"Decorrelation did not help: what the score tells of {found.variable} went {numbers}. Another strength "
            "or method may."
        )
    left = (after.value - chance.value) / (before.value - chance.value) if before.value > chance.value else 1.0
    share = f"{100.0 * left:.0f} % of what is beyond chance are left"
    return f"Decorrelation brought what the score tells of {found.variable} {numbers}: {share}."


def agreement_sentence(found: Agreement) -> str:
    """Say whether the networks of the folds are alike."""
    beginning = f"{len(found.aucs)} networks were trained, and each is judged on the events of its own fold."
    if not isfinite(found.p_value):
        return f"{beginning} Whether they are alike cannot be told from these events."
    if found.p_value < DISAGREEMENT:
        return (
            f"{beginning} They are not alike: chance alone makes their AUCs differ as much with a probability "
            f"{p_value(found.p_value)}. Look for a fold whose training failed, or for events that stand out."
        )
    return f"{beginning} Their AUCs differ no more than by chance (p = {found.p_value:.2g})."


def gradient_sentence(found: Sequence[GradientFlow | None]) -> str:
    """Say whether gradients reach the input, by the fold where that is most in doubt; ``found`` has one for each."""
    flows = [flow for flow in found if flow]
    if not flows:
        return "There is one layer, or no epoch: no gradient can vanish or explode on its way."
    worst = max(flows, key=lambda flow: abs(log(flow.ratio)) if flow.ratio > 0.0 else float("inf"))
    if worst.verdict == "unknown":
        return "Whether gradients vanish or explode cannot be told: they are not all numbers, or all are 0."
    verdict, advice = GRADIENTS[worst.verdict]
    ratio = number(float(f"{worst.ratio:.2g}"))
    layers = f"the first {worst.n_compared} of {worst.n_layers} layers" if worst.n_compared > 1 else "the first layer"
    fold = " of the fold that stands out most" if len(flows) > 1 else ""
    last = f"the last {worst.n_compared}" if worst.n_compared > 1 else f"the last of {worst.n_layers}"
    return (
        f"{verdict}: in {layers}{fold} they are {ratio} times as long as in {last}, by the median of the epochs; "
        f"more than a factor of {TOLERANCE:g} is called vanishing or exploding, since layers differ in size.{advice}"
    )


def request_of(point: NamedPoint) -> str:
    """Say what a named working point asks for."""
    if point.cut is None:
        return ""
    return f"{point.cut.quantity.replace('_', ' ')} of at least {point.cut.requested:g}"


def _gap(found: Overtraining) -> str:
    gap = found.auc.gap
    if not isfinite(gap.error) or gap.error <= 0.0:
        return "the error of AUC(train) - AUC(test) cannot be estimated from these events"
    size = abs(gap.value) / gap.error
    return f"AUC(train) - AUC(test) = {plus_minus(gap)}, {size:.1f} standard errors from none"


def _distances(found: Overtraining) -> str:
    distances = f"{100.0 * found.signal.value:.1f} % of signal and {100.0 * found.background.value:.1f} % of background"
    return f"at some threshold the efficiencies of the two parts differ by {distances}"


def _blindness(found: Overtraining) -> str:
    distances: tuple[tuple[str, ScoreDistance], ...] = ("signal", found.signal), ("background", found.background)
    blind = [name for name, distance in distances if not distance.can_see_the_tolerance]
    if not blind:
        return ""
    return f" There are too few events of {' and '.join(blind)} to see a difference as small as the tolerance."
