"""The run store: strict JSON, whole records whatever the writers do, and staleness that neither misses nor invents."""

import json
import math
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sample_record import ARTEFACTS, record_content, run_config, store_record

from dpgan_lib import experiment, provenance, results


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """Both stores in a temporary folder."""
    monkeypatch.setattr(results, "LOCAL", tmp_path / "runs")
    monkeypatch.setattr(results, "PUBLISHED", tmp_path / "results")
    monkeypatch.delenv("DPGAN_PUBLISHED", raising=False)
    return tmp_path


# Records

def test_a_record_reads_back_as_it_was_written(stores):
    written = store_record(None, epsilon=math.inf)
    found = results.find("tradeoff", written.run_id)
    assert found == written
    assert found.config == run_config(epsilon=math.inf)
    assert found.epsilon_spent == math.inf
    assert found.folder == stores / "runs" / "tradeoff" / written.run_id
    assert {path.name for path in found.folder.iterdir()} == {"record.json", *ARTEFACTS}


def test_record_json_is_strict_where_a_number_is_infinite(stores):
    record = store_record(None, epsilon=math.inf, changes={"metrics": {"a": [math.inf, {"b": (-math.inf,)}]}})
    text = (record.folder / "record.json").read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"bare {name}"))
    assert content["metrics"] == {"a": ["inf", {"b": ["-inf"]}]}
    assert content["privacy"]["epsilon_asked"] == "inf"


def test_nan_is_refused_and_leaves_nothing(stores):
    with pytest.raises(ValueError, match="not JSON compliant"):
        store_record(None, changes={"metrics": {"accuracy": math.nan}})
    assert not list(stores.rglob("record.json"))


@pytest.mark.parametrize("value", [3, 2.5, math.inf, -math.inf])
def test_number_reads_what_strict_writes(value):
    assert results.number(results.strict(value)) == value


@pytest.mark.parametrize("value", ["3", True, None, "nan", [1]])
def test_number_refuses_what_is_none(value):
    with pytest.raises(ValueError, match="must be a number"):
        results.number(value)


def test_the_address_is_the_run_id_that_a_plan_has():
    config = run_config(dataset="digits", profile="smoke")
    content = record_content(config)
    assert experiment.run_id(config) == results.content_address(content["config"], content["card"])


@pytest.mark.parametrize("study, artefacts", [("../out", ARTEFACTS), ("a/b", ARTEFACTS), ("", ARTEFACTS),
                                              ("tradeoff", {"../x": b""}), ("tradeoff", {"record.json": b""})])
def test_names_that_leave_the_folder_are_refused(stores, study, artefacts):
    with pytest.raises(ValueError, match="plain name"):
        store_record(None, study=study, artefacts=artefacts)
    assert not list(stores.iterdir())


def test_a_record_is_stored_under_its_own_address_only(stores):
    with pytest.raises(ValueError, match="must be .*hash"):
        results.write("tradeoff", "0" * 16, record_content(run_config()), ARTEFACTS)


def test_a_record_without_a_field_is_refused_by_name(stores):
    content = record_content(run_config())
    del content["metrics"]
    with pytest.raises(ValueError, match="without metrics"):
        results.write("tradeoff", "0" * 16, content, ARTEFACTS)


@pytest.mark.parametrize("text", [b"", b"{", b'{"schema": 1}', b"[]", b'{"schema": 2}', b'{"schema": Infinity}', b"\xff"])
def test_a_corrupt_record_is_one_line_with_its_path(stores, text):
    record = store_record(None)
    path = record.folder / "record.json"
    path.write_bytes(text)
    with pytest.raises(ValueError) as error:
        results.find("tradeoff", record.run_id)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_another_configuration_is_said_with_the_path(stores):
    record = store_record(None)
    del record.content["config"]["seed"]
    with pytest.raises(ValueError, match="record.json has another configuration"):
        _ = record.config


# Which record is found

