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
# # Your question, executed
#
# People who train with differential privacy ask much the same questions in public, and some of those threads are open
# to this day. This page answers fifteen of them. Each answer is a paragraph and a cell, and the cell *asserts* what
# the paragraph says, by this book's library: if an answer were wrong, this page could not be published. The threads are
# linked, so that you can read who asked and what was said there; the words here are our own.
#
# Nothing is trained here, and the only data are scikit-learn's public digits.

# %% [markdown]
# ## Your parameters
#
# Five numbers of a run, for those answers that are about a run of yours:
# `papermill notebooks/12_questions.ipynb out.ipynb -p epsilon 3`.

# %% tags=["parameters"]
noise_multiplier = 1.0  # sigma: the noise, in units of C, 0.1 to 1000
sampling_rate = 0.01  # q: probability to enter a batch, in (0, 1]
steps = 2000  # T: noisy steps of the whole run, an integer
delta = 1e-5  # total for the run, below 1/N
epsilon = 1.0  # nats, total, add/remove one record: the budget to plan for

# %% [markdown]
# A name or a value that makes no sense is refused here.

# %% tags=["remove-output"]
from dpgan_lib.studies.accountant import study as accountant
from dpgan_lib.studies.parameters import parameters_from

asked = parameters_from(globals(), accountant.Parameters)

# %%
import inspect
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.special import log_ndtr
from scipy.stats import chi2

from dpgan_lib import data
from dpgan_lib.gan import loop, networks
from dpgan_lib.gan import steps as gan_steps
from dpgan_lib.gan.latent import category
from dpgan_lib.gan.state import draw_latent, new_state
from dpgan_lib.measures import probe
from dpgan_lib.privacy import accounting, budget, renyi_filter
from dpgan_lib.privacy.accounting import SampledGaussian, epsilon_pld, spent_pld
from dpgan_lib.privacy.audit import epsilon_lower_bound
from dpgan_lib.privacy.calibration import calibrate_noise, calibrate_noise_rdp
from dpgan_lib.privacy.clipping import clipped_sum
from dpgan_lib.privacy.mechanism import noisy_mean, noisy_sum, poisson_sample
from dpgan_lib.privacy.streams import stream
from dpgan_lib.studies.private_step import study as private_step
from dpgan_lib.studies.wasserstein import toy
from dpgan_lib.studies.wasserstein.distance import mlp

run = dict(noise_multiplier=asked.noise_multiplier,
           sampling_rate=asked.sampling_rate, steps=asked.steps,
           delta=asked.delta)

# %% [markdown]
# Where an answer needs a critic and a batch, it takes these: the small critic of {doc}`04_private_step` as it is
# before its first step, a Poisson batch of digits, and as many fakes from a generator that has learnt nothing.

# %%
config = private_step.run_of(private_step.Parameters())
privacy = config.privacy
C, sigma, B = privacy.clip_norm, privacy.noise_multiplier, privacy.expected_batch
files = data.load("digits", progress=False)
digits = loop.on_device(config, files.train_images, files.train_labels)
state = new_state(config, torch.device("cpu"))
critic = state.critic
drawn = poisson_sample(privacy.records, privacy.sampling_rate,
                       stream(config.hash, "sampling", 0))
real = digits.images[drawn], digits.categories[drawn]
z, code = draw_latent(config, B, 0, torch.device("cpu"))
fake = state.generator(z, code).detach(), category(config.latent, code)

# %% [markdown]
# ## The mechanism
#
# ### Is it safe to divide by the expected batch, rounded down?
#
# Asked in [Opacus 819](https://github.com/meta-pytorch/opacus/issues/819) and
# [420](https://github.com/meta-pytorch/opacus/issues/420). It is safe if the divisor is a constant that was declared
# before the data was opened. It is not if it is computed from the number of records: take one record away, $qN$ falls
# below a whole number, the divisor drops by one, and all of the noise grows with it. Whoever sees many coordinates
# can measure how large the noise is. Below, the gradients are all zero, so nothing but the divisor can give you away;
# and with a hundred times the noise it gives away just as much, for the noise's own size cancels.

