"""The exception tree: everything that Winnow refuses, under one root.

    WinnowError
    ├── DeclarationError        the experiment file, or the call, is wrong; carries every problem found
    ├── DataError               the events are not what was declared
    │   ├── UnreadableFileError     a file that is missing, truncated or of an unknown format
    │   ├── MissingColumnError      a column that the file does not have
    │   ├── ColumnTypeError         a column of a kind that cannot be used this way
    │   ├── ExpressionError         a text that is no expression, or an operation it cannot do
    │   └── UnwritableError         events that cannot be written out as they were read
    ├── TrainingError           training stopped: non-finite loss, a class without events
    ├── BundleError             a bundle that is incomplete, altered or does not agree with its network
    └── RegistryError           no such model, version or alias; or the registry does not answer

Callers catch at the level they need; the command line and the service map the branches to exit
statuses and HTTP codes. A message names the thing, what was received, what would have been accepted,
and the nearest spelling.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class WinnowError(Exception):
    """Anything that Winnow refuses, with a message for the physicist who caused it."""


class DeclarationError(WinnowError):
    """The experiment file or the call is wrong; the message lists every problem."""


class DataError(WinnowError):
    """The events are not what was declared."""


class UnreadableFileError(DataError):
    """A file is missing, truncated, or of an unknown format."""


class MissingColumnError(DataError):
    """A column that is needed is not in the file."""


class ColumnTypeError(DataError):
    """A column is of a kind that cannot be used this way."""


class ExpressionError(DataError):
    """A text is no expression, or asks for an operation that does not exist."""


class UnwritableError(DataError):
    """Events cannot be written out as they were read."""


class TrainingError(WinnowError):
    """Training cannot start or had to stop."""


class BundleError(WinnowError):
    """A bundle is incomplete, altered, or does not agree with its network."""


class RegistryError(WinnowError):
    """The registry has no such model, version or alias, or does not answer."""


def nearest_spelling(name: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the choice nearest to ``name``, or an empty string."""
    by_folded = {choice.casefold(): choice for choice in choices}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f" (did you mean {by_folded[close[0]]!r}?)" if close else ""


def missing_column(name: str, available: Iterable[str], where: str) -> MissingColumnError:
    """Return the error for a column that ``where`` does not have, with the columns it has instead."""
    names = sorted(available)
    shown = ", ".join(names[:12]) + (f", … ({len(names)} in all)" if len(names) > 12 else "")
    return MissingColumnError(
        f"{where} has no column {name!r}{nearest_spelling(name, names)}; it has: {shown or 'none'}"
    )
