"""Release mode: training on private data. Only networks and noisy numbers, and what is drawn from them, leave.

How it is trained follows from the declared kind of images (KINDS), and never from the data. Noise and batches come from
the operating system's entropy, so nobody can repeat them; there is no seed to publish and no random state on disk. The
record says what was declared about the data, never what was found in it: no number of
records, hash, loss, batch, wall time or hour. The guarantee is for one release: a second one of the same data adds
its epsilon. A budget, where one is named, refuses a release that would bring all of them above what was declared.

No value in the data changes what is said: an image whose label is none of the declared classes belongs to none, and its
score is 0. How the input is laid out is checked, and said, before anything is charged. Noisy sums, the reader's steps
and the critic's are charged where they are computed (warm_start.training, warm_start.reader, gan.loop), in the files
that privacy.ledger keeps, or in the budget.
"""

import math
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dpgan_lib.config import CRITIC, READER, SUMS, ReadRunConfig, RunConfig, WarmRunConfig, charges, mechanisms
from dpgan_lib.data import labelled_images
from dpgan_lib.measures import classifiers, utility
from dpgan_lib.privacy import budget, guard, ledger, renyi_filter
from dpgan_lib.privacy.streams import stream
from dpgan_lib.profiles import PROFILES
from dpgan_lib.records import locks, store
from dpgan_lib.records.provenance import TRAINING, provenance, training_source
from dpgan_lib.report import figures
from dpgan_lib.sampling import draw
from dpgan_lib.sampling.card import accuracies
from dpgan_lib.studies.kinds import DIGITS, KINDS, PLAIN
from dpgan_lib.studies.parameters import RunParameters, require, require_one_of
from dpgan_lib.studies.study import SAMPLES, Trained, privacy_statement, weights
from dpgan_lib.warm_start import methods, training
from dpgan_lib.warm_start import reader as private_reader

STUDY = "release"
FOLDERS = {SUMS: training.FOLDER, READER: private_reader.FOLDER, CRITIC: ""}  # below a run's, where each is charged
COLUMNS = 10  # samples of each class, drawn in colour
LEAST_SIDE, ANY_SIDE = 8, 28  # the latter is what every kind takes


@dataclass(frozen=True, kw_only=True)
class Parameters(RunParameters):
    """What the owner declares in public. dataset: a name for the data.  records: N, known or chosen without looking.
    kind: of KINDS.

    A wrong N spoils no guarantee: the rate and the divisor follow from the declared one.
    side: pixels; classes: labels 0..classes-1.  unit: what one record is, which the guarantee protects.
    channels: 1 or 3.  class_names, fit, ground: as in data.labelled_images, where images were fitted.
    least_taken: share of the steps, of the reader's and of the critic's, below which nothing is released: crashes lose
    steps that stay charged.  info_weight: None for the kind's.
    """

    dataset: str
    records: int
    side: int
    classes: int
    delta: float
    kind: str = DIGITS
    unit: str = "one image with its label"
    channels: int = 1
    class_names: tuple[str, ...] | None = None
    fit: str | None = None
    ground: int | None = None
    least_taken: float = 0.9
    seed: None = None
    info_weight: float | None = None

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        require(self.seed is None, "seed", self.seed, "is refused: whoever knows the seed of a release can subtract "
                                                      "its noise. Leave it out, or train a demonstration on public "
                                                      "data")
        for name, least in (("records", 2), ("classes", 2), ("side", LEAST_SIDE)):
            value = getattr(self, name)
            require(type(value) is int and value >= least, name, value, f"must be a whole number, {least} or more")
        require(self.side % 4 == 0, "side", self.side, "must be a multiple of 4: pad the images")
        require(self.channels in (1, 3), "channels", self.channels, "must be 1 for grey or 3 for colour")
        require(self.class_names is None or len(self.class_names) == self.classes, "class_names", self.class_names,
                f"must be as many as there are classes, {self.classes}")
        require_one_of("kind", self.kind, KINDS)
        self.as_of_study().check_for(self.records)
        require(self.target_epsilon < math.inf, "epsilon", self.epsilon, "must be finite: a release is private")
        batch = PROFILES[self.profile].expected_batch
        require(batch < self.records, "records", self.records, f"must be above the profile's expected batch of {batch}")
        require(0 < self.least_taken <= 1, "least_taken", self.least_taken,
                "must lie in (0, 1]: it is a share of the steps")
        for holds, name, rest in KINDS[self.kind].limits(self):
            require(holds, name, getattr(self, name), f"{rest}, for kind {self.kind!r}. Or declare another kind: "
                                                      f"{PLAIN!r} takes any images, by DP-SGD alone")

    def as_of_study(self) -> RunParameters:
        """What is asked of the kind's own study."""
        weight = KINDS[self.kind].info_weight if self.info_weight is None else self.info_weight
        return RunParameters(dataset=self.dataset, profile=self.profile, epsilon=self.epsilon, delta=self.delta,
                             seed=self.seed, info_weight=weight)


