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
# # Break and mend DP-SGD
#
# A private step is five lines of code. Each can be wrong in a way that runs, trains, and prints an epsilon that is not
# true. Here are five such lines. For each you first *show* that it is broken, then mend it. At the end you state what
# your mended mechanism spends, and audit it.
#
# **Before:** the chapters "What privacy costs", "The private step" and "Audits". **You need** the
# book's library, and neither data nor a GPU.
#
# **How it works.** Replace every `raise NotImplementedError()`. A cell of checks follows each task. It shows some of
# the checks; the grade counts others too, which ask the same of other numbers. Later tasks use your earlier functions.
# Before you hand in, restart the kernel and run all cells: a cell that prints a warning or an error gets no points.

# %%
import math

import numpy as np
import torch

from dpgan_lib.privacy import accounting, audit, mechanism

clip_norm = 1.0  # C
noise_multiplier = 1.0  # sigma: the noise, in units of C
records, batch = 1000, 50  # N, and the expected batch q N
steps, delta = 100, 1e-5  # T; delta is below 1 / N

# %% [markdown]
# A record's gradient is a row of an array `gradients` (n, d). Two batches are *neighbours* if one is the other with one
# more row. The promise of the Gaussian mechanism rests on one number: how far, at most, one row can move what the noise
# is added to.
#
# ## 1. Clip after averaging
#
# A mean of $n$ gradients, each of length at most $C$, moves by about $C / n$ if one of them goes. This function gives a
# mean of length at most $C$, and is said to do the same.

# %%
def clip_the_mean(gradients, clip_norm):
    """The mean of the rows, cut to length clip_norm. Said to move by about clip_norm / n for one row of n."""
    mean = gradients.mean(axis=0)
    return mean * min(1, clip_norm / max(np.linalg.norm(mean), 1e-12))


# %% [markdown]
# **Show** that it moves much further: construct neighbours of at least 20 records, at any $C$, whose clipped means are
# ten times as far apart as was said.

# %% nbgrader={"grade_id": "neighbours", "solution": true}
def neighbours(clip_norm):
    """Two batches (n, d) and (n + 1, d), n at least 20: the second is the first and one more row."""
    ### BEGIN SOLUTION
    without = np.zeros((20, 2))
    return without, np.vstack([without, [1000 * clip_norm, 0]])
    ### END SOLUTION


# %% nbgrader={"grade_id": "neighbours_checks", "points": 2}
def check_neighbours(clip_norm):
    without, more = neighbours(clip_norm)
    assert len(without) >= 20 and np.isfinite(more).all()
    assert np.array_equal(more[:-1], without), "the second batch is the first and one more row"
    moved = np.linalg.norm(clip_the_mean(more, clip_norm) - clip_the_mean(without, clip_norm))
    assert moved > 10 * clip_norm / len(without), f"it moves by {moved}, which is not far enough"


check_neighbours(1.0)
### BEGIN HIDDEN TESTS
check_neighbours(0.01)
check_neighbours(300.0)
### END HIDDEN TESTS

# %% [markdown]
# **Mend** it: a sum that one row moves by at most $C$, whatever the row is. A batch may be empty, and a gradient may be
# zero.

# %% nbgrader={"grade_id": "clipped_sum", "solution": true}
def clipped_sum(gradients, clip_norm):
    """The sum (d,) of the rows (n, d), each cut to L2 length at most clip_norm; n may be 0. Changes no row."""
    ### BEGIN SOLUTION
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    return (gradients * np.minimum(1, clip_norm / np.maximum(norms, 1e-12))).sum(axis=0)
    ### END SOLUTION


