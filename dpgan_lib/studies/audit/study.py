"""The studies of audits. `run`: a GAN with canaries in its training set, and what an auditor shows of its epsilon; and
the mechanism alone, whose trials are independent and so can be counted. `memorisation`: a GAN on a few images, and what
the images that it generates give away. `whole`: a run of the book's method, audited part by part and as one.
`mutants`: broken mechanisms, watched until they are seen through.
"""

import math
from dataclasses import asdict, dataclass, field, replace
from itertools import product

import numpy as np

from dpgan_lib import data
from dpgan_lib.config import PrivacyConfig, ReadRunConfig, RunConfig
from dpgan_lib.gan import loop
from dpgan_lib.measures import classifiers
from dpgan_lib.privacy import accounting, audit, calibration
from dpgan_lib.profiles import PROFILES
from dpgan_lib.report.figures import png
from dpgan_lib.studies.audit import alone, canaries, memorisation, watch, whole
from dpgan_lib.studies.mnist_tradeoff.study import configure_with_reader
from dpgan_lib.studies.parameters import RunParameters, plan_run, require, require_one_of
from dpgan_lib.studies.study import SAMPLES, Plan, Study

DELTA = 1e-5
LEVEL = 0.05  # of each bound, and of all that are published together
BROKEN_CLAIM = 1.0  # epsilon that the mechanism without noise is held against
LEAST_CANARIES, MOST_CANARIES = 100, 3900  # at most eight in each of 49 places and 10 categories


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a profile's records. images: of the training set, and of each of the three parts beside it.

    generated: images that the generator releases.  model: changes of the profile's.  The rest is as in RunConfig.
    """

    images: int
    expected_batch: int
    steps: int
    generated: int
    optimiser: dict
    model: dict = field(default_factory=dict)


_SMALL = dict(fakes=50, pool=200, critic_steps=4)

# Few images, a critic that is only kept from being steep, and a step of G after each of w: so a GAN without privacy
# learns its images by heart, which is what a test for that is to be tested on.
_BY_HEART = dict(optimiser=dict(fakes=50, pool=50, critic_steps=1),
                 model=dict(weight_clip=math.inf, spectral_norm=1.0))
SIZES = {
    "smoke": Size(images=20, expected_batch=16, steps=60, generated=100, **_BY_HEART),
    "laptop": Size(images=50, expected_batch=40, steps=1_000, generated=1_000, **_BY_HEART),
    "paper": Size(images=50, expected_batch=40, steps=10_000, generated=10_000, **_BY_HEART),
}


def small_run(asked: RunParameters, size: Size) -> RunConfig:
    """A GAN on a small training set, its noise calibrated. Opens no data."""
    run, epsilon = plan_run(replace(asked, epsilon="inf")), asked.target_epsilon  # no calibration that is not needed
    noise = calibration.calibrate_noise(epsilon=epsilon, delta=DELTA, steps=size.steps,
                                        sampling_rate=size.expected_batch / size.images)
    privacy = replace(run.privacy, epsilon=epsilon, records=size.images, expected_batch=size.expected_batch,
                      steps=size.steps, noise_multiplier=noise,
                      clip_norm=PROFILES[asked.profile].clip_norm if noise else math.inf)
    return replace(run, dataset=_card(asked.dataset, size.images).name, privacy=privacy,
                   optimiser=replace(run.optimiser, **size.optimiser), model=replace(run.model, **size.model))


def _card(dataset: str, images: int) -> data.DataCard:
    """Of a small training set: some images of the data set, dealt out at random."""
    whole = data.card(dataset)
    return replace(whole, name=f"{whole.name}_{images}", title=f"{images} images of {whole.title}", records=images,
                   caption=f"{whole.caption}; {images} of them, dealt out by seed")


def _dealt(files: data.Dataset, images: int, seed: int) -> tuple[memorisation.Parts, dict[str, np.ndarray]]:
    dealt = memorisation.deal(len(files.train_images), images, seed)
    return dealt, {name: files.train_images[indices] for name, indices in asdict(dealt).items()}


def _rng(plan: Plan, purpose: str) -> np.random.Generator:
    """Random numbers of a purpose; no two records share them."""
    return np.random.default_rng([int(plan.address, 16), *purpose.encode()])


# Audits

@dataclass(frozen=True, kw_only=True)
class Depth:
    """Of a profile's audits. simulated: audits of ideal canaries.  tests: of the mechanism alone.  trials: of each."""

    simulated: int
    tests: int
    trials: int