def plan(parameters: Parameters) -> RunConfig:
    """The run, its noise calibrated. Opens no data. Raises ValueError for a parameter out of range."""
    parameters.check()
    config = KINDS[parameters.kind].run_of(parameters.as_of_study(), parameters.records)
    return replace(config, latent=replace(config.latent, categories=parameters.classes),
                   model=replace(config.model, image_side=parameters.side, channels=parameters.channels))


@contextmanager
def reserved(file: Path | None, out: Path, **public) -> Iterator[budget.Reservation | None]:
    """Of the budget in that file, all that a release into out may cost, before any data is opened. No file, no budget.

    public: as of Parameters; without a side, which changes no noise, it is read from the data. Call obtain() within
    this context: a release that an error ends before it has charged anything gives back what was reserved.
    Raises ValueError where the budget does not grant it, or a parameter is out of range.
    """
    if file is None:
        yield None
        return
    parameters = Parameters(**{"side": ANY_SIDE} | public)
    asked = [renyi_filter.mechanism(part, **each) for part, each in mechanisms(plan(parameters))]
    reservation = budget.reserve(file, _name(parameters, out), unit=parameters.unit, records=parameters.records,
                                 mechanisms=asked)
    try:
        yield reservation
    except BaseException:
        with suppress(ValueError, RuntimeError):  # else too much stays reserved, which harms nobody
            if budget.charged(reservation) == 0:
                budget.close(reservation)
        raise


def _name(parameters: Parameters, out: Path) -> str:
    """Of a release in a budget. Another folder makes it another release."""
    any_side = replace(parameters, side=ANY_SIDE)
    return store.content_address(plan(any_side).to_dict(), declared(any_side) | {"out": str(out.resolve())})


def obtain(parameters: Parameters, images: np.ndarray, labels: np.ndarray, out: Path, *,
           public_test: tuple[np.ndarray, np.ndarray] | None = None, max_minutes: float | None = None,
           reservation: budget.Reservation | None = None, progress: bool = True) -> store.Record | None:
    """Train, and leave the record in out/release/<run id>/. None if the time was up; the same call resumes.

    images (n, side, side) uint8, or (n, side, side, 3) of 3 channels, labels (n,) integers, whatever n is.
    public_test: the like, in grey, of data that is public: accuracies on it enter the record, and epsilon does not
    cover it.  reservation: what reserved() gave for the same parameters and folder; the steps are charged to it.
    max_minutes: cuts neither the noisy sums short nor the reader.
    Raises ValueError for arrays of another kind, and where that release exists already; RuntimeError where crashes lost
    more steps than was declared, or a noisy sum.
    """
    _check_planes(images, labels, parameters, "the private data")
    if public_test is not None:
        require(parameters.channels == 1, "channels", parameters.channels, "must be 1 for accuracies on public data: "
                                                                           "the classifiers read grey images")
        check_arrays(*public_test, parameters.side, "the public test data")
        wrong = np.setdiff1d(public_test[1], np.arange(parameters.classes))
        require(not wrong.size, "public test labels", wrong[:3].tolist(), f"must lie in 0..{parameters.classes - 1}")
        known = np.unique(public_test[1])
        require(known.size > 1, "public test labels", known.tolist(), "must be of two classes or more")
    config, card = plan(parameters), declared(parameters)
    require(reservation is None or reservation.name.partition(".")[0] == _name(parameters, out), "reservation",
            reservation, "must be what reserved() gave for these parameters and this folder")
    run_id = store.content_address(config.to_dict(), card)
    folder, work = out / STUDY / run_id, out / STUDY / f".work-{run_id}"
    _refuse_another(folder, config)
    lock = out / STUDY / f".lock-{run_id}"
    with locks.held(lock):  # else two calls at once would spend epsilon twice under one record
        try:
            _refuse_another(folder, config)
            guard.private_folder(work)
            for part in charges(config):
                ledger.draw_on(work / FOLDERS[part], reservation and reservation.of(part))
            _refuse_lost_sum(config, work, reservation)
            with guard.guarded():
                record = _released(parameters, config, card, images, labels, public_test, out, work, max_minutes,
                                   progress)
            if record and reservation:
                budget.close(reservation)
            return record
        finally:
            if folder.exists():  # nothing is left to guard
                lock.unlink(missing_ok=True)


