"""What the page of a comparison promises: every number of the board, and no text taken as HTML."""

from dataclasses import replace

import numpy as np
import pytest

from models.leader_board import leader_board
from models.report.board import board_figure
from models.report.comparison import ComparisonContent, render_comparison
from models.yardsticks import YARDSTICKS


@pytest.fixture
def content() -> ComparisonContent:
    random, labels = np.random.default_rng(1), np.arange(600) % 2
    shared = random.normal(size=600) + labels
    seeds = [shared + random.normal(scale=0.3, size=600) for _ in range(3)]
    scores = {"deep": seeds, "fisher": shared + random.normal(scale=0.9, size=600)}
    board = leader_board(scores, labels, signal_efficiencies=[0.5], folds=np.arange(600) // 200)
    return ComparisonContent(
        title="Comparison of deep",
        question="Is deeper better?",
        n_events=600,
        yardstick=YARDSTICKS["signal"],
        board=board,
        kinds={"deep": "network", "fisher": "baseline"},
        signal_efficiencies=[0.5],
        experiments=["deep"],
        differences={"model.options.dropout": ["0.1"]},
        failures={"wide seed 3": "the loss is not finite"},
        provenance={"run": "ab12"},
    )


def test_the_page_has_the_board_the_failures_and_what_differs(content: ComparisonContent) -> None:
    page = render_comparison(content)
    for text in (
        "<td>3</td>",
        "lead over seeds",
        "lead of the method",
        "wide seed 3: the loss",
        "model.options.dropout",
    ):
        assert text in page
    assert "http" not in page
    assert 'src="data:image/png;base64,iVBOR' in page


def test_one_seed_and_no_folds_need_no_columns_for_them(content: ComparisonContent) -> None:
    board = [replace(one, seeds=one.seeds[:1], lead_over_seeds=None, lead_of_method=None) for one in content.board]
    page = render_comparison(replace(content, board=board))
    assert "lead over seeds" not in page
    assert "lead of the method" not in page
    assert "what another one would change is not in the errors" in page


def test_names_are_text(content: ComparisonContent) -> None:
    page = render_comparison(replace(content, title="<script>", differences={"derive.x": ["<b>"]}))
    assert "<script>" not in page
    assert "<b>" not in page


def test_the_picture_has_a_point_for_each_seed_and_an_error_for_each_line(content: ComparisonContent) -> None:
    [axes] = board_figure(content.board, content.yardstick).axes
    points = next(line for line in axes.lines if line.get_label() == "single seeds")
    assert points.get_xdata() == pytest.approx([seed.value for seed in content.board[0].seeds])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["deep", "fisher"]
