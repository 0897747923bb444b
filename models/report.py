"""The report: one evaluation as one HTML file that needs nothing else.

Owns how the page is put together and how numbers are written; its order and its layout are in ``report.html``, its
words in ``sentences``, its pictures in ``pictures``. What is in it was computed elsewhere. The page asks nothing of
the network, so it can be mailed, printed and opened years later.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from models.pictures import Picture
from models.plots import plus_minus, png_of
from models.record import Evaluation
from models.scored import Measured
from models.sentences import (
    MEASURES,
    NEGATIVE_WEIGHTS,
    NegativePolicy,
    calibration_sentence,
    measured,
    overtraining_sentence,
    request_of,
    significance_sentence,
)

ABSENT = "—"
SMALLEST_P_VALUE = 1e-9
"""Below this a p-value says more of the normal approximation than of the difference."""


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that the page shows.

    ``cutflow`` rows have the keys ``sample``, ``step``, ``events``, ``weighted``, ``error`` and
    ``efficiency`` (a fraction); ``missing`` counts the missing values of each feature; ``training`` has
    ``folds``, ``epochs``, ``seconds``, ``events_per_second``, ``device`` and ``stopped_because``. A key that is
    absent is shown as a dash.
    """

    title: str
    question: str
    evaluation: Evaluation
    negative_weights: NegativePolicy
    cutflow: Sequence[Mapping[str, object]]
    missing: Mapping[str, int]
    pictures: Sequence[Picture]
    training: Mapping[str, object]
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
    pages = Environment(
        loader=PackageLoader("models", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "number": _number, "percent": _percent, "measured": measured, "share": _share,
        "overtraining_sentence": overtraining_sentence, "significance_sentence": significance_sentence,
        "calibration_sentence": calibration_sentence, "request": request_of, "image": _image,
        "two_digits": _two_digits, "p_value": _p_value, "unbroken": _unbroken,
    }  # fmt: skip
    return pages.get_template("report.html").render(
        content=content,
        evaluation=content.evaluation,
        policy=NEGATIVE_WEIGHTS[content.negative_weights],
        measures=MEASURES,
        folds=content.training.get("folds", 1),
    )


def _number(value: object) -> str:
    if value is None or value == "":
        return ABSENT
    if isinstance(value, Measured):
        return measured(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return _real(float(value)) if isinstance(value, float | np.floating) else str(value)


def _real(value: float) -> str:
    if not isfinite(value):
        return "∞" if value > 0.0 else ABSENT
    return f"{value:,.0f}" if abs(value) >= 1_000.0 else f"{value:.4g}"


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if isfinite(value) and value > 0.0 else ABSENT


def _p_value(value: float) -> str:
    return f"below {SMALLEST_P_VALUE:.0e}" if value < SMALLEST_P_VALUE else _two_digits(value)


def _unbroken(text: str) -> str:
    """Keep numbers together with their errors and per cent signs at the end of a line."""
    return text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")


def _percent(value: object) -> str:
    if isinstance(value, int | float | np.floating) and isfinite(value):
        return f"{100.0 * float(value):.2f} %"
    return ABSENT


def _share(number: Measured) -> str:
    if not isfinite(number.value):
        return ABSENT
    return plus_minus(Measured(100.0 * number.value, 100.0 * number.error))


def _image(picture: Picture) -> str:
    return b64encode(png_of(picture.figure)).decode()
