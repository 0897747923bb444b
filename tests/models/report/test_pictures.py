"""What the pictures promise: they draw the record, name the classes rightly, and need no screen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from models.evaluation import EvaluationSpec, ScoredPart, evaluate
from models.record import Evaluation
from models.report.history import history_figure, history_picture
from models.report.numbers import plus_minus
from models.report.picture import MOST_ROWS, Picture, save_pictures, thinned
from models.report.pictures import pictures_of
from models.report.reliability import reliability_figure
from models.report.roc import roc_figure, roc_picture
from models.report.scores import score_figure
from models.report.significance import significance_figure
from models.report.style import COLOURS, png_of

HISTORY: list[dict[str, float]] = [
    {"epoch": epoch, "loss": 1.0 / epoch, "validation_loss": 1.1 / epoch, "learning_rate": 1e-3 / epoch}
    for epoch in range(1, 6)
]
SPEC = EvaluationSpec(replicas=20)
NAMES = ["roc", "scores", "significance", "history"]


def part(seed: int, n_events: int = 2_000) -> ScoredPart:
    generator = np.random.default_rng(seed)
    labels = np.arange(n_events) % 2
    scores = generator.beta(2.0 + 2.0 * labels, 4.0 - 2.0 * labels)
    return ScoredPart(scores, labels, np.where(generator.random(n_events) < 0.1, -1.0, 2.0))


def judged(train: ScoredPart, validation: ScoredPart, test: ScoredPart) -> Evaluation:
    return evaluate(train, validation, test, SPEC, random=np.random.default_rng(1))


@pytest.fixture(scope="module")
def record() -> Evaluation:
    return judged(part(1), part(2), part(3))


def legend_of(figure: Figure) -> dict[str, str]:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    colours = [getattr(handle, "get_facecolor", lambda: None)() for handle in handles]
    return {label: "" if colour is None else to_hex(colour) for label, colour in zip(labels, colours, strict=True)}


def test_roc_figure_draws_the_curve_of_the_record_and_quotes_its_auc(record: Evaluation) -> None:
    curve, rejection = roc_figure(record).axes
    assert np.array_equal(curve.lines[1].get_xdata(), record.roc.fpr)
    assert f"AUC = {plus_minus(record.auc)}" in [line.get_label() for line in curve.lines]
    assert rejection.get_yscale() == "log"
    assert np.max(np.asarray(rejection.lines[1].get_ydata())) == 1.0 / record.roc.fpr[record.roc.fpr > 0].min()


def test_the_band_around_the_roc_is_that_of_the_replicas_on_both_sides(record: Evaluation) -> None:
    curve, rejection = roc_figure(record).axes
    corners = np.asarray(curve.collections[0].get_paths()[0].vertices)
    assert {*record.band.low, *record.band.high} <= {*corners[:, 1]}
    turned = np.asarray(rejection.collections[0].get_paths()[0].vertices)
    bounded = record.band.background_efficiency > 0.0
    assert {*record.band.low[bounded]} <= {*turned[:, 0]}
    assert {*(1.0 / record.band.background_efficiency[bounded])} <= {*turned[:, 1]}


def test_score_legend_gives_each_class_its_own_colour_and_name(record: Evaluation) -> None:
    legend = legend_of(score_figure(record, {"signal": "muons", "background": "pions"}))
    assert list(legend) == ["muons, train", "pions, train", "muons, test", "pions, test"]
    assert legend["muons, train"] == COLOURS["signal"].lower()
    assert legend["pions, train"] == COLOURS["background"].lower()


def test_scores_are_drawn_on_a_logarithmic_and_on_a_linear_axis(record: Evaluation) -> None:
    logarithmic, linear = score_figure(record).axes
    assert (logarithmic.get_yscale(), linear.get_yscale()) == ("log", "linear")
    expected, _ = record.histogram("test", "signal").density()
    filled = record.histogram("test", "signal").squares > 0.0
    assert np.array_equal(linear.lines[0].get_ydata(), expected[filled])


def test_significances_are_drawn_against_threshold_and_signal_efficiency(record: Evaluation) -> None:
    by_threshold, by_efficiency = significance_figure(record).axes
    found = record.significance
    assert found.quoted is not None
    for axes, places, chosen in (
        (by_threshold, found.scan.thresholds, found.quoted.threshold),
        (by_efficiency, found.scan.signal / found.scan.signal[-1], found.quoted.signal.value / found.scan.signal[-1]),
    ):
        assert np.array_equal(axes.lines[0].get_xdata(), places)
        assert np.array_equal(axes.lines[0].get_ydata(), found.scan.significances["asimov"], equal_nan=True)
        assert axes.lines[2].get_xdata() == [chosen, chosen]


def test_where_no_significance_is_quoted_the_picture_is_blank(record: Evaluation) -> None:
    [asimov, *_] = significance_figure(record).axes[0].lines
    too_few = record.significance.scan.n_background < 10
    assert too_few.any()
    assert np.isnan(np.asarray(asimov.get_ydata())[too_few]).all()


def test_reliability_is_drawn_where_it_can_be_measured_beside_the_numbers_of_events(record: Evaluation) -> None:
    assert record.probabilities is not None
    found = record.probabilities.reliability
    diagram, counts = reliability_figure(record.probabilities).axes
    drawn = np.concatenate([np.asarray(line.get_ydata()) for line in diagram.lines[1:]])
    assert sorted(drawn) == sorted(found.signal_fraction[np.isfinite(found.signal_fraction)])
    [filled, _] = counts.patches
    assert isinstance(filled, StepPatch)
    assert np.array_equal(filled.get_data()[0], found.n_events)


def test_history_figure_draws_each_epoch() -> None:
    losses, rates = history_figure([HISTORY]).axes
    assert [len(np.asarray(line.get_xdata())) for line in losses.lines] == [5, 5]
    assert np.asarray(rates.lines[0].get_ydata())[-1] == 1e-3 / 5


def test_each_fold_has_a_line_of_its_own_and_all_share_the_legend() -> None:
    losses, rates = history_figure([HISTORY, HISTORY[:3], HISTORY[:4]]).axes
    assert [len(np.asarray(line.get_xdata())) for line in losses.lines] == [5, 3, 4, 5, 3, 4]
    assert len(rates.lines) == 3
    assert losses.get_legend_handles_labels()[1] == ["training", "validation"]


@pytest.mark.parametrize(
    "histories", [[], [[]], [HISTORY[:1]], [[{"epoch": 1, "loss": 0.7}]], [HISTORY, []], [[{"epoch": 1}]]]
)
def test_a_short_or_empty_history_is_drawn_as_well(histories: list[list[dict[str, float]]]) -> None:
    assert png_of(history_figure(histories)).startswith(b"\x89PNG")


APART = ScoredPart(np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 1, 0, 0]), np.ones(4))
DEGENERATE: Mapping[str, ScoredPart] = {
    "perfectly apart": APART,
    "all scores equal": replace(part(1, 60), scores=np.full(60, 0.5)),
    "all scores 1": replace(part(1, 60), scores=np.ones(60)),
    "one event of each class": ScoredPart(np.array([0.9, 0.1]), np.array([1, 0]), np.ones(2)),
    "no probabilities": replace(APART, scores=APART.scores * 20.0 - 10.0),
    "weights that nearly cancel": replace(APART, weights=np.array([1.0, -0.999, 1.0, -0.999])),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_content_is_drawn_as_well(name: str) -> None:
    same = DEGENERATE[name]
    pictures = pictures_of(judged(same, same, same), [])
    assert [picture.name for picture in pictures if picture.name != "reliability"] == NAMES
    assert ("reliability" in [picture.name for picture in pictures]) is (name != "no probabilities")


def test_what_was_not_asked_for_has_no_picture(record: Evaluation) -> None:
    assert [picture.name for picture in pictures_of(record, [])] == [*NAMES[:3], "reliability", "history"]


def test_the_pictures_have_captions_and_their_numbers_in_a_table_that_can_be_read(drawn: Sequence[Picture]) -> None:
    for picture in drawn:
        assert picture.caption.endswith(".")
        assert len(picture.rows) <= MOST_ROWS
        assert {len(row) for row in picture.rows} <= {len(picture.columns)}
    # The numbers of the inputs and of the network stand in tables of their own.
    assert [picture.name for picture in drawn if not picture.rows] == ["importance", "network"]


def test_every_topic_of_the_record_is_drawn_once_in_the_order_of_the_page(drawn: Sequence[Picture]) -> None:
    names = [picture.name for picture in drawn if picture.section != "spectators"]
    training = ["history", "gradients", "network"]
    assert names == [*NAMES[:3], "reliability", "importance", "correlations", "templates", *training]
    assert len({picture.name for picture in drawn}) == len(drawn) == len(names) + 3


def test_the_names_of_the_classes_are_those_of_the_experiment(drawn: Sequence[Picture]) -> None:
    for picture in drawn:
        if picture.section in ("scores", "inputs", "spectators"):
            assert "signal" not in " ".join(picture.columns)
    assert sum("muons" in " ".join(picture.columns) for picture in drawn) == 6  # scores, inputs, templates, spectators


def test_a_calibration_of_the_record_is_drawn_beside_the_scores(drawn: Sequence[Picture]) -> None:
    [found] = [picture for picture in drawn if picture.name == "reliability"]
    assert "calibrated" in found.figure.axes[0].get_legend_handles_labels()[1]


@pytest.mark.parametrize(("n_rows", "expected"), [(0, []), (1, [0]), (3, [0, 1, 2]), (9, [0, 3, 5, 8])])
def test_thinning_keeps_both_ends_and_repeats_nothing(n_rows: int, expected: list[int]) -> None:
    assert thinned(n_rows, at_most=4) == expected


def test_a_thinned_table_keeps_both_ends_and_says_which_fold() -> None:
    rows = history_picture([HISTORY * 30, HISTORY * 30]).rows
    assert len(rows) == MOST_ROWS
    assert [rows[place][:2] for place in (0, 24, 25, 49)] == [(0, 1), (0, 5), (1, 1), (1, 5)]


def test_every_picture_is_written_as_image_and_as_page(drawn: Sequence[Picture], tmp_path: Path) -> None:
    some = [picture for picture in drawn if picture.section in ("spectators", "templates")]
    written = save_pictures(tmp_path, some)
    assert written == [tmp_path / f"{picture.name}.{kind}" for picture in some for kind in ("png", "pdf")]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG\r\n" if path.suffix == ".png" else b"%PDF-")


def test_figures_are_saved_as_picture_and_page_and_the_same_ones_again(record: Evaluation, tmp_path: Path) -> None:
    written = save_pictures(tmp_path / "plots", [roc_picture(record)])
    assert [path.name for path in written] == ["roc.png", "roc.pdf"]
    again = save_pictures(tmp_path / "again", [roc_picture(record)])
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]


def test_drawing_leaves_the_style_of_the_caller_alone(record: Evaluation) -> None:
    before = dict(matplotlib.rcParams)
    score_figure(record)
    assert dict(matplotlib.rcParams) == before
