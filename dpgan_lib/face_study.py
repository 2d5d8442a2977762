"""The study of faces: attributes as codes, at several epsilons, and what a reader of attributes makes of the images."""

import io
import shutil
import time
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image
from safetensors.torch import save

from dpgan_lib import accounting, celeba, drawn_faces, experiment, face_cards, face_metrics, results, runs
from dpgan_lib.cards import DataCard
from dpgan_lib.config import EvaluationConfig, PrivacyConfig
from dpgan_lib.experiment import require, suggestion
from dpgan_lib.face_cards import CARDS, SIDE, UNITS
from dpgan_lib.face_config import FaceModelConfig, FaceRunConfig, FaceStartConfig
from dpgan_lib.face_model import category_of
from dpgan_lib.profiles import PROFILES
from dpgan_lib.results import Record
from dpgan_lib.state import hardware
from dpgan_lib.studies import Study

STUDY_NAME = "celeba_specificity"
ENTRIES = ("opening", "face_start", "face_metrics")
SUBSET = "celeba_50k.npy"  # so that who has all of CelebA can compute its results again
SIZES = {  # profile -> what its warm start, its steps and its evaluation take
    "smoke": dict(luma=12, chroma=6, components=24, frequencies=100, fit_steps=5, batch=64, expected_batch=64, steps=24,
                  images=400, reader_steps=20, moved=50),
    "laptop": dict(luma=20, chroma=8, components=100, frequencies=1_000, fit_steps=100, batch=200, expected_batch=256,
                   steps=600, images=20_000, reader_steps=1_200, moved=2_000),
    "paper": dict(luma=24, chroma=12, components=200, frequencies=4_000, fit_steps=3_000, batch=500, expected_batch=512,
                  steps=20_000, images=60_000, reader_steps=5_000, moved=5_000),
}
GROUPS = (1, 2, 6, 15)  # images of one person: people in CelebA have 6 on average here, and 15 at most
RELEASE_SHARE = 0.7  # of epsilon, what the releases alone would spend
INFO_WEIGHT = 2.0  # lambda: chosen, like the rates in plan(), on the validation part of CelebA


@dataclass(frozen=True, kw_only=True)
class Parameters(experiment.Parameters):
    """As for any run. attributes: names of binary attributes with commas between.  unit: whom epsilon protects."""

    dataset: str = "celeba_50k"
    info_weight: float = INFO_WEIGHT
    attributes: str = "Male,Smiling,Eyeglasses,Blond_Hair"
    unit: str = "image"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.attributes.split(","))

    @property
    def records(self) -> int:
        """N: images, or people."""
        return card(self).records

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        for name, known in (("dataset", CARDS), ("unit", UNITS)):
            value = getattr(self, name)
            require(isinstance(value, str) and value in known, name, value,
                    f"must be one of {', '.join(known)}" + suggestion(str(value), known))
        self.check_for(self.records)
        require(type(self.seed) is int and self.seed >= 0, "seed", self.seed, "must be a whole number, 0 or more")
        self._check_attributes()

    def _check_attributes(self):
        known = drawn_faces.ATTRIBUTES if self.dataset == "drawn_faces" else celeba.NAMES
        is_list = isinstance(self.attributes, str) and all(self.names) and len(set(self.names)) == len(self.names) <= 6
        require(is_list, "attributes", self.attributes,
                "must be one to six different names with commas between, such as Smiling,Eyeglasses")
        for name in self.names:
            require(name in known, "attribute", name, f"must be one of {', '.join(known)}" + suggestion(name, known))


def plan(parameters: Parameters) -> FaceRunConfig:
    """The run that the parameters ask for, its noise calibrated. Opens no data. Raises ValueError as check() does."""
    parameters.check()
    sizes, profile, epsilon = SIZES[parameters.profile], PROFILES[parameters.profile], parameters.target_epsilon
    rate = sizes["expected_batch"] / parameters.records
    release_noise, noise = _noises(epsilon, parameters.delta, rate, sizes["steps"])
    info = float(parameters.info_weight)
    model = FaceModelConfig(luma=sizes["luma"], chroma=sizes["chroma"], level=0.7, attribute_weight=0.35,
                            components=sizes["components"])
    start = FaceStartConfig(
        release_noise=release_noise, embedding_share=0.2, frequencies=sizes["frequencies"], steps=sizes["fit_steps"],
        batch=sizes["batch"], rate=0.01, image_rate=0.03, network_rate=0.1, info_weight=info / 10, averaging=0.95,
        witness_weight=30.0, face_model=model)
    return FaceRunConfig(
        dataset=parameters.dataset, profile=parameters.profile, seed=parameters.seed,
        latent=replace(profile.latent, categories=2 ** len(parameters.names), z_dim=model.components - profile.latent.continuous),
        model=replace(profile.model, image_side=SIDE, channels=3, conditional=True, spectral_norm=1.0),
        privacy=PrivacyConfig(epsilon=epsilon, delta=float(parameters.delta), records=parameters.records,
                              expected_batch=sizes["expected_batch"], steps=sizes["steps"],
                              clip_norm=1.0 if noise else float("inf"), noise_multiplier=noise),
        optimiser=replace(profile.optimiser, critic_rate=1e-3, generator_rate=3e-4, info_weight=info, fakes=128,
                          pool=512, critic_steps=4, averaging=0.95),
        evaluation=EvaluationConfig(images=sizes["images"], cnn_steps=sizes["reader_steps"]),
        warm_start=start, attributes=parameters.attributes, unit=parameters.unit)


