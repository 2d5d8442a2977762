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
# # Audits: how much of a leak can be shown
#
# After this chapter you can test a generator for copies of its training images, prove from a single training run that a
# mechanism's epsilon is *at least* so large, say how large that proof could have become at best and what each
# assumption adds to it, see through a broken mechanism while it trains, and tell an attack that failed from privacy
# that holds.
#
# **What the paper claims.** GANs may memorise training samples, and the paper's "synthetic data does not reveal
# individual data points": differential privacy is said to prevent memorisation {cite}`rewording`.
#
# **How we test it.** From three sides, none of which is a proof of safety. We look for memorisation, where a GAN
# without privacy should show it. We audit the private mechanism itself with records of our own making, and then break
# the mechanism to see that the audit notices. And we attack the generator as a stranger would, from its images alone.
#
# Proofs come from the accountant ({doc}`03_accountant`): it bounds epsilon from above, for every attack. An audit
# bounds it from below, with one attack. Both are needed: an accountant proves things about the intended mechanism, and
# an audit tests the one that runs. Audits of published code keep finding violations; all of six implementations of one
# private GAN had some {cite}`pategan`.

# %% [markdown]
# ## Your parameters
#
# `papermill notebooks/07_audit.ipynb out.ipynb -p epsilon 3` audits a mechanism at another epsilon.

# %% tags=["parameters"]
epsilon = 10.0  # total privacy loss claimed, in nats; "inf": without privacy
dataset = "mnist"  # or "fashion_mnist", "digits" (embedded, small)
profile = "laptop"  # or "smoke" (seconds, plumbing only), "paper"
seed = 0  # deals out the images, and names the random numbers
canaries = 1000  # m: records that the auditor puts in, 100 to 3900

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
from dpgan_lib.studies.audit import canaries as planted
from dpgan_lib.studies.audit import claims, figures, memorisation, watch, whole
from dpgan_lib.studies.audit.alone import TEST_LEVEL

# %% [markdown]
# Three generators are trained at your epsilon: one whose images are looked at for memorisation, one with canaries in
# its training set, which is audited, and one with canaries by this book's whole method. Epsilon is a total for a
# training run, at the delta printed below, for adding or removing one image with its label, by the PLD accountant.
# Beside each of the first two stands one without privacy: we cannot call something prevented if it would not have
# happened anyway.

# %%
asked = study.Memorisation(epsilon=epsilon, dataset=dataset, profile=profile, seed=seed)
record, plain = (registry.obtain("audit", replace(asked, epsilon=each)) for each in (epsilon, "inf"))
published = study.MEMORISATION.comparable(store.published("audit"), asked)
records = tables.sorted_by_privacy([*published, record, plain])
print(f"delta = {numbers.plain(study.DELTA)}")
print(cards.status(record))

# %% [markdown]
# ## Memorisation
#
# A test that has never found anything proves nothing when it finds nothing. So the GANs here are built to memorise: few
# training images, a step of the generator after each of the critic's, and a critic whose weights are bounded by nothing
# but its slope. These settings were chosen on runs without privacy, with seeds 0 and 1, until the test below saw what
# they had learnt by heart; no private run had a say. So among the runs without privacy below, only those with other
# seeds are fresh evidence that the test works. Runs without privacy do not clip, either, so what the private ones are
# spared is the work of clipping and noise together. The images are dealt out at random into parts of equal size: one to
# train on, one that is *held out*, and two for the attacks at the end. Any image could have been in any part.

# %% tags=["remove-input"]
Markdown(cards.source(memorisation.deal))

# %% [markdown]
# Here are the first images that each generator draws, one of each class and uncurated, each above the training image
# and the held-out image that are nearest to it. Near means a small Euclidean distance between pixels: a public, fixed,
# and rather dumb metric, which takes a shifted digit for another one.

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each generator ten generated images, and below each its nearest training image and its nearest held-out image"}}
by_name = {cards.run_name(each): each for each in (record, plain)}
figures.neighbours({name: store.read_samples(each) for name, each in by_name.items()})

