"""The loop: same seed, same weights; slices and checkpoints; a mended configuration is refused."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from dpgan_lib import data
from dpgan_lib.gan import loop, state
from dpgan_lib.studies.parameters import RunParameters, plan_run

STEPS = 12
BLOCK = 2  # critic steps between two generator steps of the smoke profile: a checkpoint lies between blocks


def small_config(**parameters):
    config = plan_run(RunParameters(dataset="digits", profile="smoke", **parameters))
    return replace(config, privacy=replace(config.privacy, steps=STEPS))


@pytest.fixture(scope="module")
def digits():
    files = data.load("digits")
    return files.train_images, files.train_labels


def weights(trained):
    return torch.cat([tensor.flatten().float() for network in (trained.average, trained.critic, trained.posterior)
                      for tensor in network.state_dict().values()])


def test_same_configuration_same_weights_and_another_seed_others(digits, tmp_path):
    runs = [loop.train(small_config(seed=seed), *digits, tmp_path / str(index))
            for index, seed in enumerate([0, 0, 1])]
    assert torch.equal(weights(runs[0]), weights(runs[1]))
    assert not torch.equal(weights(runs[0]), weights(runs[2]))


class Killed(Exception):
    pass


def test_a_slice_stops_and_the_next_finishes(digits, tmp_path):
    config = small_config()
    assert loop.train(config, *digits, tmp_path, max_minutes=0).step == BLOCK
    assert loop.train(config, *digits, tmp_path).step == STEPS


def test_a_kill_while_the_checkpoint_is_written_leaves_the_previous_one(digits, tmp_path, monkeypatch):
    config = small_config()
    loop.train(config, *digits, tmp_path, max_minutes=0)

    def die(tensors, path, metadata):
        path.write_bytes(b"half")
        raise Killed

    monkeypatch.setattr(state, "save_file", die)
    with pytest.raises(Killed):
        loop.train(config, *digits, tmp_path, max_minutes=0)
    assert state.load_checkpoint(config, tmp_path, torch.device("cpu")).step == BLOCK


def test_another_configuration_does_not_resume(digits, tmp_path):
    loop.train(small_config(), *digits, tmp_path, max_minutes=0)
    with pytest.raises(ValueError, match="belongs to another configuration"):
        loop.train(small_config(seed=1), *digits, tmp_path)


def test_another_number_of_records_is_refused(digits, tmp_path):
    images, labels = digits
    with pytest.raises(ValueError, match="declared N"):
        loop.train(small_config(), images[1:], labels[1:], tmp_path)


def test_divergence_stops_the_run(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "generator_step", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(RuntimeError, match="diverged at critic step 2"):
        loop.train(small_config(), *digits, tmp_path)


def test_training_needs_torch_numpy_and_safetensors_alone(digits, tmp_path):
    """A run laid out on a machine with the stack trains in an interpreter where the rest cannot be imported."""
    images, labels = digits
    np.savez(tmp_path / "data.npz", images=np.rint((images + 1) * 127.5).astype(np.uint8), labels=labels)
    (tmp_path / "run.json").write_text(json.dumps(small_config().to_dict()))
    others = ("scipy", "sklearn", "dp_accounting", "matplotlib", "click", "tqdm", "opacus", "papermill", "pandas")
    code = (f"import sys, runpy; sys.modules.update(dict.fromkeys({others!r}));"
            f"sys.argv = ['remote', {str(tmp_path)!r}]; runpy.run_module('dpgan_lib.remote', run_name='__main__')")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and f"{STEPS} of {STEPS} critic steps" in done.stdout, done.stderr
    here = loop.train(small_config(), images, labels, tmp_path / "here")
    there = state.load_checkpoint(small_config(), tmp_path, torch.device("cpu"))
    assert torch.equal(weights(here), weights(there))


def test_a_checkpoint_of_every_profile_fits_in_16_mib(tmp_path):
    for profile in ("smoke", "laptop", "paper"):
        config = plan_run(RunParameters(profile=profile, epsilon="inf"))
        new = state.new_state(config, torch.device("cpu"))
        for optimiser in (new.critic_optimiser, new.generator_optimiser):
            for group in optimiser.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.zeros_like(parameter)
            optimiser.step()
        state.save_checkpoint(config, new, tmp_path)
        assert (tmp_path / state.CHECKPOINT).stat().st_size < 16 * 2**20, profile
