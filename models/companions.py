"""Companions: the columns that stand beside the score of an event.

Owns their names and types (``passes_<name>`` for every cut, ``probability``), and the way from raw columns to the
variables on which thresholds depend. What a cut lets pass is ``working_points``' business, what a score is worth
``calibration``'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration
from models.cuts import Cut
from pipeline.chunk import Chunk
from pipeline.errors import missing_column
from pipeline.features import Recipe

PASSES, PROBABILITY = "passes_", "probability"
"""Names of the columns; the first is followed by that of the cut."""


def companion_types(cuts: Sequence[Cut], calibration: Calibration | None) -> dict[str, np.dtype[Any]]:
    """Return the columns that stand beside the scores, with their types: the cuts in turn, then the probability."""
    types: dict[str, np.dtype[Any]] = {f"{PASSES}{cut.name}": np.dtype(np.bool_) for cut in cuts}
    return types if calibration is None else {**types, PROBABILITY: np.dtype(np.float32)}


@dataclass(frozen=True)
class CutVariables:
    """The variables of the bins of cuts, each once, and the ``raw`` and ``derived`` columns that they need.

    The raw columns of the features are among ``raw``: the recipe asks for them where it looks for sentinels.
    """

    names: tuple[str, ...]
    recipe: Recipe
    raw: frozenset[str]
    derived: frozenset[str]

    @classmethod
    def of(cls, cuts: Sequence[Cut], recipe: Recipe, columns: Mapping[str, str]) -> Self:
        """Find out what the variables need of ``columns``, the raw ones that there are (name → kind)."""
        names = _variables_of(cuts)
        raw = recipe.needed_for((*recipe.texts, *names), columns)
        return cls(names, recipe, raw, recipe.derived_for(names, columns))

    def values(self, chunk: Chunk) -> dict[str, NDArray[np.float64]]:
        """Return the variables of raw events, each ``(n_events,)``; NaN where one is missing or a sentinel.

        Raises:
            MissingColumnError: a column is not there.
            ColumnTypeError, ExpressionError: a variable is not one number per event.

        """
        if not self.names:
            return {}
        # Other columns are left out: one of them could have the name of a derived column or of an expression.
        needed = Chunk({name: chunk[name] for name in self.raw}, len(chunk), chunk.first_event, chunk.source)
        derived = self.recipe.derived(needed, self.derived) if self.derived else needed
        return dict(zip(self.names, self.recipe.values(derived, self.names).T, strict=True))


def columns_of_cuts(
    cuts: Sequence[Cut], recipe: Recipe, columns: Mapping[str, str], others: Mapping[str, str]
) -> dict[str, str]:
    """Return the raw columns, with their kinds, that the variables of cuts need and the features do not.

    Args:
        cuts: those without bins have no variable, and need nothing.
        recipe: how derived columns are made.
        columns: what the features need, name → kind.
        others: what else there is, name → kind, as ``describe`` gives the columns of a file.

    Raises:
        MissingColumnError: a column is in neither.
        DataError: a variable is neither a column nor an expression; and as for ``Recipe.needed_for``.

    """
    kinds = {**others, **columns}
    needed = recipe.needed_for(_variables_of(cuts), kinds)
    if lacking := sorted(needed - kinds.keys()):
        raise missing_column(lacking[0], kinds, "what is known of the files")
    return {name: kinds[name] for name in sorted(needed - columns.keys())}


def _variables_of(cuts: Sequence[Cut]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cut.bins.variable for cut in cuts if cut.bins is not None))
