"""What the page promises: everything is on it, nothing outside it is needed, and no text is taken as HTML."""

import re
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from models.anatomy import Layer
from models.evaluation import EvaluationSpec, ScoredPart, evaluate
from models.inputs import judge_inputs
from models.probabilities import CalibrationError
from models.record import Calibrated, Evaluation, FitTemplates, SpectatorFinding
from models.report.history import history_figure
from models.report.page import ReportContent, render_report, write_report
from models.report.picture import Picture, save_pictures
from models.report.sentences import (
    NegativePolicy,
    agreement_sentence,
    calibration_sentence,
    significance_sentence,
)
from models.scored import Measured

HISTORY = Picture("training", "history", "Loss of each epoch", history_figure([]), ("epoch", "rate"), ((7, 0.125),))
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


def part(seed: int, n_events: int = 1_000) -> ScoredPart:
    random = np.random.default_rng(seed)
    labels = np.arange(n_events) % 2
    weights = np.where(random.random(n_events) < 0.1, -1.0, 2.0)
    return ScoredPart(
        random.beta(2 + 2 * labels, 4 - 2 * labels), labels, weights, {"pt": random.normal(size=n_events)}
    )


def rich_record() -> Evaluation:
    points = [
        {"name": "tight", "background_rejection": 10.0},
        {"name": "flat", "signal_efficiency": 0.5, "bins": {"variable": "pt", "edges": [-9, 0.5, 9]}},
        {"name": "hopeless", "purity": 0.999, "min_events": 400},
    ]
    spec = EvaluationSpec.model_validate({"working_points": points, "replicas": 20, "calibration": "platt"})
    test = part(3)
    rivals = {"fisher": test.scores + 0.2 * np.random.default_rng(4).normal(size=1_000)}
    return evaluate(part(1), part(2), test, spec, random=np.random.default_rng(5), signal_fraction=0.5, rivals=rivals)


@pytest.fixture(scope="module")
def rich(content: ReportContent) -> ReportContent:
    return replace(content, evaluation=rich_record())


@pytest.fixture(scope="module")
def content() -> ReportContent:
    few = ScoredPart(
        np.array([0.9, 0.8, 0.6, 0.5, 0.4, 0.1]), np.array([1, 1, 0, 1, 0, 0]), np.array([1, 2, 1, 1, -1, 3.0])
    )
    return ReportContent(
        title="pion-muon",
        question="Does the shower shape tell muons from pions?",
        asked={"sample muons": "label = signal, weight = 1"},
        experiment='[experiment]\nname = "pion-muon"  # a <question>',
        evaluation=evaluate(few, few, few, EvaluationSpec(replicas=20), random=np.random.default_rng(1)),
        negative_weights="keep",
        background_uncertainty=0.1,
        cutflow=[
            {"sample": "muons", "step": "pt > 20 && pt < 90", "events": 90211, "weighted": 12.5, "error": 0.1,
             "efficiency": 0.7518},
            {"sample": "pions", "step": "read", "events": 7},
        ],
        missing={"layer_2": 12345},
        pictures=[HISTORY],
        training={"epochs": 40, "seconds": 83.21, "device": "CPU", "stopped_because": "no better for 10 epochs"},
        layers=[Layer("dense", "Dense", (128,), 4_352, 4_224), Layer("logits", "Dense", (1,), 129, 129)],
        features=["layer_1", "layer_2"],
        provenance={"data": "3f" * 32, "seed": "20261121"},
    )  # fmt: skip


def text_of(content: ReportContent) -> str:
    page = Balance()
    page.feed(render_report(content).replace("</t", " </t"))
    return " ".join(page.text.replace("\u00a0", " ").split())


def test_the_page_is_one_file_with_everything_on_it(content: ReportContent, tmp_path: Path) -> None:
    path = write_report(tmp_path / "new", content)
    page = Balance()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    for text in ("pion-muon", "shower shape", "AUC = ", "pt > 20 && pt < 90", "90,211", "75.18 %", "12,345",
                 "Loss of each epoch", "83.21", "no better for 10 epochs", "layer_1", "3f" * 32):  # fmt: skip
        assert text in page.text
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_the_page_begins_with_what_was_asked(content: ReportContent) -> None:
    assert "sample muons label = signal, weight = 1" in text_of(content)
    assert "<pre>[experiment]\nname = &#34;pion-muon&#34;  # a &lt;question&gt;</pre>" in render_report(content)


