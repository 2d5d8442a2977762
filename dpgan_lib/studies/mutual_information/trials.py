"""Which settings suit each of Wasserstein's critics: short runs on most of the training images, judged by the rest.

Each way to keep w in W gets the same number of trials, with one seed. Test images have no part in any.
"""

import math
from dataclasses import dataclass, replace

from dpgan_lib import data
from dpgan_lib.config import InfoGANRunConfig
from dpgan_lib.measures import codes, matching
from dpgan_lib.privacy.streams import stream
from dpgan_lib.studies.mutual_information import infogan
from dpgan_lib.studies.parameters import require
from dpgan_lib.studies.study import Plan, Trained

TRAINED_ON = 5 / 6  # of the training images; on MNIST, 50,000 of 60,000
JUDGE_STEPS = 300
BOUNDED = {"penalty": "penalty", "spectral": "spectral_norm", "clipping": "weight_clip"}  # what `bound` is, by loss


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What may be tried. bound: the gradient penalty's weight, each layer's spectral norm, or a weight's size, by loss.

    shared: Q reads the critic's features.  info_weight: lambda.  updates: of each network.  The rest is as in
    infogan.Parameters.
    """

    dataset: str = "mnist"
    profile: str = "laptop"
    seed: int = 0
    loss: str = "spectral"
    bound: float = 1.0
    shared: bool = False
    critic_rate: float = 2e-4
    generator_rate: float = 1e-3
    info_weight: float = 1.0
    updates: int = 1_500

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        self.base.check()
        require(self.loss in BOUNDED, "loss", self.loss, f"must be one of {', '.join(BOUNDED)} here")
        for name in ("bound", "critic_rate", "generator_rate", "info_weight"):
            value = getattr(self, name)
            require(type(value) in (int, float) and 0 < value < math.inf, name, value, "must be a number above 0")
        require(type(self.updates) is int and self.updates >= 1, "updates", self.updates,
                "must be a whole number, 1 or more")

    @property
    def base(self) -> infogan.Parameters:
        return infogan.Parameters(dataset=self.dataset, profile=self.profile, seed=self.seed, loss=self.loss,
                                  shared=self.shared)


# The first round, the same for each: a narrow and a wide W, a slow and a fast critic.
_WIDTHS = {"penalty": (10.0, 1.0), "spectral": (1.0, 2.0), "clipping": (0.01, 0.05)}
GRID = tuple(Trial(loss=loss, bound=bound, critic_rate=rate)
             for loss, bounds in _WIDTHS.items() for rate in (2e-4, 1e-3) for bound in bounds)


def run_of(asked: Trial) -> InfoGANRunConfig:
    """The short run. Continuous codes stay out of it: they join when categories have found their digits."""
    asked.check()
    run, loss = infogan.run_of(asked.base), {BOUNDED[asked.loss]: float(asked.bound)}
    records = int(TRAINED_ON * data.card(asked.dataset).records)
    return replace(
        run, privacy=replace(run.privacy, records=records, steps=asked.updates),
        model=replace(run.model, **{name: value for name, value in loss.items() if name != "penalty"}),
        optimiser=replace(run.optimiser, critic_rate=asked.critic_rate, generator_rate=asked.generator_rate,
                          info_weight=asked.info_weight),
        infogan=replace(run.infogan, gradient_penalty=loss.get("penalty", 0.0), continuous_after=asked.updates))


def plan(asked: Trial) -> Plan:
    return Plan(run=run_of(asked), card=data.card(asked.dataset))


def load(asked: Trial, progress: bool) -> data.Dataset:
    """The training images alone: most to train on, and the rest in the test images' place."""
    files = data.load(asked.dataset, progress=progress)
    cut = int(TRAINED_ON * len(files.train_images))
    return replace(files, train_images=files.train_images[:cut], train_labels=files.train_labels[:cut],
                   test_images=files.train_images[cut:], test_labels=files.train_labels[cut:])


def measure(asked: Trial, plan: Plan, trained: Trained, files: data.Dataset, progress) -> tuple[dict, dict]:
    """generated: codes against the disclosed judge's digits.  real: Q on the images that were kept from training."""
    config, posterior = plan.run, trained.posterior.eval()
    drawing, naming = (stream(config.randomness, "evaluation", infogan.FIRST_STREAM + part) for part in range(2))
    images, code = codes.draw(trained.average, config.latent, config.evaluation.images, drawing)
    judge = matching.disclosed_judge(config.dataset, min(JUDGE_STEPS, config.evaluation.cnn_steps))
    drawn = codes.categories(config.latent, code)
    return {"generated": matching.matched(drawn, codes.named(judge, images), config.latent.categories),
            "real": infogan.read_right(posterior, config.latent.categories, files, config.evaluation.images, naming),
            }, {}