# %% [markdown]
# A look proves little: people see likeness everywhere. Distances can be counted. If a generator has memorised, its
# images are nearer to the training images than to the held-out ones, and its first curve below lies left of the second.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Distributions of the distance from generated images to the nearest training image and to the nearest held-out image, a panel for each generator"}}
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

# %% tags=["remove-input"]
Markdown(cards.source(memorisation.swap_test))

# %% tags=["hide-input"]
HTML(tables.nearest_table(records))

# %% tags=["remove-cell"]
rejects = claims.holm([each.metrics["nearest"]["p_value"] for each in records], claims.MEMORISES)
found = [each for each, is_found in zip(records, rejects) if is_found]
for name, is_private in (("private", True), ("without", False)):
    runs = [each for each in records if (each.privacy["epsilon_asked"] != "inf") == is_private]
    glue(name, str(len(runs)), display=False)
    glue(f"found_{name}", str(sum(each in found for each in runs)), display=False)

# %% [markdown]
# By Holm's correction for all runs in the table, the test finds memorisation in {glue:text}`found_without` of the
# {glue:text}`without` runs without privacy, and in {glue:text}`found_private` of the {glue:text}`private` private ones.
# Where no run without privacy shows memorisation, its absence in private runs says nothing about privacy: there was
# nothing to prevent. A private run that does show it speaks against the paper's "prevents", not against differential
# privacy: a finite epsilon bounds what can be learnt of an image, and a large one allows much.
#
# The last column keeps us honest. A generator that learnt nothing has nothing to give away, and noise alone passes
# every test of memorisation. It is the accuracy, on the held-out images, of a logistic regression that was trained on
# the generated ones; guessing gets a tenth.
#
# The paper's claim, judged by a rule that was written before any run on MNIST and changed since ({doc}`10_claims`
# says how):

# %% tags=["hide-input"]
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

# %% tags=["remove-input"]
Markdown(cards.source(audit.p_value))

# %% [markdown]
# **Is the bound sound?** We take a mechanism whose epsilon we know: it reveals each coin, but lies with probability $1
# / (1 + e^\varepsilon)$. It is exactly $(\varepsilon, 0)$-DP, and the hardest case for {eq}`eq-one-run`. We audit it
# again and again, each time allowing an error of one in twenty. So about one bound in twenty, at most, may lie above
# the truth.

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
# **The canaries.** A canary should be as easy to see as DP allows {cite}`instantiation`. Ours are records like any
# other: an image with a label, in the training set. A canary is drawn by the same coin of probability $q$, the critic
# scores it, its gradient is clipped, summed and hidden in the same noise. The auditor sees the critic before each step
# and so knows the gradient that a canary would add. These directions should be orthogonal, or canaries hide each other;
# and long, so that clipping cuts them to length $C$ exactly. A small patch of huge pixels in an even grey image does
# both:

# %% tags=["remove-input"]
Markdown(cards.source(planted.chosen))

# %% [markdown]
# In every step the auditor projects what the mechanism releases on a canary's clipped gradient, and adds up over the
# steps. That is the canary's score. The scores at the top are guessed to be in, as many at the bottom to be out, and
# the rest is left open. The number of guesses was fixed beforehand, from $m$ alone, on simulated scores:

# %% tags=["remove-input"]
Markdown(cards.source(audit.guessed) + "\n\n" + cards.source(audit.correct_guesses))

# %% [markdown]
# There are two auditors. The first is the one of the definition: it knows all the data, though not which records were
# drawn, and subtracts what the data adds on average. For the second one the data's gradients are unknown, and act as
# extra noise that no accountant counts on. Both know the canaries, and neither knows a coin, so both subtract half of
# the other canaries.

# %% tags=["remove-input"]
Markdown(cards.source(planted.guessing))

