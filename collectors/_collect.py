"""One round of the node's collectors, whole: what `collect` prints, and what the agent starts from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import collectors.node
from collectors._clock import utc_now
from collectors._machine import expected, host_name, node_row
from collectors._round import Run, Tables, sources
from collectors._stamp import Forgetful, Identity, boot_id, stamped
from ledger.config import Settings
from ledger.registry import Collector, discover


@dataclass(frozen=True)
class Round:
    """Rows by table, complete, and how each collector fared."""

    tables: Tables
    runs: list[Run]

    def document(self) -> dict[str, Any]:
        """Return what `collect --json` prints: instants as text in UTC, exact numbers as text."""
        return {
            "tables": {
                name: [{column: _shown(value) for column, value in row.items()} for row in rows]
                for name, rows in self.tables.items()
            },
            "runs": [asdict(run) for run in self.runs],
        }


def _shown(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return format(value, "f") if isinstance(value, Decimal) else value


def node_collectors() -> dict[str, Collector]:
    """Return the node's collectors by name, one per module of `collectors.node`."""
    return discover(collectors.node, Collector)


def run_collectors(
    names: Iterable[str] | None = None,
    *,
    procfs: Path | None = None,
    sysfs: Path | None = None,
    settings: Settings | None = None,
    offers: Mapping[str, object] | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Round:
    """Run node collectors once, each apart from the others, and return their rows.

    `names` picks some; all enabled ones run otherwise. `procfs` and `sysfs` are those below `agent.root` unless told.
    `offers` adds what a collector may ask for by the name of a parameter, such as a `library`. A source that is not on
    this node gives a run that is ok, with no rows and the reason as its error.

    Raises: ConfigError: a name is no collector's, or a section of the configuration is wrong.
    """
    decided = settings or Settings()
    procfs, sysfs = roots(decided, procfs, sysfs)
    identity = identity_of(decided, procfs)
    given = {"procfs": procfs, "sysfs": sysfs, **(offers or {})}
    results = [source.collect_in_time(now) for source in sources(node_collectors(), names, decided, given)]
    memory = Forgetful()
    tables = stamped(results, identity, memory)
    if names is None:
        node = {"cluster": identity.cluster, "node": identity.node, **expected(decided.agent)}
        tables["node"] = [{**node, **node_row(procfs, sysfs, now(), tables.get("gpu", []))}]
    return Round(tables, [result.run for result in results])


def roots(settings: Settings, procfs: Path | None, sysfs: Path | None) -> tuple[Path, Path]:
    """Return where /proc and /sys of the node are: as told, or in the folder in which its files are."""
    return procfs or settings.agent.root / "proc", sysfs or settings.agent.root / "sys"


def identity_of(settings: Settings, procfs: Path) -> Identity:
    """Return which node this is, as configured or as its host is called."""
    return Identity(settings.agent.cluster, settings.agent.node or host_name(), boot_id(procfs))
