"""Kernel files of one device: a value, or none and a remembered reason in the words that are used of NVML's calls."""

import errno
from pathlib import Path
from typing import Final

from collectors.node._files import as_integer
from collectors.node._nvml_driver import DeviceLost, Refusal

_ABSURD: Final = 2**63
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM})
_GONE: Final = frozenset({errno.ENODEV, errno.ENXIO})

# A driver that knows a file and not the value of this model answers with one of these.
_UNSUPPORTED: Final = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EINVAL,
        errno.EOPNOTSUPP,
        errno.ENODATA,
        errno.ENOSYS,
        errno.ENOTTY,
        errno.ERANGE,
    }
)
_NO_VALUE: Final = frozenset({"", "N/A", "n/a", "unsupported", "Not supported"})


class DeviceFiles:
    """The files under one device's folder. Never 0 for what was not read.

    `refusals` holds why a file gave no value when it was asked last: unsupported, denied or error.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.refusals: dict[str, Refusal] = {}

    def content(self, name: str) -> bytes | None:
        """Return a file's bytes, or None.

        Raises: DeviceLost: the device is gone.
        """
        try:
            found = (self.root / name).read_bytes()
        except OSError as error:
            self.refusals[name] = self._refusal(error)
            return None
        self.refusals.pop(name, None)
        return found

    def text(self, name: str) -> str | None:
        """Return a file's text without the surrounding blanks, or None; a text such as N/A is none.

        Raises: DeviceLost: the device is gone.
        """
        found = self.content(name)
        if found is None:
            return None
        words = found.decode("utf-8", "replace").strip()
        if words in _NO_VALUE:
            self.refusals[name] = "unsupported"
            return None
        return words

    def number(self, name: str) -> int | None:
        """Return a file's whole number, or None.

        Raises: DeviceLost: the device is gone.
        """
        words = self.text(name)
        found = as_integer(words)
        is_absurd = found is not None and abs(found) >= _ABSURD
        if words is not None and (found is None or is_absurd):
            self.refusals[name] = "error"
        return None if is_absurd else found

    def refused(self) -> str:
        """Return what was not given, and why, as one line."""
        return "; ".join(f"{name}: {why}" for name, why in sorted(self.refusals.items()))

    def _refusal(self, error: OSError) -> Refusal:
        if error.errno in _GONE or (error.errno == errno.ENOENT and not self.root.exists()):
            raise DeviceLost(f"{error.strerror or 'gone'}: {self.root}") from error
        if error.errno in _DENIED:
            return "denied"
        return "unsupported" if error.errno in _UNSUPPORTED else "error"
