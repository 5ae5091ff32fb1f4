"""The door that every collector's rows must pass, and a small node that was written by hand."""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from collectors._round import Result, Run
from collectors._stamp import Forgetful, Identity, stamped
from collectors.wire import decode, encode
from ledger.frames import to_frame
from ledger.registry import Row
from ledger.store import Store
from ledger.tables import TABLES

AT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)

_NOBODY = 65534

Emitted = Iterable[tuple[str, Row]]
Door = Callable[[Emitted], dict[str, pl.DataFrame]]


@pytest.fixture
def small_node() -> Path:
    """Return the roots of a small node: `proc` and `sys`."""
    return Path(__file__).parents[2] / "fixtures" / "node"


@pytest.fixture
def refused_root() -> Iterator[Path]:
    """Return an empty root for files that an ordinary user may be refused; the test runs as one, even as root."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(root, _NOBODY, _NOBODY)
        os.seteuid(_NOBODY)
    try:
        yield root
    finally:
        if is_root:
            os.seteuid(0)
        for path in root.rglob("*"):
            path.chmod(0o700)
        shutil.rmtree(root)


@pytest.fixture
def kept() -> Door:
    """Return a function that takes a collector's rows over the wire into a store, and gives back what was kept."""

    def through(rows: Emitted) -> dict[str, pl.DataFrame]:
        listed = list(rows)
        run = Run("tested", ok=True, rows=len(listed), duration_seconds=0.1, error=None)
        identity = Identity("lab", "n1", "boot-1")
        tables = stamped([Result(run, AT, 10.0, listed)], identity, Forgetful())
        batch = decode(encode("batch-1", "n1", "boot-1", tables))
        found = {}
        with Store.open("duckdb::memory:") as store:
            for name, columns in batch.tables.items():
                schema = TABLES[name].schema
                written = store.append(schema, to_frame(schema, columns), source="test")
                assert (written.rejected, written.duplicates) == (0, 0), name
                assert not written.unknown_columns, name
                found[name] = store.read(schema)
        return found

    return through


@pytest.fixture
def recorded(shared_data: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that unpacks a recorded tree."""

    def unpack(name: str) -> Path:
        with tarfile.open(shared_data / "node" / name) as archive:
            archive.extractall(tmp_path, filter="data")
        return tmp_path

    return unpack
