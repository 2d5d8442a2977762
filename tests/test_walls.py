"""The walls of the library: imports point down only, and data stays behind the training loop."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "dpgan_lib"


def place(module: str) -> Path | None:
    """The file of a module named from the library: "gan.loop"; None if there is none of that name."""
    path = LIBRARY / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def nodes(module: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(place(module).read_text(encoding="utf-8"))))


def imports(module: str) -> set[str]:
    """What a module imports of the library, lazily too."""
    found = set()
    for node in nodes(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "dpgan_lib":
            below = node.module.partition(".")[2]
            inside = [f"{below}.{name.name}".strip(".") for name in node.names]
            found |= {name if place(name) else below for name in inside}
        elif isinstance(node, ast.Import):
            found |= {name.name.partition(".")[2] for name in node.names if name.name.startswith("dpgan_lib.")}
    return found


def packages(module: str) -> set[str]:
    named = [name.name for node in nodes(module) if isinstance(node, ast.Import) for name in node.names]
    named += [node.module for node in nodes(module) if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in named}


def reached(module: str) -> set[str]:
    """A module and everything of the library that it imports, directly or not."""
    found, todo = set(), {module}
    while todo:
        module = todo.pop()
        found.add(module)
        todo |= imports(module) - found
    return found


# The floors: the contract in pyproject.toml


def judged(settings: Path) -> subprocess.CompletedProcess:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", settings]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_imports_point_down():
    found = judged(ROOT / "pyproject.toml")
    assert found.returncode == 0, found.stdout


def test_every_module_and_folder_has_a_floor_and_nothing_is_excepted():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = settings["contracts"]
    floors = [name.strip() for layer in contract["layers"] for name in layer.split("|")]
    there = {path.stem for path in LIBRARY.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert sorted(floors) == sorted(there - {"__init__"})
    assert not settings.keys() & {"exclude_type_checking_imports"} and not any("ignore" in key for key in contract)


@pytest.mark.parametrize("right, wrong", [
    ('"measures", "warm_start"', '"warm_start", "measures"'), ('"privacy | data"', '"privacy"')])
def test_an_import_that_points_up_and_a_folder_without_a_floor_are_found(tmp_path, right, wrong):
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert text.count(right) == 1
    (tmp_path / "pyproject.toml").write_text(text.replace(right, wrong))
    found = judged(tmp_path / "pyproject.toml")
    assert found.returncode == 1 and "BROKEN" in found.stdout


# What a floor's place does not say


def test_the_training_loop_cannot_reach_data_results_or_evaluation():
    assert reached("gan.loop") == {
        "gan.loop", "gan.state", "gan.steps", "gan.networks", "gan.latent", "privacy.mechanism", "privacy.clipping",
        "privacy.exact", "privacy.streams", "privacy.ledger", "privacy.budget", "config"}
    assert {name for module in ("privacy.ledger", "privacy.budget") for name in packages(module)} <= {
        *sys.stdlib_module_names, "dpgan_lib"}, "a bare machine has no more than torch, numpy and safetensors"


def test_the_mechanism_knows_no_gan_and_the_accountant_no_torch():
    assert imports("privacy.mechanism") == {"privacy.clipping", "privacy.exact"}
    assert imports("privacy.clipping") == imports("privacy.exact") == imports("privacy.accounting") == set()
    for module in ("privacy.accounting", "privacy.calibration", "records.store", "records.provenance", "data"):
        assert "torch" not in set().union(*map(packages, reached(module))), module


def test_the_warm_start_reads_public_features_that_read_nothing():
    assert imports("warm_start.embedding") == {"warm_start.features", "privacy.exact", "privacy.mechanism"}
    assert imports("warm_start.features") == set()
    assert packages("warm_start.features") == {"math", "numpy", "torch"}
