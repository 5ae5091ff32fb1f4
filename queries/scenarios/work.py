"""The work that is to be done: what was measured on each kind of server, and what it costs today."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import polars as pl

from queries.scenarios.demand import Demand
from queries.scenarios.offers import accelerator

KEY: Final = ("provider", "region", "instance_type", "gpu_model")
BASES: Final = ("held", "existing", "productive")


@dataclass(frozen=True)
class Cost:
    """What a kind of server cost in the measured hours, in one currency; the parts are of `effective_cost`.

    Nulls: an amount is null where no row has it. `unknown_count` rows have no effective cost.
    """

    billing_currency: str
    effective_cost: Decimal | None
    committed_cost: Decimal | None
    owned_cost: Decimal | None
    estimated_cost: Decimal | None
    unknown_count: int
    costed_ms: int


@dataclass(frozen=True)
class Work:
    """What was done on one kind of server in a stretch of measured hours.

    `held` is what jobs held, `existing` all that was there, `productive` what did useful work.
    Amounts are compared in `currency`: that of its largest bill, '' where it has none.
    Nulls: `peak_memory_bytes` and `gpu_watts` where nothing was measured.
    """

    provider: str
    region: str
    instance_type: str
    gpu_model: str
    gpu_count: int | None
    memory_bytes: float | None
    existing: Demand
    held: Demand
    productive: Demand
    starts: tuple[datetime, ...]
    peak_memory_bytes: float | None
    gpu_watts: float | None
    costs: tuple[Cost, ...]
    currency: str

    @property
    def accelerator(self) -> str:
        """The kind of its GPUs."""
        return accelerator(self.gpu_model)

    @property
    def place(self) -> str:
        """Where it runs: provider and region."""
        return f"{self.provider} {self.region}".strip()

    @property
    def name(self) -> str:
        """Kind of GPU, place and type of server: no two have the same."""
        return " · ".join(each for each in (self.accelerator, self.place, self.instance_type) if each)

    @property
    def cost(self) -> Cost | None:
        """Its cost where it is known in one currency; amounts of several are never added."""
        known = [each for each in self.costs if each.effective_cost is not None]
        return known[0] if len(known) == 1 else None

    @property
    def held_ratio(self) -> Fraction | None:
        """Which share of the time that was there jobs held."""
        return Fraction(self.held.total, self.existing.total) if self.existing.total else None

    @property
    def costed_ratio(self) -> Fraction | None:
        """Which share of the time that was there has a cost."""
        costed = max((each.costed_ms for each in self.costs), default=0)
        return Fraction(costed, self.existing.total) if self.existing.total else None

    @property
    def sunk_cost(self) -> Fraction:
        """What of the cost is committed or owned: it is paid until its end, wherever the work runs."""
        cost = self.cost
        return Fraction(0) if cost is None else Fraction(cost.committed_cost or 0) + Fraction(cost.owned_cost or 0)

    def demand(self, basis: str) -> Demand:
        """Return what is to be done, by what counts as work."""
        return {"held": self.held, "existing": self.existing, "productive": self.productive}[basis]


def works(hours: pl.DataFrame, costs: pl.DataFrame) -> list[Work]:
    """Return the work on each kind of server, the dearest first.

    Every kind has the same hours: those in which the ledger saw any device; in one without rows it needed nothing.
    Shape: answers to `scenario_hours` and `scenario_costs`.
    """
    starts = tuple(hours["hour_start"].unique().sort())
    place = {at: index for index, at in enumerate(starts)}
    spent: dict[tuple[str, ...], list[Cost]] = {}
    for row in costs.iter_rows(named=True):
        spent.setdefault(tuple(row[name] for name in KEY), []).append(_cost(row))
    found = []
    for key, rows in hours.group_by(KEY, maintain_order=True):
        name = tuple(str(each) for each in key)
        found.append(_work(name, rows, starts, place, tuple(spent.get(name, ()))))
    return sorted(found, key=lambda each: (-_size(each), -each.existing.total, each.name))


def _size(work: Work) -> Decimal:
    return max((each.effective_cost or Decimal(0) for each in work.costs), default=Decimal(0))


def _work(
    key: tuple[str, ...],
    rows: pl.DataFrame,
    starts: tuple[datetime, ...],
    place: dict[datetime, int],
    costs: tuple[Cost, ...],
) -> Work:
    demands = {}
    for column in ("existed_ms", "held_ms", "productive_ms"):
        filled = [0] * len(starts)
        for at, amount in zip(rows["hour_start"], rows[column], strict=True):
            filled[place[at]] += int(amount)
        demands[column] = Demand(tuple(filled))
    metered, joules = (float(rows[column].cast(pl.Float64).sum()) for column in ("metered_ms", "energy_joules"))
    provider, region, instance_type, gpu_model = key
    return Work(
        provider=provider,
        region=region,
        instance_type=instance_type,
        gpu_model=gpu_model,
        gpu_count=_largest(rows, "gpu_count", int),
        memory_bytes=_largest(rows, "memory_total_bytes", float),
        existing=demands["existed_ms"],
        held=demands["held_ms"],
        productive=demands["productive_ms"],
        starts=starts,
        peak_memory_bytes=_largest(rows, "memory_used_bytes", float),
        gpu_watts=joules * 1000 / metered if metered else None,
        costs=costs,
        currency=costs[0].billing_currency if costs else "",
    )


def _largest(rows: pl.DataFrame, column: str, kind: type[Any]) -> Any:
    found = rows[column].max()
    return None if found is None else kind(found)


def _cost(row: dict[str, Any]) -> Cost:
    names = ("effective_cost", "committed_cost", "owned_cost", "estimated_cost", "unknown_count", "costed_ms")
    return Cost(str(row["billing_currency"]), *(row[name] for name in names))
