"""One matrix product through cuBLAS, where the library is there: what a training step does most."""

import ctypes
import sys
from pathlib import Path
from typing import Final

from bench._gpu_cuda import Cuda
from ledger.errors import SourceError, SourceMissing

_NAMES: Final = ("libcublas.so", "libcublas.so.13", "libcublas.so.12", "libcublas.so.11")
_NO_TRANSPOSE: Final = 0
_HALF, _SINGLE = 2, 0
_SINGLE_COMPUTE: Final = 68
_DEFAULT: Final = -1


class Blas:
    """Products of square matrices of halves, summed in single precision.

    Raises: SourceMissing: the library is not there. SourceError: it fails.
    Source: cuBLAS, cublasGemmEx.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._library = _library()
        self._handle = ctypes.c_void_p()
        self._check("cublasCreate_v2", self._library.cublasCreate_v2(ctypes.byref(self._handle)))

    def multiply(self, left: int, right: int, to: int, size: int) -> None:
        """Start one product and return at once."""
        one, zero = ctypes.c_float(1.0), ctypes.c_float(0.0)
        side = ctypes.c_int(size)
        code = self._library.cublasGemmEx(
            self._handle, _NO_TRANSPOSE, _NO_TRANSPOSE, side, side, side, ctypes.byref(one),
            ctypes.c_void_p(left), _HALF, side, ctypes.c_void_p(right), _HALF, side, ctypes.byref(zero),
            ctypes.c_void_p(to), _HALF, side, _SINGLE_COMPUTE, _DEFAULT,
        )  # fmt: skip
        self._check("cublasGemmEx", code)

    @staticmethod
    def _check(function: str, code: int) -> None:
        if code:
            raise SourceError(f"cuBLAS: {function}: found status {code}, expected success")


def _library() -> ctypes.CDLL:
    """Return the library: the system's, or that of a Python package.

    Raises: SourceMissing: there is none.
    """
    packaged = (path for folder in sys.path for path in sorted(Path(folder).glob("nvidia/*/lib/libcublas.so.*")))
    for name in (*_NAMES, *map(str, packaged)):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise SourceMissing("cuBLAS: libcublas is not installed", hint="install it, or leave this workload out")
