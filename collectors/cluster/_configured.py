"""The sources of a cluster that are configured: `[sources.NAME]`, checked against the settings of their kind."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

import collectors.cluster
from collectors.cluster._source import ClusterSource, Pull, SourceSettings
from ledger.config import HINT, Settings, origin
from ledger.errors import ConfigError
from ledger.explain import nearest, problem
from ledger.registry import discover


@dataclass(frozen=True)
class Configured:
    """One source: its name, its kind, and its settings as that kind understands them."""

    name: str
    kind: ClusterSource
    settings: SourceSettings

    @property
    def every_seconds(self) -> float:
        """Return its pace: the configured one, else that of its kind."""
        return self.settings.every_seconds or self.kind.every_seconds

    def open(self) -> Pull:
        """Return the function that asks it."""
        return self.kind.open(self.settings)


def kinds() -> dict[str, ClusterSource]:
    """Return every kind of source by name."""
    return discover(collectors.cluster, ClusterSource)


def configured(settings: Settings, names: Sequence[str] = ()) -> list[Configured]:
    """Return the sources of these names; without names, all that are enabled.

    Raises: ConfigError: a section does not fit its kind, or there is none of a name.
    """
    for name in names:
        if name not in settings.sources:
            known = sorted(settings.sources)
            expected = nearest(name, known) or f"expected {'one of ' + ', '.join(known) if known else 'a section'}"
            raise ConfigError(f"sources.{name}: found no such section; {expected}", hint=HINT)
    known_kinds = kinds() if settings.sources else {}
    wanted = list(dict.fromkeys(names)) or list(settings.sources)
    found = [_configured(name, settings.sources[name], known_kinds) for name in wanted]
    return [each for each in found if names or each.settings.enabled]


def problems(settings: Settings) -> Iterator[str]:
    """Yield a line for each thing that is wrong in the sections of sources."""
    known = kinds() if settings.sources else {}
    for name, given in settings.sources.items():
        try:
            _configured(name, given, known)
        except ConfigError as error:
            yield from error.message.splitlines()


def _configured(name: str, given: Mapping[str, Any], known: Mapping[str, ClusterSource]) -> Configured:
    where = f"{origin('sources', name)}: sources.{name}"
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in known:
        found = "nothing" if kind is None else repr(kind)
        close = nearest(str(kind), list(known)) or f"expected one of {', '.join(known)}"
        raise ConfigError(f"{where}.kind: found {found}; {close}", hint=HINT)
    unit = known[kind]
    try:
        return Configured(name, unit, unit.settings(**given))
    except ValidationError as error:
        lines = [f"{where}.{problem(each, unit.settings)}" for each in error.errors()]
        raise ConfigError("\n".join(lines), hint=HINT) from None
