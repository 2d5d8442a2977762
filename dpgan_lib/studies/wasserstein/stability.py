"""Stability, measured: GANs that differ in loss, learning rate and width, on the same data, for the same steps.

No privacy here: what collapses without noise is not saved by it. A judge, a CNN trained on the real images, looks at
what each generator draws. A run has collapsed, by a rule written before any run on MNIST, if its images are spread over
fewer than FEWEST_CLASSES classes, or if those of one class vary less than LEAST_VARIETY times as much as real ones.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpgan_lib.config import LatentConfig, ModelConfig, PrivacyConfig
from dpgan_lib.data.files import Dataset
from dpgan_lib.gan.losses import (
    js_critic_loss,
    js_generator_loss,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from dpgan_lib.gan.networks import Critic, Generator
from dpgan_lib.measures.classifiers import cnn_accuracy, train_cnn
from dpgan_lib.privacy.streams import stream

FEWEST_CLASSES = 5.0  # of ten
LEAST_VARIETY = 0.25
LATENT = LatentConfig(z_dim=32, categories=1, continuous=0)  # one category: nothing is asked for
SHOWN = 10  # images of each run in the grid


# The only functions in which the two GANs differ
CRITIC_LOSS = {"JS": js_critic_loss, "Wasserstein": wasserstein_critic_loss}
GENERATOR_LOSS = {"JS": js_generator_loss, "Wasserstein": wasserstein_generator_loss}


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Every loss with every learning rate and width, at one seed.

    rates: Adam's, of both networks.  widths: channels of both.  critic_steps: for each generator step.
    judged: images of each generator that the judge sees; judge_steps: of the judge's training.
    privacy: none; it states N, the batch and the critic steps.
    """

    measurement: str = "stability"
    dataset: str
    profile: str
    seed: int
    losses: tuple[str, ...] = tuple(CRITIC_LOSS)
    rates: tuple[float, ...]
    widths: tuple[int, ...]
    weight_clip: float
    critic_steps: int
    judged: int
    judge_steps: int
    privacy: PrivacyConfig

    def runs(self) -> list[tuple[str, float, int]]:
        """(loss, rate, width) of each run."""
        return list(product(self.losses, self.rates, self.widths))

    def model(self, loss: str, width: int) -> ModelConfig:
        clip = self.weight_clip if loss == "Wasserstein" else float("inf")
        return ModelConfig(image_side=28, channels=1, generator_width=width, critic_width=width, conditional=False,
                           weight_clip=clip, spectral_norm=float("inf"))


def measure(config: SweepConfig, files: Dataset,
            progress: Callable[[], object] = lambda: None) -> tuple[dict, np.ndarray]:
    """Metrics of all runs, and samples (runs, SHOWN, side, side) in [-1, 1], uncurated, in the runs' order."""
    judge = train_cnn(files.train_images, files.train_labels, config.judge_steps, stream(repr(config), "evaluation"))
    real = torch.from_numpy(files.train_images[: config.judged])
    usual = within_class_variance(real, verdicts(judge, real).argmax(1))
    rows, samples = [], []
    for loss, rate, width in config.runs():
        started = time.monotonic()
        images = train(config, torch.from_numpy(files.train_images), loss, rate, width)
        samples.append(images[:SHOWN, 0].numpy())
        rows.append({"loss": loss, "rate": rate, "width": width, "seconds": round(time.monotonic() - started, 1)}
                    | outcome(judge, images, usual))
        progress()
    metrics = {"runs": rows, "real": outcome(judge, real, usual),
               "judge_accuracy": cnn_accuracy(judge, files.test_images, files.test_labels)}
    return metrics, np.stack(samples)


