"""What all tests share: where real data lies, a simulated cluster, and how Hypothesis searches."""

import gc
import os
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

from tests.draws import draw_the_same
from tests.missing import missing

ROOT = Path(__file__).parent.parent

settings.register_profile("ci", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "quick"))
draw_the_same()


_SHARING: Final = {
    "tests/collectors/cluster/test_slurm_": "slurm",
    "tests/collectors/cluster/test_prometheus": "prometheus",
    "tests/app/test_pull.py": "prometheus",
    "tests/browser/": "browser",
    "tests/app/test_demo_truth.py": "owners",
    "tests/app/test_models_in_currency.py": "owners",
    "tests/app/test_pages_in_currency.py": "owners",
    "tests/app/test_same_money.py": "owners",
}
"""Modules that one process runs, by how their paths begin: what they share takes seconds to start."""

_FIRST: Final = ("slurm", "browser", "prometheus", "owners", "tests/oracle/", "tests/queries/rollups/", "tests/app/")
"""What takes longest: programs that are waited for, then modules by their folder. It begins first: else one process
would be left with it in the end.
"""


_CYCLES: Final = 20_000
"""So many objects may be made before cycles are looked for: frames and drawn cases have none."""


def group_of(nodeid: str) -> str:
    """Return what one process runs of tests: those of a module, which share fixtures, or of several."""
    module = nodeid.partition("::")[0]
    return next((group for begin, group in _SHARING.items() if module.startswith(begin)), module)


def _turn(item: pytest.Item) -> int:
    """Return which turn a test has; those of one turn stay in the random order in which they came."""
    group = group_of(item.nodeid)
    return next((turn for turn, first in enumerate(_FIRST) if group.startswith(first)), len(_FIRST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes longest come first."""
    items.sort(key=_turn)


def pytest_collection_finish() -> None:
    """Let the search for cycles pass over all that is imported and collected by now, and be made less often."""
    gc.freeze()
    gc.set_threshold(_CYCLES, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """Return who gives whole groups to processes.

    pytest-xdist 3.8 writes the mark of a group into a test's id, and with pytest 9.2 that has no effect.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415  only where several processes run

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    # In the order of turns, not of how many tests there are.
    config.option.loadscopereorder = False
    return Groups(config, log)


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
