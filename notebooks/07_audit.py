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
# # What an audit can show
#
# After this chapter you can test a generator for copies of its training images, prove from a single training run that a
# mechanism's epsilon is *at least* so large, say how large that proof could have become at best, and tell an attack
# that failed from privacy that holds.
#
# **What the paper claims.** GANs may memorise training samples, and the paper's "synthetic data does not reveal
# individual data points": differential privacy is said to prevent memorisation {cite}`rewording`.
#
# **How we test it.** From three sides, none of which is a proof of safety. We look for memorisation, where a GAN
# without privacy should show it. We audit the private mechanism itself with records of our own making, and then break
# the mechanism to see that the audit notices. And we attack the generator as a stranger would, from its images alone.
#
# Proofs come from the accountant ({doc}`03_accountant`): it bounds epsilon from above, for every attack. An audit
# bounds it from below, with one attack. Both are needed, for an accountant proves things about the mechanism that was
# meant, and an audit meets the one that runs. Audits of published code keep finding violations; all of six
# implementations of one private GAN had some {cite}`pategan`.

# %% [markdown]
# ## Your parameters
#
# `papermill notebooks/07_audit.ipynb out.ipynb -p epsilon 3` audits a mechanism at another epsilon.

# %% tags=["parameters"]
epsilon = 10.0  # total privacy loss claimed, in nats; "inf": without privacy
dataset = "mnist"  # or "fashion_mnist", "digits" (embedded, small)
profile = "laptop"  # or "smoke" (seconds, plumbing only), "paper"
seed = 0  # deals out the images, and names the random numbers
canaries = 1000  # m: records that the auditor puts in, 100 to 5000

# %% [markdown]
# A name or a value that makes no sense is refused here, before any data is opened.

# %% tags=["remove-output"]
from dpgan_lib.studies.audit import study, tables
from dpgan_lib.studies.parameters import parameters_from

parameters = parameters_from(globals(), study.Parameters)

# %%
from dataclasses import asdict, replace

import numpy as np
from IPython.display import HTML, Markdown
from myst_nb import glue
from scipy.special import expit

from dpgan_lib.book.claims import PAPER, table
from dpgan_lib.privacy import audit
from dpgan_lib.records import store
from dpgan_lib.report import cards, numbers
from dpgan_lib.report.figures import epsilon_label, panels
from dpgan_lib.studies import registry
from dpgan_lib.studies.audit import claims, figures, memorisation
from dpgan_lib.studies.audit.canaries import TEST_LEVEL, Planted

privacy = study.run_of(parameters).privacy
print(f"N = {privacy.records} images, expected batch q N = {privacy.expected_batch}, "
      f"T = {privacy.steps} critic steps")
print(f"clip norm C = {privacy.clip_norm}, noise multiplier sigma = {privacy.noise_multiplier}")

# %% [markdown]
# Epsilon is a total for the training run, at the delta printed below, for adding or removing one image with its label,
# by the PLD accountant. Beside the run at your epsilon stands one without privacy: nothing can be said to be prevented
# that does not happen otherwise.

# %%
record, plain = (registry.obtain("audit", replace(parameters, epsilon=each))
                 for each in (parameters.epsilon, "inf"))
published = study.STUDY.comparable(store.published("audit"), parameters)
records = tables.sorted_by_privacy([*published, record, plain])
print(f"delta = {numbers.plain(study.DELTA)}")
print(cards.status(record))

# %% [markdown]
# ## Memorisation
#
# A small training set is where memorisation is to be expected: a GAN sees each of its few images many times. All images
# are dealt out at random into parts of equal size: one to train on, one that is *held out*, and two for later. Any
# image could have been in any part.

# %% tags=["hide-input"]
Markdown(cards.source(memorisation.deal))

# %% [markdown]
# Here are the first images that each generator draws, one of each class and uncurated, each above the training image
# and the held-out image that are nearest to it. Near means a small Euclidean distance between pixels: a public, fixed,
# and rather dumb metric, which takes a shifted digit for another one.

# %% mystnb={"image": {"alt": "For each generator ten generated images, and below each its nearest training image and its nearest held-out image"}}
by_name = {cards.run_name(each): each for each in (record, plain)}
figures.neighbours({name: store.read_samples(each) for name, each in by_name.items()})

