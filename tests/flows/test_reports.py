import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.reports import copy_report, find_report
from flows.tracking.registry import register
from flows.tracking.runs import tracked_run
from flows.tracking.server import connect
from pipeline.errors import BundleError, DeclarationError, RegistryError


@pytest.mark.parametrize(
    ("reference", "version"),
    [("gaussians", "2"), ("gaussians@champion", "2"), ("gaussians/1", "1"), ("gaussians/3", "3")],
)
def test_a_registered_version_has_the_report_of_the_run_that_registered_it(trained_copy, reference, version):
    outcome = trained_copy.outcomes[int(version) - 1]
    found = find_report(reference)
    assert (found.model, found.version, found.run_id) == ("gaussians", version, outcome.run_id)
    assert found.report == trained_copy.home / "reports" / outcome.run_id / "report.html"
    assert found.report.read_bytes() == outcome.report.read_bytes()


def test_a_report_comes_from_where_the_registry_is_into_the_home_that_asks(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{trained.home}/mlflow.db")
    monkeypatch.setenv("WINNOW_HOME", str(tmp_path / "elsewhere"))
    found = find_report("gaussians")
    assert found.report == tmp_path / "elsewhere" / "reports" / trained.outcome.run_id / "report.html"
    assert found.report.read_bytes() == trained.outcome.report.read_bytes()


@pytest.fixture
def recorded(trained_copy) -> Path:
    """The home, in which the model "noted" was registered with a report and the model "silent" without one."""
    for name in ("noted", "silent"):
        with tracked_run(name) as run:
            register(run, trained_copy.reference.bundle, name, {})
            if name == "noted":
                run.log_text("<p>all is well ±</p>", "report.html")
    return trained_copy.home


def test_a_report_is_downloaded_once(recorded):
    first = find_report("noted/1")
    shutil.rmtree(recorded / "artifacts")
    assert find_report("noted/1") == first
    assert first.report.read_text("utf-8") == "<p>all is well ±</p>"
    assert [path.name for path in first.report.parent.iterdir()] == ["report.html"]


def test_a_run_without_report_is_named_and_nothing_is_kept(recorded):
    with pytest.raises(RegistryError, match=rf"MLflow has no report\.html .* in file://{recorded}/artifacts/"):
        find_report("silent/1")
    assert not (recorded / "reports").exists()


def test_a_version_that_no_run_registered_has_no_report(recorded):
    client = connect()
    client.create_registered_model("foreign")
    client.create_model_version("foreign", "somewhere")
    with pytest.raises(RegistryError, match=r"foreign/1 was not registered by Winnow: no MLflow run is behind it"):
        find_report("foreign/1")


def test_a_reference_to_nothing_says_what_there_is(trained, tmp_path):
    with pytest.raises(RegistryError, match=r"has no 'gaussians/9'; versions: \[3, 2, 1\]"):
        find_report("gaussians/9")
    with pytest.raises(RegistryError, match=r"no model 'muons' in the registry, and no such folder; models: gaussians"):
        find_report("muons")
    (tmp_path / "muons").mkdir()
    with pytest.raises(RegistryError, match="no model 'muons' in the registry, and the folder of that name holds no"):
        find_report("muons")


@pytest.mark.parametrize("folder", ["bundle", "run", "link to the bundle", "./run/bundle"])
def test_a_folder_has_the_report_of_its_run(trained, tmp_path, folder):
    run = shutil.copytree(trained.outcome.report.parent, tmp_path / "run")
    (tmp_path / "link to the bundle").symlink_to(run / "bundle")
    found = find_report("run/bundle" if folder == "bundle" else folder)
    assert found.report == run / "report.html"
    assert (found.model, found.run_id) == ("gaussians", trained.outcome.run_id)
    assert found.version == f"bundle {trained.reference.bundle.digest[:12]}"


def test_the_current_folder_is_a_folder_too(trained, monkeypatch):
    monkeypatch.chdir(trained.outcome.bundle)
    assert find_report(".").report == trained.outcome.report


def test_the_report_of_a_folder_is_found_without_importing_mlflow(trained):
    program = (
        f"import sys; from flows.reports import find_report; find_report({str(trained.outcome.report.parent)!r}); "
        "sys.exit(str({'mlflow', 'keras', 'tensorflow', 'prefect'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == "set()"


def test_a_bundle_without_its_run_says_where_there_may_be_a_report(make_bundle):
    folder = make_bundle([1.0], ["x"]).folder
    with pytest.raises(BundleError, match=r"report\.html is not there; .* name the model made/VERSION"):
        find_report(str(folder))


@pytest.mark.parametrize("reference", [".", "./run", "/no/such/run"])
def test_a_folder_that_is_neither_is_refused_without_the_registry(monkeypatch, tmp_path, reference):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=r"neither a bundle's folder nor a run's: it holds no bundle\.json and no"):
        find_report(reference)


@pytest.fixture
def report(tmp_path) -> Path:
    (tmp_path / "report.html").write_text("this report")
    return tmp_path / "report.html"


def test_a_copy_is_written_also_into_folders_that_are_not_there(report, tmp_path):
    copy = copy_report(report, tmp_path / "for" / "the group" / "muons.html")
    assert copy.read_text() == "this report"
    assert [path.name for path in copy.parent.iterdir()] == ["muons.html"]


def test_a_copy_may_be_written_again(report, tmp_path):
    assert copy_report(report, tmp_path / "copy.html") == copy_report(report, tmp_path / "copy.html")
    assert copy_report(report, report).read_text() == "this report"


def test_a_copy_replaces_another_file_only_where_that_is_wanted(report, tmp_path):
    other = tmp_path / "thesis.tex"
    other.write_text("three years of work")
    with pytest.raises(DeclarationError, match=r"thesis\.tex exists and is not this report; .* --overwrite replaces"):
        copy_report(report, other)
    assert other.read_text() == "three years of work"
    assert copy_report(report, other, overwrite=True).read_text() == "this report"


def test_a_folder_is_no_name_for_a_copy(report, tmp_path):
    with pytest.raises(DeclarationError, match=rf"{tmp_path} is a folder; name a file, {tmp_path}/report\.html for"):
        copy_report(report, tmp_path, overwrite=True)
