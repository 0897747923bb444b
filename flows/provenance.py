"""Provenance: which code and which libraries gave a result."""

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

ROOMS = ("pipeline", "models", "flows")
SOURCES = (".py", ".html", ".css")
LIBRARIES = ("keras", "numpy", "onnx", "onnxruntime", "tensorflow", "uproot")


@cache
def code_version() -> str:
    """Return Winnow's version and a hash of its source, which tells two checkouts of one version apart."""
    digest, top = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(path for room in ROOMS for path in (top / room).rglob("*.*") if path.suffix in SOURCES):
        digest.update(f"{path.relative_to(top)}\0".encode() + path.read_bytes())
    return f"{metadata.version('winnow')}+{digest.hexdigest()[:12]}"


def software() -> dict[str, str]:
    """Return the versions of the libraries that a result depends on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in LIBRARIES}}
