"""The plan: which files are read, and which of their columns, before any event is.

Owns the sections of the experiment file that decide what a dataset is, taken together, and what can be
known from them and from the heads of the files alone.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from pipeline.declare import Declaration
from pipeline.errors import DataError, nearest_spelling
from pipeline.expressions import expression_problem
from pipeline.features import FeatureSpec, Recipe
from pipeline.layout import repeated_names
from pipeline.normalise import NormaliseSpec
from pipeline.samples import ALL_EVENTS, SampleSpec, classes_of
from pipeline.schema import ColumnSpec
from pipeline.selection import READ, SelectSpec
from pipeline.sources import describe
from pipeline.splitting import SplitSpec
from pipeline.weights import NOT_NEGATIVE, WeightSpec

STEPS = (READ, NOT_NEGATIVE)
"""Steps of the cut-flow that are no cuts."""


MOST_CLASSES = 127

TWO_CLASSES = ("background", "signal")


class DataSpec(Declaration):
    """The sections of an experiment file that decide what the dataset is."""

    samples: tuple[SampleSpec, ...] = Field(min_length=1)
    columns: dict[str, ColumnSpec] = Field(default_factory=dict)
    derive: dict[str, str] = Field(default_factory=dict)
    targets: dict[str, str] = Field(default_factory=dict)
    select: tuple[SelectSpec, ...] = ()
    features: FeatureSpec
    normalise: NormaliseSpec = NormaliseSpec()
    weights: WeightSpec = WeightSpec()
    split: SplitSpec = SplitSpec()

    @field_validator("samples")
    @classmethod
    def _have_names_of_their_own(cls, samples: tuple[SampleSpec, ...]) -> tuple[SampleSpec, ...]:
        problems = [
            f"two samples are called {name!r}; every sample needs a name of its own"
            for name in repeated_names([sample.name for sample in samples])
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return samples

    @field_validator("select")
    @classmethod
    def _are_steps_of_a_cut_flow(cls, select: tuple[SelectSpec, ...]) -> tuple[SelectSpec, ...]:
        names = [cut.name for cut in select]
        problems = [
            f"two cuts are called {name!r}; every cut needs a name of its own" for name in repeated_names(names)
        ]
        problems += [f"no cut can be called {name!r}, a step of every cut-flow" for name in STEPS if name in names]
        if problems:
            raise ValueError("; ".join(problems))
        return select

    @field_validator("derive", "targets")
    @classmethod
    def _are_expressions(cls, texts: dict[str, str]) -> dict[str, str]:
        problems = [f"{name} = {text!r}: {p}" for name, text in texts.items() if (p := expression_problem(text))]
        if problems:
            raise ValueError("; ".join(problems))
        return texts

    @model_validator(mode="after")
    def _say_what_is_to_be_found(self) -> "DataSpec":
        if problems := [] if self.targets else _class_problems(self.classes):
            raise ValueError(f"samples: {'; '.join(problems)}")
        return self

    @model_validator(mode="after")
    def _inputs_do_not_tell(self) -> "DataSpec":
        kinds = {name: spec.kind for name, spec in self.columns.items()}
        ids = [name for name in self.features.texts if kinds.get(name) == "id"]
        if ids:
            raise ValueError(f"features.inputs: {ids[0]!r} is declared as an id; ids are no features")
        return self

    @model_validator(mode="after")
    def _presences_are_not_clipped(self) -> "DataSpec":
        if self.features.collections and self.normalise.method != "none" and self.normalise.clip < 1:
            msg = f"normalise.clip: received {self.normalise.clip:g}; with collections at least 1 is needed"
            raise ValueError(f"{msg}, for an element that is there is told by a 1")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of their index."""
        return classes_of(self.samples)

    @property
    def recipe(self) -> Recipe:
        """How the feature matrix is made."""
        missing = self.features.missing
        return Recipe(
            derive=self.derive,
            inputs=self.features.inputs,
            collections=self.features.collections,
            images=self.features.images,
            sentinels=missing.values,
            own_sentinels={name: missing.of(name).values for name in missing.overrides},
        )


