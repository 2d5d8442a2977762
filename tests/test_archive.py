"""The published store as one file: the same bytes each time, checked from that file alone, and damage is said."""

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from sample_record import store_record

from dpgan_lib import cli, paths
from dpgan_lib.records import archive, store


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A published store of its own, with one published record of a private run."""
    found = next(record for record in store.published("mnist_tradeoff") if "release_noise" in record.privacy)
    shutil.copytree(found.folder, tmp_path / "results" / "mnist_tradeoff" / found.run_id)
    monkeypatch.setenv("DPGAN_PUBLISHED", str(tmp_path / "results"))
    store.update_manifest()
    return tmp_path / "results"


def dpgan(*words: str | Path):
    return CliRunner().invoke(cli.main, ["--quiet", *map(str, words)])


def test_an_archive_is_the_same_bytes_whenever_and_wherever_it_is_made(published, tmp_path):
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    written = dpgan("archive", first)
    assert written.exit_code == 0 and f"{first}: 1 records\nsha256 " in written.stdout
    for path in published.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    (published / "mnist_tradeoff" / ".left.by.a.killed.writer").touch()
    archive.write(second)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        names = tar.getnames()
    there = {f"results/{path.relative_to(published).as_posix()}" for path in published.rglob("[!.]*") if path.is_file()}
    assert names == sorted(names) and set(names) == there | set(archive.ENVIRONMENT)
    assert {"generator.safetensors", "samples.png", "record.json", "MANIFEST.json"} <= {Path(n).name for n in names}


def test_an_archive_is_verified_where_nothing_else_is_at_hand(published, tmp_path, monkeypatch):
    dpgan("archive", tmp_path / "a.tar")
    shutil.rmtree(published)
    verified = dpgan("verify", tmp_path / "a.tar")
    assert (verified.exit_code, verified.stdout) == (0, "1 records, 0 checks failed\n"), verified.output
    assert paths.published() == published, "the published store is what it was"


def repacked(path: Path, edit) -> None:
    """The archive with one file's content edited."""
    with tarfile.open(path) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar}
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            content = edit(name, content)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("file, check", [("generator.safetensors", "by its file's SHA-256"),
                                         ("record.json", "is not the one in the manifest")])
def test_what_was_changed_in_an_archive_fails(published, tmp_path, file, check):
    dpgan("archive", tmp_path / "a.tar")
    repacked(tmp_path / "a.tar", lambda name, content: content + b" " * name.endswith(file))
    verified = dpgan("verify", tmp_path / "a.tar")
    assert verified.exit_code == 1 and check in verified.stdout


def test_an_archive_that_is_cut_or_another_is_refused_in_one_line(published, tmp_path):
    path = tmp_path / "a.tar"
    dpgan("archive", path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    cut = dpgan("verify", path)
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("x"))
    with tarfile.open(tmp_path / "c.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../x"))
    for refused, said in ((cut, "a.tar"), (dpgan("verify", tmp_path / "b.tar"), "holds no results/MANIFEST.json"),
                          (dpgan("verify", tmp_path / "c.tar"), "cannot be unpacked")):
        assert refused.exit_code == 2 and said in refused.stderr and refused.stderr.count("\n") == 1
    assert not (tmp_path.parent / "x").exists()


def test_a_store_that_is_not_what_its_manifest_lists_is_not_archived(published, tmp_path):
    store_record(published)
    refused = dpgan("archive", tmp_path / "a.tar")
    assert refused.exit_code == 2 and "not what its manifest lists" in refused.stderr
    assert not list(tmp_path.glob("*.tar*")) and not list(tmp_path.glob(".*.part"))
