import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from collectors.node.ethernet import EthernetSettings, ethernet
from ledger.errors import SourceMissing
from ledger.registry import Row


def by_device(root: Path, **options: object) -> dict[object, Row]:
    found = ethernet.open(procfs=root / "proc", sysfs=root / "sys", **options)()
    return {row["device"]: row for _, row in found}


def test_only_physical_ports_so_that_nothing_counts_twice(
    small_node: Path, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    rows = by_device(small_node)
    assert list(rows) == ["eth0", "eth1"]
    assert rows["eth0"] == {
        "device": "eth0",
        "port": "1",
        "link_layer": "Ethernet",
        "bond": "bond0",
        "is_up": True,
        "link_state": "up",
        "line_rate_bytes_per_second": 25_000 * 125_000,
        "receive_bytes_total": 1_000_000,
        "receive_packet_count_total": 2_000,
        "receive_error_count_total": 3,
        "transmit_bytes_total": 5_000_000,
        "transmit_packet_count_total": 6_000,
        "transmit_discard_count_total": 8,
        "link_downed_count_total": None,
        "out_of_buffer_count_total": None,
    }
    samples = ethernet.open(procfs=small_node / "proc", sysfs=small_node / "sys")()
    assert kept(samples)["network_port_sample"].height == 2


def test_the_speed_of_a_port_that_is_down_is_unknown(small_node: Path) -> None:
    row = by_device(small_node)["eth1"]
    assert row["is_up"] is False
    assert row["line_rate_bytes_per_second"] is None


def test_a_link_that_went_down_between_two_rounds_is_counted(small_node: Path, tmp_path: Path) -> None:
    shutil.copytree(small_node, tmp_path / "node")
    port = tmp_path / "node/sys/class/net/eth0"
    (port / "carrier_down_count").write_text("3\n")
    (port / "statistics").mkdir()
    (port / "statistics/rx_missed_errors").write_text("17\n")
    row = by_device(tmp_path / "node")["eth0"]
    assert (row["link_downed_count_total"], row["out_of_buffer_count_total"]) == (3, 17)


@pytest.mark.parametrize("speed", ["-1", "4294967295", "0", ""])
def test_a_speed_that_is_none_is_unknown(small_node: Path, tmp_path: Path, speed: str) -> None:
    shutil.copytree(small_node, tmp_path / "node")
    (tmp_path / "node/sys/class/net/eth0/speed").write_text(f"{speed}\n")
    assert by_device(tmp_path / "node")["eth0"]["line_rate_bytes_per_second"] is None


def test_named_ports_win(small_node: Path) -> None:
    assert list(by_device(small_node, settings=EthernetSettings(devices=("bond0",)))) == ["bond0"]
    with pytest.raises(SourceMissing):
        by_device(small_node, settings=EthernetSettings(devices=("eth9",)))


def test_a_bond_counts_through_its_members_alone(small_node: Path) -> None:
    rows = by_device(small_node)
    assert "bond0" not in rows
    assert sum(row["receive_bytes_total"] for row in rows.values()) == 1_000_500, "what the kernel counts for bond0"  # type: ignore[misc]
    assert {device: row["bond"] for device, row in rows.items()} == {"eth0": "bond0", "eth1": "bond0"}


def test_what_stands_for_a_virtual_function_is_no_port(tmp_path: Path) -> None:
    """The representor counts what its function sent, and the uplink `p0` counts it again."""
    lines = "".join(f"{name}: {' '.join('5' * 16)}\n" for name in ("ens1np0", "eth7", "eth8", "team0"))
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/dev").write_text(f"head\nhead\n{lines}")
    for name, port_name in (("ens1np0", "p0"), ("eth7", "pf0vf0"), ("eth8", "c1pf0sf2"), ("team0", "")):
        port = tmp_path / "sys/class/net" / name
        port.mkdir(parents=True)
        (port / "type").write_text("1\n")
        (port / "phys_port_name").write_text(f"{port_name}\n")
    rows = by_device(tmp_path)
    assert list(rows) == ["ens1np0"]
    assert rows["ens1np0"]["bond"] == ""


def test_a_virtual_function_is_no_port_of_its_host(tmp_path: Path) -> None:
    """On the host it leads to its physical function; on Azure the guest's port is its master and counts it."""
    (tmp_path / "proc/net").mkdir(parents=True)
    names = ("ens1", "ens1v0", "eth0", "enP1s1", "eth2")
    (tmp_path / "proc/net/dev").write_text("head\nhead\n" + "".join(f"{name}: {'5 ' * 16}\n" for name in names))
    devices, ports = tmp_path / "sys/devices", tmp_path / "sys/class/net"
    ports.mkdir(parents=True)
    for name in names:
        (devices / "pci0000:00" / name / "net" / name).mkdir(parents=True)
        (devices / "pci0000:00" / name / "net" / name / "device").symlink_to(devices / "pci0000:00" / name)
        (ports / name).symlink_to(devices / "pci0000:00" / name / "net" / name)
    (devices / "virtual/net/bond0").mkdir(parents=True)
    (devices / "pci0000:00/ens1v0/physfn").symlink_to(devices / "pci0000:00/ens1")
    (ports / "enP1s1/master").symlink_to(devices / "pci0000:00/eth0/net/eth0")
    (ports / "eth2/master").symlink_to(devices / "virtual/net/bond0")
    assert list(by_device(tmp_path)) == ["ens1", "eth0", "eth2"]


def test_a_container_has_its_outward_port(small_node: Path, tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    shutil.copy(small_node / "proc/net/dev", tmp_path / "proc/net/dev")
    virtual = tmp_path / "sys/devices/virtual/net/eth0"
    virtual.mkdir(parents=True)
    (tmp_path / "sys/class/net").mkdir(parents=True)
    (tmp_path / "sys/class/net/eth0").symlink_to(virtual)
    rows = by_device(tmp_path)
    assert rows["eth0"]["receive_bytes_total"] == 1_000_000
    assert rows["eth0"]["is_up"] is None


def test_a_node_without_ports_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="no physical Ethernet port"):
        by_device(tmp_path)


@pytest.mark.real_data
def test_a_recorded_node(recorded: Callable[[str], Path]) -> None:
    """The recorded tree has no /proc/net/dev: rates are known, counters are null."""
    rows = by_device(recorded("node_exporter_sys.tar.gz"))
    assert list(rows) == ["eth0"], "three bonds are no ports of their own"
    assert rows["eth0"]["bond"] == "dmz"
    assert rows["eth0"]["line_rate_bytes_per_second"] == 125_000_000
    assert rows["eth0"]["is_up"] is True
    assert rows["eth0"]["transmit_bytes_total"] is None
