"""The private reader Q(y | phi(x)): what a run learns from real images and their labels beside its generator.

A softmax that is linear in public features has few weights, and learns in seconds by steps that are private
(steps.reader_step). What makes it good costs no privacy. Its features are a scattering transform, normalised within one
image (Tramer, Boneh 2021). A generator's images are post-processing, so they serve as public data: their covariance
whitens the features, and a reader fitted to them is where the steps begin.
"""

import copy
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from dpgan_lib.config import ReaderConfig, ReadRunConfig
from dpgan_lib.gan import loop
from dpgan_lib.gan.loop import CHECKPOINT_SECONDS, Records, on_device
from dpgan_lib.gan.networks import Posterior, Reader
from dpgan_lib.gan.state import State, read_tensors
from dpgan_lib.gan.steps import reader_step
from dpgan_lib.privacy.exact import blocks
from dpgan_lib.privacy.ledger import charge, charged
from dpgan_lib.privacy.streams import stream
from dpgan_lib.warm_start import training
from dpgan_lib.warm_start.features import NormalisedScattering
from dpgan_lib.warm_start.fit import draw_codes

FOLDER, FILE = "reader", "reader.safetensors"  # the folder's name is in the names of random streams too
BLOCK = 10  # steps that a release is charged for at a time
CHUNK = 500  # images whose features are computed at a time
MOMENTUM = 0.9
PENALTY, ITERATIONS = 1e-5, 60  # of the fit to generated images: on half the squared weights; of L-BFGS


class WhitenedFeatures(nn.Module):
    """phi: images (B, channels, side, side) of any values -> (B, directions), of mean square norm 1 for the generator.

    An image's row has the same bits whoever else is there (see privacy.exact).
    Nothing is raised for an image's sake: pixels outside [-1, 1] are clipped, those that are no number count as 0.
    """

    def __init__(self, settings: ReaderConfig, scattering: NormalisedScattering):
        super().__init__()
        self.scattering = scattering
        self.register_buffer("mean", torch.zeros(scattering.outputs))
        self.register_buffer("whitening", torch.zeros(scattering.outputs, settings.directions))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        rows = images.new_zeros(len(images), self.whitening.shape[1])
        for number, ((part,), count) in enumerate(blocks(images)):
            found = (self.scattering(torch.nan_to_num(part).clamp(-1, 1)) - self.mean) @ self.whitening
            rows[number * len(part) :][:count] = found[:count]
        return rows


class ReadingPosterior(nn.Module):
    """Q(c | x) whose category is read by a private reader, which stays as it is; the rest is learnt as in Posterior.

    So lambda L_I pulls each category's images towards what its label means. Input and output as of Posterior.
    """

    def __init__(self, config: ReadRunConfig):
        super().__init__()
        self.categories = config.latent.categories
        self.scattering = NormalisedScattering(side=config.model.image_side, channels=config.model.channels)
        self.posterior = Posterior(config.latent, config.model)
        self.register_buffer("weight", torch.zeros(self.scattering.outputs, self.categories))
        self.register_buffer("bias", torch.zeros(self.categories))

    def forward(self, images: Tensor) -> Tensor:
        category = self.scattering(images) @ self.weight + self.bias
        return torch.cat([category, self.posterior(images)[:, self.categories :]], dim=1)


@dataclass
class ReaderState:
    """What changes while a reader learns. step: steps done; taken: those that the weights have seen.

    average: the running mean of the weights since half of the steps, which is what is released.
    """

    features: WhitenedFeatures
    reader: Reader
    average: Reader
    optimiser: torch.optim.Optimizer
    step: int = 0
    taken: int = 0
    seconds: float = 0.0

    @torch.no_grad()
    def log_probabilities(self, images: Tensor) -> Tensor:
        """log Q(y | x) of images (B, channels, side, side), (B, K) nats."""
        return F.log_softmax(self.average.logits(self.features(images)), dim=1)

    @torch.no_grad()
    def as_posterior(self, config: ReadRunConfig, posterior: Posterior) -> ReadingPosterior:
        """Q of the reader, and of a posterior for all but the category."""
        whole = ReadingPosterior(config).to(self.features.mean.device)
        whole.posterior.load_state_dict(posterior.state_dict())
        whole.weight.copy_(self.features.whitening @ self.average.logits.weight.T)
        whole.bias.copy_(self.average.logits.bias - self.features.mean @ whole.weight)
        return whole