# %%
audited, broken = (registry.obtain("audit", replace(parameters, epsilon=each)) for each in (epsilon, "inf"))
published = study.STUDY.comparable(store.published("audit"), parameters)
audits = tables.sorted_by_privacy([*published, audited, broken])
private = [each for each in audits if each.metrics["alone"]]
privacy = study.run_of(parameters).privacy
print(f"N = {privacy.records} images, expected batch q N = {privacy.expected_batch}, "
      f"T = {privacy.steps} critic steps")
print(f"clip norm C = {privacy.clip_norm}, noise multiplier sigma = {privacy.noise_multiplier}")

# %% [markdown]
# ## Four estimators
#
# {eq}`eq-one-run` asks nothing of the mechanism, and pays for it: a guess is one bit, and all that a score says beyond
# it is thrown away. Whoever assumes more can show more. We put four estimators side by side, on the same run.
#
# *One run* is {eq}`eq-one-run` itself. *f-DP in one run* {cite}`fdpaudit` assumes that the mechanism's trade-off curve
# $f$ is a Gaussian's, and asks which laws of the number of right guesses it allows. Flip the coin of a canary that was
# guessed right: the same release now counts one right guess fewer. So with $p_j$ for the probability of $j$ right
# guesses of $r$,
#
# ```{math}
# :label: eq-fdp
# \sum_{j \ge i} \frac{j}{m} p_j \le 1 - f\Bigl( \sum_{j \ge i} \frac{r - j + 1}{m} p_{j-1} \Bigr) , \qquad
# i = 1, \dots, r .
# ```
#
# If no law with $\Pr[V \ge v] \ge \alpha$ keeps all of these, $f$ is refuted at level $\alpha$.

# %% tags=["remove-input"]
Markdown(cards.source(audit.is_possible))

# %% [markdown]
# *Gaussian DP* drops the guesses. It calls every canary "in" whose score is above a threshold, bounds both errors,
# $\alpha'$ and $\beta'$, and takes $\mu = \Phi^{-1}(1 - \alpha') - \Phi^{-1}(\beta')$; for that the canaries must be
# independent. *Gaussian mean* {cite}`askgauss` uses all of the score. If the noise is Gaussian and its scale $\tau$
# known, the score of a canary that is out is $N(0, \tau^2)$ and of one that is in $N(\mu \tau, \tau^2)$, and a
# one-sided confidence bound on the difference of means is one on $\mu$:
#
# ```{math}
# :label: eq-gauss
# \mu \ge \frac{\bar s_\text{in} - \bar s_\text{out}}{\tau}
#   - z_{1-\alpha} \sqrt{\frac{1}{m_\text{in}} + \frac{1}{m_\text{out}}} .
# ```
#
# Both end in an epsilon: two Gaussians of distance $\mu$ have
# $\delta(\varepsilon) = \Phi(-\varepsilon / \mu + \mu / 2) - e^\varepsilon \Phi(-\varepsilon / \mu - \mu / 2)$.

# %% tags=["remove-input"]
Markdown(cards.source(audit.gaussian_mean_bound))

# %%
for name, assumed in audit.BOUNDS.items():
    print(f"{name}: assumes {assumed}")

# %% [markdown]
# **The ceiling.** A small bound can mean two things: little leaks, or the auditor could not have shown more. So each
# bound stands beside what the same estimator shows of *ideal* canaries: exactly orthogonal ones, with no data in the
# way, at the mechanism that was claimed. These are simulated, many times; no audit by the same score, with as many
# independent canaries, may expect more. And no more than one in twenty of them may lie above the claim:

# %% tags=["hide-input"]
HTML(tables.ideal_table(private))

# %% tags=["hide-input"]
for name in audit.BOUNDS:
    found = [each.metrics["ideal"][name] for each in private]
    assert sum(each["above"] for each in found) <= tables.most_above(sum(each["audits"] for each in found))

