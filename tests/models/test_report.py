"""What the page promises: everything is on it, nothing outside it is needed, and no text is taken as HTML."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from models.evaluation import EvaluationSpec, ScoredPart, evaluate
from models.plots import history_figure
from models.report import ReportContent, overtraining_sentence, render_report, write_report
from models.scored import Measured

VOID = {"meta", "br", "img"}


class Balance(HTMLParser):
    """Keeps the stack of open elements, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def content() -> ReportContent:
    part = ScoredPart(
        np.array([0.9, 0.8, 0.6, 0.5, 0.4, 0.1]), np.array([1, 1, 0, 1, 0, 0]), np.array([1, 2, 1, 1, -1, 3.0])
    )
    return ReportContent(
        title="pion-muon",
        question="Does the shower shape tell muons from pions?",
        evaluation=evaluate(part, part, part, EvaluationSpec()),
        cutflow=[
            {"sample": "muons", "step": "pt > 20 && pt < 90", "events": 90211, "weighted": 12.5, "error": 0.1,
             "efficiency": 0.7518},
            {"sample": "pions", "step": "read", "events": 7},
        ],
        missing={"layer_2": 12345},
        pictures={"Loss of each epoch": history_figure([])},
        training={"epochs": 40, "seconds": 83.21, "device": "CPU", "stopped_because": "no better for 10 epochs"},
        features=["layer_1", "layer_2"],
        provenance={"data": "3f" * 32, "seed": "20261121"},
    )  # fmt: skip


def test_the_page_is_one_file_with_everything_on_it(content: ReportContent, tmp_path: Path) -> None:
    path = write_report(tmp_path / "new", content)
    page = Balance()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    for text in ("pion-muon", "shower shape", "AUC = ", "pt > 20 && pt < 90", "90,211", "75.18 %", "12,345",
                 "Loss of each epoch", "83.21", "no better for 10 epochs", "layer_1", "3f" * 32):  # fmt: skip
        assert text in page.text
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_the_page_asks_nothing_of_the_network(content: ReportContent) -> None:
    page = render_report(content)
    assert page.count("data:image/png;base64,") == 1
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)|url\(|@import|https?://|<script""", page) == []


def test_text_is_never_taken_as_html(content: ReportContent) -> None:
    trap = "<script>alert('&')</script>"
    hostile = replace(
        content, title=trap, question=trap, cutflow=[{"sample": trap, "step": trap}], missing={trap: 1},
        pictures={f'"{trap}': content.pictures["Loss of each epoch"]}, training={"device": trap},
        features=[trap], provenance={trap: trap},
    )  # fmt: skip
    page = render_report(hostile)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 12


def test_numbers_that_do_not_exist_are_dashes(content: ReportContent) -> None:
    page = render_report(content)
    assert "nan" not in page.replace("data:image", "").split("<h2>Pictures")[0]
    assert "∞" in page
    assert page.count("<td>—</td>") >= 3


def test_empty_tables_are_left_out(content: ReportContent) -> None:
    page = render_report(replace(content, cutflow=[], missing={}, pictures={}))
    assert "Cut-flow" not in page
    assert "<p>None.</p>" in page


@pytest.mark.parametrize(
    ("gap", "sentence"),
    [
        (Measured(0.001, 0.001), "1.0 standard errors: no sign of overtraining"),
        (Measured(-0.001, 0.001), "1.0 standard errors: no sign of overtraining"),
        (Measured(0.005, 0.001), "5.0 standard errors: the network knows its training events too well"),
        (Measured(-0.005, 0.001), "better than the training part by 5.0 standard errors"),
        (Measured(0.1, float("nan")), "cannot be estimated"),
    ],
)
def test_the_verdict_says_whether_train_and_test_agree(gap: Measured, sentence: str) -> None:
    assert sentence in overtraining_sentence(gap)
