"""Records what the nvml collector says of a real GPU while known work runs on it: `make bench-gpu`.

Each workload is played by a process of its own, through the CUDA driver alone; meanwhile the collector samples once a
second, and nvidia-smi beside it. Written is one JSON file for each workload: the series, what each call cost, both
tools side by side, and in which units the driver counts. They are fixtures, and what a classifier can learn from.
"""

import argparse
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from bench._gpu_checks import checks
from bench._gpu_machine import Device, device, lowest_power, provenance, unprivileged
from bench._gpu_record import Raw, Recorder, Series, Timed
from bench._gpu_report import report
from bench._gpu_smi import beside, compared
from bench._gpu_work import BEGUN, WORKLOADS, Work
from collectors.node._nvml_library import binding
from collectors.node.nvml import NvmlSettings, nvml
from ledger.errors import ClusterLedgerError, ConfigError, SourceError, SourceMissing

FORMAT: Final = 1
_SETTLE_SECONDS: Final = 3.0

_START_SECONDS: Final = 180.0
_TAIL_SECONDS: Final = 1.0


@dataclass
class Played:
    """What a workload's process said of itself."""

    work: Work = field(default_factory=Work)


@dataclass(frozen=True)
class Plan:
    """What to record, and where it goes."""

    names: tuple[str, ...] = tuple(WORKLOADS)
    folder: Path = Path("var/gpu")
    rounds: int = 30
    pace: float = 1.0
    device: str = "0"
    may_change_settings: bool = False

    @property
    def settle(self) -> float:
        """Return after how long a device does what its workload asks, and averages hold nothing of before."""
        return min(_SETTLE_SECONDS, self.rounds * self.pace / 3)


