"""The fake driver says what its scenario says, in pynvml's own shape."""

import inspect
from pathlib import Path

import msgspec
import pynvml
import pytest

from collectors.fake_nvml import FakeNvml, Gpu, Handle, Incident, Phase, Scenario, kernel_log, scenario

STORY = """
[[gpus]]
uuid = "GPU-a"
generation = "ampere"
[[gpus.phases]]
power_watts = 100.0
[[gpus.phases]]
start_seconds = 10.0
power_watts = 300.0
[[gpus.incidents]]
kind = "lost"
start_seconds = 30.0
"""


def test_a_scenario_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(STORY)
    played = scenario(path)
    assert played.gpus[0].phases[1].start_seconds == 10.0
    now = [20.0]
    fake = FakeNvml(played, lambda: now[0])
    handle = fake.nvmlDeviceGetHandleByIndex(0)
    assert fake.nvmlDeviceGetTotalEnergyConsumption(handle) == (10 * 100 + 10 * 300) * 1000
    now[0] = 31.0
    with pytest.raises(pynvml.NVMLError) as caught:
        fake.nvmlDeviceGetTotalEnergyConsumption(handle)
    assert caught.value.value == pynvml.NVML_ERROR_GPU_IS_LOST


def test_a_scenario_with_a_typo_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="kind"):
        scenario({"gpus": [{"uuid": "GPU-a", "incidents": [{"kind": "lots"}]}]})


def test_an_empty_list_raises_success_as_the_binding_does() -> None:
    fake = FakeNvml(Scenario((Gpu("GPU-a"),)), lambda: 0.0)
    with pytest.raises(pynvml.NVMLError) as caught:
        fake.nvmlDeviceGetProcessUtilization(Handle(0), 0)
    assert caught.value.value == pynvml.NVML_SUCCESS


def test_every_call_exists_in_the_binding() -> None:
    ours = [name.removeprefix("_") for name, _ in inspect.getmembers(FakeNvml) if name.startswith("_nvml")]
    assert len(ours) > 35
    assert [name for name in ours if not hasattr(pynvml, name)] == []


def test_calls_are_counted_and_refused_one_by_one() -> None:
    incident = Incident("error", call="nvmlDeviceGetPowerUsage", code=pynvml.NVML_ERROR_NO_PERMISSION)
    fake = FakeNvml(Scenario((Gpu("GPU-a", phases=(Phase(),), incidents=(incident,)),)), lambda: 0.0)
    with pytest.raises(pynvml.NVMLError):
        fake.nvmlDeviceGetPowerUsage(Handle(0))
    assert fake.nvmlDeviceGetTemperature(Handle(0), 0) == 35
    assert fake.calls["nvmlDeviceGetPowerUsage"] == 1


RELOADED = """
driver_version = "580.95.05"
[[reloads]]
start_seconds = 10.0
end_seconds = 20.0
driver_version = "590.44.01"
[[gpus]]
uuid = "GPU-a"
accounting = [{ pid = 7, start_seconds = 1.0, end_seconds = 4.0 }]
[[gpus.incidents]]
kind = "xid"
start_seconds = 5.0
code = 79
"""


def test_a_driver_that_is_loaded_again_wants_a_new_session_and_counts_anew(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(RELOADED)
    now = [9.0]
    fake = FakeNvml(scenario(path), lambda: now[0])
    handle = fake.nvmlDeviceGetHandleByIndex(0)
    assert fake.nvmlDeviceGetTotalEnergyConsumption(handle) == 9 * 70_000
    assert fake.nvmlDeviceGetAccountingStats(handle, 7).time == 3000
    for moment, code in ((15.0, pynvml.NVML_ERROR_DRIVER_NOT_LOADED), (25.0, pynvml.NVML_ERROR_UNINITIALIZED)):
        now[0] = moment
        with pytest.raises(pynvml.NVMLError) as caught:
            fake.nvmlDeviceGetCount()
        assert caught.value.value == code
    fake.nvmlShutdown()
    fake.nvmlInit()
    assert fake.nvmlSystemGetDriverVersion() == "590.44.01"
    assert fake.nvmlDeviceGetTotalEnergyConsumption(handle) == 5 * 70_000


def test_the_kernel_says_what_the_scenario_says(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(RELOADED)
    played = scenario(path)
    assert kernel_log(played, 4.9) == ""
    assert kernel_log(played, 5.0, booted_seconds=-1.5).startswith("3,0,6500000,-;NVRM: Xid (PCI:0000:1a:00): 79, ")


def test_the_drivers_own_samples_are_those_since_the_last_one() -> None:
    fake = FakeNvml(Scenario((Gpu("GPU-a", phases=(Phase(kernel=0.25),)),)), lambda: 100.0)
    kind, samples = fake.nvmlDeviceGetSamples(Handle(0), pynvml.NVML_GPU_UTILIZATION_SAMPLES, 97_000_000)
    assert kind == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
    assert [(each.timeStamp, each.sampleValue.uiVal) for each in samples] == [
        (98_000_000, 25), (99_000_000, 25), (100_000_000, 25),
    ]  # fmt: skip
    with pytest.raises(pynvml.NVMLError):
        fake.nvmlDeviceGetSamples(Handle(0), pynvml.NVML_GPU_UTILIZATION_SAMPLES, 100_000_000)