# %% [markdown]
# The real run, on the data:

# %% tags=["hide-input"]
HTML(tables.audits_table(audits))

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each private run and estimator a line from zero to the claimed epsilon, with marks at the bound that was shown and at the median bound of ideal canaries"}}
figures.ranges(tables.audit_rows(private),
                     f"from below: {epsilon_label(study.DELTA)}")

# %% [markdown]
# Each of these bounds is too high one time in twenty, by chance. All of them hold together with a confidence of
# {glue:text}`confidence` if each is made at a level that is shared out among all that are published (Bonferroni). Made
# so, none may lie above its claim:

# %% tags=["hide-input"]
assert all(bound <= each.metrics["claimed"] for each in private
           for found in each.metrics["audits"].values() for bound in found["together"].values())

# %% tags=["remove-cell"]
shown = audited.metrics["audits"][planted.KNOWS_DATA]
glue("shown", f"{shown['bounds'][audit.GAUSSIAN_MEAN]:.2f}", display=False)
glue("shown_freely", f"{shown['bounds'][audit.ONE_RUN]:.2f}", display=False)
glue("ceiling", f"{audited.metrics['ideal'][audit.GAUSSIAN_MEAN]['median']:.2f}", display=False)
glue("limit", f"{audited.metrics['limit']:.2f}", display=False)
glue("confidence", f"{1 - study.LEVEL:.0%}", display=False)
glue("canaries", f"{parameters.canaries:,}", display=False)
glue("epsilon_asked", numbers.plain(parameters.base.target_epsilon), display=False)
glue("epsilon_spent", numbers.rounded_up(audited.epsilon_spent), display=False)
glue("delta", numbers.plain(study.DELTA), display=False)
glue("status", cards.status(audited), display=False)
glue("broken_claim", numbers.plain(study.BROKEN_CLAIM), display=False)
glue("patch", str(planted.PATCH), display=False)

# %% [markdown]
# So of the claim, epsilon {glue:text}`epsilon_asked` at delta {glue:text}`delta`, this run shows {glue:text}`shown` to
# whoever takes the noise for Gaussian and of the claimed size, and {glue:text}`shown_freely` to whoever assumes
# nothing. It refutes nothing, and it confirms nothing beyond these numbers.
#
# **What the rest is made of.** Three things lie between a claim and what {eq}`eq-gauss` shows of it.
#
# * *One score is not the whole run.* The accountant bounds the best test of all $T$ releases. The sum of projections is
#   one test: it weighs steps in which the canary was drawn like those in which it was not. Its own $\mu = q \sqrt{T} /
#   \sigma$ is worth {glue:text}`limit`, however many canaries there are. The loss is small where $\sigma$ is large,
#   which is why the audited run has large batches.
# * *Confidence.* With $m$ canaries, half of them in, the standard error of $\mu$ is $2 / \sqrt{m}$. At these values a
#   change of a tenth in $\mu$ moves epsilon by more than a half. Ideal canaries show {glue:text}`ceiling`.
# * *Real canaries.* Their gradients overlap a little, and the draws of the data and of the other canaries add some
#   noise. What remains is chance, in one direction or the other.

# %% tags=["hide-input"]
HTML(tables.gap_table(private))

# %% [markdown]
# More canaries narrow the second gap, until they no longer fit: {glue:text}`canaries` of them share the directions that
# patches of {glue:text}`patch` pixels a side and ten labels can give.
#
# ## The whole method
#
# This book's method ({doc}`05_mnist_tradeoff`) spends its epsilon in four places: on the noisy sums that prototypes are
# made of, on the mean embedding, on the reader's steps and on the critic's. An auditor can observe all four, and then
# combine what they saw. Say a canary's score in part $k$ is $N(\mu_k, 1)$ if it is in and $N(0, 1)$ if it is out. The
# best test of all parts weighs each score by its $\mu_k$, and the sum, divided by its own spread, has the shift
#
# ```{math}
# :label: eq-parts
# \mu = \sqrt{\mu_1^2 + \mu_2^2 + \dots} , \qquad \mu_k = \frac{q_k \sqrt{T_k}}{\sigma_k} .
# ```
#
# In a noisy sum $q = 1$ and $T$ is the number of rounds: there is no sampling, and every record enters each sum. In a
# step, the draws add a little to the spread of canaries that are in; it is left out here, for the noise is far larger.
#
# The canaries have to be loud in all four. The sums and the reader cut pixels to $[-1, 1]$, so a patch of huge pixels
# does nothing there. These canaries are noise: a quarter of their pixels huge, a quarter as far below zero, the rest
# black.

