"""The ways to do the same work: by the hour, on spot, committed, owned, or a base of one with the rest rented."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

from ledger import money
from queries.scenarios.demand import MONTH_HOURS, Demand, Mix, cheapest, mixes, month
from queries.scenarios.offers import STANDARD, Convert, Offer, Unpriced
from queries.scenarios.options import ONE_YEAR, THREE_YEARS, Assumptions, Option
from queries.scenarios.owned import Server, break_even
from queries.scenarios.work import Work

_BASES: Final = {
    "held": "GPU-hours that jobs held",
    "existing": "all GPU-hours that are there, used or not",
    "productive": "productive GPU-hours alone, as if nothing idled or waited",
}
_NO_SPARES: Final = "sized for the busiest hour, without spares"
_PACKED: Final = "each hour has as many whole servers as its GPU time needs"


def reference(work: Work, offered: Sequence[Offer], demand: Demand, wanted: str) -> Offer | None:
    """Return the offer on demand that others are held against: the wanted, else the cheapest where the work is now."""
    standard = [each for each in offered if each.category in STANDARD and fits(work, each)]
    named = [each for each in standard if each.name == wanted]
    near = [each for each in standard if each.place.casefold() == work.place.casefold()]
    found = named or near or standard
    return min(found, key=lambda each: (_rent(each, demand), each.name), default=None)


def fits(work: Work, offer: Offer) -> bool:
    """Tell whether the most memory that was measured in use fits; what is not known is not held against it."""
    if offer.memory_bytes is None or work.peak_memory_bytes is None:
        return True
    return offer.memory_bytes >= work.peak_memory_bytes


def now(work: Work, rent: Offer | None, speed: Decimal) -> Option:
    """Return what the servers cost that are there, and from which use on they cost less than renting as much."""
    cost = work.cost
    told = [f"effective cost of the servers in {work.existing.count:,} measured hours, held or not"]
    if cost is None:
        reason = "no bill or estimate says what it costs" if not work.costs else "it is billed in several currencies"
        return Option("now", "As it is now", work.currency, None, reason=reason, is_estimate=False)
    whole = Fraction(cost.effective_cost or 0)
    share = work.costed_ratio
    if share is not None and share < 1:
        told.append(f"{float(share):.1%} of the GPU time has a cost")
    if cost.unknown_count:
        told.append(f"{cost.unknown_count:,} rows have no effective cost")
    if cost.estimated_cost:
        told.append("a part is estimated: its bill is not there yet")
    even = None
    if rent is not None and rent.gpu_price and work.existing.total:
        even = whole * Fraction(speed) / (rent.gpu_price * work.existing.gpu_hours)
    return Option(
        "now",
        "As it is now",
        cost.billing_currency,
        month(whole, work.existing.count),
        base_gpu_count=round(work.existing.gpu_hours / work.existing.count),
        break_even=even,
        assumptions=tuple(told),
        is_estimate=bool(cost.estimated_cost),
    )


def assumed_work(work: Work, assumptions: Assumptions, target: str) -> str:
    """Say what counts as the work that is to be done."""
    said = _BASES[assumptions.basis]
    if target != work.accelerator:
        said += (
            f"; an hour of {target} does {assumptions.speed.normalize():f} of an hour of {work.accelerator} (assumed)"
        )
    return said


def _rent(offer: Offer, demand: Demand) -> Fraction:
    return Fraction(offer.price or 0) * demand.server_hours(offer.gpu_count)


def rented(work: Work, offered: Sequence[Offer], demand: Demand, told: list[str]) -> Iterator[Option]:
    """Yield each offer on demand: the same type, another one, another region, another provider."""
    for each in offered:
        if each.category in STANDARD:
            said = "as billed" if each.is_billed else "as listed"
            yield _by_the_hour(work, each, demand, f"Rent {each.instance_type} {said}", (*told, _PACKED))


def _by_the_hour(
    work: Work, offer: Offer, demand: Demand, name: str, told: tuple[str, ...], *, is_safe: bool = True
) -> Option:
    hours = demand.server_hours(offer.gpu_count)
    option = Option(
        "rent" if is_safe else "spot",
        f"{name}, {offer.place}",
        work.currency,
        month(_rent(offer, demand), demand.count),
        offer=offer,
        rented_hours=Fraction(hours, demand.count),
        assumptions=told,
        is_safe=is_safe,
    )
    return option if fits(work, offer) else _too_small(option, work, offer)


def _too_small(option: Option, work: Work, offer: Offer) -> Option:
    gibibyte = 2**30
    peak, memory = (work.peak_memory_bytes or 0) / gibibyte, (offer.memory_bytes or 0) / gibibyte
    return replace(
        option, month_cost=None, reason=f"does not fit: {peak:.0f} GiB of memory were in use, it has {memory:.0f}"
    )


def spot(
    work: Work,
    offered: Sequence[Offer],
    rent: Offer | None,
    demand: Demand,
    assumed: tuple[Decimal | None, Decimal, bool],
    told: list[str],
    missing: list[Unpriced],
) -> Iterator[Option]:
    """Yield spot offers: the same work, and what interruptions make it do again."""
    discount, rerun, is_measured = assumed
    again = demand.times(1 + Fraction(rerun))
    how = "of held GPU time was in runs that were interrupted" if is_measured else "of the work is done twice (assumed)"
    words = (*told, _PACKED, f"{rerun:.1%} {how}")
    spot = [each for each in offered if each.category == "spot"]
    if not spot and rent is not None and discount is not None:
        price = Fraction(rent.price or 0) * (1 - Fraction(discount))
        spot = [replace(rent, category="spot", price=price, source=f"{rent.source}, less {discount:.0%}")]
        words = (*words, f"spot is {discount:.0%} below on demand (assumed)")
    if not spot:
        missing.append(Unpriced("Spot", "no list has a spot price of this GPU; state a discount to see it"))
    for each in spot:
        yield _by_the_hour(work, each, again, f"Spot {each.instance_type}", words, is_safe=False)


def committed(
    work: Work, offered: Sequence[Offer], rent: Offer | None, demand: Demand, assumed: Assumptions, told: list[str]
) -> Iterator[Option]:
    """Yield commitments on the base that costs the least, with the rest on demand."""
    if rent is None:
        return
    for each in offered:
        if each.category in {"reserved", "committed"} and fits(work, each):
            beside = reference(work, [one for one in offered if one.place == each.place], demand, "") or rent
            said = "as the bill shows it" if each.category == "committed" else "as listed"
            yield _bound(work, each, beside, demand, said, (*told, _PACKED))
    terms = (("1 year", assumed.one_year_discount, ONE_YEAR), ("3 years", assumed.three_year_discount, THREE_YEARS))
    for years, stated, otherwise in terms:
        discount = otherwise if stated is None else stated
        price = Fraction(rent.price or 0) * (1 - Fraction(discount))
        bound = replace(rent, category="committed", price=price, source=f"{rent.source}, less {discount:.0%}")
        how = "assumed" if stated is None else "stated"
        words = (*told, _PACKED, f"{years} cost {discount:.0%} less than on demand ({how})")
        found = _bound(work, bound, rent, demand, f"for {years}", words)
        yield replace(found, is_price_assumed=stated is None)


def _bound(work: Work, bound: Offer, rent: Offer, demand: Demand, said: str, told: tuple[str, ...]) -> Option:
    price, beside = Fraction(bound.price or 0), Fraction(rent.price or 0)
    found = mixes(demand, (bound.gpu_count, price), (rent.gpu_count, beside))
    best = cheapest(found)
    what = f"Commit {best.base_count} × {bound.instance_type} {said}" if best.base_count else f"Commit nothing {said}"
    option = Option(
        "commit",
        f"{what}, rent the rest",
        work.currency,
        None,
        line=f"committed {said}",
        offer=bound,
        base_gpu_count=best.base_count * bound.gpu_count,
        break_even=(price / bound.gpu_count) / (beside / rent.gpu_count) if beside else None,
        assumptions=(*told, f"the rest: {rent.name}"),
    )
    return _mixed(option, found, best, demand)


def _mixed(option: Option, found: Sequence[Mix], best: Mix, demand: Demand) -> Option:
    return replace(
        option,
        month_cost=month(best.cost, demand.count),
        base_count=best.base_count,
        rented_hours=Fraction(best.rented_hours, demand.count),
        all_rented_cost=month(found[0].cost, demand.count),
        all_base_cost=month(found[-1].cost, demand.count),
    )


def owned(
    work: Work,
    rent: Offer | None,
    demand: Demand,
    server: Server | None,
    worth: Convert,
    on: date,
    told: list[str],
    missing: list[Unpriced],
) -> Iterator[Option]:
    """Yield owned servers for everything, and for the base that costs the least with the rest rented."""
    if server is None or server.gpu_count <= 0:
        missing.append(Unpriced("Owned servers", "no purchase price is known: state one, or import an inventory"))
        return
    ratio = worth(server.billing_currency, on)
    if ratio is None:
        missing.append(Unpriced("Owned servers", f"no exchange rate is known for {server.billing_currency}"))
        return
    a_month = server.month * ratio
    months = round(server.life_months)
    words = (*told, f"written off over {months} months", f"{server.power_evidence} power", _NO_SPARES)
    if server.missing:
        words += (f"not stated and not in it: {', '.join(server.missing)}",)
    count = demand.servers(server.gpu_count)
    whole = Option(
        "own",
        f"Buy {_counted(count)} for everything",
        work.currency,
        money.priced(Decimal(1), a_month * count),
        server=server,
        base_count=count,
        base_gpu_count=count * server.gpu_count,
        line="owned",
        break_even=break_even(a_month, server.gpu_count, rent.gpu_price)
        if rent is not None and rent.gpu_price
        else None,
        assumptions=words,
    )
    if rent is None:
        yield whole
        return
    found = mixes(demand, (server.gpu_count, a_month / MONTH_HOURS), (rent.gpu_count, Fraction(rent.price or 0)))
    best = cheapest(found)
    yield _mixed(whole, found, found[-1], demand)
    # Where owning all is cheapest there is no rest to rent.
    if best.base_count < count:
        what = f"Buy {_counted(best.base_count)}" if best.base_count else "Buy nothing"
        gpus = best.base_count * server.gpu_count
        rest = (*words, _PACKED, f"the rest: {rent.name}")
        mixed = replace(whole, name=f"{what}, rent the rest", base_gpu_count=gpus, assumptions=rest)
        yield _mixed(mixed, found, best, demand)


def _counted(servers: int) -> str:
    return f"{servers} server{'' if servers == 1 else 's'}"
