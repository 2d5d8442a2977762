"""Training looked at from outside: what a private run may not publish. For public data alone, and disclosed as such.

The training loop offers no such look: its private step returns nothing. So these functions take the critic between two
blocks of a run and read the data once more, which no epsilon covers. They leave the run itself as it is.
"""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from dpgan_lib.config import EvaluationConfig, RunConfig
from dpgan_lib.gan import loop
from dpgan_lib.gan.latent import category, sample_latent
from dpgan_lib.gan.networks import Critic
from dpgan_lib.gan.state import State, new_state
from dpgan_lib.measures import classifiers
from dpgan_lib.privacy.streams import stream

RECORDS = 256  # looked at: the first of the training set, and as many fakes
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def states(config: RunConfig, records: loop.Records, every: int,
           step_of_critic: Callable | None = None) -> Iterator[State]:
    """A run's state before its first step, after every so many critic steps, and after the last: one object, reused.

    step_of_critic: as of loop.train_block.
    """
    state = new_state(config, records.images.device)
    yield state
    while state.step < config.privacy.steps:
        loop.train_block(config, state, records, step_of_critic)
        if state.step % every == 0 or state.step == config.privacy.steps:
            yield state


def per_example_gradients(critic: Critic, images: Tensor, categories: Tensor) -> Tensor:
    """The gradient of each record's score as a row, (B, d), in the order of critic.parameters().

    By torch.func, which holds all of them at once: the definition, and none of the mechanism's own code.
    """
    def score(parameters, image, its_category):
        return functional_call(critic, parameters, (image[None], its_category[None]))[0]

    parameters = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    gradients = vmap(grad(score), in_dims=(None, 0, 0))(parameters, images, categories)
    return torch.cat([gradient.flatten(1) for gradient in gradients.values()], dim=1)


def flat(gradients: dict[str, Tensor]) -> Tensor:
    """A gradient by parameter, as the mechanism returns it, as one vector (d,) in the same order."""
    return torch.cat([gradient.flatten() for gradient in gradients.values()])


def clip(gradients: Tensor, clip_norm: float) -> Tensor:
    """Rows (B, d), each scaled to L2 norm at most clip_norm."""
    return gradients * (clip_norm / gradients.norm(dim=1, keepdim=True)).clamp(max=1)


def gradient_norms(config: RunConfig, records: loop.Records, every: int,
                   clip_norms: tuple[float, ...]) -> list[dict]:
    """A look at the critic's gradients at each of states(): look()'s values and the step."""
    real = records.images[:RECORDS], records.categories[:RECORDS]
    return [{"step": state.step} | look(state.critic, real, _fakes(config, state), clip_norms)
            for state in states(config, records, every)]


@torch.no_grad()
def _fakes(config, state):
    """Fakes as the critic meets them. By a copy of G: each batch moves the running statistics of its normalisation."""
    z, code = sample_latent(config.latent, RECORDS, stream(config.randomness, "evaluation", state.step))
    place = next(state.generator.parameters()).device
    return copy.deepcopy(state.generator)(z.to(place), code.to(place)), category(config.latent, code).to(place)


def look(critic: Critic, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor],
         clip_norms: tuple[float, ...]) -> dict:
    """Norms of both halves' gradients at QUANTILES; and for each C what clipping makes of the step's direction.

    real, fake: (images, categories).  clipped: share of real records whose gradient is longer than C.
    signal: length of the difference of the two clipped means.
    both_halves, real_half: cosine between the unclipped difference of means and the one where these are clipped.
    """
    on_real, on_fake = (per_example_gradients(critic, *half) for half in (real, fake))
    norms = on_real.norm(dim=1)
    unclipped, rows = on_real.mean(0) - on_fake.mean(0), []
    for clip_norm in clip_norms:
        mean = clip(on_real, clip_norm).mean(0)
        signal = mean - clip(on_fake, clip_norm).mean(0)
        rows.append({"clip_norm": clip_norm, "clipped": float((norms > clip_norm).float().mean()),
                     "signal": float(signal.norm()), "both_halves": _cosine(signal, unclipped),
                     "real_half": _cosine(mean - on_fake.mean(0), unclipped)})
    return {"real": _quantiles(norms), "fake": _quantiles(on_fake.norm(dim=1)), "clipping": rows}


def _cosine(one, other):
    return float(torch.cosine_similarity(one, other, dim=0))


def _quantiles(norms):
    return torch.quantile(norms, torch.tensor(QUANTILES, device=norms.device)).tolist()


def accuracy(config: RunConfig, recipe: EvaluationConfig, state: State, test_images: np.ndarray,
             test_labels: np.ndarray) -> float:
    """Accuracy in [0, 1] on real test images of a CNN that saw the run's images alone."""
    labels = np.arange(recipe.images) % config.latent.categories
    images = classifiers.synthesise(copy.deepcopy(state.average).cpu(), config.latent, labels,
                                    stream(config.randomness, "evaluation", 0))
    cnn = classifiers.train_cnn(images, labels, recipe.cnn_steps, stream(config.randomness, "evaluation", 1))
    return classifiers.cnn_accuracy(cnn, test_images, test_labels)
