"""By which index Slurm counts the GPUs of a node whose device files are numbered otherwise than its PCI addresses."""

from pathlib import Path

import pytest

from collectors.fake_nvml import Gpu
from collectors.node._slurm_devices import Device, Gres, gres, indices
from tests.collectors.node.gpu_node import Node

# In the order of PCI addresses, as NVML counts them: what an eight-way machine looks like, made shorter.
MINORS = {"GPU-a": 2, "GPU-b": 3, "GPU-c": 0, "GPU-d": 1}
HERE = {name: Device(minor, (0, 16 + place, 0)) for place, (name, minor) in enumerate(MINORS.items())}
BY_BUS = {"GPU-a": 0, "GPU-b": 1, "GPU-c": 2, "GPU-d": 3}


def said(root: Path, content: str, place: str = "etc/slurm") -> Gres:
    (root / place).mkdir(parents=True)
    (root / place / "gres.conf").write_text(content)
    return gres(root, {"gpu01", "gpu01.site"})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Name=gpu Type=h100 File=/dev/nvidia[0-3]", MINORS),
        ("AutoDetect=off\nName=gpu File=/dev/nvidia[0-3]", MINORS),
        ("Name=gpu File=/dev/nvidia[2-3]\nName=gpu File=/dev/nvidia[0,1]", BY_BUS),
        ("name=GPU \\\n file=/dev/nvidia3 # the last\nName=gpu File=/dev/nvidia1", {"GPU-b": 0, "GPU-d": 1}),
        ("AutoDetect=nvml", BY_BUS),
        ("AutoDetect=NVML\nName=gpu Type=h100 File=/dev/nvidia[0-3]", BY_BUS),
        ("AutoDetect=nvml\nName=gpu File=/dev/nvidia[0,3]", {"GPU-b": 0, "GPU-c": 1}),
        ("AutoDetect=nvidia", MINORS),
        ("AutoDetect=nvidia\nName=gpu File=/dev/nvidia[1-2]", {"GPU-d": 0, "GPU-a": 1}),
        ("AutoDetect=nvml\nNodeName=gpu[01-08] AutoDetect=off Name=gpu File=/dev/nvidia[0-3]", MINORS),
        ("NodeName=cpu[01-08] AutoDetect=nvml\nNodeName=gpu01 Name=gpu File=/dev/nvidia[0-3]", MINORS),
        ("NodeName=gpu01.site AutoDetect=nvml", BY_BUS),
        ("NodeName=gpu[01 AutoDetect=nvml", MINORS),
        ("Name=gpu Type=1g.10gb MultipleFiles=/dev/nvidia0,/dev/nvidia-caps/nvidia-cap21", MINORS),
        ("Name=gpu File=/dev/nvidia[0-", MINORS),
        ("Name=nic File=/dev/mlx5_0", MINORS),
        ("", MINORS),
    ],
)
def test_an_index_is_what_gres_conf_makes_it(tmp_path: Path, content: str, expected: dict[str, int]) -> None:
    assert indices(HERE, said(tmp_path, content)) == expected


@pytest.mark.parametrize("place", ["run/slurm/conf", "var/spool/slurmd/conf-cache", "etc/slurm", "etc/slurm-llnl"])
def test_gres_conf_is_found_where_slurm_keeps_it(tmp_path: Path, place: str) -> None:
    assert indices(HERE, said(tmp_path, "AutoDetect=nvml", place)) == BY_BUS


def test_what_the_controller_hands_out_counts_before_what_a_package_left(tmp_path: Path) -> None:
    said(tmp_path, "Name=gpu File=/dev/nvidia[0-3]")
    assert indices(HERE, said(tmp_path, "AutoDetect=nvml", "run/slurm/conf")) == BY_BUS


def test_an_operator_decides_where_nobody_can_read_it(tmp_path: Path) -> None:
    assert indices(HERE, gres(tmp_path, {"gpu01"})) == MINORS
    assert indices(HERE, gres(tmp_path, {"gpu01"}), "pci") == BY_BUS
    assert indices(HERE, gres(tmp_path, {"gpu01"}), "device_files") == MINORS


def test_a_device_that_tells_neither_number_nor_address_has_no_index() -> None:
    odd = {**HERE, "GPU-e": Device(None, None)}
    assert indices(odd, Gres()) == MINORS
    assert indices(odd, Gres("nvml")) == BY_BUS


def test_the_inventory_tells_both_numbers(tmp_path: Path, small_node: Path) -> None:
    gpus = tuple(Gpu(name, minor=minor) for name, minor in MINORS.items())
    node = Node(small_node, gpus, root=tmp_path)
    told = {str(row["gpu_uuid"]): row for row in node.round()["gpu"]}
    assert {name: row["gpu_index"] for name, row in told.items()} == BY_BUS
    assert {name: row["minor_index"] for name, row in told.items()} == MINORS
    assert {name: row["scheduler_index"] for name, row in told.items()} == MINORS
    (tmp_path / "etc/slurm").mkdir(parents=True)
    (tmp_path / "etc/slurm/gres.conf").write_text("AutoDetect=nvml\n")
    assert {row["gpu_uuid"]: row["scheduler_index"] for row in node.round()["gpu"]} == BY_BUS