def test_every_section_that_the_list_of_contents_names_is_there(content: ReportContent, rich: ReportContent) -> None:
    for shown in (content, rich):
        page = render_report(shown)
        named, there = (re.findall(rf'{attribute}="#?([a-z]+)"', page) for attribute in ("href", "h2 id"))
        assert named == there
        assert len(named) >= 12


def test_the_layers_are_listed_with_their_sums(content: ReportContent) -> None:
    text = text_of(content)
    assert "dense Dense 128 4,352 4,224 logits Dense 1 129 129 all 4,481 4,353" in text


@pytest.mark.parametrize(("n_layers", "is_open"), [(30, True), (31, False)])
def test_a_long_table_of_layers_is_closed(content: ReportContent, n_layers: int, is_open: bool) -> None:
    page = render_report(replace(content, layers=[Layer("dense", "Dense", (8,), 72, 72)] * n_layers))
    assert ("<details open><summary>The layers, one by one" in page) is is_open
    assert ("<details><summary>The layers, one by one" in page) is not is_open


def test_a_picture_stands_in_the_section_of_its_topic(content: ReportContent) -> None:
    page = render_report(replace(content, pictures=[replace(HISTORY, section="roc", caption="a curve"), HISTORY]))
    places = [page.index(text) for text in ('id="roc"', "a curve</fig", 'id="training"', "each epoch</fig")]
    assert places == sorted(places)


def test_the_page_holds_the_same_picture_as_the_folder(content: ReportContent, tmp_path: Path) -> None:
    [image, _] = save_pictures(tmp_path, content.pictures)
    [inside] = re.findall(r'src="data:image/png;base64,([^"]*)"', render_report(content))
    assert inside == b64encode(image.read_bytes()).decode()


def test_the_page_asks_nothing_of_the_network(content: ReportContent) -> None:
    page = render_report(content)
    assert page.count("data:image/png;base64,") == 1
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)|url\(|@import|https?://|<script""", page) == []


def test_text_is_never_taken_as_html(content: ReportContent) -> None:
    trap = "<script>alert('&')</script>"
    hostile = replace(
        content, title=trap, question=trap, cutflow=[{"sample": trap, "step": trap}], missing={trap: 1},
        pictures=[replace(content.pictures[0], caption=f'"{trap}', columns=(trap,), rows=((trap,),))],
        training={"device": trap},
        features=[trap], provenance={trap: trap},
    )  # fmt: skip
    page = render_report(hostile)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 14


def test_what_was_asked_the_network_and_every_problem_are_no_html_either(
    content: ReportContent, whole: Evaluation
) -> None:
    trap = "<script>alert('&')</script>"
    record = replace(
        whole, spectators=(SpectatorFinding(trap, problem=trap),), templates=FitTemplates(None, trap),
        calibrated=Calibrated(None, problem=trap), leader_board=[replace(row, name=trap) for row in whole.leader_board],
    )  # fmt: skip
    layers = [Layer(trap, trap, (1,), 1, 1)]
    page = render_report(
        replace(content, asked={trap: trap}, experiment=trap, layers=layers, evaluation=record, pictures=[])
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 11


def test_numbers_that_do_not_exist_are_dashes(content: ReportContent) -> None:
    text = text_of(content)
    assert re.search(r"\bnan\b|\binf\b|\bNone\b(?!\.)", text) is None
    assert "∞" in text
    assert text.count("—") >= 3


def test_features_without_missing_values_are_left_out_of_their_table(content: ReportContent) -> None:
    text = text_of(replace(content, missing={"layer_1": 0, "layer_2": 3}))
    assert "Features without any are left out. feature missing values layer_2 3 Leader board" in text
    assert "part None. Leader board" in text_of(replace(content, missing={"layer_1": 0, "layer_2": 0}))


def test_the_length_of_a_layer_that_takes_any_is_a_dash(content: ReportContent) -> None:
    text = text_of(replace(content, layers=[Layer("each", "Masking", (None, 8), 0, 0)]))
    assert re.search(r"each Masking — \W 8 0 0", text)


def test_empty_tables_are_left_out(content: ReportContent) -> None:
    page = render_report(replace(content, cutflow=[], missing={}, pictures=[]))
    assert "Cut-flow" not in page
    assert "<p>None.</p>" in page


def test_the_verdict_has_the_auc_with_both_errors_and_the_significance(rich: ReportContent) -> None:
    text, record = text_of(rich), rich.evaluation
    assert f"the bootstrap gives {record.band.auc.error:.2g}" in text
    assert record.significance.quoted is not None
    assert f"At or above the score {record.significance.quoted.threshold:.4g}, chosen on the validation part" in text
    assert "with the background known to 10 %" in text


def test_an_auc_without_error_says_so(content: ReportContent) -> None:
    apart = ScoredPart(np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 1, 0, 0]), np.ones(4))
    record = evaluate(apart, apart, apart, EvaluationSpec(replicas=20), random=np.random.default_rng(1))
    assert "AUC = 1.0000 on the test part" in (text := text_of(replace(content, evaluation=record)))
    assert "Its error cannot be estimated" in text


