"""Metrics from a real Prometheus and a real VictoriaMetrics: units, gaps, labels, blanks, windows."""

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.cluster.prometheus import PrometheusSettings, prometheus
from ledger.errors import ConfigError
from ledger.store import Store
from ledger.tables import (
    TABLES,
    BlockDeviceSample,
    Gpu,
    GpuEvent,
    GpuHealthSample,
    GpuSample,
    HostSample,
    JobCgroupSample,
    MountSample,
    NetworkPortSample,
    NumaSample,
    PowerSample,
    PressureSample,
    TcpSample,
)
from tests.collectors.cluster.prometheus_server import at, open_metrics, prometheus_of, series, victoria_metrics_of

pytestmark = pytest.mark.xdist_group("prometheus")

STEPS = range(10)
MIB = 2**20
UID = "0f8da95e-e976-4aea-aeb6-80e58a1b0c44"

GPU0 = {"UUID": "GPU-0", "gpu": "0", "modelName": "NVIDIA H100", "Hostname": "n1", "instance": "10.0.0.1:9400"}
GPU1 = {"UUID": "GPU-1", "gpu": "1", "modelName": "NVIDIA H100", "Hostname": "n1", "instance": "10.0.0.1:9400"}
SLICE = {**GPU1, "GPU_I_ID": "3", "GPU_I_PROFILE": "3g.40gb"}
NODE = {"instance": "10.0.0.1:9100", "job": "node"}
POD = {"id": f"/kubepods/burstable/pod{UID}", "node": "n1", "pod": "train-0", "namespace": "vision", "container": ""}
SLICED = POD | {"id": f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID.replace('-', '_')}.slice"}

Values = dict[float, float | str]


def flat(value: float) -> Values:
    return dict.fromkeys(STEPS, value)


def growing(by: float, start: float = 0.0) -> Values:
    return {step: start + by * step for step in STEPS}


def gpus() -> Iterator[tuple[str, list[str]]]:
    """Two devices of a node; the second one is cut, and the first was silent for three minutes."""
    yield series("DCGM_FI_DEV_GPU_UTIL", GPU0, {step: 55 for step in STEPS if step not in {4, 5, 6}})
    yield series("DCGM_FI_DEV_ENC_UTIL", GPU0, flat(0))
    yield series("DCGM_FI_DEV_DEC_UTIL", GPU0, flat(60) | {3: 2147483632})
    yield series("DCGM_FI_DEV_DEC_UTIL", SLICE, flat(40))
    yield series("DCGM_FI_DEV_FB_USED", GPU0, flat(1024))
    yield series("DCGM_FI_DEV_FB_FREE", GPU0, flat(80_000))
    yield series("DCGM_FI_DEV_FB_RESERVED", GPU0, flat(535))
    yield series("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", GPU0, growing(30_000_000, 5_000_000_000))
    yield series("DCGM_FI_DEV_MEMORY_TEMP", GPU0, flat(9223372036854775794))
    yield series("DCGM_FI_DEV_GPU_TEMP", GPU0, flat(2147483632))
    yield series("DCGM_FI_DEV_POWER_USAGE", GPU0, flat(140737488355330.0) | {3: 321.5})
    yield series("DCGM_FI_DEV_SM_CLOCK", GPU0, flat(1980))
    yield series("DCGM_FI_PROF_SM_ACTIVE", GPU0, {2: 0.625, 3: "NaN"})
    yield series("DCGM_FI_DEV_ROW_REMAP_FAILURE", GPU0, flat(0) | {9: 1})
    yield series("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", GPU0, growing(1))
    yield series("DCGM_FI_DEV_THERMAL_VIOLATION", GPU0, growing(30e9, 7e9))
    # Pages retired for two reasons: of the second device one alone is told, of the first one both until the fifth step.
    yield series("DCGM_FI_DEV_RETIRED_SBE", GPU0, flat(3))
    yield series("DCGM_FI_DEV_RETIRED_DBE", GPU0, dict.fromkeys(range(5), 2) | {4: 0})
    yield series("DCGM_FI_DEV_RETIRED_SBE", GPU1, flat(1))
    # Mapped jobs: the exporter tells each value once for each of them.
    for job in ("7", "8"):
        yield series("DCGM_FI_DEV_FB_USED", GPU1 | {"hpc_job": job}, flat(2048))
    yield series("DCGM_FI_PROF_GR_ENGINE_ACTIVE", SLICE, flat(0.25) | {5: 1.02})
    # The last Xid is told for ever: 31 is of unknown age, 79 comes at the sixth step, and once more after a zero.
    xids = {0: 31, 1: 31, 2: 31, 3: 31, 4: 31, 5: 31, 6: 79, 7: 79, 8: 0, 9: 79}
    yield series("DCGM_FI_DEV_XID_ERRORS", GPU0, xids)
    yield series("DCGM_FI_DEV_XID_ERRORS", GPU1, flat(0) | {-1: 0, 0: 13})