# %% [markdown]
# A look proves little: people see likeness everywhere. Distances can be counted. If a generator has memorised, its
# images are nearer to the training images than to the held-out ones, and its first curve below lies left of the second.

# %% mystnb={"image": {"alt": "Distributions of the distance from generated images to the nearest training image and to the nearest held-out image, a panel for each generator"}}
panels([{"title": name, "xlabel": "distance between pixels in [-1, 1]",
                 "ylabel": "share of generated images", "linear": "xy",
                 "curves": tables.distance_curves(each)}
                for name, each in by_name.items()])

# %% [markdown]
# **A test.** The statistic was fixed beforehand: the share of generated images that are nearer to a training image than
# to any held-out one,
#
# ```{math}
# :label: eq-share
# s = \frac{1}{B} \sum_{j=1}^{B} \mathbf{1}\bigl[ \min_i d(g_j, x_i) < \min_i d(g_j, x'_i) \bigr] ,
# ```
#
# with generated images $g_j$, training images $x_i$ and held-out images $x'_i$; a tie counts half. What would $s$ be
# without memorisation? Not simply one half: the held-out images may by chance be more ordinary, and all $g_j$ come from
# one generator, so they are not independent. But a generator that kept nothing of the single images could not tell
# $x_i$ from $x'_i$, and these two were dealt out at random. So we swap each pair by a coin, many times, and see how
# often $s$ gets as large as it was.

# %% tags=["hide-input"]
Markdown(cards.source(memorisation.swap_test))

# %% tags=["hide-input"]
HTML(tables.nearest_table(records))

# %% tags=["remove-cell"]
found = [each for each in records if each.metrics["nearest"]["p_value"] <= claims.MEMORISES / len(records)]
for name, is_private in (("private", True), ("without", False)):
    runs = [each for each in records if (each.privacy["epsilon_asked"] != "inf") == is_private]
    glue(name, str(len(runs)), display=False)
    glue(f"found_{name}", str(sum(each in found for each in runs)), display=False)

# %% [markdown]
# At a level that is shared out among all runs in the table, the test finds memorisation in {glue:text}`found_without` of
# the {glue:text}`without` runs without privacy, and in {glue:text}`found_private` of the {glue:text}`private` private ones.
# Where it finds it in none of the former, private runs that show none say nothing about privacy: what did not happen was
# not prevented. A private run that does show it speaks against the paper's "prevents", not against differential privacy:
# a finite epsilon bounds what can be learnt of an image, and a large one allows much.
#
# The last column keeps us honest. A generator that learnt nothing has nothing to give away, and noise alone passes
# every test of memorisation. It is the accuracy, on the held-out images, of a logistic regression that was trained on
# the generated ones; guessing gets a tenth.
#
# The paper's claim, judged by a rule that was written before any run on MNIST and made stricter once ({doc}`10_claims`
# says how):

# %%
HTML(table(PAPER, store.published, "audit"))

# %% [markdown]
# A large p-value is not a proof of safety. It says that this metric and this many images show nothing; a generator may
# give a training image away in a mirror, in a mixture of two, or once in a million draws.
#
# ## The audit: one run, many canaries
#
# The promise is about one record, in or out. To see it broken one could train a thousand times with and without it. But
# DP-SGD hides many records at once, so a thousand *canaries* can be tried in one run {cite}`steinke`. The auditor flips
# a fair coin for each of $m$ canaries; those with heads are put into the training set. From what the run publishes they
# guess some of the coins. If the mechanism is $\varepsilon$-DP, a guess is right with probability at most
# $e^\varepsilon / (1 + e^\varepsilon)$, whatever the other coins were. So of $r$ guesses, the number of right ones,
# $V$, is hardly larger than a binomial $W \sim \text{Binomial}(r, e^\varepsilon / (1 + e^\varepsilon))$, and $\delta$
# adds a little:
#
# ```{math}
# :label: eq-one-run
# \Pr[V \ge v] \le \Pr[W \ge v] + 2 m \delta \, \max_{1 \le i \le m} \frac{\Pr[v > W \ge v - i]}{i} .
# ```
#
# The right-hand side is a p-value of "$(\varepsilon, \delta)$-DP", and every $\varepsilon$ that it refutes is a bound
# from below.

