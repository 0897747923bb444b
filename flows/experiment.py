"""The experiment: the whole file as one frozen value, and its hash.

Owns the order of the sections and the rules that hold between them. What a section may say belongs to
the module that obeys it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from flows.promote import PromotionSpec
from flows.schedule import ScheduleSpec
from flows.search import TuneSpec, refused_values
from models.build import ARCHITECTURES, ModelSpec, block_problems, head_of
from models.decorrelation import SMALLEST_BATCH
from models.evaluation import EvaluationSpec
from models.heads import HEADS, STEP
from models.questions import unanswerable
from models.training import TrainingSpec
from models.yardsticks import YARDSTICKS
from pipeline.dataset import hash_of
from pipeline.declare import Declaration, declaration_error, read_declaration, read_toml
from pipeline.dotted import with_value
from pipeline.errors import nearest_spelling
from pipeline.plan import DataSpec


def _is_name(text: str) -> str:
    if re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]*", text) is None:
        usable = re.sub("[^A-Za-z0-9_.]+", "-", text).strip("-_.") or "pion-muon"
        msg = f"received {text!r}; a name begins with a letter or digit, and has letters, digits and - _ . alone"
        raise ValueError(f"{msg}, as in {usable!r}")
    return text


Name = Annotated[str, AfterValidator(_is_name)]
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
        name, head = self.model.head, head_of(self.model)
        if head.seeks == "class" and self.targets:
            fitting = " or ".join(repr(name) for name, head in HEADS.items() if head.seeks != "class")
            raise ValueError(f"model.head = {name!r} finds a class, and there are [targets]; write head = {fitting}")
        if head.seeks != "class" and not self.targets:
            raise ValueError(f"model.head = {name!r} needs {head.needs}: a name and an expression for each of them")
        if not head.fits(len(self.classes)):
            msg = f"model.head = {name!r} needs {head.needs}, and the samples hold: {', '.join(self.classes)}"
            raise ValueError(f"{msg}; head = 'softmax' takes any number" if len(self.classes) > 1 else msg)
        return self

    @model_validator(mode="after")
    def _architecture_finds_what_it_sees(self) -> "Experiment":
        if problems := block_problems(self.model, self.features.blocks):
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _has_a_loss(self) -> "Experiment":
        head = head_of(self.model)
        if self.training.loss is None:
            training = self.training.model_copy(update={"loss": head.default_loss})
            # A default as any other, which is hashed and logged; only it is another section that says it.
            object.__setattr__(self, "training", training)
        elif self.training.loss not in head.losses:
            msg = f"training.loss = {self.training.loss!r} is none of head = {self.model.head!r}; it has: "
            raise ValueError(msg + ", ".join(sorted(head.losses)))
        return self

    @model_validator(mode="after")
    def _has_a_learning_rate(self) -> "Experiment":
        rate = ARCHITECTURES[self.model.architecture].learning_rate
        if rate is not None and "learning_rate" not in self.training.model_fields_set:
            object.__setattr__(self, "training", self.training.model_copy(update={"learning_rate": rate}))
        return self

    @model_validator(mode="after")
    def _decorrelates_from_a_spectator(self) -> "Experiment":
        if (spec := self.training.decorrelate) is None:
            return self
        if self.model.head != "binary":
            raise ValueError(f"training.decorrelate is for head = 'binary'; received {self.model.head!r}")
        problems = []
        if (name := spec.variable) in self.features.inputs:
            problems.append(f"{name!r} is an input, and a network cannot forget what it is shown")
        elif name not in (spectators := self.features.spectators):
            hint = nearest_spelling(name, spectators)
            problems.append(f"variable = {name!r} is no spectator{hint}; write [features] spectators = [{name!r}]")
        if not self.training.compiled:
            problems.append("it needs the compiled epoch; received compiled = false")
        if head_of(self.model).output is STEP:
            problems.append(f"a step has no slope to learn it by; received architecture = {self.model.architecture!r}")
        if self.training.batch_size < SMALLEST_BATCH:
            problems.append(f"it needs a batch_size of {SMALLEST_BATCH} or more; received {self.training.batch_size}")
        if (stopping := self.training.early_stopping) and stopping.watch == "loss":
            problems.append("early_stopping.watch = 'loss' knows nothing of it; write 'validation_loss'")
        if problems:
            raise ValueError(f"training.decorrelate: {'; '.join(problems)}")
        return self

    @model_validator(mode="after")
    def _has_a_metric(self) -> "Experiment":
        found = YARDSTICKS[head_of(self.model).judged_as].name
        if self.promotion.metric is None:
            object.__setattr__(self, "promotion", self.promotion.model_copy(update={"metric": found}))
        elif self.promotion.metric != found:
            msg = f"promotion.metric = {self.promotion.metric!r} is none of head = {self.model.head!r}"
            raise ValueError(f"{msg}; it has: {found}")
        return self

    @model_validator(mode="after")
    def _asks_what_can_be_answered(self) -> "Experiment":
        problems = unanswerable(self.evaluation, self.model.head)
        if self.features.spectators and not head_of(self.model).is_single:
            msg = f"features.spectators is no question to head = {self.model.head!r}; it needs head = 'binary'"
            problems.append(msg)
        if problems:
            raise ValueError("; ".join(problems))
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