def node() -> Iterator[tuple[str, list[str]]]:
    """One node under the address of its scrape, which tells its name."""
    yield series("node_uname_info", NODE | {"nodename": "n1"}, flat(1))
    for cpu in ("0", "1"):
        for mode, by in {
            "user": 10,
            "nice": 1,
            "system": 2,
            "irq": 0.5,
            "softirq": 0.5,
            "idle": 40,
            "iowait": 3,
        }.items():
            yield series("node_cpu_seconds_total", NODE | {"cpu": cpu, "mode": mode}, growing(by, 100))
    simple = {"load1": 3.5, "memory_MemTotal_bytes": 2**40, "memory_MemAvailable_bytes": 2**39}
    simple |= {"memory_SwapTotal_bytes": 2**30, "memory_SwapFree_bytes": 2**29, "netstat_Tcp_RetransSegs": 17}
    for name, value in simple.items():
        yield series(f"node_{name}", NODE, flat(value))
    yield series("node_time_seconds", NODE, {step: 1_000_000 + 60 * step for step in STEPS})
    yield series("node_boot_time_seconds", NODE, flat(400_000))
    yield series("node_pressure_io_waiting_seconds_total", NODE, growing(6))
    yield series("node_pressure_io_stalled_seconds_total", NODE, growing(3))
    for device in ("eth0", "lo", "veth12", "bond0", "docker0"):
        yield series("node_network_receive_bytes_total", NODE | {"device": device}, growing(1e9))
    yield series("node_network_speed_bytes", NODE | {"device": "eth0"}, flat(-125_000) | {1: 1.25e9})
    yield series("node_network_up", NODE | {"device": "eth0"}, flat(1))
    port = NODE | {"device": "mlx5_0", "port": "1"}
    yield series("node_infiniband_port_data_received_bytes_total", port, growing(4e9))
    yield series("node_infiniband_state_id", port, flat(4) | {2: 1})
    yield series("node_infiniband_rate_bytes_per_second", port, flat(5e10))
    for device in ("nvme0n1", "nvme0n1p1", "sda", "sda1", "dm-0"):
        yield series("node_disk_read_bytes_total", NODE | {"device": device}, growing(1e6))
    for place, kind in {"/": "ext4", "/run": "tmpfs", "/scratch": "lustre"}.items():
        labels = NODE | {"mountpoint": place, "device": f"dev{place}", "fstype": kind}
        yield series("node_filesystem_size_bytes", labels, flat(1e12))
        yield series("node_filesystem_device_error", labels, flat(0))
    yield series("node_rapl_package_joules_total", NODE | {"index": "0", "path": "p"}, growing(6000))


def pods() -> Iterator[tuple[str, list[str]]]:
    """A pod, with its container and the cgroup above it."""
    for labels in (
        POD,
        POD | {"id": POD["id"] + "/" + "a" * 64, "container": "main"},
        POD | {"id": "/kubepods", "pod": ""},
    ):
        yield series("container_cpu_usage_seconds_total", labels | {"cpu": "total"}, growing(60))
    yield series("container_memory_usage_bytes", POD, flat(2**33))
    yield series("container_spec_memory_limit_bytes", POD, flat(0))
    for device in ("/dev/sda", "/dev/sdb"):
        yield series("container_fs_reads_bytes_total", POD | {"device": device}, growing(500))
    yield series("container_memory_usage_bytes", SLICED | {"node": "n2"}, flat(2**32))


