"""The study of class imbalance: one digit made rare, private images of it asked for by code, and plain remedies beside.

And of sample size: the same method on fewer records. Both are data sets of their own, made from MNIST in public.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from dpgan_lib import data
from dpgan_lib.config import RunConfig
from dpgan_lib.measures import classifiers
from dpgan_lib.privacy.streams import stream
from dpgan_lib.report.figures import png
from dpgan_lib.studies.mnist_tradeoff import study as mnist_tradeoff
from dpgan_lib.studies.parameters import RunParameters, require
from dpgan_lib.studies.study import SAMPLES, Plan, Study, Trained, TrainingSet

RARE = 8  # the digit that is made rare; named before any run, and the same in all of them
RARE_RECORDS = {"digits": 146, "grown_digits": 6095, "mnist": 5851, "fashion_mnist": 6000}  # of it, in the public sets
FEWEST = 500  # records: with less there is next to nothing to learn, and delta = 1e-5 stays below 1 / N anyway
CNN_STEPS = {"smoke": 20, "laptop": 700, "paper": 5_000}
FIRST_STREAM = 40  # of the "evaluation" streams
REMEDIES = {  # training set of the classifier -> words
    "real": "real images as they are",
    "oversampled": "real images, the rare ones repeated",
    "weighted": "real images, the rare ones weighed more",
    "topped_up": "real images, and generated ones of the rare digit",
    "synthetic": "generated images alone, as many of each digit",
}


@dataclass(frozen=True, kw_only=True)
class Parameters(RunParameters):
    """As for any run. kept: share of the rare digit's records that stay.  records: so many are drawn from the whole
    set, with every digit kept; 0 for all.
    """

    kept: float = 0.01
    records: int = 0

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        super().check()
        require(type(self.kept) in (int, float) and 0 < self.kept <= 1, "kept", self.kept,
                "must lie in (0, 1]: a share of the rare digit's records. Try 0.01")
        whole = data.card(self.dataset).records
        require(type(self.records) is int and (self.records == 0 or FEWEST <= self.records <= whole), "records",
                self.records, f"must be 0, for all, or in [{FEWEST}, {whole}]. Try 10000")
        require(self.records == 0 or self.kept == 1, "records", self.records,
                f"draws from all digits, and kept={self.kept} thins one: set kept=1.0 or records=0")


# The data set

def chosen(labels: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Rows (n,) of the whole training set: as many as asked for at random, or the rare digit thinned. Seeded."""
    rng = np.random.default_rng([RARE, parameters.seed])
    if parameters.records:
        return np.sort(rng.permutation(len(labels))[: parameters.records])
    rare = rng.permutation(np.flatnonzero(labels == RARE))
    return np.setdiff1d(np.arange(len(labels)), rare[_left(parameters.kept, len(rare)) :])


def size(parameters: Parameters) -> int:
    """N, which the noise is calibrated for. Opens no data."""
    rare = RARE_RECORDS[parameters.dataset]
    return parameters.records or data.card(parameters.dataset).records - rare + _left(parameters.kept, rare)


def _left(kept, rare):
    return max(1, round(kept * rare))


def card(parameters: Parameters, records: int) -> data.DataCard:
    """Of that data set, a public construction."""
    whole = data.card(parameters.dataset)
    thinned = f"{parameters.kept:g} of the {RARE}s" if parameters.kept < 1 else "all digits"
    return replace(whole, name=f"{whole.name}_{records}_{parameters.kept:g}",
                   title=f"{records:,} images of {whole.title}",
                   records=records, caption=f"{whole.caption}; {thinned}, chosen by seed")


def run_of(asked: Parameters) -> RunConfig:
    """The run by this book's method on that data set. Opens no data."""
    asked.check()
    records = size(asked)
    values = {field.name: getattr(asked, field.name) for field in fields(RunParameters)}
    config = mnist_tradeoff.run_of(mnist_tradeoff.Parameters(**values), records)
    return replace(config, dataset=card(asked, records).name)