def test_the_leader_board_is_there_where_there_are_rivals(content: ReportContent, rich: ReportContent) -> None:
    assert "No baselines were asked for" in text_of(content)
    text = text_of(rich)
    assert "No baselines" not in text
    number = r"\d+\.\d+ ± \d+\.\d+ "
    assert re.search(rf"network {number}best — ({number}){{3}}fisher {number}{number}(0\.|below|\d)", text)


def test_a_baseline_that_does_better_is_named_at_the_top(content: ReportContent, rich: ReportContent) -> None:
    assert "is ahead" not in text_of(rich) + text_of(content)
    network, fisher = rich.evaluation.leader_board
    turned = (replace(fisher, value=network.value), replace(network, value=fisher.value, lead=fisher.lead))
    text = text_of(replace(rich, evaluation=replace(rich.evaluation, leader_board=turned)))
    assert re.search(
        r"On the same events the baseline fisher is ahead, with an AUC of 0\.\d+ ± 0\.\d+: a lead of", text
    )


def test_named_working_points_show_all_events_and_every_bin_or_the_problem(rich: ReportContent) -> None:
    text = text_of(rich)
    assert "tight: background rejection of at least 10." in text
    assert "flat: signal efficiency of at least 0.5 in every bin of pt." in text
    assert re.search(r"all events — .* below 0.5 0\.\d+ .* 0.5 and above 0\.\d+ ", text)
    assert "hopeless: it cannot be had: purity = 0.999 cannot be met with at least 400 events passing" in text


def test_every_significance_is_in_the_table_with_its_error(rich: ReportContent) -> None:
    text = text_of(rich)
    for name in ("Asimov", "AMS", "s/√b", "s/√(s+b)"):
        assert re.search(rf"{re.escape(name)} \d+\.?\d* ± \d", text)
    assert "largest Asimov significance on the validation part; everything else is measured on the test part" in text


def test_scores_that_are_no_probabilities_get_a_sentence_instead_of_numbers(rich: ReportContent) -> None:
    assert "signal is 50 % of the sum of weights" in text_of(rich)
    text = text_of(replace(rich, evaluation=replace(rich.evaluation, probabilities=None, calibrated=None)))
    assert "lie outside [0, 1]" in text
    assert "Brier" not in text


def test_a_calibration_and_the_spectators_are_on_the_page_where_there_are_some(
    content: ReportContent, rich: ReportContent
) -> None:
    text = text_of(rich)
    assert "A calibration (platt) was learnt on the validation part" in text
    assert text.count("Brier score 0.") == 2
    assert re.search(r"Spectators .* pt -?0\.\d+ ± 0\.\d+ -?0\.\d+ ± 0\.\d+ 0 ", text)
    assert not {"calibration (", "Spectators"} & set(re.findall(r"calibration \(|Spectators", text_of(content)))


def test_a_spectator_with_a_problem_says_which_and_leaves_no_empty_table(
    content: ReportContent, whole: Evaluation
) -> None:
    text = text_of(replace(content, evaluation=whole))
    assert "field bins need a spectator with two different values; among 900 events it has only 3.8" in text
    assert "spectator threshold divergence" in text
    lost = replace(whole, spectators=[found for found in whole.spectators if found.problem])
    assert "spectator threshold divergence" not in text_of(replace(content, evaluation=lost))


def test_a_calibration_that_could_not_be_had_says_why(content: ReportContent, whole: Evaluation) -> None:
    lost = replace(whole, calibrated=Calibrated(None, problem="all scores are equal"))
    text = text_of(replace(content, evaluation=lost))
    assert "There is no calibration: all scores are equal." in text
    assert "was learnt on the validation part" not in text


