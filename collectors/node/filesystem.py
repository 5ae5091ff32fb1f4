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

# Most mounts answer at once: they are asked one after the other, and none but the slow ones costs a thread that stays.
_AT_ONCE_SECONDS: Final = 0.02

# How many mounts may hang at once, of one server and in all; the others of a dead server are not asked meanwhile.
_MOST_HUNG_OF_ONE: Final = 8
_MOST_HUNG: Final = 32
_NO_SIZE: Final = 2**63


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
    Where many mounts of a server hang, the others of it are left alone. In a container these are the node's mounts,
    where its root is mounted beside its /proc, under the node's names.

    Raises: SourceMissing: there is no list of mounts. Nulls: sizes of a mount that does not respond or refuses; whether
    it responds where it was not asked; bytes of what is neither NFS nor Lustre, of a Lustre that is mounted twice or
    whose counters may not be read; whether it is read-only where that may be said of the container's view of it.
    Source: proc(5) mounts and mountstats, Lustre's llite, statvfs(3).
    """
    patience = (settings or FilesystemSettings()).answer_seconds
    questions = _Questions(statvfs)

    def one_round() -> Iterator[tuple[str, Row]]:
        root, mounts = _mounts(required(procfs / "self/mounts", "filesystem"), procfs)
        moved, of_lustre = traffic(procfs), _lustre.traffic(procfs, sysfs)
        answers = questions.asked(mounts, root, patience)
        for mount in mounts:
            is_responding, sizes = answers[mount.mount_point]
            answered = {"is_responding": is_responding, **_sizes(sizes)}
            name = _lustre.file_system(mount.device) if mount.filesystem_type == "lustre" else ""
            bytes_and_reads = of_lustre.get(name) or moved.get(mount.mount_point, {})
            yield "mount_sample", {**mount._asdict(), **answered, **bytes_and_reads}

    return one_round


class _Question:
    """One statvfs call in a thread of its own."""

    def __init__(self, path: str, statvfs: Ask) -> None:
        self.answer: os.statvfs_result | None = None
        self._thread = threading.Thread(target=self._ask, args=(path, statvfs), daemon=True)
        self._thread.start()

    @property
    def is_answered(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait for the answer, at most so long."""
        self._thread.join(max(0.0, seconds))

    def _ask(self, path: str, statvfs: Ask) -> None:
        try:
            self.answer = statvfs(path)
        except (OSError, ValueError):
            # Refused, stale, gone in between or no path at all: it answered, and there are no sizes.
            self.answer = None


class _Questions:
    """What is asked of mounts, from round to round; a device that is mounted where one hangs is another mount."""

    def __init__(self, statvfs: Ask) -> None:
        self._statvfs = statvfs
        self._hanging: dict[tuple[str, str], _Question] = {}

    def asked(
        self, mounts: list[Mount], root: str, patience: float
    ) -> dict[str, tuple[bool | None, os.statvfs_result | None]]:
        """Return by mount point whether it answered, at most `patience` seconds later in all, and what."""
        before = {key: each for key, each in self._hanging.items() if not each.is_answered}
        self._hanging = {key: before[key] for mount in mounts if (key := mount[:2]) in before}
        asked: dict[tuple[str, str], _Question] = {}
        for mount in mounts:
            if mount[:2] not in self._hanging and self._may_ask(mount.device):
                question = asked[mount[:2]] = _Question(f"{root}{mount.mount_point}", self._statvfs)
                question.wait(_AT_ONCE_SECONDS)
                if not question.is_answered:
                    self._hanging[mount[:2]] = question
        until = time.monotonic() + patience
        for question in self._hanging.values():
            question.wait(until - time.monotonic())
        asked |= self._hanging
        return {mount.mount_point: _told(asked.get(mount[:2])) for mount in mounts}

    def _may_ask(self, device: str) -> bool:
        of_server = sum(_server(each) == _server(device) for each, _ in self._hanging)
        return of_server < _MOST_HUNG_OF_ONE and len(self._hanging) < _MOST_HUNG


def _server(device: str) -> str:
    """Return the server of an export such as `filer:/home`; a device of this node stands for itself."""
    return device.rpartition(":/")[0] or device


def _told(question: _Question | None) -> tuple[bool | None, os.statvfs_result | None]:
    if question is None:
        return None, None
    return (True, question.answer) if question.is_answered else (False, None)


def _sizes(found: os.statvfs_result | None) -> Row:
    """Return what a file system says of its size; a free part that is larger than the whole was counted below zero."""
    if found is None:
        return {}
    size, blocks = found.f_frsize or found.f_bsize, found.f_blocks
    # File systems that do not know their size (some in user space) say 0 of 0, those without an end more than counts.
    is_known = 0 < blocks * size < _NO_SIZE
    inodes = found.f_files if 0 < found.f_files < _NO_SIZE else None
    return {
        "capacity_bytes": blocks * size if is_known else None,
        "free_bytes": found.f_bfree * size if is_known and found.f_bfree <= blocks else None,
        "available_bytes": found.f_bavail * size if is_known and found.f_bavail <= blocks else None,
        # File systems without a table of inodes (btrfs, many network ones) say 0 of 0 as well.
        "inode_count": inodes,
        "free_inode_count": found.f_ffree if inodes is not None and found.f_ffree <= inodes else None,
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