# Most records in each batch, and fewer steps than for a GAN's sake: the noise of a step is as large as with small
# batches and many steps, so that the sum of projections loses as little, and there are fewer steps to pay for.
AUDITED = {
    "smoke": (Size(images=100, expected_batch=50, steps=60, generated=0, optimiser=dict(fakes=25, pool=50)),
              Depth(simulated=40, tests=4, trials=500)),
    "laptop": (Size(images=300, expected_batch=240, steps=200, generated=0, optimiser=_SMALL),
               Depth(simulated=200, tests=10, trials=2_000)),
    "paper": (Size(images=300, expected_batch=150, steps=2_000, generated=0, optimiser=_SMALL),
              Depth(simulated=200, tests=10, trials=2_000)),
}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a reader may choose. epsilon: total, at DELTA, for adding or removing one record; "inf": no privacy.

    canaries: m of the audit.  seed: deals out the images, names the run's random numbers and flips the canaries' coins.
    """

    epsilon: float | str = 10.0
    dataset: str = "mnist"
    profile: str = "laptop"
    seed: int = 0
    canaries: int = 1000

    @property
    def base(self) -> RunParameters:
        return _base(self)

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        self.base.check()
        require(type(self.canaries) is int and LEAST_CANARIES <= self.canaries <= MOST_CANARIES, "canaries",
                self.canaries, f"must be a whole number in [{LEAST_CANARIES}, {MOST_CANARIES}]: fewer show next to "
                "nothing, and more hide each other. Try 1000")


@dataclass(frozen=True, kw_only=True)
class Whole(Parameters):
    """The same, of a run by the book's whole method. epsilon: a number, for without noise no part has a shift."""

    def check(self) -> None:
        """Raises ValueError as Parameters does."""
        super().check()
        require(math.isfinite(self.base.target_epsilon), "epsilon", self.epsilon,
                "must be finite: without noise there is nothing to weigh the parts by. Try 10")


def _base(asked) -> RunParameters:
    return RunParameters(epsilon=asked.epsilon, dataset=asked.dataset, profile=asked.profile, seed=asked.seed,
                         delta=DELTA)


def run_of(asked: Parameters) -> RunConfig:
    """The audited GAN. One without privacy forgets its noise alone, and clips. Opens no data."""
    run = small_run(asked.base, AUDITED[asked.profile][0])
    return replace(run, privacy=replace(run.privacy, clip_norm=PROFILES[asked.profile].clip_norm))


def claimed_by(asked: Parameters) -> PrivacyConfig:
    """What the run says of its privacy: one without noise claims BROKEN_CLAIM."""
    base = asked.base
    return small_run(replace(base, epsilon=min(base.target_epsilon, BROKEN_CLAIM))
                     if math.isinf(base.target_epsilon) else base, AUDITED[asked.profile][0]).privacy


SEEDS = (0, 1, 2)
GRID = tuple(Parameters(epsilon=epsilon, seed=seed) for seed, epsilon in product(SEEDS, (10.0, 1.0, "inf")))
WHOLE_GRID = tuple(Whole(epsilon=epsilon, seed=seed) for seed, epsilon in product(SEEDS, (10.0, 1.0)))
BOUNDS_OF_EACH = len(audit.BOUNDS) + 2  # in a record: by the auditor who knows the data, and by the other one
OF_WHOLE = BOUNDS_OF_EACH - 1  # without the one that needs independent canaries
LEVELS = {"bounds": LEVEL, "together": audit.level_of_each(BOUNDS_OF_EACH * len(GRID) + OF_WHOLE * len(WHOLE_GRID),
                                                           LEVEL)}


def plan(asked: Parameters) -> Plan:
    """The run, with the audit's numbers beside it in the record's configuration."""
    (size, depth), run = AUDITED[asked.profile], run_of(asked)
    return Plan(run=run, card=_card(asked.dataset, size.images), config=run.to_dict() | {"audit": {
        "canaries": asked.canaries, "guesses": 2 * audit.guessed(asked.canaries), "levels": LEVELS,
        "patch": canaries.PATCH, "loud": canaries.LOUD} | asdict(depth)})


