"""Strategies that draw small bills with their nodes and device hours: every kind of charge that a real bill has."""

from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import strategies as st

from ledger.names import STATES
from tests.oracle.oracle_money import HOUR, Charge, Link, Machine, Spent

MARCH: Final = 1_772_323_200_000
"""2026-03-01T00:00:00Z in milliseconds since 1970."""

APRIL: Final = MARCH + 31 * 24 * HOUR
MAY: Final = APRIL + 30 * 24 * HOUR
FIRST: Final = MARCH + 24 * HOUR
"""The day in which nodes come and go and most charges lie."""

DAY: Final = (FIRST, FIRST + 24 * HOUR)
LATER: Final = {"period_start": APRIL, "period_end": MAY}

IN_SCOPE: Final = frozenset({"ai"})
OWNERS: Final = ("vision", "speech")
"""Teams that tags of charges name."""

UNIT: Final = 10**18

CHARGE_KINDS: Final = (
    "hourly",
    "daily grain",
    "crossing hours",
    "of no length",
    "tax",
    "credit",
    "credit of a node",
    "commitment purchase",
    "covered usage",
    "unused commitment",
    "correction",
    "late adjustment",
    "without resource",
    "pool",
    "storage",
    "control plane",
    "unknown resource",
    "shared resource",
    "link without inventory",
    "superseded",
)
BOOKED: Final = {
    "tax": "Tax",
    "credit": "Credit",
    "credit of a node": "Credit",
    "commitment purchase": "Purchase",
    "late adjustment": "Adjustment",
}
"""Kinds of charges that are booked whole, with their FOCUS category."""

AMOUNT_KINDS: Final = ("plain", "eighteen decimals", "negative", "large", "tiny", "zero")
KINDS: Final = frozenset(
    {
        *CHARGE_KINDS,
        *(f"amount:{name}" for name in AMOUNT_KINDS),
        *(
            "second account",
            "outside the estate",
            "second currency",
            "yen",
            "unknown effective cost",
            "unknown list cost",
            "owner",
        ),
        *(
            "node joins",
            "node leaves",
            "node comes back",
            "two nodes",
            "resource handed on",
            "slices",
            "shared device",
            "unheld busy device",
        ),
        *("invoice", "invoice that differs", "no invoice"),
    }
)


@dataclass(frozen=True)
class Bill:
    """What one provider charges one cluster, and what the cluster did meanwhile."""

    charges: tuple[Charge, ...]
    machines: tuple[Machine, ...]
    links: tuple[Link, ...]
    devices: tuple[Spent, ...]
    held: tuple[Spent, ...]
    invoices: tuple[tuple[str, str, int, str, int], ...]
    """Issuer, invoice, billing period, currency and payable amount in units."""


class Bills:
    """Some bills that are computed in one call, and which kinds of charges are in them."""

    def __init__(self, bills: tuple[Bill, ...], kinds: frozenset[str]) -> None:
        self.bills = bills
        self.kinds = kinds

    def __repr__(self) -> str:
        return f"Bills({[bill.charges for bill in self.bills]})"


def _amount(draw: st.DrawFn, kinds: set[str]) -> int:
    """Draw an amount in units of 1e-18."""
    kind = draw(st.sampled_from(AMOUNT_KINDS))
    kinds.add(f"amount:{kind}")
    if kind == "plain":
        return draw(st.integers(1, 9_999)) * UNIT // 100
    if kind == "tiny":
        return draw(st.integers(1, 50))
    if kind == "large":
        return 10**10 * UNIT + draw(st.integers(0, 10**18))
    if kind == "zero":
        return 0
    size = draw(st.integers(1, 10**21))
    return -size if kind == "negative" else size


def _machines(draw: st.DrawFn, index: int, kinds: set[str]) -> tuple[list[Machine], list[Link]]:
    """Draw one or two nodes and their resources on the bill."""
    provider, cluster = f"Cloud-{index}", f"c{index}"
    machines, links = [], []
    names = draw(st.sampled_from((("a",), ("a", "b"))))
    kinds |= {"two nodes"} if len(names) == 2 else set()
    for name in names:
        kind = draw(st.sampled_from(("always", "always", "node joins", "node leaves", "node comes back")))
        kinds |= {kind} - {"always"}
        edge = FIRST + draw(st.integers(1, 23 * 60)) * 60_000 + draw(st.sampled_from((0, 7_001)))
        stays = {
            "always": [(MARCH, None)],
            "node joins": [(edge, None)],
            "node leaves": [(MARCH, edge)],
            "node comes back": [(MARCH, edge), (edge + 95 * 60_000, None)],
        }[kind]
        about = (provider, draw(st.sampled_from(("eu", "us", None))), "p5.48XLARGE")
        machines += [Machine(cluster, name, start, end, *about) for start, end in stays]
        if draw(st.sampled_from((True, True, True, False))):
            handed_on = draw(st.sampled_from((None, None, FIRST + 6 * HOUR + 7_001)))
            links.append(Link(cluster, name, provider, f"i-{name}", MARCH, handed_on))
            if handed_on:
                kinds.add("resource handed on")
                links.append(Link(cluster, "heir", provider, f"i-{name}", handed_on, None))
        links.append(Link(cluster, name, provider.upper(), "fs-both", MARCH, None))
    until = draw(st.sampled_from((None, FIRST + 10 * HOUR)))
    links.append(Link(cluster, "ghost", provider, "i-ghost", FIRST + 5 * HOUR, until))
    return machines, links


