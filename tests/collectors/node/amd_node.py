"""A node with AMD GPUs, written as the driver shows them: files, sensors, the firmware's table, the compute driver."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from collectors.node.amd import AmdSettings, amd
from ledger.registry import Row

T0 = datetime(2026, 11, 20, 12, tzinfo=UTC)
GIB = 1 << 30
SERIALS = ("79ccd55167a2124a", "4edfb117a17a07d")
BUSES = ("0000:83:00.0", "0000:c3:00.0")


def put(folder: Path, values: Mapping[str, object]) -> None:
    """Write files; bytes as they are."""
    for name, value in values.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value if isinstance(value, bytes) else f"{value}\n".encode())


def table_1_3(**values: int) -> bytes:
    """Return the firmware's table of an MI100 or MI200; what is not given is all ones."""
    table = bytearray(b"\xff" * 120)
    struct.pack_into("=HBB", table, 0, 120, 1, 3)
    places = {"hotspot": ("H", 6), "busy": ("H", 16), "power": ("H", 22), "energy": ("Q", 24), "reasons": ("Q", 112)}
    for name, value in values.items():
        kind, offset = places[name]
        struct.pack_into(f"={kind}", table, offset, value)
    return bytes(table)


def table_1_6(partitions: tuple[tuple[int, ...], ...] = (), **values: int) -> bytes:
    """Return the firmware's table of an MI300; `partitions` are the percentages of each one's engines."""
    table = bytearray(b"\xff" * 1664)
    struct.pack_into("=HBB", table, 0, 1664, 1, 6)
    places = {"hotspot": ("H", 4), "memory": ("H", 6), "power": ("H", 10), "busy": ("H", 12), "energy": ("Q", 16)}
    places |= {"ticks": ("I", 32), "prochot": ("I", 36), "package_power": ("I", 40), "socket_heat": ("I", 44)}
    places |= {"regulator_heat": ("I", 48), "replays": ("Q", 104), "read_0": ("Q", 128), "read_1": ("Q", 136)}
    places |= {"written_0": ("Q", 192), "stamp": ("Q", 256), "clock": ("H", 264), "memory_clock": ("H", 304)}
    for name, value in values.items():
        kind, offset = places[name]
        struct.pack_into(f"={kind}", table, offset, value)
    struct.pack_into("=H", table, 306, len(partitions))
    for place, engines in enumerate(partitions):
        struct.pack_into(f"={len(engines)}I", table, 312 + 168 * place, *engines)
    return bytes(table)


@dataclass
class AmdNode:
    """A root with `proc` and `sys`, and a clock that tests move on."""

    root: Path
    settings: AmdSettings = field(default_factory=lambda: AmdSettings(health_every_rounds=1))
    seconds: float = 100.0

    def __post_init__(self) -> None:
        self.sysfs, self.procfs = self.root / "sys", self.root / "proc"
        self.one_round = amd.open(
            sysfs=self.sysfs,
            procfs=self.procfs,
            settings=self.settings,
            clock=lambda: self.seconds,
            now=lambda: T0 + timedelta(seconds=self.seconds),
        )

    def folder(self, index: int = 0) -> Path:
        """Return the folder of a device."""
        return self.sysfs / f"class/drm/card{index}/device"

    def card(self, index: int = 0, **more: object) -> Path:
        """Write a device like an MI100; names with `__` for a slash replace or add files, None takes one away."""
        files: dict[str, object] = {
            "vendor": "0x1002",
            "device": "0x738c",
            "uevent": f"DRIVER=amdgpu\nPCI_CLASS=38000\nPCI_SLOT_NAME={BUSES[index]}",
            "unique_id": SERIALS[index],
            "product_name": "AMD Instinct MI100",
            "numa_node": 1,
            "gpu_busy_percent": 37,
            "mem_busy_percent": 12,
            "mem_info_vram_used": 6_750_208,
            "mem_info_vram_total": 34_342_961_152,
            "pp_dpm_sclk": "0: 300Mhz *\n1: 495Mhz\n15: 1502Mhz",
            "current_link_speed": "16.0 GT/s PCIe",
            "current_link_width": 16,
            "pcie_replay_count": 3,
            "power__runtime_status": "active",
            "hwmon__hwmon7__power1_average": 36_000_000,
            "hwmon__hwmon7__power1_cap": 290_000_000,
            "hwmon__hwmon7__temp1_label": "edge",
            "hwmon__hwmon7__temp1_input": 53_000,
            "hwmon__hwmon7__temp2_label": "junction",
            "hwmon__hwmon7__temp2_input": 55_000,
            "hwmon__hwmon7__temp3_label": "mem",
            "hwmon__hwmon7__temp3_input": 51_000,
            "hwmon__hwmon7__freq1_label": "sclk",
            "hwmon__hwmon7__freq1_input": 300_000_000,
            "hwmon__hwmon7__freq2_label": "mclk",
            "hwmon__hwmon7__freq2_input": 1_200_000_000,
            "ras__umc_err_count": "ue: 0\nce: 4",
            "ras__gfx_err_count": "ue: 1\nce: 2",
            "gpu_metrics": table_1_3(hotspot=55, busy=40, power=36, energy=65_536 * 500, reasons=0x1),
        } | more
        present = {name.replace("__", "/"): value for name, value in files.items() if value is not None}
        put(self.folder(index), present)
        return self.folder(index)

    def compute(self, gpu_id: int, *, bus: int = 0x83, partition: int = 0, memory: int | None = None) -> None:
        """Write one node of the compute driver's topology."""
        folder = self.sysfs / f"class/kfd/kfd/topology/nodes/{gpu_id % 100}"
        place = partition << 28 | bus << 8
        put(folder, {"gpu_id": gpu_id, "properties": f"simd_count 480\nlocation_id {place}\ndomain 0"})
        if memory is not None:
            put(folder, {"mem_banks/0/properties": f"heap_type 1\nsize_in_bytes {memory}\nflags 0"})
        (self.sysfs / "class/kfd/kfd/proc").mkdir(parents=True, exist_ok=True)

    def process(
        self, pid: int, memory: Mapping[int, int], queues: tuple[int, ...] = (), job: int | None = None
    ) -> None:
        """Write a process that uses devices, by the number of the compute node."""
        folder = self.sysfs / f"class/kfd/kfd/proc/{pid}"
        put(folder, {f"vram_{gpu_id}": used for gpu_id, used in memory.items()} | {"pasid": 1})
        put(folder, {f"queues/{place}/gpuid": gpu_id for place, gpu_id in enumerate(queues)})
        cgroup = f"0::/system.slice/slurmstepd.scope/job_{job}/step_0" if job else "0::/user.slice"
        put(self.procfs / str(pid), {"status": "Name:\ttrain\nState:\tR (running)\nUid:\t0\t0\t0\t0", "cgroup": cgroup})

    def round(self, after: float = 10.0) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of one round by table; the next one is so much later."""
        tables: dict[str, list[dict[str, Any]]] = {}
        for table, row in self.rows():
            tables.setdefault(table, []).append(dict(row))
        self.seconds += after
        return tables

    def rows(self) -> list[tuple[str, Row]]:
        """Return the rows of one round as they come."""
        return list(self.one_round())

    def samples(self) -> dict[str, dict[str, Any]]:
        """Return the samples of one round by device."""
        return {row["gpu_uuid"]: row for row in self.round()["gpu_sample"]}
