"""A real Alertmanager: alerts arrive once by their labels, stay while they last, and resolve."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ledger.sections import Receiver
from tests.app.incidents import MINUTE, Estate
from tests.missing import missing
from tests.ports import free_port

pytestmark = pytest.mark.xdist_group("alertmanager")


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("prometheus-alertmanager")
    if program is None:
        missing("no prometheus-alertmanager on the PATH: install Debian's package of that name")
    folder, port = tmp_path_factory.mktemp("alertmanager"), free_port()
    (folder / "config.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n", encoding="utf-8")
    options = [
        f"--config.file={folder / 'config.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        soon(lambda: is_ready(url))
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx2.HTTPError:
        return False


def soon(is_true: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def alerts(url: str, job: str) -> list[dict[str, Any]]:
    """Return the alerts of a job that fire."""
    found = httpx2.get(f"{url}/api/v2/alerts", params={"filter": f'job_id="{job}"'}, trust_env=False).json()
    return sorted(found, key=lambda each: each["labels"]["gpu_uuid"])


@pytest.fixture
def estate(alertmanager: str, tmp_path: Path) -> Iterator[Estate]:
    made = Estate(tmp_path / "ledger.duckdb", Receiver(name="am", kind="alertmanager", url=f"{alertmanager}/"))
    # An Alertmanager has a clock of its own, and an end that is yet to come by that clock is none.
    made.now = made.now.now(made.now.tzinfo).replace(microsecond=0) - MINUTE
    yield made
    made.context.close()


def test_alerts_arrive_stay_and_resolve(estate: Estate, alertmanager: str) -> None:
    since = estate.now - 40 * MINUTE
    estate.idles("G1", since=since, job_id="1")
    estate.idles("G2", since=since, job_id="1", user=None)
    assert estate.passes(minutes=0) == "2 told, 0 waiting"
    soon(lambda: len(alerts(alertmanager, "1")) == 2)
    first, second = alerts(alertmanager, "1")
    assert first["labels"] == {
        "alertname": "ClusterledgerIdleGpu",
        "severity": "warning",
        "cluster": "alpha",
        "node": "gpu-07",
        "gpu_uuid": "G1",
        "job_id": "1",
        "user": "ann",
        "team": "vision",
    }
    assert "user" not in second["labels"]
    assert first["generatorURL"] == "https://ledger.example.org/idle-incidents"
    assert first["annotations"]["summary"].startswith("1 GPU of job 1 (jupyter): idle for 40 min. ann, team vision")
    estate.idles("G1", since=since, job_id="1", idle_seconds=4000)
    estate.again()
    estate.passes(3, minutes=0)
    assert len(alerts(alertmanager, "1")) == 2, "the same labels are the same alert"
    estate.now += MINUTE / 60
    estate.ends("G1", since=since)
    assert estate.passes(minutes=0) == "1 told, 0 waiting"
    soon(lambda: [each["labels"]["gpu_uuid"] for each in alerts(alertmanager, "1")] == ["G2"])


def test_an_alert_is_renewed_while_it_lasts(estate: Estate, alertmanager: str) -> None:
    estate.idles("G1", since=estate.now - 40 * MINUTE, job_id="2")
    estate.passes(minutes=0)
    soon(lambda: alerts(alertmanager, "2"))
    before = alerts(alertmanager, "2")[0]["endsAt"]
    estate.passes(minutes=5)
    soon(lambda: alerts(alertmanager, "2")[0]["endsAt"] > before)


def test_whose_it_is_may_become_known_and_it_may_turn_out_to_be_none_without_another_alert(
    estate: Estate, alertmanager: str
) -> None:
    """The scheduler's account of a job may come later than its samples, and be corrected."""
    since = estate.now - 40 * MINUTE
    estate.idles("G1", since=since, job_id="4", user=None)
    estate.passes(minutes=0)
    soon(lambda: alerts(alertmanager, "4"))
    estate.idles("G1", since=since, job_id="4", user="bea", team="speech")
    estate.passes(minutes=0)
    soon(lambda: [each for each in alerts(alertmanager, "4") if "bea" in each["annotations"]["summary"]])
    (alert,) = alerts(alertmanager, "4")
    assert (alert["labels"]["team"], alert["labels"].get("user")) == ("vision", None), "as it was told first"
    estate.now += MINUTE / 60
    estate.vanishes("G1", since=since)
    assert estate.passes(minutes=0) == "1 told, 0 waiting"
    soon(lambda: not alerts(alertmanager, "4"))


def test_an_alert_is_quiet_while_somebody_takes_care_of_it_or_it_is_snoozed(estate: Estate, alertmanager: str) -> None:
    since = estate.now - 40 * MINUTE
    estate.idles("G1", since=since, job_id="5")
    for decision, until in (("acknowledged", None), ("snoozed", estate.now + 30 * MINUTE)):
        estate.passes(minutes=0)
        soon(lambda: alerts(alertmanager, "5"))
        estate.now += MINUTE / 60
        estate.decide(gpu_uuid="G1", decision=decision, snoozed_until=until)
        estate.passes(2, minutes=0)
        soon(lambda: not alerts(alertmanager, "5"))
        if until is None:
            estate.decide(gpu_uuid="G1", decision="open")
    estate.passes(minutes=31)
    soon(lambda: alerts(alertmanager, "5"))
    (alert,) = alerts(alertmanager, "5")
    assert alert["annotations"]["status"] == "open", "it lasts longer than it was snoozed for"


def test_an_alertmanager_that_refuses_is_told_again(estate: Estate, alertmanager: str, tmp_path: Path) -> None:
    wrong = Estate(tmp_path / "wrong.duckdb", Receiver(name="am", kind="alertmanager", url=f"{alertmanager}/nowhere"))
    wrong.idles("G1", since=wrong.now - 40 * MINUTE, job_id="3")
    assert wrong.passes() == "0 told, 1 waiting"
    assert "HTTP 404" in wrong.notices()[0]["message"]
    wrong.receivers = (Receiver(name="am", kind="alertmanager", url=alertmanager),)
    wrong.now = estate.now
    wrong.idles("G1", since=wrong.now - 40 * MINUTE, job_id="3")
    wrong.again()
    wrong.passes(2, minutes=1)
    soon(lambda: alerts(alertmanager, "3"))
    wrong.context.close()
