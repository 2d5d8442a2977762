"""The judge's scores where they are known, the rule of collapse, and two GANs that differ in loss and W alone."""

import math

import numpy as np
import pytest
import torch

from dpgan_lib import data
from dpgan_lib.studies.wasserstein import stability
from dpgan_lib.studies.wasserstein.study import Stability, plan_stability


def shares(*rows):
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("probabilities, drawn, score", [
    (torch.eye(10, dtype=torch.float64), 10, 10), (shares([1, 0], [1, 0]), 1, 1),
    (shares([0.5, 0.5], [0.5, 0.5]), 2, 1), (shares([1, 0, 0], [0, 1, 0]), 2, 2)])
def test_classes_drawn_and_the_score(probabilities, drawn, score):
    assert math.isclose(stability.drawn_classes(probabilities), drawn, rel_tol=1e-12)
    assert math.isclose(stability.score(probabilities), score, rel_tol=1e-12)


def test_within_class_variance_by_hand():
    images, labels = torch.tensor([[0.0], [2.0], [5.0], [5.0]]), torch.tensor([0, 0, 1, 1])
    assert stability.within_class_variance(images, labels) == 0.5  # squared distances 1, 1, 0 and 0


def judge(images):
    """Sure of the class that the first pixel names."""
    return 100 * torch.eye(10)[images[:, 0, 0, 0].round().long()]


def images(classes, spread):
    """Ten of each class named, of which the second pixel varies."""
    named = torch.tensor(classes).repeat_interleave(10).float()
    rest = spread * torch.linspace(-1, 1, 10).repeat(len(classes))
    return torch.stack([named, rest], dim=1).view(-1, 1, 1, 2)


@pytest.mark.parametrize("classes, spread, collapsed", [
    (range(10), 1.0, False), (range(4), 1.0, True), (range(6), 1.0, False), (range(10), 0.1, True)])
def test_what_counts_as_collapse(classes, spread, collapsed):
    real = images(range(10), 1.0)
    usual = stability.within_class_variance(real, judge(real).argmax(1))
    seen = stability.outcome(judge, images(list(classes), spread), usual)
    assert seen["collapsed"] == collapsed
    assert math.isclose(seen["classes"], len(classes), rel_tol=1e-6)  # float32 images
    assert math.isclose(seen["variety"], spread**2, rel_tol=1e-5)


def test_images_that_are_not_finite_have_collapsed():
    assert stability.outcome(judge, torch.full((4, 1, 1, 2), math.nan), 1.0)["collapsed"]


def test_the_losses_where_they_are_known():
    nothing = torch.zeros(3)
    assert math.isclose(stability.CRITIC_LOSS["JS"](nothing, nothing), 2 * math.log(2), rel_tol=1e-6)
    assert stability.CRITIC_LOSS["Wasserstein"](nothing + 2, nothing) == -2
    lost = torch.full((3,), -50.0, requires_grad=True)  # scores of fakes that nobody believes
    for loss in stability.GENERATOR_LOSS.values():
        assert math.isclose(torch.autograd.grad(loss(lost), lost)[0].sum(), -1, rel_tol=1e-6)


def test_two_runs_differ_in_loss_and_W_alone():
    config = plan_stability(Stability(profile="smoke")).run
    one, other = (config.model(loss, 8) for loss in ("JS", "Wasserstein"))
    assert one.weight_clip == math.inf and other.weight_clip == config.weight_clip
    assert {name for name in vars(one) if getattr(one, name) != getattr(other, name)} == {"weight_clip"}


@pytest.mark.full
def test_a_smoke_sweep_judges_every_run_and_repeats_itself():
    config, files = plan_stability(Stability(profile="smoke")).run, data.load("digits", progress=False)
    (metrics, grid), (again, _) = (stability.measure(config, files) for _ in range(2))
    assert [(row["loss"], row["rate"], row["width"]) for row in metrics["runs"]] == config.runs()
    assert grid.shape == (len(config.runs()), stability.SHOWN, 28, 28) and np.abs(grid).max() <= 1
    assert metrics["real"]["variety"] == 1
    for one, other in zip(metrics["runs"], again["runs"]):
        assert one | {"seconds": 0} == other | {"seconds": 0}
