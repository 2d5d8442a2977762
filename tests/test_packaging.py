"""One list of packages (pyproject.toml), one list of versions (constraints.txt), and what reads them agrees."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_packages

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1]
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
}


def needed(requirements, seen: set) -> set:
    """(name, extras) of every package that these requirements need in this environment, themselves included."""
    for requirement in requirements:
        key = (canonicalize_name(requirement.name), *sorted(requirement.extras))
        if key not in seen:
            seen.add(key)
            extras = {"", *requirement.extras}
            further = [Requirement(text) for text in importlib.metadata.requires(requirement.name) or []]
            needed([r for r in further if not r.marker or any(r.marker.evaluate({"extra": e}) for e in extras)], seen)
    return seen


def test_all_that_is_installed_is_pinned():
    packages = {name for name, *_ in needed(map(Requirement, PROJECT["dependencies"]), set())}
    unpinned = packages - set(PINS) - {"setuptools"}  # the build tool, which also comes with torch
    assert {name for name in unpinned if not name.startswith(("nvidia-", "cuda-", "triton"))} == set()  # a GPU's torch


def test_the_pins_fit_the_requirements():
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), requirement


def test_the_pins_have_no_local_part():
    assert not [version for version in PINS.values() if "+" in version]


def test_what_is_installed_has_the_pinned_version():
    # In this folder alone: setuptools, once imported, adds one with copies of its own.
    there = {canonicalize_name(package.name): package.version.split("+")[0] for package in
             importlib.metadata.distributions(path=[sysconfig.get_path("purelib")]) if package.name}  # fmt: skip
    assert {"torch", "numpy", "jupyter-book"} <= there.keys() & PINS.keys()
    assert {name: there[name] for name in there.keys() & PINS.keys() if there[name] != PINS[name]} == {}


def test_conda_installs_the_same_from_the_same_lists():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert conda == ["python" + PROJECT["requires-python"], "pip", {"pip": ["-c constraints.txt", "-e ."]}]


def test_the_workflows_use_a_python_that_is_accepted():
    versions = set()
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        versions |= set(re.findall(r"\b3\.\d+\b", workflow.read_text()))
    assert versions and all(Requirement("x" + PROJECT["requires-python"]).specifier.contains(v) for v in versions)


def test_the_workflow_of_tests_uses_the_oldest_and_the_newest_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    accepted = Requirement("x" + PROJECT["requires-python"]).specifier
    versions = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in accepted]
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == [versions[0], versions[-1]]


def test_pages_are_deployed_only_after_the_tests():
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text())["jobs"]["deploy"]
    commands = [step.get("run") for step in job["steps"]]
    assert commands.index("make test TIER=full") < commands.index(".venv/bin/dpgan --quiet book")
    assert not [step for step in job["steps"] if "if" in step or "continue-on-error" in step]


def make(*arguments: str) -> str:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = ["make", "--no-print-directory", "--dry-run", "--always-make", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def test_make_installs_torch_first_and_exactly():
    first, second = [line for line in make("install").splitlines() if " install " in line]
    assert f"torch=={PINS['torch']} -c constraints.txt" in first
    assert "-e . -c constraints.txt" in second


def test_make_book_passes_its_variables_on():
    assert "-p profile 'smoke' -p dataset 'digits' -p epsilon '10' -p seed '0'" in make("book")
    line = make("book", "EPSILON=2", "PROFILE=laptop", "DATASET=mnist", "SEED=1", "DELTA=1e-6", "INFO_WEIGHT=0")
    for given in ("profile 'laptop'", "dataset 'mnist'", "epsilon '2'", "seed '1'", "delta '1e-6'", "info_weight '0'"):
        assert f"-p {given}" in line


def test_the_full_tier_forbids_training_to_the_notebooks_and_compares_strictly():
    line = make("test", "TIER=full")
    assert "DPGAN_RECORDS_ONLY=1" in line and " --nbval " in line and "notebooks tests" in line
    assert "nbval-lax" not in line and "not full" not in line


def test_make_test_leaves_the_full_tier_out():
    line = make("test")
    assert "-m 'not full' tests" in line and "nbval" not in line


def test_both_tiers_run_files_in_parallel_and_name_the_slowest_tests():
    for tier in ("fast", "full"):
        words = " -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --durations=40 "
        assert words in make("test", f"TIER={tier}")


def test_make_test_refuses_another_tier():
    command = ["make", "--no-print-directory", "--old-file=.venv/installed", "test", "TIER=quick"]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode and refused.stdout == "TIER=quick must be fast or full\n"


def test_every_floor_is_packaged():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = set(find_packages(str(ROOT), include=settings["packages"]["find"]["include"]))
    folders = {path.parent for path in (ROOT / "dpgan_lib").rglob("*.py")}
    assert found == {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    kept = {path for package, patterns in settings["package-data"].items() for pattern in patterns
            for path in (ROOT / package.replace(".", "/")).glob(pattern)}
    assert kept == set((ROOT / "dpgan_lib").rglob("*.npy"))


def test_ci_runs_the_full_tier():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "exec make test TIER=full"


def test_the_command_is_installed():
    dpgan = Path(sys.executable).with_name("dpgan")
    version = subprocess.run([dpgan, "--version"], capture_output=True, text=True, check=True).stdout
    assert PROJECT["version"] in version


@pytest.mark.skipif(not (shutil.which("git") and (ROOT / ".git").exists()), reason="this is no clone")
def test_text_has_the_same_line_ends_in_every_clone_and_pictures_and_weights_are_no_text():
    listed = subprocess.run(["git", "ls-files", "--eol"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "i/lf" in listed and not re.search("i/(crlf|mixed)", listed)
    query = ["git", "check-attr", "eol", "text", "--", "book/results/MANIFEST.json", "Makefile", "x.png", "x.npy",
             "x.safetensors"]
    said = subprocess.run(query, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in ("book/results/MANIFEST.json", "Makefile"):
        assert f"{name}: eol: lf" in said
    for name in ("x.png", "x.npy", "x.safetensors"):
        assert f"{name}: text: unset" in said
