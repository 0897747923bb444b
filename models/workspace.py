"""Workspaces: templates as the files that fits read.

Owns the HistFactory workspace for pyhf and cabinetry, the ROOT histograms for everything else, and the names that
samples have in both.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.histograms import Kind
from models.scored import Floats
from models.templates import Templates
from pipeline.durable import flush, write_whole
from pipeline.errors import DeclarationError, UnwritableError


def pyhf_workspace(
    templates: Templates, *, name: str, background_uncertainty: float = 0.0, signal_strength: float = 1.0
) -> dict[str, Any]:
    """Return a HistFactory workspace (JSON schema 1.0.0) with one channel, one measurement and ``mu`` to be fitted.

    ``mu`` scales all signal samples. The observations are no data but what is expected: all background and
    ``signal_strength`` times the signal, so that a fit of the default finds mu = 1 and its expected error; 0 is for
    expected limits. Each background sample has a log-normal uncertainty of its own of relative size
    ``background_uncertainty`` (0: none), so that the total is known better than each.

    Statistical errors are one factor per bin for all background and another for all signal: a factor common to both
    would let plentiful signal pass for knowledge of a scarce background. Their data are absolute errors √Σw²;
    pyhf takes them relative to the nominal sum. Names are made as in `valid_names`.

    Raises:
        DeclarationError: the uncertainty or the strength is negative or not finite.

    """
    for option, value in {"background_uncertainty": background_uncertainty, "signal_strength": signal_strength}.items():
        if not 0.0 <= value < np.inf:
            raise DeclarationError(f"{option} {value!r} is not a finite number of at least 0")
    channel = valid_names([name])[0]
    samples = [
        {
            "name": sample,
            "data": sums.tolist(),
            "modifiers": _modifiers((channel, sample), kind, squares, background_uncertainty),
        }
        for sample, kind, sums, squares in zip(
            valid_names(templates.names), templates.kinds, templates.sums, templates.squares, strict=True
        )
    ]
    expected = np.where(templates.is_signal, signal_strength, 1.0) @ templates.sums
    return {
        "channels": [{"name": channel, "samples": samples}],
        "observations": [{"name": channel, "data": expected.tolist()}],
        "measurements": [{"name": channel, "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


def write_templates(folder: Path, templates: Templates, workspace: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write ``templates.json``, a `pyhf_workspace`, and ``templates.root``, one TH1D with errors per sample.

    The histograms have the names of the samples in the workspace. Each file is replaced as a whole, the workspace last.

    Raises:
        UnwritableError: a file cannot be written.

    """
    text = json.dumps(workspace, indent=1, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        histograms = write_whole(folder / "templates.root", lambda draft: _write_histograms(draft, templates))
        written = write_whole(folder / "templates.json", lambda draft: _write_text(draft, text))
        flush(folder)
    except OSError as error:
        raise UnwritableError(f"templates cannot be written into {folder}: {error.strerror or error}") from error
    return written, histograms


def valid_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of ASCII letters, digits and underscores, not beginning with a digit, no two of them equal."""
    taken: list[str] = []
    for name in names:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
        plain = plain if plain and not plain[0].isdigit() else f"sample_{plain}".rstrip("_")
        candidates = (plain, *(f"{plain}_{i}" for i in range(2, len(names) + 2)))
        taken.append(next(candidate for candidate in candidates if candidate not in taken))
    return tuple(taken)


def _modifiers(names: tuple[str, str], kind: Kind, squares: Floats, uncertainty: float) -> list[dict[str, Any]]:
    channel, sample = names
    statistical = {"name": f"staterror_{channel}_{kind}", "type": "staterror", "data": np.sqrt(squares).tolist()}
    if kind == "signal":
        return [{"name": "mu", "type": "normfactor", "data": None}, statistical]
    # 1/(1 + u) below and not 1 - u, which would be no yield at all for an uncertainty of 100 %.
    size = {"hi": 1.0 + uncertainty, "lo": 1.0 / (1.0 + uncertainty)}
    overall = {"name": f"background_uncertainty_{sample}", "type": "normsys", "data": size}
    return [statistical, overall] if uncertainty > 0.0 else [statistical]


def _write_histograms(path: Path, templates: Templates) -> None:
    import hist
    import uproot

    with uproot.recreate(path) as file:
        for i, name in enumerate(valid_names(templates.names)):
            axis = hist.axis.Variable(templates.edges, name="score", label="score")
            histogram = hist.Hist(axis, storage=hist.storage.Weight(), name=templates.names[i])
            histogram.view()["value"], histogram.view()["variance"] = templates.sums[i], templates.squares[i]
            file[name] = histogram


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
