"""Checks of a record by whoever reads it: offline, in seconds, without its data, and without torch unless deep.

Each check derives a value again, from other fields, from files or from this library, and compares it with the recorded
one. An edit of one field is caught here. Edits that agree with each other are caught only by what they cannot reach:
the manifest and its commit, this library's card of the data set and, for metrics, the weights (deep). What of a record
is checked how, field by field, stands in records/vouching.py.
"""

import hashlib
import json
import math
import os
import re
import subprocess
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import numpy as np

from dpgan_lib import data, paths
from dpgan_lib.config import SUMS, RunConfig, charges, config_from
from dpgan_lib.privacy import accounting
from dpgan_lib.records import checks, shape
from dpgan_lib.records.checks import (
    FAILED,
    NOT_CHECKED,
    OK,
    PAIRS,
    TOLERANCES,
    Check,
    equal,
    gathered,
    is_demonstration,
    near,
)
from dpgan_lib.records.store import (
    DIGEST,
    MANIFEST,
    RECORD,
    Record,
    content_address,
    content_digest,
    is_published,
    number,
    opened,
    read_samples,
    record_digest,
    staleness,
    strict,
)

ADJACENCY = "add/remove one record"  # the only one that the accountants here bound
WEIGHTS, SAMPLES = "generator.safetensors", "samples.png"
AS_CONFIGURED = ("profile", "seed", "epsilon", "delta")  # asked for and configured alike, in every study
DEEP = "metrics from the weights"

# Relative. PLD sums by FFT, whose rounding moves its epsilon by 2e-9 over 2,000 steps and 3e-8 over 450,000 (seen when
# the noise moves by its last bits); the other two accountants by less. One step of 2,000 more or less moves epsilon by
# 9e-5 and more, 0.001 of noise by 1e-3.
EPSILON_TOLERANCE = 1e-6

# In [0, 1]. Two grey levels of 1 / 255, for the colour map and the PNG each round down; the rest is for float32's sums.
PIXEL_TOLERANCE = 0.01


# Which record

def find(text: str) -> Record:
    """A record by its folder, its record.json, or its run id or "<study>/<run id>" in the published store; damaged ones
    too, for check() says what is wrong with them.

    Raises ValueError, one line with the nearest known, if it is none of these.
    """
    path = Path(text)
    folder = path.parent if path.name == RECORD else path
    if os.path.isfile(folder / RECORD):  # of a name that is too long, pathlib's raises
        return opened(folder.resolve())  # type: ignore[return-value]  # it is a file
    folders = [path.parent for path in _store().glob(f"[!.]*/[!.]*/{RECORD}")]
    known = {f"{folder.parent.name}/{folder.name}": folder for folder in folders}
    asked = text.strip("/")
    named = [name for name in known if asked in (name, name.partition("/")[2])]
    if len(named) != 1:
        near = ", ".join(named or get_close_matches(asked, known, n=1, cutoff=0))
        raise ValueError(
            f"record={text!r} must be a record's folder, its {RECORD}, or its <study>/<run id> or unique run id in the "
            f"published store. {f'The nearest there: {near}' if near else 'That store is empty'}.")
    return opened(known[named[0]].resolve())  # type: ignore[return-value]  # a glob found it


def _store() -> Path:
    """The published store, as results reads it."""
    return paths.published().resolve()


# All checks

def check(record: Record, *, deep: bool = False, progress: bool = False) -> list[Check]:
    """Every check of a record, in the order of a reader's questions: is it this record, its epsilon, its metrics?

    deep: also compute the metrics and the sample grid again from the weights; needs the data set, minutes and torch.
    Raises ValueError if that data set is not at hand. Whatever else is wrong with a record is a failed check.
    """
    config = _run_config(record) if deep and is_demonstration(record.content) else None
    if config:
        data.check(config.dataset)  # before minutes are spent
    rows = [*gathered("shape", _shape(record.content)), *gathered("digest", _digest(record.content)),
            *gathered("run id", _identity(record)), *gathered("asked", _asked(record.content)),
            *gathered("artefacts", _artefacts(record)), *gathered("manifest", _manifest(record))]
    if _claims_privacy(record.content):
        rows += [*gathered("card", _card(record.content)), *gathered("privacy", _privacy(record.content)),
                 *gathered("epsilon", _epsilon(record.privacy)), *gathered("steps", _steps(record.content)),
                 *gathered("metrics", checks.metrics_checks(record.content))]
    else:
        rows += [Check("epsilon", NOT_CHECKED, "the record claims none, and is not a training run's own"),
                 Check("metrics", NOT_CHECKED, "they are not those of a trained generator")]
    if not deep:
        rows.append(Check(DEEP, NOT_CHECKED, "only --deep computes them again"))
    elif config is None:
        rows.append(Check(DEEP, NOT_CHECKED, "its metrics are others than those of a training chapter, or this version "
                                             "of the library trains no such configuration"))
    else:
        rows += gathered(DEEP, _recomputed(record, config, progress))
    return [*rows, *gathered("origin", _beyond(record))]