def plan(asked: Parameters) -> Plan:
    return Plan(run=run_of(asked), card=card(asked, size(asked)))


def training_set(asked: Parameters, files: data.Dataset) -> TrainingSet:
    rows = chosen(files.train_labels, asked)
    return TrainingSet(images=files.train_images[rows], labels=files.train_labels[rows])


# What is measured

def measure(asked: Parameters, plan: Plan, trained: Trained, files: data.Dataset, progress) -> tuple[dict, dict]:
    """What each remedy does for the rare digit, and a sample grid."""
    given, config = training_set(asked, files), plan.run
    metrics = compare_remedies(config, trained.average, given.images, given.labels, files)
    grid = classifiers.sample_grid(trained.average, config.latent, stream(config.randomness, "evaluation", 2))
    return metrics, {SAMPLES: png(grid)}


def compare_remedies(config: RunConfig, generator: nn.Module, images: np.ndarray, labels: np.ndarray,
                     files: data.Dataset) -> dict:
    """By remedy and classifier: accuracy, and recall and precision of the rare digit, on real test images.

    The generator is asked for what a remedy lacks, by code. "counts" are those of the real training set by digit.
    """
    rng, counts = stream(config.randomness, "evaluation", FIRST_STREAM), np.bincount(labels, minlength=10)
    level = int(np.median(counts))
    asked = np.repeat(np.arange(10), level)
    drawn = classifiers.synthesise(generator, config.latent, asked,
                                   stream(config.randomness, "evaluation", FIRST_STREAM + 1))
    more = np.flatnonzero(asked == RARE)[: max(level - counts[RARE], 0)]
    repeated = rng.choice(np.flatnonzero(labels == RARE), max(level - counts[RARE], 0))
    sets = {"real": (images, labels),
            "oversampled": _joined((images, labels), (images[repeated], labels[repeated])),
            "topped_up": _joined((images, labels), (drawn[more], asked[more])),
            "synthetic": (drawn, asked)}
    steps = CNN_STEPS[config.profile]
    found = {name: {"cnn": _scores(_cnn(*of_set, steps, rng), files), "logistic": _scores(_logistic(*of_set), files)}
             for name, of_set in sets.items()}
    found["weighted"] = {"logistic": _scores(_logistic(images, labels, "balanced"), files)}
    return {"remedies": found, "counts": counts.tolist()}


def _joined(one, other):
    return np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])


def _cnn(images, labels, steps, rng):
    network = classifiers.train_cnn(images, labels, steps, rng)
    return lambda part: _argmax(network, part)


@torch.no_grad()
def _argmax(network, images):
    return torch.cat([network(part) for part in torch.from_numpy(images).split(1000)]).argmax(1).numpy()


def _logistic(images, labels, class_weight=None):
    few = slice(None, None, 3)  # one in three: it is a linear model
    model = LogisticRegression(C=0.01, max_iter=1000, class_weight=class_weight).fit(
        images[few].reshape(len(images[few]), -1), labels[few])
    return lambda part: model.predict(part.reshape(len(part), -1))


def _scores(classify, files) -> dict[str, float]:
    named, true = classify(files.test_images), files.test_labels
    hits = ((named == RARE) & (true == RARE)).sum()
    return {"accuracy": float((named == true).mean()), "recall": float(hits / (true == RARE).sum()),
            "precision": float(hits / max((named == RARE).sum(), 1))}


KEPT = (0.1, 0.01, 0.002)
RECORDS = (1_000, 3_000, 10_000, 30_000, 0)
STUDY = Study(
    chapter="class_imbalance", asked=Parameters, plan=plan, training_set=training_set, measure=measure,
    vary=("epsilon", "seed", "kept", "records"),
    grid=(*(Parameters(kept=kept, epsilon=epsilon) for kept in KEPT for epsilon in (1.0, 10.0, "inf")),
          *(Parameters(kept=1.0, records=records, epsilon=epsilon) for records in RECORDS for epsilon in (1.0, 10.0))))