def test_what_is_nowhere_is_none(stores):
    assert results.find("tradeoff", "0" * 16) is None
    assert results.published("tradeoff") == []


def test_a_record_computed_here_wins_over_a_published_one(stores):
    run_id = store_record(results.PUBLISHED).run_id
    local = store_record(None)
    assert results.find("tradeoff", run_id).folder == local.folder


def test_a_current_record_wins_over_a_stale_one(stores):
    current = store_record(results.PUBLISHED)
    stale = store_record(None)
    (stale.folder / "samples.png").unlink()
    assert results.find("tradeoff", current.run_id).folder == current.folder
    (current.folder / "samples.png").unlink()
    assert results.find("tradeoff", current.run_id).folder == stale.folder  # both stale: the local one again


def test_published_records_come_in_the_order_of_their_epsilons(stores):
    for epsilon, seed in [(math.inf, 0), (10.0, 0), (2.0, 1), (2.0, 0)]:
        store_record(results.PUBLISHED, epsilon=epsilon, seed=seed)
    store_record(results.PUBLISHED, study="another")
    store_record(None, epsilon=5.0)
    found = [(record.config.privacy.epsilon, record.config.seed) for record in results.published("tradeoff")]
    assert found == [(2.0, 0), (2.0, 1), (10.0, 0), (math.inf, 0)]


def test_the_published_store_can_be_staged_elsewhere(stores, monkeypatch):
    staged = store_record(stores / "staged")
    monkeypatch.setenv("DPGAN_PUBLISHED", str(stores / "staged"))
    assert [record.folder for record in results.published("tradeoff")] == [staged.folder]
    assert results.find("tradeoff", staged.run_id).folder == staged.folder


# Whole or not at all

def test_a_failed_write_leaves_the_old_record_and_nothing_else(stores, monkeypatch):
    record = store_record(None)
    before = (record.folder / "record.json").read_bytes()
    write_bytes = Path.write_bytes

    def full_disk(path, data):
        if path.name == "record.json":
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        store_record(None, changes={"seconds": {"training": 1.0, "evaluation": 1.0}})
    assert (record.folder / "record.json").read_bytes() == before
    assert os.listdir(record.folder.parent) == [record.run_id]


def test_readers_see_a_whole_record_while_writers_replace_it(stores):
    record = store_record(None)
    content = record_content(run_config())

    def write(number):
        for _ in range(15):
            results.write("tradeoff", record.run_id, content | {"metrics": {"writer": number}}, ARTEFACTS)

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        seen = []
        while not all(writer.done() for writer in writers):
            seen.append(results.read(record.folder))
    for writer in writers:
        writer.result()
    assert seen and None not in seen
    assert os.listdir(record.folder.parent) == [record.run_id]
    assert results.staleness(results.find("tradeoff", record.run_id)) == []


# Staleness

def test_a_record_written_now_is_current(stores):
    assert results.staleness(store_record(None)) == []


def test_changed_source_is_stale(stores):
    record = store_record(None, changes={"provenance": results.provenance() | {"source_hash": "0" * 64}})
    assert results.staleness(record) == ["the source has changed since"]


def with_version(version: str, **others) -> dict:
    origin = results.provenance()
    return {"provenance": origin | {"versions": origin["versions"] | {"torch": version}} | others}


def test_another_version_is_stale_on_the_same_platform(stores):
    here = results.provenance()["versions"]["torch"]
    record = store_record(None, changes=with_version("1.0"))
    assert results.staleness(record) == [f"torch 1.0 then, {here} here"]


@pytest.mark.parametrize("elsewhere", [{"platform": "plan9-mips"}, {"hardware": {"cpu": "a", "cores": 1, "gpu": "another"}}])
def test_versions_are_not_compared_across_platforms(stores, elsewhere):
    assert results.staleness(store_record(None, changes=with_version("1.0", **elsewhere))) == []


