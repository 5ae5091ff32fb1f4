"""The kernel's log as a witness of what happens to GPUs, beside the driver's own queue."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.services._privileges import seen
from collectors.fake_nvml import Gpu, Incident, Reload, Scenario, kernel_log
from collectors.node._kernel_log import KernelLog, bus_of
from tests.collectors.node.gpu_node import T0, Node, events

BOOTED = datetime.fromtimestamp(1763596800, UTC)
XIDS = (Incident("xid", 103, code=79), Incident("xid", 104.5, code=13), Incident("xid", 104.5, 999, code=13))
TWO_DEVICES = (Gpu("GPU-a"), Gpu("GPU-b", incidents=XIDS))
SINCE_BOOT = (BOOTED - T0).total_seconds()


@pytest.fixture
def host(tmp_path: Path) -> Path:
    for folder in ("dev", "var/log", "proc"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "proc/stat").write_text("cpu 1\nbtime 1763596800\n")
    return tmp_path


def opened(host: Path, now: datetime = BOOTED + timedelta(hours=1)) -> KernelLog:
    return KernelLog(host / "proc", host / "dev", host / "var/log", lambda: now)


@pytest.mark.parametrize(
    ("address", "bus"),
    [
        ("0000:3b:00", (0, 0x3B, 0)),
        ("00000000:3B:00.0", (0, 0x3B, 0)),
        ("0001:1A:1f.7", (1, 0x1A, 0x1F)),
        ("3b:00.0", None),
        ("", None),
    ],
)
def test_one_address_is_one_device_however_it_is_padded(address: str, bus: tuple[int, int, int] | None) -> None:
    assert bus_of(address) == bus


def test_an_xid_has_its_time_its_device_and_its_reason(host: Path) -> None:
    (host / "dev/kmsg").write_text(
        "6,100,3600000000,-;NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.95.05\n"
        "3,101,3601500000,-;NVRM: GPU at PCI:0000:3b:00: GPU-12345678-abcd\n"
        "3,102,3601500250,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=4242, name=python, GPU has fallen off the bus.\n"
        " SUBSYSTEM=pci\n DEVICE=+pci:0000:3b:00.0\n"
        "3,103,3601600000,c;NVRM: Xid (PCI:0000:3b:00 GPU-I:05): 43, pid=77, name=a;b, Ch 00000008\n"
        "3,104,3601700000,-;NVRM: Xid (0001:3b:00): 154\n"
        "4,105,3601800000,-;a program says NVRM: Xid (PCI:nonsense): 31, and nothing happens\n"
    )
    log = opened(host)
    first, second, third = log.xids()
    assert first == (
        BOOTED + timedelta(seconds=3601.50025),
        (0, 0x3B, 0),
        79,
        "Xid 79: pid=4242, name=python, GPU has fallen off the bus.",
    )
    assert (second.code, second.bus) == (43, (0, 0x3B, 0))
    assert (third.code, third.bus, third.message) == (154, (1, 0x3B, 0), "Xid 154")
    assert log.names == {(0, 0x3B, 0): "GPU-12345678-abcd"}
    assert log.xids() == [], "each line is read once"


def test_what_happened_long_before_the_agent_began_is_not_told(host: Path) -> None:
    (host / "dev/kmsg").write_text(
        "3,1,60000000,-;NVRM: Xid (PCI:0000:3b:00): 79, old\n3,2,36000000000,-;NVRM: Xid (PCI:0000:3b:00): 48, new\n"
    )
    assert [xid.code for xid in opened(host, BOOTED + timedelta(hours=11)).xids()] == [48]


def test_a_line_has_the_same_time_whenever_it_is_read(host: Path) -> None:
    """So that an agent that starts again tells the ledger nothing twice."""
    (host / "dev/kmsg").write_text("3,2,3600123456,-;NVRM: Xid (PCI:0000:3b:00): 48, new\n")
    one, other = (opened(host, BOOTED + timedelta(hours=hours)).xids() for hours in (1, 2))
    assert one == other
    assert len(one) == 1


def test_without_the_privilege_the_loggers_file_is_followed(host: Path) -> None:
    path = host / "var/log/kern.log"
    path.write_text("Nov 20 01:00:00 n1 kernel: [ 3500.000000] NVRM: Xid (PCI:0000:3b:00): 13, of yesterday\n")
    log = opened(host)
    assert log.xids() == []
    with path.open("a") as file:
        file.write("Nov 20 01:00:00 n1 kernel: [ 3600.250000] NVRM: Xid (PCI:0000:3b:00): 79, fallen\n")
        file.write("2025-11-20T01:00:02.5+00:00 n1 kernel: NVRM: Xid (PCI:0000:3b:00): 48, a page\n")
        file.write("2025-11-20T01:00:03+00:00 n1 kernel: NVRM: Xid (PCI:0000:3b:00): 94, half of a li")
    assert [(xid.code, xid.at) for xid in log.xids()] == [
        (79, BOOTED + timedelta(seconds=3600.25)),
        (48, BOOTED + timedelta(seconds=3602.5)),
    ]
    with path.open("a") as file:
        file.write("ne\n")
    assert [xid.message for xid in log.xids()] == ["Xid 94: half of a line"]


def test_a_log_file_that_is_rotated_is_read_from_its_beginning(host: Path) -> None:
    path = host / "var/log/messages"
    path.write_text("")
    log = opened(host)
    path.rename(host / "var/log/messages.1")
    assert log.xids() == []
    path.write_text("Nov 20 01:00:00 n1 kernel: [ 3600.250000] NVRM: Xid (PCI:0000:3b:00): 79, fallen\n")
    assert [xid.code for xid in log.xids()] == [79]
    path.write_text("")
    assert log.xids() == []
    path.write_text("Nov 20 01:00:00 n1 kernel: [ 3601.250000] NVRM: Xid (PCI:0000:3b:00): 48\n")
    assert [xid.code for xid in log.xids()] == [48]


def test_a_ring_that_may_be_opened_and_not_read_is_no_ring(host: Path) -> None:
    """Reading is what the kernel restricts; a folder in its place refuses it as well, for every user."""
    (host / "dev/kmsg").mkdir()
    (host / "var/log/kern.log").write_text("")
    log = opened(host)
    with (host / "var/log/kern.log").open("a") as file:
        file.write("[ 3600.250000] NVRM: Xid (PCI:0000:3b:00): 79, fallen\n")
    assert [xid.code for xid in log.xids()] == [79]


def test_records_arrive_one_by_one_and_are_never_waited_for(host: Path) -> None:
    os.mkfifo(host / "dev/kmsg")
    writer = os.open(host / "dev/kmsg", os.O_RDWR)
    try:
        log = opened(host)
        assert log.xids() == []
        os.write(writer, b"3,2,3600123456,-;NVRM: Xid (PCI:0000:3b:00): 48, new\n")
        assert [xid.code for xid in log.xids()] == [48]
        log.close()
    finally:
        os.close(writer)


def test_a_check_says_which_witness_of_xids_there_is(host: Path) -> None:
    def told() -> tuple[str, str]:
        (sight,) = (each for each in seen(host) if each.part == "kernel log")
        return sight.status, sight.found

    assert told()[0] == "missing"
    (host / "var/log/syslog").write_text("")
    assert told() == ("ok", f"Xids are read from the {host}/var/log/syslog as well as from the driver's queue")
    (host / "dev/kmsg").write_text("")
    assert told() == ("ok", "Xids are read from the ring buffer as well as from the driver's queue")


def test_no_log_at_all_is_no_error(host: Path) -> None:
    log = opened(host)
    assert log.xids() == []
    assert log.source == ""


# -- both witnesses


@pytest.fixture
def node(host: Path, small_node: Path) -> Callable[..., Node]:
    """Return a function that makes a node; what its kernel says is in `dev/kmsg` of `host`."""
    (host / "dev/kmsg").write_text("")
    return lambda *gpus: Node(small_node / "proc", gpus, root=host)


def say(host: Path, until: float) -> None:
    (host / "dev/kmsg").write_text(kernel_log(Scenario(TWO_DEVICES), until, SINCE_BOOT))


def test_what_both_witnesses_tell_is_told_once_with_the_kernels_time_and_words(
    node: Callable[..., Node], host: Path
) -> None:
    gpu = node(*TWO_DEVICES)
    gpu.round()
    say(host, 110)
    told = events([gpu.round(), gpu.round()], "gpu_uuid", "xid_code", "is_critical", "source", "occurred_at")
    assert told == [
        ("GPU-b", 79, True, "kernel_log", T0 + timedelta(seconds=103)),
        ("GPU-b", 13, False, "kernel_log", T0 + timedelta(seconds=104.5)),
        ("GPU-b", 13, False, "kernel_log", T0 + timedelta(seconds=104.501)),
    ]


def test_the_kernels_line_may_come_after_the_drivers_event(node: Callable[..., Node], host: Path) -> None:
    gpu = node(*TWO_DEVICES)
    gpu.round()
    first = gpu.round()
    say(host, 110)
    assert [source for (source,) in events([first], "source")] == ["nvml"] * 3
    assert events([gpu.round()], "source") == []


def test_an_xid_that_the_driver_does_not_queue_is_told_by_the_kernel(node: Callable[..., Node], host: Path) -> None:
    silent = Gpu("GPU-b", event_types=0)
    gpu = node(Gpu("GPU-a"), silent)
    gpu.round()
    say(host, 110)
    assert [code for (code,) in events([gpu.round()], "xid_code")] == [79, 13, 13]


def test_the_same_fault_again_is_a_second_event(node: Callable[..., Node], host: Path) -> None:
    again = Gpu("GPU-b", incidents=(Incident("xid", 103, code=79), Incident("xid", 115, code=79)))
    gpu = node(Gpu("GPU-a"), again)
    tables = [gpu.round()]
    (host / "dev/kmsg").write_text(kernel_log(Scenario((Gpu("GPU-a"), again)), 110, SINCE_BOOT))
    tables.append(gpu.round())
    tables += gpu.rounds(2)
    assert events(tables, "xid_code", "source") == [(79, "kernel_log"), (79, "nvml")]


def test_a_device_that_nobody_has_named_keeps_its_event(node: Callable[..., Node], host: Path) -> None:
    gpu = node(Gpu("GPU-a"))
    gpu.round()
    at = round((T0 - BOOTED).total_seconds() + 105) * 1_000_000
    (host / "dev/kmsg").write_text(f"3,7,{at},-;NVRM: Xid (PCI:0000:ff:00): 79, GPU has fallen off the bus.\n")
    assert events([gpu.round()], "gpu_uuid", "xid_code") == [("", 79)]


def test_the_log_is_read_while_there_is_no_driver(small_node: Path, host: Path) -> None:
    (host / "dev/kmsg").write_text("")
    gpu = Node(small_node / "proc", TWO_DEVICES, root=host, reloads=(Reload(102, 150),))
    gpu.round()
    say(host, 110)
    assert [code for (code,) in events([gpu.round()], "xid_code")] == [79, 13, 13]


@pytest.mark.parametrize(
    "line",
    [
        "Nov 20 12:00:00 n1 alice: [99999999999999999999.000000] NVRM: Xid (PCI:0000:3b:00): 79, forged",
        "Nov 20 12:00:00 n1 alice: [1.000000] NVRM: Xid (PCI:0000:3b:00): 99999999999999999999, forged",
        "9999-12-31T23:59:59-23:59 n1 alice: NVRM: Xid (PCI:0000:3b:00): 79, forged",
        "Nov 20 12:00:00 n1 alice: NVRM: Xid (PCI:ffffffffffffffffffffffff:3b:00): 79, forged",
    ],
)
def test_numbers_that_cannot_be_cost_no_other_line(host: Path, line: str) -> None:
    """Any user of a node may write to its system log."""
    log = host / "var/log/messages"
    log.write_text("")
    found = opened(host)
    log.write_text(f"{line}\nn1 kernel: [3599.000000] NVRM: Xid (PCI:0000:3b:00): 31, pid=7\n")
    told = found.xids()
    assert told[-1] == (BOOTED + timedelta(seconds=3599), (0, 0x3B, 0), 31, "Xid 31: pid=7")
    assert all(each.code < 2**31 and each.at.year < 9999 for each in told)


def test_a_boot_that_cannot_be_is_not_known(host: Path) -> None:
    (host / "proc/stat").write_text("btime 99999999999999999999\n")
    (host / "dev/kmsg").write_text("3,102,3601500250,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=4242\n")
    assert [each.at for each in opened(host).xids()] == [BOOTED + timedelta(hours=1)]
