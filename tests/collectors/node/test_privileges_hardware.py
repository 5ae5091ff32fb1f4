"""What `check` says of meters and devices, on trees of small nodes."""

from pathlib import Path

from app.services._privileges import seen
from app.services._privileges_hardware import Finding, hardware


def put(root: Path, name: str, text: str = "1") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found(root: Path) -> dict[str, Finding]:
    return {each.part: each for each in hardware(root)}


def test_of_hardware_that_is_not_there_only_energy_is_spoken_of(tmp_path: Path) -> None:
    assert {part: each.status for part, each in found(tmp_path).items()} == {"energy": "missing"}


def test_what_can_be_read_is_said(tmp_path: Path) -> None:
    root = tmp_path
    put(root, "sys/class/powercap/intel-rapl:0/energy_uj")
    put(root, "dev/ipmi0")
    put(root, "proc/self/mounts", "10.0.0.1@tcp:/scratch /scratch lustre rw 0 0\n/dev/sda / ext4 rw 0 0")
    put(root, "sys/kernel/debug/lustre/llite/scratch-ff/stats")
    put(root, "sys/class/drm/card0/device/vendor", "0x1002")
    put(root, "sys/class/drm/card0/device/mem_info_vram_total")
    put(root, "sys/class/kfd/kfd/proc/77/pasid")
    put(root, "sys/bus/pci/devices/0000:00:04.0/vendor", "0x1ae0")
    put(root, "dev/accel0")
    put(root, "proc/1/fd/0")
    assert {part: each.status for part, each in found(root).items()} == {
        "energy": "ok",
        "controller": "ok",
        "lustre": "ok",
        "AMD GPUs": "ok",
        "TPUs": "ok",
    }


def test_what_more_privilege_would_show_is_said(refused_root: Path) -> None:
    root = refused_root
    hidden = [
        put(root, "sys/class/powercap/intel-rapl:0/energy_uj"),
        put(root, "dev/ipmi0"),
        put(root, "sys/kernel/debug/lustre/llite/scratch-ff/stats").parents[3],
        put(root, "proc/1/fd/0").parent,
        put(root, "sys/class/drm/card0/device/gpu_busy_percent"),
    ]
    put(root, "proc/self/mounts", "10.0.0.1@tcp:/scratch /scratch lustre rw 0 0")
    put(root, "sys/class/drm/card0/device/vendor", "0x1002")
    put(root, "sys/class/drm/card0/device/mem_info_vram_total")
    put(root, "sys/bus/pci/devices/0000:00:04.0/vendor", "0x1ae0")
    put(root, "dev/accel0")
    for path in hidden:
        path.chmod(0)
    said = found(root)
    assert {part: each.status for part, each in said.items()} == {
        "energy": "missing",
        "controller": "missing",
        "lustre": "missing",
        "AMD GPUs": "missing",
        "TPUs": "missing",
    }
    assert all(each.hint for each in said.values() if each.status == "missing")
    assert "collectors.redfish.url" in said["controller"].hint


def test_a_driver_without_processes_is_said(tmp_path: Path) -> None:
    put(tmp_path, "sys/class/drm/card0/device/vendor", "0x1002")
    put(tmp_path, "sys/class/drm/card0/device/mem_info_vram_total")
    assert {part: each.status for part, each in found(tmp_path).items()} == {
        "energy": "missing",
        "AMD GPUs": "ok",
        "AMD processes": "missing",
    }


def test_devices_that_a_cgroup_hides_are_said(refused_root: Path) -> None:
    put(refused_root, "sys/class/drm/card0/device/vendor", "0x1002")
    put(refused_root, "sys/class/drm/card0/device/mem_info_vram_total")
    put(refused_root, "sys/class/kfd/kfd/proc/77/pasid")
    put(refused_root, "sys/class/kfd/kfd/topology/nodes/1/gpu_id", "4101").chmod(0)
    said = found(refused_root)["AMD processes"]
    assert said.status == "missing"
    assert "DeviceAllow=char-drm rw" in said.hint


def test_check_shows_it_beside_the_rest(tmp_path: Path) -> None:
    put(tmp_path, "dev/ipmi0")
    assert {"energy", "controller", "pressure"} <= {sight.part for sight in seen(tmp_path)}