def train_run(config: ReadRunConfig, first: training.FirstRounds, images: np.ndarray, labels: np.ndarray, folder: Path,
              *, people: np.ndarray | None = None, **how) -> State:
    """training.train with a reader, which learns before the critic's first step and is then the category's Q.

    Arguments and errors as there; max_minutes cuts neither the warm start short nor the reader.  The state's seconds
    are of all three.
    """
    records = on_device(config, images, labels, people)
    start, seconds = training.begin(config, first, records, folder / training.FOLDER)
    reader = train(config, start.generator, images, labels, folder / FOLDER, people=people)
    start = replace(start, posterior=reader.as_posterior(config, start.posterior))
    state = loop.train(config, images, labels, folder, start=start, people=people, **how)
    state.seconds += seconds + reader.seconds
    return state


def train(config: ReadRunConfig, generator: nn.Module, images: np.ndarray, labels: np.ndarray, folder: Path, *,
          people: np.ndarray | None = None, max_minutes: float | None = None,
          progress: Callable[[int], None] = lambda step: None) -> ReaderState:
    """Train from folder's checkpoint, or from the start, until all of the reader's steps are done or the time is up.

    generator: what the charged noisy sums have made.  The others, and what a crash does to a demonstration and to a
    release, as of loop.train.  Features of the data are computed once, and stay in memory: they are as private as it.
    """
    started = saved = time.monotonic()
    records = on_device(config, images, labels, people)
    state = _load(config, folder, records.images.device) or new_state(config, generator.to(records.images.device))
    if config.is_release:
        state.step = max(state.step, charged(folder))
    before = state.seconds
    read = replace(records, images=state.features(records.images))
    while state.step < config.reader.steps:
        if config.is_release:  # for one block, before it is computed: what a crash undoes stays charged
            charge(folder, min(state.step + BLOCK, config.reader.steps))
        train_block(config, state, read)
        now = time.monotonic()
        state.seconds = before + now - started
        out_of_time = max_minutes is not None and now - started > 60 * max_minutes
        if out_of_time or now - saved > CHECKPOINT_SECONDS or state.step == config.reader.steps:
            _save(config, state, folder)
            saved = now
        progress(state.step)
        if out_of_time:
            break
    return state


def train_block(config: ReadRunConfig, state: ReaderState, records: Records) -> None:
    """BLOCK steps, or as many as are left.  records: their images are features, (N, directions)."""
    settings = config.reader
    for step in range(state.step, min(state.step + BLOCK, settings.steps)):
        batch = torch.from_numpy(records.sample(settings.expected_batch / config.privacy.records,
                                                _stream(config, "sampling", step))).to(records.images.device)
        for group in state.optimiser.param_groups:
            group["lr"] = settings.rate / settings.clip_norm * (1 - MOMENTUM) * (1 - step / settings.steps)
        reader_step(state.reader, state.optimiser, (records.images[batch], records.categories[batch]), settings,
                    _stream(config, "noise", step))
        _average(state, settings, step)
        state.step, state.taken = step + 1, state.taken + 1


