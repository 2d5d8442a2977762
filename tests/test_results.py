"""The run store: strict JSON, whole records whatever the writers do, and staleness that neither misses nor invents."""

import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sample_record import ARTEFACTS, record_content, run_config, sources, store_record

from dpgan_lib import data, paths
from dpgan_lib.records import provenance, store
from dpgan_lib.studies import registry
from dpgan_lib.studies.study import Plan


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """Both stores in a temporary folder."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    for name in ("DPGAN_HOME", "DPGAN_PUBLISHED"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


# Records

def test_a_record_reads_back_as_it_was_written(stores):
    written = store_record(None, epsilon=math.inf)
    found = store.find("mutual_information", written.run_id)
    assert found == written
    assert found.config == run_config(epsilon=math.inf)
    assert found.epsilon_spent == math.inf
    assert found.folder == stores / "runs" / "mutual_information" / written.run_id
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
    assert store.number(store.strict(value)) == value


@pytest.mark.parametrize("value", ["3", True, None, "nan", [1]])
def test_number_refuses_what_is_none(value):
    with pytest.raises(ValueError, match="must be a number"):
        store.number(value)


def test_the_address_is_the_run_id_that_a_plan_has():
    config = run_config(dataset="digits", profile="smoke")
    content, planned = record_content(config), Plan(run=config, card=data.card(config.dataset))
    assert planned.address == store.content_address(content["config"], content["card"])


@pytest.mark.parametrize("study, artefacts", [("../out", ARTEFACTS), ("a/b", ARTEFACTS), ("", ARTEFACTS),
                                              ("mutual_information", {"../x": b""}),
                                              ("mutual_information", {"record.json": b""})])
def test_names_that_leave_the_folder_are_refused(stores, study, artefacts):
    with pytest.raises(ValueError, match="plain name"):
        store_record(None, study=study, artefacts=artefacts)
    assert not list(stores.iterdir())


def test_a_record_is_stored_under_its_own_address_only(stores):
    with pytest.raises(ValueError, match="must be .*hash"):
        store.write("mutual_information", "0" * 16, record_content(run_config()), ARTEFACTS)


def test_a_record_without_a_field_is_refused_by_name(stores):
    content = record_content(run_config())
    del content["metrics"]
    with pytest.raises(ValueError, match="without metrics"):
        store.write("mutual_information", "0" * 16, content, ARTEFACTS)


@pytest.mark.parametrize("text", [b"", b"{", b'{"schema": 1}', b"[]", b'{"schema": 2}', b'{"a": Infinity}', b"\xff",
                                  b"[" * 100_000])
def test_a_corrupt_record_is_one_line_with_its_path(stores, text):
    record = store_record(None)
    path = record.folder / "record.json"
    path.write_bytes(text)
    with pytest.raises(ValueError) as error:
        store.find("mutual_information", record.run_id)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


DAMAGE = {
    **{name: (lambda content, name=name: content.update({name: None})) for name in store.GIVEN + store.ADDED[1:]},
    "a list for metrics": lambda content: content.update(metrics=[]),
    "an empty provenance": lambda content: content.update(provenance={}),
    "no hash of the source": lambda content: content["provenance"]["sources"]["training"].pop("sha256"),
    "an unknown part": lambda content: content["provenance"]["sources"].update(other={"kind": "a", "sha256": "b"}),
    "no machine": lambda content: content["provenance"].pop("hardware"),
    "versions that are a list": lambda content: content["provenance"].update(versions=[]),
    "an epsilon in words": lambda content: content["privacy"].update(epsilon_asked="three"),
    "no epsilon": lambda content: content["privacy"].pop("epsilon_spent"),
    "a seed in words": lambda content: content["config"].update(seed="zero"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_record_is_one_line_with_its_path_to_whoever_looks_for_it(stores, name):
    record = store_record(paths.published())
    path = record.folder / "record.json"
    content = json.loads(path.read_text())
    DAMAGE[name](content)
    path.write_text(json.dumps(content))
    for look in (lambda: store.find("mutual_information", record.run_id),
                 lambda: store.published("mutual_information"), lambda: registry.study_of(store.opened(record.folder))):
        with pytest.raises(ValueError, match="is no record of schema 2 .*Delete its folder") as error:
            look()
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_bare_infinity_in_a_record_is_refused(stores):
    record = store_record(None, epsilon=math.inf)
    path = record.folder / "record.json"
    path.write_text(path.read_text().replace('"inf"', "Infinity"))
    with pytest.raises(ValueError, match="Infinity is not strict JSON"):
        store.find("mutual_information", record.run_id)


def test_another_configuration_is_said_with_the_path(stores):
    record = store_record(None)
    del record.content["config"]["seed"]
    with pytest.raises(ValueError, match="record.json has another configuration"):
        _ = record.config


# Which record is found

def test_what_is_nowhere_is_none(stores):
    assert store.find("mutual_information", "0" * 16) is None
    assert store.published("mutual_information") == []


def test_a_record_computed_here_wins_over_a_published_one(stores):
    run_id = store_record(paths.published()).run_id
    local = store_record(None)
    assert store.find("mutual_information", run_id).folder == local.folder


def test_where_only_records_count_a_record_computed_here_does_not(stores, monkeypatch):
    local = store_record(None)
    monkeypatch.setenv(store.RECORDS_ONLY, "1")
    assert store.find("mutual_information", local.run_id) is None
    published = store_record(paths.published())
    assert store.find("mutual_information", local.run_id).folder == published.folder
    (published.folder / "samples.png").unlink()
    # Stale, and still not the local one.
    assert store.find("mutual_information", local.run_id).folder == published.folder


def test_a_current_record_wins_over_a_stale_one(stores):
    current = store_record(paths.published())
    stale = store_record(None)
    (stale.folder / "samples.png").unlink()
    assert store.find("mutual_information", current.run_id).folder == current.folder
    (current.folder / "samples.png").unlink()
    assert store.find("mutual_information", current.run_id).folder == stale.folder  # both stale: the local one again


def test_published_records_come_in_the_order_of_their_epsilons(stores):
    for epsilon, seed in [(math.inf, 0), (10.0, 0), (2.0, 1), (2.0, 0)]:
        store_record(paths.published(), epsilon=epsilon, seed=seed)
    store_record(paths.published(), study="another")
    store_record(None, epsilon=5.0)
    records = store.published("mutual_information")
    found = [(record.config.privacy.epsilon, record.config.seed) for record in records]
    assert found == [(2.0, 0), (2.0, 1), (10.0, 0), (math.inf, 0)]


def test_what_a_killed_writer_left_is_no_record(stores):
    record = store_record(paths.published())
    record.folder.rename(record.folder.with_name(f".{record.run_id}.0"))
    assert store.published("mutual_information") == []
    store.update_manifest()
    assert json.loads((paths.published() / "MANIFEST.json").read_text()) == {}


def test_the_published_store_can_be_staged_elsewhere(stores, monkeypatch):
    staged = store_record(stores / "staged")
    monkeypatch.setenv("DPGAN_PUBLISHED", str(stores / "staged"))
    assert [record.folder for record in store.published("mutual_information")] == [staged.folder]
    assert store.find("mutual_information", staged.run_id).folder == staged.folder


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
            store.write("mutual_information", record.run_id, content | {"metrics": {"writer": number}}, ARTEFACTS)

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        seen = []
        while not all(writer.done() for writer in writers):
            seen.append(store.read(record.folder))
    for writer in writers:
        writer.result()
    assert seen and None not in seen
    assert os.listdir(record.folder.parent) == [record.run_id]
    assert store.staleness(store.find("mutual_information", record.run_id)) == []


# Staleness

def test_a_record_written_now_is_current(stores):
    assert store.staleness(store_record(None)) == []


def test_changed_source_is_stale(stores):
    for part, source in sources().items():
        origin = provenance.provenance(sources() | {part: source | {"sha256": "0" * 64}})
        assert store.staleness(store_record(None, changes={"provenance": origin})) == [store.CHANGED[part]]
    assert len(sources()) == 2


@pytest.mark.parametrize("part, changes", [("training", {"method": "alchemy"}), ("measuring", {"kind": "guess"})])
def test_a_method_or_a_study_that_is_no_more_is_stale(stores, part, changes):
    origin = provenance.provenance(sources() | {part: sources()[part] | changes})
    assert store.CHANGED[part] in store.staleness(store_record(None, changes={"provenance": origin}))


def with_version(version: str, **others) -> dict:
    origin = provenance.provenance(sources())
    return {"provenance": origin | {"versions": origin["versions"] | {"torch": version}} | others}


def test_another_version_is_stale_on_the_same_platform(stores):
    here = provenance.provenance(sources())["versions"]["torch"]
    record = store_record(None, changes=with_version("1.0"))
    assert store.staleness(record) == [f"torch 1.0 then, {here} here"]


@pytest.mark.parametrize("elsewhere", [{"platform": "plan9-mips"},
                                       {"hardware": {"cpu": "a", "cores": 1, "gpu": "another"}}])
def test_versions_are_not_compared_across_platforms(stores, elsewhere):
    assert store.staleness(store_record(None, changes=with_version("1.0", **elsewhere))) == []


def test_a_package_that_was_absent_had_no_part(stores):
    assert store.staleness(store_record(None, changes=with_version("absent"))) == []


def test_missing_and_changed_artefacts_are_stale(stores):
    record = store_record(None)
    (record.folder / "generator.safetensors").write_bytes(b"other weights")
    (record.folder / "samples.png").unlink()
    assert store.staleness(record) == ["generator.safetensors has changed", "samples.png is missing"]


def test_an_edited_configuration_is_stale(stores):
    record = store_record(None)
    record.content["config"]["seed"] = 1
    assert len(store.staleness(record)) == 1 and "belong to run" in store.staleness(record)[0]


def test_a_record_moved_under_another_run_is_stale(stores):
    record = store_record(None)
    moved = record.folder.rename(record.folder.with_name("0" * 16))
    assert store.staleness(store.read(moved)) == [f"its config and card belong to run {record.run_id}"]


# The manifest

def test_the_manifest_agrees_until_something_changes(stores):
    first, second = (store_record(paths.published(), seed=seed) for seed in (0, 1))
    store.update_manifest()
    assert store.check_manifest() == []
    with (first.folder / "record.json").open("a") as file:
        file.write("\n")
    second.folder.rename(second.folder.with_name("0" * 16))
    assert sorted(store.check_manifest()) == sorted([
        f"mutual_information/{first.run_id}: record.json is not the one in the manifest",
        f"mutual_information/{second.run_id}: in the manifest, not in the store",
        f"mutual_information/{'0' * 16}: in the store, not in the manifest",
    ])


def test_line_ends_are_no_edit_and_all_else_is(stores):
    record = store_record(paths.published())
    store.update_manifest()
    path = record.folder / "record.json"
    text = path.read_bytes()
    path.write_bytes(text.replace(b"\n", b"\r\n"))  # as git does for core.autocrlf
    assert store.check_manifest() == [] and store.staleness(store.read(record.folder)) == []
    for edited in (text.replace(b"0.9", b"0.8"), text + b"\n", text.replace(b" ", b"")):
        path.write_bytes(edited)
        assert edited != text and len(store.check_manifest()) == 1


def test_an_absent_manifest_lists_nothing_and_a_broken_one_is_named(stores):
    assert store.check_manifest() == []
    record = store_record(paths.published())
    assert store.check_manifest() == [f"mutual_information/{record.run_id}: in the store, not in the manifest"]
    (paths.published() / "MANIFEST.json").write_text("{")
    assert len(store.check_manifest()) == 1 and "MANIFEST.json is not JSON" in store.check_manifest()[0]
    (paths.published() / "MANIFEST.json").write_text("[]")
    assert len(store.check_manifest()) == 1 and "it lists no runs" in store.check_manifest()[0]


def test_the_committed_manifest_agrees_with_the_published_store(monkeypatch):
    monkeypatch.delenv("DPGAN_PUBLISHED", raising=False)
    assert store.check_manifest() == []
