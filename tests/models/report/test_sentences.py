"""What the sentences promise: the verdict that was reached elsewhere, in plain words."""

import re

import pytest

from models.agreement import Agreement
from models.overtraining import Gap, Overtraining, ScoreDistance, Verdict
from models.record import Dependence, SpectatorFinding
from models.report.sentences import agreement_sentence, forgetting_sentence, overtraining_sentence
from models.scored import Measured


def overtrained(
    gap: Measured, auc: Verdict = "none seen", classes: Verdict = "none seen", chance: float = 0.01
) -> Overtraining:
    distance = ScoreDistance(Measured(0.03, 0.01), 0.5, 0.005, chance, 0.001, 1e4, 0.02, classes)
    worst: Verdict = "harmful" if "harmful" in (auc, classes) else max(auc, classes, key=len)
    return Overtraining(distance, distance, Gap(gap, 0.01, auc), worst)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (overtrained(Measured(0.001, 0.001)), "No overtraining is seen: .* = 0.0010 ± 0.0010, 1.0 standard errors"),
        (overtrained(Measured(0.1, float("nan"))), "Whether the network is overtrained cannot be told: the errors"),
        (overtrained(Measured(0.0, 0.1), chance=0.5), "too few events of signal and background to see"),
        (overtrained(Measured(0.005, 0.001), "seen but harmless"), "more than chance explains, but harmlessly"),
        (overtrained(Measured(0.05, 0.001), "harmful"), "knows its training events too well: .* 50.0 standard errors"),
        (overtrained(Measured(0.0, 0.001), classes="harmful"), "differ by 3.0 % of signal and 3.0 % of background"),
        (overtrained(Measured(-0.05, 0.001), "harmful"), "test part does better .* look at the split"),
    ],
)  # fmt: skip
def test_the_verdict_says_whether_train_and_test_agree(found: Overtraining, sentence: str) -> None:
    assert re.search(sentence, overtraining_sentence(found))


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        (0.0015, r"^Decorrelation brought what the score tells of mass from 0\.28.* in background events: no more"),
        (0.0070, r"to 0\.0070 ± 0\.0017 in background events: 2 % of what is beyond chance are left\.$"),
        (0.3000, r"^Decorrelation did not help: what the score tells of mass went from 0\.28.* to 0\.3000"),
    ],
)  # fmt: skip
def test_what_was_forgotten_is_held_against_what_chance_shows(after: float, sentence: str) -> None:
    """The spread by chance decides, not the error that a handful of samples give."""
    plain, chance = Measured(0.283, 0.003), Measured(0.0012, 0.0003)
    spectator = SpectatorFinding("mass")
    numbers = plain, Measured(after, 0.0017), chance
    found = Dependence("mass", "adversary", 10.0, "background", *numbers, spectator)
    assert re.search(sentence, forgetting_sentence(found))


@pytest.mark.parametrize(
    ("p_value", "sentence"),
    [
        (0.37, r"^3 networks were trained, .* Their AUCs differ no more than by chance \(p = 0\.37\)\.$"),
        (0.01, r"no more than by chance \(p = 0\.01\)"),
        (0.0099, r"not alike: chance alone makes their AUCs differ as much with a probability 0\.0099\."),
        (0.0, r"with a probability below 1e-09\. Look for a fold whose training failed"),
        (float("nan"), r"Whether they are alike cannot be told from these events\.$"),
    ],
)
def test_the_networks_of_the_folds_are_alike_or_not_or_it_is_not_known(p_value: float, sentence: str) -> None:
    assert re.search(sentence, agreement_sentence(Agreement((Measured(0.9, 0.01),) * 3, 1.0, p_value)))
