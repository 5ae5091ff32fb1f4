"""What a seed draws does not depend on what else the process has loaded."""

import subprocess
import sys
from pathlib import Path

from tests.draws import constants

ROOT = Path(__file__).parent.parent

DRAWN = """
import tests.conftest
from hypothesis import given, seed, settings, strategies as st

@seed(3)
@settings(max_examples=300, database=None)
@given(st.lists(st.one_of(st.integers(), st.floats(), st.text())))
def drawn(values):
    print(ascii(values))

drawn()
"""


def drawn(first: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", first + DRAWN], cwd=ROOT, check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout


def test_what_is_loaded_does_not_change_what_a_seed_draws() -> None:
    alone = drawn("")
    assert drawn("import ledger.tables, queries.executor, collectors.simulate\n") == alone
    assert alone.count("\n") >= 300


def test_the_numbers_and_words_of_the_project_are_among_them() -> None:
    assert min(map(len, (constants().integers, constants().floats, constants().strings))) > 100
