# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Steer a private GAN
#
# The book has published generators, each trained with a stated privacy. You load them, ask them for digits by code,
# and let a public judge say whether you got what you asked for. You put a number on what a code says, say what epsilon
# promises and what it does not, and make a balanced data set to order.
#
# **Before:** the chapters "Codes that say something" and "MNIST: privacy against utility", and what "What privacy
# costs" says about shared noise. **You need** the book's library, and neither data nor a GPU: nothing is trained here
# but small classifiers, on public digits and on generated ones.
#
# **How it works.** Replace every `raise NotImplementedError()`. A cell of checks follows each task. It shows some of
# the checks; the grade counts others too, which ask the same of other numbers. Later tasks use your earlier functions.
# Before you hand in, restart the kernel and run all cells: a cell that prints a warning or an error gets no points.

# %%
import math
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import affine_transform, gaussian_filter
from sklearn.svm import SVC

from dpgan_lib import data
from dpgan_lib.gan import latent
from dpgan_lib.privacy import streams
from dpgan_lib.records import store
from dpgan_lib.report import figures, numbers
from dpgan_lib.studies.mnist_tradeoff import study
from dpgan_lib.studies.study import generator_of


def chosen(method):
    """A record for each epsilon: MNIST, the laptop profile, the whole of the method, the lowest seed."""
    found = {}
    for record in reversed(study.trained(store.published("mnist_tradeoff"))):  # the lowest seed comes last
        asked = record.asked
        if (asked["dataset"], asked["profile"], asked["method"], asked["ablation"]) == ("mnist", "laptop", method, "none"):
            found[record.config.privacy.epsilon] = record
    return dict(sorted(found.items()))


chosen_records = {method: chosen(method) for method in ("both", "paper")}
for method, by_epsilon in chosen_records.items():
    print(f"{method} ({study.METHODS[method].words}): epsilon {', '.join(f'{each:g}' for each in by_epsilon)}")

# %% [markdown]
# Epsilon is a total for the training run, at the delta that the record states, for adding or removing one image with
# its label. `inf` is a run without privacy.
#
# ## 1. Read the promise
#
# A record says what was promised. Epsilon by itself is not a promise: collect what it depends on. (Infinities in a
# record are strings; `store.number` reads both kinds.)

# %% nbgrader={"grade_id": "promise", "solution": true}
def promise(record):
    """A dict: "epsilon" as spent by PLD (float), "delta", "adjacency", "unit", and "demonstration" (bool)."""
    ### BEGIN SOLUTION
    privacy = record.privacy
    return {"epsilon": store.number(privacy["epsilon_spent"]["pld"]), "delta": privacy["delta"],
            "adjacency": privacy["adjacency"], "unit": privacy["unit"], "demonstration": record.mode == "demo"}
    ### END SOLUTION


# %% nbgrader={"grade_id": "promise_checks", "points": 2}
for asked, record in chosen_records["both"].items():
    said = promise(record)
    assert set(said) == {"epsilon", "delta", "adjacency", "unit", "demonstration"}
    assert isinstance(said["epsilon"], float) and said["epsilon"] <= asked, "a run spends what was asked for, at most"
### BEGIN HIDDEN TESTS
for by_epsilon in chosen_records.values():
    for record in by_epsilon.values():
        said = promise(record)
        assert said["epsilon"] == record.epsilon_spent and said["delta"] == record.config.privacy.delta
        assert said["adjacency"] == "add/remove one record" and said["unit"] == record.card["unit"]
        assert said["demonstration"] is (record.config.seed is not None)
### END HIDDEN TESTS

# %% [markdown]
# ## 2. Ask for a digit
#
# A generator takes noise $z \sim N(0, I)$ and a code $c$: one of ten categories as a one-hot vector, and continuous
# numbers, uniform in $[-1, 1]$. `latent.make_code(settings, labels, continuous)` joins the two; `settings` is a
# record's `config.latent`, with the fields `z_dim`, `categories` and `continuous`.

