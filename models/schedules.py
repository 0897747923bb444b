"""Schedules: the learning rate as a function of the step.

Owns the ``[training] schedule`` table and the curve that follows from it. The rate that the curve scales is the
loop's: it may have been made smaller on a plateau, and the curve knows nothing of that.
"""

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.declare import Declaration


class ScheduleSpec(Declaration):
    """The ``[training] schedule`` table: a linear warm-up, then a decay; without either the rate is constant.

    ``warm_up_epochs`` may be a fraction of an epoch. ``final`` is the share of the rate that is left at the end
    of a cosine.
    """

    warm_up_epochs: float = Field(0.0, ge=0)
    decay: Literal["none", "cosine"] = "none"
    final: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _decays_to_something(self) -> Self:
        if self.final and self.decay == "none":
            msg = f"received final = {self.final:g} without a decay that ends there"
            raise ValueError(f"{msg}; allowed: decay = 'cosine', or no final")
        return self


def problem(spec: ScheduleSpec, n_epochs: int) -> str:
    """Say why a training of ``n_epochs`` has no room for this schedule; empty when it has."""
    needed = f"received warm_up_epochs = {spec.warm_up_epochs:g} with epochs = {n_epochs}"
    if spec.warm_up_epochs > n_epochs:
        return f"{needed}: the full rate would never be reached; allowed: at most {n_epochs}"
    if spec.decay == "cosine" and spec.warm_up_epochs == n_epochs:
        return f"{needed}: no step is left for the cosine; allowed: less than {n_epochs}, or decay = 'none'"
    return ""


def learning_rates(
    spec: ScheduleSpec, rate: float, epoch: int, n_epochs: int, steps_per_epoch: int
) -> NDArray[np.float32]:
    """Return the rate of each step of an epoch, shape ``(steps_per_epoch,)``; epochs count from 1.

    The last step of the warm-up and the one after it have the full rate; the last step of the last epoch has
    ``final`` of it, which is no step at all where ``final`` is 0.

    References:
        Warm-up: Goyal et al., "Accurate, large minibatch SGD", arXiv:1706.02677, section 2.2. Cosine: Loshchilov,
        Hutter, "SGDR", ICLR 2017, equation 5, without restarts.
    """
    steps = np.arange((epoch - 1) * steps_per_epoch, epoch * steps_per_epoch)
    n_warm_up = round(spec.warm_up_epochs * steps_per_epoch)
    last = n_epochs * steps_per_epoch - 1
    warm_up = (steps + 1) / max(n_warm_up, 1)
    after = _cosine((steps - n_warm_up) / max(last - n_warm_up, 1), spec.final) if spec.decay == "cosine" else 1.0
    return (rate * np.where(steps < n_warm_up, warm_up, after)).astype(np.float32)


def _cosine(done: NDArray[np.float64], final: float) -> NDArray[np.float64]:
    """Return the share of the rate when a share ``done`` of the decay lies behind."""
    return np.asarray(final + (1 - final) * (1 + np.cos(np.pi * done)) / 2)
