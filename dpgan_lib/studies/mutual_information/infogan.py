"""InfoGAN's own result: do its codes become digits? As published, with a deformed reader, with Wasserstein's losses.

Without privacy. What a code is called, and how well a judge knows digits, is read off real training images and labels,
for measuring alone; test images are read once, at the end, and choose nothing.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from dpgan_lib import data
from dpgan_lib.config import (
    EvaluationConfig,
    InfoGANConfig,
    InfoGANRunConfig,
    LatentConfig,
    ModelConfig,
    OptimiserConfig,
    PrivacyConfig,
)
from dpgan_lib.gan.infogan import InfoGANPosterior
from dpgan_lib.measures import classifiers, codes, matching
from dpgan_lib.privacy.streams import stream
from dpgan_lib.report.figures import png
from dpgan_lib.studies.parameters import require, require_one_of
from dpgan_lib.studies.study import SAMPLES, Plan, Trained

DATASETS = ("mnist", "grown_digits", "digits")
SEEDS = (0, 1, 2, 3, 4)
PUBLISHED_Z = 62  # numbers in InfoGAN's z
MOVED = "moved.png"  # continuous codes along rows
SHOWN = 5  # rows of each
FIRST_STREAM = 20  # of the "evaluation" streams
PUBLIC_STEPS = 300  # of the public judge, as in the study's other runs


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a profile's runs. batch: images in a step.  updates: of each network.  The rest is as in RunConfig."""

    width: int
    hidden: int
    batch: int
    updates: int
    evaluation: EvaluationConfig


SIZES = {
    "smoke": Size(width=8, hidden=32, batch=32, updates=30, evaluation=EvaluationConfig(images=500, cnn_steps=40)),
    # Half of the published widths, 64 and 1024.
    "laptop": Size(width=32, hidden=512, batch=64, updates=3_000,
                   evaluation=EvaluationConfig(images=10_000, cnn_steps=1_000)),
}


@dataclass(frozen=True, kw_only=True)
class Loss:
    """An adversarial loss, and the set that its critic lives in. penalty: weight of the gradient penalty."""

    kind: str
    penalty: float = 0.0
    weight_clip: float = math.inf
    spectral_norm: float = math.inf


