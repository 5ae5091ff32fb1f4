"""Threads that compute stand back behind those that answer."""

import os
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

from app.priority import stand_back


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives each thread a priority of its own")
def test_pools_stand_back_and_threads_of_python_do_not() -> None:
    pl.DataFrame({"a": range(100_000)}).lazy().group_by(pl.col("a") % 7).agg(pl.len()).collect()
    stand_back()
    tasks = {int(task.name): (task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
    pools = [number for number, name in tasks.items() if name.startswith("polars-") and name[7:].isdecimal()]
    assert pools
    assert {os.getpriority(os.PRIO_PROCESS, number) for number in pools} == {10}
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert own < 10
    assert stand_back() == 0
