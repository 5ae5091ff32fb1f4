"""The recordings as text: what each workload looked like, what sampling cost, and what the units are."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench._gpu_smi import mean

_SHOWN: Final = {
    "kernel_active_ratio": "duty cycle",
    "graphics_active_ratio": "graphics",
    "sm_active_ratio": "SM",
    "tensor_active_ratio": "tensor",
    "single_active_ratio": "FP32",
    "dram_active_ratio": "DRAM",
}
_NOTHING: Final = "–"


def report(found: Sequence[Mapping[str, Any]], left_out: Mapping[str, str]) -> str:
    """Return three tables: the workloads, the calls of the driver, and the checks; and what was left out."""
    parts = [_workloads(found), _calls(found), _checks(found)] if found else []
    if left_out:
        parts.append("Left out:\n" + "\n".join(f"* {name}: {why}" for name, why in left_out.items()))
    return "\n\n".join(parts)


def _workloads(found: Sequence[Mapping[str, Any]]) -> str:
    source = found[0]["provenance"]
    head = ["workload", "expected", "grade", *_SHOWN.values(), "W", "off nvidia-smi", "round"]
    rows = []
    for each in found:
        steady = [row for row in each["samples"] if row["offset_seconds"] >= each["settle_seconds"]]
        watts, rounds = mean(steady, "power_watts"), sorted(each["cost"]["round_seconds"])
        rows.append(
            [
                each["workload"],
                each["expected_bottleneck"] or _NOTHING,
                "/".join(sorted({str(row["evidence_quality"]) for row in steady})) or _NOTHING,
                *(_share(mean(steady, name)) for name in _SHOWN),
                _NOTHING if watts is None else f"{watts:.0f}",
                _furthest(each["compared"]),
                f"{rounds[len(rounds) // 2] * 1000:.1f} ms",
            ]
        )
    title = f"{source['gpu_model']}, driver {source['driver_version']}; GPM as an ordinary user: "
    return f"{title}{source['gpm_of_an_ordinary_user']}\n\n{_table(head, rows)}"


def _calls(found: Sequence[Mapping[str, Any]]) -> str:
    """Return what each function costs: the middle over the workloads, and the longest call of all."""
    names = sorted({name for each in found for name in each["cost"]["calls"]})
    rows = []
    for name in names:
        of = [each["cost"]["calls"][name] for each in found if name in each["cost"]["calls"]]
        middle = sorted(call["median_seconds"] for call in of)[len(of) // 2]
        longest = max(call["longest_seconds"] for call in of)
        rows.append([name, f"{sum(call['calls'] for call in of)}", f"{middle * 1e6:.0f} us", f"{longest * 1e6:.0f} us"])
    return _table(["call", "times", "median", "longest"], rows)


def _checks(found: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [each["workload"], check["question"], _number(check["measured"]), _number(check["known"]), check["verdict"]]
        for each in found
        for check in each["checks"]
    ]
    return _table(["workload", "question", "measured", "known", "answer"], rows)


def _furthest(compared: Sequence[Mapping[str, Any]]) -> str:
    """Return the column that lies furthest from what nvidia-smi says."""
    known = [each for each in compared if each["difference_ratio"] is not None]
    if not known:
        return "not compared"
    most = max(known, key=lambda each: abs(each["difference_ratio"]))
    return f"{most['difference_ratio']:+.1%} {most['column']}"


def _share(ratio: float | None) -> str:
    return _NOTHING if ratio is None else f"{ratio:.0%}"


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.6g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
