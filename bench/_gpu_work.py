"""The labelled workloads: what each does to a device, and what a good judge calls it.

`python -m bench._gpu_work NAME SECONDS` plays one: it prints a line when it has begun, and at its end what it did.
"""

import ctypes
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from bench import _gpu_ptx as ptx
from bench._gpu_blas import Blas
from bench._gpu_cuda import Cuda
from ledger.errors import ClusterLedgerError
from ledger.names import Bottleneck, State

_MEBIBYTE: Final = 1 << 20
_THREADS: Final = 256
_BLOCKS_EACH: Final = 8
_IN_FLIGHT: Final = 8
_SMALL_IN_FLIGHT: Final = 256
_ROUNDS: Final = 20_000
_SMALL_ROUNDS: Final = 800
_COPIED: Final = 512 * _MEBIBYTE
_SENT: Final = 256 * _MEBIBYTE
_HELD: Final = 2048 * _MEBIBYTE
_BATCH: Final = 16 * _MEBIBYTE
_SIDE: Final = 8192
_PREPARED_SECONDS: Final = 0.09

BEGUN: Final = "begun"
"""What is printed when the work has begun."""


@dataclass
class Work:
    """What a workload has done."""

    seconds: float = 0.0
    launches: int = 0
    held_bytes: int = 0
    device_bytes: int = 0
    sent_bytes: int = 0
    operations: int = 0


