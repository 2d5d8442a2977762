"""Locks: the second waits and is told for whom; what a killed process held is free."""

import os
import platform
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dpgan_lib.records import locks

HOLD = "import sys, time, pathlib; from dpgan_lib.records import locks\n" \
       "with locks.held(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(float(sys.argv[2]))"


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock at the path, for so many seconds."""
    started = []

    def hold(seconds: float):
        process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "lock", str(seconds)],
                                   stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_the_second_waits_and_is_told_which_process_has_it(tmp_path, holder, capsys):
    first = holder(1)
    with locks.held(tmp_path / "lock"):
        assert first.wait(10) == 0, "the first is done before the second begins"
    said = capsys.readouterr().err
    assert said == (f"waiting for process {first.pid} on {platform.node()}, which is at work on the same: "
                    f"{tmp_path / 'lock'}\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_what_a_killed_process_held_is_free(tmp_path, holder, capsys):
    first = holder(600)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    started = time.monotonic()
    with locks.held(tmp_path / "lock"):
        assert time.monotonic() - started < 5
    assert capsys.readouterr().err == ""


def test_threads_of_one_process_take_turns(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    inside = []

    def enter(number):
        with locks.held(tmp_path / "deep" / "lock"):
            inside.append(number)
            time.sleep(0.05)
            assert inside[-1] == number, "nobody came in between"

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(4)))
    assert sorted(inside) == [0, 1, 2, 3]


def test_a_lock_whose_holder_is_not_written_down_is_still_waited_for(tmp_path, holder, capsys):
    holder(0.5)
    (tmp_path / "lock").write_bytes(b"")
    with locks.held(tmp_path / "lock"):
        pass
    assert capsys.readouterr().err.startswith("waiting for another process, ")