# %% nbgrader={"grade_id": "ask", "solution": true}
def ask(generator, settings, labels, rng):
    """An image for each category in labels (B,), as a NumPy array (B, 1, 28, 28).

    All else is drawn from the prior by rng, a NumPy Generator.
    """
    ### BEGIN SOLUTION
    z = torch.from_numpy(rng.standard_normal((len(labels), settings.z_dim), dtype=np.float32))
    continuous = torch.from_numpy(rng.uniform(-1, 1, (len(labels), settings.continuous)))
    with torch.no_grad():
        return generator(z, latent.make_code(settings, torch.as_tensor(labels), continuous)).numpy()
    ### END SOLUTION


# %% nbgrader={"grade_id": "ask_checks", "points": 3}
class Recorder:
    """In the place of a generator: remembers what it was asked for, and draws nothing."""

    def __call__(self, z, code):
        self.z, self.code = z.numpy(), code.numpy()
        return torch.zeros(len(z), 1, 28, 28)


settings, recorder = chosen_records["both"][math.inf].config.latent, Recorder()
labels = np.arange(2000) % 10
assert ask(recorder, settings, labels, np.random.default_rng(0)).shape == (2000, 1, 28, 28)
assert np.array_equal(recorder.code[:, :10].argmax(1), labels)
assert recorder.z.shape == (2000, settings.z_dim) and recorder.z.dtype == np.float32
### BEGIN HIDDEN TESTS
first_z, continuous = recorder.z, recorder.code[:, 10:]
assert np.array_equal(recorder.code[:, :10], np.eye(10, dtype=np.float32)[labels])
assert abs(first_z.mean()) < 0.05 and abs(first_z.std() - 1) < 0.05  # of some 100,000 numbers
assert np.abs(continuous).max() <= 1 and abs(continuous.std() - 1 / math.sqrt(3)) < 0.05 and continuous.min() < -0.9
ask(recorder, settings, labels, np.random.default_rng(0))
assert np.array_equal(recorder.z, first_z), "the numbers come from rng, and from nothing else"
ask(recorder, settings, labels, np.random.default_rng(1))
assert not np.array_equal(recorder.z, first_z)
ask(recorder, replace(settings, z_dim=3), np.array([7]), np.random.default_rng(0))
assert recorder.z.shape == (1, 3) and recorder.code[0].argmax() == 7
### END HIDDEN TESTS

# %% [markdown]
# Look at what you get: a row a digit, the first draw.

# %%
figures.pictures({
    f"{method}, epsilon {epsilon:g}": ask(generator_of(record), record.config.latent, np.repeat(np.arange(10), 5),
                                          np.random.default_rng(0))
    .reshape(10, 5, 28, 28).transpose(0, 2, 1, 3).reshape(280, 140)
    for method, by_epsilon in chosen_records.items() for epsilon, record in by_epsilon.items()})

# %% [markdown]
# ## 3. Is the code obeyed?
#
# You are no judge: you know what you asked for. This judge learnt from scikit-learn's public digits, and never saw a
# training image of any generator, so that asking it costs no epsilon. It straightens a digit first, for its teachers
# wrote by other habits than MNIST's.

# %%
def straightened(image):
    """A digit (28, 28) upright, in the middle and of one size, by the moments of its ink: (784,) of length 1."""
    ink = np.clip((image + 1) / 2 - 0.1, 0, None)
    weight, (y, x) = ink / (ink.sum() + 1e-9), np.mgrid[:28, :28]
    y_mean, x_mean = (weight * y).sum(), (weight * x).sum()
    tall = (weight * (y - y_mean) ** 2).sum() + 1e-9
    slant = (weight * (y - y_mean) * (x - x_mean)).sum() / tall
    size = math.sqrt(tall) / 5
    to_source = np.array([[size, 0], [slant * size, size]])
    middle = np.array([y_mean, x_mean]) - to_source @ [13.5, 13.5]
    smooth = gaussian_filter(affine_transform(ink, to_source, offset=middle, order=1), 1).ravel()
    return smooth / (np.linalg.norm(smooth) + 1e-9)