# %% tags=["remove-input"]
Markdown(cards.source(whole.chosen))

# %% [markdown]
# The run goes through the library's own code; the auditor reads the noisy sums from where the run keeps them, and every
# noisy mean as it is returned. Only the steps that read nothing but generated images are shortened, to save time: the
# fit to the noisy sums, and the reader's start. A canary that is out is a record without a category, which adds zero to
# everything; so the declared $N$ stays the same, whatever the coins say. (A fault that depends on how many records
# there are is therefore not seen here; the first kind of audit leaves canaries out of the data altogether.) Cut to
# $[-1, 1]$, canaries of the same label resemble each other. But fresh noise and draws know nothing of the coins. What
# canaries of a label share falls on those that are in and on those that are out alike, and is taken off. That leaves a
# spread below 1; the confidence bound still counts with 1, which is on the safe side. The canaries are not independent,
# though, so the Gaussian DP estimator has no place here, and the level of the others is approximate. For the guesses,
# each score is compared with the mean score of its label; without the coins one cannot subtract canaries that resemble
# each other, so guesses show little.

# %% tags=["remove-input"]
Markdown(cards.source(whole.fitted))

# %% tags=["hide-input"]
asked = study.Whole(**asdict(parameters))
published = study.WHOLE.comparable(store.published("audit"), asked)
heard = tables.sorted_by_privacy([*published, *([registry.obtain("audit", asked)] if epsilon != "inf" else [])])
HTML(tables.whole_table(heard))

# %% tags=["hide-input"]
assert all(bound <= each.metrics["claimed"] for each in heard
           for found in each.metrics["audits"].values() for bound in found["together"].values())

# %% [markdown]
# In the lines of a part, "claimed" is what the accountant says of that part alone; in the last line of a run, it is the
# accountant's epsilon for the whole run. The parts' epsilons do not add up to it. The squares of the shifts do, in
# {eq}`eq-parts`, and epsilon follows from their sum, exactly for Gaussian sums and nearly so for sampled steps. The
# last two columns say how much of its ideal shift a part really showed, and how long its canaries were on average, as a
# share of the most that a record may add: so much was to be expected. In the prototypes a record keeps some of its
# length for the deformation that it was aligned by; these canaries use little of it, and being warped blurs them. The
# reader's gradients end a little shorter than $C$. What differs from these lengths should be chance, and nothing here
# refutes the claim. Each bound is made at its own level and is too high at most one time in twenty, so some bound in
# this table may well be.
#
# **What it takes for granted.** These estimators believe that the noise has the claimed size; they test how far a
# record moves each part, how often it is drawn, and in how many steps. That the noise is what it should be is tested
# elsewhere: for the critic's steps further down this page, and for the sums and the reader by the library's tests.
#
# ## Controls: mechanisms that are broken
#
# An audit that never says "broken" is worthless. So we break the mechanism.
#
# **No noise.** The run without privacy is such a mechanism: it clips, and forgets its noise. Suppose it claimed epsilon
# {glue:text}`broken_claim`:

# %%
found = broken.metrics["audits"][planted.KNOWS_DATA]
assert max(found["together"].values()) > broken.metrics["claimed"]
print(f"{found['correct']} of {found['guesses']} guesses are right")
for name, bound in found["bounds"].items():
    print(f"{name}: {bound:.2f}")
