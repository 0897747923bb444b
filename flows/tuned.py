"""Tuned: what a search found out, its public record, and the experiment file with the best values.

Owns the form of the file that ``winnow train`` takes: everything that was declared, with other values. How the values
were found is ``tune``'s.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os.path import relpath
from pathlib import Path
from typing import Any

from flows.experiment import ExperimentFile
from flows.study import TrialRecord
from pipeline.dotted import with_value
from pipeline.errors import DeclarationError
from pipeline.sources import first_matches
from pipeline.toml_text import toml_text


@dataclass(frozen=True)
class TuningOutcome:
    """The best trial, what the experiment reaches as declared (``None``: nothing), and the trials that were made."""

    run_id: str
    study: Path
    written: Path
    best: TrialRecord
    declared: float | None
    trials: tuple[TrialRecord, ...]
    importance: Mapping[str, float]

    @property
    def improvement(self) -> float | None:
        """By how much the best validation loss is below that of the experiment as declared."""
        return None if self.declared is None or self.best.loss is None else self.declared - self.best.loss

    def to_json(self) -> dict[str, Any]:
        """Return the public record of ``winnow tune --json``."""
        states = [trial.state for trial in self.trials]
        return {
            "run_id": self.run_id,
            "study": str(self.study),
            "written": str(self.written),
            "metric": "validation_loss",
            "counts": {state: states.count(state) for state in ("complete", "pruned", "failed")},
            "declared": self.declared,
            "best": asdict(self.best),
            "improvement": self.improvement,
            "importance": dict(self.importance),
            "trials": [asdict(trial) for trial in self.trials],
        }


def target_of(file: ExperimentFile, folder: Path, own: str | None) -> Path:
    """Return where the tuned experiment goes; ``own`` are the fingerprints of what may have been written there before.

    Raises:
        DeclarationError: another file is there, or what was written there has been changed since.
    """
    target = folder / f"{file.path.stem}-tuned.toml"
    if target.exists() and fingerprint(target.read_bytes()) not in (own or "").split():
        raise DeclarationError(f"{target} is there already; move it, or name another folder with --out")
    return target


def fingerprint(content: bytes) -> str:
    """Return the SHA-256 of what is in a file."""
    return hashlib.sha256(content).hexdigest()


def text_of_tuned(file: ExperimentFile, values: Mapping[str, Any], target: Path, remark: str) -> str:
    """Return the experiment with other values, and without its search, to be used from where it will lie."""
    document = {section: content for section, content in tomllib.loads(file.text).items() if section != "tune"}
    for name, value in values.items():
        document = with_value(document, name, value)
    if target.parent.resolve() != file.folder.resolve():
        document = _moved(document, file.folder.resolve(), target.parent.resolve())
    return "".join(f"# {line}\n" for line in remark.splitlines()) + "\n" + toml_text(document)


def _moved(document: dict[str, Any], folder: Path, target: Path) -> dict[str, Any]:
    """Return a document whose paths are relative to another folder; those found elsewhere stay as they are."""

    def path_from_there(path: str) -> str:
        return relpath(folder / path, target) if first_matches(path, [folder]) else path

    samples = [{**one, "files": list(map(path_from_there, one["files"]))} for one in document["samples"]]
    moved = {**document, "samples": samples}
    watch = document.get("schedule", {}).get("score", {})
    for key in watch.keys() & {"watch", "out"}:
        moved = with_value(moved, f"schedule.score.{key}", relpath(folder / watch[key], target))
    return moved