# %% tags=["hide-input"]
Markdown(cards.source(audit.p_value))

# %% [markdown]
# **Is the bound sound?** A mechanism whose epsilon we know: it tells each coin, and lies with probability $1 / (1 +
# e^\varepsilon)$. It is exactly $(\varepsilon, 0)$-DP, and the hardest case for {eq}`eq-one-run`. We audit it again and
# again, at one in twenty. No more than that share of the bounds may lie above the truth.

# %%
truth, repeats, level = 2.0, 1000, 0.05
rng = np.random.default_rng(seed)


def bound_of_a_liar(coins=500):
    included = rng.random(coins) < 0.5
    told = included ^ (rng.random(coins) > expit(truth))
    scores = told + rng.random(coins) / 2  # whom to guess about, by a coin
    return audit.audit(scores, included, delta=0, level=level).epsilon


# %%
bounds = np.array([bound_of_a_liar() for _ in range(repeats)])
print(f"true epsilon {truth} at delta = 0: median bound {np.median(bounds):.2f}")
print(f"{np.sum(bounds > truth)} of {repeats} bounds lie above it")
assert np.sum(bounds > truth) <= level * repeats + 3 * np.sqrt(level * repeats)

# %% [markdown]
# **The canaries.** A canary should be as easy to see as DP allows {cite}`instantiation`. Ours are gradients: a canary's
# row in the training set has, in place of its image's gradient, a vector of the auditor's choice. It is long, so that
# clipping cuts it to length $C$ exactly, and it is orthogonal to all other canaries: every canary gets coordinates of
# its own, dealt out at random, with random signs. It is sampled by the same coin of probability $q$, added to the same
# sum before the same noise. The library's mechanism runs as it is; only what enters its sum is changed:

# %% tags=["hide-input"]
Markdown(cards.source(Planted))

# %% [markdown]
# In every step the auditor projects what the mechanism releases on a canary's direction, and adds up over the steps.
# That is the canary's score. The scores at the top are guessed to be in, as many at the bottom to be out, and the rest
# is left open. How many was fixed beforehand, from $m$ alone, on simulated scores:

# %% tags=["hide-input"]
Markdown(cards.source(audit.guessed) + "\n\n" + cards.source(audit.correct_guesses))

# %% [markdown]
# There are two auditors. The first is the one of the definition: it knows all the data and which records were drawn,
# and so subtracts their part. For the second one the data's gradients are in the way, as noise that no accountant
# counts on.

# %% tags=["hide-input"]
HTML(tables.audits_table(records))

# %% [markdown]
# **The ceiling.** A small bound can mean two things: little leaks, or the auditor could not have shown more. Even if
# all $r$ guesses are right, {eq}`eq-one-run` refutes only so much, since luck can do as well; that is the *ceiling* of
# the audit, and no mechanism however broken gets a larger bound. A second yardstick is the same audit of the mechanism
# *alone*, without any data in the way; many such audits can be made, and their median is what a perfect auditor may
# expect of a mechanism that keeps its promise and no more.

# %% mystnb={"image": {"alt": "For each audit a line from zero to its ceiling, with marks at the bound that was shown, at the median bound of the mechanism alone, and at the claimed epsilon"}}
figures.ranges(tables.audit_rows(records),
                     f"from below: {epsilon_label(study.DELTA)}")

# %% [markdown]
# All bounds hold together with a confidence of {glue:text}`confidence`: each is made at a level that is shared out
# among all that are published (Bonferroni). A bound of a mechanism that keeps its claim must then lie below it:

# %%
kept = [each for each in records if each.metrics["alone"]]
assert all(outcome["epsilon"] <= tables.claim(each)
           for each in kept for outcome in each.metrics["audits"].values())

