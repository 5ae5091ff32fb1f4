"""What the same work would cost in other ways, read literally: server after server, hour after hour.

Plain Python on fractions and whole milliseconds; it shares no code with what it checks.

Readings where the contract leaves a choice:
* An average month has 730 hours; a cost is rounded once, half to even, at 18 decimals.
* What others are held against is the offer on demand that costs the least for the work, where the work is now, else
  anywhere, or the one that a person names; of equal ones the first by name. What is too small for it is no offer.
* Beside a commitment the rest is rented at the same place, if anything there is on demand.
* A base is as large as costs the least, of equal ones the smallest; it is paid in every hour.
* Discounts that nobody states are 25 % for a year and 45 % for three; without measured interruptions a tenth is done
  twice on spot.
* Of a server what is not stated costs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

HOUR = 3_600_000
MONTH = 730
ONE = 10**18

ON_DEMAND = ("on_demand", "rate_card")
BOUND = ("reserved", "committed")

Key = tuple[str, str, str, str]
"""Provider, region, type and GPU of servers."""


class Used(NamedTuple):
    """What was seen of one kind of server in one hour, in milliseconds of GPUs."""

    hour: int
    key: Key
    existed: int
    held: int
    productive: int
    memory: float | None


class Cost(NamedTuple):
    """What a kind of server cost in the measured hours, in one currency, in units; null where nobody says."""

    key: Key
    currency: str
    units: int | None


class Offer(NamedTuple):
    """What an hour of a server costs, in units; `lists` is where it says so."""

    provider: str
    region: str
    kind: str
    gpu: str
    category: str
    currency: str
    units: int
    gpus: int
    memory: float | None
    lists: str


@dataclass(frozen=True)
class Server:
    """A server to buy; amounts are plain texts of decimals, so that nothing of them is lost."""

    gpus: int
    currency: str
    purchase: str
    months: Fraction
    residual: str = "0"
    financing: str = "0"
    watts: str = "0"
    overhead: str = "1"
    energy: str = "0"
    space: str = "0"
    staff: str = "0"
    support: str = "0"

    @property
    def month(self) -> Fraction:
        """Return what it costs in an average month."""
        written_off = (Fraction(self.purchase) - Fraction(self.residual) + Fraction(self.financing)) / self.months
        energy = Fraction(self.watts) / 1000 * MONTH * Fraction(self.overhead) * Fraction(self.energy)
        return written_off + energy + sum(Fraction(each) for each in (self.space, self.staff, self.support))


@dataclass(frozen=True)
class Asked:
    """What is assumed; `rates` are what one of a currency buys of the one that is compared in."""

    basis: str = "held"
    rent: str = ""
    gpu: str = ""
    speed: str = "1"
    rerun: str | None = None
    interrupted: str | None = None
    spot: str | None = None
    year: str | None = None
    three: str | None = None
    server: Server | None = None
    rates: Mapping[str, Fraction] = field(default_factory=dict)


class Way(NamedTuple):
    """One way to do the work: month costs in units, GPUs that are always paid, servers rented on average."""

    cost: int | None
    base: int = 0
    rented: Fraction = Fraction(0)
    all_rented: int | None = None
    all_base: int | None = None
    break_even: Fraction | None = None


class Told(NamedTuple):
    """All ways by their name, and which is the cheapest, among those that may be interrupted, and with a base."""

    ways: dict[tuple[str, ...], Way]
    best: tuple[str, ...] | None
    risky: tuple[str, ...] | None
    based: tuple[str, ...] | None


def told(  # noqa: C901  one way after the other
    key: Key, seen: Sequence[Used], costs: Sequence[Cost], offers: Sequence[Offer], asked: Asked
) -> Told:
    """Return what the work on one kind of server would cost in each way."""
    starts = sorted({each.hour for each in seen})
    mine = [each for each in seen if each.key == key]
    peak = max((each.memory for each in mine if each.memory is not None), default=None)
    existed = _by_hour(mine, starts, "existing")
    work = [-(-hour // Fraction(asked.speed)) for hour in _by_hour(mine, starts, asked.basis)]
    again = Fraction(asked.rerun if asked.rerun is not None else asked.interrupted or "0.10")
    priced = {
        each: Fraction(each.units, ONE) * asked.rates[each.currency]
        for each in offers
        if each.gpu == (asked.gpu or key[3]) and each.currency in asked.rates
    }
    fitting = {each for each in priced if each.memory is None or peak is None or each.memory >= peak}

    def rent(each: Offer, hours: Sequence[int]) -> tuple[Fraction, int]:
        servers = sum(_servers(hour, each.gpus) for hour in hours)
        return priced[each] * servers, servers

    def cheapest(among: Sequence[Offer]) -> Offer | None:
        found = [each for each in among if each in fitting and each.category in ON_DEMAND]
        return min(found, key=lambda each: (rent(each, work)[0], _name(each)), default=None)

    here = [each for each in priced if _place(each).casefold() == f"{key[0]} {key[1]}".strip().casefold()]
    named = [each for each in priced if _name(each) == asked.rent]
    beside = cheapest(named) or cheapest(here) or cheapest(list(priced))
    ways: dict[tuple[str, ...], Way] = {("now",): _now(key, costs, existed, beside, priced, asked)}
    for each in priced:
        if each.category in ON_DEMAND:
            ways["rent", _name(each)] = _by_the_hour(*rent(each, work), work, is_fitting=each in fitting)
    twice = [-(-hour * (1 + again) // 1) for hour in work]
    spots = [each for each in priced if each.category == "spot"]
    for each in spots:
        ways["spot", _name(each)] = _by_the_hour(*rent(each, twice), work, is_fitting=each in fitting)
    if not spots and beside is not None and asked.spot is not None:
        cost, servers = rent(beside, twice)
        ways["spot", "discount"] = _by_the_hour(cost * (1 - Fraction(asked.spot)), servers, work, is_fitting=True)
    if beside is not None:
        for each in (each for each in priced if each.category in BOUND and each in fitting):
            other = cheapest([one for one in priced if _place(one) == _place(each)]) or beside
            ways["commit", _name(each)] = _mixed(work, each.gpus, priced[each], other.gpus, priced[other])
        for years, discount in (("1 year", asked.year or "0.25"), ("3 years", asked.three or "0.45")):
            price = priced[beside] * (1 - Fraction(discount))
            ways["commit", years] = _mixed(work, beside.gpus, price, beside.gpus, priced[beside])
    if asked.server is not None and asked.server.currency in asked.rates:
        ways |= _owned(work, asked.server, beside, priced, asked)
    assumed = {("commit", years) for years, stated in (("1 year", asked.year), ("3 years", asked.three)) if not stated}
    safe = {name: way for name, way in ways.items() if name[0] != "spot" and name not in assumed}
    bases = {name: way for name, way in ways.items() if way.base and name != ("now",)}
    known = {name: way for name, way in bases.items() if name not in assumed}
    return Told(
        ways,
        _least(safe),
        _least({name: way for name, way in ways.items() if name[0] == "spot"}),
        _least(known) or _least(bases),
    )


def _by_hour(seen: Sequence[Used], starts: Sequence[int], what: str) -> list[int]:
    sums = dict.fromkeys(starts, 0)
    for each in seen:
        sums[each.hour] += {"existing": each.existed, "held": each.held, "productive": each.productive}[what]
    return list(sums.values())


def _servers(hour: Fraction | int, gpus: int) -> int:
    """Return how many whole servers an hour needs."""
    return max(0, int(-(-hour // (gpus * HOUR))))


def _name(offer: Offer) -> str:
    return f"{offer.kind} · {_place(offer)} · {offer.lists}"


def _place(offer: Offer) -> str:
    return f"{offer.provider} {offer.region}".strip()


def _month(cost: Fraction, hours: int) -> int:
    return round(cost * MONTH / hours * ONE)


def _now(
    key: Key,
    costs: Sequence[Cost],
    existed: Sequence[int],
    beside: Offer | None,
    priced: Mapping[Offer, Fraction],
    asked: Asked,
) -> Way:
    known = [Fraction(each.units, ONE) for each in costs if each.key == key and each.units is not None]
    if len(known) != 1:
        return Way(None)
    even = None
    if beside is not None:
        even = known[0] * Fraction(asked.speed) / (priced[beside] / beside.gpus * Fraction(sum(existed), HOUR))
    gpus = round(Fraction(sum(existed), HOUR) / len(existed))
    return Way(_month(known[0], len(existed)), gpus, break_even=even)


def _by_the_hour(cost: Fraction, servers: int, work: Sequence[int], *, is_fitting: bool) -> Way:
    return Way(_month(cost, len(work)) if is_fitting else None, rented=Fraction(servers, len(work)))


def _mixed(work: Sequence[int], size: int, price: Fraction, other: int, beside: Fraction) -> Way:
    """Return the cheapest base with the rest rented."""
    costs = []
    for count in range(_servers(max(work), size) + 1):
        servers = sum(_servers(hour - count * size * HOUR, other) for hour in work)
        costs.append((price * len(work) * count + beside * servers, count, Fraction(servers, len(work))))
    least = min(costs)
    return Way(
        _month(least[0], len(work)),
        least[1] * size,
        least[2],
        _month(costs[0][0], len(work)),
        _month(costs[-1][0], len(work)),
        (price / size) / (beside / other),
    )


def _owned(
    work: Sequence[int], server: Server, beside: Offer | None, priced: Mapping[Offer, Fraction], asked: Asked
) -> dict[tuple[str, ...], Way]:
    month = server.month * asked.rates[server.currency]
    count = _servers(max(work), server.gpus)
    whole = round(month * count * ONE)
    if beside is None:
        return {("own", "all"): Way(whole, count * server.gpus)}
    found = _mixed(work, server.gpus, month / MONTH, beside.gpus, priced[beside])
    ways = {("own", "all"): found._replace(cost=whole, base=count * server.gpus, rented=Fraction(0))}
    return ways | ({("own", "base"): found} if found.base < count * server.gpus else {})


def _least(ways: Mapping[tuple[str, ...], Way]) -> tuple[str, ...] | None:
    """Return the way that costs the least; of equal ones the first."""
    known = [(way.cost, index, name) for index, (name, way) in enumerate(ways.items()) if way.cost is not None]
    return min(known)[2] if known else None
