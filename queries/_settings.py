"""Which part of the configuration a rollup is called with, found by the type of its parameter."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from ledger.config import Settings, origin
from ledger.errors import ConfigError
from ledger.explain import nearest, problem
from ledger.sections import Section
from ledger.tables.partition import Keyed, declared
from queries.graph import Rollup, load


def values(each: Rollup, settings: Settings) -> dict[str, BaseModel]:
    """Return a rollup's settings by parameter.

    A section of `ledger.sections` is handed over as it is. A model whose fields are all top-level keys of the
    configuration (the naming rules) takes them from there. Any other model stands in the rollup's file and is
    read from `[rollups.model_name]`, a rule's from `[rules.rule_name]`.

    Raises: ConfigError: the section does not fit the model.
    """
    return {parameter: _value(each, model, settings) for parameter, model in each.settings.items()}


def sections() -> dict[str, type[BaseModel]]:
    """Return the settings models of all rollups and rules by the section that fills them: `rules.idle_gpu`."""
    return {
        section: model for each in load() for model in each.settings.values() if (section := section_of(each, model))
    }


def check(settings: Settings) -> None:
    """Refuse sections that no rollup reads, and values that do not fit.

    Raises: ConfigError: where, what was found, what was expected.
    """
    known = sections()
    for group, given in (("rollups", settings.rollups), ("rules", settings.rules)):
        for name in given:
            if f"{group}.{name}" not in known:
                expected = sorted(each.removeprefix(f"{group}.") for each in known if each.startswith(f"{group}."))
                close = nearest(name, expected)
                raise ConfigError(
                    f"{origin(group, name)}: {group}.{name}: found an unknown section; "
                    f"{close or 'expected one of ' + ', '.join(expected)}",
                    hint="`clusterledger config` prints every key, its default and its range",
                )
    for each in load():
        values(each, settings)


def section_of(each: Rollup, model: type[BaseModel]) -> str:
    """Return the section of the configuration that fills a settings model; '' if it needs none of its own."""
    if issubclass(model, Section) or _is_top_level(model):
        return ""
    if isinstance(declared(each.schema).partition, Keyed):
        return f"rules.{each.name}"
    return f"rollups.{_snake(model.__name__)}"


def _value(each: Rollup, model: type[BaseModel], settings: Settings) -> BaseModel:
    """Return the value of one settings parameter."""
    if issubclass(model, Section):
        return _section(settings, model, each)
    if _is_top_level(model):
        return model(**{name: getattr(settings, name) for name in model.model_fields})
    section = section_of(each, model)
    group, _, name = section.partition(".")
    given: Mapping[str, Any] = getattr(settings, group).get(name, {})
    try:
        return model(**given)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(f"{origin(group, name)}: {section}.{problem(each, model)}" for each in error.errors()),
            hint="`clusterledger config` prints every key, its default and its range",
        ) from error


def _section(tree: BaseModel, model: type[Section], each: Rollup) -> Section:
    """Return the part of the configuration that has a type, however deep it stands."""
    open_ends: list[BaseModel] = [tree]
    while open_ends:
        for _, value in open_ends.pop():
            if isinstance(value, model):
                return value
            if isinstance(value, Section):
                open_ends.append(value)
    raise ConfigError(f"{each.module}: no part of the configuration has the type {model.__name__}")


def _is_top_level(model: type[BaseModel]) -> bool:
    """Tell whether all fields of a model are keys of the configuration itself."""
    return bool(model.model_fields) and set(model.model_fields) <= set(Settings.model_fields)


def _snake(name: str) -> str:
    """Return a class name as a section's name: `IdleIncident` as `idle_incident`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
