"""Energy and carbon on the page and in a statement: what the rollup has, and a word where it is not known."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from app import format as written
from app.context import Context
from app.data import Scope
from ledger.config import load
from ledger.tables import CarbonDay
from tests.app.conftest import used
from tests.app.opening import metrics, opened, said
from tests.bills import rows

NOW = datetime(2026, 3, 20, 15, 20, tzinfo=UTC)


def day(job: str, joules: float | None, grams: float | None, **given: Any) -> dict[str, Any]:
    row = {
        "day": date(2026, 3, 18), "cluster": "c", "region": "fra1", "team": "vision", "model": "iris", "job_id": job,
        "restart_count": 0, "submitted_at": NOW, "total_gpu_seconds": Decimal(3600),
        "known_gpu_seconds": 0.0 if joules is None else 3600.0, "node_known_gpu_seconds": 0.0,
        "energy_joules": joules, "carbon_grams": grams,
        "site_joules": None if grams is None or joules is None else joules * 1.5,
    }  # fmt: skip
    return row | given


@pytest.fixture
def hub() -> Iterator[Context]:
    found = Context(load(store={"url": "duckdb::memory:"}), now=lambda: NOW)
    days = [
        day("1", 7.2e6, 1_200.0, grid_source="DE, 2023"),
        day("2", 3.6e6, None, region="moon", team="speech", model="echo"),
        day("3", None, None, team="speech", model="echo"),
        day("", 1.8e6, 300.0, team="", model=""),
    ]
    found.store.replace(CarbonDay, rows(CarbonDay, days), partitions=["2026-03-18"], state=None)
    yield found
    found.close()


def test_the_page_says_what_is_known_and_what_is_not(hub: Context) -> None:
    with used(hub):
        test = opened("carbon", window="7d")
    shown = metrics(test)
    assert shown["CO₂ equivalent"] == ("1.5 kg", "400 g/kWh")
    assert shown["GPU energy"][0] == "3.5 kWh"
    assert shown["Energy known"] == ("75.0 %", "whole nodes 0.0 %")
    assert shown["Per GPU-hour"][0] == "750 g"
    assert test.warning[0].value.startswith("Of a part of the energy the grid or the PUE is not known")
    groups = test.dataframe[0].value.set_index("name")
    assert set(groups.index) == {"iris", "echo", "not held"}
    assert groups.loc["echo", "kilowatt_hours"] == 1
    assert groups.loc["echo", "energy_known_ratio"] == 0.5
    assert "DE, 2023" in said(test)


@pytest.mark.parametrize(("by", "names"), [("team", {"vision", "speech", "not held"}), ("job", {"1", "2", "3"})])
def test_by_team_and_by_job(hub: Context, by: str, names: set[str]) -> None:
    with used(hub):
        test = opened("carbon", window="7d", carbon_by=by)
    assert set(test.dataframe[0].value["name"]) == names


def test_a_team_sees_its_own_energy_only(hub: Context) -> None:
    hub.viewer = lambda: Scope("team", "vision", ("vision",))
    with used(hub):
        test = opened("carbon", window="7d")
    assert metrics(test)["GPU energy"][0] == "2 kWh"
    assert not {"echo", "not held", "moon"} & set(said(test).replace('"', " ").replace(",", " ").split())


def test_a_statement_says_what_the_teams_gpus_emitted(demo_context: Context) -> None:
    query = (
        "SELECT sum(energy_joules) AS energy, sum(carbon_grams) AS carbon FROM carbon_day "
        "WHERE team = 'vision' AND day >= '2026-11-01' AND day < '2026-12-01'"
    )
    energy, carbon = demo_context.store.select(query).row(0)
    with used(demo_context):
        test = opened("statement", team="vision", **{"statement-month": date(2026, 11, 1)})
    words = said(test)
    assert f"Its jobs' GPUs used {written.measured('joules', '', energy)}" in words
    assert f"emitted {written.measured('grams', '', carbon)} of CO2 equivalent" in words