def test_the_templates_say_their_bins_and_what_a_fit_would_reach_or_their_problem(
    content: ReportContent, whole: Evaluation
) -> None:
    assert whole.templates is not None
    assert (found := whole.templates.templates) is not None
    text = text_of(replace(content, evaluation=whole))
    assert f"They have {found.edges.size - 1} bins, chosen on the validation part and filled with the test part" in text
    assert f"about {found.significance(0.1):.4g} standard deviations" in text
    assert f"{found.significance(has_errors=False):.4g} if the background were known exactly" in text
    lost = replace(whole, templates=FitTemplates(None, "the background adds up to -3"))
    assert "There are none: the background adds up to -3." in text_of(replace(content, evaluation=lost))
    assert "Templates" not in text_of(content)


def test_edges_that_were_given_up_are_counted(content: ReportContent, whole: Evaluation) -> None:
    assert whole.templates is not None
    assert whole.templates.templates is not None
    for n_merged, is_there in ((0, False), (2, True)):
        templates = FitTemplates(replace(whole.templates.templates, n_merged=n_merged))
        text = text_of(replace(content, evaluation=replace(whole, templates=templates)))
        assert (f", after {n_merged} of the chosen edges were given up. In each" in text) is is_there


def test_folds_have_their_sentence_their_aucs_and_a_lead_of_the_method(
    content: ReportContent, rich: ReportContent, whole: Evaluation
) -> None:
    assert whole.folds is not None
    text = text_of(replace(content, evaluation=whole))
    assert agreement_sentence(whole.folds) in text
    aucs = " ".join(f"{auc.value:.3f} ± {auc.error:.3f}" for auc in whole.folds.aucs)
    assert f"fold 0 1 2 test AUC {aucs}" in text
    assert "adjusted p-value lead of the method adjusted p-value background at" in text
    assert re.search(
        r"network 0\.\d+ ± 0\.\d+ best — — — .* fisher( -?0\.\d+ ± 0\.\d+){2} \S+( 1e-09)? 0\.\d+ ± ", text
    )
    assert "lead of the method" not in text_of(rich)
    assert "test AUC" not in text_of(rich)


def test_features_are_listed_by_name_or_with_what_they_are_worth(content: ReportContent) -> None:
    assert "layer_1 layer_2" in text_of(content)
    random = np.random.default_rng(6)
    values, labels = random.normal(size=(200, 2)), np.arange(200) % 2
    values[:, 1] += 2 * labels
    worth = judge_inputs(lambda x: x[:, 1], values, values, ("layer_1", "layer_2"), labels, np.ones(200), random)
    judged = replace(content, evaluation=replace(content.evaluation, inputs=worth))
    assert re.search(r"AUC alone missing.*layer_2 0\.\d+ ± 0\.\d+ .* layer_1 ", text_of(judged))


def test_the_numbers_of_a_picture_are_in_a_closed_table(content: ReportContent) -> None:
    page = render_report(content)
    assert "<details><summary>" in page
    assert "<td>7</td><td>0.125</td>" in page


def test_folds_are_explained_where_there_are_some(content: ReportContent) -> None:
    assert "networks were trained" not in text_of(content)
    assert "5 networks were trained. Each event is judged by the one that has not seen it" in text_of(
        replace(content, training={**content.training, "folds": 5})
    )


@pytest.mark.parametrize(
    ("policy", "words"), [("keep", "count with their sign"), ("drop", "were dropped"), ("absolute", "absolute values")]
)
def test_the_page_says_what_became_of_negative_weights(
    content: ReportContent, policy: NegativePolicy, words: str
) -> None:
    assert words in text_of(replace(content, negative_weights=policy))


def test_a_significance_that_could_not_be_chosen_or_quoted_is_explained(rich: ReportContent) -> None:
    found = rich.evaluation.significance
    assert found.quoted is not None
    lost = replace(found, quoted=None, problem="nothing is left")
    assert significance_sentence(lost) == "No significance is quoted, since on the validation part nothing is left."
    blind = {name: Measured(float("nan"), float("nan")) for name in found.quoted.significances}
    nothing = replace(found, quoted=replace(found.quoted, significances=blind))
    assert significance_sentence(nothing).endswith("too little background to quote a significance.")


@pytest.mark.parametrize(
    ("observed", "sentence"), [(0.012, "perfect probabilities would have shown as well"), (0.05, "20 spreads more")]
)
def test_a_calibration_error_is_judged_against_chance(rich: ReportContent, observed: float, sentence: str) -> None:
    assert rich.evaluation.probabilities is not None
    error = CalibrationError(Measured(observed, 0.001), if_calibrated=Measured(0.01, 0.002))
    found = replace(rich.evaluation.probabilities, calibration_error=error)
    assert sentence in calibration_sentence(found)
