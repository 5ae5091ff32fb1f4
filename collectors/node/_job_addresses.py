"""Where jobs and pods of this node answer, from the networks that their processes see; nobody has to be asked."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from collectors.node._cgroup_names import job_of
from collectors.node._files import listed, text

_LISTENS: Final = "0A"
_LOCAL: Final = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL")
_LOOPBACK: Final = "127."
_STATE_WORD: Final = 3


def serving(procfs: Path, ports: Collection[int]) -> list[str]:
    """Return host and port of what listens in jobs and pods on one of the ports; each network counts once.

    The agent's own network is left out, for it is asked by its loopback. What listens on loopback alone cannot be
    asked from elsewhere. Any user may read the networks of others; without the node's process ids there are none.

    Source: proc(5) net/tcp and net/fib_trie of each process; IPv4 addresses, also of what listens on all of IPv6.
    """
    known = {_addresses(procfs / "self/net")}
    found = []
    for process in _one_of_each_job(procfs):
        here = sorted(_listening(process / "net") & set(ports))
        if not here:
            continue
        addresses = _addresses(process / "net")
        if addresses and addresses not in known:
            known.add(addresses)
            found += [f"{addresses[0]}:{port}" for port in here]
    return found


def _one_of_each_job(procfs: Path) -> Iterator[Path]:
    """Yield a process of each job or pod: all of them share its network."""
    seen = set()
    for process in listed(procfs):
        if process.name.isdecimal():
            job = job_of(text(process / "cgroup") or "")
            if job and job not in seen:
                seen.add(job)
                yield process


def _listening(net: Path) -> set[int]:
    """Return the ports of a network that can be reached from other ones."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in (text(net / name) or "").splitlines()[1:]]
    places = [words[1].split(":") for words in lines if words[_STATE_WORD : _STATE_WORD + 1] == [_LISTENS]]
    return {int(port, 16) for address, port in places if not _is_loopback(address)}


def _is_loopback(address: str) -> bool:
    """Tell whether an address of these files is loopback's: words are written as the machine holds them."""
    return address.endswith("7F") or address == "0" * 24 + "01000000"


def _addresses(net: Path) -> tuple[str, ...]:
    """Return the addresses of a network, the lowest text first."""
    found = set(_LOCAL.findall(text(net / "fib_trie") or ""))
    return tuple(sorted(each for each in found if not each.startswith(_LOOPBACK)))