print(f"the scores of canaries that are out spread by {found['fit']['spread_out']:.2f}, and their noise was to be 1")

# %% [markdown]
# Gaussian DP sees it: without noise, hardly a canary is on the wrong side of the threshold. The Gaussian mean does not,
# though it shows most of a mechanism that keeps its word: it assumes the noise that was claimed, and that noise is
# exactly what is missing here. The scores' spread says that its assumption fails. And the guesses of {eq}`eq-one-run`
# suffer from what the noise used to hide: without the coins, an auditor cannot remove the other canaries from a score.
# So the estimators fail in different places, and it takes several.
#
# **Half of the noise.** That is a subtler fault, and what a bound from below shows of it may still lie below the claim.
# But a claim says more than one pair $(\varepsilon, \delta)$: it is the whole trade-off curve $f$ that $\sigma$, $q$
# and $T$ promise {cite}`dong`. Without data, and with gradients along the axes, canaries are *independent* trials of
# the mechanism: each has noise of its own and a coin of its own. So errors can be counted, and Clopper-Pearson's
# intervals hold.

# %% tags=["remove-input"]
Markdown(cards.source(audit.is_refuted))

# %% [markdown]
# The threshold is fixed beforehand too, halfway between what the two kinds of canaries score on average. If a test kept
# its level on the correct mechanism, at most one in twenty would be false alarms:

# %% tags=["hide-input"]
HTML(tables.controls_table(private))

# %%
halved = [each.metrics["alone"]["halved"] for each in private if each.metrics["claimed"] >= 1]
correct = [each.metrics["alone"]["correct"] for each in private]
assert sum(each["refuted"] for each in correct) <= TEST_LEVEL * sum(each["tests"] for each in correct)
assert sum(each["refuted"] for each in halved) > sum(each["tests"] for each in halved) / 2

# %% [markdown]
# ## Watching a run
#
# Real mechanisms break in other ways: a bias gets no noise, a batch is cut to a shape, a resumed run spends its budget
# once more. Most of this changes no score by much. But an auditor can choose the run that they audit, and watch it.
# Ours chooses a training set of a few canaries and no data, and next to no noise. Then each noisy sum shows which
# canaries were drawn, and what is left is the noise itself. So everything that the accountant takes for granted can be
# looked at, step by step: the sizes of batches, the length of what each canary adds, the noise's spread, shape and
# independence, the number of releases, and whether the weights follow from the releases alone. The training is stopped,
# resumed, killed and resumed once more.

# %% tags=["remove-input"]
Markdown(cards.source(watch.Auditor.look))

# %% [markdown]
# The auditor stops at the first thing that a correct run hardly ever does. Looking at every step would find something
# sooner or later; so the level of step $t$'s tests is shrunk by $t (t + 1)$, and the sizes of batches are a bet, at
# fair odds, whose winnings exceed $1 / \alpha$ with probability $\alpha$ at most, however long one plays
# {cite}`sequentialaudit`. Here is every mutant of the mechanism that the library's tests know, and the step that gave
# it away:

# %% tags=["hide-input"]
seen = registry.obtain("audit", study.Watched(profile=profile))
HTML(tables.mutants_table(seen))

# %% tags=["hide-input"]
assert all(each["step"] is not None for each in seen.metrics["mutants"].values())
assert all(each["step"] is None for each in seen.metrics["correct"])

# %% tags=["remove-cell"]
glue("watched_steps", str(watch.STEPS), display=False)

