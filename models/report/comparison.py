"""The page of a comparison: several experiments on the same test events, as one HTML file that needs nothing else.

Owns how the page is put together; its order is in ``comparison.html``, what is in it was computed elsewhere.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.leader_board import Standing
from models.report.board import board_figure
from models.report.page import rendered
from models.report.style import png_of
from models.yardsticks import Yardstick


@dataclass(frozen=True)
class ComparisonContent:
    """All that the page shows.

    ``kinds`` says of each name on the board what it is. ``differences`` has, for each name under which the
    experiments differ, what each of ``experiments`` declares, and ``failures`` why a score is not on the board.
    """

    title: str
    question: str
    n_events: int
    yardstick: Yardstick
    board: Sequence[Standing]
    kinds: Mapping[str, str]
    signal_efficiencies: Sequence[float]
    experiments: Sequence[str]
    differences: Mapping[str, Sequence[str]]
    failures: Mapping[str, str]
    provenance: Mapping[str, str]


def render_comparison(content: ComparisonContent) -> str:
    """Return the page as a text; everything that is put into it is escaped."""
    return rendered(
        "comparison.html",
        content=content,
        has_seeds=any(one.spread is not None for one in content.board),
        has_folds=any(one.lead_of_method is not None for one in content.board),
        image=b64encode(png_of(board_figure(content.board, content.yardstick))).decode(),
    )
