"""Mounted file systems of a node: how full they are, and whether they answer."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from collectors._settings import CollectorSettings
from collectors.node import _lustre
from collectors.node._files import required, unescaped
from collectors.node._host_view import of_node, rooted
from collectors.node._mountstats import traffic
from ledger.registry import Row, collector

_KERNEL_TYPES: Final = (
    "autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl hugetlbfs iso9660 "
    "mqueue nsfs nfsd overlay proc pstore ramfs rootfs rpc_pipefs securityfs selinuxfs squashfs sysfs tmpfs tracefs "
    "fuse.lxcfs fuse.gvfsd-fuse fuse.portal fuse.snapfuse"
)
_PSEUDO: Final = frozenset(_KERNEL_TYPES.split())
_POLL_SECONDS: Final = 0.002


class FilesystemSettings(CollectorSettings):
    """How patient it is with a file system that does not answer."""

    answer_seconds: Annotated[float, Field(gt=0, le=60, description="A slower mount is not responding")] = 1.0


class Mount(NamedTuple):
    """One line of the kernel's list of mounts."""

    device: str
    mount_point: str
    filesystem_type: str
    is_read_only: bool | None


Ask = Callable[[str], os.statvfs_result]


@collector(emits=("mount_sample",), every_seconds=60, deadline_seconds=10, settings=FilesystemSettings)
def filesystem(
    procfs: Path = Path("/proc"),
    sysfs: Path = Path("/sys"),
    settings: FilesystemSettings | None = None,
    statvfs: Ask = os.statvfs,
) -> Callable[[], Iterable[tuple[str, Row]]]:
    """Open a round that yields one row per mounted device or export.

    A call on a hung mount never returns and cannot be interrupted, so each mount is asked in a daemon thread;
    a mount that has not answered yet is not asked again, so a dead server costs one thread and not one per round.
    In a container these are the node's mounts, where its root is mounted beside its /proc, under the node's names.

    Raises: SourceMissing: there is no list of mounts. Nulls: sizes of a mount that does not respond or refuses; bytes
    of what is neither NFS nor Lustre, of a Lustre that is mounted twice or whose counters may not be read; whether it
    is read-only where that may be said of the container's view of it.
    Source: proc(5) mounts and mountstats, Lustre's llite, statvfs(3).
    """
    patience = (settings or FilesystemSettings()).answer_seconds
    waiting: dict[str, _Question] = {}

    def one_round() -> Iterator[tuple[str, Row]]:
        root, mounts = _mounts(required(procfs / "self/mounts", "filesystem"), procfs)
        moved, of_lustre = traffic(procfs), _lustre.traffic(procfs, sysfs)
        points = [mount.mount_point for mount in mounts]
        asked = {point: waiting.get(point) or _Question(f"{root}{point}", statvfs) for point in points}
        _wait(list(asked.values()), patience)
        waiting.clear()
        waiting.update({point: question for point, question in asked.items() if not question.is_answered})
        for mount in mounts:
            question = asked[mount.mount_point]
            answered = {"is_responding": question.is_answered, **_sizes(question.answer)}
            name = _lustre.file_system(mount.device) if mount.filesystem_type == "lustre" else ""
            bytes_and_reads = of_lustre.get(name) or moved.get(mount.mount_point, {})
            yield "mount_sample", {**mount._asdict(), **answered, **bytes_and_reads}

    return one_round


class _Question:
    """One statvfs call in a thread of its own."""

    def __init__(self, mount_point: str, statvfs: Ask) -> None:
        self.answer: os.statvfs_result | None = None
        self._thread = threading.Thread(target=self._ask, args=(mount_point, statvfs), daemon=True)
        self._thread.start()

    @property
    def is_answered(self) -> bool:
        return not self._thread.is_alive()

    def _ask(self, mount_point: str, statvfs: Ask) -> None:
        try:
            self.answer = statvfs(mount_point)
        except OSError:
            # Refused, stale or gone in between: it answered, and there are no sizes.
            self.answer = None


def _wait(questions: list[_Question], patience: float) -> None:
    """Wait until all have answered, at most `patience` seconds in all."""
    until = time.monotonic() + patience
    while time.monotonic() < until and not all(question.is_answered for question in questions):
        time.sleep(_POLL_SECONDS)


def _sizes(found: os.statvfs_result | None) -> Row:
    if found is None:
        return {}
    return {
        "capacity_bytes": found.f_blocks * found.f_frsize,
        "free_bytes": found.f_bfree * found.f_frsize,
        "available_bytes": found.f_bavail * found.f_frsize,
        # File systems without a table of inodes (btrfs, many network ones) say 0 of 0.
        "inode_count": found.f_files or None,
        "free_inode_count": found.f_ffree if found.f_files else None,
    }


def _mounts(content: str, procfs: Path) -> tuple[str, list[Mount]]:
    """Return where the node's root is, and its mounts that hold data, each device once, at its shortest path."""
    listed = [[unescaped(word) for word in line.split(" ")] for line in content.splitlines()]
    # Of two mounts on one place the later one hides the other.
    shown = {words[1]: words for words in listed if len(words) >= 4}  # noqa: PLR2004  the four that are named below
    root = rooted(procfs, shown)
    found: dict[str, Mount] = {}
    for point, words in shown.items():
        place = of_node(root, point)
        if place is None or (words[2] in _PSEUDO and place != "/"):
            continue
        is_read_only = "ro" in words[3].split(",")
        # In a container that may be said of its view alone.
        mount = Mount(words[0], place, words[2], None if root and is_read_only else is_read_only)
        # A bind mount shows the same device again; names such as `s3fs` stand for many devices.
        identity = mount.device if "/" in mount.device or ":" in mount.device else mount.mount_point
        known = found.get(identity)
        if known is None or len(mount.mount_point) < len(known.mount_point):
            found[identity] = mount
    return root, sorted(found.values(), key=lambda mount: mount.mount_point)
