"""Power, energy, temperatures and fans that a node's management controller tells over HTTPS (Redfish)."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from pydantic import Field, SecretStr, field_validator

from collectors._machine import host_name
from collectors._settings import CollectorSettings
from collectors.node import _redfish_rows as rows
from collectors.node._bmc import Bmc, Document, Refused
from collectors.node._redfish_rows import link, members
from ledger.errors import PartError, SourceError, SourceMissing
from ledger.registry import Row, collector

_SERVICE: Final = "/redfish/v1/"
_CHASSIS: Final = "/redfish/v1/Chassis"
_OFF: Final = "set collectors.redfish.url on nodes that have a controller"

# What a controller has seldom changes; to look for it takes longer than to read it.
_ROUNDS_BETWEEN_SEARCHES: Final = 60


class RedfishSettings(CollectorSettings):
    """Where the node's controller is, and who asks it."""

    url: Annotated[
        str,
        Field(
            pattern=r"^(https?://[^/@\s]+/?)?$",
            description="The controller's address; {node} stands for the node's name; empty for none",
        ),
    ] = ""
    user: Annotated[str, Field(description="A user that may read; empty for none")] = ""
    password: Annotated[SecretStr | None, Field(description="That user's password")] = None
    ca_file: Annotated[
        Path | None, Field(description="Certificate authorities (PEM) that its certificate must come from, or itself")
    ] = None
    is_verified: Annotated[
        bool, Field(description="Believe its certificate only; false tells the password to whoever answers")
    ] = True
    chassis: Annotated[tuple[str, ...], Field(description="Ids of the chassis that count; empty for all")] = ()
    answer_seconds: Annotated[float, Field(gt=0, le=60, description="One answer may take so long")] = 10.0
    round_seconds: Annotated[float, Field(gt=0, le=300, description="All answers of a round may take so long")] = 40.0

    @field_validator("url")
    @classmethod
    def _names_only_the_node(cls, url: str) -> str:
        if "{" in url.replace("{node}", ""):
            raise ValueError("expected {node} and no other name in braces")
        return url


class _Found(NamedTuple):
    """What one chassis has."""

    name: str
    scope: str
    environment: str | None
    thermal_metrics: str | None
    supplies: tuple[tuple[str, str], ...]
    old_power: str | None
    old_thermal: str | None


@collector(emits=("power_sample",), every_seconds=60, deadline_seconds=50, settings=RedfishSettings)
def redfish(settings: RedfishSettings | None = None) -> Callable[[], Iterable[tuple[str, Row]]]:
    """Open a round that yields one row per meter of the controller: the node's draw, its supplies, heat and fans.

    Where a chassis has the resources of the new schemas they are read; of the old ones only what the new do not tell.
    The draw of a node, of its supplies and of its parts are the same watts seen at several places: all are marked as
    overlapping and never summed. A controller that hangs costs its own round, and no other collector's; a chassis or a
    resource that fails costs no other, and is asked for alone until it answers.

    Raises: SourceMissing: no controller is configured, or it measures nothing. PartError: it, or one of its
    resources, does not answer or refuses this user. Nulls: what it does not measure, and a draw of 0, which is how it
    says so.
    Source: DMTF DSP0266 and DSP2046.
    """
    decided = settings or RedfishSettings()
    node = _Node(decided) if decided.url else None

    def one_round() -> Iterator[tuple[str, Row]]:
        if node is None:
            raise SourceMissing("collectors.redfish.url is not set", hint=_OFF)
        yield from node.one_round()

    return one_round


