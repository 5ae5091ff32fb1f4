"""Memory goes back to the system: both allocators are set in a process that settles, and what was said before stays."""

import os
import platform
import subprocess
import sys

import pytest

SETTLE = """
import os, sys
from ledger import memory
memory.settle()
assert "polars" not in sys.modules, "Polars' allocator reads its settings when it is loaded"
print(os.environ["_RJEM_MALLOC_CONF"])
"""

ARENAS = """
import ctypes, os, re, sys, tempfile, threading
from ledger import memory
if sys.argv[1] == "settled":
    memory.settle()
library = ctypes.CDLL(None)
library.malloc.restype = library.fdopen.restype = ctypes.c_void_p
here, on = threading.Barrier(9), threading.Event()
def work():
    library.malloc(ctypes.c_size_t(5000))
    here.wait()
    on.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for each in threads:
    each.start()
here.wait()
with tempfile.TemporaryFile() as file:
    stream = ctypes.c_void_p(library.fdopen(os.dup(file.fileno()), b"w"))
    library.malloc_info(0, stream)
    library.fclose(stream)
    file.seek(0)
    print(len(re.findall(rb"<heap nr=", file.read())))
on.set()
"""


KEPT = """
import ctypes, sys
from pathlib import Path
from ledger import memory
memory.settle()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
large = 2**23  # a column of a million values
before = resident()
place = ctypes.c_void_p(library.malloc(ctypes.c_size_t(large)))
ctypes.memset(place, 1, large)
library.free(place)
kept = resident() - before
memory.release()
print(kept > large // 2, resident() - before > large // 2)
"""


ANSWERS = """
import sys
from pathlib import Path
from ledger._connection import connect, fetch
connection = connect("duckdb::memory:")
rows = int(sys.argv[1])
values = "{0}::DOUBLE AS c{0}", "'more than a view of text holds ' || range AS c{0}"
text = "SELECT " + ", ".join(values[number % 2].format(number) for number in range(40)) + f" FROM range({rows})"
def mapped():
    return int(Path("/proc/self/statm").read_text().split()[0]) * 4096
before = mapped()
kept = [fetch(connection, text) for _ in range(int(sys.argv[2]))]
print(mapped() - before < 4e9, {each.shape for each in kept})
"""


def run(code: str, *arguments: str, **environment: str) -> str:
    """Return what a new process prints; of the environment it has what concerns allocators from here alone."""
    names = ("_RJEM_MALLOC_CONF", "MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, timeout=60, check=False, env=inherited | environment,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_polars_is_told_to_return_pages_by_itself() -> None:
    said = dict(part.split(":") for part in run(SETTLE).split(","))
    assert said["background_thread"] == "true"
    assert 1_000 <= int(said["dirty_decay_ms"]) <= 10_000, "kept for the next stretch, gone after the last one"


def test_what_the_environment_says_of_polars_stays() -> None:
    assert run(SETTLE, _RJEM_MALLOC_CONF="dirty_decay_ms:77") == "dirty_decay_ms:77"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas to limit")
def test_the_c_library_has_few_arenas_unless_the_environment_says_how_many() -> None:
    assert int(run(ARENAS, "as it is", MALLOC_ARENA_MAX="6")) == 6, "each thread takes one, if it may"
    assert int(run(ARENAS, "settled")) == 1
    assert int(run(ARENAS, "settled", MALLOC_ARENA_MAX="6")) == 6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps pages until told")
def test_the_heap_keeps_its_pages_until_they_are_released() -> None:
    assert run(KEPT) == "True False"


def test_the_command_line_settles_before_polars_is_loaded() -> None:
    assert run("import sys, app.cli; print('polars' in sys.modules)") == "False"


@pytest.mark.skipif(platform.system() != "Linux", reason="what a process has mapped is told by Linux alone")
@pytest.mark.parametrize(("rows", "count"), [(1, 100), (17_000, 20)])
def test_answers_that_are_kept_take_little_address_space(rows: int, count: int) -> None:
    """DuckDB makes room for a million rows in each column: gigabytes for these, and one text holds them all."""
    assert run(ANSWERS, str(rows), str(count)) == f"True {{({rows}, 40)}}"
