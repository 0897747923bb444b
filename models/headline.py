"""The headline: the one number by which a network is known, whatever it seeks.

Owns its form; which number it is belongs to each evaluation.
"""

from dataclasses import dataclass

from models.scored import Measured


@dataclass(frozen=True)
class Headline:
    """A number of the test part: its ``name`` in machines (``auc``, ``rms``), its ``label`` in words."""

    name: str
    label: str
    value: Measured
    higher_is_better: bool