# %% nbgrader={"grade_id": "clipped_sum_checks", "points": 3}
assert np.allclose(clipped_sum(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0), [0.9, 1.2])
assert np.allclose(clipped_sum(np.array([[3.0, 4.0], [0.3, 0.4]]), 10.0), [3.3, 4.4])
### BEGIN HIDDEN TESTS
rng = np.random.default_rng(1)
for bound in (0.1, 1.0, 30.0):
    rows = rng.standard_normal((40, 7)) * np.geomspace(1e-3, 1e6, 40)[:, None]
    before = rows.copy()
    whole = clipped_sum(rows, bound)
    assert np.array_equal(rows, before), "the caller's gradients were changed"
    for i in range(len(rows)):
        assert np.linalg.norm(whole - clipped_sum(np.delete(rows, i, axis=0), bound)) <= bound * (1 + 1e-9)
    critic = torch.nn.Sequential(torch.nn.Linear(7, 1, bias=False), torch.nn.Flatten(0))  # its gradient is its input
    library = mechanism.noisy_mean(critic, (torch.from_numpy(rows).float(),), clip_norm=bound, noise_multiplier=0,
                                   expected_batch=1, rng=None)["0.weight"][0].numpy()
    assert np.allclose(whole, library, rtol=1e-4, atol=1e-4 * bound)  # the library adds 40 rows in float32
assert np.array_equal(clipped_sum(np.zeros((0, 3)), 1.0), np.zeros(3))
assert np.array_equal(clipped_sum(np.zeros((2, 3)), 1.0), np.zeros(3))
### END HIDDEN TESTS

# %% [markdown]
# ## 2. Noise of the wrong size
#
# "The noise hides a move of length $C$, so noise of length $\sigma C$ will do", someone thought. A vector of $d$
# coordinates with standard deviation $s$ each is about $s \sqrt{d}$ long, hence the root:

# %%
def add_short_noise(total, clip_norm, noise_multiplier, rng):
    """The total (d,) with noise of length about sigma C."""
    scale = noise_multiplier * clip_norm / math.sqrt(len(total))
    return total + scale * rng.standard_normal(len(total))


# %% [markdown]
# **Show** what that is: measure the standard deviation of one coordinate of the noise, in units of $C$. Draw often
# enough to be right to one part in twenty. Then ask the accountant of the library what so little noise really spends.

