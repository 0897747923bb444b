from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from flows.promote import PromotionSpec, decide
from models.metrics import auc_difference
from pipeline.dataset import EventArrays

N_EVENTS = 2000
SPEC = PromotionSpec()
EXPERIMENT = {"split": {"by": ["event"], "salt": "winnow"}}


@pytest.fixture(scope="module")
def test_part() -> EventArrays:
    """Events of which x and y both tell a little about the class."""
    generator, rows = np.random.default_rng(1), np.arange(N_EVENTS)
    label = rows % 2
    return EventArrays(
        features=generator.normal(label[:, None] * [0.8, 0.4], 1.0, (N_EVENTS, 2)),
        spectators=np.empty((N_EVENTS, 0)),
        target=np.empty((N_EVENTS, 0)),
        label=label.astype(np.int8),
        sample=np.zeros(N_EVENTS, dtype=np.int16),
        identity=rows.astype(np.uint64),
        content=np.empty((N_EVENTS, 0), dtype=np.uint64),
        physics_weight=generator.gamma(10.0, 0.1, N_EVENTS),
        training_weight=np.ones(N_EVENTS, dtype=np.float32),
    )


def evaluation_json(trained, auc, error):
    content = trained.reference.bundle.read_json("evaluation.json")
    content["headline"]["value"] = {"value": auc, "error": error}
    return {"evaluation.json": content}


def test_the_first_version_becomes_champion(make_bundle, test_part):
    decision = decide(make_bundle([1, 0], ["x", "y"]), None, [test_part], SPEC)
    assert (decision.is_promoted, decision.difference) == (True, None)
    assert decision.reason == "it is the first version"


@pytest.mark.parametrize(
    ("challenger", "champion", "is_promoted"),
    [([1, 0.5], [1, -0.5], True), ([1, -0.5], [1, 0.5], False), ([1, 0.5], [1, 0.5], False), ([2, 1], [1, 0.5], False)],
)
def test_a_version_is_promoted_only_if_it_is_better(make_bundle, test_part, challenger, champion, is_promoted):
    bundles = [make_bundle(weights, ["x", "y"]) for weights in (challenger, champion)]
    decision = decide(*bundles, [test_part], SPEC)
    assert decision.is_promoted is is_promoted
    assert decision.reason.endswith("on the same test events; more than 0 plus 1 times that error is needed")


def test_on_the_same_events_the_difference_is_the_paired_one(make_bundle, test_part):
    bundles = [make_bundle(weights, ["x", "y"]) for weights in ([1, 0.5], [1, 0.4])]
    scores = [bundle.score_features(test_part.features) for bundle in bundles]
    found = decide(*bundles, [test_part], SPEC).difference
    assert found == auc_difference(*scores, test_part.label, test_part.physics_weight)
    unpaired = 0.01  # the error of one such AUC; what both have in common cancels
    assert 0 < found.error < unpaired / 3


def test_a_better_version_has_to_be_better_by_what_was_declared(make_bundle, test_part):
    bundles = [make_bundle(weights, ["x", "y"]) for weights in ([1, 0.5], [1, -0.5])]
    gained = decide(*bundles, [test_part], SPEC).difference.value
    for margin, is_promoted in ((gained * 0.99, True), (gained * 1.01, False)):
        spec = PromotionSpec(better_than_champion_by=margin, standard_errors=0.0)
        decision = decide(*bundles, [test_part], spec)
        assert decision.is_promoted is is_promoted


def test_a_champion_with_some_of_the_features_sees_the_same_events(make_bundle, test_part):
    decision = decide(make_bundle([1, 0.5], ["x", "y"]), make_bundle([1], ["y"]), [test_part], SPEC)
    assert "on the same test events" in decision.reason
    swapped = decide(make_bundle([1, 0.5], ["x", "y"]), make_bundle([0.5, 1], ["y", "x"]), [test_part], SPEC)
    assert swapped.difference.value == 0.0


def image(*pixels):
    return {"images": {"stamp": {"pixels": pixels, "shape": (len(pixels),)}}}


def test_a_champion_with_the_same_image_sees_the_same_events(make_bundle, test_part):
    bundles = [make_bundle(weights, [], **image("x", "y")) for weights in ([1, 0.5], [2, 1])]
    decision = decide(*bundles, [test_part], SPEC)
    assert (decision.difference.value, "on the same test events" in decision.reason) == (0.0, True)


OTHER_FEATURES = [
    ([], image("x", "y"), image("y", "x")),
    (["z"], {}, {}),
    (["x", "d"], {"derive": {"d": "x + z"}}, {"derive": {"d": "x - z"}}),
    (["x", "x + y"], {"sentinels": (-999.0,)}, {}),
    (["x", "x + y"], {"own_sentinels": {"x": (-1.0,)}}, {}),
]


