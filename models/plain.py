"""Plain: a record as lists and dictionaries, which any JSON reader can take.

Owns what becomes of arrays, declarations and numbers that do not exist; what is in a record is its own affair.
"""

from typing import Any

import numpy as np
from pydantic import BaseModel


def plain(value: Any) -> Any:
    """Return the value made of lists, dictionaries, texts and numbers alone; NaN and infinity become ``None``."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return [plain(inner) for inner in value.tolist()]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
