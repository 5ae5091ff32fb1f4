"""A node whose GPUs a scenario plays."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collectors.fake_nvml import FakeNvml, Gpu, Reload, Scenario
from collectors.node.nvml import NvmlSettings, nvml
from ledger.registry import Row

T0 = datetime(2026, 11, 20, 12, tzinfo=UTC)
GIB = 1 << 30


@dataclass
class Node:
    """A node with a fake driver and a clock of its own."""

    procfs: Path
    gpus: tuple[Gpu, ...]
    health_every_rounds: int = 1
    seconds: float = 100.0
    reloads: tuple[Reload, ...] = ()
    root: Path | None = None
    fake: FakeNvml = field(init=False)

    def __post_init__(self) -> None:
        self.fake = FakeNvml(Scenario(self.gpus, reloads=self.reloads), lambda: self.seconds)
        self.one_round = nvml.open(
            procfs=self.procfs,
            root=self.root,
            settings=NvmlSettings(health_every_rounds=self.health_every_rounds),
            library=self.fake,
            clock=lambda: self.seconds,
            now=lambda: T0 + timedelta(seconds=self.seconds),
        )

    def round(self, after: float = 10.0) -> dict[str, list[Row]]:
        """Return the rows of one round by table; the next one is so much later."""
        tables: dict[str, list[Row]] = {}
        for table, row in self.one_round():
            tables.setdefault(table, []).append(row)
        self.seconds += after
        return tables

    def rounds(self, count: int, after: float = 10.0) -> list[dict[str, list[Row]]]:
        """Return the rows of some rounds."""
        return [self.round(after) for _ in range(count)]

    def samples(self) -> dict[object, Row]:
        """Return the samples of one round by device."""
        return {row["gpu_uuid"]: row for row in self.round()["gpu_sample"]}


def events(tables: list[dict[str, list[Row]]], *columns: str) -> list[tuple[object, ...]]:
    """Return these columns of all events of some rounds."""
    return [tuple(row[name] for name in columns) for each in tables for row in each.get("gpu_event", [])]