# %%
q, coordinates = 0.01, 10_000
with_you, without = math.floor(q * 1000), math.floor(q * 999)  # the divisors
squares = chi2.ppf(np.linspace(1e-6, 1 - 1e-6, 2001), coordinates)  # of lengths
shown = epsilon_lower_bound(
    hits=chi2.cdf(squares, coordinates), delta=1e-5,
    false_alarms=chi2.cdf(squares * (without / with_you) ** 2, coordinates))
claimed = epsilon_pld(noise_multiplier=100, sampling_rate=q, steps=1, delta=1e-5)
print(f"claimed {claimed:.2g}, shown by one step's noise {shown:.0f}")
assert shown > 100 > 1 > claimed

# %% [markdown]
# In this library the expected batch is a field of the configuration, a whole number, and $q$ follows from it and from
# the *declared* $N$. Nothing is rounded, and the true number of records does not enter:

# %%
def released(batch):
    return probe.flat(noisy_mean(
        critic, batch, clip_norm=C, noise_multiplier=sigma, expected_batch=B,
        rng=stream(config.hash, "noise", 0)))


nobody = real[0][:0], real[1][:0]
empty, full = released(nobody), released(real)
clipped = probe.flat(clipped_sum(critic, real, C)) / B
assert torch.allclose(full - empty, clipped, atol=1e-6)  # the noise is the same
assert replace(privacy, records=privacy.records - 1).expected_batch == B

# %% [markdown]
# ### Must the fakes get noise too?
#
# Asked in [Opacus 418](https://github.com/meta-pytorch/opacus/issues/418) and [TensorFlow Privacy
# 128](https://github.com/tensorflow/privacy/issues/128). No. A fake is made by a generator that has learnt from noisy
# gradients alone, so it is post-processing, and its gradient costs nothing. An optimiser that adds noise at every
# backward pass adds it to the fakes as well, and an accountant that counts those passes charges twice. Clipping the
# fakes is another matter: it is free, and keeps the two halves of the critic's objective equal. Here a step meets an
# empty batch, so that all of its randomness is the real half's.

# %%
def gradient_of_step(noise):
    still = torch.optim.SGD(critic.parameters(), lr=0.0)
    gan_steps.critic_step(critic, still, nobody, fake,
                          replace(privacy, noise_multiplier=noise), True,
                          stream(config.hash, "noise", 0))
    return torch.cat([weight.grad.flatten() for weight in critic.parameters()])


fakes_alone = probe.flat(clipped_sum(critic, fake, C)) / len(fake[0])
assert torch.equal(gradient_of_step(0.0), fakes_alone)  # no noise of their own
assert torch.allclose(gradient_of_step(sigma), fakes_alone - empty, atol=1e-6)

# %%
twice = run | dict(steps=2 * asked.steps)  # charged for real and fake passes
print(f"once {epsilon_pld(**run):.2f}, twice {epsilon_pld(**twice):.2f}")
assert epsilon_pld(**run) < epsilon_pld(**twice)

# %% [markdown]
# ### How does a gradient penalty fit in?
#
# Asked in [Opacus 31](https://github.com/meta-pytorch/opacus/issues/31), and often since. The penalty of WGAN-GP
# {cite}`wgangp` is taken at a mixture of a real and a fake image, so it reads the real one. Then it belongs *inside*
# the loss of that record, before its gradient is clipped: one record, one loss, one gradient, one clip. Added
# outside, a single record moves the step as far as it likes. The same goes for a batch whose penalty couples records:
# the pair must be one real record and one fake.

# %%
rng = stream(config.hash, "evaluation", 0)
small_critic = mlp(toy.CRITIC, rng)
x = torch.tensor([[1e6, -1e6]]).double()  # one strange record
y = torch.from_numpy(rng.normal(size=(1, 2)))
mix, weight = torch.tensor([[0.5]]).double(), torch.tensor([1e4]).double()
whole = toy.example_gradients(small_critic, toy.penalised_loss, x, y, mix, weight)
alone = toy.example_gradients(small_critic, toy.real_loss, x)
penalty = whole - alone
assert toy.clip(whole, C).norm() <= C * (1 + 1e-9)  # inside
assert (toy.clip(alone, C) + penalty).norm() > 100 * C  # outside

