"""The checks of a record: each edit fails, or it is said what alone catches it: the manifest, its commit or deep."""

import copy
import hashlib
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from sample_record import ARTEFACTS, store_record

from dpgan_lib import cli, data, paths
from dpgan_lib.config import EvaluationConfig
from dpgan_lib.measures import utility
from dpgan_lib.privacy import accounting
from dpgan_lib.records import checks, provenance, verify
from dpgan_lib.records.store import Record, content_address, content_digest, opened, read, update_manifest, write
from dpgan_lib.studies.mnist_tradeoff import study
from dpgan_lib.studies.study import Plan

EPSILONS = {"epsilon spent (pld)", "epsilon spent (rdp)", "epsilon spent (moments)"}
UNCOMMITTED = "committed manifest"  # a record that was just published passes it once it is committed


@pytest.fixture(autouse=True, scope="module")
def accounts_once():
    """Most edits leave the mechanism alone, whose epsilons take up to a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounting, "spent", cache(accounting.spent))
        yield


def failed(record, **how) -> set[str]:
    return {check.name for check in verify.check(record, **how) if check.outcome == checks.FAILED}


def published_folders() -> list[Path]:
    return sorted(path.parent for path in paths.published().glob("[!.]*/[!.]*/record.json"))


PUBLISHED = published_folders()


def a_private_record() -> Path:
    """A training run's, with weights and utility, pairs' CNNs included."""
    records = [read(folder) for folder in PUBLISHED if folder.parent.name == "mnist_tradeoff"]
    return next(record.folder for record in records if "release_noise" in record.privacy and record.privacy["steps"]
                and "cnn_pairs" in record.metrics["synthetic"])


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A published store of its own, with a copy of one published record of a private run."""
    folder = a_private_record()
    shutil.copytree(folder, tmp_path / "results" / folder.parent.name / folder.name)
    monkeypatch.setenv("DPGAN_PUBLISHED", str(tmp_path / "results"))
    update_manifest()
    return tmp_path / "results"


def only_folder(store: Path) -> Path:
    return next(path.parent for path in store.glob("*/*/record.json"))


