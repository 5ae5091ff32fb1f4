"""sacct's text becomes jobs, whatever stands in names and comments."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from collectors import _slurm_text as slurm_text
from collectors.dumps.sacct import sacct
from ledger.errors import InputError
from ledger.tables.jobs import Job

COLUMNS = (
    "JobID|JobIDRaw|Cluster|User|Account|Partition|JobName|Submit|Eligible|Start|End|State|Reason|ExitCode|"
    "ReqTRES|AllocTRES|NodeList|TimelimitRaw|Comment"
)
TRAIN = (
    "41|41|alpha|ana|vision|gpu|train|2026-11-01T10:00:00|2026-11-01T10:00:00|2026-11-01T10:05:00|2026-11-01T12:05:00|"
    "COMPLETED|None|0:0|cpu=16,gres/gpu=4,gres/gpu:h100=4,node=2|cpu=16,gres/gpu=4,gres/gpu:h100=4,mem=64G,node=2|"
    "n[01-02]|1440|"
)


def _file(folder: Path, *lines: str, columns: str = COLUMNS) -> Path:
    path = folder / "sacct.txt"
    path.write_bytes("\n".join((columns, *lines)).encode() + b"\n")
    return path


def test_one_record_is_one_job(tmp_path: Path) -> None:
    dump = sacct.read(_file(tmp_path, TRAIN))
    (job,) = Job.validate(dump.frames[Job]).to_dicts()
    assert (job["job_id"], job["cluster"], job["user"], job["state"]) == ("41", "alpha", "ana", "COMPLETED")
    assert (job["gpu_count"], job["requested_gpu_model"], job["nodes"]) == (4.0, "h100", "n01,n02")
    assert job["started_at"] == datetime(2026, 11, 1, 10, 5, tzinfo=UTC)
    assert job["time_limit_seconds"] == 86_400
    assert job["memory_bytes"] == 64 * 2**30
    assert job["pending_reason"] is None
    assert dump.naive_instant_count == 4


def test_a_comment_may_span_lines(tmp_path: Path) -> None:
    dump = sacct.read(_file(tmp_path, TRAIN + "first\nsecond", TRAIN.replace("41|41", "42|42")))
    assert dump.frames[Job]["comment"].to_list() == ["first\nsecond", None]
    assert not dump.rejected


def test_a_longer_delimiter_lets_names_hold_bars(tmp_path: Path) -> None:
    line = TRAIN.replace("train", "a:b").replace("|", "|#").replace("a:b", "a|b")
    dump = sacct.read(_file(tmp_path, line, columns=COLUMNS.replace("|", "|#")))
    assert dump.frames[Job]["job_name"].to_list() == ["a|b"]


def test_a_bar_in_a_name_refuses_that_record_alone(tmp_path: Path) -> None:
    dump = sacct.read(_file(tmp_path, TRAIN.replace("train", "a|b"), TRAIN))
    assert dump.frames[Job].height == 1
    assert [each.reason for each in dump.rejected] == ["found 20 fields, expected 19"]
    assert dump.rejected[0].where.endswith("sacct.txt: line 2")


def test_bytes_that_are_no_utf8_are_kept_and_said(tmp_path: Path) -> None:
    path = tmp_path / "sacct.txt"
    path.write_bytes(f"{COLUMNS}\n{TRAIN}".encode().replace(b"train", b"tra\xffn"))
    dump = sacct.read(path)
    assert dump.frames[Job]["job_name"].to_list() == ["tra�n"]
    assert any("UTF-8" in remark for remark in dump.remarks)


def test_steps_are_passed_over_and_counted(tmp_path: Path) -> None:
    dump = sacct.read(_file(tmp_path, TRAIN, TRAIN.replace("41|41", "41.batch|41.batch")))
    assert dump.frames[Job].height == 1
    assert "1 job step passed over" in dump.remarks


def test_a_running_array_task_has_no_end_and_keeps_its_raw_id(tmp_path: Path) -> None:
    line = TRAIN.replace("41|41", "40_7|41").replace("2026-11-01T12:05:00", "Unknown").replace("COMPLETED", "RUNNING")
    (job,) = sacct.read(_file(tmp_path, line)).frames[Job].to_dicts()
    assert job["ended_at"] is None
    assert (job["job_id"], job["labels"]) == ("41", '{"JobID": "40_7"}')


def test_a_pending_job_has_no_devices_yet(tmp_path: Path) -> None:
    line = (
        "43|43|alpha|ana|vision|gpu|wait|2026-11-01T10:00:00|Unknown|Unknown|Unknown|PENDING|Resources|0:0|"
        "cpu=16,gres/gpu=8,node=1||None assigned|1440|"
    )
    (job,) = sacct.read(_file(tmp_path, line)).frames[Job].to_dicts()
    assert (job["requested_gpu_count"], job["gpu_count"], job["started_at"]) == (8.0, None, None)
    assert (job["pending_reason"], job["nodes"]) == ("Resources", None)


def test_runs_of_a_requeued_job_are_numbered_and_repeats_dropped(tmp_path: Path) -> None:
    first = TRAIN.replace("COMPLETED", "NODE_FAIL")
    second = TRAIN.replace("2026-11-01T10:05:00", "2026-11-01T12:10:00").replace(
        "2026-11-01T12:05:00", "2026-11-01T13:00:00"
    )
    jobs = sacct.read(_file(tmp_path, second, first, second)).frames[Job].sort("restart_count")
    assert jobs["restart_count"].to_list() == [0, 1]
    assert jobs["state"].to_list() == ["NODE_FAIL", "COMPLETED"]


def test_epoch_seconds_have_a_zone(tmp_path: Path) -> None:
    line = TRAIN.replace("2026-11-01T10:00:00", "1793527200").replace("2026-11-01T10:05:00", "1793527500")
    dump = sacct.read(_file(tmp_path, line.replace("2026-11-01T12:05:00", "1793534700")))
    assert dump.naive_instant_count == 0
    assert dump.frames[Job]["submitted_at"].to_list() == [datetime(2026, 11, 1, 10, tzinfo=UTC)]


def test_a_mangled_instant_refuses_its_record(tmp_path: Path) -> None:
    dump = sacct.read(_file(tmp_path, TRAIN.replace("2026-11-01T12:05:00", "yesterday"), TRAIN))
    assert dump.frames[Job].height == 1
    assert dump.rejected[0].reason == "column End: found 'yesterday', expected an instant"


def test_a_missing_column_says_which_command_gives_it(tmp_path: Path) -> None:
    path = _file(tmp_path, "41|41", columns="JobID|State")
    with pytest.raises(InputError, match=r"line 1: found no column JobIDRaw.*\n  hint: sacct "):
        sacct.read(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("None assigned", []),
        ("n1", ["n1"]),
        ("n[1-3,7],m2", ["n1", "n2", "n3", "n7", "m2"]),
        ("gpu[008-010]", ["gpu008", "gpu009", "gpu010"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("r[1-2]-ib", ["r1-ib", "r2-ib"]),
    ],
)
def test_host_lists(text: str, expected: list[str]) -> None:
    assert slurm_text.nodes(text) == expected


def test_typed_gpus_are_not_counted_beside_their_sum() -> None:
    assert slurm_text.gpu_count({"gres/gpu": "4", "gres/gpu:a100": "4"}) == 4
    assert slurm_text.gpu_count({"gres/gpu:a100": "1", "gres/gpu:h100": "2"}) == 3
    assert slurm_text.gpu_count({}, "gpu:a100:2(IDX:0-1)") == 2
    assert slurm_text.gpu_count({"cpu": "4"}) is None


@pytest.mark.real_data
def test_real_text_with_its_hard_cases(shared_data: Path) -> None:
    dump = sacct.read(shared_data / "slurm/gcm_sample-sacct-one-multiline.txt")
    jobs = Job.validate(dump.frames[Job])
    assert jobs["job_id"].to_list() == ["201729", "201844"]
    assert jobs["gpu_count"].to_list() == [1024.0, 256.0]
    assert jobs["node_count"].to_list() == [128, 32]
    assert jobs["nodes"].str.split(",").list.len().to_list() == [128, 32]
    assert not dump.rejected
