"""Compared: what a comparison of experiments found out, its public record and its page.

Owns the names of the two files, and what goes into them. How the scores came about is ``compare``'s.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.experiment import ExperimentFile
from flows.provenance import code_version
from flows.same_events import Prepared
from models.leader_board import Standing
from models.plain import plain
from models.yardsticks import Yardstick
from pipeline.dotted import flattened
from pipeline.durable import write_text

PAGE, RECORD = "comparison.html", "comparison.json"


@dataclass(frozen=True)
class ComparisonOutcome:
    """The leader board, and where it can be looked at; ``kinds`` says what each name on it is.

    ``run_ids`` has the MLflow run of each seed of each experiment, ``failures`` why something is not on the board.
    """

    run_id: str
    page: Path
    n_seeds: int
    n_events: int
    yardstick: Yardstick
    board: tuple[Standing, ...]
    kinds: Mapping[str, str]
    signal_efficiencies: tuple[float, ...]
    run_ids: Mapping[str, Mapping[int, str]]
    failures: Mapping[str, str]

    @property
    def record(self) -> Path:
        """The record as a file, beside the page."""
        return self.page.with_name(RECORD)

    def to_json(self) -> dict[str, Any]:
        """Return the public record of ``winnow compare --json``."""
        return {
            "run_id": self.run_id,
            "page": str(self.page),
            "seeds": self.n_seeds,
            "test_events": self.n_events,
            "metric": {"name": self.yardstick.name, "label": self.yardstick.label},
            "signal_efficiencies": list(self.signal_efficiencies),
            "board": [self._line(one) for one in self.board],
            "failures": dict(self.failures),
        }

    def _line(self, standing: Standing) -> dict[str, Any]:
        of_seeds = self.run_ids.get(standing.name, {}).items()
        seeds = [
            {"seed": seed, "run_id": run_id, **asdict(value)}
            for (seed, run_id), value in zip(of_seeds, standing.seeds, strict=True)
        ]
        line = {**asdict(standing), "kind": self.kinds[standing.name], "spread": standing.spread, "seeds": seeds}
        return dict(plain(line))


def write_outcome(
    outcome: ComparisonOutcome, experiments: Mapping[str, ExperimentFile], prepared: Mapping[str, Prepared]
) -> None:
    """Write page and record, each whole or not at all."""
    from models.report.comparison import ComparisonContent, render_comparison

    questions = dict.fromkeys(file.content.experiment.question for file in experiments.values())
    content = ComparisonContent(
        title=f"Comparison of {', '.join(experiments)}",
        question=" ".join(filter(None, questions)),
        n_events=outcome.n_events,
        yardstick=outcome.yardstick,
        board=outcome.board,
        kinds=outcome.kinds,
        signal_efficiencies=outcome.signal_efficiencies,
        experiments=list(experiments),
        differences=_differences(list(experiments.values())),
        failures=outcome.failures,
        provenance={
            **{f"file of {name}": str(file.path) for name, file in experiments.items()},
            **{f"dataset of {name}": one.datasets[0].manifest.content for name, one in prepared.items()},
            "code": code_version(),
            "run": outcome.run_id,
        },
    )
    outcome.page.parent.mkdir(parents=True, exist_ok=True)
    write_text(outcome.page, render_comparison(content))
    write_text(outcome.record, json.dumps(outcome.to_json(), indent=1))


def _differences(files: Sequence[ExperimentFile]) -> dict[str, list[str]]:
    """Return what each experiment declares, defaults filled in, under the names that do not say the same in all."""
    asked = [dict(flattened(_declared(file))) for file in files]
    names = dict.fromkeys(name for one in asked for name in one)
    found = {name: [json.dumps(one[name]) if name in one else "" for one in asked] for name in names}
    return {name: texts for name, texts in found.items() if len(set(texts)) > 1}


def _declared(file: ExperimentFile) -> dict[str, Any]:
    document = file.content.model_dump(mode="json", exclude_none=True)
    document["model"]["options"] = file.content.model.resolved_options.model_dump(mode="json")
    return document
