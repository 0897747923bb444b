"""Numbers: how they are written, in pictures, in sentences and in tables.

Owns digits and signs. A number that does not exist is a dash, one without bound the sign of infinity.
"""

from math import isfinite

import numpy as np

from models.scored import Measured

ABSENT = "—"
TIMES = "\N{MULTIPLICATION SIGN}"
SMALLEST_P_VALUE = 1e-9
"""Below this a p-value says more of the normal approximation than of the difference."""

SHOWN_IN_FOUR = 0.001
"""Smaller numbers than this would be lost in four decimals."""

ROUNDING = 1e-12
"""An error below this share of its number is one of floating-point sums, and none of the data."""


def plus_minus(number: Measured) -> str:
    """Write a number with its error, to two digits of the error (or four decimals without one)."""
    if not np.isfinite(number.error) or number.error <= ROUNDING * abs(number.value):
        is_small = 0.0 < abs(number.value) < SHOWN_IN_FOUR
        return _real(number.value) if is_small else _fixed(number.value, 4)
    rounded = float(f"{number.error:.1e}")  # first, since 0.0996 is 0.10 and not 0.100
    decimals = max(0, 1 - int(np.floor(np.log10(rounded))))
    return f"{_fixed(number.value, decimals)} ± {number.error:,.{decimals}f}"


def measured(number: Measured) -> str:
    """Write a number with its error; infinity and what does not exist as signs."""
    if not isfinite(number.value):
        return "∞" if number.value > 0.0 else ABSENT
    return plus_minus(number)


def number(value: object) -> str:
    """Write what a cell of a table holds."""
    if value is None or value == "":
        return ABSENT
    if isinstance(value, Measured):
        return measured(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return _real(float(value)) if isinstance(value, float | np.floating) else str(value)


def percent(value: object) -> str:
    """Write a fraction in per cent."""
    if isinstance(value, int | float | np.integer | np.floating) and isfinite(value):
        return f"{_fixed(100.0 * float(value), 2)} %"
    return ABSENT


def share(number: Measured) -> str:
    """Write a fraction with its error as numbers of per cent."""
    if not isfinite(number.value):
        return ABSENT
    return plus_minus(Measured(100.0 * number.value, 100.0 * number.error))


def two_digits(value: float) -> str:
    """Write a size to two digits; what is not positive does not exist."""
    return f"{value:.2g}" if isfinite(value) and value > 0.0 else ABSENT


def p_value(value: float) -> str:
    """Write a p-value, of very small ones only the bound."""
    return f"below {SMALLEST_P_VALUE:.0e}" if value < SMALLEST_P_VALUE else two_digits(value)


def unbroken(text: str) -> str:
    """Keep numbers together with their names, errors and per cent signs at the end of a line."""
    return text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%").replace("p = ", "p\u00a0=\u00a0")


def _real(value: float) -> str:
    if not isfinite(value):
        return "∞" if value > 0.0 else ABSENT
    return f"{value:,.0f}" if abs(value) >= 1_000.0 else f"{value + 0.0:.4g}"


def _fixed(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"  # adding 0 makes -0 plain
