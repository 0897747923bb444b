"""The page: one evaluation as one HTML file that needs nothing else.

Owns how the page is put together; its order is in ``chapters``, its layout in ``report.html`` and its ``pieces``, its
words in ``sentences``, its numbers in ``numbers``, its pictures in ``pictures``. What is in it was computed elsewhere.
The page asks nothing of the network, so it can be mailed, printed and opened years later.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isinf
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from models.anatomy import Layer
from models.judgement import Judgement
from models.leader_board import NETWORK, PLAIN
from models.report import numbers
from models.report.chapters import FINDINGS, chapters_of
from models.report.picture import Picture
from models.report.sentences import (
    MEASURES,
    NEGATIVE_WEIGHTS,
    NegativePolicy,
    agreement_sentence,
    calibration_sentence,
    forgetting_sentence,
    overtraining_sentence,
    request_of,
    significance_sentence,
)
from models.report.verdicts import (
    confusion_sentence,
    dependence_sentence,
    gap_sentence,
    labels_sentence,
    residuals_sentence,
)
from models.working_points import QuotedCut

MOST_LAYERS = 30
"""Layers up to which their table is open."""


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that the page shows.

    ``asked`` is what the experiment declares, section by section, and ``experiment`` the text of its file.
    ``cutflow`` rows have the keys ``sample``, ``step``, ``events``, ``weighted``, ``error`` and ``efficiency`` (a
    fraction); ``missing`` counts the missing values of each feature; ``training`` has ``folds``, ``epochs``,
    ``seconds``, ``events_per_second``, ``device`` and ``stopped_because``. A key that is absent is shown as a dash.
    """

    title: str
    question: str
    asked: Mapping[str, str]
    experiment: str
    evaluation: Judgement
    negative_weights: NegativePolicy
    background_uncertainty: float
    cutflow: Sequence[Mapping[str, object]]
    missing: Mapping[str, int]
    pictures: Sequence[Picture]
    training: Mapping[str, object]
    layers: Sequence[Layer]
    features: Sequence[str]
    provenance: Mapping[str, str]


def write_report(folder: Path, content: ReportContent) -> Path:
    """Write ``report.html`` into ``folder`` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    path.write_text(render_report(content), encoding="utf-8")
    return path


def render_report(content: ReportContent) -> str:
    """Return the page as a text; everything that is put into it is escaped."""
    return rendered(
        "report.html",
        content=content,
        evaluation=content.evaluation,
        policy=NEGATIVE_WEIGHTS[content.negative_weights],
        measures=MEASURES,
        network=NETWORK,
        plain=PLAIN,
        folds=content.training.get("folds", 1),
        uncertainty=content.background_uncertainty,
        most_layers=MOST_LAYERS,
        chapters=chapters_of(content),
        verdict=FINDINGS[type(content.evaluation)].verdict,
    )


def rendered(template: str, **values: object) -> str:
    """Fill in one of the templates of this folder."""
    pages = Environment(
        loader=PackageLoader("models.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "number": numbers.number, "percent": numbers.percent, "measured": numbers.measured, "share": numbers.share,
        "overtraining_sentence": overtraining_sentence, "significance_sentence": significance_sentence,
        "calibration_sentence": calibration_sentence, "agreement_sentence": agreement_sentence,
        "gap_sentence": lambda gap, name: gap_sentence(name, gap), "confusion_sentence": confusion_sentence,
        "labels_sentence": labels_sentence, "residuals_sentence": residuals_sentence,
        "dependence_sentence": dependence_sentence,
        "forgetting_sentence": forgetting_sentence, "request": request_of, "image": _image, "bin_name": _bin_name,
        "two_digits": numbers.two_digits, "p_value": numbers.p_value, "unbroken": numbers.unbroken,
    }  # fmt: skip
    return pages.get_template(template).render(**values)


def _bin_name(row: QuotedCut) -> str:
    if row.low is None or row.high is None or (isinf(row.low) and isinf(row.high)):
        return "all events"
    if isinf(row.low):
        return f"below {numbers.number(row.high)}"
    low = numbers.number(row.low)
    return f"{low} and above" if isinf(row.high) else f"{low} to {numbers.number(row.high)}"


def _image(picture: Picture) -> str:
    return b64encode(picture.png).decode()