def train(config: SweepConfig, real: Tensor, loss: str, rate: float, width: int) -> Tensor:
    """Images of one GAN's generator, (judged, 1, side, side), after all steps; real (N, 1, side, side)."""
    name = f"{config!r}/{loss}/{rate}/{width}"
    generator, critic = _networks(config.model(loss, width), stream(name, "initial weights"))
    optimisers = [torch.optim.Adam(network.parameters(), rate, betas=(0.0, 0.9), fused=True)
                  for network in (critic, generator)]
    for step in range(config.privacy.steps):
        rng = stream(name, "sampling", step)
        batch = torch.from_numpy(rng.integers(len(real), size=config.privacy.expected_batch))
        critic_step(critic, generator, optimisers[0], real[batch], CRITIC_LOSS[loss], rng)
        if (step + 1) % config.critic_steps == 0:
            generator_step(critic, generator, optimisers[1], len(batch), GENERATOR_LOSS[loss], rng)
    generator.eval()
    with torch.no_grad():
        rng = stream(name, "evaluation")
        return torch.cat([draw(generator, 100, rng) for _ in range(config.judged // 100)])


def _networks(model, rng):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**32)))
        return Generator(LATENT, model), Critic(LATENT, model)


def critic_step(critic: Critic, generator: Generator, optimiser: torch.optim.Optimizer, real: Tensor,
                loss: Callable, rng: np.random.Generator) -> None:
    with torch.no_grad():
        fake = draw(generator, len(real), rng)
    descend(optimiser, loss(scores(critic, real), scores(critic, fake)))
    critic.project()  # W of a JS critic is everything


def generator_step(critic: Critic, generator: Generator, optimiser: torch.optim.Optimizer, count: int,
                   loss: Callable, rng: np.random.Generator) -> None:
    descend(optimiser, loss(scores(critic, draw(generator, count, rng))))


def draw(generator: Generator, count: int, rng: np.random.Generator) -> Tensor:
    """(count, 1, side, side): nothing is asked for, so the code is the one category there is."""
    z = torch.from_numpy(rng.standard_normal((count, LATENT.z_dim), dtype=np.float32))
    return generator(z, torch.ones(count, 1))


def scores(critic: Critic, images: Tensor) -> Tensor:
    return critic(images, torch.ones(len(images), 1))


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of the optimiser's parameters alone."""
    parameters = optimiser.param_groups[0]["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
        parameter.grad = gradient
    optimiser.step()


# The judge

def outcome(judge: nn.Module, images: Tensor, usual: float) -> dict:
    """classes: effectively drawn, of ten; variety: within a class, over that of real images; collapsed; score.

    images that are not finite show nothing.  usual: within_class_variance of real images.
    """
    if not images.isfinite().all():
        return {"classes": 0.0, "variety": 0.0, "collapsed": True, "score": 0.0}
    probabilities = verdicts(judge, images)
    classes, variety = drawn_classes(probabilities), within_class_variance(images, probabilities.argmax(1)) / usual
    return {"classes": classes, "variety": variety, "score": score(probabilities),
            "collapsed": classes < FEWEST_CLASSES or variety < LEAST_VARIETY}


@torch.no_grad()
def verdicts(judge: nn.Module, images: Tensor) -> Tensor:
    """(B, classes) probabilities, float64."""
    return torch.cat([F.softmax(judge(part).double(), dim=1) for part in images.split(1000)])


def drawn_classes(probabilities: Tensor) -> float:
    """exp of the entropy of the mean of (B, classes): all classes if they are drawn equally often, 1 if only one is."""
    return float(entropy(probabilities.mean(0)).exp())


def score(probabilities: Tensor) -> float:
    """exp of the information, in nats, between an image and its class as judged; probabilities (B, classes).

    At most drawn_classes, which it is if each image is surely of one class; 1 if all images look alike, or like nothing
    (with another judge, the inception score of Salimans et al. 2016).
    """
    return float((entropy(probabilities.mean(0)) - entropy(probabilities).mean()).exp())


def entropy(probabilities: Tensor) -> Tensor:
    """Nats, over the last axis."""
    return torch.special.entr(probabilities).sum(-1)


def within_class_variance(images: Tensor, labels: Tensor) -> float:
    """Squared distance to the mean of the same class, a mean over the images; images (B, ...), labels (B,)."""
    parts = [images[labels == label].flatten(1) for label in labels.unique()]
    return float(sum(((part - part.mean(0)) ** 2).sum() for part in parts)) / len(images)