@lru_cache(maxsize=64)  # a run is planned several times, and this takes seconds
def _noises(epsilon: float, delta: float, sampling_rate: float, steps: int) -> tuple[float, float]:
    if epsilon == float("inf"):
        return 0.0, 0.0
    return accounting.split_budget(epsilon=epsilon, delta=delta, sampling_rate=sampling_rate, steps=steps,
                                   release_share=RELEASE_SHARE)


def card(parameters: Parameters) -> DataCard:
    """The data set's, with the unit and the number of records that the run counts."""
    return face_cards.card(parameters.dataset, parameters.unit)


def address(parameters: Parameters) -> str:
    """The run id. Opens no data."""
    return results.content_address(plan(parameters).to_dict(), card(parameters).to_dict())


def load(config: FaceRunConfig, progress: bool = False) -> dict[str, celeba.Faces]:
    """The parts of the run's data set. Raises ValueError, one line, for what is absent or broken."""
    if config.dataset == "drawn_faces":
        return drawn_faces.load(config.names, config.model.image_side, progress=progress)
    only = SUBSET if config.dataset == "celeba_50k" else None
    return celeba.load(config.names, config.model.image_side, only=only, progress=progress)


# A record

def compute(parameters: Parameters, progress: bool) -> Record:
    """Train, generate, read, and store the record. Of a model of CelebA without privacy, numbers alone are stored."""
    config = plan(parameters)
    faces, origin = load(config, progress), results.provenance(entries=ENTRIES) | {"trained_on": hardware()}
    folder = experiment.work_folder(STUDY_NAME, config, address(parameters))
    train = faces["train"]
    state = runs.train(config, train.scaled(), category_of(train.attributes), folder,
                       people=train.people if config.unit == "person" else None)
    started = time.monotonic()
    generator, shares = state.average.cpu(), state.start.shares.cpu().numpy()
    metrics = face_metrics.measure(config, generator, shares, faces, SIZES[config.profile]["moved"])
    content = {"mode": "demo", "config": config.to_dict(), "card": card(parameters).to_dict(), "history": state.history,
               "privacy": experiment.privacy_statement(config, UNITS[config.unit]), "metrics": metrics,
               "provenance": origin, "seconds": {"training": round(state.seconds, 1),
                                                 "evaluation": round(time.monotonic() - started, 1)}}
    artefacts = {"generator.safetensors": save(generator.state_dict()),
                 "samples.png": png(face_metrics.sample_grid(config, generator))}
    record = results.write(STUDY_NAME, address(parameters), content, artefacts if may_show(config) else {})
    shutil.rmtree(folder)
    return record


def may_show(config: FaceRunConfig) -> bool:
    """Whether images and weights may leave: CelebA may not be passed on, and a model without privacy can memorise it."""
    return config.dataset == "drawn_faces" or config.privacy.is_private


def png(grid: np.ndarray) -> bytes:
    """Images (rows, columns, 3, side, side) in [-1, 1] as one PNG, on that fixed range."""
    rows, columns, _, side, _ = grid.shape
    pixels = np.rint((grid.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(0, 3, 1, 4, 2).reshape(rows * side, columns * side, 3)).save(file, "PNG", optimize=True)
    return file.getvalue()


def is_same_sweep(one: FaceRunConfig, other: FaceRunConfig) -> bool:
    """Whether two runs differ in epsilon, lambda, unit, what follows from these, and seed alone."""
    def rest(config):
        return config.dataset, config.profile, config.attributes, config.privacy.delta, config.evaluation

    return rest(one) == rest(other)


SEEDED = (1.0, 10.0)
STUDY = Study(
    grid=(*(Parameters(epsilon=epsilon) for epsilon in (1.0, 10.0, 5.0, "inf")),
          *(Parameters(epsilon=epsilon, seed=seed) for epsilon in SEEDED for seed in (1, 2)),
          *(Parameters(epsilon=epsilon, info_weight=0.0) for epsilon in SEEDED),
          *(Parameters(epsilon=epsilon, unit="person") for epsilon in SEEDED)),
    address=address, compute=compute)
