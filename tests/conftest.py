"""What all tests share: where real data lies, a simulated cluster, and how Hypothesis searches."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.missing import missing

ROOT = Path(__file__).parent.parent

settings.register_profile("ci", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "quick"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder with real traces and bills; it lies beside the project, not in it."""
    path = Path(os.environ.get("CLUSTERLEDGER_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        missing(f"{path} does not exist; set CLUSTERLEDGER_REAL_DATA to the folder with the real input data")
    return path


@pytest.fixture(scope="session")
def demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with a small simulated cluster; copy it, never open it. All processes of a run share it."""
    from tests.demo import made  # noqa: PLC0415  only tests of pages and mails need Streamlit and a simulation

    base = tmp_path_factory.getbasetemp()
    return made(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
