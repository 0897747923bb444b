"""The report: one evaluation as one HTML file that needs nothing else.

Owns the page: its order, its words and how numbers are written. What is in it was computed elsewhere;
the pictures come from ``plots`` as figures and are embedded. The page asks nothing of the network, so it
can be mailed, printed and opened years later.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from models.evaluation import Evaluation
from models.plots import plus_minus, png_of
from models.scored import Measured

COMPATIBLE_WITHIN = 2.0  # standard errors
ABSENT = "—"


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that the page shows, in its order.

    ``cutflow`` rows have the keys ``sample``, ``step``, ``events``, ``weighted``, ``error`` and
    ``efficiency`` (a fraction); ``missing`` counts the missing values of each feature; ``pictures`` maps a
    caption to its figure; ``training`` has ``epochs``, ``seconds``, ``events_per_second``, ``device`` and
    ``stopped_because``. A key that is absent is shown as a dash.
    """

    title: str
    question: str
    evaluation: Evaluation
    cutflow: Sequence[Mapping[str, object]]
    missing: Mapping[str, int]
    pictures: Mapping[str, Figure]
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
    pages = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pages.filters |= {"number": _number, "percent": _percent, "measured": _measured, "share": _share}
    return pages.from_string(PAGE).render(
        content=content,
        evaluation=content.evaluation,
        verdict=overtraining_sentence(content.evaluation.gap),
        pictures={name: b64encode(png_of(figure)).decode() for name, figure in content.pictures.items()},
    )


def overtraining_sentence(gap: Measured) -> str:
    """Say in one sentence whether AUC(train) - AUC(test) is compatible with none."""
    if not isfinite(gap.error) or gap.error <= 0.0:
        return "The error of the train-test gap cannot be estimated from these events."
    size = gap.value / gap.error
    if abs(size) <= COMPATIBLE_WITHIN:
        return f"The gap is {abs(size):.1f} standard errors: no sign of overtraining."
    if size > 0.0:
        return f"The gap is {size:.1f} standard errors: the network knows its training events too well."
    return (
        f"The test part does better than the training part by {-size:.1f} standard errors: "
        "the two parts may not be alike; look at how they were split."
    )


def _number(value: object) -> str:
    if value is None or value == "":
        return ABSENT
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return _real(float(value)) if isinstance(value, float | np.floating) else str(value)


def _real(value: float) -> str:
    if not isfinite(value):
        return "∞" if value > 0.0 else ABSENT
    return f"{value:,.0f}" if abs(value) >= 1_000.0 else f"{value:.4g}"


def _percent(value: object) -> str:
    if isinstance(value, int | float | np.floating) and isfinite(value):
        return f"{100.0 * float(value):.2f} %"
    return ABSENT


def _measured(number: Measured) -> str:
    return plus_minus(number) if isfinite(number.value) else _number(number.value)


def _share(number: Measured) -> str:
    if not isfinite(number.value):
        return ABSENT
    return plus_minus(Measured(100.0 * number.value, 100.0 * number.error))


PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ content.title }} - evaluation</title>
<style>
  :root { color-scheme: light; }
  body { margin: 2rem auto; padding: 0 1rem; max-width: 56rem; background: #fff; color: #1c1c1c;
         font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
  h1 { margin: 0; font-size: 1.8rem; line-height: 1.2; overflow-wrap: anywhere; }
  h2 { margin: 2.2rem 0 .6rem; font-size: 1.2rem; border-bottom: 1px solid #ccc; }
  .question { margin: .3rem 0 1.2rem; font-size: 1.1rem; color: #555; }
  .verdict { padding: .8rem 1rem; border-left: 5px solid #0072b2; background: #f2f7fb; }
  .verdict strong { font-size: 1.35rem; }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
  th, td { padding: .28rem .8rem .28rem 0; text-align: right; border-bottom: 1px solid #e4e4e4; }
  th { font-weight: 600; border-bottom-color: #999; vertical-align: bottom; }
  .name { text-align: left; overflow-wrap: anywhere; }
  td { white-space: nowrap; }
  th.key { border-bottom-color: #e4e4e4; }
  .free { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
  caption, .note { text-align: left; color: #555; font-size: .88rem; }
  figure { margin: 1.4rem 0; break-inside: avoid; }
  figure img { width: 100%; height: auto; }
  figcaption { color: #555; font-size: .92rem; }
  ul.features { columns: 12rem; padding-left: 1.2rem; overflow-wrap: anywhere; }
  @media print { body { margin: 0; max-width: none; font-size: 11pt; } h2 { break-after: avoid; }
                 .wide { overflow: visible; break-inside: avoid; } table { font-size: 8.5pt; }
                 th, td { padding-right: .5rem; } }
</style>
</head>
<body>
<h1>{{ content.title }}</h1>
<p class="question">{{ content.question }}</p>
<p class="verdict"><strong>AUC = {{ evaluation.auc | measured }}</strong> on the test part.<br>
Training part {{ evaluation.auc_train | measured }}, validation part {{ evaluation.auc_validation | measured }};
training minus test {{ evaluation.gap | measured }}. {{ verdict }}</p>

<h2>Events</h2>
<p class="note">Numbers of events are raw. Sums of weights are physics weights, scaled in every part to the yield of the
whole sample.</p>
<div class="wide"><table>
<tr><th class="name">part</th><th class="name">class</th><th>events</th><th>sum of weights</th>
<th>effective events</th><th>negative weights</th></tr>
{% for row in evaluation.counts %}
<tr><td class="name">{{ row.part }}</td><td class="name">{{ row.kind }}</td><td>{{ row.events | number }}</td>
<td>{{ row.sum_of_weights | number }}</td><td>{{ row.effective_events | number }}</td>
<td>{{ row.negative_weights | number }}</td></tr>
{% endfor %}
</table></div>

{% if content.cutflow %}
<h2>Cut-flow</h2>
<div class="wide"><table>
<tr><th class="name">sample</th><th class="name">step</th><th>events</th><th>weighted</th><th>error</th>
<th>efficiency</th></tr>
{% for row in content.cutflow %}
<tr><td class="name free">{{ row.get("sample") | number }}</td>
<td class="name free">{{ row.get("step") | number }}</td>
<td>{{ row.get("events") | number }}</td><td>{{ row.get("weighted") | number }}</td>
<td>{{ row.get("error") | number }}</td><td>{{ row.get("efficiency") | percent }}</td></tr>
{% endfor %}
</table></div>
{% endif %}

<h2>Missing values in the training part</h2>
{% if content.missing %}
<div class="wide"><table>
<tr><th class="name">feature</th><th>missing values</th></tr>
{% for name, count in content.missing.items() %}
<tr><td class="name free">{{ name }}</td><td>{{ count | number }}</td></tr>
{% endfor %}
</table></div>
{% else %}
<p>None.</p>
{% endif %}

{% if evaluation.working_points %}
<h2>Working points</h2>
<p class="note">Thresholds are chosen on the validation part for the signal efficiency asked for; everything
else is measured on the test part. Purity holds for the proportions that the weights describe.</p>
<div class="wide"><table>
<tr><th>asked for, %</th><th>threshold</th><th>signal efficiency, %</th><th>background efficiency, %</th>
<th>rejection</th><th>purity, %</th><th>signal events</th><th>background events</th></tr>
{% for point in evaluation.working_points %}
<tr><td>{{ '%g' % (100 * point.requested) }}</td><td>{{ point.quoted.threshold | number }}</td>
<td>{{ point.quoted.signal_efficiency | share }}</td><td>{{ point.quoted.background_efficiency | share }}</td>
<td>{{ point.quoted.rejection | measured }}</td><td>{{ point.quoted.purity | share }}</td>
<td>{{ point.quoted.n_signal | number }}</td><td>{{ point.quoted.n_background | number }}</td></tr>
{% endfor %}
</table></div>
{% endif %}

<h2>Pictures</h2>
{% for caption, picture in pictures.items() %}
<figure><img alt="{{ caption }}" src="data:image/png;base64,{{ picture }}">
<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}

<h2>Training</h2>
<div class="wide"><table>
{% for key, name in [("epochs", "epochs"), ("seconds", "seconds"), ("events_per_second", "events per second"),
                     ("device", "device"), ("backend", "backend"), ("is_compiled", "compiled"),
                     ("best_epoch", "epoch that was kept"), ("stopped_because", "stopped because")] %}
<tr><th class="name key">{{ name }}</th><td class="name free">{{ content.training.get(key) | number }}</td></tr>
{% endfor %}
</table></div>

<h2>Features ({{ content.features | length }})</h2>
<ul class="features">
{% for name in content.features %}
<li>{{ name }}</li>
{% endfor %}
</ul>

<h2>Provenance</h2>
<div class="wide"><table>
{% for key, value in content.provenance.items() %}
<tr><th class="name key">{{ key }}</th><td class="name free">{{ value }}</td></tr>
{% endfor %}
</table></div>
</body>
</html>
"""
