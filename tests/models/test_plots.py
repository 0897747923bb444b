"""What the pictures promise: they draw the record, name the classes rightly, and need no screen."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from models.evaluation import Evaluation, EvaluationSpec, ScoredPart, evaluate
from models.plots import (
    COLOURS,
    history_figure,
    plus_minus,
    png_of,
    roc_figure,
    save_figures,
    score_figure,
)
from models.scored import Measured

HISTORY = [
    {"epoch": epoch, "loss": 1.0 / epoch, "validation_loss": 1.1 / epoch, "learning_rate": 1e-3 / epoch}
    for epoch in range(1, 6)
]


@pytest.fixture(scope="module")
def record() -> Evaluation:
    def part(seed: int) -> ScoredPart:
        generator = np.random.default_rng(seed)
        labels = np.arange(2_000) % 2
        scores = generator.beta(2.0 + 2.0 * labels, 4.0 - 2.0 * labels)
        return ScoredPart(scores, labels, np.where(generator.random(2_000) < 0.1, -1.0, 2.0))

    return evaluate(part(1), part(2), part(3), EvaluationSpec())


def perfect_record() -> Evaluation:
    part = ScoredPart(np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 1, 0, 0]), np.ones(4))
    return evaluate(part, part, part, EvaluationSpec())


def legend_of(figure: Figure) -> dict[str, str]:
    legend = figure.axes[0].get_legend()
    assert legend is not None
    handles, labels = figure.axes[0].get_legend_handles_labels()
    colours = [getattr(handle, "get_facecolor", lambda: None)() for handle in handles]
    return {label: "" if colour is None else to_hex(colour) for label, colour in zip(labels, colours, strict=True)}


def test_roc_figure_draws_the_curve_of_the_record_and_quotes_its_auc(record: Evaluation) -> None:
    curve, rejection = roc_figure(record).axes
    assert np.array_equal(curve.lines[1].get_xdata(), record.roc.fpr)
    assert f"AUC = {plus_minus(record.auc)}" in [line.get_label() for line in curve.lines]
    assert rejection.get_yscale() == "log"
    assert np.max(np.asarray(rejection.lines[0].get_ydata())) == 1.0 / record.roc.fpr[record.roc.fpr > 0].min()


def test_score_legend_gives_each_class_its_own_colour_and_name(record: Evaluation) -> None:
    legend = legend_of(score_figure(record, {"signal": "muons", "background": "pions"}))
    assert list(legend) == ["muons, train", "pions, train", "muons, test", "pions, test"]
    assert legend["muons, train"] == COLOURS["signal"].lower()
    assert legend["pions, train"] == COLOURS["background"].lower()


def test_history_figure_draws_each_epoch(record: Evaluation) -> None:
    losses, rates = history_figure(HISTORY).axes
    assert [len(np.asarray(line.get_xdata())) for line in losses.lines] == [5, 5]
    assert np.asarray(rates.lines[0].get_ydata())[-1] == 1e-3 / 5


@pytest.mark.parametrize("history", [[], HISTORY[:1], [{"epoch": 1, "loss": 0.7}]])
def test_a_short_or_empty_history_is_drawn_as_well(history: list[dict[str, float]]) -> None:
    assert png_of(history_figure(history)).startswith(b"\x89PNG")


def test_classes_that_are_perfectly_apart_can_be_drawn() -> None:
    record = perfect_record()
    for figure in (roc_figure(record), score_figure(record)):
        assert png_of(figure).startswith(b"\x89PNG")


def test_figures_are_saved_as_picture_and_page_and_the_same_ones_again(record: Evaluation, tmp_path: Path) -> None:
    written = save_figures(tmp_path / "plots", {"roc": roc_figure(record)})
    assert [path.name for path in written] == ["roc.png", "roc.pdf"]
    again = save_figures(tmp_path / "again", {"roc": roc_figure(record)})
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]


def test_drawing_leaves_the_style_of_the_caller_alone(record: Evaluation) -> None:
    before = dict(matplotlib.rcParams)
    score_figure(record)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Measured(0.912804, 0.002542), "0.9128 ± 0.0025"),
        (Measured(131.2, 15.9), "131 ± 16"),
        (Measured(1310.2, 159.0), "1310 ± 159"),
        (Measured(0.5, float("nan")), "0.5000"),
        (Measured(1.0, 0.0), "1.0000"),
    ],
)
def test_numbers_are_written_to_two_digits_of_their_error(number: Measured, text: str) -> None:
    assert plus_minus(number) == text
