"""Which import counts: whole periods replace each other, smaller ones wait, nothing is counted twice."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.billing._charges import import_frame
from collectors.billing._read import read_bill
from collectors.billing._snapshot import Decision, current_imports, decide
from ledger import money
from ledger.tables import BillImport
from tests.collectors.billing.bills import bill

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = import_frame([])


def _imported(
    name: str,
    *,
    source: str = "exports",
    account: str = "acc",
    period: datetime = JANUARY,
    days: int = 31,
    cost: str = "100",
    effective: str | None = None,
    currency: str = "USD",
) -> pl.DataFrame:
    return import_frame(
        [
            {
                "import_id": name,
                "billing_account_id": account,
                "billing_period_start": period,
                "billing_currency": currency,
                "source_name": source,
                "path": f"/in/{name}",
                "format": "focus",
                "sha256": name,
                "imported_at": JANUARY + timedelta(days=len(name)),
                "status": "current",
                "row_count": 5,
                "rejected_count": 0,
                "charge_day_count": days,
                "billed_cost": Decimal(cost),
                "effective_cost": Decimal(effective or cost),
                "residue": Decimal(0),
            }
        ]
    )


def _statuses(decision: Decision) -> dict[str, str]:
    BillImport.validate(decision.imports)
    return dict(decision.imports.select("import_id", "status").rows())


def test_a_later_snapshot_replaces_its_period_and_keeps_the_earlier() -> None:
    first = decide(NOTHING, _imported("a", days=10, cost="40"))
    second = decide(first.imports, _imported("b"))
    assert _statuses(second) == {"a": "superseded", "b": "current"}
    assert second.imports.filter(import_id="b")["supersedes_import_id"].to_list() == ["a"]
    assert second.changed.height == 2
    assert current_imports(second.imports)["import_id"].to_list() == ["b"]


def test_the_same_bytes_change_nothing() -> None:
    first = decide(NOTHING, _imported("a"))
    again = decide(first.imports, _imported("a").with_columns(imported_at=JANUARY + timedelta(days=99)))
    assert again.is_unchanged
    assert again.changed.is_empty()
    assert again.imports.equals(first.imports)
    replaced = decide(decide(first.imports, _imported("b")).imports, _imported("a"))
    assert replaced.is_unchanged
    copied = decide(first.imports, _imported("copy", source="other").with_columns(sha256=pl.lit("a")))
    assert copied.is_unchanged
    assert "the same bytes were imported as exports" in copied.remarks[0]


@pytest.mark.parametrize(
    ("smaller", "reason"),
    [
        (_imported("b", days=30), "found 30 charge days, expected the 31"),
        (_imported("b", cost="80"), "found billed_cost 80 USD, expected close to the 100"),
        (_imported("b", effective="79.99"), "found effective_cost 79.99 USD"),
        (_imported("b", currency="EUR"), "found no charge in USD"),
    ],
)
def test_a_smaller_snapshot_waits_until_it_is_accepted(smaller: pl.DataFrame, reason: str) -> None:
    first = decide(NOTHING, _imported("a"))
    waiting = decide(first.imports, smaller)
    assert _statuses(waiting) == {"a": "current", "b": "waiting"}
    assert reason in waiting.reasons[0]
    assert waiting.reasons[0].startswith("/in/b: account acc, period 2026-01: ")
    again = decide(waiting.imports, smaller)
    assert again.is_unchanged
    assert "still waiting" in again.reasons[0]
    accepted = decide(waiting.imports, smaller, accept=True)
    assert _statuses(accepted) == {"a": "superseded", "b": "current"}
    assert accepted.reasons == ()
    back = decide(accepted.imports, _imported("a"), accept=True)
    assert _statuses(back) == {"a": "current", "b": "superseded"}


def test_what_is_a_little_less_or_a_lot_more_replaces() -> None:
    first = decide(NOTHING, _imported("a"))
    for cost in ("80.000000000000000001", "100", "100000"):
        assert _statuses(decide(first.imports, _imported("b", cost=cost)))["b"] == "current"
    credit = decide(NOTHING, _imported("a", cost="-100"))
    assert _statuses(decide(credit.imports, _imported("b", cost="-110")))["b"] == "current"
    assert _statuses(decide(credit.imports, _imported("b", cost="-120")))["b"] == "waiting"


def test_other_accounts_periods_and_files_are_left_alone() -> None:
    table = decide(NOTHING, _imported("a")).imports
    table = decide(table, _imported("b", account="other", cost="1")).imports
    table = decide(table, _imported("c", period=JANUARY + timedelta(days=31), cost="1")).imports
    beside = decide(table, _imported("d", source="one.csv", cost="1"))
    assert set(_statuses(beside).values()) == {"current"}
    (remark,) = beside.remarks
    assert remark == (
        "/in/d: account acc, period 2026-01: exports delivers this account and period too; both count, "
        "since a file replaces one of its own name only"
    )


def test_an_append_only_source_adds() -> None:
    first = decide(NOTHING, _imported("a"))
    second = decide(first.imports, _imported("b", cost="1", days=1), append_only=True)
    assert _statuses(second) == {"a": "current", "b": "current"}
    assert decide(second.imports, _imported("b", cost="1", days=1), append_only=True).is_unchanged


def test_a_snapshot_is_compared_with_all_that_it_would_replace() -> None:
    """Two deliveries were added to each other before; one of 100 in their place is half of them."""
    added = decide(decide(NOTHING, _imported("a")).imports, _imported("b"), append_only=True)
    half = decide(added.imports, _imported("c"))
    assert _statuses(half) == {"a": "current", "b": "current", "c": "waiting"}
    assert [each.split(": ", 2)[2] for each in half.reasons] == [
        "found billed_cost 100 USD, expected close to the 200 that it replaces",
        "found effective_cost 100 USD, expected close to the 200 that it replaces",
    ]
    assert set(_statuses(decide(added.imports, _imported("c", cost="161"))).values()) == {"superseded", "current"}


def test_a_cost_that_is_no_longer_known_is_told_as_such() -> None:
    first = decide(NOTHING, _imported("a"))
    unknown = decide(first.imports, _imported("b").with_columns(effective_cost=pl.lit(None, dtype=money.MONEY)))
    (reason,) = unknown.reasons
    assert reason.endswith("found no effective_cost in USD, expected close to the 100 that it replaces")


def test_what_waits_or_makes_way_is_not_said_to_count_beside_others() -> None:
    def view(name: str, words: str) -> pl.DataFrame:
        given_ = _imported(name, source=name)
        return given_.with_columns(format=pl.lit("azure_cost"), version=pl.lit(words))

    billed = decide(NOTHING, view("billed", "EA actual"))
    waiting = decide(billed.imports, view("spread", "EA amortised"))
    assert (_statuses(waiting)["spread"], waiting.remarks) == ("waiting", ())
    whole = decide(billed.imports, view("whole", "EA actual and amortised"))
    assert (_statuses(whole), whole.remarks) == ({"billed": "superseded", "whole": "current"}, ())


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 31), st.integers(1, 200), st.booleans()), max_size=8))
def test_never_two_current_imports_of_one_unit(steps: list[tuple[str, int, int, bool]]) -> None:
    table = NOTHING
    for source_letter, days, cost, accept in steps:
        name = f"{source_letter}-{days}-{cost}"
        decision = decide(table, _imported(name, days=days, cost=str(cost)), accept=accept)
        assert decision.is_unchanged == decision.imports.equals(table)
        table = decision.imports
        assert table.filter(status="current").height == 1
        once_more = decide(table, _imported(name, days=days, cost=str(cost)))
        assert once_more.is_unchanged


def test_half_a_period_over_a_whole_one_waits(tmp_path: Path) -> None:
    days = [
        {"ChargePeriodStart": f"2026-01-{day:02}T00:00:00Z", "ChargePeriodEnd": f"2026-01-{day:02}T01:00:00Z"}
        for day in range(1, 21)
    ]
    path = bill(tmp_path / "bill.csv", *days)
    whole = decide(NOTHING, read_bill(path).imports)
    assert decide(whole.imports, read_bill(path).imports).is_unchanged
    bill(path, *days[:10])
    half = decide(whole.imports, read_bill(path).imports)
    assert half.imports["status"].to_list() == ["current", "waiting"]
    assert [each.split(": ", 2)[2] for each in half.reasons] == [
        "found 10 charge days, expected the 20 that it replaces, or more",
        "found billed_cost 15 USD, expected close to the 30 that it replaces",
        "found effective_cost 12.5 USD, expected close to the 25 that it replaces",
    ]


@pytest.mark.real_data
def test_importing_the_real_sample_twice_changes_nothing(shared_data: Path) -> None:
    path = shared_data / "billing/focus/focus_1.0_sample_aws_1to15_microsoft.csv"
    first = decide(NOTHING, read_bill(path).imports)
    assert first.imports["status"].to_list() == ["current", "current"]
    again = decide(first.imports, read_bill(path).imports)
    assert again.is_unchanged
    assert again.imports.equals(first.imports)
