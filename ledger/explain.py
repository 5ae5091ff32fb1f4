"""What is wrong with a value that somebody gave, in one line."""

import difflib
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def problem(error: "ErrorDetails", model: type[BaseModel]) -> str:
    """Return one line: the key, what was found, what was expected; a secret's value is never in it."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        keys = _keys(error["loc"][:-1], model)
        close = nearest(str(error["loc"][-1]), keys)
        return f"{where}: found an unknown key" + (f"; {close}" if close else f", expected {_among(keys)}")
    if error["type"] == "value_error":
        # A check of ours: its words say what was found and what was expected.
        return f"{where}: {error['ctx']['error']}"
    found = "a value that is not shown" if _is_secret(error["loc"], model) else _found(error)
    return f"{where}: found {found}, expected {_expected(error)}"


def _is_secret(loc: tuple[int | str, ...], model: type[BaseModel]) -> bool:
    """Tell whether a key of this very model holds a secret, whatever it is called."""
    field = model.model_fields.get(str(loc[0])) if loc else None
    return field is not None and "Secret" in str(field.annotation)


def _among(keys: list[str]) -> str:
    return f"one of {', '.join(keys)}" if keys else "none"


def nearest(name: str, names: list[str]) -> str:
    """Return a question with the name that was probably meant, or ''."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else ""


def _keys(loc: tuple[int | str, ...], root: type[BaseModel]) -> list[str]:
    """Return the keys that a section knows."""
    model: Any = root
    is_name = False
    for part in loc:
        if isinstance(part, int) or is_name:  # a place in a list, or the name of a section
            is_name = False
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        arguments = [each for each in get_args(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
        model = arguments[0] if arguments else annotation
        is_name = get_origin(annotation) is dict
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
    return list(model.model_fields)


def _found(error: "ErrorDetails") -> str:
    """Show a value, but never one that may be a secret."""
    if {"token", "admin_token", "metrics_token", "password", "secret", "options"} & set(error["loc"]):
        return "a value that is not shown"
    if error["type"] == "missing":
        return "nothing"
    shown = repr(error["input"])
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."


_SHOWN: Final = 60

_EXPECTED: Final[dict[str, str]] = {
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "{min_length} or more characters",
    "string_too_long": "{max_length} or fewer characters",
    "too_short": "{min_length} or more entries",
    "too_long": "{max_length} or fewer entries",
    "finite_number": "a finite number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "decimal_max_places": "at most {decimal_places} decimals",
    "decimal_parsing": "a number",
    "decimal_type": "a number",
    "bool_parsing": "true or false",
    "string_type": "text in quotes",
    "missing": "a value",
    "model_type": "a section",
    "model_attributes_type": "a section",
    "dict_type": "a section",
    "tuple_type": "a list",
    "list_type": "a list",
    "path_type": "a path in quotes",
    "date_type": "a day such as 2026-01-31",
    "date_parsing": "a day such as 2026-01-31",
    "date_from_datetime_parsing": "a day such as 2026-01-31",
    "date_from_datetime_inexact": "a day such as 2026-01-31",
    "datetime_type": "an instant such as 2026-01-31T00:00:00Z",
    "datetime_parsing": "an instant such as 2026-01-31T00:00:00Z",
    "datetime_from_date_parsing": "an instant such as 2026-01-31T00:00:00Z",
    "timezone_aware": "an instant with its zone, such as 2026-01-31T00:00:00Z",
}


def _expected(error: "ErrorDetails") -> str:
    context = {
        name: f"{value:g}" if isinstance(value, float) else value for name, value in error.get("ctx", {}).items()
    }
    text = _EXPECTED.get(error["type"])
    return text.format(**context) if text else error["msg"]
