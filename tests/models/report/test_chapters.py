"""What the page shows of each kind of network: its own chapters between those that every page has."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from models.anatomy import Layer
from models.comparison import judged
from models.inputs import InputShare, InputShares
from models.judgement import Judgement
from models.leader_board import NETWORK, Standing
from models.multiclass import ScoredClasses, judge_classes
from models.multilabel import ScoredFlags, judge_flags
from models.record import Evaluation
from models.regression import PredictedQuantities, judge_quantities
from models.report import chapters
from models.report.chapters import FINDINGS, chapters_of
from models.report.history import history_figure
from models.report.page import ReportContent, render_report
from models.report.picture import Picture, Section
from models.scored import Measured

N = 300
HISTORY = Picture("training", "history", "Loss of each epoch", history_figure([]))
SHARES = InputShares((InputShare("layer_1", Measured(0.25, 0.01), 17),), N)


def judgements(whole: Evaluation) -> list[Judgement]:
    """One of every kind."""
    random = np.random.default_rng(1)
    labels, targets, ones = np.arange(N) % 3, random.normal(size=(N, 2)), np.ones(N)
    odds = np.exp(random.normal(size=(N, 3)) + np.eye(3)[labels])
    several = ScoredClasses(odds / odds.sum(axis=1, keepdims=True), labels, ones)
    flags = ScoredFlags(random.random((N, 2)), targets > 0, ones)
    numbers = PredictedQuantities(targets + 0.5 * random.normal(size=(N, 2)), targets, ones)
    found = [
        judge_classes(dict.fromkeys(("train", "validation", "test"), several), ("e", "mu<on>", "pi"), random, 5),
        judge_flags(dict.fromkeys(("train", "validation", "test"), flags), ("up", "right"), random, 5),
        judge_quantities(dict.fromkeys(("train", "validation", "test"), numbers), ("energy", "time")),
    ]
    return [whole, *(replace(one, inputs=SHARES) for one in found)]


@pytest.fixture(scope="module")
def pages(whole: Evaluation) -> list[ReportContent]:
    sections: Sequence[Section] = get_args(Section)
    return [
        ReportContent(
            title="toy",
            question="Which?",
            asked={"sample muons": "weight = 1"},
            experiment="[experiment]",
            evaluation=evaluation,
            negative_weights="keep",
            background_uncertainty=0.1,
            cutflow=[{"sample": "muons", "step": "read", "events": 7}],
            missing={},
            pictures=[replace(HISTORY, section=section, caption=f"of {section}.") for section in sections],
            training={"epochs": 4},
            layers=[Layer("dense", "Dense", (8,), 4, 4)],
            features=["layer_1"],
            provenance={"seed": "5"},
        )
        for evaluation in judgements(whole)
    ]


def test_every_kind_has_the_chapters_that_its_list_of_contents_names(pages: list[ReportContent]) -> None:
    for content in pages:
        page = render_report(content)
        named, there = (re.findall(rf'{attribute}="#?([a-z]+)"', page) for attribute in ("href", "h2 id"))
        assert named == there == [chapter.key for chapter in chapters_of(content)]
        assert [*named[:2], *named[-3:]] == ["asked", "events", "training", "network", "provenance"]


def test_every_section_a_picture_may_have_is_shown_somewhere_and_nowhere_twice(pages: list[ReportContent]) -> None:
    shown = [re.findall(r"<figcaption>of (\w+)\.</figcaption>", render_report(content)) for content in pages]
    assert all(len(sections) == len(set(sections)) for sections in shown)
    assert set().union(*shown) == set(get_args(Section))


def test_no_layout_lies_about_unused() -> None:
    folder = Path(chapters.__file__).parent
    used = {chapter.piece for findings in FINDINGS.values() for chapter in findings.chapters}
    used |= {findings.verdict for findings in FINDINGS.values()}
    used |= {chapter.piece for chapter in (*chapters.BEGINNING, *chapters.ENDING)}
    texts = "".join(path.read_text() for path in folder.rglob("*.html"))
    there = {str(path.relative_to(folder)) for path in (folder / "pieces").rglob("*.html")}
    assert there == used | {name for name in there if f'"{name}"' in texts}


def test_the_verdict_begins_with_the_headline(pages: list[ReportContent]) -> None:
    found = [re.findall(r"<strong>(.*?) = ", render_report(content))[0] for content in pages]
    assert found == ["AUC", "Mean AUC", "Mean AUC", "RMS over spread"]


def test_what_an_input_is_worth_is_what_its_loss_costs(pages: list[ReportContent]) -> None:
    texts = [" ".join(render_report(content).split()) for content in pages[1:]]
    said = ("mean one-against-rest AUC falls", "mean AUC of the labels falls", "over their spread rises")
    assert all(words in text for words, text in zip(said, texts, strict=True))
    assert all("0.250 ± 0.010</td><td>17" in text for text in texts)


def test_a_baseline_that_is_ahead_is_named_at_the_top_whatever_the_network_finds(pages: list[ReportContent]) -> None:
    for content, number in zip(
        pages[1:], ("mean one-against-rest AUC", "mean AUC of the labels", "mean RMS"), strict=True
    ):
        lead = judged(Measured(0.01, 0.002))
        board = (
            Standing("trees", Measured(0.9, 0.01), judged(Measured(0.0, 0.0)), 1.0),
            Standing(NETWORK, Measured(0.89, 0.01), lead, 0.03),
        )
        text = " ".join(
            render_report(replace(content, evaluation=replace(content.evaluation, leader_board=board))).split()
        )
        assert f"the baseline trees is ahead, with a {number}" in text
        assert re.search(r"a lead of 0\.010\d* ± 0\.002\d*, with", text)
        assert "<td>best</td>" in text


def test_names_of_classes_are_no_html(pages: list[ReportContent]) -> None:
    page = render_report(pages[1])
    assert "mu&lt;on&gt;" in page
    assert "mu<on>" not in page