def taught(images, labels):
    """A judge that learns from images (B, 1, 28, 28): a function from images to the digits that it sees, (B,)."""
    machine = SVC(C=10).fit([straightened(image[0]) for image in images], labels)
    return lambda images: machine.predict([straightened(image[0]) for image in images])


digits = data.load("digits", progress=False)
judge = taught(digits.train_images, digits.train_labels)
print(f"on public digits that it never saw: {np.mean(judge(digits.test_images) == digits.test_labels):.1%}")

# %% [markdown]
# Count: how often is what was asked for (rows) seen as what (columns)?

# %% nbgrader={"grade_id": "table", "solution": true}
def table(generator, settings, judge, each, rng):
    """(10, 10) counts: of the images asked for as digit i, each of them, how many the judge names j."""
    ### BEGIN SOLUTION
    asked = np.repeat(np.arange(10), each)
    counts = np.zeros((10, 10), dtype=int)
    np.add.at(counts, (asked, judge(ask(generator, settings, asked, rng))), 1)
    return counts
    ### END SOLUTION


def obeyed(counts):
    """The share of images that were named as they were asked for."""
    ### BEGIN SOLUTION
    return np.trace(counts) / counts.sum()
    ### END SOLUTION


# %% nbgrader={"grade_id": "table_checks", "points": 3}
class Contrary:
    """In the place of a generator: draws a real public digit, the next one after that asked for (0 after 9)."""

    def __call__(self, z, code):
        places = [np.flatnonzero(digits.test_labels == (digit + 1) % 10) for digit in code[:, :10].argmax(1).tolist()]
        return torch.from_numpy(np.array([digits.test_images[place[i % len(place)]] for i, place in enumerate(places)]))


counts = table(Contrary(), settings, judge, 12, np.random.default_rng(0))
assert counts.shape == (10, 10) and np.all(counts.sum(axis=1) == 12)
assert obeyed(np.eye(10)) == 1 and obeyed(np.ones((10, 10))) == 0.1
### BEGIN HIDDEN TESTS
assert np.roll(counts, -1, axis=1).trace() > 0.9 * counts.sum(), "rows are what was asked for"
assert obeyed(counts) < 0.1
uneven = np.diag(np.arange(1, 11)) + np.eye(10, k=1)
assert math.isclose(obeyed(uneven), 55 / 64)
### END HIDDEN TESTS

# %% [markdown]
# Now the generators: a table for each, by your function, from 40 images of each digit.

# %%
tables = {(method, epsilon): table(generator_of(record), record.config.latent, judge, 40, np.random.default_rng(1))
          for method, by_epsilon in chosen_records.items() for epsilon, record in by_epsilon.items()}
for (method, epsilon), counts in tables.items():
    print(f"{method:6} epsilon {epsilon:4g}: obeyed {obeyed(counts):.1%}")

# %% [markdown]
# Before you believe in a share, ask what chance would give. If names had nothing to do with codes, but were as frequent
# as they are: which share would be obeyed, on average? And is a share beyond that by more than five standard deviations
# of as many coins?

# %% nbgrader={"grade_id": "chance", "solution": true}
def by_chance(counts):
    """The mean share obeyed of a table with these sums of rows and of columns, if the two were independent."""
    ### BEGIN SOLUTION
    shares = counts / counts.sum()
    return float(shares.sum(axis=1) @ shares.sum(axis=0))
    ### END SOLUTION


def is_steered(counts):
    """Whether more is obeyed than by chance, by over five standard deviations of a mean of independent coins (bool)."""
    ### BEGIN SOLUTION
    chance = by_chance(counts)
    return bool(obeyed(counts) - chance > 5 * math.sqrt(chance * (1 - chance) / counts.sum()))
    ### END SOLUTION


