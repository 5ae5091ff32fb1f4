"""How AMD GPUs are named: as ROCm does, and where they are on the bus."""

import re
from pathlib import Path
from typing import Final

from collectors.node._files import listed, text

_VENDOR: Final = "0x1002"
_CARD: Final = re.compile(r"^card\d+$")
_SERIAL: Final = re.compile(r"^0*[1-9a-f][0-9a-f]*$")


def folders(sysfs: Path) -> dict[str, Path]:
    """Return the folder of each device by its PCI address, in the order of these."""
    found = {}
    for card in listed(sysfs / "class/drm"):
        folder = card / "device"
        if _CARD.match(card.name) and text(folder / "vendor") == _VENDOR:
            found[_address(folder)] = folder
    return dict(sorted(found.items()))


def uuid(folder: Path, address: str) -> str:
    """Return a device's name; that of a model without a unique id lasts as long as its place on the bus."""
    serial = (text(folder / "unique_id") or "").lower()
    return f"GPU-{serial:0>16}" if _SERIAL.match(serial) else f"GPU-{address}"


def uuids(sysfs: Path) -> dict[str, str]:
    """Return the name of each device by its PCI address, which is how the device plugin for Kubernetes calls it."""
    return {address: uuid(folder, address) for address, folder in folders(sysfs).items()}


def _address(folder: Path) -> str:
    for line in (text(folder / "uevent") or "").splitlines():
        if line.startswith("PCI_SLOT_NAME="):
            return line.partition("=")[2].strip()
    return folder.resolve().name
