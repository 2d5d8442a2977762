"""What verify vouches for: every field of a record, changed once, is refused or listed as merely reported."""

import copy
import json
import shutil
from dataclasses import replace
from functools import cache

import pytest
from click.testing import CliRunner
from sample_record import store_record

from dpgan_lib import cli, paths
from dpgan_lib.privacy import accounting
from dpgan_lib.records import checks, store, verify, vouching
from dpgan_lib.records.vouching import REPORTED
from dpgan_lib.report import cards
from dpgan_lib.studies import registry


@pytest.fixture(autouse=True, scope="module")
def accounts_once():
    """Most changes leave the mechanism alone, whose epsilons take up to a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounting, "spent", cache(accounting.spent))
        yield


def one_of_each_kind() -> dict[str, store.Record]:
    """A published record of each study, a private one where there is one."""
    found = {}
    for record in [each for study in store.published_studies() for each in store.published(study)]:
        known = found.setdefault(f"{record.study}-{record.kind}", record)
        if "release_noise" in record.privacy and "release_noise" not in known.privacy:
            found[f"{record.study}-{record.kind}"] = record
    return found


KINDS = one_of_each_kind()


def other(value):
    """Another value of the same type, not far away."""
    if value in ("inf", "-inf"):
        return 1.0
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return {"demo": "release"}.get(value, f"{value}x") if isinstance(value, str) else 1


def changed(content: dict, path: str) -> dict:
    """The content with one leaf changed."""
    content = copy.deepcopy(content)
    *parents, name = path.split("/")
    part = content
    for parent in parents:
        part = part[int(parent) if isinstance(part, list) else parent]
    name = int(name) if isinstance(part, list) else name
    part[name] = other(part[name])
    return content


def refused(folder, content) -> bool:
    """By reading it or by a check."""
    (folder / "record.json").write_text(json.dumps(content))
    try:
        record = verify.find(str(folder))
    except ValueError as refusal:
        assert str(folder) in str(refusal) and "\n" not in str(refusal)
        return True
    return any(row.outcome == checks.FAILED for row in verify.check(record))


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_without_any_digest_each_field_is_refused_or_listed_as_merely_reported(kind, tmp_path):
    """A copy of a published record elsewhere: no manifest knows it, and it holds no digest of itself."""
    record = KINDS[kind]
    folder = shutil.copytree(record.folder, tmp_path / record.run_id)
    assert not refused(folder, record.content)
    vouched = [path for path in vouching.leaves(record.content) if vouching.field(path).how != REPORTED]
    assert [path for path in vouched if not refused(folder, changed(record.content, path))] == []


def test_of_a_record_computed_here_every_field_is_refused(tmp_path):
    record = store_record(tmp_path, changes={"history": [[1, 0.5, "inf"]], "released": {"shares": [0.1, 0.9]}})
    for path in vouching.leaves(record.content):
        content = changed(record.content, path)
        (record.folder / "record.json").write_text(json.dumps(content))
        with pytest.raises(ValueError) as refusal:
            store.read(record.folder)
        assert str(record.folder) in str(refusal.value) and "\n" not in str(refusal.value), path
        if path != "schema":  # no reader takes it at all
            assert {"digest", "shape"} & {row.name for row in verify.check(store.opened(record.folder))
                                          if row.outcome == checks.FAILED}, path


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_of_a_published_record_every_field_is_refused_by_the_manifest(kind, tmp_path, monkeypatch):
    record = KINDS[kind]
    folder = shutil.copytree(record.folder, tmp_path / record.study / record.run_id)
    monkeypatch.setenv("DPGAN_PUBLISHED", str(tmp_path))
    store.update_manifest()
    paths_of = list(vouching.leaves(record.content))
    for path in paths_of[:: max(1, len(paths_of) // 100)]:
        assert refused(folder, changed(record.content, path)), path


# Readers

def nodes(value, path=()):
    """The paths of all parts of a record's content; of a long list, its first items."""
    if path:
        yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, part in parts:
        yield from nodes(part, (*path, name))


@pytest.mark.full
@pytest.mark.parametrize("kind", ["mnist_tradeoff-run", "wasserstein-toy"])
def test_a_damaged_record_is_read_measured_and_shown_or_refused_in_one_line(kind, tmp_path, monkeypatch):
    """Also one without a digest, where a field has become junk: whoever resumes on it sees no traceback."""
    record = KINDS[kind]
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    folder = shutil.copytree(record.folder, paths.runs() / record.study / record.run_id)
    study = replace(registry.study_of(record), load=_no_data)
    for path in nodes(record.content):
        for junk in (None, -1.5, "text", {"a": [1]}):
            content = copy.deepcopy(record.content)
            part = content
            for name in path[:-1]:
                part = part[name]
            part[path[-1]] = junk
            (folder / "record.json").write_text(json.dumps(content))
            for use in (lambda: cards.status(store.find(record.study, record.run_id)),
                        lambda: store.local(record.study),
                        lambda: study.measure_again(store.read(folder), progress=False)):
                try:
                    use()
                except ValueError as refusal:
                    assert "\n" not in str(refusal)


def _no_data(asked, progress):
    raise ValueError("no data is at hand")


@pytest.mark.parametrize("cut", [0, 1, 2, 100, 0.25, 0.5, 0.75, 0.9, -2, -3])
def test_a_record_that_was_cut_is_refused_in_one_line(cut, tmp_path):
    record = store_record(tmp_path)
    text = (record.folder / "record.json").read_bytes()
    (record.folder / "record.json").write_bytes(text[:int(cut * len(text)) if isinstance(cut, float) else cut])
    with pytest.raises(ValueError, match="is no record of schema 2") as refusal:
        store.read(record.folder)
    assert "\n" not in str(refusal.value)
    result = CliRunner().invoke(cli.main, ["verify", str(record.folder)])
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1


def test_weights_that_were_changed_are_not_measured(tmp_path, monkeypatch):
    record = KINDS["mnist_tradeoff-run"]
    folder = shutil.copytree(record.folder, tmp_path / record.study / record.run_id)
    (folder / "generator.safetensors").write_bytes((folder / "generator.safetensors").read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged .generator.safetensors has changed.: delete it"):
        registry.study_of(record).measure_again(store.read(folder), progress=False)


def test_another_spelling_of_the_same_record_has_its_digest(tmp_path):
    record = store_record(tmp_path)
    path = record.folder / "record.json"
    path.write_bytes(json.dumps(json.loads(path.read_bytes()), indent=4).replace("\n", "\r\n").encode())
    assert store.read(record.folder) == record


# The table

def test_explain_lists_each_field_once_and_says_what_a_digest_is_worth():
    alone = CliRunner().invoke(cli.main, ["verify", "--explain"])
    assert alone.exit_code == 0
    lines = alone.stdout.splitlines()
    for row in vouching.FIELDS:
        assert sum(line.split()[:1] == [row.path] for line in lines) == 1
    record = KINDS["mnist_tradeoff-run"]
    shown = CliRunner().invoke(cli.main, ["verify", f"{record.study}/{record.run_id}", "--explain"])
    assert "  history/* " in shown.stdout and "  released/* " not in shown.stdout
    assert "the record's digest is in MANIFEST.json" in shown.stdout
    assert shown.stdout.startswith("ok           shape: ")


def test_verify_without_a_record_says_what_to_name():
    result = CliRunner().invoke(cli.main, ["verify"])
    assert result.exit_code == 2 and "name a record" in result.stderr