def _charge(draw: st.DrawFn, kind: str, index: int, number: int, kinds: set[str]) -> Charge:
    """Draw a charge of one kind."""
    hour = FIRST + draw(st.integers(0, 9)) * HOUR
    billed = _amount(draw, kinds)
    currency = draw(st.sampled_from(("USD", "USD", "EUR", "JPY")))
    account = draw(st.sampled_from(("ai", "ai", "web")))
    start, end = draw(st.sampled_from(((hour, hour + HOUR), DAY)))
    kinds |= {kind} | ({"second account"} if account == "web" else set()) | _yen(currency, billed)
    kinds |= {"second currency"} if currency != "USD" else set()
    owner = draw(st.sampled_from(("", "", "", *OWNERS)))
    kinds |= {"owner"} if owner else set()
    plain = Charge(
        description=f"charge {number}",
        provider=f"Cloud-{index}",
        account=account,
        invoice=draw(st.sampled_from(("inv-1", "inv-1", ""))),
        period_start=MARCH,
        period_end=APRIL,
        start=start,
        end=end,
        category="Usage",
        charge_class="",
        commitment="",
        currency=currency,
        resource=draw(st.sampled_from(("i-a", "I-A", "i-b"))),
        region=None,
        instance_type=None,
        service=draw(st.sampled_from(((None, None), ("Compute", "Virtual Machines")))),
        billed=billed,
        effective=billed,
        listed=None,
        is_current=kind != "superseded",
        owner=owner,
    )
    change = _booked if kind in BOOKED else _used
    found = replace(plain, **change(draw, kind, hour, plain))
    effective, listed = _others(draw, found.effective, found.billed, kinds)
    return replace(found, effective=effective, listed=listed)


def _yen(currency: str, billed: int) -> set[str]:
    """Return the kinds of a currency without subunits, whose amounts are the largest."""
    if currency != "JPY":
        return set()
    return {"yen", "ten billion yen"} if billed >= 10**28 else {"yen"}


