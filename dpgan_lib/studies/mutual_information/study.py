"""The study of mutual information: what is asked, how codes are measured, and the two forces on G and Q."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dpgan_lib import data
from dpgan_lib.config import EvaluationConfig, RunConfig
from dpgan_lib.gan import loop
from dpgan_lib.gan.latent import category, mutual_info_bound, sample_latent
from dpgan_lib.gan.state import State, device, new_state
from dpgan_lib.measures import classifiers, codes
from dpgan_lib.privacy.streams import stream
from dpgan_lib.report.figures import png
from dpgan_lib.studies.mutual_information import infogan
from dpgan_lib.studies.parameters import RunParameters, plan_run, require, without_labels
from dpgan_lib.studies.study import SAMPLES, Plan, Study, Trained, weights

DATASETS = ("mnist", "grown_digits", "digits")  # what the judge of digits can name
INFO_WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0)  # lambda
FEWER_INFO_WEIGHTS = (0.0, 0.1, 1.0)
SEEDS = (0, 1, 2)
SWEEP_EVALUATION = EvaluationConfig(images=5_000, cnn_steps=300)


@dataclass(frozen=True, kw_only=True)
class Parameters(RunParameters):
    """As for any run. conditional: the critic sees the label beside the image, and the code's category is the label.

    Without it the critic sees images alone, as in the paper, and a code means what training makes it mean.
    """

    epsilon: float | str = "inf"
    info_weight: float = 1.0  # InfoGAN's, for a category
    conditional: bool = False

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        super().check()
        require(self.dataset in DATASETS, "dataset", self.dataset,
                f"must be one of {', '.join(DATASETS)} here: codes are named as digits")
        require(type(self.conditional) is bool, "conditional", self.conditional, "must be True or False")


def run_of(asked: Parameters) -> RunConfig:
    """The run that is asked for, its noise calibrated. Opens no data. Raises ValueError for what makes no sense."""
    config = without_labels(plan_run(asked))
    config = replace(config, model=replace(config.model, conditional=asked.conditional))
    return replace(config, evaluation=SWEEP_EVALUATION) if config.profile == "laptop" else config


def plan(asked: Parameters) -> Plan:
    return Plan(run=run_of(asked), card=data.card(asked.dataset))


def measure(asked: Parameters, plan: Plan, trained: Trained, files: data.Dataset, progress) -> tuple[dict, dict]:
    """What the codes do; a sample grid, and the weights of G and Q."""
    config = plan.run
    metrics = codes.measure(config, trained, files, progress)
    grid = classifiers.sample_grid(trained.average, config.latent, stream(config.randomness, "evaluation", 2))
    return metrics, {SAMPLES: png(grid)} | weights(trained, with_posterior=True)


STUDY = Study(
    chapter="mutual_information", asked=Parameters, plan=plan, measure=measure,
    vary=("epsilon", "seed", "info_weight", "conditional"),
    grid=(*(Parameters(info_weight=weight, seed=seed) for weight in INFO_WEIGHTS for seed in SEEDS),
          *(Parameters(info_weight=weight, epsilon=epsilon) for epsilon in (10.0, 1.0)
            for weight in FEWER_INFO_WEIGHTS),
          *(Parameters(info_weight=weight, conditional=True) for weight in FEWER_INFO_WEIGHTS)))

INFOGAN = Study(
    chapter="mutual_information", kind="infogan", asked=infogan.Parameters, plan=infogan.plan, measure=infogan.measure,
    vary=("seed", "loss", "deformed", "shared", "z_dim"), threads=1,
    grid=(*(infogan.Parameters(seed=seed) for seed in infogan.SEEDS),
          *(infogan.Parameters(seed=seed, deformed=False, z_dim=infogan.PUBLISHED_Z) for seed in infogan.SEEDS)))


# The two terms of Eq. 1 that train G and Q

def forces(config: RunConfig, state: State, rng: np.random.Generator) -> dict[str, Tensor]:
    """The gradients, with respect to all weights of G and Q as one vector, of the two terms that train them.

    critic: of E f_w(G(z, c)).  information: of L_I. On one batch from the prior, with the networks as they are.
    """
    place = next(state.generator.parameters()).device
    z, code = (part.to(place) for part in sample_latent(config.latent, config.optimiser.fakes, rng))
    images = state.generator(z, code)
    terms = {"critic": state.critic(images, category(config.latent, code)).mean(),
             "information": mutual_info_bound(config.latent, state.posterior(images), code)}
    weights = [*state.generator.parameters(), *state.posterior.parameters()]
    return {name: _flat(torch.autograd.grad(term, weights, retain_graph=True, materialize_grads=True))
            for name, term in terms.items()}


def _flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


def after_critic_steps(config: RunConfig, images: np.ndarray, labels: np.ndarray) -> State:
    """A new run whose critic took its first steps on the images, while G and Q stand where they began."""
    steps = config.optimiser.critic_steps
    config = replace(config, optimiser=replace(config.optimiser, critic_steps=steps + 1),  # no generator step follows
                     privacy=replace(config.privacy, steps=steps))
    records = loop.on_device(config, images, labels)
    state = new_state(config, device())
    loop.train_block(config, state, records)
    return state
