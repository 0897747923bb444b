"""Reports: the HTML report of a trained model, wherever it lies.

Owns where it is looked for: beside the bundle in the folder of a run, or with the MLflow run behind a version. A folder
needs no registry, and then MLflow is not even imported.
"""

import filecmp
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.home import REPORT, reports
from flows.reference import is_folder, resolve
from pipeline.durable import write_whole
from pipeline.errors import BundleError, DeclarationError, RegistryError


@dataclass(frozen=True)
class ModelReport:
    """The report of a version of a model; ``run_id`` is the MLflow run's, where the bundle names one."""

    model: str
    version: str
    report: Path
    run_id: str | None

    def to_json(self) -> dict[str, str | None]:
        """Return the public record of ``winnow report --json``."""
        return {"model": self.model, "version": self.version, "report": str(self.report), "run_id": self.run_id}


def find_report(reference: str) -> ModelReport:
    """Return the report of what ``NAME``, ``NAME@ALIAS``, ``NAME/VERSION``, a bundle folder or a run's folder means.

    One that lies with MLflow is downloaded into the home, once.

    Raises:
        RegistryError: there is no such model, alias or version, or the run behind it has no report.
        BundleError: the folder is neither a bundle's nor a run's, or has no report; or the bundle is altered.
    """
    folder = Path(reference)
    for bundle in (folder, folder / "bundle"):
        if is_folder(str(bundle)):
            return _beside(bundle)
    if folder.is_absolute() or reference.startswith("."):
        msg = "is neither a bundle's folder nor a run's: it holds no bundle.json and no bundle/bundle.json"
        raise BundleError(f"{reference} {msg}")
    return _behind(reference)


def _behind(reference: str) -> ModelReport:
    from flows.tracking.registry import fetch_report, run_behind, version_of
    from flows.tracking.server import connect

    name, version = version_of(reference)
    client = connect()
    run_id = run_behind(client, name, version)
    if run_id is None:
        raise RegistryError(f"{name}/{version} was not registered by Winnow: no MLflow run is behind it, and no report")
    kept = reports() / run_id / REPORT
    if not kept.is_file():
        with TemporaryDirectory() as download:
            copy_report(fetch_report(client, run_id, Path(download)), kept)
    return ModelReport(name, version, kept, run_id)


def _beside(folder: Path) -> ModelReport:
    found = resolve(str(folder))
    # The folder may be a link, or ".", and its report is where it really lies.
    report = folder.resolve().parent / REPORT
    if not report.is_file():
        elsewhere = f"MLflow keeps that of a registered version: name the model {found.name}/VERSION"
        raise BundleError(f"the bundle {folder} has no report beside it: {report} is not there; {elsewhere}")
    return ModelReport(found.name, found.version, report, found.bundle.manifest.provenance.get("run"))


def copy_report(report: Path, target: Path, overwrite: bool = False) -> Path:
    """Copy a report to ``target``, whole or not at all, and return that; folders are made where there are none.

    Raises:
        DeclarationError: ``target`` is a folder, or another file that is not to be overwritten.
    """
    if target.is_dir():
        raise DeclarationError(f"{target} is a folder; name a file, {target / REPORT} for instance")
    if target.exists() and filecmp.cmp(report, target, shallow=False):
        return target
    if target.exists() and not overwrite:
        raise DeclarationError(f"{target} exists and is not this report; name another file, or --overwrite replaces it")
    target.parent.mkdir(parents=True, exist_ok=True)

    def write(draft: Path) -> None:
        shutil.copyfile(report, draft)

    return write_whole(target, write)
