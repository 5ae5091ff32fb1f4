from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from collectors.node.infiniband import infiniband
from ledger.errors import SourceMissing
from ledger.registry import Row


def by_port(sysfs: Path) -> dict[tuple[object, object], Row]:
    return {(row["device"], row["port"]): row for _, row in infiniband.open(sysfs=sysfs)()}


def test_words_become_bytes_and_rates_bytes_per_second(
    small_node: Path, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    rows = by_port(small_node / "sys")
    up = rows["mlx5_0", "1"]
    assert up["transmit_bytes_total"] == 4_000
    assert up["receive_bytes_total"] == 8_000
    assert up["line_rate_bytes_per_second"] == 50e9
    assert (up["is_up"], up["link_state"], up["link_layer"]) == (True, "ACTIVE", "InfiniBand")
    assert up["transmit_wait_count_total"] == 5
    assert up["link_downed_count_total"] == 2
    assert up["transmit_discard_count_total"] is None
    assert kept(infiniband.open(sysfs=small_node / "sys")())["network_port_sample"].height == 2


def test_a_port_that_refuses_its_counters_keeps_its_row(small_node: Path) -> None:
    down = by_port(small_node / "sys")["mlx5_1", "1"]
    assert (down["is_up"], down["link_layer"]) == (False, "Ethernet")
    assert down["transmit_bytes_total"] is None
    assert down["receive_bytes_total"] == 77 * 4, "the 64-bit counter is taken where the old one is narrow"
    assert down["congestion_notification_count_total"] == 12


def port_of(sysfs: Path, device: str = "mlx5_0", **files: object) -> Path:
    """Write a port that is up; `folder__name` is a file of a folder."""
    port = sysfs / "class/infiniband" / device / "ports/1"
    for name, value in {"state": "4: ACTIVE", "link_layer": "Ethernet", "rate": "100 Gb/sec (4X EDR)", **files}.items():
        path = port / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return port


def test_a_counter_of_32_bits_stops_and_is_no_count_then(tmp_path: Path) -> None:
    top = 2**32 - 1
    counters = {"counters__port_xmit_data": top, "counters__port_rcv_data": top - 1, "counters__port_xmit_wait": top}
    port_of(tmp_path, **counters)
    row = by_port(tmp_path)["mlx5_0", "1"]
    assert row["has_stopped_counter"] is True
    assert (row["transmit_bytes_total"], row["transmit_wait_count_total"]) == (None, None)
    assert row["receive_bytes_total"] == (top - 1) * 4
    port_of(tmp_path, counters_ext__port_xmit_data_64=top + 5, counters__port_xmit_wait=0)
    row = by_port(tmp_path)["mlx5_0", "1"]
    assert (row["transmit_bytes_total"], row["has_stopped_counter"]) == ((top + 5) * 4, False)


@pytest.mark.parametrize(
    ("name", "column", "bits"),
    [
        ("symbol_error", "symbol_error_count_total", 16),
        ("port_rcv_errors", "receive_error_count_total", 16),
        ("port_xmit_discards", "transmit_discard_count_total", 16),
        ("link_downed", "link_downed_count_total", 8),
        ("link_error_recovery", "link_error_recovery_count_total", 8),
        ("local_link_integrity_errors", "link_integrity_error_count_total", 4),
    ],
)
def test_each_narrow_counter_stops_at_its_own_top(tmp_path: Path, name: str, column: str, bits: int) -> None:
    found = []
    for value in ((1 << bits) - 2, (1 << bits) - 1, 1 << bits):
        port_of(tmp_path, **{f"counters__{name}": value})
        row = by_port(tmp_path)["mlx5_0", "1"]
        found.append((row[column], row["has_stopped_counter"]))
    assert found == [((1 << bits) - 2, False), (None, True), (1 << bits, False)], "a wider counter counts on"


def test_what_a_roce_port_counts_of_its_transport(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    own = {"np_cnp_sent": 1, "rp_cnp_handled": 2, "np_ecn_marked_roce_packets": 3, "out_of_sequence": 4}
    own |= {"packet_seq_err": 5, "local_ack_timeout_err": 6, "rnr_nak_retry_err": 7, "roce_slow_restart": 8}
    own |= {"roce_adp_retrans": 9, "out_of_buffer": 10, "lifespan": 12}
    port_of(tmp_path, phys_state="5: LinkUp", **{f"hw_counters__{name}": value for name, value in own.items()})
    row = by_port(tmp_path)["mlx5_0", "1"]
    columns = ["congestion_notification", "congestion_handled", "congestion_mark", "out_of_sequence", "sequence_error"]
    columns += ["acknowledgement_timeout", "receiver_not_ready", "slow_restart", "retransmission", "out_of_buffer"]
    assert [row[f"{column}_count_total"] for column in columns] == list(range(1, 11))
    assert (row["physical_state"], row["link_layer"]) == ("LinkUp", "Ethernet")
    assert kept(infiniband.open(sysfs=tmp_path)())["network_port_sample"].height == 1


@pytest.mark.parametrize(
    ("own", "sent", "packets"),
    [
        ({"tx_bytes": 900, "tx_pkts": 3}, 900, 3),
        ({"tx_rdma_ucast_bytes": 900, "tx_rdma_ucast_pkts": 3}, 900, 3),
        ({"ip4OutOctets": 800, "ip6OutOctets": 100, "ip4OutPkts": 3}, 900, 3),
        ({"lifespan": 10}, None, None),
    ],
)
def test_adapters_of_other_makers_count_bytes_and_not_words(
    tmp_path: Path, own: dict[str, int], sent: int | None, packets: int | None
) -> None:
    files = {f"hw_counters__{name}": value for name, value in own.items()}
    port_of(tmp_path, counters__port_xmit_data="N/A (no PMA)", **files)
    row = by_port(tmp_path)["mlx5_0", "1"]
    assert (row["transmit_bytes_total"], row["transmit_packet_count_total"]) == (sent, packets)


def test_a_port_that_is_down_shows_a_rate_that_is_not_its_own(tmp_path: Path) -> None:
    port_of(tmp_path, state="1: DOWN", phys_state="3: Disabled", rate="2.5 Gb/sec (1X SDR)")
    row = by_port(tmp_path)["mlx5_0", "1"]
    assert (row["is_up"], row["physical_state"], row["line_rate_bytes_per_second"]) == (False, "Disabled", None)


def test_an_adapter_that_fell_off_its_bus_reads_as_ones_and_measures_nothing(tmp_path: Path) -> None:
    port_of(
        tmp_path, counters_ext__port_xmit_data_64=2**64 - 1, hw_counters__out_of_sequence=2**64 - 1, rate="inf Gb/sec"
    )
    row = by_port(tmp_path)["mlx5_0", "1"]
    assert (row["transmit_bytes_total"], row["out_of_sequence_count_total"]) == (None, None)
    assert row["line_rate_bytes_per_second"] is None


def test_without_an_adapter_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="does not exist") as caught:
        by_port(tmp_path)
    assert "collectors.infiniband.enabled = false" in caught.value.hint


@pytest.mark.real_data
def test_a_recorded_h100_node(recorded: Callable[[str], Path], kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    root = recorded("gpud_h100_sys_class_infiniband.tar.gz")
    (root / "class").mkdir()
    (root / "sys-class-infiniband-h100.0").rename(root / "class/infiniband")
    rows = by_port(root)
    assert len(rows) >= 4
    row = rows["mlx5_0", "1"]
    assert row["transmit_bytes_total"] == 230442669431839 * 4
    assert row["line_rate_bytes_per_second"] == 50e9
    assert row["is_up"] is True
    assert (row["physical_state"], row["transmit_wait_count_total"]) == ("LinkUp", 2489603687)
    assert (row["buffer_overrun_error_count_total"], row["has_stopped_counter"]) == (None, True), "15 of four bits"
    assert (row["receive_error_count_total"], row["receive_relay_error_count_total"]) == (14, 1)
    assert (row["retransmission_count_total"], row["out_of_sequence_count_total"]) == (3, 0)
    assert row["congestion_notification_count_total"] is None, "an InfiniBand port sends none"
    assert kept(infiniband.open(sysfs=root)())["network_port_sample"].height == len(rows)


@pytest.mark.real_data
def test_a_recorded_node_with_older_adapters(recorded: Callable[[str], Path]) -> None:
    rows = by_port(recorded("node_exporter_sys.tar.gz") / "sys")
    assert rows["mlx4_0", "1"]["transmit_bytes_total"] == 3733440 * 4
    assert rows["mlx4_0", "1"]["line_rate_bytes_per_second"] == 5e9
    assert rows["i40iw0", "1"]["receive_bytes_total"] is None
    assert rows["i40iw0", "1"]["is_up"] is True
    stopped = rows["mlx4_0", "1"]
    assert (stopped["has_stopped_counter"], stopped["transmit_wait_count_total"]) == (True, None), "4294967295 ticks"
    assert stopped["receive_packet_count_total"] == 6825908347, "the wide counter beside it says 0"
    assert rows["mlx4_0", "2"]["symbol_error_count_total"] is None
