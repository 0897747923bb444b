"""References: which version of which model a text means.

Owns the four ways to name a model. A folder needs no registry, and then MLflow is not even imported:
scoring with a bundle starts in a second.
"""

from dataclasses import dataclass
from pathlib import Path

from models.bundle import Bundle, load_bundle
from pipeline.errors import BundleError


@dataclass(frozen=True)
class ModelReference:
    """A version of a model, resolved once: an alias may move while files are being scored, a version cannot."""

    name: str
    version: str
    bundle: Bundle


def is_folder(reference: str) -> bool:
    """Whether a reference is a bundle's folder; a folder that merely has a model's name is not."""
    return (Path(reference) / "bundle.json").is_file()


def resolve(reference: str) -> ModelReference:
    """Return the version that ``NAME``, ``NAME@ALIAS``, ``NAME/VERSION`` or a bundle folder means.

    Raises:
        RegistryError: there is no such model, alias or version; the message lists what there is.
        BundleError: the bundle is incomplete or altered.
    """
    if is_folder(reference):
        bundle = load_bundle(reference)
        return ModelReference(bundle.manifest.name, f"bundle {bundle.digest[:12]}", bundle)
    if Path(reference).is_absolute() or reference.startswith("."):
        raise BundleError(f"{reference} is no bundle: it holds no bundle.json")
    from flows.tracking.registry import fetch, version_of
    from flows.tracking.server import connect

    name, version = version_of(reference)
    return ModelReference(name, version, fetch(connect(), name, version))
