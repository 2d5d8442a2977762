"""A run's record without a run: what test files that need one share."""

from dpgan_lib import data
from dpgan_lib.config import PrivacyConfig, RunConfig
from dpgan_lib.profiles import PROFILES
from dpgan_lib.records.provenance import MEASURING, TRAINING, measuring_source, provenance, training_source
from dpgan_lib.records.store import Record, content_address, write

ARTEFACTS = {"generator.safetensors": b"weights", "samples.png": b"pixels"}


def run_config(*, epsilon: float = 3.0, dataset: str = "mnist", profile: str = "laptop", seed: int = 0) -> RunConfig:
    sizes = PROFILES[profile]
    privacy = PrivacyConfig(
        epsilon=epsilon, delta=1e-5, records=data.card(dataset).records, expected_batch=sizes.expected_batch,
        steps=sizes.steps, clip_norm=sizes.clip_norm, noise_multiplier=0.0 if epsilon == float("inf") else 1.25,
    )
    return RunConfig(dataset=dataset, profile=profile, seed=seed, latent=sizes.latent, model=sizes.model,
                     privacy=privacy, optimiser=sizes.optimiser, evaluation=sizes.evaluation)


def record_content(config: RunConfig) -> dict:
    privacy, card = config.privacy, data.card(config.dataset)
    spent = {"pld": privacy.epsilon, "rdp": 1.1 * privacy.epsilon, "moments": 1.2 * privacy.epsilon}
    return {
        "mode": "demo", "created": "2025-01-31T12:00:00Z", "config": config.to_dict(), "card": card.to_dict(),
        "asked": {"dataset": config.dataset, "profile": config.profile, "epsilon": privacy.epsilon,
                  "delta": privacy.delta, "seed": config.seed, "info_weight": config.optimiser.info_weight,
                  "method": "dp_sgd", "ablation": "none"},
        "privacy": {
            "epsilon_asked": privacy.epsilon, "epsilon_spent": spent, "delta": privacy.delta,
            "adjacency": "add/remove one record", "unit": card.unit, "noise_multiplier": privacy.noise_multiplier,
            "sampling_rate": privacy.sampling_rate, "steps": privacy.steps,
        },
        "metrics": {"synthetic": {"pairs_logistic": 0.9, "pairs_worst": 0.6, "ten_logistic": 0.7, "ten_cnn": 0.8},
                    "fidelity": {"fid_test": 4.0, "floor": 0.1}},
        "seconds": {"training": 723.4, "evaluation": 41.2},
        "provenance": provenance(sources()),
    }


def sources(study: str = "mutual_information", kind: str = "run") -> dict:
    """Of a run that the study would compute today."""
    return {TRAINING: training_source("plain", study, kind), MEASURING: measuring_source(study, kind)}


def store_record(store, *, study: str = "mutual_information", artefacts: dict = ARTEFACTS, changes: dict | None = None,
                 **config) -> Record:
    """Write a record of run_config(**config), with changes to its top-level fields, into a store."""
    content = record_content(run_config(**config)) | (changes or {})
    run_id = content_address(content["config"], content["card"])
    return write(study, run_id, content, artefacts, store)