# %% nbgrader={"grade_id": "spread", "solution": true}
def measured_spread(add_noise, clip_norm, noise_multiplier, coordinates):
    """Standard deviation of a coordinate of the noise that add_noise adds, in units of C, from many draws."""
    ### BEGIN SOLUTION
    rng, nothing = np.random.default_rng(0), np.zeros(coordinates)
    noise = [add_noise(nothing, clip_norm, noise_multiplier, rng) for _ in range(20_000 // coordinates + 1)]
    return np.std(noise) / clip_norm
    ### END SOLUTION


def really_spent(coordinates):
    """Epsilon of T steps with add_short_noise, at this notebook's sigma, q, T and delta, by accounting.epsilon_pld."""
    ### BEGIN SOLUTION
    spread = measured_spread(add_short_noise, clip_norm, noise_multiplier, coordinates)
    return accounting.epsilon_pld(noise_multiplier=spread, sampling_rate=batch / records, steps=steps, delta=delta)
    ### END SOLUTION


# %% nbgrader={"grade_id": "spread_checks", "points": 3}
assert abs(10 * measured_spread(add_short_noise, 1.0, 1.0, 100) - 1) < 1 / 20
assert really_spent(4) > really_spent(1) > 0
### BEGIN HIDDEN TESTS
def add_full_noise(total, clip_norm, noise_multiplier, rng):
    return total + noise_multiplier * clip_norm * rng.standard_normal(len(total))


for bound, sigma, size in ((0.2, 3.0, 25), (50.0, 0.5, 400)):
    assert abs(measured_spread(add_short_noise, bound, sigma, size) * math.sqrt(size) / sigma - 1) < 1 / 20
    assert abs(measured_spread(add_full_noise, bound, sigma, size) / sigma - 1) < 1 / 20
expected = accounting.epsilon_pld(noise_multiplier=noise_multiplier / 3, sampling_rate=batch / records, steps=steps,
                                  delta=delta)
assert abs(really_spent(9) / expected - 1) < 0.2  # at so little noise epsilon goes with 1 / sigma^2, known to a tenth
### END HIDDEN TESTS

# %% [markdown]
# **Mend** it. The neighbour's move may point along one coordinate, so that one must hide it alone.

# %% nbgrader={"grade_id": "add_noise", "solution": true}
def add_noise(total, clip_norm, noise_multiplier, rng):
    """The total (d,) with Gaussian noise from rng, of standard deviation sigma C in every coordinate."""
    ### BEGIN SOLUTION
    return total + noise_multiplier * clip_norm * rng.standard_normal(len(total))
    ### END SOLUTION


# %% nbgrader={"grade_id": "add_noise_checks", "points": 2}
def check_noise(clip_norm, noise_multiplier, size=20_000):
    total = np.linspace(-5, 5, size)
    before, rng = total.copy(), np.random.default_rng(2)
    first, second = (add_noise(total, clip_norm, noise_multiplier, rng) - before for _ in range(2))
    assert np.array_equal(total, before), "the caller's total was changed"
    for noise in (first, second):
        assert abs(noise.std() / (noise_multiplier * clip_norm) - 1) < 1 / 20
    assert abs(np.corrcoef(first, second)[0, 1]) < 1 / 20, "two calls share their noise"


check_noise(1.0, 1.0)
### BEGIN HIDDEN TESTS
check_noise(0.1, 1.0)
check_noise(1.0, 4.0)
check_noise(20.0, 0.3)
### END HIDDEN TESTS

# %% [markdown]
# ## 3. A secret divisor
#
# A Poisson batch has a random size, and whether you were drawn is part of it. The last line of a step divides the noisy
# sum, and this one looks innocent:

# %%
def divide_by_size(noisy, gradients):
    """The noisy sum (d,), divided by how many gradients there were."""
    return noisy / len(gradients)


# %% [markdown]
# **Show** that it gives the size away. Suppose that all gradients are zero, so that the noisy sum is noise alone.

# %% nbgrader={"grade_id": "read_size", "solution": true}
def read_size(published, clip_norm, noise_multiplier):
    """The size of the batch behind divide_by_size's output (d,), where all gradients were zero. Off by 1 at most."""
    ### BEGIN SOLUTION
    return round(noise_multiplier * clip_norm / np.std(published))
    ### END SOLUTION


# %% nbgrader={"grade_id": "read_size_checks", "points": 2}
def check_size(size, clip_norm, noise_multiplier, coordinates=20_000):
    noise = noise_multiplier * clip_norm * np.random.default_rng(size).standard_normal(coordinates)
    published = divide_by_size(noise, np.zeros((size, coordinates)))
    assert abs(read_size(published, clip_norm, noise_multiplier) - size) <= 1


check_size(7, 1.0, 1.0)
### BEGIN HIDDEN TESTS
check_size(3, 0.1, 2.0)
check_size(12, 5.0, 0.4)
check_size(25, 1.0, 8.0)
### END HIDDEN TESTS

# %% [markdown]
# **Mend** it, and with it put your whole step together: cut and sum, add noise, divide by a public number.

# %% nbgrader={"grade_id": "private_mean", "solution": true}
def private_mean(gradients, clip_norm, noise_multiplier, expected_batch, rng):
    """What one step releases (d,), from the gradients (n, d) of a Poisson batch, which may be empty."""
    ### BEGIN SOLUTION
    total = clipped_sum(gradients, clip_norm)
    return add_noise(total, clip_norm, noise_multiplier, rng) / expected_batch
    ### END SOLUTION


# %% nbgrader={"grade_id": "private_mean_checks", "points": 3}
def check_mean(size, clip_norm, noise_multiplier, expected_batch, coordinates=20_000):
    gradients = np.zeros((size, coordinates))
    gradients[:, 0] = 9 * clip_norm
    mean = private_mean(gradients, clip_norm, noise_multiplier, expected_batch, np.random.default_rng(3))
    unit = noise_multiplier * clip_norm / expected_batch
    assert mean.shape == (coordinates,) and abs(mean[1:].std() / unit - 1) < 1 / 20
    assert abs(mean[0] - size * clip_norm / expected_batch) < 6 * unit  # six standard deviations


check_mean(40, 1.0, 1.0, 50)
check_mean(0, 1.0, 1.0, 50)
### BEGIN HIDDEN TESTS
check_mean(90, 1.0, 1.0, 50)
check_mean(1, 0.2, 3.0, 8)
rows = np.random.default_rng(4).standard_normal((30, 5))
assert np.allclose(private_mean(rows, 2.0, 0.0, 16, np.random.default_rng(0)), clipped_sum(rows, 2.0) / 16)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Noise that comes back
#
# Results should be repeatable, so somebody passes a seed on:

# %%
def repeatable_releases(batches, seed):
    """One release for each batch, by your step; the same at every call with this seed."""
    return [private_mean(gradients, clip_norm, noise_multiplier, batch, np.random.default_rng(seed))
            for gradients in batches]


# %% [markdown]
# **Show** that this keeps no secret. The first batch happened to be empty, and everybody knows. You see both releases,
# and neither the seed nor the noise.

# %% nbgrader={"grade_id": "undo", "solution": true}
def undo(empty_release, release):
    """The second batch's clipped sum (d,), from two releases of repeatable_releases. Exact but for rounding."""
    ### BEGIN SOLUTION
    return (release - empty_release) * batch
    ### END SOLUTION


# %% nbgrader={"grade_id": "undo_checks", "points": 2}
def check_undo(size, seed, coordinates=100):
    secret = np.random.default_rng(size).standard_normal((size, coordinates))
    first, second = repeatable_releases([secret[:0], secret], seed)
    assert np.allclose(undo(first, second), clipped_sum(secret, clip_norm), atol=1e-9)  # float64, numbers of size 1


check_undo(1, seed=0)
### BEGIN HIDDEN TESTS
check_undo(60, seed=5)
check_undo(3, seed=2**40)
### END HIDDEN TESTS

# %% [markdown]
# **Mend** it: still repeatable, but no two steps share their noise. (Whoever knows the seed can still draw the noise
# again. So a seeded run is a demonstration, and not a release.)

# %% nbgrader={"grade_id": "releases", "solution": true}
def releases(batches, seed):
    """One release for each batch, by your step, with noise of its own; the same at every call with this seed."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    return [private_mean(gradients, clip_norm, noise_multiplier, batch, rng) for gradients in batches]
    ### END SOLUTION


# %% nbgrader={"grade_id": "releases_checks", "points": 2}
quiet = [np.zeros((0, 5000))] * 4  # four empty batches: their releases are noise alone
assert np.array_equal(releases(quiet, seed=7), releases(quiet, seed=7))
assert abs(np.corrcoef(releases(quiet, seed=7))[0, 1]) < 0.1  # seven standard deviations
### BEGIN HIDDEN TESTS
both = np.corrcoef([*releases(quiet, seed=7), *releases(quiet, seed=8)])
assert np.abs(both - np.eye(8)).max() < 0.1
assert abs(np.std(releases(quiet, seed=9)) * batch / (noise_multiplier * clip_norm) - 1) < 1 / 20
### END HIDDEN TESTS

# %% [markdown]
# ## 5. A question that the accountant cannot answer
#
# An accountant is told the noise, the sampling rate, the steps and delta, and believes them. A batch size is refused:

# %%
try:
    accounting.epsilon_pld(noise_multiplier=noise_multiplier, sampling_rate=batch, steps=steps, delta=delta)
except ValueError as refusal:
    print(refusal)

# %% [markdown]
# The next attempt ran, and was kept:

# %%
def epsilon_claimed(noise_multiplier, batch, records, steps, delta):
    return accounting.epsilon_pld(noise_multiplier=noise_multiplier, sampling_rate=1 / batch, steps=steps, delta=delta)


# %% [markdown]
# **Show** that the claim can be too small by half. (Not always: where does it happen to be right?) **Mend** it. At a
# delta of $1/N$ or more, a mechanism may publish a record; refuse that with a `ValueError`.

# %% nbgrader={"grade_id": "accountant", "solution": true}
def misleading():
    """A run for which epsilon_claimed gives less than half of the truth: a dict of its five arguments."""
    ### BEGIN SOLUTION
    return dict(noise_multiplier=1.0, batch=200, records=1000, steps=100, delta=1e-5)
    ### END SOLUTION


def epsilon_spent(noise_multiplier, batch, records, steps, delta):
    """Epsilon by PLD of that many steps, with batches of that expected size. ValueError if delta is not below 1 / N."""
    ### BEGIN SOLUTION
    if delta >= 1 / records:
        raise ValueError(f"delta={delta} must lie below 1/N = {1 / records:g}: at 1/N a record may be published.")
    return accounting.epsilon_pld(noise_multiplier=noise_multiplier, sampling_rate=batch / records, steps=steps,
                                  delta=delta)
    ### END SOLUTION


# %% nbgrader={"grade_id": "accountant_checks", "points": 3}
run = misleading()
assert run["delta"] < 1 / run["records"] and run["batch"] <= run["records"]
truth = accounting.epsilon_pld(noise_multiplier=run["noise_multiplier"], sampling_rate=run["batch"] / run["records"],
                               steps=run["steps"], delta=run["delta"])
assert math.isfinite(truth) and epsilon_claimed(**run) < truth / 2
assert epsilon_spent(**run) == truth
### BEGIN HIDDEN TESTS
for sigma, expected, size, times, slack in ((2.0, 64, 6000, 300, 1e-6), (0.9, 30, 900, 50, 1e-5)):
    asked = accounting.epsilon_pld(noise_multiplier=sigma, sampling_rate=expected / size, steps=times, delta=slack)
    assert epsilon_spent(sigma, expected, size, times, slack) == asked
for refused in (1 / 500, 0.01):
    try:
        epsilon_spent(1.0, 50, 500, 10, refused)
    except ValueError:
        pass
    else:
        raise AssertionError(f"delta={refused} is not below 1/500")
### END HIDDEN TESTS

# %% [markdown]
# **State** it. An epsilon alone says nothing. Fill in what it depends on, for a run of your `releases` with the numbers
# of the first cell.

# %% nbgrader={"grade_id": "statement", "solution": true}
statement = {
    "epsilon": None,  # by your function, rounded up (never down) to two decimals
    "delta": None,
    "adjacency": None,  # "add or remove one record" or "replace one record"
    "covers": None,  # "one step", "one epoch" or "all steps"
    "accountant": None,  # "moments", "RDP" or "PLD"
    "a person with two records has": None,  # "the same", "less" or "more" protection
}
### BEGIN SOLUTION
spent = epsilon_spent(noise_multiplier, batch, records, steps, delta)
statement |= {"epsilon": math.ceil(100 * spent) / 100, "delta": delta, "adjacency": "add or remove one record",
              "covers": "all steps", "accountant": "PLD", "a person with two records has": "less"}
### END SOLUTION

# %% nbgrader={"grade_id": "statement_checks", "points": 2}
assert None not in statement.values()
assert statement["delta"] < 1 / records
### BEGIN HIDDEN TESTS
truth = accounting.epsilon_pld(noise_multiplier=noise_multiplier, sampling_rate=batch / records, steps=steps,
                               delta=delta)
assert 0 <= statement["epsilon"] - truth < 0.01 + 1e-9  # rounded up, and by no more than a hundredth
assert statement["delta"] == delta and statement["adjacency"] == "add or remove one record"
assert statement["covers"] == "all steps" and statement["accountant"] == "PLD"
assert statement["a person with two records has"] == "less"
### END HIDDEN TESTS

# %% [markdown]
# ## 6. The audit
#
# An accountant prices the mechanism that was meant. An audit meets the one that runs. Here every record is a *canary*
# of the auditor's making: its gradient has a coordinate of its own and is long, so that clipping cuts it to $C$. A fair
# coin decides whether a canary is in the data at all. This is one run, with any step:

# %%
def audited_run(step, seed):
    """All releases of one run (T, m), and which of the m canaries were in (m,). step(gradients, rng): one release."""
    rng, canaries = np.random.default_rng(seed), records
    included = rng.random(canaries) < 0.5
    gradients = 5 * clip_norm * np.eye(canaries)
    drawn = [included & (rng.random(canaries) < batch / records) for _ in range(steps)]
    return np.array([step(gradients[each], rng) for each in drawn]), included


def mended_step(gradients, rng):
    return private_mean(gradients, clip_norm, noise_multiplier, batch, rng)


def broken_step(gradients, rng):
    return add_short_noise(clipped_sum(gradients, clip_norm), clip_norm, noise_multiplier, rng) / batch


# %% [markdown]
# **Score** the canaries from the releases: high for those that you believe were in. The library makes guesses of your
# scores, and from the right ones a bound on epsilon from below, with a confidence of nineteen in twenty.

# %% nbgrader={"grade_id": "scores", "solution": true}
def canary_scores(all_releases):
    """From releases (T, m), a score for each canary (m,)."""
    ### BEGIN SOLUTION
    return all_releases.sum(axis=0)
    ### END SOLUTION


# %% nbgrader={"grade_id": "scores_checks", "points": 3}
def bound(step, seed):
    all_releases, included = audited_run(step, seed)
    found = audit.audit(canary_scores(all_releases), included, delta=delta, level=0.05)
    print(f"{step.__name__}: {found.correct} of {found.guesses} guesses are right: epsilon is at least "
          f"{found.epsilon:.2f}; this audit could show {found.ceiling:.2f} at most")
    return found.epsilon


claim = accounting.epsilon_pld(noise_multiplier=noise_multiplier, sampling_rate=batch / records, steps=steps,
                               delta=delta)
assert bound(broken_step, seed=0) > claim, "the audit must refute the broken step"
assert 0 < bound(mended_step, seed=0) <= claim, "an audit shows something, and nothing that is not so"
### BEGIN HIDDEN TESTS
assert bound(broken_step, seed=1) > claim
assert bound(mended_step, seed=1) <= claim
guesses = canary_scores(np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.5]]))
assert guesses.shape == (3,) and guesses[1] > guesses[2] > guesses[0]
### END HIDDEN TESTS

# %% [markdown]
# **Read** the result. True or false?

# %% nbgrader={"grade_id": "reading", "solution": true}
audit_says = {
    "The broken step's claim is false, or the audit was unlucky, which happens once in twenty at most.": None,
    "The mended step's claim is proved.": None,
    "With these canaries and this level, no mechanism, however broken, gets a bound above the ceiling.": None,
    "The mended step's bound lies below its claim, so less noise would keep the claim.": None,
}
### BEGIN SOLUTION
audit_says = dict(zip(audit_says, (True, False, True, False)))
### END SOLUTION

# %% nbgrader={"grade_id": "reading_checks", "points": 2}
assert len(audit_says) == 4 and all(type(answer) is bool for answer in audit_says.values())
### BEGIN HIDDEN TESTS
assert list(audit_says.values()) == [True, False, True, False]
### END HIDDEN TESTS
