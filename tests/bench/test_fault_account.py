"""What the fault test says of rows: each is stored once, or kept apart because a clock showed its instant twice."""

from datetime import UTC, datetime, timedelta
from typing import Any

from bench._fault_account import Account, Found, compare
from collectors.wire import columns_of
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import HostSample

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def sample(seconds: int, load: float) -> dict[str, Any]:
    place = {"cluster": "c", "node": "n", "boot_id": "b", "step_seconds": 1.0, "cpu_count": 2}
    return {**place, "sampled_at": AT + timedelta(seconds=seconds), "load_average_count": load}


def found_of(told: list[dict[str, Any]], stored: list[dict[str, Any]]) -> Found:
    account = Account()
    for number, row in enumerate(told):
        account.intended[0, number] = {"host_sample": columns_of([row])}
        account.outcome[0, number] = True
    with Store.open("duckdb::memory:", now=lambda: AT) as store:
        for row in stored:
            store.append(HostSample, to_frame(HostSample, [row]), source="test")
        (found,) = compare(store, [account])
    return found


def test_what_was_told_and_stored_is_neither_lost_nor_made_up() -> None:
    rows = [sample(0, 1.0), sample(1, 2.0)]
    assert found_of(rows, rows) == Found("host_sample", told=2, stored=2, second=0, missing=0, twice=0, invented=0)


def test_a_second_row_of_one_instant_is_no_loss_where_it_was_refused_as_such() -> None:
    rows = [sample(0, 1.0), sample(0, 2.0)]
    assert found_of(rows, rows) == Found("host_sample", told=2, stored=1, second=1, missing=0, twice=0, invented=0)


def test_a_row_that_is_nowhere_is_lost_and_one_that_nobody_told_is_made_up() -> None:
    found = found_of([sample(0, 1.0), sample(1, 2.0)], [sample(0, 1.0), sample(5, 2.0)])
    assert found == Found("host_sample", told=2, stored=2, second=0, missing=1, twice=0, invented=1)