# %% nbgrader={"grade_id": "chance_checks", "points": 3}
assert math.isclose(by_chance(np.ones((10, 10))), 0.1) and not is_steered(np.ones((10, 10)))
assert all(is_steered(counts) for (method, epsilon), counts in tables.items() if method == "both" and epsilon >= 1)
### BEGIN HIDDEN TESTS
lazy = np.zeros((10, 10))
lazy[:, 1] = 40  # draws a 1 whatever it is asked for
assert math.isclose(by_chance(lazy), 0.1) and is_steered(lazy) is False
lopsided = np.diag([91.0] + [1.0] * 9)
assert math.isclose(by_chance(lopsided), 0.91**2 + 9 * 0.01**2)
weak = 8 * np.ones((10, 10)) + 8 * np.eye(10)
assert is_steered(weak) is True and is_steered(weak / 8) is False  # the same share, of an eighth of the images
### END HIDDEN TESTS

# %% [markdown]
# ## 4. How much does a code say?
#
# By the paper's method the critic never sees a code. So the meaning of a category is the generator's own choice: you
# may ask for a 3 and always get a 7, which is not obedient, yet says everything. Mutual information does not care for
# names. From a table of shares $p_{ij}$, in nats:
#
# $$I = \sum_{ij} p_{ij} \log \frac{p_{ij}}{p_i \, p_j} .$$
#
# Computed from the table in hand it comes out too high: with few images, even independent counts look as if they told
# each other something. The bound of the paper is honest where this is not: let a reader $Q(c \mid x)$ learn from *some*
# images, and ask about *new* ones:
#
# $$L_I = \mathbb{E} \left[ \log Q(c \mid x) \right] + H(c) \le I(c; x) .$$
#
# Take for $Q$ the plainest reader: it hears the judge's name $j$ and says how often, in a table `learnt`, that name had
# been asked for as $i$. Add 1 to each count first, so that no answer is impossible.

# %% nbgrader={"grade_id": "information", "solution": true}
def information(counts):
    """I in nats, of the table's own shares; empty cells add nothing."""
    ### BEGIN SOLUTION
    shares = counts / counts.sum()
    independent = np.outer(shares.sum(axis=1), shares.sum(axis=0))
    there = shares > 0
    return float((shares[there] * np.log(shares[there] / independent[there])).sum())
    ### END SOLUTION


def bound(learnt, new):
    """L_I in nats, for uniform codes: Q from the counts learnt + 1, the mean over the images counted in new."""
    ### BEGIN SOLUTION
    q = (learnt + 1) / (learnt + 1).sum(axis=0)
    return float((new * np.log(q)).sum() / new.sum() + math.log(10))
    ### END SOLUTION


# %% nbgrader={"grade_id": "information_checks", "points": 4}
assert math.isclose(information(np.eye(10)), math.log(10))
assert abs(information(np.ones((10, 10)))) < 1e-12
assert abs(bound(np.ones((10, 10)), np.eye(10))) < 1e-12
### BEGIN HIDDEN TESTS
renamed = 40 * np.roll(np.eye(10), 4, axis=1)
assert math.isclose(information(renamed), math.log(10))
assert math.log(10) - 0.5 < bound(renamed, renamed) < math.log(10)
assert bound(renamed, 40 * np.eye(10)) < 0, "a reader that learnt wrong names"
rng = np.random.default_rng(3)
unequal = rng.multinomial(40, [0.5, *[0.5 / 9] * 9], size=10)
other = rng.multinomial(40, [0.5, *[0.5 / 9] * 9], size=10)
assert bound(unequal, other) < information(other)  # the one is on average too low, the other too high
assert math.isclose(bound(np.diag([9.0] * 10), np.ones((10, 10))), (math.log(10 / 19) + 9 * math.log(1 / 19)) / 10
                    + math.log(10))
### END HIDDEN TESTS

# %% [markdown]
# For each generator: let the reader learn from the table that you have, and count new images. Then say which of the
# paper's generators, if any, says something by its code (a bound above 0) although it is not steered by name.