def _run_config(record: Record) -> RunConfig | None:
    try:
        return record.config
    except (TypeError, ValueError, AttributeError):
        return None


def _claims_privacy(content: dict) -> bool:
    """Whether it is a training run's. One that claims no epsilon, but was configured to spend one, is too."""
    config = content["config"]
    return bool(content["privacy"]) or isinstance(config, dict) and "privacy" in config


# Is it this record?

def _identity(record: Record) -> Iterator[Check]:
    content = record.content
    yield equal("run id", record.run_id, content_address(content["config"], content["card"]),
                "by the hash of its config and card")
    if is_published(record):
        folder = record.folder
        yield equal("place", f"{record.study}/{record.run_id}", f"{folder.parent.name}/{folder.name}", "by its folder")


def _shape(content: dict) -> Iterator[Check]:
    fault = shape.fault(content)
    yield Check("shape", FAILED if fault else OK, fault or "each field has its type")


def _digest(content: dict) -> Iterator[Check]:
    if DIGEST in content:
        yield equal("digest", content[DIGEST], content_digest(content), "by all else in the record")
    else:
        yield Check("digest", NOT_CHECKED, "the record is from before there was one")


def _asked(content: dict) -> Iterator[Check]:
    """What was asked for and what was configured, where they have one name; and the mode, which follows from a seed."""
    seed = content["config"].get("seed", 0)
    yield equal("mode", content["mode"], "release" if seed is None else "demo",
                "by its config, which has no seed" if seed is None else "by its config: no release is seeded")
    asked = {name: content["asked"][name] for name in AS_CONFIGURED if name in content["asked"]}
    for name, value in asked.items():
        known = list(_named(content["config"], name))
        if known:
            same = value in known or name == "epsilon" and number(value) in map(number, known)
            yield equal(f"asked {name}", value, value if same else known[0], "in its config")


def _named(config, name: str) -> Iterator:
    """The values of that name in a configuration, at any depth."""
    for key, value in config.items() if isinstance(config, dict) else ():
        if key == name:
            yield value
        else:
            yield from _named(value, name)


def _artefacts(record: Record) -> Iterator[Check]:
    listed = record.content["artefacts"]
    for name, digest in listed.items():
        if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
            yield Check("artefact", FAILED, f"{name!r} is no plain file name")
        elif not (record.folder / name).is_file():
            yield Check(name, FAILED, f"{digest} in the record, no such file in its folder")
        else:
            yield equal(name, digest, _sha256((record.folder / name).read_bytes()), "by its file's SHA-256")
    there = {path.name for path in record.folder.iterdir() if not path.name.startswith(".")} - {RECORD}
    if others := sorted(there - listed.keys()):
        yield Check("artefacts", FAILED, f"{', '.join(others)} in the folder, not in the record")
    elif not listed:
        yield Check("artefacts", NOT_CHECKED, "the record has none")


def _manifest(record: Record) -> Iterator[Check]:
    if not is_published(record):
        yield Check("manifest", NOT_CHECKED, "it lists the published store, and this record lies elsewhere")
        return
    name, store = f"{record.folder.parent.name}/{record.folder.name}", record.folder.parent.parent
    digest = record_digest(record.folder)
    path = store / MANIFEST
    listed = json.loads(path.read_bytes()) if path.is_file() else {}
    yield equal("manifest", digest, listed.get(name, "nothing"), f"in {MANIFEST}")
    committed = _committed(store)
    if committed is None:
        yield Check("committed manifest", NOT_CHECKED, "no git commit with a manifest is at hand")
    elif name not in committed:
        yield Check("committed manifest", NOT_CHECKED, "the commit at hand does not know this record yet")
    else:
        yield equal("committed manifest", digest, committed[name], "in git's HEAD")


def _committed(store: Path) -> dict | None:
    """The manifest of the commit that the store's clone is at, or None."""
    try:
        command = ["git", "-C", str(store), "show", f"HEAD:./{MANIFEST}"]
        shown = subprocess.run(command, capture_output=True, check=False)
    except OSError:  # there is no git
        return None
    return json.loads(shown.stdout) if shown.returncode == 0 else None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Its epsilon

