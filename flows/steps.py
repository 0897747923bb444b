"""Steps: how a list of steps is run, directly or by an orchestrator.

Owns the one shape of that choice. A verb of this room reads as its list of steps and takes a ``Run``
argument; ``orchestrate`` passes one that makes every step a Prefect task, everybody else none.
"""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Run(Protocol):
    """Runs one step: a plain function with its arguments."""

    def __call__(self, step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the step returns; let its exception pass."""


def directly(step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a step by calling it."""
    return step(*args, **kwargs)
