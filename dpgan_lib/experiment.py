"""The one flow from a reader's parameters to a record: validate, calibrate, load the record or train and evaluate.

A notebook under papermill, the `dpgan` command and a job on another machine all come through here.
"""

import io
import json
import math
import re
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

import numpy as np
from safetensors.torch import save
from tqdm import tqdm

from dpgan_lib import accounting, bench, cost, data, evaluation, probe, results, runs, training, utility
from dpgan_lib.config import EvaluationConfig, PrivacyConfig, RunConfig
from dpgan_lib.profiles import PROFILES
from dpgan_lib.streams import stream
from dpgan_lib.studies import existing
from dpgan_lib.warm_config import release_noise


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a reader may choose. epsilon: total, with delta, for adding or removing one record; "inf": no privacy.

    info_weight: lambda of Eq. 1, in units of f_w per nat.  seed: makes the run repeatable, so it is a demonstration.
    """

    dataset: str = "mnist"
    profile: str = "laptop"
    epsilon: float | str = 10.0
    delta: float = 1e-5
    seed: int = 0
    info_weight: float = 0.1

    @property
    def target_epsilon(self) -> float:
        """Epsilon as a float: 2 and 2.0 name the same run."""
        return float(self.epsilon)

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        self.check_for(data.card(self.dataset).records)
        require(type(self.seed) is int and self.seed >= 0, "seed", self.seed, "must be a whole number, 0 or more")

    def check_for(self, records: int) -> None:
        """The part of check() that holds for any data of that many records, and for any source of randomness."""
        require(isinstance(self.profile, str) and self.profile in PROFILES, "profile", self.profile,
                 f"must be one of {', '.join(PROFILES)}" + suggestion(str(self.profile), PROFILES))
        require(self.epsilon in ("inf", math.inf) or _is_number(self.epsilon) and self.epsilon > 0, "epsilon",
                 self.epsilon, 'must be a number above 0, or "inf" for a run without privacy')
        require(_is_number(self.delta) and 0 < self.delta < 1 / records, "delta", self.delta,
                 f"must lie in (0, 1/N) with N = {records} records: at 1/N a mechanism may publish a record. Try 1e-5")
        require(_is_number(self.info_weight) and self.info_weight >= 0, "info_weight", self.info_weight,
                 "must be a finite number, 0 or more (0 switches the information term off)")


def parameters_from(namespace: dict, kind: type = Parameters):
    """The parameters in a notebook's namespace, which must hold nothing else yet, as an object of that kind, checked.

    kind: a dataclass with check().
    Plain papermill passes an unknown name on with a mere warning. Raises ValueError for it, with the nearest name.
    """
    known = [field.name for field in fields(kind)]
    shell = re.compile("In|Out|get_ipython|exit|quit|open|parameters_from|_+|_i+|_i?[0-9]+|_[iod]h|__.+__")
    values = {name: value for name, value in namespace.items()
              if not shell.fullmatch(name) and not isinstance(value, ModuleType)}
    for name in values:
        require(name in known, "parameter", name, f"is unknown: choose from {', '.join(known)}"
                 + suggestion(name, known) + " (After running cells by hand, restart the kernel first.)")
    parameters = kind(**values)
    parameters.check()
    return parameters


def plan(parameters: Parameters) -> RunConfig:
    """The run that the parameters ask for, its noise calibrated. Opens no data.

    Raises ValueError for a parameter out of range, or an epsilon that no noise reaches.
    """
    parameters.check()
    return configure(parameters, data.card(parameters.dataset).records)


def configure(parameters: Parameters, records: int) -> RunConfig:
    """The run on data of that many records, its noise calibrated, for parameters that were checked."""
    profile, epsilon = PROFILES[parameters.profile], parameters.target_epsilon
    noise = accounting.calibrate_noise(epsilon=epsilon, delta=parameters.delta, steps=profile.steps,
                                       sampling_rate=profile.expected_batch / records)
    privacy = PrivacyConfig(
        epsilon=epsilon, delta=float(parameters.delta), records=records, expected_batch=profile.expected_batch,
        steps=profile.steps, clip_norm=profile.clip_norm if noise else math.inf, noise_multiplier=noise)
    return RunConfig(
        dataset=parameters.dataset, profile=parameters.profile, seed=parameters.seed, latent=profile.latent,
        model=profile.model, privacy=privacy, evaluation=profile.evaluation,
        optimiser=replace(profile.optimiser, info_weight=float(parameters.info_weight)))


def without_labels(config: RunConfig) -> RunConfig:
    """The run with a critic of images alone, as in the paper. At laptop's size it has a smaller generator that steps more
    often, as was tried on the grown digits without privacy: so more of its codes come to be read, in less time.
    """
    config = replace(config, model=replace(config.model, conditional=False))
    if config.profile != "laptop":
        return config
    return replace(config, latent=replace(config.latent, z_dim=10), model=replace(config.model, generator_width=16),
                   optimiser=replace(config.optimiser, generator_rate=2e-3, fakes=64, pool=64, critic_steps=2,
                                     averaging=0.98))


def run_id(config: RunConfig) -> str:
    """16 hex digits that name the run; it needs no data."""
    return results.content_address(config.to_dict(), data.card(config.dataset).to_dict())


def is_same_sweep(one: RunConfig, other: RunConfig) -> bool:
    """Whether two runs differ in epsilon, what follows from it, and seed alone: points of one curve."""
    def rest(config):
        privacy = replace(config.privacy, epsilon=0, clip_norm=0, noise_multiplier=0)
        return replace(config, seed=0, privacy=privacy)

    return rest(one) == rest(other)


Evaluate = Callable[[RunConfig, training.State, data.Dataset, Callable[[], object]], dict]


def obtain(study: str, config: RunConfig, *, fresh: bool = False, max_minutes: float | None = None,
           progress: bool = True, evaluate: Evaluate = utility.measure, entries: tuple[str, ...] = ("training", "utility"),
           ) -> results.Record | None:
    """The run's record: found (maybe stale: ask results.staleness), else computed. fresh: compute it whatever is found.

    max_minutes: stop training then and return None; the next call resumes.
    evaluate: what becomes the record's metrics, by default utility.  entries: the modules that the record depends on.
    Raises RuntimeError instead of training where DPGAN_RECORDS_ONLY is set.
    """
    found = None if fresh else existing(study, run_id(config))
    if found is not None:
        return found
    files = data.load(config.dataset, progress=progress)
    folder = work_folder(study, config)
    origin = results.provenance(entries=entries)  # of the source that trains, not of what it may have become meanwhile
    with tqdm(total=config.privacy.steps, desc=f"training, epsilon {config.privacy.epsilon:g}", unit=" critic steps",
              disable=not progress) as bar:
        state = runs.train(config, files.train_images, files.train_labels, folder, max_minutes=max_minutes,
                           progress=lambda step: bar.update(step - bar.n))
    if state.step < config.privacy.steps:
        return None
    record = _record(study, config, state, files, origin, evaluate, progress)
    shutil.rmtree(folder)
    return record


QUALITY = tuple(Parameters(epsilon=epsilon) for epsilon in (1.0, 10.0, "inf"))  # whose accuracy is followed over time
SNAPSHOT_STEPS = 200  # critic steps between two looks at a run
SNAPSHOT = EvaluationConfig(images=5_000, cnn_steps=200)  # a short recipe: many looks, no comparison with a chapter


def benchmark(measured: dict | None = None, progress: Callable[[str], object] = lambda text: None) -> results.Record:
    """Measure what privacy costs on this machine, and record it.

    measured: of bench.measure() on another machine, which then needs no data; else all is measured here, and so is
    the accuracy against seconds of training.  progress: told what comes next.
    """
    if measured is not None:
        return cost.write(measured, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Opacus and of the compiler, about themselves
        measured = bench.measure(progress)
    runs = [plan(parameters) for parameters in QUALITY]
    return cost.write(measured, {"runs": [config.to_dict() for config in runs], "recipe": asdict(SNAPSHOT),
                                 "rows": [row for config in runs for row in quality_curve(config, progress)]})


def quality_curve(config: RunConfig, progress: Callable[[str], object] = lambda text: None) -> list[dict]:
    """Accuracy on real test images after every SNAPSHOT_STEPS critic steps, with the seconds of training until then."""
    files, rows = data.load(config.dataset, progress=False), []
    records = training.on_device(config, files.train_images, files.train_labels)
    state, seconds = training.new_state(config, training.device()), 0.0
    while state.step < config.privacy.steps:
        started = time.perf_counter()
        training.train_block(config, state, records)
        seconds += time.perf_counter() - started
        if state.step % SNAPSHOT_STEPS == 0:
            progress(f"time to quality, epsilon {config.privacy.epsilon:g}, step {state.step}")
            accuracy = probe.accuracy(config, SNAPSHOT, state, files.test_images, files.test_labels)
            rows.append({"epsilon": config.privacy.epsilon, "step": state.step, "seconds": seconds,
                         "accuracy": accuracy})
    return rows


def work_folder(study: str, config: RunConfig, address: str | None = None) -> Path:
    """Where the run's checkpoint lies while it trains. Changed source starts anew: it is another result.

    address: the record's, where its data set has no card of its own.
    """
    return results.LOCAL / study / f".work-{address or run_id(config)}-{results.source_hash(entries=runs.entries(config))[:8]}"


def prepare(study: str, config: RunConfig) -> Path:
    """Lay out run.json and data.npz for `python -m dpgan_lib.remote` on a machine without the rest of the stack."""
    files, folder = data.load(config.dataset), work_folder(study, config)
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.rint((files.train_images + 1) * 127.5).astype(np.uint8)
    np.savez_compressed(folder / "data.npz", images=pixels, labels=files.train_labels)
    (folder / "run.json").write_text(json.dumps(config.to_dict(), indent=1))
    return folder


def _record(study, config, state, files, origin, evaluate, progress):
    started = time.monotonic()
    generator = state.average.cpu()
    with tqdm(desc="evaluating", unit=" parts", disable=not progress) as bar:
        metrics = evaluate(config, state, files, bar.update)
    grid = evaluation.sample_grid(generator, config.latent, stream(config.randomness, "evaluation", 2))
    content = {
        "mode": "demo", "config": config.to_dict(), "card": files.card.to_dict(), "metrics": metrics,
        "privacy": privacy_statement(config, files.card.unit), "history": state.history,
        "seconds": {"training": round(state.seconds, 1), "evaluation": round(time.monotonic() - started, 1)},
        "provenance": origin | {"trained_on": state.hardware}}
    artefacts = {"generator.safetensors": save(generator.state_dict()), "samples.png": png(grid)}
    return results.write(study, run_id(config), content, artefacts)


def privacy_statement(config: RunConfig, unit: str) -> dict:
    """Epsilon by each accountant, with everything that it depends on. unit: what one record is, in words."""
    privacy, released = config.privacy, release_noise(config)
    spent = accounting.epsilons(noise_multiplier=privacy.noise_multiplier, sampling_rate=privacy.sampling_rate,
                                steps=privacy.steps, delta=privacy.delta, release_noise=released)
    statement = {"epsilon_asked": privacy.epsilon, "epsilon_spent": spent, "delta": privacy.delta,
                 "adjacency": "add/remove one record", "unit": unit, "noise_multiplier": privacy.noise_multiplier,
                 "sampling_rate": privacy.sampling_rate, "steps": privacy.steps}
    return statement | ({"release_noise": released} if math.isfinite(released) else {})


def png(grid: np.ndarray) -> bytes:
    """Images (rows, columns, side, side) in [-1, 1] as one PNG, on that fixed range."""
    from matplotlib import image

    rows, columns, side, _ = grid.shape
    file = io.BytesIO()
    image.imsave(file, grid.transpose(0, 2, 1, 3).reshape(rows * side, columns * side), cmap="gray", vmin=-1, vmax=1,
                 format="png", metadata={"Software": None})
    return file.getvalue()


def _is_number(value) -> bool:
    """A finite number, and no bool."""
    return type(value) in (int, float) and abs(value) < 1e300


def suggestion(name: str, known) -> str:
    """The nearest known name as the end of a refusal, or nothing."""
    close = get_close_matches(name, known, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""


def require(condition: bool, name: str, value, rest: str) -> None:
    """Raises ValueError unless the condition holds: the name, the value and the rest, in a line."""
    if not condition:
        raise ValueError(f"{name}={value!r} {rest}")
