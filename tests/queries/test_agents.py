"""How collectors fare, where some agents tell each round and others tell rounds that went alike together."""

from datetime import UTC, datetime, timedelta

import pytest

from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import CollectorRun
from queries import sql

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_rounds_that_a_row_adds_up_are_each_counted() -> None:
    common = {"cluster": "c", "node": "n", "boot_id": "b", "step_seconds": 10.0, "row_count": 3}
    told = [
        # collector, minute, is_ok, duration, error, rounds, longest
        ("host", 0, True, 0.4, None, None, None),
        ("host", 1, True, 0.6, None, 6, 0.2),
        ("nvml", 0, False, 2.0, "away", 1, 2.0),
        ("nvml", 1, False, 3.0, "away", 5, 0.7),
        ("nvml", 2, True, 1.0, None, None, None),
    ]
    names = ("collector", "sampled_at", "is_ok", "duration_seconds", "error", "round_count", "longest_round_seconds")
    rows = [
        common | dict(zip(names, (name, AT + timedelta(minutes=minute), *rest), strict=True))
        for name, minute, *rest in told
    ]
    with Store.open("duckdb::memory:", now=lambda: AT + timedelta(hours=1)) as store:
        store.append(CollectorRun, to_frame(CollectorRun, rows), source="test")
        asked = {"start": AT, "end": AT + timedelta(hours=1), "cluster": ""}
        found = store.select(sql.load("agents").text, **asked).to_dicts()
    nvml, host = found
    assert (nvml["collector"], nvml["run_count"], nvml["failed_count"], nvml["last_error"]) == ("nvml", 7, 6, "away")
    assert (nvml["mean_seconds"], nvml["max_seconds"]) == (pytest.approx(6 / 7), 2.0)
    assert (host["collector"], host["run_count"], host["failed_count"]) == ("host", 7, 0)
    assert (host["mean_seconds"], host["max_seconds"]) == (pytest.approx(1 / 7), 0.4)
