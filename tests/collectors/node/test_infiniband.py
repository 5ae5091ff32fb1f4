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
    assert kept(infiniband.open(sysfs=root)())["network_port_sample"].height == len(rows)


@pytest.mark.real_data
def test_a_recorded_node_with_older_adapters(recorded: Callable[[str], Path]) -> None:
    rows = by_port(recorded("node_exporter_sys.tar.gz") / "sys")
    assert rows["mlx4_0", "1"]["transmit_bytes_total"] == 3733440 * 4
    assert rows["mlx4_0", "1"]["line_rate_bytes_per_second"] == 5e9
    assert rows["i40iw0", "1"]["receive_bytes_total"] is None
    assert rows["i40iw0", "1"]["is_up"] is True
