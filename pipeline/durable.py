"""Durable: what is said to be on disk is on disk.

Owns the one system call for it; who needs it, and in which order, is their own business.
"""

import os
from pathlib import Path


def flush(path: Path) -> None:
    """Have a file's content, or a folder's list of files, written to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
