"""Every key of the configuration."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app.context import Context
from app.services._plain import plain
from app.services._service import Params, Progress, service
from ledger.config import Settings

_WORDS = {
    "int": "whole number",
    "float": "number",
    "Decimal": "number",
    "str": "text",
    "bool": "true or false",
    "Path": "path",
    "SecretStr": "secret",
}


class Everything(Params):
    """Nothing to ask: every key is told."""


@service(local=True)
def config(context: Context, params: Everything, progress: Progress) -> list[dict[str, str]]:
    """Return every key with its default, its range and its meaning."""
    del context, params, progress
    return every_key()


def every_key() -> list[dict[str, str]]:
    """Return the same without a configuration, which may be the one that has to be corrected."""
    return [*keys(Settings, ""), *unit_keys()]


def keys(model: type[BaseModel], prefix: str) -> Iterator[dict[str, str]]:
    """Yield the keys of a settings model and of its sections."""
    for name, field in model.model_fields.items():
        inner = _section(field.annotation)
        is_units = get_origin(field.annotation) is dict and get_origin(get_args(field.annotation)[1]) is dict
        if inner is not None and get_origin(field.annotation) is tuple:
            yield from keys(inner, f"{prefix}{name}[].")
        elif inner is not None and get_origin(field.annotation) is dict:
            yield from keys(inner, f"{prefix}{name}.NAME.")
        elif inner is not None:
            yield from keys(inner, f"{prefix}{name}.")
        elif not is_units:
            yield {
                "key": f"{prefix}{name}",
                "default": _default(field),
                "range": _range(field),
                "meaning": field.description or "",
            }


def unit_keys() -> Iterator[dict[str, str]]:
    """Yield the keys of collectors, sources, rollups and rules that are installed, from their own models."""
    import collectors.node  # noqa: PLC0415  the units are found when they are asked for
    from ledger.registry import Collector, discover  # noqa: PLC0415  as above

    for name, unit in discover(collectors.node, Collector).items():
        if isinstance(unit.settings, type) and issubclass(unit.settings, BaseModel):
            yield from keys(unit.settings, f"collectors.{name}.")
    try:
        from queries._settings import sections  # noqa: PLC0415  a node with the agent alone has no Polars
    except ModuleNotFoundError:
        return
    yield from source_keys()
    for name, model in sorted(sections().items()):
        yield from keys(model, f"{name}.")


def source_keys() -> Iterator[dict[str, str]]:
    """Yield the keys of a source: those of each, then those of each kind, whose meaning begins with the kind."""
    from collectors.cluster._configured import kinds  # noqa: PLC0415  needs Polars
    from collectors.cluster._source import SourceSettings  # noqa: PLC0415  as above

    found = kinds()
    for key in keys(SourceSettings, "sources.NAME."):
        is_kind = key["key"] == "sources.NAME.kind"
        yield {**key, "range": ", ".join(found)} if is_kind else key
    for kind in found.values():
        for key in keys(kind.settings, "sources.NAME."):
            if key["key"].removeprefix("sources.NAME.") not in SourceSettings.model_fields:
                yield {**key, "meaning": f"{kind.name}: {key['meaning']}"}


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a section, or of the entries of a list of sections."""
    found = [annotation, *get_args(annotation)]
    return next((each for each in found if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "(needed)"
    if value is None or value in ((), {}):
        return ""
    shown = plain(value)
    return str(shown).lower() if isinstance(shown, bool) else str(shown)


def _range(field: FieldInfo) -> str:
    """Return what a key may be: its words, or its kind with its bounds."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    kind = _kind(field.annotation)
    low = next((f"{each.ge}" for each in field.metadata if isinstance(each, Ge)), "") or next(
        (f"above {each.gt}" for each in field.metadata if isinstance(each, Gt)), ""
    )
    high = next((f"{each.le}" for each in field.metadata if isinstance(each, Le)), "") or next(
        (f"below {each.lt}" for each in field.metadata if isinstance(each, Lt)), ""
    )
    if low and high:
        return f"{kind}, {low} to {high}"
    if low or high:
        return f"{kind}, {low} or more" if low else f"{kind}, {high} or less"
    return f"{kind}, not empty" if any(isinstance(each, MinLen) for each in field.metadata) else kind


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in {Union, types.UnionType}:
        annotation = next(each for each in get_args(annotation) if each is not type(None))
    if get_origin(annotation) is tuple:
        return f"list of {_kind(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return f"section of {_kind(get_args(annotation)[1])}"
    if get_origin(annotation) is Literal:
        return ", ".join(map(str, get_args(annotation)))
    name = getattr(annotation, "__name__", str(annotation))
    return _WORDS.get(name, name)
