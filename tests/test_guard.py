"""What private data could leave by, beside what is released: core files, messages, folders that others may enter."""

import ctypes
import stat
import sys

import numpy as np
import pytest
import torch

from dpgan_lib.privacy import guard
from dpgan_lib.studies.parameters import require

resource = pytest.importorskip("resource")


def test_no_core_file_within_and_as_before_behind():
    before = resource.getrlimit(resource.RLIMIT_CORE)
    with guard.guarded():
        assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    assert resource.getrlimit(resource.RLIMIT_CORE) == before


@pytest.mark.parametrize("fails", [
    lambda: torch.zeros(4_242, 3) @ torch.zeros(7, 4_242), lambda: np.zeros(4_242) + np.zeros(3),
    lambda: {}["4242"], lambda: np.array(["4242x"]).astype(float), lambda: torch.empty(2**40, 4_242)])
def test_a_message_that_is_not_of_this_library_is_not_shown(fails):
    with pytest.raises(RuntimeError, match="Its message is not shown") as refusal:
        with guard.guarded():
            fails()
    assert "4242" not in str(refusal.value).replace(",", "") and "\n" not in str(refusal.value)
    assert "guard.py:" in str(refusal.value)
    behind = refusal.value.__context__
    assert refusal.value.__suppress_context__ and "4242" not in f"{behind}" and behind.__traceback__ is None


def test_what_this_library_says_is_shown():
    with pytest.raises(ValueError, match="epsilon=0 must be above 0"):
        with guard.guarded():
            require(False, "epsilon", 0, "must be above 0")


def test_an_interruption_passes():
    with pytest.raises(KeyboardInterrupt):
        with guard.guarded():
            raise KeyboardInterrupt


@pytest.mark.parametrize("is_there", [False, True])
def test_the_owner_alone_enters_a_private_folder(tmp_path, is_there):
    folder = tmp_path / "above" / "private"
    if is_there:
        folder.mkdir(parents=True, mode=0o755)
    guard.private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) != 0o700


def test_a_message_that_fails_while_it_is_made_is_not_of_this_library():
    """An error on a line that begins with raise, and by no raise statement."""
    with pytest.raises(RuntimeError, match="IndexError at"):
        with guard.guarded():
            raise ValueError(f"{[][4_242]}")


def test_no_warning_is_shown_and_an_interruption_brings_no_error_along(recwarn):
    with guard.guarded():
        np.mean(np.zeros(0))
    assert not recwarn
    with pytest.raises(KeyboardInterrupt) as ended:
        with guard.guarded():
            try:
                np.zeros(4_242) + np.zeros(3)
            except ValueError:
                raise KeyboardInterrupt from None
    assert ended.value.__context__ is None


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of Linux")
def test_a_handler_of_crashes_is_not_given_the_memory():
    """Whatever the kernel would pipe a core to."""
    prctl = ctypes.CDLL(None).prctl
    before = prctl(guard.GET_DUMPABLE, 0, 0, 0, 0)
    with guard.guarded():
        assert prctl(guard.GET_DUMPABLE, 0, 0, 0, 0) == 0
    assert prctl(guard.GET_DUMPABLE, 0, 0, 0, 0) == before
