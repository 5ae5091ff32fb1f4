"""Runs the measurements and prints them as one table: `make bench`, or `python -m bench demo day people`."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from statistics import median

from bench import agent, cost_page, ingest, people, prometheus
from bench._measure import Line, child, p95, table
from bench.picture import hub

DEMO_GPUS, DEMO_DAYS = 96, 30
DAY_GPUS = 1_000
MONTH_GPUS, MONTH_JOBS = 1_000, 20_000
BILL_ROWS = 5_000_000
YEAR_GPUS = 96
NODE_SECONDS = 60
FLEET_AGENTS = 2_500
FLEET_SECONDS, LONG_FLEET_SECONDS, HOUR_FLEET_SECONDS = 60, 600, 3_660


def demo(folder: Path) -> list[Line]:
    """Write and roll up the demo in a process of its own."""
    found = child("bench.demo", f"duckdb:{folder / 'demo.duckdb'}", str(DEMO_GPUS), str(DEMO_DAYS))
    what = f"demo, {DEMO_GPUS} GPUs x {DEMO_DAYS} days, written and rolled up"
    return [
        Line(what, f"{found['demo_seconds']:.1f} s", "40 s"),
        Line("  peak memory", f"{found['peak_bytes'] / 1e9:.2f} GB", "1.5 GB"),
    ]


def day(folder: Path) -> list[Line]:
    """Compute a day of many GPUs, beside one plain aggregate of the same rows."""
    url = f"duckdb:{folder / 'day.duckdb'}"
    child("bench.day", "write", url, str(DAY_GPUS))
    found = child("bench.day", "compute", url)
    samples = f"{found['rows'] / 1e6:.1f} M samples"
    what = f"a day of {DAY_GPUS:,} GPUs at 10 s ({samples}), through gpu_hour and allocation_hour"
    parts = [
        Line(f"  {name}", f"{seconds:.2f} s")
        for name, seconds in found.items()
        if name not in {"rows", "seconds", "rollup_seconds", "yardstick_seconds", "peak_bytes"}
    ]
    return [
        Line(what, f"{found['rollup_seconds']:.1f} s", "8 s"),
        *parts,
        Line("  one plain DuckDB aggregate of the same rows, the yardstick", f"{found['yardstick_seconds']:.2f} s"),
        Line("  peak memory", f"{found['peak_bytes'] / 1e9:.2f} GB", "1.5 GB"),
    ]


def bills(folder: Path) -> list[Line]:
    """Import a month's FOCUS bill of a large customer, written as Parquet."""
    path, store = folder / "bill.parquet", f"duckdb:{folder / 'bills.duckdb'}"
    child("bench.bills", "write", str(path), str(BILL_ROWS))
    found = child("bench.bills", "import", store, str(path))
    what = f"a FOCUS bill of {BILL_ROWS / 1e6:.0f} M rows (Parquet, {path.stat().st_size / 1e6:.0f} MB) into the store"
    return [
        Line(what, f"{found['import_seconds']:.1f} s", "60 s"),
        Line("  processor", f"{found['cpu_seconds']:.1f} s"),
        Line("  peak memory", f"{found['peak_bytes'] / 1e9:.2f} GB", "3 GB"),
    ]


def month(folder: Path) -> list[Line]:
    """Divide a month of bills over what many GPUs did for many jobs."""
    url = f"duckdb:{folder / 'month.duckdb'}"
    child("bench.allocation", "write", url, str(MONTH_GPUS), str(MONTH_JOBS))
    found = child("bench.allocation", "compute", url)
    what = f"allocation of a month of {MONTH_GPUS:,} GPUs and {MONTH_JOBS:,} jobs ({found['rows'] / 1e6:.1f} M rows)"
    return [
        Line(what, f"{found['allocation_seconds']:.1f} s", "20 s"),
        Line("  processor", f"{found['processor_seconds']:.1f} s"),
        Line("  allocated less than it cost", f"{found['difference']:g}", "0"),
        Line("  peak memory", f"{found['peak_bytes'] / 1e9:.2f} GB"),
    ]


