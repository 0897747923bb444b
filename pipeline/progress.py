"""Progress: how long work tells whoever watches how far it is.

Owns the one shape of that message. Who draws it (the command line) is not known here.
"""

from typing import Protocol


class Progress(Protocol):
    """Called after every chunk of a long piece of work."""

    def __call__(self, work: str, n_events: int, total: int | None) -> None:
        """Say that ``n_events`` more of ``total`` events (``None``: nobody knows) of ``work`` are done."""


def nobody_watches(work: str, n_events: int, total: int | None) -> None:
    """Take the message and do nothing."""


def named(who: str, progress: Progress) -> Progress:
    """Return what tells ``progress`` under another name, as for each of several networks that are trained in turn."""

    def watch(work: str, n_events: int, total: int | None) -> None:
        kind, _, state = work.partition(", ")
        progress(f"{who}, {who}: {state or kind}", n_events, total)

    return watch
