"""Ports and nodes of a network in one hour, as their samples and the inventory have them."""

from datetime import UTC, datetime, timedelta
from typing import Any

HOUR = datetime(2026, 11, 20, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GIGABIT = 125_000_000


def port(seconds: float, node: str = "n1", device: str = "mlx5_0", gigabits: float | None = 200, **more: Any) -> Any:
    """Return one sample of a port; None as its rate is a port that is down."""
    return {
        "sampled_at": HOUR + seconds * SECOND,
        "cluster": "c",
        "node": node,
        "device": device,
        "port": "1",
        "boot_id": "b",
        "step_seconds": 10.0,
        "link_layer": "InfiniBand",
        "is_up": gigabits is not None,
        "line_rate_bytes_per_second": None if gigabits is None else gigabits * GIGABIT,
        **more,
    }


def of(node: str, **more: Any) -> dict[str, Any]:
    """Return a node of the inventory that has been there for days."""
    started = HOUR - timedelta(days=3)
    return {"cluster": "c", "node": node, "exists_start": started, "instance_type": "x", "gpu_count": 8, **more}


LIKE = [of("n1"), of("n2"), of("n3")]
"""Nodes of one kind: what most of them have is what each should have."""
