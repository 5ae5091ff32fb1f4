"""What the README shows is what happens."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from collectors._round import sources
from collectors.agent import node_collectors
from collectors.cluster._configured import problems
from ledger.config import Settings, load

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))

EXAMPLES = [
    (page.name, each) for page in PAGES for each in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
]
BLOCKS = re.findall(r"```console\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_every_console_block_runs(block: str, tmp_path: Path) -> None:
    commands = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    assert commands
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        done = subprocess.run(
            shlex.split(command),
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout or "--out" in command or "demo" in command, command
    assert sorted(each.suffix for each in (tmp_path / "report").iterdir()) == [".eml", ".html", ".txt"]


@pytest.mark.parametrize(("text", "example"), EXAMPLES)
def test_every_example_of_a_configuration_is_one(text: str, example: str, tmp_path: Path) -> None:
    path = tmp_path / "clusterledger.toml"
    path.write_text(example)
    settings = load(path)
    assert settings != Settings(), text
    assert list(problems(settings)) == []
    sources(node_collectors(), None, settings, {})


def test_links_between_pages_lead_somewhere() -> None:
    links = [(page, to) for page in PAGES for to in re.findall(r"\]\(([^)#:]+)\)", page.read_text())]
    assert len(links) >= 3
    assert [(page.name, to) for page, to in links if not (page.parent / to).exists()] == []


def test_pictures_of_the_readme_exist() -> None:
    named = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (README.parent / name).is_file()] == []