def record_all(
    plan: Plan,
    library: Any = None,
    *,
    say: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Record each workload of a plan; return the recordings, and why others were left out.

    Raises: SourceMissing: there is no driver or GPU. SourceError: the driver fails. ConfigError: no such device.
    """
    asked = binding() if library is None else library
    of_others = unprivileged(asked, plan.device, sleep)
    timed = Timed(asked)
    one_round = nvml.open(settings=NvmlSettings(health_every_rounds=10), library=timed, clock=clock)
    chosen = device(timed.library, plan.device)
    recorder = Recorder(one_round, Raw(timed.library, chosen.handle), chosen.uuid, plan.pace, clock, sleep)
    source = {**provenance(timed.library, chosen), "gpm_of_an_ordinary_user": of_others}
    found, left_out = [], {}
    for name in plan.names:
        say(f"recording {name}")
        try:
            found.append(_record(name, plan, chosen, timed, recorder) | {"provenance": source})
        except ClusterLedgerError as error:
            left_out[name] = error.message
            say(f"  left out: {error.message}")
    return found, left_out


def _record(name: str, plan: Plan, chosen: Device, timed: Timed, recorder: Recorder) -> dict[str, Any]:
    """Return the recording of one workload, without where it comes from.

    Raises: SourceMissing, SourceError: what the workload or the collector needs is not there, or fails.
    """
    workload = WORKLOADS[name]
    if workload.changes_settings and not plan.may_change_settings:
        raise ConfigError("it changes the board's power limit: allow it with --power-cap")
    limited = lowest_power(timed.library, chosen) if workload.changes_settings else nullcontext()
    seconds = plan.rounds * plan.pace + _TAIL_SECONDS
    played: Any = playing(name, seconds, chosen.uuid) if workload.play else nullcontext(Played())
    with limited, played as process, beside(chosen.uuid, plan.pace) as theirs:
        timed.forget()
        series = recorder.record(plan.rounds)
    steady = series.steady(plan.settle)
    work: Work = process.work
    sent = work.sent_bytes / work.seconds if work.seconds else 0.0
    settled = [row for row in series.raw if row["offset_seconds"] >= plan.settle]
    both = compared(steady, theirs[round(plan.settle / plan.pace) :])
    return {
        "format": FORMAT,
        "workload": name,
        "means": workload.means,
        "expected_states": list(workload.states),
        "expected_bottleneck": workload.bottleneck,
        "pace_seconds": plan.pace,
        "settle_seconds": plan.settle,
        "work": asdict(work),
        "samples": series.samples,
        "health": series.health,
        "raw": series.raw,
        "nvidia_smi": theirs,
        "compared": [{**asdict(each), "difference_ratio": each.difference} for each in both],
        "cost": _cost(series, timed),
        "checks": [asdict(each) for each in checks(settled, steady, sent)],
    }


def _cost(series: Series, timed: Timed) -> dict[str, Any]:
    """Return what sampling cost: each round as a whole, and each function of the driver."""
    return {
        "round_seconds": series.round_seconds,
        "processor_seconds": series.processor_seconds,
        "calls": timed.calls(),
    }


@contextmanager
def playing(name: str, seconds: float, uuid: str) -> Iterator[Played]:
    """Play a workload in a process of its own; the block begins with the work, and what was done is there after it.

    Raises: SourceError: it does not begin, or does not end as it should.
    """
    command = [sys.executable, "-m", "bench._gpu_work", name, str(seconds)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": uuid, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[1],
    )
    played = Played()
    try:
        _wait_until_begun(process)
        yield played
        out, error = process.communicate(timeout=seconds + _START_SECONDS)
        if process.returncode:
            raise SourceError(_first_line(error) or f"{name}: ended with {process.returncode}")
        played.work = Work(**json.loads(out.strip().splitlines()[-1]))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _wait_until_begun(process: "subprocess.Popen[str]") -> None:
    """Wait for the line that says that the work has begun.

    Raises: SourceError: the process ended first, or takes too long.
    """
    assert process.stdout is not None  # noqa: S101  for the type checker: it is a pipe
    ready, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
    said = process.stdout.readline().strip() if ready else ""
    if said != BEGUN:
        process.kill()
        _, error = process.communicate()
        raise SourceError(_first_line(error) or f"found {said!r}, expected the work to begin")


def _first_line(text: str) -> str:
    """Return the first line of what a process complained of, or the last of a traceback."""
    lines = text.strip().splitlines()
    if not lines:
        return ""
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def write(found: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write a file for each recording, named by model, driver and workload; return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for each in found:
        source = each["provenance"]
        parts = (source["gpu_model"], source["driver_version"], each["workload"])
        name = "__".join(re.sub(r"[^a-z0-9.]+", "-", str(part or "unknown").lower()).strip("-") for part in parts)
        path = folder / f"{name}.json"
        path.write_text(json.dumps(each, indent=1, default=str, allow_nan=False) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def _plan(arguments: Sequence[str]) -> Plan:
    """Return what the command line asks for."""
    catalogue = "\n".join(f"  {name:<16}{each.means}" for name, each in WORKLOADS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description=__doc__,
        epilog=f"workloads, in this order:\n{catalogue}\n\nNothing else should use the device meanwhile.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    given = Plan()
    parser.add_argument("names", nargs="*", metavar="WORKLOAD", help="record these alone; by default all")
    parser.add_argument("--out", type=Path, default=given.folder, help="folder of the recordings (%(default)s)")
    parser.add_argument("--rounds", type=int, default=given.rounds, help="samples of each workload (%(default)s)")
    parser.add_argument("--pace", type=float, default=given.pace, help="seconds between samples (%(default)s)")
    parser.add_argument("--device", default=given.device, help="index or UUID of the device (%(default)s)")
    parser.add_argument(
        "--power-cap",
        action="store_true",
        help="allow `power_capped`, the one workload that changes a setting of the board: it lowers the power limit "
        "and sets it back; needs root",
    )
    said = parser.parse_args(arguments)
    unknown = [name for name in said.names if name not in WORKLOADS]
    if unknown:
        parser.error(f"found {', '.join(unknown)}, expected some of {', '.join(WORKLOADS)}")
    if said.rounds < 1 or not said.pace > 0:
        parser.error(f"found {said.rounds} rounds at {said.pace} s, expected both above 0")
    return Plan(tuple(said.names) or given.names, said.out, said.rounds, said.pace, said.device, bool(said.power_cap))


def main(arguments: Sequence[str]) -> int:
    """Record, write, and print one table; return the exit status."""
    plan = _plan(arguments)
    try:
        found, left_out = record_all(plan, say=lambda line: print(line, file=sys.stderr, flush=True))
    except SourceMissing as missing:
        print(f"bench.gpu: {missing.message}\n  hint: run it where nvidia-smi lists a GPU", file=sys.stderr)
        return missing.exit_code
    except ClusterLedgerError as error:
        print(f"bench.gpu: {error}", file=sys.stderr)
        return error.exit_code
    for path in write(found, plan.folder):
        print(f"written: {path}", file=sys.stderr)
    print(report(found, left_out))
    return 0 if found else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
