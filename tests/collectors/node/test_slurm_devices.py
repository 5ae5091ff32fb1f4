"""By which index Slurm counts the GPUs of a node whose device files are numbered otherwise than its PCI addresses."""

from pathlib import Path

import pytest

from collectors.fake_nvml import Gpu, Slice
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
        (
            "\n".join(
                f"Name=gpu Type={kind} File=/dev/nvidia{files}" for kind, files in (("a", 0), ("b", 1), ("a", "[2,3]"))
            ),
            {"GPU-c": 0, "GPU-a": 1, "GPU-b": 2, "GPU-d": 3},
        ),
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


def test_slices_that_slurm_detects_stand_where_their_place_on_the_gpu_is(tmp_path: Path) -> None:
    """What slurmd 22.05 made of it: whole, two first slices, two second ones, whole."""
    cut = {
        **HERE,
        "GPU-b": HERE["GPU-b"]._replace(is_cut=True, slices=(("MIG-b-0", 0), ("MIG-b-1", 1))),
        "GPU-c": HERE["GPU-c"]._replace(is_cut=True, slices=(("MIG-c-0", 0), ("MIG-c-1", 1))),
    }
    order = ["MIG-c-0", "GPU-a", "MIG-b-0", "MIG-c-1", "MIG-b-1", "GPU-d"]
    assert indices(cut, said(tmp_path, "AutoDetect=nvml")) == {name: index for index, name in enumerate(order)}
    assert "MIG-c-0" not in indices(cut, Gres())


def test_the_inventory_tells_the_index_of_slices(tmp_path: Path, small_node: Path) -> None:
    slices = (Slice("MIG-0", 1, profile="3g.40gb"), Slice("MIG-1", 2, profile="3g.40gb", end_seconds=105))
    gpus = (Gpu("GPU-a", minor=1), Gpu("GPU-b", minor=0, slices=slices), Gpu("GPU-c"))
    node = Node(small_node, gpus, root=tmp_path)
    assert {row["scheduler_index"] for row in node.round()["gpu"] if "MIG" in str(row["gpu_uuid"])} == {None}
    (tmp_path / "etc/slurm").mkdir(parents=True)
    (tmp_path / "etc/slurm/gres.conf").write_text("AutoDetect=nvml\n")
    told = {row["gpu_uuid"]: row.get("scheduler_index") for row in node.round()["gpu"] if row["exists_end"] is None}
    assert told == {"MIG-0": 0, "GPU-a": 1, "GPU-b-rest": None, "GPU-c": 2}


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
