"""Scenarios as tables: the work, the ways to do it, what a GPU costs by how much it is used, and the demand."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import polars as pl

from ledger import money
from ledger.money import MONEY
from queries.scenarios.demand import HOUR_MS, MONTH_HOURS, month
from queries.scenarios.options import Option
from queries.scenarios.scenario import Scenario

_KINDS: Final = {"now": "now", "rent": "on demand", "spot": "spot", "commit": "committed", "own": "owned"}
MONEY_COLUMNS: Final = ("month_cost", "saving_month_cost", "gpu_hour_cost", "all_rented_cost", "all_base_cost")
"""Amounts of options that are in `billing_currency`; `unit_price` is as listed."""

_OPTION: Final[Mapping[str, Any]] = {
    "option": pl.String, "kind": pl.String, "month_cost": MONEY, "saving_month_cost": MONEY, "gpu_hour_cost": MONEY,
    "billing_currency": pl.String, "break_even_ratio": pl.Float64, "base_gpu_count": pl.Int64,
    "rented_server_count": pl.Float64, "all_rented_cost": MONEY, "all_base_cost": MONEY, "provider": pl.String,
    "region": pl.String, "instance_type": pl.String, "accelerator": pl.String, "gpu_count": pl.Int64,
    "unit_price": MONEY, "price_currency": pl.String, "priced_on": pl.Date, "source": pl.String,
    "assumptions": pl.String, "reason": pl.String, "is_estimate": pl.Boolean, "may_be_interrupted": pl.Boolean,
    "is_price_assumed": pl.Boolean,
}  # fmt: skip

WORK_MONEY: Final = ("month_cost", "sunk_month_cost", "best_month_cost", "saving_month_cost")
_WORK: Final[Mapping[str, Any]] = {
    "work": pl.String, "existing_gpu_hours": pl.Float64, "held_gpu_hours": pl.Float64,
    "productive_gpu_hours": pl.Float64, "held_ratio": pl.Float64, "month_cost": MONEY, "sunk_month_cost": MONEY,
    "best": pl.String, "best_month_cost": MONEY, "saving_month_cost": MONEY, "billing_currency": pl.String,
    "costed_ratio": pl.Float64, "hour_count": pl.Int64,
}  # fmt: skip


def options(found: Scenario) -> pl.DataFrame:
    """Return what there is now and all other ways, the cheapest first and what has no price last.

    Nulls: `month_cost` where something has no price, which `reason` names; `saving_month_cost` where that of now is
    not known. Money is in `billing_currency`, `unit_price` as it is listed.
    """
    rows = [_option(found, each) for each in (found.now, *found.options)]
    return pl.DataFrame(rows, schema=_OPTION).sort("month_cost", "option", nulls_last=True)


def works(found: list[Scenario]) -> pl.DataFrame:
    """Return one row per kind of work: what was measured, what it costs in a month, and the cheapest safe way."""
    return pl.DataFrame([_work(each) for each in found], schema=_WORK)


def gpu_months(found: Scenario) -> pl.DataFrame:
    """Return what one GPU costs in a month when no hour and when every hour of it is used, by way of paying.

    Shape: `line`, `used_ratio` (0 and 1), `cost`, in the currency that is compared in.
    """
    rent = found.rent.gpu_price if found.rent is not None else None
    lines: list[tuple[str, int, Decimal]] = []
    if rent is not None and found.rent is not None:
        name = f"on demand, {found.rent.instance_type}"
        lines += [(name, used, money.priced(Decimal(used), rent * MONTH_HOURS)) for used in (0, 1)]
    flat = {each.line: price for each in found.options if (price := _flat(each)) is not None}
    now = found.now
    # A GPU of another kind does not stand beside what the present ones cost.
    if now.month_cost is not None and found.work.existing.total and found.accelerator == found.work.accelerator:
        per = Fraction(now.month_cost) / (found.work.existing.gpu_hours / found.work.existing.count)
        flat["as it is now"] = per
    lines += [(name, used, money.priced(Decimal(1), price)) for name, price in flat.items() for used in (0, 1)]
    return pl.DataFrame(lines, schema={"line": pl.String, "used_ratio": pl.Float64, "cost": MONEY}, orient="row")


def demand(found: Scenario) -> pl.DataFrame:
    """Return how many GPUs were needed in each hour, the busiest first, by the share of hours before it.

    Shape: `hour_ratio`, `gpus`; runs of equal need are one step.
    """
    ordered = sorted(found.demand.hours, reverse=True)
    rows = [
        (index / len(ordered), hour / HOUR_MS)
        for index, hour in enumerate(ordered)
        if index == 0 or hour != ordered[index - 1]
    ]
    if ordered:
        rows.append((1.0, ordered[-1] / HOUR_MS))
    return pl.DataFrame(rows, schema={"hour_ratio": pl.Float64, "gpus": pl.Float64}, orient="row")


def _flat(option: Option) -> Fraction | None:
    """Return what a GPU costs in a month that is paid in every hour."""
    if option.kind == "own" and option.base_gpu_count and not option.rented_hours and option.month_cost:
        return Fraction(option.month_cost) / option.base_gpu_count
    if option.kind == "commit" and option.offer is not None and option.offer.gpu_price is not None:
        return option.offer.gpu_price * MONTH_HOURS
    return None


def _option(found: Scenario, option: Option) -> dict[str, Any]:
    work, offer, server = found.work, option.offer, option.server
    hours = found.demand.gpu_hours * MONTH_HOURS / found.demand.count
    cost = option.month_cost
    is_now = option.kind == "now"
    row: dict[str, Any] = {
        "option": option.name,
        "kind": _KINDS[option.kind],
        "month_cost": cost,
        "saving_month_cost": None if is_now else found.saving(option),
        "gpu_hour_cost": money.priced(cost, 1 / hours) if cost is not None and hours else None,
        "billing_currency": option.billing_currency,
        "break_even_ratio": None if option.break_even is None else float(option.break_even),
        "base_gpu_count": option.base_gpu_count,
        "rented_server_count": float(option.rented_hours),
        "all_rented_cost": option.all_rented_cost,
        "all_base_cost": option.all_base_cost,
        "assumptions": "; ".join(option.assumptions),
        "reason": option.reason,
        "is_estimate": option.is_estimate,
        "may_be_interrupted": not option.is_safe,
        "is_price_assumed": option.is_price_assumed,
    }
    if offer is not None:
        row |= {
            "provider": offer.provider, "region": offer.region, "instance_type": offer.instance_type,
            "accelerator": offer.accelerator, "gpu_count": offer.gpu_count, "unit_price": offer.unit_price,
            "price_currency": offer.billing_currency, "priced_on": offer.priced_on, "source": offer.source,
        }  # fmt: skip
    elif server is not None:
        row |= {
            "instance_type": server.name, "accelerator": found.accelerator, "gpu_count": server.gpu_count,
            "unit_price": server.month_cost, "price_currency": server.billing_currency,
            "priced_on": server.priced_on, "source": f"{server.source}, a month",
        }  # fmt: skip
    elif is_now:
        row |= {
            "provider": work.provider, "region": work.region, "instance_type": work.instance_type,
            "accelerator": work.accelerator, "gpu_count": work.gpu_count, "source": "bills",
        }  # fmt: skip
    return row


def _work(found: Scenario) -> dict[str, Any]:
    work, best = found.work, found.best
    is_moved = best is not None and best.kind != "now"
    return {
        "work": work.name,
        "existing_gpu_hours": float(work.existing.gpu_hours),
        "held_gpu_hours": float(work.held.gpu_hours),
        "productive_gpu_hours": float(work.productive.gpu_hours),
        "held_ratio": _ratio(work.held_ratio),
        "month_cost": found.now.month_cost,
        "sunk_month_cost": month(work.sunk_cost, work.existing.count) if found.now.month_cost is not None else None,
        "best": best.name if best is not None else "",
        "best_month_cost": best.month_cost if best is not None else None,
        "saving_month_cost": found.saving(best) if best is not None and is_moved else None,
        "billing_currency": work.currency,
        "costed_ratio": _ratio(work.costed_ratio),
        "hour_count": work.existing.count,
    }


def _ratio(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
