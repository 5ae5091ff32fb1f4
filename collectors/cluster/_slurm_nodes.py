"""What Slurm says of its nodes: in which state each is, why, since when, and what it has."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from collectors._slurm_text import instant
from collectors.cluster._slurm_gres import Devices, devices
from collectors.dumps._dump import Rejected

_UP: Final = "UP"
_BASES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("allocated", "alloc", "mixed", "mix", "idle", "completing", "comp", "planned", "plnd"), _UP),
    "blocked": _UP,
    **dict.fromkeys(("down", "error", "reboot", "rebooting", "reboot_issued", "boot"), "DOWN"),
    **dict.fromkeys(("drained", "inval", "invalid", "invalid_reg"), "DRAINED"),
    **dict.fromkeys(("draining", "drng", "failing", "failg"), "DRAINING"),
    **dict.fromkeys(("reserved", "resv", "maint", "maintenance", "perfctrs", "npc"), "RESERVED"),
    **dict.fromkeys(("powered_down", "powering_down", "pow_dn", "powering_up", "pow_up"), "POWERED_DOWN"),
    **dict.fromkeys(("unknown", "unk", "no_respond"), "UNKNOWN"),
}
"""The word of a node's state, in `ledger`'s words; `drain` and `fail` are one or the other by what runs there."""

_FLAGS: Final = frozenset(
    {"cloud", "completing", "dynamic_norm", "dynamic_future", "net", "res", "undrain", "not_responding", "power_drain"}
    | {"reboot_requested", "reboot_canceled", "cancel_reboot", "resume", "external", "parent", "launch_failed"}
    | {"power_down", "power_up"}
)
"""Flags that do not change what a node may do now."""

_NOT_THERE: Final = frozenset({"future", "futr", "n/a"})
"""A node that is only planned, and the line of a partition without nodes."""

_AT_WORK: Final = frozenset({"allocated", "alloc", "mixed", "mix", "completing", "comp"})

_MAY_WORK: Final = _AT_WORK | {"draining", "drng", "failing", "failg", "unknown", "unk", "no_respond", "reserved"}

_SUFFIXES: Final[Mapping[str, str]] = {"~": "POWERED_DOWN", "%": "POWERED_DOWN", "#": "POWERED_DOWN", "$": "RESERVED"}
"""What follows the word: saving power or on its way there or back, reserved for maintenance."""

_STATE: Final = re.compile(r"([A-Za-z_/]+)([*~#!%$@^+-]*)")


@dataclass(frozen=True)
class NodeTold:
    """One node as text: its state with all suffixes and flags (`drain*`, `IDLE+DRAIN`), and what goes with it."""

    node: str
    state: str
    reason: str = ""
    reason_at: str = ""
    gres: str = ""
    cpu_count: str = ""
    memory_mebibytes: str = ""


def state_of(text: str) -> str | None:
    """Return the state in the ledger's words; None for a node that does not exist yet.

    A node that does not respond is unknown, until Slurm gives it up and calls it down. Draining is drained once
    nothing runs there.

    Raises: ValueError: Slurm never wrote that.
    """
    words = [_STATE.fullmatch(each) for each in text.strip().split("+")]
    if not all(words):
        raise ValueError(f"node state: found {text!r}, expected one of Slurm's")
    base, *flags = [(str(each[1]).lower(), str(each[2])) for each in words if each]
    if base[0] in _NOT_THERE:
        return None
    suffixes = base[1] + "".join(suffix for _, suffix in flags)
    said = [_word(word, at_work=base[0] in _AT_WORK) for word, _ in (base, *flags)]
    said += [_SUFFIXES[each] for each in suffixes if each in _SUFFIXES]
    if any(word == "not_responding" for word, _ in flags) or "*" in suffixes:
        said.append("UNKNOWN")
    for word in ("DOWN", "DRAINING", "DRAINED", "POWERED_DOWN", "UNKNOWN", "RESERVED"):
        if word in said:
            return word
    return _UP


def _word(word: str, *, at_work: bool) -> str:
    if word in {"drain", "fail"}:
        return "DRAINING" if at_work else "DRAINED"
    if word in _FLAGS:
        return _UP
    if word not in _BASES:
        raise ValueError(f"node state: found {word!r}, expected one of Slurm's")
    return _BASES[word]


def at_work(listed: Iterable[NodeTold]) -> dict[str, bool]:
    """Return by node whether a job runs there, as Slurm's words for it say; a node that is unknown may run some."""
    known = {each.node: _STATE.match(each.state.strip()) for each in listed}
    return {node: word[1].lower() in _MAY_WORK for node, word in known.items() if node and word is not None}


def told(
    listed: Iterable[NodeTold], cluster: str, at: datetime, where: str
) -> tuple[list[dict[str, object]], list[dict[str, object]], dict[str, Devices], list[Rejected]]:
    """Return rows of `node_state` and `node`, the devices by node, and what could not be read.

    A node is told once for each of its partitions. With a reason Slurm says since when; without one it is so now.
    """
    states: list[dict[str, object]] = []
    inventory: list[dict[str, object]] = []
    there: dict[str, Devices] = {}
    rejected: list[Rejected] = []
    for each in {one.node: one for one in listed}.values():
        try:
            state = state_of(each.state)
            if state is None or not each.node:
                continue
            has = devices(each.gres)
            reason = None if each.reason.strip() in {"", "none", "None", "(null)"} else each.reason.strip()
            since = instant(each.reason_at)[0] if reason and state != _UP else None
        except (ValueError, OverflowError, OSError) as error:
            rejected.append(Rejected("node_state", f"{where}: node {each.node}", str(error), repr(each)))
            continue
        there[each.node] = has
        place = {"cluster": cluster, "node": each.node}
        begun = {"state_start": min(since or at, at), "state_end": None}
        states.append({**place, **begun, "state": state, "reason": reason, "source": "slurm"})
        inventory.append({**place, **_inventory(each, has)})
    return states, inventory, there, rejected


def _inventory(each: NodeTold, has: Devices) -> dict[str, object]:
    """Return what a node has; Slurm does not say since when it is there."""
    memory = each.memory_mebibytes
    return {
        "exists_start": None,
        "exists_end": None,
        "holder": "scheduler",
        "cpu_count": int(each.cpu_count) if each.cpu_count.isdigit() else None,
        "memory_bytes": int(memory) * 2**20 if memory.isdigit() else None,
        "gpu_count": has.gpu_count,
        "source": "slurm",
    }
