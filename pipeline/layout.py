"""What is said about a file of events: how it is to be read, and what is found in it.

Owns the words that every file format shares: ``Layout`` (given by the experiment), ``FileDescription``
(the answer), the choice of columns, and the one sentence for a file that a library gave up on. Leaves
the reading to ``root_files``, ``csv_files`` and ``parquet_files``, and the choice among them to ``sources``.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pipeline.errors import (
    ColumnTypeError,
    DeclarationError,
    UnreadableFileError,
    WinnowError,
    missing_column,
)

ColumnKind = Literal["integer", "float", "boolean", "string", "fixed", "jagged", "unreadable"]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Layout:
    """How a file is read, where the file itself does not say.

    ``tree`` is a TTree or RNTuple, ``"directory/name"`` where it is nested, left out where the file holds
    one; ``columns`` are the names for a CSV without header; ``separator`` is one character of a CSV, and
    ``" "`` means runs of blanks.
    """

    tree: str | None = None
    columns: tuple[str, ...] | None = None
    separator: str = ","

    def __post_init__(self) -> None:
        if len(self.separator) != 1 or self.separator in '"#\r\n':
            msg = (
                f"separator = {self.separator!r} is not a character that can separate columns: try ',' ';' '\\t' or ' '"
            )
            raise DeclarationError(msg)
        if self.columns is not None and (repeated := repeated_names(self.columns)):
            msg = f"columns names {', '.join(map(repr, repeated))} more than once; each column needs its own name"
            raise DeclarationError(msg)


@dataclass(frozen=True)
class FileDescription:
    """What a file holds. ``n_events`` is an estimate, for progress bars, unless ``is_exact``.

    ``others`` are the objects of a ROOT file beside the tree, each as ``"path/name (class)"``.
    """

    format: str
    tree: str | None
    columns: Mapping[str, ColumnKind]
    n_events: int
    is_exact: bool = True
    others: tuple[str, ...] = ()


def repeated_names(names: Collection[str]) -> list[str]:
    """Return the names that occur more than once, sorted."""
    seen: set[str] = set()
    return sorted({name for name in names if name in seen or seen.add(name)})  # type: ignore[func-returns-value]


def select_columns(kinds: Mapping[str, ColumnKind], wanted: Collection[str] | None, where: str) -> tuple[str, ...]:
    """Return the columns to read, in the order of the file; all that can be used where ``wanted`` is ``None``.

    Raises:
        MissingColumnError: a wanted column is not there.
        ColumnTypeError: a wanted column holds objects that no array can hold.

    """
    if wanted is None:
        return tuple(name for name, kind in kinds.items() if kind != "unreadable")
    for name in wanted:
        if name not in kinds:
            raise missing_column(name, kinds, where)
        if kinds[name] == "unreadable":
            msg = f"{where}: column {name!r} cannot be used: it holds no numbers, booleans, strings, or lists of them"
            raise ColumnTypeError(msg)
    return tuple(name for name in kinds if name in set(wanted))


def unreadable(path: Path, error: BaseException) -> UnreadableFileError:
    """Return one line for a file that a reading library gave up on, whatever that library said."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    reason = f"{type(error).__name__}: {said[:160]}" if said else type(error).__name__
    return UnreadableFileError(f"{path} cannot be read: it is truncated, corrupt or locked ({reason})")


def guarded(items: Iterator[Item], path: Path) -> Iterator[Item]:
    """Pass ``items`` on; whatever a library raises between two of them becomes ``UnreadableFileError``."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except WinnowError:
            raise
        # Corruption shows as almost any type: zlib.error, struct.error, AssertionError, IndexError, …
        except Exception as error:
            raise unreadable(path, error) from error
        yield item
