"""Abandoned: what killed processes left on disk, and who may remove it.

Owns the rule that age tells: one who still works in a folder writes to it now and then. Which folders are meant,
and how old is old, is their owners' business.
"""

import logging
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)

DAY = 24 * 3600.0


def remove_abandoned(folders: Iterable[Path], after_seconds: float) -> None:
    """Remove those folders that nobody has written to for so long; other processes may do the same at once."""
    for folder in folders:
        try:
            touched = max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
        except FileNotFoundError:
            continue  # just finished, or just removed by another process
        if time.time() - touched > after_seconds:
            log.warning("removing %s, which nobody has written to for %g days", folder, after_seconds / DAY)
            shutil.rmtree(folder, ignore_errors=True)