@torch.no_grad()
def _average(state: ReaderState, settings: ReaderConfig, step: int) -> None:
    """The mean of the weights after each step of the second half; before that, the last weights."""
    counted = max(step - settings.steps // 2, 0) + 1
    for kept, new in zip(state.average.parameters(), state.reader.parameters()):
        kept.lerp_(new, 1 / counted)


def _stream(config: ReadRunConfig, purpose: str, step: int) -> np.random.Generator:
    """Other random numbers than those of the critic's steps."""
    return stream(config.randomness and f"{config.randomness}/{FOLDER}", purpose, step)


# What the steps begin with: generated images are all that it reads

def new_state(config: ReadRunConfig, generator: nn.Module) -> ReaderState:
    """Features and a reader fitted to the generator's own images, as they were asked for."""
    settings = config.reader
    scattering = NormalisedScattering(side=config.model.image_side, channels=config.model.channels)
    images, labels = _drawn(config, generator)
    features = WhitenedFeatures(settings, scattering).to(images.device)
    features.mean, features.whitening = whitening(scattering.to(images.device), images, settings)
    reader = Reader(settings.directions, config.latent.categories).to(images.device)
    fit(reader, features(images), labels)
    return about_to_learn(features, reader)


def about_to_learn(features: WhitenedFeatures, reader: Reader) -> ReaderState:
    """Before the first step."""
    optimiser = torch.optim.SGD(reader.parameters(), lr=0.0, momentum=MOMENTUM)
    return ReaderState(features, reader, copy.deepcopy(reader).requires_grad_(False), optimiser)


@torch.no_grad()
def _drawn(config: ReadRunConfig, generator: nn.Module) -> tuple[Tensor, Tensor]:
    """Images and their labels, equally many of each category."""
    latent, place = config.latent, next(generator.parameters()).device
    shares = torch.full((latent.categories,), 1 / latent.categories)
    z, code = draw_codes(latent, shares, config.reader.images, _stream(config, "latent", 0))
    generator = copy.deepcopy(generator).eval()
    images = torch.cat([generator(*(each.to(place) for each in part))
                        for part in zip(z.split(CHUNK), code.split(CHUNK))])
    return images, code[:, : latent.categories].argmax(1).to(place)


@torch.no_grad()
def whitening(scattering: NormalisedScattering, images: Tensor, settings: ReaderConfig) -> tuple[Tensor, Tensor]:
    """Of generated images' features: the mean (outputs,), and the map (outputs, directions) after which those
    directions differ less in variance, and have mean square norm 1.
    """
    features = torch.cat([scattering(part) for part in images.split(CHUNK)])
    mean = features.mean(0)
    features -= mean
    few = len(features) < features.shape[1]  # then the products of images with images have the same variances
    products = (features @ features.T if few else features.T @ features) / len(features)
    variances, directions = (each.flip(-1)[..., : settings.directions] for each in torch.linalg.eigh(products))
    if few:
        directions = F.normalize(features.T @ directions, dim=0)
    scale = (variances.clamp(min=0) / variances.mean() + settings.floor) ** -settings.exponent
    scale /= (scale.square() * variances).sum().sqrt()
    return mean, (directions * scale).contiguous()


def fit(reader: Reader, features: Tensor, labels: Tensor) -> None:
    """Fit to public features (n, directions) and labels (n,), in place: penalised log likelihood, by L-BFGS."""
    category = F.one_hot(labels, reader.logits.out_features).float()
    optimiser = torch.optim.LBFGS(reader.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        penalty = sum(parameter.square().sum() for parameter in reader.parameters())
        value = -reader(features, category).mean() + PENALTY / 2 * penalty
        value.backward()
        return value

    optimiser.step(loss)  # type: ignore[arg-type]  # torch's stub wants a float of a closure that gives a tensor


# On disk

def taken(config: ReadRunConfig, folder: Path) -> int:
    """Of a reader's steps that its run has charged, those that the weights in its folder have seen."""
    return read_tensors(folder / FILE, "reader", config)[0]["taken"]


def _save(config: ReadRunConfig, state: ReaderState, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    momenta = {f"momentum/{name}": state.optimiser.state[parameter]["momentum_buffer"]
               for name, parameter in state.reader.named_parameters() if parameter in state.optimiser.state}
    tensors = {f"{name}/{key}": value.contiguous() for name, network in _networks(state).items()
               for key, value in network.state_dict().items()} | momenta
    header = {"config_hash": config.hash, "step": state.step, "taken": state.taken, "seconds": state.seconds}
    temporary = folder / f"{FILE}.{os.getpid()}.part"
    save_file(tensors, temporary, {"reader": json.dumps(header)})
    os.replace(temporary, folder / FILE)


def _networks(state: ReaderState) -> dict[str, nn.Module]:
    return {"features": state.features, "reader": state.reader, "average": state.average}


def _load(config: ReadRunConfig, folder: Path, place: torch.device) -> ReaderState | None:
    path = folder / FILE
    if not path.exists():
        return None
    header, tensors = read_tensors(path, "reader", config)
    scattering = NormalisedScattering(side=config.model.image_side, channels=config.model.channels)
    state = about_to_learn(WhitenedFeatures(config.reader, scattering).to(place),
                           Reader(config.reader.directions, config.latent.categories).to(place))
    for name, network in _networks(state).items():
        network.load_state_dict({key: tensors[f"{name}/{key}"] for key in network.state_dict()})
    for name, parameter in state.reader.named_parameters():
        state.optimiser.state[parameter]["momentum_buffer"] = tensors[f"momentum/{name}"].to(place)
    state.step, state.taken, state.seconds = header["step"], header["taken"], header["seconds"]
    return state