def test_a_package_that_was_absent_had_no_part(stores):
    assert results.staleness(store_record(None, changes=with_version("absent"))) == []


def test_missing_and_changed_artefacts_are_stale(stores):
    record = store_record(None)
    (record.folder / "generator.safetensors").write_bytes(b"other weights")
    (record.folder / "samples.png").unlink()
    assert results.staleness(record) == ["generator.safetensors has changed", "samples.png is missing"]


def test_an_edited_configuration_is_stale(stores):
    record = store_record(None)
    record.content["config"]["seed"] = 1
    assert len(results.staleness(record)) == 1 and "belong to run" in results.staleness(record)[0]


def test_a_record_moved_under_another_run_is_stale(stores):
    record = store_record(None)
    moved = record.folder.rename(record.folder.with_name("0" * 16))
    assert results.staleness(results.read(moved)) == [f"its config and card belong to run {record.run_id}"]


# The manifest

def test_the_manifest_agrees_until_something_changes(stores):
    first, second = (store_record(results.PUBLISHED, seed=seed) for seed in (0, 1))
    results.update_manifest()
    assert results.check_manifest() == []
    with (first.folder / "record.json").open("a") as file:
        file.write("\n")
    second.folder.rename(second.folder.with_name("0" * 16))
    assert sorted(results.check_manifest()) == sorted([
        f"tradeoff/{first.run_id}: record.json is not the one in the manifest",
        f"tradeoff/{second.run_id}: in the manifest, not in the store",
        f"tradeoff/{'0' * 16}: in the store, not in the manifest",
    ])


def test_an_absent_manifest_lists_nothing_and_a_broken_one_is_named(stores):
    assert results.check_manifest() == []
    record = store_record(results.PUBLISHED)
    assert results.check_manifest() == [f"tradeoff/{record.run_id}: in the store, not in the manifest"]
    (results.PUBLISHED / "MANIFEST.json").write_text("{")
    assert len(results.check_manifest()) == 1 and "MANIFEST.json is not JSON" in results.check_manifest()[0]


def test_the_committed_manifest_agrees_with_the_published_store(monkeypatch):
    monkeypatch.delenv("DPGAN_PUBLISHED", raising=False)
    assert results.check_manifest() == []


# The source hash

MODULES = {
    "training": '"""Trains."""\nimport os\nfrom somewhere import latent, x\nfrom toy.config import Settings as S\n'
                "def train(x):\n    from . import steps\n    return x + 1\n",
    "evaluation": "import toy.scores as s\nfrom toy import nothing\n",
    "config": "class Settings: pass\n",
    "steps": "def step():\n    from .deep import dive  # lazily\n    return dive\n",
    "deep": "from toy import config\n",
    "scores": "x = 1\n",
    "latent": "x = 1\n",
    "figures": "from toy import training\n",
}