# %% [markdown]
# Cheaper is to keep the critic in $W$ by projecting its weights: that sees no data, so it is free, and it is what Eq.
# 1 asks for. {doc}`02_wasserstein` compares the ways under privacy. Clipping *weights* is not instead of clipping
# gradients, though ([dpwgan 2](https://github.com/civisanalytics/dpwgan/issues/2) asks): it makes no gradient short
# enough for the noise.

# %%
critic.project()
norms = probe.per_example_gradients(critic, *real).norm(dim=1)
assert norms.max() > 1.1 * C  # though the weights are in W

# %% [markdown]
# ### Poisson batches or shuffled ones?
#
# Asked in [Opacus 80](https://github.com/meta-pytorch/opacus/issues/80), [TensorFlow Privacy
# 483](https://github.com/tensorflow/privacy/issues/483) and [private-transformers
# 7](https://github.com/lxuechen/private-transformers/issues/7). Whichever you account for. The usual epsilon is that
# of Poisson batches, where every record decides for itself; to train on shuffled batches and report that number is to
# promise more than is kept {cite}`chua`. The cell proves it for an epoch of a hundred batches, by the event that the
# largest noisy sum is large: the spy's best bet on a day on which all other gradients point away from yours. An
# honest number for one shuffled epoch is one Gaussian step without amplification.

# %%
noise, batches = 0.7, 100
threshold = np.linspace(0, 2 + 8 * noise, 2001)
others = (batches - 1) * log_ndtr(threshold / noise)
with_you, without = (-np.expm1(others + log_ndtr((threshold - yours) / noise))
                     for yours in (2, 1))
shown = epsilon_lower_bound(hits=with_you, false_alarms=without, delta=1e-5)
told = dict(noise_multiplier=noise, delta=1e-5)
claimed = epsilon_pld(**told, sampling_rate=1 / batches, steps=batches)
honest = epsilon_pld(**told, sampling_rate=1, steps=1)
print(f"claimed {claimed:.2f}, shown {shown:.2f}, honest {honest:.2f}")
assert claimed < shown <= honest

# %% [markdown]
# ### What is the sign of the real loss?
#
# Asked in [synthcity 330](https://github.com/vanderschaarlab/synthcity/issues/330), where the private branch of a GAN
# had another sign than the other one. The critic *climbs* on $\mathbb{E}_x f_w(x) - \mathbb{E}_{z,c} f_w(G(z,c))$, so
# an optimiser, which descends, is given the fakes' gradient minus the real one. When the halves are computed apart,
# as they must be under privacy, a flipped sign raises no error: the critic then learns to score all images low, and
# the generator follows it anywhere. A test is short: without noise, a small step must widen the gap.

# %%
def gap():
    with torch.no_grad():
        return float(critic(*real).mean() - critic(*fake).mean())


before = gap()
descent = torch.optim.SGD(critic.parameters(), lr=1e-3)
gan_steps.critic_step(critic, descent, real, fake,
                      replace(privacy, noise_multiplier=0.0), True,
                      stream(config.hash, "noise", 0))
print(f"gap {before:.4f} before, {gap():.4f} after")
assert gap() > before

# %% [markdown]
# ## The numbers
#
# ### How do I set epsilon, the clip and the noise?
#
# Asked in [Opacus 2](https://github.com/meta-pytorch/opacus/issues/2), [pyvacy
# 2](https://github.com/ChrisWaites/pyvacy/issues/2) and [Opacus
# 11](https://github.com/meta-pytorch/opacus/issues/11). Choose epsilon and delta first: they are the promise. Then
# $q$ and $T$, by what training needs. The noise multiplier follows, before any data is opened. The clip norm does not
# enter: noise is counted in units of it, so it is a question of utility, much like a learning rate.

# %%
noise = calibrate_noise(epsilon=asked.epsilon, delta=asked.delta,
                        sampling_rate=asked.sampling_rate, steps=asked.steps)
spent, with_less = (epsilon_pld(**run | dict(noise_multiplier=tried))
                    for tried in (noise, noise - 0.001))
print(f"noise multiplier {noise:g} spends {spent:.4f} of {asked.epsilon:g}")
assert spent <= asked.epsilon < with_less
assert "clip_norm" not in inspect.signature(calibrate_noise).parameters

