"""Kinds of columns: each says its unit through its name, and its source through its text.

Null means not measured. Keys are never null: an identifier that does not apply is an empty string.
"""

from decimal import Decimal
from typing import Any, Final

import dataframely as dy

from ledger.names import EVIDENCE_QUALITIES

MONEY_PRECISION: Final = 38
MONEY_SCALE: Final = 18
SECONDS_SCALE: Final = 3
FRACTION_SCALE: Final = 6

# No counter of a node reaches this before the hardware is replaced: 2^63 bytes are eight exbibytes.
_COUNTER_LIMIT: Final = float(2**63)


def key(text: str, **extra: Any) -> dy.String:
    """Part of the row's identity; never null, '' where it does not apply."""
    return dy.String(primary_key=True, description=text, metadata={"kind": "key", **extra})


def key_instant(text: str) -> dy.Datetime:
    """Return an instant that is part of the row's identity."""
    return dy.Datetime(primary_key=True, time_unit="us", time_zone="UTC", description=text, metadata={"kind": "key"})


def key_day(text: str) -> dy.Date:
    """Return a UTC day that is part of the row's identity."""
    return dy.Date(primary_key=True, description=text, metadata={"kind": "key"})


def key_count(text: str) -> dy.Int64:
    """Return a whole number that is part of the row's identity."""
    return dy.Int64(primary_key=True, min=0, description=text, metadata={"kind": "key"})


def key_flag(text: str) -> dy.Bool:
    """Return a yes or no that is part of the row's identity."""
    return dy.Bool(primary_key=True, description=text, metadata={"kind": "key"})


def instant(text: str, *, nullable: bool = True) -> dy.Datetime:
    """Return an instant in UTC."""
    return dy.Datetime(
        nullable=nullable, time_unit="us", time_zone="UTC", description=text, metadata={"kind": "instant"}
    )


def day(text: str, *, nullable: bool = True) -> dy.Date:
    """Return a UTC calendar day."""
    return dy.Date(nullable=nullable, description=text, metadata={"kind": "day"})


def text(meaning: str, *, nullable: bool = True, among: tuple[str, ...] | None = None) -> dy.String:
    """Words; with `among`, one of these words (a rule, not an enum: labels may be added)."""
    check = None if among is None else {"one_of": lambda column: column.is_in(list(among))}
    metadata = {"kind": "text"} if among is None else {"kind": "text", "among": among}
    return dy.String(nullable=nullable, check=check, description=meaning, metadata=metadata)


def quality() -> dy.String:
    """Return the evidence quality, A to X."""
    return text("How good the evidence of activity is: A profiling to X none", among=EVIDENCE_QUALITIES)


def flag(meaning: str, *, nullable: bool = True) -> dy.Bool:
    """Yes or no; null where nobody looked."""
    return dy.Bool(nullable=nullable, description=meaning, metadata={"kind": "flag"})


def gauge(
    meaning: str, *, max: float, min: float = 0.0, source: str = "", otel: str = "", nullable: bool = True
) -> dy.Float64:
    """Return a measured value with its physical limits."""
    return dy.Float64(
        nullable=nullable,
        min=min,
        max=max,
        description=meaning,
        metadata={"kind": "gauge", "source": source, "otel": otel},
    )


def ratio(meaning: str, *, source: str = "", otel: str = "", nullable: bool = True) -> dy.Float64:
    """Return a share between 0 and 1."""
    return gauge(meaning, max=1.0, source=source, otel=otel, nullable=nullable)


def counter(meaning: str, *, source: str = "", otel: str = "", width: int = 64) -> dy.Float64:
    """Return a value that only grows until it is reset; `width` is what the source declares, in bits."""
    return dy.Float64(
        nullable=True,
        min=0.0,
        max=_COUNTER_LIMIT,
        description=meaning,
        metadata={"kind": "counter", "source": source, "otel": otel, "width": width},
    )


def amount(meaning: str, *, nullable: bool = True, source: str = "") -> dy.Float64:
    """Return a summed physical quantity (joules, bytes) that has no upper limit of its own."""
    return dy.Float64(nullable=nullable, min=0.0, description=meaning, metadata={"kind": "amount", "source": source})


def count(meaning: str, *, nullable: bool = True, max: int | None = None, source: str = "") -> dy.Int64:
    """Return a whole number of things."""
    return dy.Int64(
        nullable=nullable, min=0, max=max, description=meaning, metadata={"kind": "count", "source": source}
    )


def number(meaning: str, *, nullable: bool = True, source: str = "") -> dy.Int64:
    """Return a whole number that may be any (a code, a bitmask, an index)."""
    return dy.Int64(nullable=nullable, description=meaning, metadata={"kind": "number", "source": source})


def parts(meaning: str, *, nullable: bool = True) -> dy.Float64:
    """Return a count that may be broken: GPUs of a job that holds 0.46 of one."""
    return dy.Float64(nullable=nullable, min=0.0, description=meaning, metadata={"kind": "count"})


def seconds(meaning: str, *, nullable: bool = False) -> dy.Decimal:
    """Return a time in exact multiples of 0.001 s, so that sums are conserved."""
    return dy.Decimal(
        18, SECONDS_SCALE, nullable=nullable, min=Decimal(0), description=meaning, metadata={"kind": "seconds"}
    )


def gpu_seconds(meaning: str, *, nullable: bool = False) -> dy.Decimal:
    """Return device seconds times the device's fraction, exact at nine decimals."""
    return dy.Decimal(
        28,
        SECONDS_SCALE + FRACTION_SCALE,
        nullable=nullable,
        min=Decimal(0),
        description=meaning,
        metadata={"kind": "seconds"},
    )


def duration(meaning: str, *, nullable: bool = True) -> dy.Float64:
    """Return a time that is reported, not summed."""
    return dy.Float64(nullable=nullable, min=0.0, description=meaning, metadata={"kind": "duration"})


def fraction(meaning: str) -> dy.Decimal:
    """Part of one physical device, exact at six decimals so that slices sum to 1."""
    return dy.Decimal(
        9,
        FRACTION_SCALE,
        nullable=False,
        min=Decimal(0),
        max=Decimal(1),
        description=meaning,
        metadata={"kind": "fraction"},
    )


def money(meaning: str, *, nullable: bool = True) -> dy.Decimal:
    """Return an amount in the row's billing currency; only `ledger.money` computes with it."""
    return dy.Decimal(MONEY_PRECISION, MONEY_SCALE, nullable=nullable, description=meaning, metadata={"kind": "money"})


def quantity(meaning: str) -> dy.Decimal:
    """Return a FOCUS quantity, kept as exactly as it was billed."""
    return dy.Decimal(MONEY_PRECISION, MONEY_SCALE, nullable=True, description=meaning, metadata={"kind": "quantity"})