SAMPLES = open_metrics([*gpus(), *node(), *pods()])


@pytest.fixture(scope="module", params=["prometheus", "victoria-metrics"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server that has the samples."""
    start = prometheus_of if request.param == "prometheus" else victoria_metrics_of
    with start(tmp_path_factory.mktemp("server") / "it", SAMPLES) as address:
        yield address


def settings(url: str, **others: object) -> PrometheusSettings:
    return PrometheusSettings.model_validate(
        {"kind": "prometheus", "cluster": "c", "url": url, "delay_seconds": 0, **others}
    )


@pytest.fixture(scope="module")
def frames(url: str) -> dict[str, pl.DataFrame]:
    """Return all tables of one pull, after the store's door."""
    pieces = list(prometheus.open(settings(url))(at(-1), at(9)))
    assert len(pieces) == 1
    assert pieces[0].reached_at == at(9)
    with Store.open("duckdb::memory:") as store:
        written = store.append_together(pieces[0].frames, source="test")
        assert {name: each.rejected for name, each in written.items() if each.rejected} == {}
        found = {name: store.read(TABLES[name].schema) for name in written}
    return found | {"remarks": pl.DataFrame({"text": pieces[0].remarks}, schema={"text": pl.String})}


def of(frames: dict[str, pl.DataFrame], schema: type, **keys: str) -> pl.DataFrame:
    """Return the rows of a table with these keys, by time."""
    name = next(name for name, table in TABLES.items() if table.schema is schema)
    return frames[name].filter(**keys).sort("sampled_at") if keys else frames[name].sort("sampled_at")


def test_units_of_dcgm_become_ours(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, GpuSample, gpu_uuid="GPU-0")
    assert rows["sampled_at"].to_list() == [at(step) for step in STEPS]
    assert set(rows["node"]) == {"n1"}
    assert set(rows["cluster"]) == {"c"}
    assert set(rows["step_seconds"]) == {60.0}
    assert set(rows["status"]) == {"ok"}
    assert set(rows["memory_used_bytes"]) == {1024 * MIB}
    assert set(rows["memory_total_bytes"]) == {(1024 + 80_000 + 535) * MIB}
    assert rows["energy_joules_total"].to_list() == [5_000_000 + 30_000 * step for step in STEPS]
    assert set(rows["sm_clock_hertz"]) == {1.98e9}


def test_a_gap_is_null_and_never_the_last_value_again(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, GpuSample, gpu_uuid="GPU-0")
    assert rows["kernel_active_ratio"].to_list() == [0.55] * 4 + [None] * 3 + [0.55] * 3
    assert rows["sm_active_ratio"].to_list() == [None, None, 0.625, *[None] * 7]


def test_blanks_of_dcgm_are_null(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, GpuSample, gpu_uuid="GPU-0")
    assert rows["memory_temperature_celsius"].null_count() == rows["temperature_celsius"].null_count() == 10
    assert rows["power_watts"].to_list() == [None, None, None, 321.5, *[None] * 6]


def test_the_quality_of_evidence_follows_what_was_measured(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, GpuSample, gpu_uuid="GPU-0")
    assert rows["evidence_quality"].to_list() == ["C", "C", "A", "C", "X", "X", "X", "C", "C", "C"]


def test_a_device_that_is_told_once_for_each_job_is_one_row(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, GpuSample, gpu_uuid="GPU-1")
    assert rows.height == 10
    assert set(rows["memory_used_bytes"]) == {2048 * MIB}


def test_a_slice_is_a_device_and_a_value_beyond_its_column_is_null_and_said(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, GpuSample, gpu_uuid="GPU-1-gi-3")
    assert rows["graphics_active_ratio"].to_list() == [0.25] * 5 + [None] + [0.25] * 4
    assert "GpuSample.graphics_active_ratio: 1 values that it cannot hold, such as 1.02" in list(
        frames["remarks"]["text"]
    )


def test_video_engines_are_of_the_board_and_in_shares(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, GpuSample, gpu_uuid="GPU-0")
    assert set(rows["encoder_active_ratio"]) == {0.0}
    assert rows["decoder_active_ratio"].to_list() == [0.6] * 3 + [None] + [0.6] * 6
    assert set(of(frames, GpuSample, gpu_uuid="GPU-1")["decoder_active_ratio"]) == {0.4}
    assert of(frames, GpuSample, gpu_uuid="GPU-1-gi-3")["decoder_active_ratio"].null_count() == 10


def test_health_is_flags_and_counts(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, GpuHealthSample, gpu_uuid="GPU-0")
    assert rows["is_remap_failed"].to_list() == [False] * 9 + [True]
    assert rows["pcie_replay_count_total"].to_list() == [float(step) for step in STEPS]


def test_retired_pages_are_those_of_both_reasons_and_unknown_where_one_is(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, GpuHealthSample, gpu_uuid="GPU-0")
    assert rows["retired_page_count"].to_list() == [5, 5, 5, 5, 3, *[None] * 5]
    assert set(of(frames, GpuHealthSample, gpu_uuid="GPU-1")["retired_page_count"]) == {None}


def test_the_inventory_has_whole_devices_slices_and_what_no_slice_takes(frames: dict[str, pl.DataFrame]) -> None:
    rows = {row["gpu_uuid"]: row for row in frames["gpu"].iter_rows(named=True)}
    assert set(rows) == {"GPU-0", "GPU-1-gi-3", "GPU-1-rest"}
    whole, part, rest = rows["GPU-0"], rows["GPU-1-gi-3"], rows["GPU-1-rest"]
    assert (whole["gpu_model"], whole["gpu_index"], whole["exists_start"]) == ("NVIDIA H100", 0, at(0))
    assert (whole["parent_gpu_uuid"], whole["gpu_fraction"]) == ("", 1)
    assert whole["memory_total_bytes"] == (1024 + 80_000 + 535) * MIB
    assert (part["parent_gpu_uuid"], part["mig_profile"]) == ("GPU-1", "3g.40gb")
    assert part["gpu_fraction"] + rest["gpu_fraction"] == 1
    # Half of its memory goes with three sevenths of its processors.
    assert part["gpu_fraction"] == Decimal("0.5")


def test_a_new_xid_is_one_event_and_one_of_unknown_age_is_none(frames: dict[str, pl.DataFrame]) -> None:
    events = frames["gpu_event"].sort("occurred_at")
    told = events.select("occurred_at", "gpu_uuid", "xid_code", "is_critical").rows()
    assert told == [(at(0), "GPU-1", 13, False), (at(6), "GPU-0", 79, True), (at(9), "GPU-0", 79, True)]


def test_processors_are_added_up_under_the_name_that_the_node_gives_itself(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, HostSample)
    assert set(rows["node"]) == {"n1"}
    assert set(rows["cpu_count"]) == {2}
    assert rows["cpu_user_seconds_total"].to_list() == [400 + 22 * step for step in STEPS]
    assert rows["cpu_system_seconds_total"].to_list() == [600 + 6 * step for step in STEPS]
    assert rows["cpu_idle_seconds_total"].to_list() == [200 + 80 * step for step in STEPS]
    assert rows["cpu_steal_seconds_total"].null_count() == 10
    assert set(rows["swap_used_bytes"]) == {2.0**29}
    assert rows["uptime_seconds"].to_list() == [600_000 + 60 * step for step in STEPS]
    assert set(of(frames, TcpSample)["retransmitted_segment_count_total"]) == {17}


def test_pressure_has_a_row_for_each_resource(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, PressureSample)
    assert set(rows["resource"]) == {"io"}
    assert rows["some_seconds_total"].to_list() == [6.0 * step for step in STEPS]
    assert rows["full_seconds_total"].to_list() == [3.0 * step for step in STEPS]


def test_only_ports_and_disks_of_the_node_itself_count(frames: dict[str, pl.DataFrame]) -> None:
    ports = of(frames, NetworkPortSample)
    assert set(ports["device"]) == {"eth0", "mlx5_0"}
    fast = ports.filter(device="mlx5_0")
    assert fast["is_up"].to_list() == [step != 2 for step in STEPS]
    assert set(fast["line_rate_bytes_per_second"]) == {5e10}
    assert set(fast["link_layer"]) == {"InfiniBand"}
    assert ports.filter(device="eth0")["line_rate_bytes_per_second"].to_list() == [None, 1.25e9, *[None] * 8]
    assert ports.filter(device="eth0")["is_up"].to_list() == [True] * 10
    assert set(of(frames, BlockDeviceSample)["device"]) == {"nvme0n1", "sda"}
    mounts = of(frames, MountSample)
    assert set(mounts["mount_point"]) == {"/", "/scratch"}
    assert set(mounts["filesystem_type"]) == {"ext4", "lustre"}
    assert set(mounts["is_responding"]) == {True}
    power = of(frames, PowerSample)
    assert set(power["power_source"]) == {"rapl:package-0"}
    assert set(power["is_overlapping"]) == {False}


def test_a_pod_is_its_own_cgroup_without_those_inside_and_above(frames: dict[str, pl.DataFrame]) -> None:
    rows = of(frames, JobCgroupSample)
    assert set(rows["job_id"]) == {UID}
    first = rows.filter(node="n1")
    assert first["cpu_seconds_total"].to_list() == [60.0 * step for step in STEPS]
    assert first["read_bytes_total"].to_list() == [1000.0 * step for step in STEPS]
    assert first["memory_limit_bytes"].null_count() == 10
    assert set(rows.filter(node="n2")["memory_used_bytes"]) == {2.0**32}


def test_pulls_in_turn_give_what_one_gives_and_each_row_once(url: str, frames: dict[str, pl.DataFrame]) -> None:
    pull, known, rows = prometheus.open(settings(url)), at(-1), 0
    with Store.open("duckdb::memory:") as store:
        for until in (at(2), at(2.5), at(3), at(9)):
            for piece in pull(known, until):
                written = store.append_together(piece.frames, source="test")
                rows += written["gpu_sample"].rows
                assert sum(each.duplicates + each.rejected for each in written.values()) == 0
                known = piece.reached_at
        assert known == at(9)
        assert rows == frames["gpu_sample"].height
        assert store.read(GpuSample).equals(frames["gpu_sample"])
        assert store.read(GpuEvent).equals(frames["gpu_event"])


def test_a_long_time_is_read_in_windows_that_share_no_instant(url: str) -> None:
    fine = settings(url, step_seconds=1, tables=("tcp_sample",))
    pieces = list(prometheus.open(fine)(at(-400), at(9)))
    assert [piece.reached_at for piece in pieces] == [at(-400 + 10_000 / 60), at(-400 + 20_000 / 60), at(9)]
    found = pl.concat([piece.frames[TcpSample] for piece in pieces if piece.frames])
    # One sample is one row, however fine the steps are.
    assert found["sampled_at"].to_list() == [at(step) for step in STEPS]


def test_samples_between_steps_count_for_the_step_after_them(tmp_path: Path) -> None:
    between: Values = {step - 0.5: step for step in STEPS}
    with prometheus_of(tmp_path / "it", open_metrics([series("node_load1", NODE, between)])) as url:
        piece = next(prometheus.open(settings(url))(at(-1), at(9)))
        steady = piece.frames[HostSample]
        assert steady["load_average_count"].to_list() == list(STEPS)
        assert steady["sampled_at"].to_list() == [at(step) for step in STEPS]
        assert set(steady["node"]) == {"10.0.0.1"}


def test_a_configured_metric_joins_the_rows_of_its_table(url: str) -> None:
    own = {
        "metric": "DCGM_FI_DEV_PCIE_REPLAY_COUNTER",
        "table": "gpu_sample",
        "column": "performance_state_index",
        "keys": {"gpu_uuid": "UUID"},
        "times": 2,
    }
    piece = next(prometheus.open(settings(url, metrics=[own], tables=["gpu_sample"]))(at(-1), at(9)))
    assert set(piece.frames) == {GpuSample, Gpu}
    rows = piece.frames[GpuSample].filter(gpu_uuid="GPU-0").sort("sampled_at")
    assert rows["performance_state_index"].to_list() == [2 * step for step in STEPS]
    assert set(rows["memory_used_bytes"]) == {1024 * MIB}


def test_time_of_throttling_comes_where_a_site_says_its_unit_and_not_by_itself(
    url: str, frames: dict[str, pl.DataFrame]
) -> None:
    counters = [name for name in GpuSample.column_names() if name.endswith("_throttle_seconds_total")]
    assert all(frames["gpu_sample"][name].is_null().all() for name in counters)
    # The example of docs/sources.md.
    text = (Path(__file__).parents[3] / "docs/sources.md").read_text()
    (block,) = (part for part in text.split("```") if "DCGM_FI_DEV_THERMAL_VIOLATION" in part and "[[" in part)
    (own,) = tomllib.loads(block.removeprefix("toml"))["sources"]["metrics"]["metrics"]
    piece = next(prometheus.open(settings(url, metrics=[own], tables=["gpu_sample"]))(at(-1), at(9)))
    rows = piece.frames[GpuSample].filter(gpu_uuid="GPU-0").sort("sampled_at")
    assert rows["sw_thermal_throttle_seconds_total"].to_list() == [7.0 + 30 * step for step in STEPS]


def test_a_configured_metric_of_dcgm_has_its_blanks(url: str) -> None:
    own = {
        "metric": "DCGM_FI_DEV_GPU_TEMP",
        "table": "gpu_sample",
        "column": "clock_event_reasons_bitmask",
        "keys": {"gpu_uuid": "UUID"},
    }
    piece = next(prometheus.open(settings(url, metrics=[own], tables=["gpu_sample"]))(at(-1), at(9)))
    assert piece.frames[GpuSample]["clock_event_reasons_bitmask"].null_count() == piece.frames[GpuSample].height


def test_a_key_may_be_a_number(url: str) -> None:
    own = {
        "metric": "node_load1",
        "table": "numa_sample",
        "column": "memory_free_bytes",
        "keys": {"numa_node_index": "zone"},
    }
    assert not next(prometheus.open(settings(url, metrics=[own], tables=["numa_sample"]))(at(-1), at(9))).frames
    own |= {"metric": "DCGM_FI_DEV_FB_USED", "keys": {"numa_node_index": "gpu"}}
    piece = next(prometheus.open(settings(url, metrics=[own], tables=["numa_sample"]))(at(-1), at(9)))
    with Store.open("duckdb::memory:") as store:
        assert store.append_together(piece.frames, source="test")["numa_sample"].rejected == 0
        assert set(store.read(NumaSample)["numa_node_index"]) == {0, 1}


def test_only_series_with_the_wanted_labels_are_read(url: str) -> None:
    piece = next(prometheus.open(settings(url, match={"gpu": "1"}))(at(-1), at(9)))
    assert set(piece.frames[GpuSample]["gpu_uuid"]) == {"GPU-1", "GPU-1-gi-3", "GPU-1-rest"}
    assert HostSample not in piece.frames


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tables": ["gpu_samples"]}, "tables: found gpu_samples, expected some of block_device_sample"),
        ({"metrics": [{"metric": "m", "table": "job", "column": "state"}]}, "found table job, expected one of samples"),
        (
            {"metrics": [{"metric": "m", "table": "gpu_sample", "column": "x"}]},
            r"found keys \[\], expected \['gpu_uuid'\]",
        ),
        ({"metrics": [{"metric": "m", "table": "host_sample", "column": "x"}]}, "found no column x in host_sample"),
        (
            {
                "metrics": [
                    {
                        "metric": "m",
                        "table": "training_sample",
                        "column": "token_count_total",
                        "keys": {"job_id": "j", "run": "r", "rank_index": "k", "started_at": "s"},
                    }
                ]
            },
            "found table training_sample, expected one without started_at as a key",
        ),
    ],
)
def test_a_setting_that_names_nothing_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        prometheus.open(settings("http://127.0.0.1:9", **given))