# %% nbgrader={"grade_id": "bounds", "solution": true}
bounds = {}  # (method, epsilon): L_I in nats, learnt from tables[method, epsilon], of 40 new images of each digit
speaks_its_own_language = None  # the list of keys (method, epsilon) with a bound above 0 that are not steered
### BEGIN SOLUTION
for (method, epsilon), learnt in tables.items():
    record = chosen_records[method][epsilon]
    new = table(generator_of(record), record.config.latent, judge, 40, np.random.default_rng(2))
    bounds[method, epsilon] = bound(learnt, new)
speaks_its_own_language = [key for key in bounds if bounds[key] > 0 and not is_steered(tables[key])]
### END SOLUTION

# %% nbgrader={"grade_id": "bounds_checks", "points": 3}
for (method, epsilon), nats in bounds.items():
    print(f"{method:6} epsilon {epsilon:4g}: at least {nats:.2f} of {math.log(10):.2f} nats")
assert set(bounds) == set(tables) and max(bounds.values()) <= math.log(10)
assert isinstance(speaks_its_own_language, list)
### BEGIN HIDDEN TESTS
for (method, epsilon), nats in bounds.items():
    record = chosen_records[method][epsilon]
    again = table(generator_of(record), record.config.latent, judge, 40, np.random.default_rng(5))
    # A mean of 400 logarithms that lie within 4 nats: three standard deviations of two such means, at most, are 0.42.
    assert abs(nats - bound(tables[method, epsilon], again)) < 0.42
assert sum(bounds.values()) < sum(map(information, tables.values())), "of new images, not of those learnt from"
assert set(speaks_its_own_language) == {key for key in bounds if bounds[key] > 0 and not is_steered(tables[key])}
### END HIDDEN TESTS

# %% [markdown]
# ## 5. What epsilon promises
#
# All runs in the book have a seed, so that you can repeat them. Suppose that this number had been published in place of
# a generator: a secret, and noise of the run's own stream.

# %%
private_record = chosen_records["both"][1.0]
config = private_record.config


def publish(secret, config):
    """The secret (d,) with noise. config.randomness names the run; for a release, None, no noise comes twice."""
    noise = streams.stream(config.randomness, "noise", 0).standard_normal(len(secret))
    return secret + config.privacy.noise_multiplier * noise


# %% [markdown]
# Everyone can read a record's configuration. **Recover** the secret.

# %% nbgrader={"grade_id": "recover", "solution": true}
def recover(published, config):
    """The secret behind publish(secret, config), for whoever knows the configuration and its seed."""
    ### BEGIN SOLUTION
    noise = streams.stream(config.randomness, "noise", 0).standard_normal(len(published))
    return published - config.privacy.noise_multiplier * noise
    ### END SOLUTION


# %% nbgrader={"grade_id": "recover_checks", "points": 2}
secret = np.arange(10.0)
assert np.allclose(recover(publish(secret, config), config), secret)
### BEGIN HIDDEN TESTS
for other in (replace(config, seed=5), replace(config, privacy=replace(config.privacy, noise_multiplier=30.0))):
    assert np.allclose(recover(publish(secret, other), other), secret)
release = replace(config, seed=None)
missed = np.linalg.norm(recover(publish(np.zeros(5000), release), release)) / release.privacy.noise_multiplier
assert missed > 50  # of a release nothing is undone: about 100, the length of 5,000 coordinates of two noises
### END HIDDEN TESTS

# %% [markdown]
# **True or false?** For a generator that was *released* (no seed) with epsilon 1 at delta $10^{-5}$, for adding or
# removing one image with its label, out of 60,000.