def year(folder: Path) -> list[Line]:
    """Ask the Cost page for a year of a large bill, over a real websocket, one control changed after the other."""
    url = f"duckdb:{folder / 'year.duckdb'}"
    made = child("bench.cost_page", "write", url, str(folder), str(YEAR_GPUS), str(BILL_ROWS))
    with hub(url) as address:
        found = cost_page.measure(address)
    rows = f"{made['charges'] / 1e6:.1f} M charges, {made['allocation_hour'] / 1e6:.1f} M allocations"
    slowest = max((name for name in found if name.startswith("first ")), key=lambda name: found[name])
    reruns, changes = f"{found['rerun_count']:.0f} reruns", f"{found['changed_count']:.0f} changed choices"
    return [
        Line(f"Cost page on a year ({rows}): p95 of {reruns}", f"{found['rerun_p95_seconds'] * 1000:.0f} ms", "200 ms"),
        Line("  median", f"{found['rerun_median_seconds'] * 1000:.0f} ms"),
        Line(f"  first run of each of {changes}: p95", f"{found['changed_p95_seconds'] * 1000:.0f} ms"),
        Line(f"  the slowest of them, {slowest.removeprefix('first ')}", f"{found[slowest] * 1000:.0f} ms"),
        Line("  another split rule over the year, computed for who asks", f"{found['split_seconds']:.1f} s"),
        Line("  the same told apart by model then", f"{found['split_by_seconds'] * 1000:.0f} ms"),
        Line("  before, its import and all its rollups", f"{made['import_seconds'] + made['rollup_seconds']:.0f} s"),
    ]


def metrics(folder: Path) -> list[Line]:
    """Import a month of a real Prometheus, beside the client library that reads it into lists."""
    if not prometheus.is_here():
        return [Line("import from Prometheus", "not measured: apt-get install prometheus", "4 s")]
    found = prometheus.measure(folder)
    series = f"{found['points'] / 1e6:.2f} M points"
    what = f"{prometheus.DAYS} days of 64 series at {prometheus.STEP} s ({series}) from Prometheus into the store"
    return [
        Line(what, f"{found['import_seconds']:.1f} s", "4 s"),
        Line("  of it, storing", f"{found['kept_seconds']:.2f} s"),
        Line("  the client library, reading them into lists, the yardstick", f"{found['library_seconds']:.1f} s"),
        Line("  peak memory", f"{found['import_peak_bytes'] / 1e9:.2f} GB"),
    ]


def pages(folder: Path) -> list[Line]:
    """Visit a hub on the demo over real websockets: the first visitor, one alone, then twenty."""
    store = folder / "demo.duckdb"
    if not store.exists():
        demo(folder)
    with hub(f"duckdb:{store}") as address:
        found = asyncio.run(people.measure(address))
    alone = [Line(f"  {name}", f"{value * 1000:.0f} ms") for name, value in found.items() if name.startswith("warm ")]
    return [
        Line("first page after `up`", f"{found['first_page_seconds']:.2f} s", "1 s"),
        Line("warm rerun, slowest page", f"{found['warm_rerun_seconds'] * 1000:.0f} ms", "60 ms"),
        *alone,
        Line("20 people, one action each 5 s: median", f"{found['crowd_median_seconds'] * 1000:.0f} ms"),
        Line(f"  p95 of {found['crowd_actions']:.0f} actions", f"{found['crowd_p95_seconds'] * 1000:.0f} ms", "120 ms"),
    ]