def _check_planes(images, labels, parameters, source):
    """check_arrays() of what an image has in each of its channels."""
    if parameters.channels > 1:
        require(images.ndim == 4 and images.shape[-1] == parameters.channels, "channels", parameters.channels,
                f"must be the last size of {source}: give images of shape (n, side, side, channels)")
        images = images[..., 0]
    check_arrays(images, labels, parameters.side, source)


def _refuse_another(folder, config):
    if store.read(folder):
        raise ValueError(f"{folder} is such a release already: another one of the same data spends epsilon "
                         f"{config.privacy.epsilon:g} once more. Name another folder if that is meant.")


def _refuse_lost_sum(config, work, reservation):
    """A release that was killed between charging a noisy sum and storing it has spent that, and cannot go on."""
    folder = work / FOLDERS[SUMS]
    if not isinstance(config, WarmRunConfig) or ledger.charged(folder) <= len(training.released(config, folder)):
        return
    repair = (f"End it with `dpgan budget close {reservation.path} {reservation.name}`, and name another folder"
              if reservation else f"Delete {work}")
    raise RuntimeError("a noisy sum was charged and then lost when this release was ended by force: its share of "
                       "epsilon is spent, and the release cannot go on. "
                       f"{repair} to begin another, which spends epsilon anew.")


def _released(parameters, config, card, images, labels, public_test, out, work, max_minutes, progress):
    origin = provenance({TRAINING: training_source(methods.name_of(config))})
    with tqdm(total=config.privacy.steps, desc="training a release", unit=" critic steps", disable=not progress) as bar:
        state = methods.train(config, scaled(images), labels, work, max_minutes=max_minutes,
                              progress=lambda step: bar.update(step - bar.n))
    if state.step < config.privacy.steps:
        return None
    steps = _steps(config, state, work)
    for part, of_part in steps.items():
        _check_taken(part, **of_part, least_taken=parameters.least_taken)
    trained = Trained(state.average.cpu(), state.posterior.cpu())
    content = {"mode": "release", "asked": asdict(parameters), "config": config.to_dict(), "card": card, "seconds": {},
               "steps": steps, "provenance": origin,
               "created": datetime.now(UTC).strftime("%Y-%m-%d"),  # the hour would tell how long it took
               "privacy": privacy_statement(config, parameters.unit),
               "metrics": _on_public_test(config, trained, public_test)}
    if state.start is not None:
        content["released"] = {"shares": state.start.shares.tolist()}
    record = store.write(STUDY, store.content_address(config.to_dict(), card), content, _artefacts(config, trained),
                         store=out)
    shutil.rmtree(work)
    return record


def _steps(config, state, work) -> dict[str, dict[str, int]]:
    """Of each part, how many steps were charged, and how many of them the networks have seen. No sum is ever lost."""
    taken = {CRITIC: state.taken}
    if isinstance(config, ReadRunConfig):
        taken[READER] = private_reader.taken(config, work / FOLDERS[READER])
    return {part: {"charged": charged, "taken": taken.get(part, charged)} for part, charged in charges(config).items()}


def _check_taken(part: str, *, charged: int, taken: int, least_taken: float) -> None:
    if taken < least_taken * charged:
        raise RuntimeError(f"{taken} of {charged} {part} are in these networks: crashes lost the others, and their "
                           f"share of epsilon is spent. They are not released below {least_taken:g} of them. Declare a "
                           "smaller least_taken to release them, or name another folder to begin anew.")


def status(record: store.Record) -> str:
    """In a line: that it is released, and what crashes cost it; and in another, accuracies on public data."""
    lost = [f"{steps['charged'] - steps['taken']} of {steps['charged']} {part} were charged and lost"
            for part, steps in record.content["steps"].items() if steps["taken"] < steps["charged"]]
    told = accuracies(record)
    measured = [f"a CNN that learnt from its images, on the public test images: {told}"] if told else []
    return "\n".join(["; ".join(["released", *lost]), *measured])


def declared(parameters: Parameters) -> dict:
    """The data card of a release: public by the owner's declaration, and nothing that was read from the data."""
    card = {"name": parameters.dataset, "title": f"{parameters.dataset}, as declared by its owner",
            "records": parameters.records, "side": parameters.side, "classes": parameters.classes,
            "unit": parameters.unit}
    if parameters.class_names is not None:
        card |= {"class_names": list(parameters.class_names), "channels": parameters.channels, "fit": parameters.fit,
                 "ground": parameters.ground}
    return card