# %% nbgrader={"grade_id": "statements", "solution": true}
epsilon_says = {
    "Drawing a million images from it spends no more epsilon.": None,
    "Choosing the best of its images by a judge taught on public digits spends no more epsilon.": None,
    "Choosing the best of its images by how well they match the training images spends no more epsilon.": None,
    "Its accuracy on the private images' own test set can be published at no further cost.": None,
    "A person who gave five images has the same protection as one who gave a single one.": None,
    "An attack that finds nothing shows that epsilon is at most 1.": None,
    "A second generator, trained on the same images with epsilon 1, makes both together cost more than 1.": None,
    "It holds against an attacker who knows all other images and every line of the code.": None,
    "A run with a known seed and the same noise multiplier promises the same.": None,
    "Nothing can be learnt from it about people whose images were not in the data.": None,
}
### BEGIN SOLUTION
epsilon_says = dict(zip(epsilon_says, (True, True, False, False, False, False, True, True, False, False)))
### END SOLUTION

# %% nbgrader={"grade_id": "statements_checks", "points": 4}
assert len(epsilon_says) == 10 and all(type(answer) is bool for answer in epsilon_says.values())
### BEGIN HIDDEN TESTS
assert list(epsilon_says.values()) == [True, True, False, False, False, False, True, True, False, False]
### END HIDDEN TESTS

# %% [markdown]
# ## 6. A balanced data set, to order
#
# A code is good for this: real data has as many of each class as it happens to have, yours has as many as you ask for.
# Draw until the judge agrees with enough images of every digit, and keep those. The judge is public, so this is
# post-processing.

# %% nbgrader={"grade_id": "balanced", "solution": true}
def balanced(generator, settings, judge, each, rng, rounds=50):
    """Images (10 * each, 1, 28, 28) and labels (10 * each,): every image named as it was asked for.

    rounds: how many batches are drawn at most. Raises RuntimeError if they do not suffice.
    """
    ### BEGIN SOLUTION
    kept = [[] for _ in range(10)]
    for _ in range(rounds):
        asked = np.repeat(np.arange(10), each)
        images = ask(generator, settings, asked, rng)
        for image, digit in zip(images[judge(images) == asked], asked[judge(images) == asked]):
            kept[digit].append(image)
        if min(map(len, kept)) >= each:
            return np.concatenate([images[:each] for images in kept]), asked
    raise RuntimeError(f"{rounds} rounds gave {min(map(len, kept))} images of a digit, not {each}")
    ### END SOLUTION


# %% nbgrader={"grade_id": "balanced_checks", "points": 4}
images, labels = balanced(generator_of(private_record), config.latent, judge, 20, np.random.default_rng(4))
assert images.shape == (200, 1, 28, 28) and np.array_equal(np.bincount(labels), np.full(10, 20))
assert np.array_equal(judge(images), labels)
### BEGIN HIDDEN TESTS
assert len(np.unique(images.reshape(200, -1), axis=0)) == 200, "an image was taken twice"
try:
    balanced(Contrary(), config.latent, lambda images: np.zeros(len(images), dtype=int), 3, np.random.default_rng(0), 2)
except RuntimeError:
    pass
else:
    raise AssertionError("a generator that cannot draw a digit must be given up on")
### END HIDDEN TESTS

# %% [markdown]
# Last, is it of use? A pupil learns from your 200 images alone, and is tested on public digits. (The judge chose the
# images, and the judge knows such digits: so this number flatters the generator.)

# %% nbgrader={"grade_id": "pupil", "solution": true}
pupil_accuracy = None  # share of digits.test_images that a pupil names right, who was taught() by your balanced set
### BEGIN SOLUTION
pupil_accuracy = float(np.mean(taught(images, labels)(digits.test_images) == digits.test_labels))
### END SOLUTION

# %% nbgrader={"grade_id": "pupil_checks", "points": 2}
print(f"epsilon {numbers.rounded_up(private_record.epsilon_spent)} (total, delta = "
      f"{numbers.plain(private_record.privacy['delta'])}, {private_record.privacy['adjacency']}, PLD): "
      f"the pupil names {pupil_accuracy:.1%} of the public digits")
assert pupil_accuracy > 0.2, "twice as good as guessing, at least"
### BEGIN HIDDEN TESTS
again = taught(images, labels)(digits.test_images) == digits.test_labels
assert abs(pupil_accuracy - again.mean()) < 1e-9
### END HIDDEN TESTS
