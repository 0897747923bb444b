"""What several rooms' tests share: where the real samples lie."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real samples, or a skip that says where one was looked for."""
    beside_the_project = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WINNOW_DATA", beside_the_project))
    if not folder.is_dir():
        pytest.skip(f"no real samples: set WINNOW_DATA (looked in {folder})")
    return folder
