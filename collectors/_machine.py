"""What this node is: its size, and what its maker or its cloud calls it."""

import os
import platform
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from collectors.node._files import as_integer, text
from ledger.registry import Row
from ledger.sections import AgentSettings

_KIBIBYTE: Final = 1024
_AMAZON: Final = "Amazon EC2"


def node_row(procfs: Path, sysfs: Path, at: datetime, gpus: Iterable[Row]) -> Row:
    """Return this node's inventory row.

    The board's asset tag is the instance id on Amazon's machines; elsewhere the product's UUID is, and often only
    root may read it. Nulls: what the machine does not say.
    Source: Documentation/ABI/testing/sysfs-firmware-dmi-entries.
    """
    names = sysfs / "class/dmi/id"
    vendor = text(names / "sys_vendor")
    tag = text(names / "board_asset_tag") if vendor == _AMAZON else None
    devices = {str(row["parent_gpu_uuid"] or row["gpu_uuid"]) for row in gpus}
    return {
        "exists_start": at,
        "exists_end": None,
        "instance_type": text(names / "product_name"),
        "provider_instance_id": tag or (text(names / "product_uuid") or "").lower() or None,
        "cpu_count": _processors(procfs),
        "memory_bytes": _memory(procfs),
        "gpu_count": len(devices) or None,
        "source": "agent",
    }


def expected(agent: AgentSettings) -> Row:
    """Return what this node's network should have, as far as it is configured."""
    names = (
        "expected_port_count",
        "expected_line_rate_bytes_per_second",
        "expected_ethernet_port_count",
        "expected_ethernet_line_rate_bytes_per_second",
    )
    return {name: getattr(agent, name) for name in names}


def host_name() -> str:
    """Return the name under which the scheduler knows a node, as a rule: the host name without its domain."""
    return platform.node().partition(".")[0] or os.uname().nodename


def _processors(procfs: Path) -> int | None:
    lines = (text(procfs / "stat") or "").splitlines()
    return sum(1 for line in lines if line.startswith("cpu") and not line.startswith("cpu ")) or None


def _memory(procfs: Path) -> int | None:
    for line in (text(procfs / "meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            value = as_integer(line.split()[1])
            return None if value is None else value * _KIBIBYTE
    return None
