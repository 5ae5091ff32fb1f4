"""Owned hardware costs what it cost to have: no more and no less, to the last digit."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.billing._charges import import_frame
from collectors.billing._format import Imported
from collectors.billing._ownership import own_charges
from collectors.billing._read import read_bill
from collectors.billing._snapshot import decide
from collectors.billing._tariff import hour_price, tariff
from ledger import money
from ledger.errors import InputError
from ledger.tables import Asset, BillImport, FocusCharge, NodeResource
from tests.frames import validated

NOW = datetime(2026, 3, 1, tzinfo=UTC)

TOML = """
owner = "Example Institute"
cluster = "hpc"
billing_currency = "EUR"
pue_ratio = 1.3
energy_price = 0.21

[[asset]]
asset_id = "INV-1"
node = "gpu01"
purchase_cost = "280000.10"
residual_cost = 20000
life_start = 2026-01-01
life_end = 2031-01-01
gpu_count = 8
power_watts = 10200
space_month_cost = 400
staff_month_cost = 250.5

[[asset]]
asset_id = "INV-2"
node = "gpu02"
purchase_cost = 1000
life_start = 2026-01-15
life_end = 2026-02-15
"""


def _assets(path: Path, text: str = TOML) -> pl.DataFrame:
    path.write_text(text)
    read = read_bill(path)
    assert read.format == "on_premises"
    assert read.rejected == ()
    return Asset.validate(read.tables[Asset])


def _charges(months: list[Imported]) -> pl.DataFrame:
    for each in months:
        validated(FocusCharge, each.tables[FocusCharge])
        validated(BillImport, each.imports)
    return pl.concat([each.tables[FocusCharge] for each in months])


def _by_kind(charges: pl.DataFrame) -> dict[str, Decimal]:
    sums = money.summed(charges, by=["ServiceName"], columns=["BilledCost"])
    return {name.removeprefix("Owned hardware: "): cost for name, cost in sums.rows()}


def test_assets_of_toml_and_csv_are_the_same(tmp_path: Path) -> None:
    assets = _assets(tmp_path / "assets.toml")
    first = assets.row(0, named=True)
    assert first["purchase_cost"] == Decimal("280000.10")
    assert first["energy_price"] == Decimal("0.21")
    assert first["life_end"] == date(2031, 1, 1)
    assert (first["pue_ratio"], first["gpu_count"], first["owner"]) == (1.3, 8, "Example Institute")
    assert assets["power_watts"].to_list() == [10200.0, None]
    assets.write_csv(tmp_path / "assets.csv")
    read = read_bill(tmp_path / "assets.csv")
    assert read.tables[Asset].equals(assets)
    links = NodeResource.validate(read.tables[NodeResource])
    assert links.select("node", "provider", "resource_id", "valid_start").row(0) == (
        "gpu01",
        "Example Institute",
        "inv-1",
        datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_a_day_costs_its_part_of_everything(tmp_path: Path) -> None:
    assets = _assets(tmp_path / "assets.toml").head(1)
    start = datetime(2026, 1, 31, tzinfo=UTC)
    kinds = _by_kind(_charges(own_charges(assets, start, start + timedelta(days=1), imported_at=NOW)))
    life_days = (date(2031, 1, 1) - date(2026, 1, 1)).days
    expected = {
        "depreciation": Fraction("260000.10") / life_days,
        "energy": Fraction(10200 * 24, 1000) * Fraction("1.3") * Fraction("0.21"),
        "space": 400 * 12 / Fraction("365.2425"),
        "staff": Fraction("250.5") * 12 / Fraction("365.2425"),
    }
    assert kinds.keys() == expected.keys()
    for kind, cost in kinds.items():
        assert abs(Fraction(cost) - expected[kind]) < Fraction(1, 10**18)
    assert kinds["energy"] == Decimal("66.8304")


def test_a_life_sums_to_purchase_less_residual(tmp_path: Path) -> None:
    assets = _assets(tmp_path / "assets.toml")
    months = own_charges(assets, datetime(2025, 1, 1, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC), imported_at=NOW)
    assert len(months) == 60
    sums = money.summed(_charges(months), by=["ResourceId", "ServiceName"], columns=["EffectiveCost"]).rows()
    written_off = {resource: cost for resource, name, cost in sums if name.endswith("depreciation")}
    assert written_off == {"INV-1": Decimal("260000.10"), "INV-2": Decimal(1000)}
    assert {name for resource, name, _ in sums if resource == "INV-2"} == {"Owned hardware: depreciation"}


@given(st.integers(0, 40), st.integers(1, 40))
def test_hours_sum_to_days(first: int, length: int) -> None:
    assets = Asset.cast(
        pl.DataFrame(
            [
                {
                    "asset_id": "a",
                    "cluster": "c",
                    "node": "n",
                    "owner": "o",
                    "billing_currency": "USD",
                    "purchase_cost": Decimal("99999.99"),
                    "residual_cost": None,
                    "life_start": date(2026, 1, 1),
                    "life_end": date(2029, 7, 3),
                    "gpu_count": 1,
                    "power_watts": None,
                    "pue_ratio": None,
                    "energy_price": None,
                    "space_month_cost": Decimal("33.33"),
                    "staff_month_cost": None,
                    "support_month_cost": None,
                    "financing_cost": Decimal("1234.57"),
                    "host_power_watts": None,
                    "energy_tariff": None,
                    "time_zone": None,
                }
            ]
        )
    )
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=first)
    end = start + timedelta(days=length)
    by_hour, by_day = (
        _charges(own_charges(assets, start, end, step=step, imported_at=NOW)) for step in ("hour", "day")
    )
    assert by_hour.height == 24 * by_day.height
    assert _by_kind(by_hour) == _by_kind(by_day)


def test_measured_energy_replaces_rated_power(tmp_path: Path) -> None:
    assets = _assets(tmp_path / "assets.toml").head(1)
    at = datetime(2026, 2, 1, tzinfo=UTC)
    energy = pl.DataFrame(
        {
            "cluster": ["hpc"] * 3,
            "node": ["gpu01", "gpu01", "other"],
            "at": [at, at + timedelta(minutes=30), at],
            "joules": [3_600_000.0, 1_800_000.0, 1e9],
            "measured_seconds": [1200.0, 600.0, 3600.0],
        }
    )
    charges = _charges(own_charges(assets, at, at + timedelta(hours=2), step="hour", energy=energy, imported_at=NOW))
    rows = charges.filter(pl.col("ServiceName").str.ends_with("energy")).sort("ChargePeriodStart")
    first = (Fraction("1.5") + Fraction(10200 * 1800, 3_600_000)) * Fraction("1.3")
    assert Fraction(rows["ConsumedQuantity"][0]) == first
    assert Fraction(rows["BilledCost"][0]) == first * Fraction("0.21")
    assert [text.split("(")[1] for text in rows["ChargeDescription"]] == ["measured and rated)", "rated power)"]
    unrated = assets.with_columns(power_watts=pl.lit(None, pl.Float64))
    only = _charges(own_charges(unrated, at, at + timedelta(hours=2), step="hour", energy=energy, imported_at=NOW))
    energy_rows = only.filter(pl.col("ServiceName").str.ends_with("energy"))
    assert energy_rows["ChargeDescription"].to_list() == ["Energy of INV-1 (measured for 1800 of 3600 s)"]


def test_months_are_imports_that_replace_each_other(tmp_path: Path) -> None:
    assets = _assets(tmp_path / "assets.toml")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    half = own_charges(assets, start, start + timedelta(days=10), imported_at=NOW)
    whole = own_charges(assets, start, start + timedelta(days=35), imported_at=NOW)
    assert [each.path for each in whole] == ["on_premises/2026-01", "on_premises/2026-02"]
    table = decide(import_frame([]), half[0].imports).imports
    for each in whole:
        table = decide(table, each.imports).imports
    assert table.sort("billing_period_start", "row_count")["status"].to_list() == ["superseded", "current", "current"]
    again = own_charges(assets, start, start + timedelta(days=35), imported_at=NOW + timedelta(days=1))
    assert all(decide(table, each.imports).is_unchanged for each in again)


def test_bad_assets_are_named_and_good_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "assets.csv"
    header = "asset_id,cluster,node,owner,billing_currency,purchase_cost,residual_cost,life_start,life_end,colour"
    good = "a,c,n,o,USD,100,0,2026-01-01,2027-01-01,red"
    rows = (
        good,
        good,
        "b,c,n,o,USD,cheap,0,2026-01-01,2027-01-01,",
        "d,c,n,o,USD,1,2,2026-01-01,2027-01-01,",
        "e,c,n,o,USD,1,0,2027-01-01,2027-01-01,",
        "f,c,,o,USD,1,0,2026-01-01,2027-01-01,",
    )
    path.write_text("\n".join((header, *rows)))
    read = read_bill(path)
    assert read.tables[Asset]["asset_id"].to_list() == ["a"]
    assert [each.reason.removeprefix(f"{path}: ") for each in read.rejected] == [
        "line 3, column asset_id: found 'a', expected each asset once",
        "line 4, column purchase_cost: found 'cheap', expected a decimal number such as -12.50",
        "line 5, column residual_cost: found '2.000000000000000000', expected at most purchase_cost",
        "line 6, column life_end: found '2027-01-01', expected a day after life_start",
        "line 7, column node: found nothing, expected a value for every asset",
    ]
    assert read.remarks == (f"{path}: colour are no columns of an asset and were left out",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[asset]]\npurchse_cost = 5\n", "asset 1: found 'purchse_cost', expected one of asset_id"),
        ("[[asset]]\nx = \n", "found text that is no TOML"),
        ("[[asset]]\nasset_id = 'a'\n", None),
    ],
)
def test_bad_toml_is_said_in_one_line(tmp_path: Path, text: str, message: str | None) -> None:
    path = tmp_path / "assets.toml"
    path.write_text(text)
    if message is None:
        refused = read_bill(path).rejected
        assert [each.reason for each in refused] == [
            f"{path}: row 1, column purchase_cost: found nothing, expected a decimal number such as -12.50"
        ]
        return
    with pytest.raises(InputError) as caught:
        read_bill(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert message in caught.value.message


TARIFF = """
[[asset]]
asset_id = "INV-9"
owner = "Example Institute"
cluster = "hpc"
node = "gpu09"
billing_currency = "EUR"
purchase_cost = 1000
residual_cost = 100
financing_cost = "77.77"
support_month_cost = 12
life_start = 2026-01-01
life_end = 2026-09-01
power_watts = 1000
host_power_watts = 400
pue_ratio = 1.5
energy_tariff = "mon-fri 07:00-21:00 0.30; sat 0.20"
energy_price = 0.10
time_zone = "Europe/Berlin"
"""


def _hourly_energy(assets: pl.DataFrame, start: datetime, hours: int) -> list[Decimal]:
    charges = _charges(own_charges(assets, start, start + timedelta(hours=hours), step="hour", imported_at=NOW))
    rows = charges.filter(pl.col("ServiceName").str.ends_with("energy")).sort("ChargePeriodStart")
    return rows["BilledCost"].to_list()


def test_energy_costs_what_the_tariff_says_at_that_hour(tmp_path: Path) -> None:
    assets = _assets(tmp_path / "assets.toml", TARIFF)
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    day = _hourly_energy(assets, monday, 24)
    high, low = Decimal("0.45"), Decimal("0.15")
    assert day == [low] * 6 + [high] * 14 + [low] * 4, "seven in the morning in Berlin is six by UTC in winter"
    july = _hourly_energy(assets, datetime(2026, 7, 6, tzinfo=UTC), 24)
    assert july == [low] * 5 + [high] * 14 + [low] * 5
    saturday = _hourly_energy(assets, monday + timedelta(days=5), 24)
    assert sorted(saturday) == [low] + [Decimal("0.30")] * 23


def test_steps_of_days_have_energy_by_the_hour_where_its_price_changes(tmp_path: Path) -> None:
    assets = _assets(tmp_path / "assets.toml", TARIFF)
    start = datetime(2026, 1, 5, tzinfo=UTC)
    by_day, by_hour = (
        _charges(own_charges(assets, start, start + timedelta(days=7), step=step, imported_at=NOW))
        for step in ("day", "hour")
    )
    assert _by_kind(by_day) == _by_kind(by_hour)
    kinds = by_day.group_by("ServiceName").len()
    assert dict(kinds.rows())["Owned hardware: energy"] == 7 * 24
    assert dict(kinds.rows())["Owned hardware: financing"] == 7


def test_a_life_sums_to_all_that_was_spent(tmp_path: Path) -> None:
    assets = _assets(tmp_path / "assets.toml", TARIFF)
    start, end = datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)
    kinds = _by_kind(_charges(own_charges(assets, start, end, imported_at=NOW)))
    assert kinds["depreciation"] == Decimal(900)
    assert kinds["financing"] == Decimal("77.77")
    average = Fraction(12 * 12 * 243) / Fraction("365.2425")
    assert abs(Fraction(kinds["support"]) - average) < Fraction(1, 10**15)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("energy_tariff", "mon-fri 07:00-21:00"),
        ("energy_tariff", "mon-fri 07:00-21:00 0.3"),
        ("energy_tariff", "07:00-07:00 0.3; 0.2"),
        ("energy_tariff", "25:00-26:00 0.3; 0.2"),
        ("energy_tariff", "someday 0.3; 0.2"),
        ("energy_tariff", "mon-fri -0.3; 0.2"),
        ("time_zone", "Mars/Olympus"),
        ("financing_cost", "-1"),
        ("support_month_cost", "-1"),
        ("host_power_watts", "-1"),
        ("pue_ratio", "0.9"),
    ],
)
def test_what_cannot_be_is_refused_in_words(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "assets.csv"
    good = {
        "asset_id": "a", "cluster": "c", "node": "n", "owner": "o", "billing_currency": "USD", "purchase_cost": "100",
        "life_start": "2026-01-01", "life_end": "2027-01-01",
    }  # fmt: skip
    path.write_text("\n".join(",".join(line) for line in ((*good, key), (*good.values(), f'"{value}"'))))
    read = read_bill(path)
    assert read.tables[Asset].is_empty()
    assert [each.reason.split(": found")[0] for each in read.rejected] == [f"{path}: line 2, column {key}"]


@given(st.integers(0, 6), st.integers(0, 23), st.integers(1, 23))
def test_a_night_belongs_to_the_day_on_which_it_begins(first: int, start: int, length: int) -> None:
    """Every hour has one price, and a part of a week has the hours that it says, also over midnight."""
    end = (start + length) % 24
    name = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[first]
    parts = tariff(f"{name} {start:02}:00-{end or 24:02}:00 1; 0", None)
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    week = [hour_price(parts, "UTC", monday + timedelta(hours=hour)) for hour in range(7 * 24)]
    expected = {(first * 24 + start + each) % (7 * 24) for each in range(length)}
    assert {hour for hour, price in enumerate(week) if price} == expected


def test_an_hour_in_which_the_price_changes_costs_the_mean() -> None:
    parts = tariff("09:15-24:00 4; 0", None)
    assert hour_price(parts, "UTC", datetime(2026, 1, 5, 9, tzinfo=UTC)) == 3
    india = hour_price(parts, "Asia/Kolkata", datetime(2026, 1, 5, 3, tzinfo=UTC))
    assert india == 1, "half an hour beside the clocks of UTC: 08:30 to 09:30"