# %% [markdown]
# {doc}`../book/live_accountant` does the same in your browser, with sliders.
#
# ### Why does an accountant fail when epsilon is above 10?
#
# Asked in [Opacus 601](https://github.com/meta-pytorch/opacus/issues/601) and
# [604](https://github.com/meta-pytorch/opacus/issues/604), and at the source, [prv_accountant
# 36](https://github.com/microsoft/prv_accountant/issues/36) and
# [42](https://github.com/microsoft/prv_accountant/issues/42). Nothing happens at 10. An accountant that composes
# privacy losses numerically puts them on a grid and checks itself; with little noise the losses spread over a range
# for which the grid or the checks were not made, and it refuses. That says nothing about the guarantee. This library
# lets the intervals grow with the range, which costs digits and never soundness. The cell asks for the setting of the
# last thread and for worse; a second accountant, which has no such grid, bounds every answer from above.

# %%
for noise, q, T in ((1.0, 0.2, 500), (0.5, 0.1, 1000), (0.3, 0.5, 100)):
    large = dict(noise_multiplier=noise, sampling_rate=q, steps=T, delta=1e-5)
    by_pld, by_rdp = epsilon_pld(**large), accounting.epsilon_rdp(**large)
    print(f"sigma {noise}, q {q}, T {T}: PLD {by_pld:.1f}, RDP {by_rdp:.1f}")
    assert 10 < by_pld < by_rdp < math.inf

# %% [markdown]
# Whether to *use* such an epsilon is another question: $e^{10}$ is more than twenty thousand.
#
# ### Why is more epsilon no better?
#
# Asked in [SmartNoise 606](https://github.com/opendp/smartnoise-sdk/issues/606) and [Opacus
# 361](https://github.com/meta-pytorch/opacus/issues/361). Epsilon buys less noise and nothing else. What remains when
# the noise is gone remains: the bias of clipping, a GAN's own troubles, a network too small. The cell takes a mean of
# private gradients over a whole run of $T = 2000$ steps, as if the true one stood still, and splits its error. The
# noise is averaged out the better the larger the budget; the bias of clipping is the same in every step, so it is no
# smaller at the end. From some budget on it is all that one sees.

# %%
exact = probe.flat(clipped_sum(critic, real, math.inf))
short = C / 10  # so that every gradient is clipped
clipped = probe.flat(clipped_sum(critic, real, short))
stretched = clipped * (exact.norm() / clipped.norm())  # the rate makes up for length
bias = float((stretched - exact).norm() / exact.norm())
unit = short * math.sqrt(len(exact)) / float(clipped.norm())  # noise, if sigma is 1
print(f"left by clipping: {bias:.3f} of the gradient")

# %%
error, T = {}, 2000
for target in (1, 10, 1000, 100_000):
    noise = calibrate_noise_rdp(epsilon=target, delta=1e-5, sampling_rate=0.01,
                                steps=T)
    error[target] = math.hypot(bias, noise * unit / math.sqrt(T))
    print(f"epsilon {target:7,}: error {error[target]:.3f} of the gradient")
assert error[1] > 2 * error[10]
assert bias < error[100_000] < error[1000] < 1.05 * error[100_000]

# %% [markdown]
# {doc}`05_mnist_tradeoff` measures the same on trained generators. If quality falls while epsilon grows, look at what
# else changed: a package that stops when its budget is spent trains longer under a larger one.
#
# ### What happens at a tiny epsilon?
#
# Asked in [private-transformers 15](https://github.com/lxuechen/private-transformers/issues/15) and [SmartNoise
# 594](https://github.com/opendp/smartnoise-sdk/issues/594). The noise must grow about as fast as epsilon falls, until
# nothing of the gradient is left. There is no trick: the remedy is more records, or fewer steps, or to ask for less
# than images. Some accountants refuse altogether, because theirs cannot express so little; that is a limit of the
# accountant, as the last line shows.

# %%
base = dict(delta=1e-6, steps=100)
small, tiny = (calibrate_noise(epsilon=target, sampling_rate=0.05, **base)
               for target in (0.4, 0.04))
more = calibrate_noise(epsilon=0.04, sampling_rate=0.005, **base)
print(f"noise {small:.1f}; at a tenth of epsilon {tiny:.1f}; "
      f"there, with ten times the records {more:.1f}")
assert 8 < tiny / small < 12 and 8 < tiny / more < 12

