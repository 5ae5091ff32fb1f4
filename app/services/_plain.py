"""Values as JSON carries them: decimals are strings, instants are ISO 8601 in UTC, NaN is null."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, SecretStr


def amount(value: Decimal) -> str:
    """Return a decimal with all its digits and no trailing zeros, never in scientific notation."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def plain(value: Any) -> Any:  # noqa: C901, PLR0911  one line for each kind of value
    """Return a value made of dicts, lists, text, numbers, booleans and None only."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return amount(value)
        case datetime():
            # What has no zone came from the store, whose zone is UTC, and not from this machine's.
            return (
                (value if value.tzinfo else value.replace(tzinfo=UTC))
                .astimezone(UTC)
                .isoformat()
                .replace("+00:00", "Z")
            )
        case date() | time() | PurePath():
            return str(value)
        case timedelta():
            return value.total_seconds()
        case SecretStr():
            return "**********"
        case bytes():
            return value.hex()
        case BaseModel():
            return plain(value.model_dump())
        case Mapping():
            return {str(name): plain(each) for name, each in value.items()}
        case _:
            return [plain(each) for each in value]


def dumps(value: object, *, indent: int | None = None) -> str:
    """Return one JSON document."""
    return json.dumps(plain(value), ensure_ascii=False, indent=indent, allow_nan=False)
