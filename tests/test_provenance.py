"""Where a result comes from: the hashes of its sources, the versions, the machine and the commit."""

import json
import re
import subprocess
import sys

import pytest

from dpgan_lib.paths import PACKAGE, ROOT
from dpgan_lib.records import provenance
from dpgan_lib.records.definitions import Package

# Sources

def test_a_source_is_named_and_hashed_by_part():
    assert provenance.training_source("plain").keys() == {"method", "sha256"}
    assert provenance.training_source("plain")["method"] == "plain"
    assert provenance.measuring_source("audit", "run").keys() == {"kind", "sha256"}
    assert provenance.measuring_source("audit", "run")["kind"] == "run"
    found = [provenance.training_source("plain"), provenance.training_source("plain", "mnist_tradeoff"),
             provenance.training_source("faces"), provenance.measuring_source("wasserstein", "toy"),
             provenance.measuring_source("wasserstein", "stability")]
    assert len({source["sha256"] for source in found}) == len(found)
    assert all(re.fullmatch("[0-9a-f]{64}", source["sha256"]) for source in found)


@pytest.mark.parametrize("source", [
    lambda: provenance.training_source("alchemy"), lambda: provenance.training_source("plain", "alchemy"),
    lambda: provenance.measuring_source("wasserstein", "run"),
    lambda: provenance.measuring_source("accountant", "run")])
def test_what_is_no_method_or_study_has_no_source(source):
    with pytest.raises(ValueError, match="has no|is no definition"):
        source()


def test_only_what_changed_is_said_to_have_changed():
    training, measuring = provenance.training_source("plain", "mnist_tradeoff"), provenance.measuring_source(
        "mnist_tradeoff", "run")
    other = {"sha256": "0" * 64}

    def changes(**sources):
        return provenance.source_changes("mnist_tradeoff", {"sources": sources})

    assert changes(training=training, measuring=measuring) == changes(measuring=measuring) == []
    assert changes(training=training | other, measuring=measuring) == ["training"]
    assert changes(training=training, measuring=measuring | other) == ["measuring"]
    release = provenance.training_source("plain")
    assert provenance.source_changes("releases", {"sources": {"training": release}}) == []
    assert provenance.source_changes("releases", {"sources": {"training": release | other}}) == ["training"]


def test_figures_and_text_are_no_part_of_a_result():
    package = Package(PACKAGE)
    reached = package.reached(["warm_start.methods.METHODS", *(f"studies.{chapter}.study.measure" for chapter in (
        "audit", "celeba_specificity", "class_imbalance", "mnist_tradeoff", "mutual_information"))])
    assert {"gan.loop.train", "privacy.mechanism.noisy_mean", "measures.utility.measure", "config.RunConfig"} <= reached
    assert not reached & {f"records.store.{name}" for name in ("Record", "write", "read", "find", "staleness")}
    beside = ("book.", "cli.", "release.", "report.cards.", "report.html.", "records.verify.", "records.checks.",
              "records.bands.", "records.provenance.")
    assert not [name for name in reached if name.startswith(beside)]
    of_studies = [name for name in reached if name.startswith("studies.")]
    assert not [name for name in of_studies if {"tables", "figures", "claims"} & set(name.split("."))]


# Provenance

def test_reading_records_loads_neither_torch_nor_data():
    code = ("import sys; from dpgan_lib.records import provenance, store\n"
            "from dpgan_lib.report import cards\n"
            "assert [cards.status(record) for record in store.published('mnist_tradeoff')]\n"
            "provenance.provenance({})\n"
            "assert not {'torch', 'sklearn', 'dpgan_lib.data'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_provenance_is_strict_json_and_names_public_versions():
    sources = {"measuring": provenance.measuring_source("audit", "run")}
    origin = provenance.provenance(sources, gpu="a device")
    assert origin["sources"] == sources
    json.dumps(origin, allow_nan=False)
    assert origin["hardware"]["gpu"] == "a device"
    assert origin["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert not [version for version in origin["versions"].values() if "+" in version]


def test_a_folder_outside_a_clone_has_no_commit(tmp_path):
    assert provenance._commit(tmp_path) == {"commit": "unknown", "dirty": False}


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    assert subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True).returncode == 0


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
