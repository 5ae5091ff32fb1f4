from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from collectors.node.tcp import tcp
from ledger.counters import delta
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row

SNMP = (
    "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoMin MaxConn ActiveOpens OutSegs RetransSegs\nTcp: 200 -1 7 900 {}\n"
)
NETSTAT = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 3 5\nIpExt: InNoRoutes\nIpExt: 0\n"


def row_of(procfs: Path) -> Row:
    ((table, row),) = list(tcp.open(procfs=procfs)())
    assert table == "tcp_sample"
    return row


def written(root: Path, snmp: str, netstat: str | None = NETSTAT) -> Path:
    (root / "net").mkdir(exist_ok=True)
    (root / "net/snmp").write_text(snmp)
    if netstat is not None:
        (root / "net/netstat").write_text(netstat)
    return root


def test_numbers_are_found_by_the_names_above_them(
    tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    row = row_of(written(tmp_path, SNMP.format(12)))
    assert (row["active_open_count_total"], row["sent_segment_count_total"]) == (7, 900)
    assert row["retransmitted_segment_count_total"] == 12
    assert (row["listen_overflow_count_total"], row["listen_drop_count_total"]) == (3, 5)
    assert kept(tcp.open(procfs=tmp_path)())["tcp_sample"].height == 1


def test_what_a_kernel_does_not_count_is_null_and_not_zero(tmp_path: Path) -> None:
    row = row_of(written(tmp_path, SNMP.format(12)))
    assert row["sent_reset_count_total"] is None
    assert row["timeout_count_total"] is None


def test_without_netstat_the_rest_stays(tmp_path: Path) -> None:
    row = row_of(written(tmp_path, SNMP.format(12), None))
    assert row["retransmitted_segment_count_total"] == 12
    assert row["listen_drop_count_total"] is None


def test_a_new_namespace_begins_anew_and_that_is_no_growth(tmp_path: Path) -> None:
    before = row_of(written(tmp_path, SNMP.format(500)))["retransmitted_segment_count_total"]
    after = row_of(written(tmp_path, SNMP.format(2)))["retransmitted_segment_count_total"]
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert delta(before, after, elapsed_seconds=10).kind == "reset"


@pytest.mark.parametrize("snmp", ["Tcp: A B\nTcp: 1\n", "Tcp: A B\n", "Ip: A\nIp: 1\n"])
def test_names_without_their_numbers_are_an_error(tmp_path: Path, snmp: str) -> None:
    with pytest.raises(SourceError, match="net/snmp: found"):
        row_of(written(tmp_path, snmp))


def test_without_the_file_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        row_of(tmp_path)


@pytest.mark.real_data
def test_a_recorded_node(recorded: Callable[[str], Path], kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    root = recorded("node_exporter_proc.tar.gz") / "proc"
    row = row_of(root)
    assert row["established_count"] == 0
    assert row["received_segment_count_total"] == 57252008
    assert row["retransmitted_segment_count_total"] == 227
    assert (row["received_reset_count_total"], row["sent_reset_count_total"]) == (161, 1003)
    assert (row["timeout_count_total"], row["receive_queue_drop_count_total"]) == (115, 131)
    assert kept(tcp.open(procfs=root)())["tcp_sample"].height == 1
