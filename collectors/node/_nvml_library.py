"""The binding to NVIDIA's library, and its first call."""

import ctypes
from typing import Any, Final

from ledger.errors import SourceError, SourceMissing

RUN_SMI: Final = "run nvidia-smi on this node"


def binding() -> Any:
    """Return the binding; it takes 15 MB, so a node without the driver never loads it.

    Raises: SourceMissing: there is no driver.
    """
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        raise _missing("libnvidia-ml.so.1 is not installed") from None
    import pynvml  # noqa: PLC0415  see above

    return pynvml


def start(library: Any) -> None:
    """Initialise NVML.

    Raises: SourceMissing: there is no driver. SourceError: it is there and does not start.
    """
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        absent = {library.NVML_ERROR_LIBRARY_NOT_FOUND, library.NVML_ERROR_DRIVER_NOT_LOADED}
        if error.value in absent:
            raise _missing(str(error)) from error
        raise SourceError(f"NVML: {error}, expected a working driver", hint=RUN_SMI) from error


def _missing(found: str) -> SourceMissing:
    hint = "install the NVIDIA driver, or set collectors.nvml.enabled = false on this node"
    return SourceMissing(f"NVML: {found}", hint=hint)
