"""Durable: what is said to be on disk is on disk, whole or not at all.

Owns the one system call for it, and the way of a single file to its name; who needs them is their own business.
"""

import os
from collections.abc import Callable
from pathlib import Path


def flush(path: Path) -> None:
    """Have a file's content, or a folder's list of files, written to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a draft beside ``path``, flush it to disk and give it its name in one step."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")  # no pattern such as *.root finds it
    try:
        write(draft)
        flush(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text file, whole or not at all."""

    def write(draft: Path) -> None:
        draft.write_text(text, encoding="utf-8")

    return write_whole(path, write)