def reader(path: str | Path, name: str, declared: dict) -> tuple[Callable, dict]:
    """What reads images and labels from such a path, and of what was declared the fields of Parameters.

    declared: those fields, but with classes as a text: names, or their number; and side None for an .npz file of grey
    squares that are taken as they are. Opens no data. Raises ValueError for a declaration out of range.
    """
    if declared["side"] is None:
        number = re.fullmatch(r"\s*(-?[0-9]+)\s*", declared["classes"])
        require(number is not None and declared["channels"] == 1 and Path(path).suffix.lower() == ".npz", "side", None,
                "must be declared: images are fitted to it. Grey squares in an .npz, with numbered classes, alone do "
                "without")
        declared = {each: declared[each] for each in declared.keys() - {"side", "fit", "ground"}} | {
            "classes": int(number[1])}
        Parameters(dataset=name, side=ANY_SIDE, **declared).check()
        return read_arrays, declared
    names = labelled_images.class_names(declared["classes"])
    declared = declared | {"classes": len(names), "class_names": names}
    Parameters(dataset=name, **declared).check()
    wanted = labelled_images.Declared(classes=names, **{each: declared[each] for each in (
        "side", "channels", "fit", "ground")})
    return partial(labelled_images.read, declared=wanted), declared


def read_arrays(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of an .npz file, both checked for their kind; never says how many there are.

    Raises ValueError for a file that is none or lacks one of them, in one line that holds nothing from inside it.
    """
    repair = "np.savez(FILE, images=..., labels=...) writes such a file"
    if not Path(path).is_file():
        raise ValueError(f"{path} is absent: {repair}.")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ("images", "labels") if name in arrays}
    except (AttributeError, TypeError):  # what np.load gives for an .npy file
        raise ValueError(f"{path} holds one array without a name, and must hold images and labels: {repair}.") from None
    except MemoryError:  # NumPy's own message has the array's shape
        raise ValueError(f"{path} does not fit into memory: give this process more of it.") from None
    except Exception:  # zipfile and NumPy promise no set of errors; Python objects are refused by a ValueError too
        raise ValueError(f"{path} is cut, or no .npz file of plain arrays: {repair}.") from None
    images, labels = (found.get(name) for name in ("images", "labels"))
    if not (isinstance(images, np.ndarray) and isinstance(labels, np.ndarray)):
        raise ValueError(f"{path} must hold two arrays, images and labels: {repair}.")
    check_arrays(images, labels, None, str(path))
    return images, labels


def check_arrays(images: np.ndarray, labels: np.ndarray, side: int | None, source: str) -> None:
    """Raises ValueError for arrays of another kind than obtain() takes, in one line without any number of records.

    side: what was declared; None for any, and then no message has one, for it could be a number of records.
    """
    wanted = "(n, side, side)" if side is None else f"(n, {side}, {side})"
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != 2 * (side or images.shape[-1],):
        raise ValueError(f"{source}: images are {_kind(images)} and must be uint8 of shape {wanted}, one grey square "
                         "each. Resize, grey and scale them to 0..255 first.")
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise ValueError(f"{source}: labels are {_kind(labels)} and must be integers of shape (n,), one of "
                         "0..classes-1 for each image. Number the classes first; of one-hot rows, take the argmax.")
    if len(images) != len(labels):
        raise ValueError(f"{source}: there are not as many labels as images. Give each image its label.")


def _kind(array: np.ndarray) -> str:
    """Not the sizes, which would tell how many records there are, nor how long the longest word is."""
    return f"{array.dtype.type.__name__}, {array.ndim}-dimensional,"


def scaled(images: np.ndarray) -> np.ndarray:
    """uint8 (n, side, side), or (n, side, side, C), to float32 (n, 1 or C, side, side) in [-1, 1]: fixed and public."""
    planes = images[:, None] if images.ndim == 3 else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return planes.astype(np.float32) / 127.5 - 1


def _on_public_test(config, trained, public_test) -> dict:
    """What classifiers that learn from each set of images can tell of the public ones; each set by the same recipe."""
    if public_test is None:
        return {}
    images, labels = public_test
    recipe, found = config.evaluation, {}
    for way in draw.DRAWS if isinstance(config, ReadRunConfig) else (draw.PLAIN,):
        drawn, asked = draw.drawn(trained, config.latent, way, recipe.images, stream(None, "evaluation"))
        found[way] = utility.of_images(drawn, asked, (scaled(images), labels), recipe, stream(None, "evaluation"),
                                        pair_cnns=False)
    return {"public_test": found}


def _artefacts(config, trained) -> dict[str, bytes]:
    generator = trained.average
    if config.model.channels == 1:
        grid = figures.png(classifiers.sample_grid(generator, config.latent, stream(None, "evaluation")))
    else:
        asked = np.repeat(np.arange(config.latent.categories), COLUMNS)
        drawn = classifiers.synthesise(generator, config.latent, asked, stream(None, "evaluation"))
        grid = figures.colour_png(drawn.reshape(config.latent.categories, COLUMNS, *drawn.shape[1:]))
    return {SAMPLES: grid} | weights(trained, with_posterior=isinstance(config, ReadRunConfig))