class Clock:
    """Until when a workload goes on; it has begun when it is asked for the first time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began: float | None = None

    def goes_on(self) -> bool:
        """Tell whether there is time left."""
        if self._began is None:
            self._began = time.monotonic()
            print(BEGUN, flush=True)
        return self.seconds() < self._seconds

    def seconds(self) -> float:
        """Return how long it has gone on."""
        return 0.0 if self._began is None else time.monotonic() - self._began


def _hold(cuda: Cuda, clock: Clock, work: Work) -> None:
    cuda.allocate(_HELD)
    work.held_bytes = _HELD
    while clock.goes_on():
        time.sleep(0.1)


def _tensor(cuda: Cuda, clock: Clock, work: Work) -> None:
    _compute(cuda, clock, work, "tensor", ptx.TILES * ptx.TILE_OPERATIONS // 32)


def _single(cuda: Cuda, clock: Clock, work: Work) -> None:
    _compute(cuda, clock, work, "single", 2 * ptx.SUMS)


def _compute(cuda: Cuda, clock: Clock, work: Work, name: str, operations: int) -> None:
    """Run a kernel that stays in registers; `operations` is what a thread does in one of its rounds."""
    kernel, blocks = cuda.kernel(ptx.KERNELS[name], name), cuda.multiprocessors * _BLOCKS_EACH
    arguments = (ctypes.c_uint64(cuda.allocate(4 * _THREADS)), ctypes.c_uint32(_ROUNDS))
    while clock.goes_on():
        for _ in range(_IN_FLIGHT):
            cuda.launch(kernel, blocks, _THREADS, arguments)
        cuda.wait()
        work.launches += _IN_FLIGHT
        work.operations += _IN_FLIGHT * blocks * _THREADS * _ROUNDS * operations


def _matmul(cuda: Cuda, clock: Clock, work: Work) -> None:
    blas = Blas(cuda)
    left, right, to = (cuda.allocate(2 * _SIDE * _SIDE) for _ in range(3))
    for address in (left, right):
        _fill(cuda, address, 2 * _SIDE * _SIDE)
    while clock.goes_on():
        for _ in range(_IN_FLIGHT):
            blas.multiply(left, right, to, _SIDE)
        cuda.wait()
        work.launches += _IN_FLIGHT
        work.operations += _IN_FLIGHT * 2 * _SIDE**3


def _copy(cuda: Cuda, clock: Clock, work: Work) -> None:
    kernel = cuda.kernel(ptx.KERNELS["copy"], "copy")
    source, to = cuda.allocate(_COPIED), cuda.allocate(_COPIED)
    _fill(cuda, source, _COPIED)
    arguments = (ctypes.c_uint64(source), ctypes.c_uint64(to), ctypes.c_uint32(_COPIED // 16))
    while clock.goes_on():
        for _ in range(_IN_FLIGHT):
            cuda.launch(kernel, cuda.multiprocessors * _BLOCKS_EACH, _THREADS, arguments)
        cuda.wait()
        work.launches += _IN_FLIGHT
        work.device_bytes += _IN_FLIGHT * 2 * _COPIED


def _small(cuda: Cuda, clock: Clock, work: Work) -> None:
    kernel = cuda.kernel(ptx.KERNELS["single"], "single")
    arguments = (ctypes.c_uint64(cuda.allocate(4 * _THREADS)), ctypes.c_uint32(_SMALL_ROUNDS))
    while clock.goes_on():
        for _ in range(_SMALL_IN_FLIGHT):
            cuda.launch(kernel, 1, _THREADS, arguments)
        cuda.wait()
        work.launches += _SMALL_IN_FLIGHT


def _starved(cuda: Cuda, clock: Clock, work: Work) -> None:
    """Prepare each batch on one processor of the host, send it, and compute for some 25 ms: a fifth of the time."""
    kernel, blocks = cuda.kernel(ptx.KERNELS["single"], "single"), cuda.multiprocessors * _BLOCKS_EACH
    host, device = cuda.allocate_host(_BATCH), cuda.allocate(_BATCH)
    arguments = (ctypes.c_uint64(cuda.allocate(4 * _THREADS)), ctypes.c_uint32(_ROUNDS))
    while clock.goes_on():
        _prepare(host)
        cuda.send(device, host, _BATCH)
        for _ in range(_IN_FLIGHT):
            cuda.launch(kernel, blocks, _THREADS, arguments)
        cuda.wait()
        work.launches += _IN_FLIGHT
        work.sent_bytes += _BATCH


def _prepare(host: int) -> None:
    """Write bytes that take the processor a while."""
    until = time.monotonic() + _PREPARED_SECONDS
    digest, place = b"clusterledger", 0
    while time.monotonic() < until:
        digest = hashlib.sha256(digest).digest()
        ctypes.memmove(host + place, digest, len(digest))
        place = (place + len(digest)) % (_BATCH - len(digest))


def _send(cuda: Cuda, clock: Clock, work: Work) -> None:
    host, device = cuda.allocate_host(_SENT), cuda.allocate(_SENT)
    while clock.goes_on():
        cuda.send(device, host, _SENT)
        work.sent_bytes += _SENT


def _fill(cuda: Cuda, address: int, size: int) -> None:
    arguments = (ctypes.c_uint64(address), ctypes.c_uint32(size // 4))
    cuda.launch(cuda.kernel(ptx.KERNELS["fill"], "fill"), cuda.multiprocessors * _BLOCKS_EACH, _THREADS, arguments)
    cuda.wait()


@dataclass(frozen=True)
class Workload:
    """One labelled workload; without `play` nothing runs, and without a label it is there for the units alone."""

    means: str
    states: tuple[State, ...]
    bottleneck: Bottleneck | None
    play: Callable[[Cuda, Clock, Work], None] | None
    changes_settings: bool = False


_BUSY: Final[tuple[State, ...]] = ("productive", "underused")

WORKLOADS: Final[dict[str, Workload]] = {
    "idle": Workload("no process on the device", ("unallocated", "allocated_idle"), "idle", None),
    "memory_held": Workload("a process that holds 2 GiB and does nothing", ("held_idle",), "idle", _hold),
    "matmul": Workload("cuBLAS products of 8192 x 8192 halves", ("productive",), "compute_tensor", _matmul),
    "tensor": Workload("products on the tensor pipes, in registers", ("productive",), "compute_tensor", _tensor),
    "copy": Workload("a copy inside of device memory", _BUSY, "dram_bound", _copy),
    "single": Workload("single-precision multiply-adds, no tensor pipe", ("productive",), "compute_other", _single),
    "small_launches": Workload("kernels of one block, some 15 us each", ("underused",), "launch_bound", _small),
    "input_starved": Workload("waits for a batch that one processor prepares", _BUSY, "input_cpu", _starved),
    "send": Workload("host memory to the device: so many bytes over PCIe", _BUSY, None, _send),
    "power_capped": Workload(
        "`tensor` at the lowest power limit", ("productive",), "power_capped", _tensor, changes_settings=True
    ),
}
"""Each workload by its name, in the order in which they are played."""


def play(name: str, seconds: float) -> Work:
    """Play one workload and return what it did.

    Raises: SourceMissing: there is no driver, device or library for it. SourceError: a call fails.
    """
    chosen, work, clock = WORKLOADS[name], Work(), Clock(seconds)
    if chosen.play is None:
        raise ValueError(f"{name} runs nothing")
    cuda = Cuda()
    try:
        chosen.play(cuda, clock, work)
        work.seconds = clock.seconds()
    finally:
        cuda.close()
    return work


if __name__ == "__main__":
    try:
        print(json.dumps(asdict(play(sys.argv[1], float(sys.argv[2])))), flush=True)
    except ClusterLedgerError as error:
        raise SystemExit(str(error)) from None