def _card(content: dict) -> Iterator[Check]:
    config, card = content["config"], content["card"]
    yield equal("records", config["privacy"]["records"], card["records"], "in its card")
    name = config["dataset"]
    if name in data.FACES:
        here = data.faces_card(name, config["unit"])
    elif name in data.CARDS:
        here = data.card(name)
    else:
        yield Check("card", NOT_CHECKED, f"this version of the library knows no data set {name!r}")
        return
    known = strict(here.to_dict())
    if differing := [field for field in known if card.get(field) != known[field]]:
        both = "; ".join(f"{field} {card.get(field)!r} in the record, {known[field]!r} here" for field in differing)
        yield Check("card", FAILED, f"not this library's of {name}: {both}")
    else:
        yield Check("card", OK, f"this library's of {name}, N = {known['records']}")


def _privacy(content: dict) -> Iterator[Check]:
    """What the record says of its mechanism is what was configured, and is within what the accountants bound."""
    privacy, config = content["privacy"], content["config"]["privacy"]
    for name in ("epsilon", "delta", "noise_multiplier", "steps"):
        stated = "epsilon_asked" if name == "epsilon" else name
        yield equal(stated.replace("_", " "), number(privacy[stated]), number(config[name]), "in its config")
    yield equal("release noise", number(privacy.get("release_noise", "inf")),
                number(content["config"].get("warm_start", {}).get("release_noise", "inf")), "in its config")
    yield from _reader(privacy.get("reader", {}), content["config"].get("reader", {}), number(config["records"]))
    rate = number(config["expected_batch"]) / number(config["records"])
    yield equal("sampling rate", number(privacy["sampling_rate"]), rate, "by expected_batch / records of its config")
    yield equal("adjacency", privacy["adjacency"], ADJACENCY, "in what the accountants bound")
    yield equal("unit", privacy["unit"], content["card"]["unit"], "in its card")
    delta, limit = number(privacy["delta"]), 1 / number(config["records"])
    yield (Check("delta's range", OK, f"below 1/N = {limit:.3g}") if 0 < delta < limit else
           Check("delta's range", FAILED, f"{delta} must lie in (0, 1/N), 1/N = {limit:.3g}"))
    clip, noise = number(config["clip_norm"]), number(config["noise_multiplier"])
    yield (Check("clipping", OK, f"noise multiplier {noise:g}, clip norm {clip:g}")
           if (noise == 0 and clip > 0) or (noise > 0 and 0 < clip < math.inf) else
           Check("clipping", FAILED, f"noise multiplier {noise} protects nothing with clip norm {clip}"))


def _reader(stated: dict, config: dict, records: float) -> Iterator[Check]:
    """What a record says of the private reader's steps; nothing where there is no reader."""
    if not stated and not config:
        return
    yield equal("reader", sorted(stated), ["noise_multiplier", "sampling_rate", "steps"] if config else [],
                "by its config")
    for name in stated.keys() & config.keys():
        yield equal(f"reader's {name.replace('_', ' ')}", number(stated[name]), number(config[name]), "in its config")
    if stated and config:
        rate = number(config["expected_batch"]) / records
        yield equal("reader's sampling rate", number(stated["sampling_rate"]), rate,
                    "by expected_batch / records of its config")


def _epsilon(privacy: dict) -> Iterator[Check]:
    """Epsilon again, by all three accountants, from the mechanisms and delta stated."""
    reader = privacy.get("reader")
    again = _epsilons(number(privacy["delta"]), accounting.parts_of_run(
        noise_multiplier=number(privacy["noise_multiplier"]), steps=privacy["steps"],
        sampling_rate=number(privacy["sampling_rate"]), release_noise=number(privacy.get("release_noise", "inf")),
        reader=reader and accounting.SampledGaussian(
            noise_multiplier=number(reader["noise_multiplier"]), steps=reader["steps"],
            sampling_rate=number(reader["sampling_rate"]))))
    for accountant, value in again.items():
        recorded = number(privacy["epsilon_spent"][accountant])
        tolerance = EPSILON_TOLERANCE * value if value < math.inf else 0
        yield near(f"epsilon spent ({accountant})", recorded, value, tolerance)
    asked = number(privacy["epsilon_asked"])
    yield (Check("epsilon's limit", OK, f"{again['pld']:.6g} spent (pld), at most {asked:g} asked")
           if again["pld"] <= asked * (1 + EPSILON_TOLERANCE) else
           Check("epsilon's limit", FAILED, f"{again['pld']!r} spent (pld), {asked!r} asked"))