# %%
try:
    calibrate_noise_rdp(epsilon=0.004, sampling_rate=0.05, **base)
except ValueError as refusal:
    print("by RDP:", str(refusal).partition(":")[0])
found = calibrate_noise(epsilon=0.004, sampling_rate=0.05, **base)
print(f"by PLD: noise {found:.0f}")
assert found < 1000

# %% [markdown]
# ### Why does a paper's configuration not give its epsilon?
#
# Asked in [DPSDA 6](https://github.com/microsoft/DPSDA/issues/6) and [TensorFlow Privacy
# 85](https://github.com/tensorflow/privacy/issues/85) and [174](https://github.com/tensorflow/privacy/issues/174). In
# that order of likelihood: another delta; epochs where the accountant takes steps; neighbours that differ by
# replacing a record, which is up to twice as far; another accountant; and a slip of the pen. The first thread was
# one: an author confirmed that the run had $T = 5$ and $\sigma = 2\sqrt2$, where the appendix said $T = 20$ and
# $\sigma = \sqrt2$. An accountant finds such things in a second.

# %%
whole = dict(sampling_rate=1, delta=1e-5)
printed = epsilon_pld(noise_multiplier=math.sqrt(2), steps=20, **whole)
confirmed = epsilon_pld(noise_multiplier=2 * math.sqrt(2), steps=5, **whole)
print(f"as printed {printed:.2f}, as it was run {confirmed:.2f}")
assert round(confirmed, 2) == 3.34 and printed > 4 * confirmed

# %% [markdown]
# ## The promise
#
# ### What is guaranteed, and to whom?
#
# Asked in [fast-differential-privacy 27](https://github.com/awslabs/fast-differential-privacy/issues/27) and
# [TensorFlow Privacy 71](https://github.com/tensorflow/privacy/issues/71). To one *record*: whether it is in the data
# or not changes what anyone can conclude from all that is published by a factor $e^\varepsilon$ at most, but for a
# probability delta. A person with $k$ records has less, and more than proportionally less. Who wants to protect
# persons makes a person the record, as {doc}`08_celeba_specificity` does. And delta must lie well below $1/N$, or to
# publish a record picked at random would satisfy it.

# %%
trained = dict(noise_multiplier=4.0, sampling_rate=0.01, steps=1000, delta=1e-5)
one, of_five = epsilon_pld(**trained), accounting.epsilon_of_group(5, **trained)
print(f"one record {one:.2f}; a person with five {of_five:.2f}")
assert of_five > 5 * one

# %% [markdown]
# ### Is tuning in epsilon?
#
# Asked in [TensorFlow Privacy 76](https://github.com/tensorflow/privacy/issues/76) and [LeakPro
# 438](https://github.com/aidotse/LeakPro/pull/438). Not by itself. Train ten times on the same private data, keep the
# best, and the best tells more than any one of them. Either pay for all tries, or draw a random number of them and
# pay less {cite}`papernot`, or tune on public data, which is what this book does. The cell proves the leak for the
# best of ten.

# %%
tries, noise = 10, 4.0
threshold = np.linspace(-20, 40, 4001)
with_you, without = (-np.expm1(tries * log_ndtr((threshold - yours) / noise))
                     for yours in (1, 0))
shown = epsilon_lower_bound(hits=with_you, false_alarms=without, delta=1e-5)
claimed, paid = (epsilon_pld(noise_multiplier=noise, sampling_rate=1, steps=times,
                             delta=1e-5) for times in (1, tries))
print(f"claimed {claimed:.2f}, shown {shown:.2f}, paid for {paid:.2f}")
assert claimed < shown <= paid

# %% [markdown]
# ### Do label frequencies or feature bounds leak?
#
# Asked in [SmartNoise 484](https://github.com/opendp/smartnoise-sdk/issues/484) and
# [485](https://github.com/opendp/smartnoise-sdk/issues/485). Yes: an exact count, a minimum, a mean, anything that is
# computed from the records is a release, also when it is only used to sample conditions or to scale inputs. One
# record changes an exact count for certain, and no epsilon covers that. Declare bounds before you look, and take
# counts with noise, as one more mechanism in the same composition. That is cheap:

