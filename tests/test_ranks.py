"""One run on several processes: the same mechanism, and the weights of one process."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from sample_record import run_config

from dpgan_lib import data, remote
from dpgan_lib.gan import loop, ranks, state
from dpgan_lib.studies.mutual_information import infogan

STEPS = 22
TORCHRUN = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
EACH = """
import sys
from pathlib import Path
from safetensors.torch import save_file
from dpgan_lib import remote
from dpgan_lib.gan import ranks
from dpgan_lib.warm_start.methods import train
folder = Path(sys.argv[1])
with ranks.joined() as shared:
    left = train(*remote.read(folder)[:3], folder, **shared)
save_file({name: value.contiguous() for name, value in left.critic.state_dict().items()},
          folder / f"left-{ranks.count()}-{ranks.is_first()}.safetensors")
"""


@pytest.fixture(scope="module")
def given():
    """A run whose noise hides little, so that noise that is there twice, or batches that differ, are plain to see."""
    files = data.load("digits", progress=False)
    config = run_config(dataset="digits", profile="smoke", seed=3)
    privacy = replace(config.privacy, steps=STEPS, noise_multiplier=2.0)
    return replace(config, privacy=privacy), files.train_images, files.train_labels


def laid_out(given, folder):
    config, images, labels = given
    folder.mkdir()
    np.savez(folder / "data.npz", images=np.rint((images + 1) * 127.5).astype(np.uint8), labels=labels)
    (folder / "run.json").write_text(json.dumps(config.to_dict()))
    return folder


def torchrun(processes: int, *words) -> subprocess.CompletedProcess:
    return subprocess.run([*TORCHRUN, str(processes), *map(str, words)], capture_output=True, text=True, timeout=300)


def weights(found) -> torch.Tensor:
    networks = (found.critic, found.generator, found.average)
    return torch.cat([each.detach().flatten() for network in networks for each in network.parameters()])


def checkpoint(given, folder):
    return state.load_checkpoint(given[0], folder, torch.device("cpu"))


@pytest.mark.full
def test_two_processes_give_the_weights_of_one_and_each_other_number_goes_on(given, tmp_path, monkeypatch):
    """Up to the order in which float32 is added: a batch is summed in two parts."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config, images, labels = given
    read = remote.read(laid_out(given, tmp_path / "alone"))[1]
    alone = loop.train(config, read, labels, tmp_path / "alone")
    start = weights(state.new_state(config, torch.device("cpu")))

    def apart(found):
        """Of the way that the weights went. Adam divides by a gradient's size, so where that is nearly 0 the order of
        adding shows; other noise, or another batch, would be of the order of 1.
        """
        return float((weights(found) - weights(alone)).norm() / (weights(alone) - start).norm())

    script = tmp_path / "each.py"
    script.write_text(EACH)
    folder = laid_out(given, tmp_path / "both")
    done = torchrun(2, script, folder)
    assert done.returncode == 0, done.stderr
    both = checkpoint(given, folder)
    assert both.step == STEPS
    assert 0 < apart(both) < 1e-2
    one, other = ((folder / f"left-2-{first}.safetensors").read_bytes() for first in (True, False))
    assert one == other, "the processes have different critics"

    folder = laid_out(given, tmp_path / "resumed")
    first = torchrun(2, "-m", "dpgan_lib.remote", folder, "--max-minutes", "1e-9")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("critic steps") == 1 and " and 1 more" in first.stdout
    assert 0 < checkpoint(given, folder).step < STEPS
    resumed = loop.train(config, read, labels, folder)
    assert 0 < apart(resumed) < 1e-2


def test_without_torchrun_nothing_is_shared(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with ranks.joined() as shared:
        assert shared == {} and ranks.count() == 1 and ranks.is_first()


def test_what_cannot_be_shared_is_refused_in_one_line(given, monkeypatch):
    config, *_ = given
    without_clip = infogan.run_of(infogan.Parameters(dataset="digits", profile="smoke"))
    for refused, reason in ((replace(config, seed=None), "a release is trained by one process"),
                            (without_clip, "no sum of clipped gradients")):
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(ValueError, match=reason) as refusal:
            ranks.check(refused)
        assert "\n" not in str(refusal.value)
        ranks.check(config)
        monkeypatch.delenv("WORLD_SIZE")
        ranks.check(refused)