# %% tags=["remove-cell"]
shown = record.metrics["audits"]["knows the data"]
glue("shown", f"{shown['epsilon']:.2f}", display=False)
glue("ceiling", f"{shown['ceiling']:.2f}", display=False)
glue("confidence", f"{1 - study.LEVEL:.0%}", display=False)
glue("canaries", f"{shown['canaries']:,}", display=False)
glue("epsilon_asked", numbers.plain(parameters.base.target_epsilon), display=False)
glue("epsilon_spent", numbers.rounded_up(record.epsilon_spent), display=False)
glue("delta", numbers.plain(study.DELTA), display=False)
glue("status", cards.status(record), display=False)
glue("broken_claim", numbers.plain(study.BROKEN_CLAIM), display=False)
glue("broken_bound", f"{plain.metrics['audits']['knows the data']['epsilon']:.2f}", display=False)

# %% [markdown]
# So of the claim, epsilon {glue:text}`epsilon_asked` at delta {glue:text}`delta`, this audit shows {glue:text}`shown`,
# where {glue:text}`canaries` canaries could have shown {glue:text}`ceiling` at best. It refutes nothing, and it
# confirms nothing beyond that number.
#
# ## Controls: mechanisms that are broken
#
# An audit that never says "broken" is worthless. So we break the mechanism.
#
# **No noise and no clip.** The run without privacy is such a mechanism. Suppose it claimed epsilon
# {glue:text}`broken_claim`. The audit shows {glue:text}`broken_bound`:

# %%
broken = plain.metrics["audits"]["knows the data"]
assert broken["epsilon"] > study.BROKEN_CLAIM
print(f"{broken['correct']} of {broken['guesses']} guesses are right")

# %% [markdown]
# **Half of the noise.** That is a subtler fault, and the bounds above would miss it: the true epsilon of the broken
# mechanism is still beyond the ceiling, or hardly above the claim. A bound throws away what is known of a Gaussian
# mechanism: not one pair $(\varepsilon, \delta)$, but the whole trade-off curve $f$ that its $\sigma$, $q$ and $T$
# promise {cite}`dong`. Without data, orthogonal canaries are *independent* trials of the mechanism: each has noise of
# its own and a coin of its own. So errors can be counted, and Clopper-Pearson's intervals hold.

# %% tags=["hide-input"]
Markdown(cards.source(audit.is_refuted))

# %% [markdown]
# The threshold is fixed beforehand too, halfway between what the two kinds of canaries score on average. If a test kept
# its level on the correct mechanism, at most one in twenty would be false alarms:

# %% tags=["hide-input"]
HTML(tables.controls_table(kept))

# %% [markdown]
# From epsilon 1 on, every test sees that half of the noise is missing. Smaller claims hide more, and would need more
# trials.

# %%
halved = [each.metrics["alone"]["halved"] for each in kept if tables.claim(each) >= 1]
correct = [each.metrics["alone"]["correct"] for each in kept]
tests = sum(each["tests"] for each in correct)
alarms = sum(each["refuted"] for each in correct)
assert alarms <= TEST_LEVEL * tests
assert all(each["refuted"] == each["tests"] for each in halved)

# %% [markdown]
# ## An attack from outside
#
# The auditor above sees every step. A stranger sees what is released: images from the generator. This section is an
# **illustration**, not an audit: two known attacks, with a threshold that other images set, on one generator at each
# epsilon.
#
# *Distance* {cite}`ganleaks`: an image near to some generated one is called a training image. *Likelihood ratio*
# {cite}`lira`: an image that is far more likely under a density of the generated images than under that of other real
# ones is called a training image; so what is merely ordinary does not count.

# %% tags=["hide-input"]
Markdown(cards.source(memorisation.likelihood_scores))

# %% [markdown]
# The *advantage* of an attack is its true positive rate minus its false positive rate: zero for guessing, one for
# certainty. The threshold is the median score of a set of images that nothing else uses.

# %% mystnb={"image": {"alt": "Advantage of the two membership attacks for each generator, each with its interval, around zero for guessing"}}
figures.ranges(tables.attack_rows(records), "advantage (true minus false positive rate)")

# %% [markdown]
# The lines are intervals, as if both sets of images were independent of the generator: so a line without the zero is
# news. Where an attack works, the training images are not independent, and only other seeds tell how much it varies. As
# a table, beside the most that any attack can have on average against the same mechanism, by its trade-off curve:

