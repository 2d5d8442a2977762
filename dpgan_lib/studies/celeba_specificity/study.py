"""The study of faces: attributes as codes, at several epsilons, and what a reader of attributes makes of the images."""

from dataclasses import dataclass, replace
from functools import lru_cache

from dpgan_lib import data
from dpgan_lib.config import EvaluationConfig, FaceModelConfig, FaceRunConfig, FaceStartConfig, PrivacyConfig
from dpgan_lib.data import celeba, drawn_faces
from dpgan_lib.data.cards import FACE_SIDE, FACES, UNITS, DataCard
from dpgan_lib.data.celeba import Faces
from dpgan_lib.privacy import calibration
from dpgan_lib.profiles import PROFILES
from dpgan_lib.report.figures import colour_png
from dpgan_lib.studies.celeba_specificity import metrics
from dpgan_lib.studies.parameters import RunParameters, require, require_one_of
from dpgan_lib.studies.study import SAMPLES, Plan, Study, Trained, TrainingSet, weights
from dpgan_lib.warm_start.face_model import category_of

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
INFO_WEIGHT = 2.0  # lambda: chosen, like the rates in run_of(), on the validation part of CelebA


@dataclass(frozen=True, kw_only=True)
class Parameters(RunParameters):
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
        require_one_of("dataset", self.dataset, FACES)
        require_one_of("unit", self.unit, UNITS)
        self.check_for(self.records)
        require(type(self.seed) is int and self.seed >= 0, "seed", self.seed, "must be a whole number, 0 or more")
        self._check_attributes()

    def _check_attributes(self):
        known = drawn_faces.ATTRIBUTES if self.dataset == "drawn_faces" else celeba.NAMES
        is_list = isinstance(self.attributes, str) and all(self.names) and len(set(self.names)) == len(self.names) <= 6
        require(is_list, "attributes", self.attributes,
                "must be one to six different names with commas between, such as Smiling,Eyeglasses")
        for name in self.names:
            require_one_of("attribute", name, known)


def run_of(asked: Parameters) -> FaceRunConfig:
    """The run that is asked for, its noise calibrated. Opens no data. Raises ValueError as check() does."""
    asked.check()
    return configure_faces(asked, asked.records, asked.attributes, asked.unit)


def configure_faces(asked: RunParameters, records: int, attributes: str, unit: str) -> FaceRunConfig:
    """The run on data of that many records, for parameters that were checked. attributes, unit: as of Parameters."""
    sizes, profile, epsilon = SIZES[asked.profile], PROFILES[asked.profile], asked.target_epsilon
    rate = sizes["expected_batch"] / records
    release_noise, noise = _noises(epsilon, asked.delta, rate, sizes["steps"])
    info = float(asked.info_weight)
    model = FaceModelConfig(luma=sizes["luma"], chroma=sizes["chroma"], level=0.7, attribute_weight=0.35,
                            components=sizes["components"])
    start = FaceStartConfig(
        release_noise=release_noise, embedding_share=0.2, frequencies=sizes["frequencies"], steps=sizes["fit_steps"],
        batch=sizes["batch"], rate=0.01, image_rate=0.03, network_rate=0.1, info_weight=info / 10, averaging=0.95,
        witness_weight=30.0, face_model=model)
    return FaceRunConfig(
        dataset=asked.dataset, profile=asked.profile, seed=asked.seed,
        latent=replace(profile.latent, categories=2 ** len(attributes.split(",")),
                       z_dim=model.components - profile.latent.continuous),
        model=replace(profile.model, image_side=FACE_SIDE, channels=3, conditional=True, spectral_norm=1.0),
        privacy=PrivacyConfig(epsilon=epsilon, delta=float(asked.delta), records=records,
                              expected_batch=sizes["expected_batch"], steps=sizes["steps"],
                              clip_norm=1.0 if noise else float("inf"), noise_multiplier=noise),
        optimiser=replace(profile.optimiser, critic_rate=1e-3, generator_rate=3e-4, info_weight=info, fakes=128,
                          pool=512, critic_steps=4, averaging=0.95),
        evaluation=EvaluationConfig(images=sizes["images"], cnn_steps=sizes["reader_steps"]),
        warm_start=start, attributes=attributes, unit=unit)


@lru_cache(maxsize=64)  # a run is planned several times, and this takes seconds
def _noises(epsilon: float, delta: float, sampling_rate: float, steps: int) -> tuple[float, float]:
    if epsilon == float("inf"):
        return 0.0, 0.0
    return calibration.split_budget(epsilon=epsilon, delta=delta, sampling_rate=sampling_rate, steps=steps,
                                    release_share=RELEASE_SHARE)


def card(asked: Parameters) -> DataCard:
    """The data set's, with the unit and the number of records that the run counts."""
    return data.faces_card(asked.dataset, asked.unit)


def plan(asked: Parameters) -> Plan:
    return Plan(run=run_of(asked), card=card(asked))


def load(asked: Parameters, progress: bool = False) -> dict[str, Faces]:
    """The parts of the data set. Raises ValueError, one line, for what is absent or broken."""
    if asked.dataset == "drawn_faces":
        return drawn_faces.load(asked.names, FACE_SIDE, progress=progress)
    only = SUBSET if asked.dataset == "celeba_50k" else None
    return celeba.load(asked.names, FACE_SIDE, only=only, progress=progress)


def training_set(asked: Parameters, faces: dict[str, Faces]) -> TrainingSet:
    train = faces["train"]
    return TrainingSet(images=train.scaled(), labels=category_of(train.attributes),
                       people=train.people if asked.unit == "person" else None)


def measure(asked: Parameters, plan: Plan, trained: Trained, faces: dict[str, Faces], progress) -> tuple[dict, dict]:
    """Metrics, a sample grid and weights. Of a model of CelebA without privacy, numbers alone are stored."""
    config = plan.run
    found = metrics.measure(config, trained.average, trained.shares.numpy(), faces, SIZES[config.profile]["moved"])
    if not may_show(config):
        return found, {}
    return found, {SAMPLES: colour_png(metrics.sample_grid(config, trained.average))} | weights(trained)


def may_show(config: FaceRunConfig) -> bool:
    """Whether images and weights may leave: CelebA may not be passed on, and a model without privacy can memorise
    it.
    """
    return config.dataset == "drawn_faces" or config.privacy.is_private


SEEDED = (1.0, 10.0)
STUDY = Study(
    chapter="celeba_specificity", asked=Parameters, plan=plan, load=load, training_set=training_set, measure=measure,
    vary=("epsilon", "seed", "info_weight", "unit"),
    grid=(*(Parameters(epsilon=epsilon) for epsilon in (1.0, 10.0, 5.0, "inf")),
          *(Parameters(epsilon=epsilon, seed=seed) for epsilon in SEEDED for seed in (1, 2)),
          *(Parameters(epsilon=epsilon, info_weight=0.0) for epsilon in SEEDED),
          *(Parameters(epsilon=epsilon, unit="person") for epsilon in SEEDED)))
