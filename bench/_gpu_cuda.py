"""The CUDA driver through ctypes: as much of it as labelled workloads need. No toolkit, no framework."""

import ctypes
from collections.abc import Sequence
from typing import Final

from ledger.errors import SourceError, SourceMissing

LIBRARY: Final = "libcuda.so.1"
Argument = ctypes.c_uint32 | ctypes.c_uint64
"""What a kernel is given: a number, or an address."""

_SUCCESS: Final = 0
_NO_DEVICE: Final = 100
_MULTIPROCESSORS: Final = 16
_MAJOR, _MINOR = 75, 76


class Cuda:
    """One device, the first that CUDA_VISIBLE_DEVICES leaves, with its primary context.

    Raises: SourceMissing: there is no driver, or no device. SourceError: a call fails.
    Source: CUDA driver API; where a function has versions, the one since CUDA 3.2.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError:
            raise SourceMissing(
                f"CUDA: {LIBRARY} is not installed",
                hint="install the NVIDIA driver with its compute part; in a container pass the device in",
            ) from None
        self._modules: list[ctypes.c_void_p] = []
        self._call("cuInit", ctypes.c_uint(0))
        self._device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(self._device), ctypes.c_int(0))
        self._context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        self._call("cuCtxSetCurrent", self._context)
        self.multiprocessors = self._attribute(_MULTIPROCESSORS)
        self.capability = (self._attribute(_MAJOR), self._attribute(_MINOR))

    def version(self) -> str:
        """Return the newest CUDA that the driver speaks, such as 13.0."""
        found = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(found))
        return f"{found.value // 1000}.{found.value % 1000 // 10}"

    def kernel(self, text: str, name: str) -> ctypes.c_void_p:
        """Return a kernel that the driver compiles from its text."""
        module, found = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(text.encode()))
        self._modules.append(module)
        self._call("cuModuleGetFunction", ctypes.byref(found), module, ctypes.c_char_p(name.encode()))
        return found

    def allocate(self, size: int) -> int:
        """Return the address of so many bytes of device memory."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def allocate_host(self, size: int) -> int:
        """Return the address of so many bytes of host memory that the device reaches without a copy in between."""
        address = ctypes.c_void_p()
        self._call("cuMemAllocHost_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return int(address.value or 0)

    def send(self, to: int, host: int, size: int) -> None:
        """Copy from the host to the device, and wait for it."""
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(to), ctypes.c_void_p(host), ctypes.c_size_t(size))

    def launch(self, kernel: ctypes.c_void_p, blocks: int, threads: int, arguments: Sequence[Argument]) -> None:
        """Start a kernel and return at once, unless the queue is full."""
        pointers = (ctypes.c_void_p * len(arguments))(
            *(ctypes.cast(ctypes.byref(argument), ctypes.c_void_p) for argument in arguments)
        )
        sizes = [ctypes.c_uint(size) for size in (blocks, 1, 1, threads, 1, 1, 0)]
        self._call("cuLaunchKernel", kernel, *sizes, None, pointers, None)

    def wait(self) -> None:
        """Wait until all that was started is done."""
        self._call("cuCtxSynchronize")

    def close(self) -> None:
        """Give the context back, and with it all memory."""
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def _attribute(self, number: int) -> int:
        found = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(found), ctypes.c_int(number), self._device)
        return found.value

    def _call(self, function: str, *arguments: object) -> None:
        """Call a function of the driver.

        Raises: SourceMissing: there is no device. SourceError: anything else.
        """
        try:
            code = getattr(self._library, function)(*arguments)
        except AttributeError:
            raise SourceError(f"CUDA: {LIBRARY} has no {function}, expected a driver of 2020 or newer") from None
        if code == _SUCCESS:
            return
        said = f"CUDA: {function}: {self._word(code)}"
        if code == _NO_DEVICE:
            raise SourceMissing(said, hint="run it where nvidia-smi lists a GPU")
        raise SourceError(f"{said}, expected success", hint="see what nvidia-smi and the kernel's log say")

    def _word(self, code: int) -> str:
        """Return the driver's own name of an error."""
        word = ctypes.c_char_p()
        found = self._library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(word))
        return word.value.decode() if found == _SUCCESS and word.value else f"error {code}"