def node(folder: Path) -> list[Line]:
    """Run an agent with all collectors at ten seconds, on eight fake GPUs and a node's files, beside node_exporter."""
    del folder
    found = agent.measure(NODE_SECONDS)
    empty = found["without_rows"]
    print(f"collectors that found nothing to read: {', '.join(empty) or 'none'}", file=sys.stderr, flush=True)
    if found["failed"]:
        raise SystemExit(f"bench: collectors failed: {found['failed']}")
    beside = "  node_exporter beside it, for the host's part"
    return [
        Line(
            f"agent, {found['collectors']} collectors at 10 s, {found['collectors'] - len(empty)} of them with rows, "
            "8 GPUs: processor",
            f"{found['agent_core_ratio']:.2%} of a core",
            "0.5 %",
        ),
        Line(beside, f"{found['exporter_core_ratio']:.2%} of a core"),
        Line("  resident memory", f"{found['agent_resident_bytes'] / 1e6:.0f} MB", "60 MB"),
        Line(beside, f"{found['exporter_resident_bytes'] / 1e6:.0f} MB"),
        Line("  a round of all collectors", f"{found['agent_round_seconds'] * 1000:.0f} ms", "50 ms"),
        Line(beside, f"{found['exporter_round_seconds'] * 1000:.0f} ms"),
    ]


def fleet(folder: Path, seconds: float = FLEET_SECONDS) -> list[Line]:
    """Let a hub take what a fleet sends, with people on its pages; the demo is what they look at."""
    if not (folder / "demo.duckdb").exists():
        demo(folder)
    store = folder / "fleet.duckdb"
    shutil.copyfile(folder / "demo.duckdb", store)
    found = ingest.measure(f"duckdb:{store}", agents=FLEET_AGENTS, seconds=seconds, readers=20)
    third = len(found["resident"]) // 3
    thirds = [found["resident"][-2 * third : -third], found["resident"][-third:]]
    held, most = (", ".join(f"{of(part) / 1e6:.0f} MB" for part in thirds) for of in (median, max))
    rows = sum(found["sent"].values())
    slowest = max(found["minutes"], key=itemgetter("p99_seconds"))
    lost = sum(abs(count) for count in found["lost"].values())
    what = f"hub, {FLEET_AGENTS:,} agents x 8 GPUs at 10 s for {seconds / 60:.0f} min ({rows / 1e6:.1f} M rows)"
    return [
        Line(f"{what}: acknowledged, median", f"{found['p50_seconds'] * 1000:.0f} ms"),
        Line("  p99", f"{found['p99_seconds'] * 1000:.0f} ms", "1 s"),
        Line(f"  p99 of its slowest minute, {slowest['clock']} UTC", f"{slowest['p99_seconds'] * 1000:.0f} ms"),
        Line("  p99 of the minute before, in which they begin", f"{found['ramp_p99_seconds'] * 1000:.0f} ms"),
        Line("  rows lost or stored twice", f"{lost}", "0"),
        Line(
            "  batches given up, refused for a while", f"{found['given_up']}, {sum(found['refused'].values())}", "0, -"
        ),
        Line("  resident in its second third and in its last, median", held, "flat"),
        Line("  the most in each, while rollups run", most),
        Line("  processor", f"{(found['cpu'][-1] - found['cpu'][0]) / (len(found['cpu']) - 1):.2f} cores"),
        Line("  processors that the machine's host gave to others meanwhile", f"{found['stolen_ratio']:.1%}"),
        Line("  20 people's pages meanwhile, p95", f"{p95(found['pages']) * 1000:.0f} ms", "150 ms"),
    ]


MEASUREMENTS: dict[str, Callable[[Path], list[Line]]] = {
    "demo": demo,
    "day": day,
    "allocation": month,
    "bills": bills,
    "cost-page": year,
    "prometheus": metrics,
    "people": pages,
    "agent": node,
    "ingest": fleet,
    "ingest-long": partial(fleet, seconds=LONG_FLEET_SECONDS),
    "ingest-hour": partial(fleet, seconds=HOUR_FLEET_SECONDS),
}
ONLY_WHEN_NAMED = {"ingest-long", "ingest-hour"}


def main(names: list[str]) -> None:
    """Run the named measurements, or all."""
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        raise SystemExit(f"bench: found {', '.join(unknown)}, expected some of {', '.join(MEASUREMENTS)}")
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="clusterledger-bench-") as folder:
        for name in names or [name for name in MEASUREMENTS if name not in ONLY_WHEN_NAMED]:
            print(f"measuring {name}", file=sys.stderr, flush=True)
            lines += MEASUREMENTS[name](Path(folder))
    print(table(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
