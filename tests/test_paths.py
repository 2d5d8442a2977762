"""What is written lies below one folder, and that may be elsewhere; a user without a home directory gets one there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dpgan_lib import cli, paths


def test_runs_and_build_lie_below_dpgan_home(monkeypatch, tmp_path):
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    assert (paths.runs(), paths.build()) == (tmp_path / "runs", tmp_path / "build")
    monkeypatch.setenv("DPGAN_HOME", "elsewhere")  # from the project's folder, wherever the caller is
    assert paths.runs() == paths.ROOT / "elsewhere" / "runs"
    monkeypatch.delenv("DPGAN_HOME")
    assert paths.build() == paths.ROOT / "build"


def test_a_folder_is_made_with_those_above_it(tmp_path):
    assert paths.made(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert paths.made(tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("make", [
    lambda folder: (folder / "runs").touch(),  # "File exists"
    lambda folder: (folder / "runs").symlink_to(folder / "nowhere" / "at" / "all") or (folder / "nowhere").touch(),
])
def test_what_cannot_be_written_is_refused_with_the_setting_that_mends_it(tmp_path, make):
    make(tmp_path)
    with pytest.raises(ValueError, match="nothing can be written into .*runs .*: set DPGAN_HOME") as refusal:
        paths.made(tmp_path / "runs")
    assert "\n" not in str(refusal.value)


def test_a_read_only_folder_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / "runs")  # root may write anywhere
    asked = ("-p", "profile", "smoke", "-p", "dataset", "digits", "-p", "epsilon", "inf")
    refused = CliRunner().invoke(cli.main, ["--quiet", "train", *asked])
    assert (refused.exit_code, refused.stdout) == (2, "") and "set DPGAN_HOME" in refused.stderr
    assert os.listdir(tmp_path / "runs") == []


def test_a_user_without_a_home_directory_is_lent_one_below_build(tmp_path, monkeypatch):
    monkeypatch.setenv("DPGAN_HOME", str(tmp_path))
    for home in ("/nonexistent", str(tmp_path)):
        monkeypatch.setenv("HOME", home)
        paths.lend_home()
        assert os.environ["HOME"] == (home if home == str(tmp_path) else str(tmp_path / "build" / "home"))


def test_what_such_a_user_starts_writes_there(tmp_path):
    code = "from dpgan_lib import paths; paths.lend_home(); import matplotlib; print(matplotlib.get_configdir())"
    environment = os.environ | {"DPGAN_HOME": str(tmp_path), "HOME": "/nonexistent"}
    for name in ("XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.startswith(str(tmp_path / "build" / "home")), done.stderr