def _steps(content: dict) -> Iterator[Check]:
    """Of a release: of each part as many steps charged as were configured, and enough of them taken."""
    if content["mode"] != "release":
        return
    steps, share = content["steps"], content["asked"]["least_taken"]
    for part, configured in charges(config_from(content["config"])).items():
        charged, taken = (steps[part][name] for name in ("charged", "taken"))
        yield equal(f"{part} charged", charged, configured, "by its config")
        least = charged if part == SUMS else share * charged
        yield Check(f"{part} taken", OK if least <= taken <= charged else FAILED,
                    f"{taken}, and at least {least:g} of {charged} were declared")
    if others := steps.keys() - charges(config_from(content["config"])):
        yield Check("steps", FAILED, f"{', '.join(sorted(others))}: its config has no such part")


@lru_cache(maxsize=256, typed=True)  # who checks all records meets the same mechanism once a seed
def _epsilons(delta: float, parts: tuple[accounting.SampledGaussian, ...]) -> dict[str, float]:
    return accounting.spent(parts, delta)


# Its metrics, from the weights

def _recomputed(record: Record, config: RunConfig, progress: bool) -> Iterator[Check]:
    """The sample grid and the accuracies of the published weights. Where a stale record differs, its row says so."""
    from types import SimpleNamespace

    from tqdm import tqdm

    from dpgan_lib.measures import classifiers, utility
    from dpgan_lib.privacy.streams import stream

    generator = _generator(record, config)
    grid = classifiers.sample_grid(generator, config.latent, stream(config.randomness, "evaluation", 2))
    yield _grid(record, grid)
    files = data.load(config.dataset, progress=progress)
    with tqdm(desc="evaluating", unit=" parts", disable=not progress) as bar:
        again = utility.measure(config, SimpleNamespace(average=generator), files, bar.update)  # type: ignore[arg-type]  # no more of it is read
    stale = "; ".join(staleness(record))
    for row in _differences(record.metrics["synthetic"], again["synthetic"]):
        remark = f" (the record is stale: {stale})" if stale and row.outcome == FAILED else ""
        yield Check(row.name, row.outcome, row.detail + remark)


def _generator(record: Record, config: RunConfig):
    """Raises ValueError if the weights are not those of the configuration's generator."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    from dpgan_lib.warm_start.methods import empty_generator

    try:
        tensors = load((record.folder / WEIGHTS).read_bytes())
        generator = empty_generator(config)
        generator.load_state_dict(tensors)
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{WEIGHTS} holds no weights of its configuration's generator: {str(error)[:200]}") from None
    return generator


def _grid(record: Record, grid: np.ndarray) -> Check:
    name, (rows, columns, side, _) = "samples from the weights", grid.shape
    drawn = (grid.transpose(0, 2, 1, 3).reshape(rows * side, columns * side) + 1) / 2
    shown = read_samples(record)
    if shown.shape != drawn.shape:
        return Check(name, FAILED, f"{shown.shape} pixels in {SAMPLES}, {drawn.shape} drawn again")
    apart = float(np.abs(shown - drawn).max())
    return (Check(name, OK, f"{SAMPLES} drawn again to within {PIXEL_TOLERANCE}") if apart <= PIXEL_TOLERANCE else
            Check(name, FAILED, f"a pixel of {SAMPLES} is {apart:.3f} from the one drawn again"))


def _differences(recorded: dict, again: dict) -> Iterator[Check]:
    for name in again.keys() & TOLERANCES.keys():
        yield near(f"{name} from the weights", number(recorded[name]), again[name], TOLERANCES[name])
    for listed in again.keys() & PAIRS.keys():
        then = {tuple(pair): number(value) for *pair, value in recorded[listed]}
        now = {tuple(pair): value for *pair, value in again[listed]}
        worst = max(now, key=lambda pair: abs(now[pair] - then.get(pair, math.inf)))
        yield near(f"{listed} {worst} from the weights, the least alike", then.get(worst, math.inf), now[worst],
                   TOLERANCES[PAIRS[listed][1]])


# What no check reaches

def _beyond(record: Record) -> Iterator[Check]:
    if _claims_privacy(record.content):
        steps = record.privacy["steps"]
        yield Check("training", NOT_CHECKED,
                    f"that {steps} steps with that noise made the weights: only training again shows it")
    yield Check("origin", NOT_CHECKED, "source, versions, machine and times are what the record says of itself")