def measure(asked: Parameters, plan: Plan, trained: None, files: data.Dataset, progress) -> tuple[dict, dict]:
    """Train with canaries and audit; simulate ideal audits of the claim; test the mechanism alone, if it is private."""
    loop.keep_freed_memory()
    run, claimed, (size, depth) = plan.run, claimed_by(asked), AUDITED[asked.profile]
    dealt, parts = _dealt(files, size.images, asked.seed)
    audited = replace(run, dataset=f"{run.dataset} and {asked.canaries} canaries")  # type: ignore[type-var]  # a RunConfig
    heard, included = canaries.audited_run(audited, claimed, parts["train"], files.train_labels[dealt.train],
                                           asked.canaries, _rng(plan, "coins"))
    progress()
    scores = canaries.fitted(heard, included, claimed)
    audits = canaries.outcome(canaries.guessing(heard, claimed), scores, included, shift=audit.shift(claimed),
                              delta=DELTA, levels=LEVELS)
    metrics = _beside_ideal([claimed], claimed.epsilon, audits, asked, plan) | {
        "length": canaries.length(heard, claimed)}
    progress()
    alone_found = (alone.counted(claimed, depth.tests, depth.trials, _rng(plan, "alone"))
                   if run.privacy.is_private else {})  # type: ignore[attr-defined]
    return metrics | {"alone": alone_found}, {}


def _beside_ideal(mechanisms, claimed: float, audits: dict, asked: Parameters, plan: Plan) -> dict:
    """An audit's outcome, with the claim, its ceilings by simulation, and what one score shows if known exactly."""
    return {"claimed": claimed, "audits": audits,
            "ideal": audit.ceilings(mechanisms, epsilon=claimed, delta=DELTA, canaries=asked.canaries,
                                    audits=AUDITED[asked.profile][1].simulated, level=LEVEL,
                                    rng=_rng(plan, "ideal")),
            "limit": audit.epsilon_of_mu(audit.shift(*mechanisms), DELTA)}


STUDY = Study(chapter="audit", asked=Parameters, plan=plan, training_set=None, measure=measure, grid=GRID)


# The whole method

FIT_STEPS, GENERATED = 50, 2_000  # of what reads generated images alone, at most: it costs time, and no epsilon


def whole_run_of(asked: Whole) -> ReadRunConfig:
    """A run of the book's method whose N counts the data's records and all canaries. Opens no data."""
    card = _with_canaries(asked)
    run = configure_with_reader(asked.base, card.records)
    return replace(whole.cut_short(run, FIT_STEPS, GENERATED), dataset=card.name)


def _with_canaries(asked: Whole) -> data.DataCard:
    card = _card(asked.dataset, AUDITED[asked.profile][0].images)
    return replace(card, name=f"{card.name} and {asked.canaries} canaries", records=card.records + asked.canaries,
                   title=f"{card.title}, and {asked.canaries} canaries")


def plan_whole(asked: Whole) -> Plan:
    """The run, with the audit's numbers beside it in the record's configuration."""
    run = whole_run_of(asked)
    return Plan(run=run, card=_with_canaries(asked), config=run.to_dict() | {"audit": {
        "canaries": asked.canaries, "guesses": 2 * audit.guessed(asked.canaries), "levels": LEVELS,
        "bright": whole.BRIGHT, "loud": canaries.LOUD, "simulated": AUDITED[asked.profile][1].simulated}})


def measure_whole(asked: Whole, plan: Plan, trained: None, files: data.Dataset, progress) -> tuple[dict, dict]:
    """Train with canaries and audit: each part against what it spends alone, and the run against its epsilon."""
    loop.keep_freed_memory()
    run, claimed = whole_run_of(asked), whole.parts(plan.run)  # type: ignore[arg-type]  # a ReadRunConfig
    dealt, parts = _dealt(files, AUDITED[asked.profile][0].images, asked.seed)
    heard = whole.audited_run(run, parts["train"], files.train_labels[dealt.train], asked.canaries,
                              _rng(plan, "coins"))
    progress()
    audits = whole.outcome(*heard, claimed, delta=DELTA, levels=LEVELS)
    alone_spent = {name: accounting.epsilon_pld(noise_multiplier=part.noise_multiplier, steps=part.steps,
                                                sampling_rate=part.sampling_rate, delta=DELTA)
                   for name, part in claimed.items()}
    of_each = whole.of_each(*heard, claimed, delta=DELTA, level=LEVEL)
    return _beside_ideal(list(claimed.values()), run.privacy.epsilon, audits, asked, plan) | {
        "parts": {name: found | {"epsilon": alone_spent[name]} for name, found in of_each.items()}}, {}


