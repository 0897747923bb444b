"""The experiment: the whole file as one frozen value, and its hash.

Owns the order of the sections and the rules that hold between them. What a section may say belongs to
the module that obeys it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from flows.promote import PromotionSpec
from flows.schedule import ScheduleSpec
from flows.search import TuneSpec, refused_values
from models.build import ModelSpec, head_of
from models.evaluation import EvaluationSpec
from models.training import TrainingSpec
from pipeline.dataset import hash_of
from pipeline.declare import Declaration, declaration_error, read_declaration, read_toml
from pipeline.dotted import with_value
from pipeline.errors import nearest_spelling
from pipeline.plan import DataSpec

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""A name that is also a registered model's, a folder's and part of an address."""


class ExperimentSpec(Declaration):
    """The ``[experiment]`` section."""

    name: Name
    seed: int = Field(0, ge=0, lt=2**63)
    question: str = ""


class Experiment(DataSpec):
    """A whole experiment file. ``folder`` is where it lies; it is no key of the file."""

    experiment: ExperimentSpec
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    promotion: PromotionSpec = PromotionSpec()
    schedule: ScheduleSpec | None = None
    tune: TuneSpec | None = None

    @model_validator(mode="after")
    def _head_fits_the_classes(self) -> "Experiment":
        head = head_of(self.model)
        if not head.n_classes(len(self.classes)):
            msg = f"model.head = {self.model.head!r} needs {head.needs}, and the samples hold: "
            raise ValueError(msg + ", ".join(self.classes))
        return self

    @model_validator(mode="after")
    def _has_a_loss(self) -> "Experiment":
        if self.training.loss is None:
            training = self.training.model_copy(update={"loss": head_of(self.model).default_loss})
            # A default as any other, which is hashed and logged; only it is another section that says it.
            object.__setattr__(self, "training", training)
        return self

    @model_validator(mode="after")
    def _search_touches_no_test_event(self) -> "Experiment":
        if self.tune and self.split.folds > 1:
            msg = f"tune: with split.folds = {self.split.folds} every event tests a network, also those of a search"
            raise ValueError(f"{msg}; search with folds = 1, and write what is found into the file with folds")
        return self

    @model_validator(mode="after")
    def _bins_are_of_spectators(self) -> "Experiment":
        spectators = self.features.spectators
        for point in self.evaluation.working_points:
            if point.bins and (name := point.bins.variable) not in spectators:
                msg = f"evaluation.working_points: {point.name!r} has bins of {name!r}, which is no spectator"
                hint = nearest_spelling(name, spectators)
                raise ValueError(f"{msg}{hint}; write [features] spectators = [{name!r}]")
        return self

    @property
    def name(self) -> str:
        """The name of the experiment, of its runs and of its registered model."""
        return self.experiment.name

    @property
    def hash(self) -> str:
        """SHA-256 of the resolved experiment, defaults filled in."""
        return hash_of(self.model_dump(mode="json"))


class ExperimentFile(Declaration):
    """An experiment and where it was read from; relative file names are relative to ``path``'s folder."""

    path: Annotated[Path, BeforeValidator(lambda p: Path(p).absolute())]
    text: str
    content: Experiment

    @property
    def folder(self) -> Path:
        """The folder that relative file names are relative to."""
        return self.path.parent


def load_experiment(path: Path | str) -> ExperimentFile:
    """Read an experiment file.

    Raises:
        DeclarationError: every problem of the file at once, each with its path in the file, what was
            received, what is allowed, and the nearest spelling.
    """
    path = Path(path)
    document = read_toml(path)
    content = read_declaration(document, Experiment, str(path))
    if problems := _refused_by_search(document, content):
        raise declaration_error(str(path), problems)
    return ExperimentFile(path=path, text=path.read_text(encoding="utf-8"), content=content)


def with_values(document: Mapping[str, Any], values: Mapping[str, Any]) -> Experiment:
    """Return the experiment of a document with other values under some dotted names.

    Raises:
        DeclarationError: the experiment refuses them.
    """
    varied = dict(document)
    for name, value in values.items():
        varied = with_value(varied, name, value)
    return read_declaration(varied, Experiment, ", ".join(f"{name} = {value!r}" for name, value in values.items()))


def _refused_by_search(document: Mapping[str, Any], content: Experiment) -> list[str]:
    if content.tune is None:
        return []
    return list(refused_values(content.tune, lambda v: with_values(document, v).training.loss, content.training.loss))