@pytest.mark.parametrize(("inputs", "of_champion", "of_challenger"), OTHER_FEATURES)
def test_a_champion_with_other_features_is_compared_by_recorded_aucs(
    make_bundle, test_part, trained, inputs, of_champion, of_challenger
):
    weights = [1.0] * (len(inputs) or 2)
    champion = make_bundle(weights, inputs, evaluation_json(trained, 0.80, 0.03), **of_champion)
    ours = inputs if of_challenger or len(inputs) > 1 else ["x", "y"]
    challenger = make_bundle([1.0] * (len(ours) or 2), ours, evaluation_json(trained, 0.82, 0.04), **of_challenger)
    decision = decide(challenger, champion, [test_part], SPEC)
    assert decision.difference.value == pytest.approx(0.02)
    assert decision.difference.error == pytest.approx(0.05)
    assert "on recorded AUCs, other features" in decision.reason


@pytest.mark.parametrize(("standard_errors", "promoted"), [(0.0, True), (1.0, True), (1e4, False)])
def test_a_rise_has_to_exceed_so_many_of_its_errors(make_bundle, test_part, standard_errors, promoted):
    bundles = make_bundle([1, 0.5], ["x", "y"]), make_bundle([1, 0], ["x", "y"])
    decision = decide(*bundles, [test_part], PromotionSpec(standard_errors=standard_errors))
    assert decision.is_promoted is promoted
    assert "(p = " in decision.reason


def test_without_an_error_nothing_is_promoted_unless_none_is_asked_for(make_bundle, test_part, trained):
    champion = make_bundle([1.0], ["z"], evaluation_json(trained, 0.80, None))
    challenger = make_bundle([1.0], ["x"], evaluation_json(trained, 0.82, 0.01))
    decision = decide(challenger, champion, [test_part], SPEC)
    assert not decision.is_promoted
    assert "+0.02000, with an error that cannot be estimated, on recorded AUCs" in decision.reason
    assert decide(challenger, champion, [test_part], PromotionSpec(standard_errors=0.0)).is_promoted


def test_after_another_split_the_reason_warns(make_bundle, test_part):
    other = {"experiment.json": {"split": {"by": ["event"], "salt": "pepper"}}}
    decision = decide(make_bundle([1, 0.5], ["x", "y"]), make_bundle([1, 0], ["x", "y"], other), [test_part], SPEC)
    assert "some of which the champion may have been trained on (another split)" in decision.reason


@pytest.mark.parametrize(("by", "is_told"), [("content", True), (["event"], False)])
def test_an_identity_by_content_is_another_one_with_other_columns(make_bundle, test_part, by, is_told):
    split = {"experiment.json": {"split": {"by": by}}}
    decision = decide(make_bundle([1, 0.5], ["x", "y"], split), make_bundle([1], ["y"], split), [test_part], SPEC)
    assert ("another split" in decision.reason) is is_told


def test_only_metrics_that_exist_can_be_declared():
    with pytest.raises(ValidationError, match="metric"):
        PromotionSpec(metric="accuracy")


def another(bundle, **changes):
    """A bundle that says something else of itself."""
    return replace(bundle, manifest=bundle.manifest.model_copy(update=changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"head": "softmax"}, "it has head = 'softmax', and this version 'binary'"),
        ({"outputs": ("score_a", "score_b")}, "it gives score_a, score_b, and this version score"),
        ({"classes": ("a", "b", "c")}, "it tells a, b, c apart, and this version background, signal"),
    ],
)
def test_a_champion_that_finds_something_else_stays_champion(make_bundle, test_part, changes, reason):
    champion = another(make_bundle([1, 0], ["x", "y"]), **changes)
    decision = decide(make_bundle([1, 0.5], ["x", "y"]), champion, [test_part], SPEC)
    assert (decision.is_promoted, decision.difference) == (False, None)
    assert decision.reason == f"the champion cannot be compared with: {reason}"


@pytest.mark.parametrize(
    ("targets", "derive", "reason"),
    [
        ({"energy": "x * 2"}, {}, "its target energy is 'x * 2', and that of this version 'x + d'"),
        ({"energy": "x + d"}, {"d": "x - y"}, "its targets are made of other derived columns"),
    ],
)
def test_a_champion_of_which_a_target_is_something_else_stays_champion(make_bundle, test_part, targets, derive, reason):
    ours, theirs = ({"experiment.json": {**EXPERIMENT, "targets": t}} for t in ({"energy": "x + d"}, targets))
    challenger = make_bundle([1, 0.5], ["x", "y"], ours, derive={"d": "x + y"})
    champion = make_bundle([1, 0], ["x", "y"], theirs, derive=derive)
    assert decide(challenger, champion, [test_part], SPEC).reason.endswith(reason)


def test_of_recorded_numbers_of_which_less_is_better_a_fall_is_the_gain(make_bundle, test_part):
    records = [
        {"evaluation.json": {"headline": {"name": "rms", "label": "RMS of energy", "higher_is_better": False,
                                          "value": {"value": rms, "error": 0.3}}}}
        for rms in (4.0, 5.0)
    ]  # fmt: skip
    pair = (make_bundle([1], [name], record) for name, record in zip("xz", records, strict=True))
    challenger, champion = (another(bundle, head="regression") for bundle in pair)
    decision = decide(challenger, champion, [test_part], SPEC)
    assert decision.is_promoted
    assert decision.difference.value == pytest.approx(1.0)
    assert "RMS of the champion less its own +1 ± 0.4243" in decision.reason
    assert "on recorded RMSs, other features" in decision.reason