WHOLE = Study(chapter="audit", kind="whole", asked=Whole, plan=plan_whole, training_set=None,
              measure=measure_whole, grid=WHOLE_GRID)


# Memorisation

SHOWN = 10  # generated images in the picture


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """A GAN on a few images. Parameters as of an audit."""

    epsilon: float | str = 10.0
    dataset: str = "mnist"
    profile: str = "laptop"
    seed: int = 0

    @property
    def base(self) -> RunParameters:
        return _base(self)

    def check(self) -> None:
        """Raises ValueError as Parameters does."""
        self.base.check()


def plan_memorisation(asked: Memorisation) -> Plan:
    """The GAN, and what is looked at."""
    size, run = SIZES[asked.profile], small_run(asked.base, SIZES[asked.profile])
    return Plan(run=run, card=_card(asked.dataset, size.images), config=run.to_dict() | {"memorisation": {
        "generated": size.generated, "swaps": memorisation.SWAPS}})


def measure_memorisation(asked: Memorisation, plan: Plan, trained: None, files: data.Dataset,
                         progress) -> tuple[dict, dict]:
    """Train and look: metrics, and a picture of nearest neighbours."""
    loop.keep_freed_memory()
    run, size = plan.run, SIZES[asked.profile]
    dealt, parts = _dealt(files, size.images, asked.seed)
    generated = memorisation.release(run, parts["train"], files.train_labels[dealt.train], size.generated)  # type: ignore[arg-type]  # a RunConfig
    progress()
    metrics = {"nearest": memorisation.nearest(parts, generated, _rng(plan, "swaps")),
               "attacks": memorisation.attacks(parts, generated),
               "learnt": classifiers.logistic_accuracy(generated, memorisation.classes(run, size.generated),  # type: ignore[arg-type]
                                                       parts["held_out"], files.train_labels[dealt.held_out])}
    return metrics, {SAMPLES: png(memorisation.neighbours(parts, generated[:SHOWN]))}


MEMORISATION = Study(
    chapter="audit", kind="memorisation", asked=Memorisation, plan=plan_memorisation, training_set=None,
    measure=measure_memorisation,
    grid=tuple(Memorisation(epsilon=epsilon, seed=seed) for epsilon, seeds in ((10.0, 10), (1.0, 10), ("inf", 5))
               for seed in range(seeds)))


# Mutants

CORRECT_RUNS = {"smoke": 1, "laptop": 5, "paper": 20}  # of the library as it is, watched beside its mutants


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Every mutant, each in a run of its own. seed: names the runs' random numbers."""

    profile: str = "laptop"
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        require_one_of("profile", self.profile, CORRECT_RUNS)
        require(type(self.seed) is int and self.seed >= 0, "seed", self.seed, "must be a whole number, 0 or more")


def plan_mutants(asked: Watched) -> Plan:
    """The run that is watched, and the mutants by name."""
    run = watch.configuration(asked.seed)
    watched = run.to_dict()
    for name in ("profile", "seed", "dataset"):  # the record's own
        del watched[name]
    return Plan(run=run, claims_epsilon=False, config={
        "experiment": "mutants", "dataset": run.dataset, "profile": asked.profile, "seed": asked.seed,
        "watched": watched, "level": watch.LEVEL, "mutants": sorted(watch.MUTANTS),
        "correct": CORRECT_RUNS[asked.profile]},
        card={"name": "canaries", "title": "canaries alone", "records": watch.RECORDS,
              "caption": "images of an auditor's choice, and no data"})


def measure_mutants(asked: Watched, plan: Plan, trained: None, files: None, progress) -> tuple[dict, dict]:
    """By mutant, the step that refuted it and what was seen; and the same of runs of the library as it is."""
    found = {}
    for name in watch.MUTANTS:
        found[name] = watch.watched(name, asked.seed)
        progress()
    return {"mutants": found, "correct": [watch.watched(None, asked.seed + run)
                                                  for run in range(CORRECT_RUNS[asked.profile])]}, {}


def no_files(asked: Watched, progress: bool) -> None:
    """Canaries are all the data that there is."""


MUTANTS = Study(chapter="audit", kind="mutants", asked=Watched, plan=plan_mutants, load=no_files, training_set=None,
                measure=measure_mutants, vary=("seed",), grid=(Watched(),), threads=1)
