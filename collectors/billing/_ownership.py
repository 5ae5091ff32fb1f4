"""What owned hardware costs, as charges that a cloud would have billed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

import polars as pl

from collectors.billing._format import Imported
from collectors.billing._made import made_import
from ledger import money
from ledger.tables import Asset, FocusCharge

SOURCE: Final = "on_premises"

_STEPS: Final[Mapping[str, timedelta]] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}

# The Gregorian year has 365.2425 days: twelve average months of spread cost fill it exactly.
_YEAR_SECONDS: Final = 31_556_952
_MONTHS: Final = 12
_JOULES: Final = 3_600_000
_NO_LIST: Final = "owned hardware has no list or contracted price"

_Row = dict[str, object]


@dataclass(frozen=True)
class _Part:
    """One kind of cost of one asset in one step; `quantity` is in `unit`."""

    name: str
    cost: Decimal
    quantity: Decimal
    unit: str
    details: str


def own_charges(
    assets: pl.DataFrame,
    start: datetime,
    end: datetime,
    *,
    step: Literal["hour", "day"] = "day",
    energy: pl.DataFrame | None = None,
    imported_at: datetime,
) -> list[Imported]:
    """Return one import per calendar month of what assets cost in the whole steps of [start, end).

    Purchase less residual is written off evenly over the life; space and staff are an average month's
    cost over time; energy is kilowatt-hours x PUE x price, from measured joules, and from rated watts for the
    time that was not measured. All capacity is charged: what nobody used is found by allocation.

    Shape, grain: one charge per asset, step and kind of cost. `energy` has `cluster, node, at, joules,
    measured_seconds`, any number of rows per node; a row belongs to the step that `at` lies in.
    Nulls: a cost that an asset does not state (residual, energy price, space, staff) is not charged.
    """
    length = _STEPS[step]
    measured = _measured(energy, length)
    shared = assets.group_by("cluster", "node").len()
    sharing = {(row["cluster"], row["node"]): int(row["len"]) for row in shared.iter_rows(named=True)}
    months: dict[datetime, list[_Row]] = {}
    for asset in assets.sort("asset_id").iter_rows(named=True):
        for at in _whole_steps(asset, start, end, length):
            known = measured.get((asset["cluster"], asset["node"], at), (Fraction(0), Fraction(0)))
            share = Fraction(1, sharing[asset["cluster"], asset["node"]])
            month = at.replace(day=1, hour=0)
            rows = months.setdefault(month, [])
            rows.extend(
                _charge(asset, at, at + length, month, part)
                for part in _parts(asset, at, length, known[0] * share, known[1])
            )
    return [_imported(month, rows, assets, imported_at) for month, rows in sorted(months.items())]


def _whole_steps(asset: _Row, start: datetime, end: datetime, length: timedelta) -> Iterator[datetime]:
    """Yield the steps that lie wholly in the window and in the asset's life."""
    begin = max(start.astimezone(UTC), _midnight(asset["life_start"]))
    stop = min(end.astimezone(UTC), _midnight(asset["life_end"]))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    at = epoch + -((epoch - begin) // length) * length
    while at + length <= stop:
        yield at
        at += length


def _parts(
    asset: _Row, at: datetime, length: timedelta, joules: Fraction, measured_seconds: Fraction
) -> Iterator[_Part]:
    """Yield what an asset costs in one step, kind by kind."""
    born = _midnight(asset["life_start"])
    before = int((at - born).total_seconds())
    seconds = int(length.total_seconds())
    after = before + seconds
    life = int((_midnight(asset["life_end"]) - born).total_seconds())
    hours = Decimal(seconds) / 3600
    loss = money.difference(_amount(asset, "purchase_cost"), _amount(asset, "residual_cost"))
    yield _Part("Depreciation", money.spread(loss, before, after, life), hours, "Hours", "straight-line")
    price = asset["energy_price"]
    used = _energy(asset, seconds, joules, measured_seconds)
    if isinstance(price, Decimal) and used is not None:
        kilowatt_hours, evidence = used
        quantity = money.priced(Decimal(1), kilowatt_hours)
        yield _Part("Energy", money.priced(price, kilowatt_hours), quantity, "Kilowatt-Hours", evidence)
    for name, column in (("Space", "space_month_cost"), ("Staff", "staff_month_cost")):
        if isinstance(asset[column], Decimal):
            yearly = money.share(_amount(asset, column), Decimal(_MONTHS))
            yield _Part(name, money.spread(yearly, before, after, _YEAR_SECONDS), hours, "Hours", "average month")


def _energy(asset: _Row, seconds: int, joules: Fraction, measured_seconds: Fraction) -> tuple[Fraction, str] | None:
    """Return kilowatt-hours with the site's overhead and their evidence; None where nothing is known."""
    watts = asset["power_watts"]
    missing = max(Fraction(0), seconds - measured_seconds)
    if not measured_seconds and watts is None:
        return None
    rated = Fraction(str(watts)) * missing if watts is not None else Fraction(0)
    overhead = Fraction(str(asset["pue_ratio"])) if asset["pue_ratio"] is not None else Fraction(1)
    evidence = "measured" if not missing else "measured and rated" if measured_seconds else "rated power"
    if missing and watts is None:
        evidence = f"measured for {float(measured_seconds):.0f} of {seconds} s"
    return (joules + rated) * overhead / _JOULES, evidence


def _measured(
    energy: pl.DataFrame | None, length: timedelta
) -> dict[tuple[object, object, datetime], tuple[Fraction, Fraction]]:
    """Return joules and measured seconds of each node and step."""
    sums: dict[tuple[object, object, datetime], tuple[Fraction, Fraction]] = {}
    if energy is None:
        return sums
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for row in energy.drop_nulls(["joules", "measured_seconds"]).iter_rows(named=True):
        at = epoch + (row["at"].astimezone(UTC) - epoch) // length * length
        key = row["cluster"], row["node"], at
        joules, seconds = sums.get(key, (Fraction(0), Fraction(0)))
        sums[key] = joules + Fraction(str(row["joules"])), seconds + Fraction(str(row["measured_seconds"]))
    return sums


def _charge(asset: _Row, start: datetime, end: datetime, month: datetime, part: _Part) -> _Row:
    owner = asset["owner"]
    return {
        "BilledCost": part.cost,
        "EffectiveCost": part.cost,
        "BillingCurrency": asset["billing_currency"],
        "BillingAccountId": owner,
        "BillingPeriodStart": month,
        "BillingPeriodEnd": (month + timedelta(days=32)).replace(day=1),
        "ChargePeriodStart": start,
        "ChargePeriodEnd": end,
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{part.name} of {asset['asset_id']} ({part.details})",
        "ChargeFrequency": "Usage-Based" if part.name == "Energy" else "Recurring",
        "ServiceCategory": "Compute",
        "ServiceName": f"Owned hardware: {part.name.lower()}",
        "ServiceProviderName": owner,
        "HostProviderName": owner,
        "InvoiceIssuerName": owner,
        "InvoiceId": "",
        "PricingCategory": "Standard",
        "PricingQuantity": part.quantity,
        "PricingUnit": part.unit,
        "ConsumedQuantity": part.quantity,
        "ConsumedUnit": part.unit,
        "ResourceId": asset["asset_id"],
        "ResourceName": asset["node"],
        "ResourceType": "Server",
        "SubAccountId": asset["cluster"],
        "is_derived": False,
        "unknown_reason": _NO_LIST,
    }


def _imported(month: datetime, rows: list[_Row], assets: pl.DataFrame, imported_at: datetime) -> Imported:
    """Return one month as an import."""
    schema = FocusCharge.create_empty().schema
    bare = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    return made_import(SOURCE, month, bare, imported_at=imported_at, remarks=(f"{assets.height} assets",))


def _midnight(day: object) -> datetime:
    if not isinstance(day, date):
        raise TypeError(f"{Asset.__name__}: found {day!r}, expected a day")
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _amount(asset: _Row, name: str) -> Decimal:
    value = asset[name]
    return value if isinstance(value, Decimal) else Decimal(0)