LOSSES = {
    "js": Loss(kind="js"),
    "penalty": Loss(kind="wasserstein", penalty=10.0),
    "spectral": Loss(kind="wasserstein", spectral_norm=1.0),
    "clipping": Loss(kind="wasserstein", weight_clip=0.01),
}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What may be chosen. loss: "js", or Wasserstein's, with W by gradient "penalty", "spectral" norm or "clipping".

    deformed: Q reads the category from a deformed copy of the image.  shared: Q reads the critic's features.
    z_dim: numbers in z.  seed: makes the run repeatable.
    """

    dataset: str = "mnist"
    profile: str = "laptop"
    seed: int = 0
    loss: str = "js"
    deformed: bool = True
    shared: bool = True
    z_dim: int = 16

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        require_one_of("dataset", self.dataset, DATASETS)
        require_one_of("profile", self.profile, SIZES)
        require_one_of("loss", self.loss, LOSSES)
        require(type(self.seed) is int and self.seed >= 0, "seed", self.seed, "must be a whole number, 0 or more")
        require(type(self.z_dim) is int and self.z_dim >= 1, "z_dim", self.z_dim, "must be a whole number, 1 or more")
        for name in ("deformed", "shared"):
            require(type(getattr(self, name)) is bool, name, getattr(self, name), "must be True or False")


def run_of(asked: Parameters) -> InfoGANRunConfig:
    """The run that is asked for, without privacy. Opens no data. Raises ValueError as check() does."""
    asked.check()
    size, loss, records = SIZES[asked.profile], LOSSES[asked.loss], data.card(asked.dataset).records
    return InfoGANRunConfig(
        dataset=asked.dataset, profile=asked.profile, seed=asked.seed,
        latent=LatentConfig(z_dim=asked.z_dim, categories=codes.DIGITS, continuous=2),
        model=ModelConfig(image_side=28, channels=1, generator_width=size.width, critic_width=size.width,
                          conditional=False, weight_clip=loss.weight_clip, spectral_norm=loss.spectral_norm),
        privacy=PrivacyConfig(epsilon=math.inf, delta=1e-5, records=records, expected_batch=size.batch,
                              steps=size.updates, clip_norm=math.inf, noise_multiplier=0.0),
        optimiser=OptimiserConfig(critic_rate=2e-4, generator_rate=1e-3, info_weight=1.0, fakes=size.batch,
                                  pool=size.batch, clip_fakes=False, critic_steps=1, averaging=0.0),
        evaluation=size.evaluation,
        infogan=InfoGANConfig(loss=loss.kind, gradient_penalty=loss.penalty, deformed=asked.deformed,
                              shared=asked.shared, hidden=size.hidden, continuous_weight=0.1,
                              continuous_after=size.updates // 3, falling=1 / 3))


def plan(asked: Parameters) -> Plan:
    return Plan(run=run_of(asked), card=data.card(asked.dataset))


# What is measured

def measure(asked: Parameters, plan: Plan, trained: Trained, files: data.Dataset, progress) -> tuple[dict, dict]:
    """generated: codes against two judges' digits.  real: Q on test images, InfoGAN's own measure.

    taught: the accuracy on test images of a CNN that learnt from generated images, their codes named as the disclosed
    judge names them.  judges: the share of test images that each names right.  reading: Q on new generated images, its
    bounds in nats.  moves: as codes.moves.  The files are pictures: the weights would be 15 MB a run.
    """
    config, generator, posterior = plan.run, trained.average, trained.posterior.eval()
    latent, settings = config.latent, config.evaluation
    drawing, naming, teaching, sweeping, showing = (stream(config.randomness, "evaluation", FIRST_STREAM + part)
                                                    for part in range(5))
    images, code = codes.draw(generator, latent, settings.images, drawing)
    judges = {"disclosed": matching.disclosed_judge(config.dataset, settings.cnn_steps),
              "public": codes.public_judge("digits" if config.dataset == "digits" else "grown_digits",
                                           min(PUBLIC_STEPS, settings.cnn_steps))}
    progress()
    drawn = codes.categories(latent, code)
    metrics = {
        "generated": {name: matching.matched(drawn, codes.named(judge, images), latent.categories)
                      for name, judge in judges.items()},
        "real": read_right(posterior, latent.categories, files, settings.images, naming),
        "judges": {name: classifiers.cnn_accuracy(judge, files.test_images, files.test_labels)
                   for name, judge in judges.items()},
        "reading": codes.reading(latent, posterior, images, code)}
    progress()
    names = np.array(metrics["generated"]["disclosed"]["names"])
    pupil = classifiers.train_cnn(images, names[drawn], settings.cnn_steps, teaching)
    metrics["taught"] = classifiers.cnn_accuracy(pupil, files.test_images, files.test_labels)
    progress()
    metrics["moves"] = codes.moves(generator, latent, (images, code), sweeping)
    grid = classifiers.sample_grid(generator, latent, showing)
    moved = np.concatenate([codes.sweep(generator, latent, which, SHOWN, showing)
                            for which in range(latent.continuous)])
    return metrics, {SAMPLES: png(grid), MOVED: png(moved)}


def read_right(posterior: InfoGANPosterior, categories: int, files: data.Dataset, count: int,
               rng: np.random.Generator) -> dict:
    """The share of real test images whose digit Q reads, "accuracy", and what it reads in them, "table".

    names: each code's digit, matched one to one on that many training images, never on the test images.
    """
    chosen = rng.choice(len(files.train_images), min(count, len(files.train_images)), replace=False)
    seen = read(posterior, categories, files.train_images[chosen])
    names = matching.digits_of(matching.table_of(seen, files.train_labels[chosen], categories))
    table = matching.table_of(read(posterior, categories, files.test_images), files.test_labels, categories)
    return {"accuracy": matching.agreement(table, names), "names": names.tolist(), "table": table.tolist()}


@torch.no_grad()
def read(posterior: InfoGANPosterior, categories: int, images: np.ndarray) -> np.ndarray:
    """The category that Q finds likeliest in each image, (B,) int64; the images as they are, undeformed."""
    parts = torch.from_numpy(images).split(1000)
    return torch.cat([posterior(part)[:, :categories] for part in parts]).argmax(1).numpy()
