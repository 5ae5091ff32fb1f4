"""Two simulated estates: the demo's own size, and a small one."""

from datetime import UTC, datetime

import pytest

from collectors.simulate import Cluster, plan

END = datetime(2026, 11, 20, 23, 16, 33, tzinfo=UTC)


@pytest.fixture(scope="session")
def demo() -> Cluster:
    """Return the plan that `demo` draws unless told otherwise."""
    return plan(96, 30, 7, END)


@pytest.fixture(scope="session")
def small() -> Cluster:
    """Return a plan of three servers over two days."""
    return plan(24, 2, 7, datetime(2026, 11, 20, 6, 0, tzinfo=UTC))
