"""What a reader may ask of a run, checked; and the run that follows from it, its noise calibrated. Opens no data."""

import math
import re
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from types import ModuleType
from typing import get_args

from dpgan_lib import data
from dpgan_lib.config import PrivacyConfig, RunConfig
from dpgan_lib.privacy import calibration
from dpgan_lib.profiles import PROFILES


@dataclass(frozen=True, kw_only=True)
class RunParameters:
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
        require_one_of("profile", self.profile, PROFILES)
        require(self.epsilon in ("inf", math.inf) or _is_number(self.epsilon) and self.epsilon > 0, "epsilon",
                self.epsilon, 'must be a number above 0, or "inf" for a run without privacy')
        require(_is_number(self.delta) and 0 < self.delta < 1 / records, "delta", self.delta,
                f"must lie in (0, 1/N) with N = {records} records: at 1/N a mechanism may publish a record. Try 1e-5")
        require(_is_number(self.info_weight) and self.info_weight >= 0, "info_weight", self.info_weight,
                "must be a finite number, 0 or more (0 switches the information term off)")


def parameters_from(namespace: dict, kind: type = RunParameters):
    """The parameters in a notebook's namespace, which must hold nothing else yet, as an object of that kind, checked.

    kind: a dataclass with check().
    Plain papermill passes an unknown name on with a mere warning. Raises ValueError for it, with the nearest name, and
    for an infinite number, which papermill has then written into a notebook that is no JSON. A text that spells a
    number is one where a number is taken: YAML reads 1e-6, without a point, as a text.
    """
    known = {field.name: field.type for field in fields(kind)}
    shell = re.compile("In|Out|get_ipython|exit|quit|open|parameters_from|_+|_i+|_i?[0-9]+|_[iod]h|__.+__")
    values = {name: value for name, value in namespace.items()
              if not shell.fullmatch(name) and not isinstance(value, ModuleType)}
    for name in values:
        require(name in known, "parameter", name, f"is unknown: choose from {', '.join(known)}"
                + suggestion(name, known) + " (After running cells by hand, restart the kernel first.)")
    parameters = kind(**{name: _as_meant(name, value, known[name]) for name, value in values.items()})
    parameters.check()
    return parameters


def _as_meant(name: str, value, kind):
    """A parameter's value as papermill gives it, made fit for its field's type."""
    require(not (value in (math.inf, -math.inf) and str in get_args(kind)), name, value,
            f'must be the text "inf", for a notebook is JSON, which has no infinity: `-r {name} inf` for papermill, or '
            f'{name}: "inf" in its file of parameters')
    if isinstance(value, str) and float in (kind, *get_args(kind)):
        with suppress(ValueError):
            return float(value) if math.isfinite(float(value)) else value
    return value


def plan_run(parameters: RunParameters) -> RunConfig:
    """The run that the parameters ask for, its noise calibrated. Opens no data.

    Raises ValueError for a parameter out of range, or an epsilon that no noise reaches.
    """
    parameters.check()
    return configure(parameters, data.card(parameters.dataset).records)


def configure(parameters: RunParameters, records: int) -> RunConfig:
    """The run on data of that many records, its noise calibrated, for parameters that were checked."""
    profile, epsilon = PROFILES[parameters.profile], parameters.target_epsilon
    noise = calibration.calibrate_noise(epsilon=epsilon, delta=parameters.delta, steps=profile.steps,
                                        sampling_rate=profile.expected_batch / records)
    privacy = PrivacyConfig(
        epsilon=epsilon, delta=float(parameters.delta), records=records, expected_batch=profile.expected_batch,
        steps=profile.steps, clip_norm=profile.clip_norm if noise else math.inf, noise_multiplier=noise)
    return RunConfig(
        dataset=parameters.dataset, profile=parameters.profile, seed=parameters.seed, latent=profile.latent,
        model=profile.model, privacy=privacy, evaluation=profile.evaluation,
        optimiser=replace(profile.optimiser, info_weight=float(parameters.info_weight)))


def without_labels(config: RunConfig) -> RunConfig:
    """The run with a critic of images alone, as in the paper. At laptop's size it has a smaller generator that steps
    more often, as was tried on the grown digits without privacy: so more of its codes come to be read, in less time.
    """
    config = replace(config, model=replace(config.model, conditional=False))
    if config.profile != "laptop":
        return config
    return replace(config, latent=replace(config.latent, z_dim=10), model=replace(config.model, generator_width=16),
                   optimiser=replace(config.optimiser, generator_rate=2e-3, fakes=64, pool=64, critic_steps=2,
                                     averaging=0.98))


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


def require_one_of(name: str, value, known) -> None:
    """Raises ValueError, with the nearest name, unless the value is one of the known names."""
    require(isinstance(value, str) and value in known, name, value,
            f"must be one of {', '.join(known)}" + suggestion(str(value), known))
