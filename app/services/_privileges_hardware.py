"""Which meters and devices of this node are there, and what more privilege would show of them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from collectors.node._files import listed, refused, text
from ledger.words import amount

_AMD = "0x1002"
_GOOGLE = "0x1ae0"
_RAPL = "sys/class/powercap"
_LUSTRE = "sys/kernel/debug/lustre/llite"
_CONTROLLERS = ("dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0")


class Finding(NamedTuple):
    """One kind of hardware: `status` is ok or missing, what was found, and what to do."""

    part: str
    status: str
    found: str
    hint: str = ""


def hardware(root: Path) -> Iterator[Finding]:
    """Yield what can be seen of hardware; of what is not there only the processors' energy is spoken of."""
    yield _energy(root)
    yield from _controller(root)
    yield from _lustre(root)
    yield from _amd(root)
    yield from _tpu(root)


def _energy(root: Path) -> Finding:
    lost = "energy of processors and memory is not measured"
    zones = [path / "energy_uj" for path in listed(root / _RAPL) if (path / "energy_uj").exists()]
    hidden = [path for path in zones if refused(path)]
    if not zones:
        return Finding("energy", "missing", f"{root / _RAPL} has no meter: {lost}")
    if hidden:
        hint = "a udev rule that lets the agent's group read energy_uj, or CAP_DAC_READ_SEARCH"
        return Finding("energy", "missing", f"{hidden[0]} is for root alone: {lost}", hint)
    return Finding("energy", "ok", f"{amount(len(zones), 'meter')} of processors and memory can be read")


def _controller(root: Path) -> Iterator[Finding]:
    """Say whether the management controller can be asked for the whole node's draw."""
    part, path = "controller", next((root / name for name in _CONTROLLERS if (root / name).exists()), None)
    if path is None:
        return
    if os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        yield Finding(part, "ok", f"{path} can be asked for the node's draw, heat and fans")
        return
    hint = "let the agent's group read and write it, put `sudo -n` before collectors.ipmi.power_command, or ask over "
    hint += "the network instead: collectors.redfish.url"
    yield Finding(part, "missing", f"{path} may not be opened: the node's draw is not measured", hint)


def _lustre(root: Path) -> Iterator[Finding]:
    """Say whether operations on Lustre are counted, where it is mounted."""
    mounts = (text(root / "proc/self/mounts") or "").splitlines()
    if not any(words[2:3] == ["lustre"] for words in map(str.split, mounts)):
        return
    if listed(root / _LUSTRE) or listed(root / "proc/fs/lustre/llite"):
        yield Finding("lustre", "ok", "the client's counters can be read")
        return
    hint = "CAP_DAC_READ_SEARCH, or mount debugfs for the agent's group (mode=750,gid=)"
    yield Finding("lustre", "missing", f"{root / _LUSTRE} may not be read: waiting for Lustre cannot be told", hint)


def _amd(root: Path) -> Iterator[Finding]:
    folders = [path / "device" for path in listed(root / "sys/class/drm") if text(path / "device/vendor") == _AMD]
    folders = [folder for folder in folders if (folder / "mem_info_vram_total").exists()]
    if not folders:
        return
    if any(refused(folder / "gpu_busy_percent") for folder in folders):
        hint = "in a container mount /sys of the host; a device cgroup may hide it"
        yield Finding("AMD GPUs", "missing", f"{folders[0]} may not be read: no state can be told", hint)
        return
    yield Finding("AMD GPUs", "ok", f"{len(folders)} can be read")
    part, lost = "AMD processes", "processes on them are invisible, and who holds one is told by the scheduler alone"
    kfd = root / "sys/class/kfd/kfd"
    hidden = [path for path in listed(kfd / "topology/nodes") if _is_hidden(path / "gpu_id")]
    if not (kfd / "proc").is_dir():
        yield Finding(part, "missing", f"{kfd} is not there: {lost}", "load amdkfd")
    elif hidden:
        hint = "a device cgroup hides them: DeviceAllow=char-drm rw in the unit, or pass /dev/dri on to the container"
        yield Finding(part, "missing", f"{hidden[0]} may not be read: {lost}", hint)


def _is_hidden(path: Path) -> bool:
    """Tell whether a file may be opened and not be read, as the compute driver has it."""
    try:
        path.read_bytes()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _tpu(root: Path) -> Iterator[Finding]:
    """Say whether it can be seen who has a TPU open: without a program its library tells nothing."""
    devices = [path for path in listed(root / "sys/bus/pci/devices") if text(path / "vendor") == _GOOGLE]
    if not devices or not (listed(root / "dev/vfio") or (root / "dev/accel0").exists()):
        return
    if os.access(root / "proc/1/fd", os.R_OK | os.X_OK, effective_ids=True):
        yield Finding("TPUs", "ok", "who has one open can be seen")
        return
    lost = "a chip that nobody uses cannot be told from one whose library does not answer"
    yield Finding("TPUs", "missing", f"the open files of others are hidden: {lost}", "CAP_SYS_PTRACE")
