"""Habits that a machine checks: ruff's rules, and the types of the floors that carry the guarantee."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([Path(sys.executable).with_name(tool), *arguments], cwd=ROOT, capture_output=True, text=True)


def test_ruff_has_nothing_to_say():
    found = run("ruff", "check", "--no-cache", "--output-format", "concise")
    assert found.returncode == 0, found.stdout


def test_ruff_would_say_something(tmp_path):
    (tmp_path / "worse.py").write_text("import os\n")
    found = run("ruff", "check", "--no-cache", "--config", str(ROOT / "pyproject.toml"), str(tmp_path))
    assert found.returncode == 1 and "F401" in found.stdout


@pytest.mark.full
def test_mypy_has_nothing_to_say(tmp_path):
    found = run("mypy", "--cache-dir", str(tmp_path))
    assert found.returncode == 0, found.stdout


def test_what_runs_before_a_commit_is_what_make_lint_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"] for repo in hooks for hook in repo["hooks"]]
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert entries == [line.strip().replace("@$(BIN)", ".venv/bin") for line in recipe.splitlines()[1:]]
