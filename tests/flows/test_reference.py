import subprocess
import sys

import pytest

from flows.reference import is_folder, resolve
from pipeline.errors import BundleError, RegistryError


def test_a_folder_with_a_bundle_is_that_bundle(make_bundle):
    bundle = make_bundle([1.0], ["x"])
    found = resolve(str(bundle.folder))
    assert (found.name, found.version) == ("made", f"bundle {bundle.digest[:12]}")
    assert found.bundle.digest == bundle.digest


@pytest.mark.parametrize("reference", ["gaussians", "gaussians@champion", "gaussians/2"])
def test_a_name_is_a_version_of_the_registry(trained, reference):
    found = resolve(reference)
    assert (found.name, found.version) == ("gaussians", "2")
    assert found.bundle.digest == trained.reference.bundle.digest


def test_a_folder_that_merely_has_a_models_name_is_no_bundle(trained, tmp_path):
    (tmp_path / "gaussians").mkdir()
    assert not is_folder("gaussians")
    assert resolve("gaussians").version == "2"


@pytest.mark.parametrize("reference", ["./bundle", "../bundle", "/no/such/bundle"])
def test_a_path_is_never_looked_up_in_the_registry(reference):
    with pytest.raises(BundleError, match=f"{reference} is no bundle: it holds no bundle.json"):
        resolve(reference)


def test_a_path_to_nothing_without_a_dot_says_that_it_is_neither(trained):
    with pytest.raises(RegistryError, match="no model 'runs' in the registry, and no such folder"):
        resolve("runs/one/bundle")


def test_a_folder_is_resolved_without_importing_mlflow(make_bundle):
    folder = make_bundle([1.0], ["x"]).folder
    program = (
        f"import sys; from flows.reference import resolve; resolve({str(folder)!r}); "
        "sys.exit(str({'mlflow', 'keras', 'tensorflow', 'prefect'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == "set()"
