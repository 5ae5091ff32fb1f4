"""What exists keeps the instant at which it appeared, and ends when it is cut or gone."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from collectors._round import Result, Run, Source
from collectors._stamp import Forgetful, Identity, existing, stamped
from collectors.agent import node_collectors
from collectors.fake_nvml import FakeNvml, Gpu, Scenario, Slice
from ledger.config import Settings
from tests.collectors.hub import FIXTURES

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_device_keeps_the_instant_at_which_it_appeared() -> None:
    memory = Forgetful()
    base = {"cluster": "lab", "node": "n1", "gpu_uuid": "GPU-a", "parent_gpu_uuid": "", "exists_end": None}
    first = existing("gpu", {**base, "exists_start": AT, "idle_power_watts": 70.0}, memory)
    later = AT + timedelta(hours=5)
    second = existing("gpu", {**base, "exists_start": later, "idle_power_watts": 99.0}, memory)
    third = existing("gpu", {**base, "exists_start": later}, memory)
    assert first["exists_start"] == second["exists_start"] == third["exists_start"] == AT
    assert second["idle_power_watts"] == third["idle_power_watts"] == 70.0
    ended = existing("gpu", {**base, "exists_start": later, "exists_end": later}, memory)
    assert (ended["exists_start"], ended["exists_end"]) == (AT, later)
    assert existing("gpu", {**base, "exists_start": later}, memory)["exists_start"] == later


def test_a_device_that_was_cut_while_nobody_looked_has_ended(settings: Settings) -> None:
    """Between two runs of the agent the device was cut: it must not be counted beside its slices."""
    whole = Scenario((Gpu("GPU-a"),))
    cut = Scenario((Gpu("GPU-a", slices=(Slice("MIG-1", 1), Slice("MIG-2", 2))),))
    memory = Forgetful()
    identity = Identity("lab", "n1", "boot")
    found = []
    for played in (whole, cut, whole):
        source = Source(node_collectors()["nvml"], {}, {"procfs": FIXTURES, "library": FakeNvml(played, lambda: 1.0)})
        tables = stamped([source.collect()], identity, memory)
        found.append({row["gpu_uuid"]: row["exists_end"] is not None for row in tables["gpu"]})
    assert found == [
        {"GPU-a": False},
        {"MIG-1": False, "MIG-2": False, "GPU-a": True},
        {"GPU-a": False, "MIG-1": True, "MIG-2": True},
    ]


def test_the_past_of_a_rest_keeps_its_part_when_its_device_is_cut_anew() -> None:
    """One slice of a seventh leaves six; another one of four leaves two: from then on, and not ever since."""
    memory = Forgetful()
    identity = Identity("lab", "n1", "boot")

    def told(at: datetime, **parts: str) -> list[tuple[object, ...]]:
        rows = [
            ("gpu", {"gpu_uuid": uuid, "parent_gpu_uuid": "GPU-a", "gpu_fraction": Decimal(part), **existence(at)})
            for uuid, part in parts.items()
        ]
        run = Run("nvml", ok=True, rows=len(rows), duration_seconds=0.1, error=None)
        made = stamped([Result(run, at, 60.0, rows)], identity, memory)["gpu"]
        names = ("gpu_uuid", "gpu_fraction", "exists_start", "exists_end")
        return [
            tuple(Decimal(str(row[name])) if name == "gpu_fraction" else row[name] for name in names) for row in made
        ]

    def existence(at: datetime) -> dict[str, object]:
        return {"exists_start": at, "exists_end": None}

    later, again = AT + timedelta(hours=3), AT + timedelta(hours=4)
    one, four = Decimal("0.142857"), Decimal("0.571429")
    assert told(AT, m1="0.142857", rest="0.857143") == [
        ("m1", one, AT, None),
        ("rest", Decimal("0.857143"), AT, None),
    ]
    assert told(later, m1="0.142857", m4="0.571429", rest="0.285714") == [
        ("m1", one, AT, None),
        ("m4", four, later, None),
        ("rest", Decimal("0.857143"), AT, later),
        ("rest", Decimal("0.285714"), later, None),
    ]
    assert told(again, m1="0.142857", m4="0.571429", rest="0.285714") == [
        ("m1", one, AT, None),
        ("m4", four, later, None),
        ("rest", Decimal("0.285714"), later, None),
    ]
