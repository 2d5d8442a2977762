"""What a record of the MNIST study says of a generator: what classifiers learn from it, and how near its images are.

Train on synthetic, test on real. Every recipe below is fixed, the same for generated images, at every epsilon and by
every method, and for real ones (the ceiling). Nothing here chooses anything by what it measures.
"""

import warnings
from collections.abc import Callable
from itertools import combinations

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from dpgan_lib.config import EvaluationConfig, RunConfig
from dpgan_lib.data.files import Dataset
from dpgan_lib.gan.state import State
from dpgan_lib.measures import classifiers, codes, fidelity
from dpgan_lib.privacy.streams import stream

LINEAR = 3  # logistic regression learns from one in so many of the images
PAIR_STEPS = 14  # a pair's CNN takes the ten classes' steps over this
PAIRS_AT = (1.0, 10.0, float("inf"))  # epsilons at which each pair has a CNN of its own
MLP_WIDTH, MLP_EPOCHS = 128, 5
FEATURE_STEPS = 3  # the feature network takes the ten classes' steps over this
NAMING_IMAGES = 200  # of each code, that the public judge names
FIRST_STREAM = 20  # of the "evaluation" streams


def measure(config: RunConfig, state: State, files: Dataset, progress: Callable[[], object] = lambda: None) -> dict:
    """The metrics of a run: {"synthetic": of_images(...), "fidelity": fidelity.measure(...), "names": of the codes}.

    files: training images are read for the feature network alone, test images to be classified.
    """
    images, labels, names = generate(config, state.average.cpu(), files)
    pair_cnns = config.privacy.epsilon in PAIRS_AT
    test = files.test_images, files.test_labels
    synthetic = of_images(images, labels, test, config.evaluation, _rng(config, 1), pair_cnns)
    progress()
    network = fidelity.feature_network(files.train_images, files.train_labels,
                                       config.evaluation.cnn_steps // FEATURE_STEPS, np.random.default_rng(0))
    count = len(files.test_images)  # the same number of all three kinds: it moves the distance
    shuffled = _rng(config, 2).permutation(len(images))[:count]
    embedded = (fidelity.features(network, part) for part in (
        images[shuffled], files.train_images[:count], files.test_images))
    return {"synthetic": synthetic, "fidelity": fidelity.measure(*embedded), "names": names}


def _rng(config, part):
    return stream(config.randomness, "evaluation", FIRST_STREAM + part)


def generate(config: RunConfig, generator, files: Dataset) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """config.evaluation.images of them, with labels, and the label of each code: equally many of each code.

    A critic that saw labels ties code k to class k. Without it a code is whatever the public judge of digits sees most
    in its images, so a class may have several codes or none.
    """
    latent = config.latent
    names = list(range(latent.categories))
    if not config.model.conditional:
        judge = codes.public_judge("digits" if config.dataset == "digits" else "grown_digits",
                                   config.evaluation.cnn_steps // FEATURE_STEPS)
        asked = np.repeat(names, NAMING_IMAGES)
        seen = codes.named(judge, classifiers.synthesise(generator, latent, asked, _rng(config, 3)))
        names = [int(np.bincount(part).argmax()) for part in seen.reshape(latent.categories, -1)]
    asked = np.arange(config.evaluation.images) % latent.categories
    return classifiers.synthesise(generator, latent, asked, _rng(config, 0)), np.array(names)[asked], names


def of_images(images: np.ndarray, labels: np.ndarray, test: tuple[np.ndarray, np.ndarray], recipe: EvaluationConfig,
              rng: np.random.Generator, pair_cnns: bool) -> dict:
    """Accuracies in [0, 1], on test images and labels, of classifiers trained on these images and labels alone.

    ten_cnn, ten_mlp, ten_logistic; pairs_logistic and pairs_worst, mean and least over pairs, which are a list of
    [i, j, accuracy]; with pair_cnns, the same three of CNNs: pairs_cnn, pairs_cnn_worst and cnn_pairs.
    """
    few = slice(len(images) // LINEAR)
    pairs = _pairs(images[few], labels[few], test, classifiers.logistic_accuracy)
    cnn = classifiers.train_cnn(images, labels, recipe.cnn_steps, rng, classifiers.FALLING)
    metrics = {
        "ten_cnn": classifiers.cnn_accuracy(cnn, *test),
        "ten_mlp": _or_constant_guess(_mlp_accuracy(int(rng.integers(2**32))))(images, labels, *test),
        "ten_logistic": _or_constant_guess(classifiers.logistic_accuracy)(images[few], labels[few], *test),
        **_summary(pairs, "pairs_logistic", "pairs_worst"), "pairs": pairs}
    if pair_cnns:
        def accuracy(images, labels, test_images, test_labels):
            is_larger = (labels == labels.max()).astype(np.int64)
            cnn = classifiers.train_cnn(images, is_larger, recipe.cnn_steps // PAIR_STEPS, rng,
                                        classifiers.FALLING)
            return classifiers.cnn_accuracy(cnn, test_images, (test_labels == labels.max()).astype(np.int64))

        cnn_pairs = _pairs(images, labels, test, accuracy)
        metrics |= _summary(cnn_pairs, "pairs_cnn", "pairs_cnn_worst") | {"cnn_pairs": cnn_pairs}
    return metrics


def _pairs(images, labels, test, accuracy) -> list[list]:
    """[i, j, accuracy] for each pair of classes."""
    (test_images, test_labels), result = test, []
    for pair in combinations(np.unique(test_labels).tolist(), 2):
        mine, theirs = np.isin(labels, pair), np.isin(test_labels, pair)
        result.append([*pair, _or_constant_guess(accuracy)(images[mine], labels[mine], test_images[theirs],
                                                           test_labels[theirs])])
    return result


def _or_constant_guess(accuracy):
    """The same function, for images of fewer than two classes too: nothing can be learnt from these but to name the one
    class each time or, of none, the first.
    """
    def anyway(images, labels, test_images, test_labels):
        known = np.unique(labels)
        if len(known) > 1:
            return accuracy(images, labels, test_images, test_labels)
        return float((test_labels == (known[0] if len(known) else test_labels.min())).mean())

    return anyway


def _summary(pairs, mean, worst):
    accuracies = [accuracy for *_, accuracy in pairs]
    return {mean: float(np.mean(accuracies)), worst: min(accuracies)}


def _mlp_accuracy(seed):
    def accuracy(images, labels, test_images, test_labels):
        model = MLPClassifier((MLP_WIDTH,), batch_size=128, max_iter=MLP_EPOCHS, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of epochs is the recipe
            model.fit(images.reshape(len(images), -1), labels)
        return float(model.score(test_images.reshape(len(test_images), -1), test_labels))

    return accuracy