def _booked(draw: st.DrawFn, kind: str, hour: int, plain: Charge) -> dict[str, Any]:
    """Return what makes a charge a tax, a credit, a purchase or an adjustment."""
    category = BOOKED[kind]
    start, end = draw(st.sampled_from(((MARCH, APRIL), DAY, (hour + HOUR // 2, hour + HOUR))))
    made: dict[str, Any] = {"category": category, "start": start, "end": end}
    if kind != "credit of a node":
        made["resource"] = ""
    if kind == "commitment purchase":
        return made | {"start": hour, "end": hour + 365 * 24 * HOUR, "effective": 0}
    if kind == "late adjustment":
        return made | LATER
    if category == "Credit":
        return made | {"billed": -abs(plain.billed), "effective": -abs(plain.billed)}
    return made


def _used(draw: st.DrawFn, kind: str, hour: int, plain: Charge) -> dict[str, Any]:
    """Return what makes usage usage of its kind."""
    inside = hour + draw(st.integers(0, 59)) * 60_000
    length = draw(st.sampled_from((61, 100, 1439))) * 60_000 + 1
    any_region = draw(st.sampled_from(("eu", None)))
    made: dict[str, dict[str, Any]] = {
        "hourly": {"start": hour, "end": hour + HOUR},
        "daily grain": {"start": DAY[0], "end": DAY[1]},
        "crossing hours": {"start": inside, "end": inside + length},
        "of no length": {"start": inside, "end": inside},
        "covered usage": {"commitment": "Used", "billed": 0},
        "unused commitment": {"commitment": "Unused", "billed": 0, "resource": draw(st.sampled_from(("", "ri-1")))},
        "correction": {"charge_class": "Correction", **LATER},
        "without resource": {"resource": ""},
        "pool": {"resource": "", "instance_type": "p5.48xlarge", "region": any_region},
        "control plane": {"resource": "", "service": ("Compute", "Containers")},
        "storage": {"resource": draw(st.sampled_from(("", "vol-1"))), "service": ("Storage", None)},
        "unknown resource": {"resource": "i-x"},
        "shared resource": {"resource": "FS-both"},
        "link without inventory": {"resource": "i-ghost"},
        "superseded": {},
    }
    return made[kind]


def _others(draw: st.DrawFn, effective: int | None, billed: int, kinds: set[str]) -> tuple[int | None, int | None]:
    """Draw whether the provider says the effective cost and the list cost."""
    listed: int | None = abs(billed) * 2
    if draw(st.sampled_from((False, False, False, True))):
        kinds.add("unknown effective cost")
        effective = None
    if draw(st.booleans()):
        kinds.add("unknown list cost")
        listed = None
    return effective, listed


def _time(draw: st.DrawFn, index: int, machines: list[Machine], kinds: set[str]) -> tuple[list[Spent], list[Spent]]:
    """Draw what devices did in some hours, and what of it jobs held."""
    devices, held = [], []
    for name in sorted({each.node for each in machines}):
        sizes = draw(st.sampled_from(((1_000_000,), (1_000_000,) * 2, (428_571, 571_429))))
        kinds |= {"slices"} if len(sizes) == 2 and sizes[0] < 1_000_000 else set()
        for hour in draw(st.sampled_from(((), (3,), (1, 2, 5), (0, 3, 4, 8)))):
            for number, size in enumerate(sizes):
                first, second = draw(st.sampled_from(STATES)), draw(st.sampled_from(STATES))
                part = draw(st.integers(0, 3_600_000))
                states = dict.fromkeys(STATES, 0)
                states[first] += part
                states[second] += 3_600_000 - part
                where = (FIRST + hour * HOUR, f"c{index}", name, f"g{number}", size)
                devices.append(Spent(*where, states))
                held += _held(draw, where, states, kinds)
    return devices, held


def _held(
    draw: st.DrawFn, where: tuple[int, str, str, str, int], states: dict[str, int], kinds: set[str]
) -> list[Spent]:
    """Draw jobs that share what was held of a device."""
    count = draw(st.sampled_from((0, 1, 1, 2)))
    kinds |= {"shared device"} if count == 2 else set()
    if not count and any(states[state] for state in ("productive", "underused", "throttled")):
        kinds.add("unheld busy device")
    mine = {state: 0 if state == "unallocated" else time // max(count, 1) for state, time in states.items()}
    return [
        Spent(*where, mine, (f"team-{number % 2}", f"user-{number}", f"job-{number}", number, "model"))
        for number in range(count)
    ]


def _invoices(
    draw: st.DrawFn, index: int, charges: list[Charge], kinds: set[str]
) -> tuple[tuple[str, str, int, str, int], ...]:
    """Draw what invoices say: the sum of their charges, another amount, or nothing."""
    sums: dict[tuple[str, str, int, str], int] = {}
    for charge in charges:
        if charge.is_current and charge.invoice:
            key = (f"Cloud-{index}", charge.invoice, charge.period_start, charge.currency)
            sums[key] = sums.get(key, 0) + charge.billed
    found = []
    for key, amount in sums.items():
        kind = draw(st.sampled_from(("invoice", "invoice that differs", "no invoice")))
        kinds.add(kind)
        if kind != "no invoice":
            found.append((*key, amount + (0 if kind == "invoice" else 777 * UNIT)))
    return tuple(found)


@st.composite
def bills(draw: st.DrawFn, count: int) -> Bills:
    """Draw some bills of different providers."""
    kinds: set[str] = set()
    found = []
    for index in range(count):
        machines, links = _machines(draw, index, kinds)
        wanted = [draw(st.sampled_from(CHARGE_KINDS)) for _ in range(draw(st.sampled_from((2, 5, 8))))]
        charges = [_charge(draw, kind, index, number, kinds) for number, kind in enumerate(wanted)]
        devices, held = _time(draw, index, machines, kinds)
        invoices = _invoices(draw, index, charges, kinds)
        found.append(Bill(tuple(charges), tuple(machines), tuple(links), tuple(devices), tuple(held), invoices))
    kinds |= {"outside the estate"} if "second account" in kinds else set()
    return Bills(tuple(found), frozenset(kinds))


def pool_beside_another_region() -> Bills:
    """Return a bill of a pool in one region, with a node of its type there and one elsewhere.

    What is drawn need not have one: which examples Hypothesis draws depends on the modules that other tests loaded.
    """
    machines = [
        Machine("c0", name, MARCH, None, "Cloud-0", region, "p5.48xlarge")
        for name, region in (("a", "eu"), ("b", "us"))
    ]
    pool = Charge(
        description="pool",
        provider="Cloud-0",
        account="ai",
        invoice="inv-1",
        period_start=MARCH,
        period_end=APRIL,
        start=FIRST,
        end=FIRST + HOUR,
        category="Usage",
        charge_class="",
        commitment="",
        currency="USD",
        resource="",
        region="eu",
        instance_type="p5.48xlarge",
        service=("Compute", "Virtual Machines"),
        billed=12 * UNIT,
        effective=12 * UNIT,
        listed=None,
    )
    return Bills((Bill((pool,), tuple(machines), (), (), (), ()),), frozenset({"pool"}))