class _Node:
    """One controller from round to round."""

    def __init__(self, settings: RedfishSettings) -> None:
        self._settings = settings
        self._url = settings.url.replace("{node}", host_name())
        self._bmc = Bmc(
            self._url,
            user=settings.user,
            password=settings.password.get_secret_value() if settings.password else "",
            ca_file=settings.ca_file,
            is_verified=settings.is_verified,
            answer_seconds=settings.answer_seconds,
        )
        self._found: list[_Found] = []
        self._rounds = 0
        # What the search was told so far, and the one before it; what failed is in neither, or in the older alone.
        self._told: dict[str, Document] = {}
        self._told_before: dict[str, Document] = {}
        self._is_searched = False
        self._failed: SourceError | None = None
        self._failed_count = 0
        # Chassis of which something failed: they are read last, for what hangs may take all the time that is left.
        self._late: set[str] = set()

    def one_round(self) -> Iterator[tuple[str, Row]]:
        """Yield the rows of one round, each under a name of its own.

        What is known is read first: a search that takes all the time goes on in the next round.

        Raises: SourceMissing: it measures nothing. PartError: it, or a part of it, does not answer or refuses.
        """
        self._bmc.begin(self._settings.round_seconds)
        self._failed = None
        seen: dict[object, int] = {}
        is_unknown = not self._found
        try:
            if is_unknown:
                self._look()
            for row in (row for found in self._in_turn() for row in self._rows(found)):
                name = row["power_source"]
                seen[name] = seen.get(name, 0) + 1
                yield "power_sample", row if seen[name] == 1 else {**row, "power_source": f"{name}@{seen[name]}"}
            if not is_unknown:
                self._look()
        except Refused as refused:
            self._failed = _refusal(refused)
        self._rounds += 1
        if self._failed is not None:
            self._bmc.close()
            raise PartError(self._failed.message, hint=self._failed.hint) from self._failed
        if not seen:
            raise SourceMissing(f"{self._url}: the controller measures nothing", hint=_OFF)

    def _in_turn(self) -> Iterator[_Found]:
        """Yield what is read, those last of which something failed, and note of which something fails now."""
        for found in sorted(self._found, key=lambda each: each.name in self._late):
            before = self._failed_count
            yield found
            if self._failed_count > before:
                self._late.add(found.name)
            else:
                self._late.discard(found.name)

    def _look(self) -> None:
        """Search, now and then anew; in between only for what failed.

        Raises: Refused: as the controller answers.
        """
        if self._rounds % _ROUNDS_BETWEEN_SEARCHES == 0:
            self._told_before = self._told if self._is_searched else {**self._told_before, **self._told}
            self._told, self._is_searched = {}, False
        if not self._is_searched:
            failed, self._failed = self._failed, None
            self._found = list(self._search())
            self._is_searched, self._failed = self._failed is None, failed or self._failed

    def _search(self) -> Iterator[_Found]:
        """Yield what each chassis has to read.

        The service says where they are: some controllers lead elsewhere from where most have them.

        Raises: Refused: as the controller answers.
        """
        root = self._searched(_SERVICE)
        for path in self._members(link(root.get("Chassis")) or _CHASSIS):
            name = _last(path)
            is_wanted = not self._settings.chassis or name in self._settings.chassis
            chassis = self._searched(path) if is_wanted else {}
            if not chassis:
                continue
            subsystem = self._linked(chassis, "PowerSubsystem")
            supplies = self._members(link(subsystem.get("PowerSupplies")))
            metrics = {each: link(self._searched(each).get("Metrics")) for each in supplies}
            yield _Found(
                name=name,
                scope=rows.scope(chassis),
                environment=link(chassis.get("EnvironmentMetrics")),
                thermal_metrics=link(self._linked(chassis, "ThermalSubsystem").get("ThermalMetrics")),
                supplies=tuple((_supply(each), told) for each, told in metrics.items() if told is not None),
                old_power=link(chassis.get("Power")),
                old_thermal=link(chassis.get("Thermal")),
            )

    def _members(self, path: str | None) -> Iterator[str]:
        """Yield the paths of a collection's members, however many pieces it is told in."""
        told = set[str]()
        while path is not None and path not in told:
            told.add(path)
            document = self._searched(path)
            yield from members(document)
            path = rows.continued(document)

    def _linked(self, document: Document, name: str) -> Document:
        """Return the resource that a link leads to; nothing where there is none."""
        return self._searched(link(document.get(name)))

    def _searched(self, path: str | None) -> Document:
        """Return a resource as this search was told it; as the one before was, where it fails now.

        Raises: Refused: as the controller answers.
        """
        if path is None:
            return {}
        if path not in self._told:
            document = self._answered(path)
            if document is None:
                return self._told_before.get(path, {})
            self._told[path] = document
        return self._told[path]

    def _at(self, path: str | None) -> Document:
        """Return a resource as it is now; nothing where there is none, or where it fails.

        Raises: Refused: as the controller answers.
        """
        return (self._answered(path) if path else None) or {}

    def _answered(self, path: str) -> Document | None:
        """Return a resource, empty where there is none; None where this one alone fails, which is told in the end.

        Raises: Refused: the controller does not know this user: to ask on might lock the user out.
        """
        try:
            return self._bmc.get(path) or {}
        except Refused as refused:
            if refused.is_of_user:
                raise
            failed = _refusal(refused)
        except SourceError as error:
            failed = error
        self._failed = self._failed or failed
        self._failed_count += 1
        return None

    def _rows(self, found: _Found) -> Iterator[Row]:
        """Yield one chassis's rows: of the new resources, and of the old ones what those do not tell.

        Raises: Refused: as the controller answers.
        """
        source = f"redfish:{found.name}"
        new = list(rows.environment(source, found.scope, self._at(found.environment)))
        for name, path in found.supplies:
            new += rows.supply_metrics(f"{source}/{name}", self._at(path))
        yield from new
        has_draw = any(row["scope"] == found.scope and row.get("power_watts") is not None for row in new)
        if not has_draw or not found.supplies:
            old = rows.power(source, found.scope, self._at(found.old_power), with_all=not has_draw)
            yield from (row for row in old if row["scope"] != "supply" or not found.supplies)
        heat = list(rows.thermal_metrics(source, self._at(found.thermal_metrics)))
        has_fans = any("fan_hertz" in row for row in new)
        yield from heat
        if not heat or not has_fans:
            told = "temperature_celsius" if heat else "fan_hertz" if has_fans else ""
            yield from (row for row in rows.thermal(source, self._at(found.old_thermal)) if told not in row)


def _refusal(refused: Refused) -> SourceError:
    hint = "see collectors.redfish.user and collectors.redfish.password: a user that may only read is enough"
    return SourceError(f"{refused}: the controller refuses this user", hint=hint)


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _supply(path: str) -> str:
    """Return the name of a supply: its own, which stays when another one is pulled out."""
    name = _last(path)
    return f"supply{name}" if name.isdecimal() else name
