"""What all calls of the fake driver share: the scenario's moment, and its refusals."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

from collectors._fake_scenario import Gpu, Incident, Phase, Scenario, Slice


@dataclass(frozen=True)
class Handle:
    """What the calls pass around for a device or a slice."""

    gpu: int
    part: int | None = None


class Core:
    """The binding's constants and structures, each call counted and refused where the scenario says so."""

    NVMLError = pynvml.NVMLError

    def __init__(self, played: Scenario, clock: Callable[[], float]) -> None:
        self._scenario = played
        self._clock = clock
        self._samples: dict[int, tuple[float, Handle, Any]] = {}
        self._watched: dict[int, tuple[float, int]] = {}
        self._told: set[tuple[int, Incident]] = set()
        self._session_begun = clock()
        self.calls: dict[str, int] = {}

    def __getattribute__(self, name: str) -> Any:
        """Wrap each NVML function: count it, and let the scenario refuse it."""
        if not name.startswith("nvml") or name[4:5].islower():
            return object.__getattribute__(self, name)
        try:
            method = object.__getattribute__(self, f"_{name}")
        except AttributeError:
            if name.startswith("nvmlEventType"):
                return getattr(pynvml, name)
            raise

        def call(*arguments: Any) -> Any:
            self.calls[name] = self.calls.get(name, 0) + 1
            self._refuse_session(name)
            if arguments and isinstance(arguments[0], Handle):
                self._refuse(arguments[0], name)
            return method(*arguments)

        return call

    def __getattr__(self, name: str) -> Any:
        """Return the binding's constants and structures."""
        if name.startswith(("NVML_", "c_nvml", "nvmlEventType")) or name == "nvmlMemory_v2":
            return getattr(pynvml, name)
        raise AttributeError(name)

    # -- what the scenario says now

    def _open(self, gpu: int, kind: str) -> list[Incident]:
        now = self._clock()
        return [
            each
            for each in self._scenario.gpus[gpu].incidents
            if each.kind == kind and each.start_seconds <= now < each.end_seconds
        ]

    def _refuse_session(self, call: str) -> None:
        """Refuse everything while there is no driver, and, after it was loaded again, all but a new session."""
        now = self._clock()
        for reload in self._scenario.reloads:
            if reload.start_seconds <= now < reload.end_seconds and call != "nvmlShutdown":
                raise self.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
            is_stale = self._session_begun < reload.start_seconds <= now
            if is_stale and call not in {"nvmlInit", "nvmlShutdown"}:
                raise self.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)

    def _loaded_at(self) -> float:
        """Return when the driver was loaded: since then it counts."""
        now = self._clock()
        return max([each.end_seconds for each in self._scenario.reloads if each.end_seconds <= now], default=0.0)

    def _refuse(self, handle: Handle, call: str) -> None:
        if self._open(handle.gpu, "lost"):
            raise self.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        for incident in self._open(handle.gpu, "error"):
            if incident.call == call:
                raise self.NVMLError(incident.code)

    def _gpu(self, handle: Handle) -> Gpu:
        return self._scenario.gpus[handle.gpu]

    def _slice(self, handle: Handle) -> Slice:
        if handle.part is None:
            raise self.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self._gpu(handle).slices[handle.part]

    def _phases(self, handle: Handle) -> tuple[Phase, ...]:
        return self._gpu(handle).phases if handle.part is None else self._slice(handle).phases

    def _phase(self, handle: Handle, at: float | None = None) -> Phase:
        now = self._clock() if at is None else at
        begun = [phase for phase in self._phases(handle) if phase.start_seconds <= now]
        return begun[-1] if begun else Phase()

    def _integral(self, handle: Handle, name: str, start: float | None = None, end: float | None = None) -> float:
        """Return the time integral of one value of the phases; by default since the driver was loaded."""
        begin = self._loaded_at() if start is None else start
        until = self._clock() if end is None else end
        phases = self._phases(handle)
        ends = [*(phase.start_seconds for phase in phases[1:]), float("inf")]
        return sum(
            float(getattr(phase, name)) * max(0.0, min(stop, until) - max(phase.start_seconds, begin))
            for phase, stop in zip(phases, ends, strict=True)
        )

    def _is_cut(self, handle: Handle) -> bool:
        now = self._clock()
        return handle.part is None and any(
            each.start_seconds <= now < each.end_seconds for each in self._gpu(handle).slices
        )

    def _whole_only(self, handle: Handle) -> None:
        """Refuse what a slice, or a device that is cut, does not have."""
        if handle.part is not None or self._is_cut(handle):
            raise self.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