def _class_problems(classes: tuple[str, ...]) -> list[str]:
    """With two classes the names say which one is signal; anything else would leave that to the alphabet."""
    if ALL_EVENTS in classes:
        return ["label is missing: write label = 'signal', or a column that tells; or [targets] name what is sought"]
    if len(classes) > MOST_CLASSES:
        return [f"{len(classes)} classes; at most {MOST_CLASSES} are told apart"]
    if len(classes) < 2:
        return [f"one class only: {', '.join(classes)}; at least two are needed"]
    if len(classes) > 2:
        return []
    unknown = [name for name in classes if name not in TWO_CLASSES]
    needed = "two classes are called 'signal' and 'background', three or more (head = 'softmax') as you like"
    return [f"received label {name!r}; {needed}{nearest_spelling(name, TWO_CLASSES)}" for name in unknown]


@dataclass(frozen=True)
class SampleFile:
    """One file of one sample, and the columns of it that the experiment needs.

    ``derived`` are the derived columns that something uses; ``kinds`` and ``spectator_kinds`` are those of the columns
    that the features and the spectators need.
    """

    sample: SampleSpec
    index: int
    path: Path
    needed: frozenset[str]
    derived: frozenset[str]
    features_need: frozenset[str]
    kinds: dict[str, str]
    spectator_kinds: dict[str, str]
    n_events: int


def plan_files(spec: DataSpec, folder: Path) -> Iterator[SampleFile]:
    """Yield every file of every sample, after looking at what it holds.

    Raises:
        UnreadableFileError, MissingColumnError, ExpressionError: as reading it would.
        DataError: an input needs a column that tells the class, the weight or the identity; or a file is in
            two samples.

    """
    if problems := shared_files(spec, {sample.name: sample.paths(folder) for sample in spec.samples}):
        raise DataError("; ".join(problems))
    for index, sample in enumerate(spec.samples):
        for path in sample.paths(folder):
            yield look_at_file(spec, index, path)


def shared_files(spec: DataSpec, paths: Mapping[str, Collection[Path]]) -> list[str]:
    """Return one line for every file of which all events would be in two samples, as by a pattern too wide.

    ``paths`` are the files of each sample. A column that tells the class may share the events of a file out.
    """
    owners: dict[tuple[Path, str | None], list[str]] = {}
    for sample in spec.samples:
        for path in paths.get(sample.name, ()) if isinstance(sample.label, str) else ():
            owners.setdefault((path.resolve(), sample.tree), []).append(sample.name)
    return [
        f"{path} is in the samples {' and '.join(map(repr, names))}: its events would count as both"
        for (path, _), names in owners.items()
        if len(names) > 1
    ]


def look_at_file(spec: DataSpec, index: int, path: Path) -> SampleFile:
    """Find out which columns of one file the experiment needs."""
    sample, recipe = spec.samples[index], spec.recipe
    found = describe(path, sample.layout)
    available = found.columns.keys()
    features_need = recipe.needed_for(recipe.texts, available)
    weight_needs = recipe.needed_for([sample.weight], available)
    spectators_need = recipe.needed_for(spec.features.spectators, available)
    targets_need = recipe.needed_for(spec.targets.values(), available)
    texts = [*recipe.texts, sample.weight, *spec.features.spectators, *spec.targets.values()]
    texts += [cut.keep for cut in spec.select]
    identity = frozenset(spec.split.columns(features_need))
    _refuse_leaks(spec, sample, features_need, weight_needs, targets_need)
    declared = frozenset(spec.columns) - recipe.derive.keys()
    needed = recipe.needed_for(texts, available) | identity | sample.label_columns | declared
    derived = recipe.derived_for(texts, available)
    kinds, spectator_kinds = (
        {name: str(found.columns[name]) for name in sorted(names) if name in available}
        for names in (features_need, spectators_need)
    )
    return SampleFile(sample, index, path, needed, derived, features_need, kinds, spectator_kinds, found.n_events)


def _refuse_leaks(
    spec: DataSpec,
    sample: SampleSpec,
    features_need: frozenset[str],
    weight_needs: frozenset[str],
    targets_need: frozenset[str],
) -> None:
    identity = {name for name, column in spec.columns.items() if column.kind == "id"}
    identity |= set() if isinstance(spec.split.by, str) else set(spec.split.by)
    roles = {
        "the label": sample.label_columns,
        "a weight": weight_needs,
        "a target": targets_need,
        "the identity of an event": identity,
    }
    for role, columns in roles.items():
        leaks = sorted((features_need & columns) - set(spec.features.allow))
        if leaks:
            msg = f"sample {sample.name!r}: an input needs column {leaks[0]!r}, which makes {role}"
            raise DataError(f"{msg}; if that is meant, write [features] allow = [{leaks[0]!r}]")