# %%
an_exact_count = epsilon_lower_bound(hits=[1], false_alarms=[0], delta=1e-5)
training = SampledGaussian(noise_multiplier=1.0, sampling_rate=0.01, steps=2000)
counting = SampledGaussian(noise_multiplier=20.0, sampling_rate=1.0, steps=1)
alone = spent_pld([training], 1e-5)
both = spent_pld([training, counting], 1e-5)
print(f"epsilon {alone:.3f} without counts, {both:.3f} with them")
assert an_exact_count == math.inf
assert alone < both < 1.05 * alone

# %%
counts = digits.categories.sum(0)  # one record moves one of these by 1
noisy = noisy_sum(counts, counting.noise_multiplier, stream(config.hash, "evaluation", 1))
print(f"{counts[0]:.0f} zeros, told as {noisy[0]:.0f}")

# %% [markdown]
# ### Can I have a budget that nothing overspends?
#
# Asked in [pyvacy 2](https://github.com/ChrisWaites/pyvacy/issues/2) and [DP-FedSAM
# 3](https://github.com/YMJS-Irfan/DP-FedSAM/issues/3): epsilons of several trainings add up, so who keeps count? Here
# a file does. It is declared once for a population, every release reserves what it may cost before its data is
# opened, and one that does not fit is refused. `dpgan release --budget` uses it.

# %%
planned = renyi_filter.mechanism("critic", noise_multiplier=2.0,
                                 sampling_rate=0.01, steps=1000)
release = dict(unit="one patient", records=10_000, mechanisms=[planned])
granted = []
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "ours.budget"
    budget.create(file, population="our patients", epsilon=1.0, delta=1e-6,
                  unit="one patient")
    for name in ("first", "second"):
        try:
            budget.reserve(file, name, **release)
            granted.append(name)
        except ValueError as refusal:
            print(str(refusal).partition(": ")[2])
assert granted == ["first"]

# %% [markdown]
# ### Does it work in colour?
#
# Asked in [DP-MERF 1](https://github.com/ParkLabML/DP-MERF/issues/1). The mechanism does not know what a pixel is:
# colour images are clipped to the same length and cost the same epsilon. What changes is the work that is left to do.
# A colour critic has more weights, each of which gets noise, and what there is to learn is harder.
# {doc}`08_celeba_specificity` does it for faces, and shows what that took.

# %%
rng = stream(config.hash, "evaluation", 2)
in_colour = networks.Critic(config.latent, replace(config.model, channels=3))
pictures = torch.from_numpy(rng.uniform(-1, 1, (16, 3, 28, 28))).float()
for picture, label in zip(pictures, real[1]):
    alone = clipped_sum(in_colour, (picture[None], label[None]), C)
    assert probe.flat(alone).norm() <= C
weights, grey = (sum(part.numel() for part in network.parameters())
                 for network in (in_colour, critic))
print(f"{weights:,} weights, {grey:,} in grey: "
      f"the noise is {math.sqrt(weights / grey):.2f} times as long")
assert weights > grey

# %% [markdown]
# ## What it costs, and where it breaks
#
# * **An assertion holds for its numbers.** Most cells use one setting, chosen to make the point; the chapters say how
#   far each goes.
# * **A lower bound is an attack on a bad day.** It refutes a claim; it does not say what an attack on your data would
#   find. {doc}`07_audit` is about that.
# * **Threads change.** The links were read when this page was written.
#
# ## Exercises
#
# 1. Change $q$ in the first answer so that $qN$ is never close to a whole number. Is the rounded divisor safe then?
# 2. Your package charges the fakes too. Is what it reports wrong?
# 3. Which of these answers would change if neighbours differed by replacing a record?
#
# ````{dropdown} Solution 1
# No. The guarantee is about any data set, and someone else's has the size that yours has not. It is safe for one $N$
# that is public and fixed, and then the rounding is of a constant: that is a declared divisor.
# ````
#
# ````{dropdown} Solution 2
# It is an upper bound, and true, only larger than needed: that noise was paid for and not used. It is wrong the other
# way round, when noise is added to fakes and the accountant counts it as protection of the real half.
# ````
#
# ````{dropdown} Solution 3
# Each that quotes an epsilon: a replacement moves a sum by $2C$, not by $C$. And the first one: the number of records
# would be public, and the divisor with it.
# ````
