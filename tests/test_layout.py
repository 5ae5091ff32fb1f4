"""The house's own rules, where no linter knows them."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import group_of

ROOT = Path(__file__).parent.parent

PACKAGES = ("ledger", "collectors", "queries", "app")

SOURCES = sorted(path for name in (*PACKAGES, "bench", "tests") for path in (ROOT / name).rglob("*.py"))


def test_no_module_of_the_app_hides_a_package() -> None:
    """Streamlit puts `app/` first on `sys.path`: a file `app/queries.py` would silently replace the package."""
    names = {path.stem if path.suffix == ".py" else path.name for path in (ROOT / "app").iterdir()}
    assert names & {"ledger", "collectors", "queries", "bench", "tests", "pages"} == set()
    assert names & set(sys.stdlib_module_names) == set()


def test_the_agent_is_light() -> None:
    heavy = (
        "polars",
        "dataframely",
        "duckdb",
        "pyarrow",
        "pandas",
        "streamlit",
        "rich",
        "ledger.tables",
        "ledger.store",
    )
    script = f"import collectors.agent, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_one_broad_except_stands_around_a_collectors_run() -> None:
    found = [
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if path.parts[len(ROOT.parts)] in PACKAGES
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*except( Exception\b|:)", line)
    ]
    assert len(found) == 1
    assert found[0].startswith("collectors/")


def test_no_module_that_handles_money_takes_the_size_of_an_amount_with_abs() -> None:
    """`abs` rounds a Decimal to 28 digits, and amounts have up to 38; `copy_abs` takes them as they are."""
    found = []
    for path in (each for each in SOURCES if each.parts[len(ROOT.parts)] in PACKAGES):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        imports = [each for each in nodes if isinstance(each, ast.ImportFrom)]
        names = {f"{each.module}.{name.name}" for each in imports for name in each.names}
        called = {each.func.id for each in nodes if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)}
        handles_money = any(each.startswith(("ledger.money.", "ledger._amount.")) for each in names)
        if "abs" in called and ("ledger.money" in names or handles_money):
            found.append(path.relative_to(ROOT).as_posix())
    assert found == []


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX", "NotImplementedError"])
def test_nothing_is_left_for_later(word: str) -> None:
    here = Path(__file__).resolve()
    found = [
        path.name for path in SOURCES if path != here and re.search(rf"\b{word}\b", path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_no_registry_and_no_lock_file_is_recorded() -> None:
    assert not list(ROOT.glob("*.lock"))
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_what_is_marked_as_one_group_is_run_by_one_process(request: pytest.FixtureRequest) -> None:
    groups: dict[str, set[str]] = {}
    for item in request.session.items:
        for mark in item.iter_markers("xdist_group"):
            groups.setdefault(mark.args[0], set()).add(group_of(item.nodeid))
    assert {name: found for name, found in groups.items() if len(found) > 1} == {}