def rewrite(folder: Path, edit) -> Record:
    """Edit record.json as a text editor would."""
    content = json.loads((folder / "record.json").read_text())
    edit(content)
    (folder / "record.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return opened(folder)


FIRST = {folder.parent.name: folder for folder in reversed(PUBLISHED)}.values()  # of each study, in both tiers


@pytest.mark.parametrize("folder", [
    pytest.param(folder, marks=() if folder in FIRST else pytest.mark.full,
                 id=f"{folder.parent.name}-{folder.name}") for folder in PUBLISHED])
def test_every_published_record_passes(folder, monkeypatch):
    monkeypatch.delenv("DPGAN_PUBLISHED", raising=False)
    assert failed(read(folder)) <= {UNCOMMITTED}


def test_a_copy_in_a_store_of_its_own_passes_and_says_what_it_did_not_check(store):
    rows = verify.check(read(only_folder(store)))
    assert not [row for row in rows if row.outcome == checks.FAILED]
    unchecked = {row.name for row in rows if row.outcome == checks.NOT_CHECKED}
    assert {"metrics from the weights", "training", "origin", "digest", UNCOMMITTED} == unchecked


# Edits

def put(*path, change):
    """An edit of one field, as a function of its value."""
    *parents, name = path

    def edit(content):
        for parent in parents:
            content = content[parent]
        content[name] = change(content[name])

    return edit


def doubled(value):
    return 2 * value


def flatter(content):
    """Every synthetic accuracy better, and the mean and the minimum with them."""
    values = content["metrics"]["synthetic"]
    values["pairs"] = [[first, second, (1 + accuracy) / 2] for first, second, accuracy in values["pairs"]]
    accuracies = [accuracy for _, _, accuracy in values["pairs"]]
    values |= {"pairs_logistic": sum(accuracies) / len(accuracies), "pairs_worst": min(accuracies)}


def shorter(content):
    values = content["metrics"]["synthetic"]
    values["pairs"].remove(max(values["pairs"], key=lambda pair: pair[2]))


def better(content):
    """One pair, neither the best nor the worst."""
    pair = sorted(content["metrics"]["synthetic"]["pairs"], key=lambda pair: pair[2])[22]
    pair[2] = (1 + pair[2]) / 2


EDITS = {
    "epsilon spent": (put("privacy", "epsilon_spent", "pld", change=lambda value: value / 2), {"epsilon spent (pld)"}),
    "epsilon by RDP": (put("privacy", "epsilon_spent", "rdp", change=lambda value: value * 1.00001),
                       {"epsilon spent (rdp)"}),
    "epsilon by moments": (put("privacy", "epsilon_spent", "moments", change=lambda _: "inf"),
                           {"epsilon spent (moments)"}),
    "epsilon asked": (put("privacy", "epsilon_asked", change=lambda value: value / 2),
                      {"epsilon asked", "epsilon's limit"}),
    "noise": (put("privacy", "noise_multiplier", change=doubled), {"noise multiplier"} | EPSILONS),
    "steps": (put("privacy", "steps", change=lambda value: value // 2), {"steps"} | EPSILONS),
    "sampling rate": (put("privacy", "sampling_rate", change=lambda value: value / 2), {"sampling rate"} | EPSILONS),
    "delta": (put("privacy", "delta", change=lambda _: 1e-3), {"delta", "delta's range"} | EPSILONS),
    "release noise": (put("privacy", "release_noise", change=doubled), {"release noise"} | EPSILONS),
    "no release": (lambda content: content["privacy"].pop("release_noise"), {"release noise"} | EPSILONS),
    "a share of images": (put("metrics", "fidelity", "coverage", change=lambda value: value + 1), {"fidelity"}),
    "mean of the pairs' CNNs": (put("metrics", "synthetic", "pairs_cnn", change=lambda value: value - 1e-4),
                                {"pairs_cnn"}),
    "adjacency": (put("privacy", "adjacency", change=lambda _: "replace one record"), {"adjacency"}),
    "unit": (put("privacy", "unit", change=lambda _: "one person"), {"unit"}),
    "no privacy at all": (put("privacy", change=lambda _: {}), {"privacy", "epsilon", "origin"}),
    "configured noise": (put("config", "privacy", "noise_multiplier", change=doubled), {"run id", "noise multiplier"}),
    "configured steps": (put("config", "privacy", "steps", change=doubled), {"run id", "steps"}),
    "configured clipping": (put("config", "privacy", "clip_norm", change=lambda _: "inf"), {"run id", "clipping"}),
    "N of the card": (put("card", "records", change=doubled), {"run id", "records", "card"}),
    "a file of the card": (put("card", "files", 0, "sha256", change=lambda value: value[::-1]), {"run id", "card"}),
    "mean of pairs": (put("metrics", "synthetic", "pairs_logistic", change=lambda value: value + 1e-4),
                      {"pairs_logistic"}),
    "worst pair": (put("metrics", "synthetic", "pairs_worst", change=lambda value: value + 1e-4), {"pairs_worst"}),
    "a pair": (better, {"pairs_logistic"}),
    "the best pair left out": (shorter, {"pairs", "pairs_logistic"}),
    "a pair of another class": (put("metrics", "synthetic", "pairs", 0, 1, change=lambda _: 10), {"pairs"}),
    "above 1": (put("metrics", "synthetic", "ten_cnn", change=lambda _: 1.2), {"range"}),
    "below 0": (put("metrics", "synthetic", "ten_mlp", change=lambda value: -value), {"range"}),
    "no number": (put("metrics", "synthetic", "ten_logistic", change=str), {"accuracies"}),
    "digest of the weights": (put("artefacts", "generator.safetensors", change=lambda value: value[::-1]),
                              {"generator.safetensors"}),
    "no weights": (put("artefacts", change=lambda names: {"samples.png": names["samples.png"]}), {"artefacts"}),
    "an unknown data set": (put("config", "dataset", change=lambda _: "unknown"), {"run id"}),
    "a release that has a seed": (put("mode", change=lambda _: "release"), {"mode", "steps"}),
    "a mode that is none": (put("mode", change=lambda _: "real"), {"mode", "shape"}),
    "epsilon, as asked for": (put("asked", "epsilon", change=doubled), {"asked epsilon"}),
    "another seed, as asked for": (put("asked", "seed", change=lambda seed: seed + 1), {"asked seed"}),
    "another study": (put("study", change=lambda _: "another"), {"place"}),
    "another run id": (put("run_id", change=lambda value: value[::-1]), {"run id", "place"}),
    # Only the manifest catches these, or the weights the first two, as below.
    "one accuracy": (put("metrics", "synthetic", "ten_cnn", change=lambda value: (1 + value) / 2), set()),
    "all pairs together": (flatter, set()),
    "history": (put("history", change=lambda rows: rows[:1]), set()),
    "seconds": (put("seconds", "training", change=doubled), set()),
    "machine": (put("provenance", "trained_on", change=lambda _: "another"), set()),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_fails_alone_and_with_the_manifest_edited_to_match(store, name):
    edit, expected = EDITS[name]
    record = rewrite(only_folder(store), edit)
    assert failed(record) == expected | {"manifest"}
    update_manifest()
    assert failed(record) == expected


def less_noise(content):
    """Half the noise, told alike everywhere, under the name that is then right, with the epsilon that it costs."""
    privacy = content["privacy"]
    for part in (privacy, content["config"]["privacy"]):
        part["noise_multiplier"] /= 2
    spent = accounting.epsilons(**{name: privacy[name] for name in
                                          ("noise_multiplier", "sampling_rate", "steps", "delta", "release_noise")})
    asked = math.ceil(spent["pld"])
    privacy |= {"epsilon_spent": spent, "epsilon_asked": asked}
    content["config"]["privacy"]["epsilon"] = content["asked"]["epsilon"] = asked
    content["run_id"] = content_address(content["config"], content["card"])


def test_a_run_renamed_and_retold_throughout_is_caught_by_the_manifest_alone(store):
    folder = only_folder(store)
    renamed = folder.rename(folder.with_name(rewrite(folder, less_noise).run_id))
    assert failed(read(renamed)) == {"manifest"}
    update_manifest()
    assert failed(read(renamed)) == set()


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), "-c", "user.name=test", "-c", "user.email=test@example.org", *arguments],
                   check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
def test_what_was_committed_catches_a_record_edited_with_its_manifest(store):
    git(store, "init")
    git(store, "add", ".")
    git(store, "commit", "-m", "published")
    record = read(only_folder(store))
    assert {row.outcome for row in verify.check(record) if "manifest" in row.name} == {checks.OK}
    record = rewrite(record.folder, EDITS["one accuracy"][0])
    update_manifest()
    assert failed(record) == {UNCOMMITTED}


def test_changed_missing_and_unlisted_files_fail(store):
    folder = only_folder(store)
    (folder / "samples.png").unlink()
    (folder / "generator.safetensors").write_bytes(b"other weights")
    (folder / "more.pkl").write_bytes(b"")
    assert failed(read(folder)) == {"samples.png", "generator.safetensors", "artefacts"}


def test_a_listed_file_outside_the_folder_is_not_opened(store):
    (store / "outside").write_bytes(b"")
    digest = hashlib.sha256(b"").hexdigest()
    record = rewrite(only_folder(store), put("artefacts", change=lambda names: names | {"../../outside": digest}))
    assert "artefact" in failed(record)


def test_a_finite_epsilon_of_a_run_without_noise_fails(tmp_path):
    record = store_record(tmp_path, epsilon=math.inf)
    assert not failed(record) & EPSILONS
    record.content["privacy"]["epsilon_spent"]["pld"] = 10.0
    assert failed(record) & EPSILONS == {"epsilon spent (pld)"}


@pytest.mark.parametrize("field", ["config", "card", "privacy", "metrics", "artefacts", "provenance", "seconds"])
@pytest.mark.parametrize("junk", [None, [], 3, "text", {"a": [1]}])
def test_a_field_of_another_kind_never_raises(store, field, junk):
    record = rewrite(only_folder(store), put(field, change=lambda _: copy.deepcopy(junk)))
    assert "manifest" in failed(record)
    for row in verify.check(record):
        assert "\n" not in str(row)


def test_a_text_in_a_record_does_not_pass_for_a_line_of_ours(store):
    record = rewrite(only_folder(store), put("privacy", "unit", change=lambda _: "x\nok  \x1b[2K\u2028unit: y"))
    lines = "\n".join(str(row) for row in verify.check(record)).splitlines()
    assert len(lines) == len(verify.check(record)) and not any("\x1b" in line for line in lines)


def test_a_metric_that_no_check_knows_is_named(store):
    record = rewrite(only_folder(store), put("metrics", "synthetic", change=lambda values: values | {"beauty": 1.0}))
    assert {row.outcome for row in verify.check(record) if "beauty" in row.detail} == {checks.NOT_CHECKED}


def test_no_check_opens_data_or_needs_torch(store):
    code = ("import sys; from dpgan_lib import data; from dpgan_lib.records import verify\n"
            "data.load = data.check = data.fetch = None\n"
            f"rows = verify.check(verify.find({str(only_folder(store))!r}))\n"
            "print(len(rows) > 20, 'torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


# Records of another shape

def test_a_study_without_epsilon_is_checked_as_far_as_it_goes(store):
    config, card = {"repeats": 3}, {"title": "random images"}
    content = {"mode": "demo", "asked": {}, "config": config, "card": card, "privacy": {}, "metrics": {"steps": [1.5]},
               "seconds": {"benchmark": 1.0}, "provenance": provenance.provenance({})}
    record = write("timings", content_address(config, card), content, {}, store)
    update_manifest()
    outcomes = {row.name: row.outcome for row in verify.check(record)}
    assert outcomes == {"shape": "ok", "digest": "ok", "run id": "ok", "place": "ok", "mode": "ok",
                        "artefacts": "not checked", "manifest": "ok",
                        UNCOMMITTED: "not checked", "epsilon": "not checked", "metrics": "not checked",
                        "metrics from the weights": "not checked", "origin": "not checked"}
    assert failed(record, deep=True) == set()
    record = rewrite(record.folder, put("metrics", "steps", change=lambda _: [0.5]))
    assert failed(record) == {"digest", "manifest"}


# Which record

def test_a_record_is_found_by_every_name_it_has(store, monkeypatch):
    folder = only_folder(store)
    monkeypatch.chdir(folder)
    for text in (str(folder), f"{folder}/", str(folder / "record.json"), ".", "record.json", folder.name,
                 f"{folder.parent.name}/{folder.name}"):
        assert verify.find(text).folder == folder.resolve(), text


def test_a_wrong_name_is_refused_with_the_nearest(store):
    folder = only_folder(store)
    for text in (folder.name[:-1], f"another/{folder.name}", folder.parent.name, "", "x" * 300):
        with pytest.raises(ValueError, match=f"nearest there: {folder.parent.name}/{folder.name}") as refusal:
            verify.find(text)
        assert "\n" not in str(refusal.value)
    shutil.copytree(folder, store / "another" / folder.name)
    with pytest.raises(ValueError, match=f"another/{folder.name}, {folder.parent.name}/{folder.name}"):
        verify.find(folder.name)
    shutil.rmtree(store)
    with pytest.raises(ValueError, match="empty"):
        verify.find(folder.name)


# The command

def test_the_command_prints_a_line_a_check_and_ends_with_the_verdict(store):
    folder = only_folder(store)
    passed = CliRunner().invoke(cli.main, ["verify", folder.name])
    assert passed.exit_code == 0
    assert passed.stdout.splitlines() == [str(row) for row in verify.check(read(folder))]
    rewrite(folder, EDITS["noise"][0])
    result = CliRunner().invoke(cli.main, ["verify", folder.name])
    assert result.exit_code == 1 and "FAILED       noise multiplier: " in result.stdout
    refused = CliRunner().invoke(cli.main, ["verify", "nothing"])
    assert (refused.exit_code, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)


# Deep

def sealed(record: Record) -> Record:
    """The record with the digest of what it says now, as whoever edits it on purpose would leave it."""
    return rewrite(record.folder, lambda content: content.update(digest=content_digest(content)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of four steps, with a short evaluation: what it draws is noise, and yet it is what its weights draw."""
    asked = study.Parameters(dataset="digits", profile="smoke", epsilon=3.0, method="dp_sgd")
    config = study.run_of(asked)
    config = replace(config, privacy=replace(config.privacy, steps=4),
                     evaluation=EvaluationConfig(images=200, cnn_steps=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPGAN_HOME", str(tmp_path_factory.mktemp("home")))
        short = replace(study.STUDY, plan=lambda _: Plan(run=config, card=data.card(config.dataset)))
        return short.obtain(asked, progress=False)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of that run's folder. Its epsilon is that of four steps, less than was asked."""
    return shutil.copytree(trained.folder, tmp_path / trained.run_id)


@pytest.fixture
def as_measured(trained, monkeypatch):
    """The evaluation's answer without its seconds."""
    monkeypatch.setattr(utility, "measure", lambda *_, **__: copy.deepcopy(trained.metrics))


def test_metrics_computed_again_from_the_weights_agree(run):
    record = read(run)
    rows = verify.check(record, deep=True)
    assert not [str(row) for row in rows if row.outcome == checks.FAILED]
    # The grid, accuracies, and the pair that differs most.
    assert sum("from the weights" in row.name for row in rows) == 1 + 5 + 1


@pytest.mark.parametrize("edit, expected", [
    (EDITS["one accuracy"][0], {"ten_cnn from the weights"}),
    (flatter, {"pairs_logistic from the weights", "pairs_worst from the weights"}),
])
def test_deep_catches_what_else_only_the_manifest_would(run, as_measured, edit, expected):
    record = sealed(rewrite(run, edit))
    assert failed(record) == set()
    assert expected <= failed(record, deep=True)


def test_other_weights_draw_other_samples(run, as_measured):
    from safetensors.torch import load, save

    weights = {name: value.flip(0) for name, value in load((run / "generator.safetensors").read_bytes()).items()}
    (run / "generator.safetensors").write_bytes(save(weights))
    digest = hashlib.sha256((run / "generator.safetensors").read_bytes()).hexdigest()
    record = sealed(rewrite(run, put("artefacts", "generator.safetensors", change=lambda _: digest)))
    assert failed(record) == set()
    assert failed(record, deep=True) == {"samples from the weights"}


def test_what_is_no_weights_fails_deep(run, as_measured):
    (run / "generator.safetensors").write_bytes(ARTEFACTS["generator.safetensors"])
    assert "metrics from the weights" in failed(read(run), deep=True)


def test_deep_says_that_a_record_is_stale_where_it_differs(run, as_measured):
    record = rewrite(run, EDITS["one accuracy"][0])
    assert not any("stale" in row.detail for row in verify.check(record, deep=True))
    record = rewrite(run, put("provenance", "sources", "measuring", "sha256", change=lambda value: value[::-1]))
    assert any("the source that measures it has changed since" in row.detail for row in verify.check(record, deep=True))


def test_deep_without_the_data_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DPGAN_DATA", raising=False)
    monkeypatch.setattr(data, "fetch", lambda *_, **__: pytest.fail("went to the network"))
    record = store_record(tmp_path / "store")
    result = CliRunner().invoke(cli.main, ["verify", str(record.folder), "--deep"])
    assert result.exit_code == 2 and "absent" in result.stderr and len(result.stderr.splitlines()) == 1
