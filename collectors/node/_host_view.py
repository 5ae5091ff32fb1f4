"""The node as a container sees it: its files lie in a folder, beside a network and mounts of the container's own.

An agent on the node itself reads `/proc`, and nothing here changes what it finds. In a container the node's root is
mounted in a folder (`agent.root`), and its `/proc` in that folder still shows a process its own mounts and network.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

_OWN: Final = Path("/proc")


def network(procfs: Path) -> Path:
    """Return the folder with the counters of the node's network.

    Where the node's /proc is mounted elsewhere, it is that of the first process; any user may read it.
    """
    first = procfs / "1/net"
    is_of_node = procfs != _OWN and os.access(first / "dev", os.R_OK)
    return first if is_of_node else procfs / "net"


def rooted(procfs: Path, mount_points: Collection[str]) -> str:
    """Return the folder in which the node's file systems are mounted, '' where they lie where the node has them."""
    folder = str(procfs.parent)
    return folder if folder != "/" and folder in mount_points else ""


def of_node(root: str, mount_point: str) -> str | None:
    """Return a mount point as the node calls it; None for what is the container's own."""
    if not root or mount_point == root:
        return mount_point if not root else "/"
    return mount_point.removeprefix(root) if mount_point.startswith(f"{root}/") else None