@pytest.fixture
def toy(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_the_closure_follows_every_form_of_import_and_no_namesake(toy):
    reached = {"training", "evaluation", "config", "steps", "deep", "scores"}
    assert provenance.import_closure(toy) == reached


@pytest.mark.parametrize("name", ["training", "evaluation", "config", "steps", "deep", "scores"])
def test_code_in_the_closure_changes_the_hash(toy, name):
    before = results.source_hash(toy)
    (toy / f"{name}.py").write_text(MODULES[name] + "y = 2\n")
    assert results.source_hash(toy) != before


@pytest.mark.parametrize("name", ["figures", "latent", "new"])
def test_code_outside_the_closure_does_not(toy, name):
    before = results.source_hash(toy)
    (toy / f"{name}.py").write_text("y = 2\n")
    assert results.source_hash(toy) == before


@pytest.mark.parametrize("old, new", [
    ('"""Trains."""\n', ""),
    ("Trains", "Teaches"),
    ("def train(x):\n", 'def train(x):\n    """Docstring."""  # and a comment\n'),
    ("x + 1", "(x  +  1)"),
])
def test_text_and_layout_leave_the_hash(toy, old, new):
    before = results.source_hash(toy)
    changed = MODULES["training"].replace(old, new)
    assert changed != MODULES["training"]
    (toy / "training.py").write_text(changed)
    assert results.source_hash(toy) == before


@pytest.mark.parametrize("old, new", [("x + 1", "x - 1"), ("x + 1", "x + 1.0"), ("x + 1", "x + True"),
                                      ("return x", "x"), ("train(x)", "train(x, /)")])
def test_small_changes_of_code_change_the_hash(toy, old, new):
    before = results.source_hash(toy)
    (toy / "training.py").write_text(MODULES["training"].replace(old, new))
    assert results.source_hash(toy) != before


def test_a_renamed_module_changes_the_hash(toy):
    before = results.source_hash(toy)
    (toy / "scores.py").rename(toy / "marks.py")
    (toy / "evaluation.py").write_text(MODULES["evaluation"].replace("toy.scores", "toy.marks"))
    assert results.source_hash(toy) != before


EVERY_SYNTAX = r'''
"""Module."""
from __future__ import annotations
import math as m, os.path
from . import other

@decorate(1, *rest, key=None, **more)
class Shape(Base, metaclass=Meta):
    "Docstring."
    side: int = 3
    empty = ([], {}, (), set(), "", [""])

    async def area(self, a, /, b=2, *args, c, d=.5, **kw) -> float:
        """Docstring."""
        async with lock as held:
            return await self.side ** 2 // b if not c else -1e-5

def describe(x, width=3):
    u = f"{x!r:>{width}} {x:} {{}} {x=}" f"{x:.2f}\n" "\u00e9\u0378" + b"\x00".decode() + u"k"
    match x:
        case {"a": [1, *_], **rest} if rest: pass
        case None | Shape(side=3): return ...
    try:
        del x[1:2, ::3], u
    except* ValueError as error:
        raise RuntimeError from error
    else:
        lambda *, q: (yield)
    return [y := 1j, *(z for z in x if z)], {**x, "k": True}, {v for v in x}
'''


def test_every_python_spells_a_tree_alike():
    """Computed by Python 3.11.7, 3.12.1 and 3.13.0; a reader's Python must not make a published record stale."""
    assert provenance._digest(EVERY_SYNTAX) == "d085e690ed0a9ba0811461bc6487883da92d21c5eddd29a351c26b3f80a71b2b"


def test_figures_and_text_are_no_part_of_a_result():
    closure = provenance.import_closure()
    assert {"training", "evaluation", "config", "mechanism"} <= closure
    assert not closure & {"figures", "report", "results", "publish", "cli"}


# Provenance

def test_provenance_is_strict_json_and_names_public_versions():
    origin = results.provenance(gpu="a device")
    json.dumps(origin, allow_nan=False)
    assert origin["hardware"]["gpu"] == "a device"
    assert origin["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert not [version for version in origin["versions"].values() if "+" in version]


def test_a_folder_outside_a_clone_has_no_commit(tmp_path):
    assert provenance._commit(tmp_path) == {"commit": "unknown", "dirty": False}


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    assert provenance.subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True).returncode == 0


def test_a_clone_says_its_commit_and_changes_to_the_library_only(tmp_path):
    (tmp_path / "dpgan_lib").mkdir()
    (tmp_path / "dpgan_lib" / "a.py").write_text("x = 1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "a")
    (tmp_path / "notes.md").write_text("text\n")
    clean = provenance._commit(tmp_path)
    assert len(clean["commit"]) == 40 and not clean["dirty"]
    (tmp_path / "dpgan_lib" / "a.py").write_text("x = 2\n")
    assert provenance._commit(tmp_path) == clean | {"dirty": True}
    assert provenance._commit(tmp_path / "dpgan_lib")["commit"] == "unknown"  # inside someone else's clone
