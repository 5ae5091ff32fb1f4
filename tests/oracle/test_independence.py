"""What judges the rollups must not be built from them."""

import ast
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "name",
    [
        *("oracle_facts", "oracle_state", "oracle_time", "oracle_money", "oracle_sharing"),
        *("oracle_estimates", "oracle_answers", "oracle_forecast", "oracle_unusual", "oracle_what_if"),
        *("oracle_owned", "oracle_exchange", "oracle_imports", "oracle_statements"),
    ],
)
def test_an_oracle_imports_the_language_and_the_ledgers_words_only(name: str) -> None:
    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert plain | froms
    foreign = {each for each in plain | froms if str(each).split(".")[0] not in sys.stdlib_module_names}
    oracles = {f"tests.oracle.{each}" for each in ("oracle_facts", "oracle_state", "oracle_money")}
    assert foreign <= {"ledger.names", *oracles}
