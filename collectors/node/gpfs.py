"""IBM Storage Scale (GPFS) of a node's client, by file system."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from collectors._settings import CollectorSettings
from collectors.node._command import Command
from collectors.node._files import as_count
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Emitted, Row, collector

_COUNTERS: Final = {
    "read_bytes_total": "_br_",
    "written_bytes_total": "_bw_",
    "read_count_total": "_rdc_",
    "write_count_total": "_wc_",
    "open_count_total": "_oc_",
    "close_count_total": "_cc_",
    "directory_read_count_total": "_dir_",
    "inode_update_count_total": "_iu_",
}
_RECORD: Final = "_fs_io_s_"
_DONE: Final = 0
_NOTHING_MOUNTED: Final = 1
_OFF: Final = "set collectors.gpfs.enabled = false on this node"


class GpfsSettings(CollectorSettings):
    """Where its monitor is, and how long it may take."""

    tool: Annotated[Path, Field(description="The monitor of IBM Storage Scale")] = Path("/usr/lpp/mmfs/bin/mmpmon")
    answer_seconds: Annotated[float, Field(gt=0, le=60, description="A monitor that takes longer is ended")] = 3.0


@collector(emits=("gpfs_sample",), every_seconds=30, settings=GpfsSettings)
def gpfs(settings: GpfsSettings | None = None) -> Emitted:
    """Yield one row per mounted file system, as applications used it: what the cache answered is counted too.

    The monitor asks the file system's daemon and touches no mount; counters begin anew with the daemon.

    Raises: SourceMissing: there is no monitor here. SourceError: it may not be run (it is for root), does not answer
    in time, or says that it failed. Nulls: what this version does not count.
    Source: mmpmon fs_io_s with machine-readable output; `_br_` and `_bw_` are bytes.
    """
    decided = settings or GpfsSettings()
    if not decided.tool.is_file():
        raise SourceMissing(f"{decided.tool} does not exist", hint=_OFF)
    for line in _answer(decided).splitlines():
        words = line.split()
        if words[:1] == [_RECORD]:
            values = dict(zip(words[1::2], words[2::2], strict=False))
            code = as_count(values.get("_rc_"))
            if code not in {_DONE, _NOTHING_MOUNTED}:
                raise SourceError(f"{decided.tool}: found {line[:120]!r}, expected _rc_ 0")
            if code == _DONE:
                yield "gpfs_sample", _row(values)


def _row(values: dict[str, str]) -> Row:
    return {
        "file_system": values.get("_fs_", ""),
        "gpfs_cluster": values.get("_cl_", ""),
        "disk_count": as_count(values.get("_d_")),
        **{column: as_count(values.get(name)) for column, name in _COUNTERS.items()},
    }


def _answer(decided: GpfsSettings) -> str:
    """Return what the monitor prints.

    Raises: SourceMissing: it is none. SourceError: it cannot be run, does not answer in time, or fails.
    """
    monitor = Command((str(decided.tool), "-p"), decided.answer_seconds, given="fs_io_s\n")
    try:
        done = monitor.answer()
    except FileNotFoundError:
        raise SourceMissing(f"{decided.tool} is no program of this node", hint=_OFF) from None
    if done.code != 0 and _RECORD not in done.text:
        found = (done.error or done.text.strip() or "no word").splitlines()[0][:120]
        raise SourceError(
            f"{decided.tool}: ended with {done.code}: {found}", hint="mmpmon is for root: run the agent as root"
        )
    return done.text