# %% tags=["hide-input"]
HTML(tables.attacks_table(records))

# %% [markdown]
# ## What it costs, and where it breaks
#
# * **An audit proves too little.** It bounds epsilon from below. The proof from above is the accountant's.
# * **The ceiling grows slowly.** To refute one more nat takes about $e$ times as many canaries. No audit of this size
#   can tell a claim of epsilon 10 from a claim of 100.
# * **What a canary cannot see.** It enters after the gradients were computed, so that it tests sampling, sum, noise and
#   the steps' number, and neither the per-example gradients nor the norm by which they are clipped. Other tests hold
#   those to an explicit loop over records.
# * **What was tried for memorisation,** on scikit-learn's digits, once on distorted copies of them, and without a
#   record: from sixty to three hundred images, larger critics, a $W$ of bounded operator norms, no $L_I$. No trial of
#   about ten made the GAN memorise so clearly that the swap test, looked at some two dozen times, said more than
#   chance would. So the sizes here were not chosen for a result.
# * **All of this reads data.** Nearest neighbours and attacks look at training images. On private data they would be
#   releases of their own, and no epsilon here covers them. MNIST is public.
# * **A seeded run is a demonstration, not a release.**
#
# ## Exercises
#
# 1. With $\delta = 0$ and all $r$ guesses right, solve {eq}`eq-one-run` for the bound by hand. How many guesses does it
#    take to refute an epsilon of 10?
# 2. Why must the numbers of guesses be fixed before the scores are seen? Try it: in the audit of the liar, let the
#    auditor choose the number that gives the largest bound.
# 3. The second auditor does not know the data. Name two ways to help it that do not need the data.
# 4. A generator copies every training image, but shifts it by three pixels. What do the swap test and the two attacks
#    say?
# 5. Run the chapter with five times the canaries. What happens to the ceiling, and what to the bound?
#
# ````{dropdown} Solution 1
# $(e^\varepsilon / (1 + e^\varepsilon))^r = \alpha$ at level $\alpha$, so $\varepsilon = - \log (\alpha^{-1/r} - 1)$,
# and for large $r$ about $\log (r / \log(1 / \alpha))$. For an epsilon of 10, $r$ is about $e^{10} \log(1/\alpha)$; the
# first folded cell computes it.
# ````
#
# ````{dropdown} Solution 2
# The largest of several bounds, each right nineteen times in twenty, is right less often. The second folded cell counts
# how much less. Either fix the number, or share the level among all that are tried.
# ````
#
# ````{dropdown} Solution 3
# The critic's mean gradient changes slowly, so the release of the step before, or a moving average, predicts the data's
# part; subtract it. And a canary's draws are rare events of known size, so a likelihood ratio of each step is a better
# score than a sum. Both look at releases alone.
# ````
#
# ````{dropdown} Solution 4
# Nothing much: in pixel space a shifted digit is far from its original. A test is only as good as its metric, which is
# why a large p-value proves nothing.
# ````
#
# ````{dropdown} Solution 5
# The ceiling rises by almost $\log 5$, as in solution 1. The bound rises by less: with more guesses it gets surer of
# the same rate of right ones, and the rate is the mechanism's.
# ````

# %% tags=["hide-cell"]
needed = np.log(level) / np.log(expit(10))
print(f"{np.ceil(needed):,.0f} right guesses, and no wrong one")

# %% tags=["hide-cell"]
def best_of_many_numbers(coins=500):
    included = rng.random(coins) < 0.5
    told = included ^ (rng.random(coins) > expit(truth))
    order = rng.permutation(coins)
    right = np.cumsum((told == included)[order])
    return max(audit.one_run_bound(correct=int(right[r - 1]), guesses=r, canaries=coins, delta=0, level=level)
               for r in range(50, coins + 1, 50))


too_high = np.mean([best_of_many_numbers() > truth for _ in range(60)])
print(f"above the truth: {too_high:.0%} of the bounds, where {level:.0%} were promised")

# %% tags=["hide-input"]
defaults = asdict(study.Parameters()) | {"dataset": study.card(study.Parameters()).name}
HTML(cards.computed_by(records, "dpgan publish audit", defaults))
