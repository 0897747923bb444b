"""Schedules: what runs by itself, and when.

Owns the ``[schedule]`` section. Serving the schedules is ``orchestrate``'s work.
"""

import re
from datetime import datetime
from typing import Annotated

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator

from pipeline.declare import Declaration

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(duration: str) -> int:
    """Return the seconds of a duration such as ``90s``, ``10m``, ``2h`` or ``1d``."""
    match = re.fullmatch(r"\s*(\d+)\s*([smhd])\s*", duration)
    if not match or not int(match[1]):
        raise ValueError(f"received {duration!r}; allowed: a number and s, m, h or d, for instance '10m'")
    return int(match[1]) * _UNITS[match[2]]


def _is_duration(text: str) -> str:
    seconds_of(text)
    return text


def _is_cron(text: str) -> str:
    problem = _problem_of(text)
    if problem:
        raise ValueError(f"received {text!r}, which is no cron line ({problem}); for instance '0 3 * * *'")
    return text


def _problem_of(cron: str) -> str:
    # A sixth field and some ways to count from the end of a month mean one thing here and another, or none, to
    # Prefect.
    if len(cron.split()) != 5:
        return "Wrong number of fields"
    if re.search(r"LW|\dL", cron, re.IGNORECASE):
        return "LW and 5L are not understood"
    try:
        CronSim(cron, datetime(2000, 1, 1))
    except CronSimError as error:
        return str(error)
    return ""


class WatchSpec(Declaration):
    """Score what is in ``watch`` (a glob) and has not been scored, ``every`` so often, into the folder ``out``."""

    every: Annotated[str, AfterValidator(_is_duration)]
    watch: str
    out: str


class ScheduleSpec(Declaration):
    """The ``[schedule]`` section: ``train`` is a cron line."""

    train: Annotated[str, AfterValidator(_is_cron)] | None = None
    score: WatchSpec | None = None