# %% [markdown]
# Two of these need a word. *Small gradients stretched to C* is private all the same; the auditor sees that it is not
# the algorithm that was described. *Noise shared between epsilons* cannot be seen in one run, whatever its length: the
# auditor had looked at one step of another run before. Not in this list at all are faults of what comes before the
# critic's first step. The audit of the whole method hears noisy sums and noisy means, and nothing else. Data that
# reaches the generator in another way, say through prototypes that are aligned to images without noise, only makes it
# hear less. That takes two runs on neighbouring data, which is what the library's tests compare.
#
# Something too unlikely to be seen can still happen. A fault that shows once in a million batches, or from step
# {glue:text}`watched_steps` on, is beyond any audit of this length; that is what proofs and code reviews are for.
#
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

# %% tags=["remove-input"]
Markdown(cards.source(memorisation.likelihood_scores))

# %% [markdown]
# The *advantage* of an attack is its true positive rate minus its false positive rate: zero for guessing, one for
# certainty. The threshold is the median score of a set of images that nothing else uses.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Advantage of the two membership attacks for each generator, each with its interval, around zero for guessing"}}
figures.ranges(tables.attack_rows(records), "advantage (true minus false positive rate)")

# %% [markdown]
# The lines are intervals, as if both sets of images were independent of the generator: so a line without the zero is
# news. Where an attack works, the training images are not independent, and only other seeds tell how much it varies. As
# a table, beside the most that any attack can have on average against the same mechanism, by its trade-off curve for
# adding or removing one record (for an image in place of another it may be up to twice as much):

# %% tags=["hide-input"]
HTML(tables.attacks_table(records))

# %% [markdown]
# ## What it costs, and where it breaks
#
# * **An audit proves too little.** It bounds epsilon from below. The proof from above is the accountant's.
# * **Without assumptions the ceiling grows slowly.** To refute one more nat by {eq}`eq-one-run` takes about $e$ times
#   as many canaries. No such audit of this size can tell a claim of epsilon 10 from a claim of 100.
# * **With assumptions it is no longer a proof.** The Gaussian estimators take it for granted that the noise is what was
#   claimed. A mechanism that hides its leak from one projection, and shows it to another test, has a larger epsilon
#   than they say.
# * **Most of each batch is canaries.** What is audited is the code and the accounting, not the weights that somebody
#   will download.
# * **The positive control was looked for.** Weights clipped to a box, as in the paper, memorised nothing that the test
#   could see, neither with 300 images nor with 30. With bounded operator norms and a step of the generator after each
#   of the critic's, 20, 50 and 100 images were tried, with a seed or two each; all were given away, 50 most clearly.
#   These trials left no records. What stands on record is in the table above: the test finds {glue:text}`found_without`
#   of the {glue:text}`without` runs, and so far as it works, it speaks of GANs of that kind.
# * **The audited runs are no runs for use.** They have few records, so each batch holds a large share of them, and the
#   first kind takes few steps too. That was chosen so that an audit is affordable and its sums lose little; an audit of
#   a run with the batches of {doc}`05_mnist_tradeoff` would show less of its epsilon.
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
# 5. Run the chapter with three times the canaries. What happens to the ceiling of each estimator, and what to the
#    bounds?
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
# With all guesses right, {eq}`eq-one-run` rises by almost $\log 3$, as in solution 1; its bound rises by less, because
# more guesses only measure the same rate of right ones more precisely. The Gaussian mean's distance from its limit
# shrinks by $\sqrt 3$, and the real run's by less: more canaries meet more often.
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
defaults = asdict(study.Parameters()) | {"dataset": study.plan(study.Parameters()).card.name}
HTML(cards.computed_by(audits, "dpgan publish audit", defaults))

# %% tags=["hide-input"]
defaults = asdict(study.Whole()) | {"dataset": study.plan_whole(study.Whole()).card.name}
HTML(cards.computed_by(heard, "dpgan publish audit", defaults))

# %% tags=["hide-input"]
defaults = asdict(study.Memorisation()) | {"dataset": study.plan_memorisation(study.Memorisation()).card.name}
HTML(cards.computed_by(records, "dpgan publish audit", defaults))

# %% tags=["hide-input"]
HTML(cards.experiment_card([seen], "dpgan publish audit"))
