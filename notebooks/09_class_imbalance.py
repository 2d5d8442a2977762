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
# # Class imbalance: can a code bring back a rare digit?
#
# After this chapter you can say whether private synthetic images help a classifier to find a rare class, which plain
# remedies they must be compared with, and how many records a private generator needs before it is worth the trouble.
#
# **What the paper claims.** Latent codes improve the "representation for underrepresented classes", so that class
# imbalance is addressed; and the approach needs "sufficient training samples" {cite}`rewording`.
#
# **How we test it.** We make one digit of MNIST rare and train a private generator on what is left. With a code we can
# ask the generator for the rare digit as often as we like. Then we train classifiers to find that digit: on the real
# images, on the real images with the rare ones repeated or given more weight, on the real images topped up with
# generated ones, and on generated images alone. We test them on real test images, in which no digit is rare.
#
# A word of caution first. Differential privacy promises that any one record hardly matters, and a rare class is a class
# of few records. So what a private mechanism must hide and what a rare class needs are in conflict {cite}`bagdasaryan`.

# %% [markdown]
# ## Your parameters
#
# You can run the chapter with values of your own, for example with
# `papermill notebooks/09_class_imbalance.ipynb out.ipynb -p kept 0.05`. Epsilon and delta are totals for the whole run.
# Neighbouring data sets differ by adding or removing one image with its label.

# %% tags=["parameters"]
epsilon = 10.0  # total privacy loss, in nats; "inf" trains without privacy
delta = 1e-5  # total, below 1/N
kept = 0.01  # share of the rare digit's images that stay
records = 0  # or draw so many from all digits, with kept = 1.0; 0 for all
dataset = "mnist"  # or "fashion_mnist", "grown_digits" (a public stand-in), "digits" (embedded, small)
profile = "laptop"  # or "smoke" (seconds, plumbing only), "paper" (a GPU)
seed = 0  # chooses what stays, and names the random numbers
info_weight = 0.1  # lambda: units of f_w per nat of L_I

# %% [markdown]
# A name or a value that makes no sense is refused here, before any data is opened.

# %% tags=["remove-output"]
from dpgan_lib.studies.class_imbalance import study
from dpgan_lib.studies.parameters import parameters_from

parameters = parameters_from(globals(), study.Parameters)

# %%
from dataclasses import asdict

from IPython.display import HTML, Markdown
from myst_nb import glue

from dpgan_lib.book import claims
from dpgan_lib.records import store
from dpgan_lib.report import cards, figures, numbers
from dpgan_lib.studies import registry
from dpgan_lib.studies.class_imbalance import tables

config = study.run_of(parameters)
privacy = config.privacy
print(f"N = {privacy.records} records; rare: the digit {study.RARE}")
print(f"noise multiplier sigma = {privacy.noise_multiplier}, T = {privacy.steps} critic steps")

# %% [markdown]
# ## A rare digit
#
# We named the rare digit before any run, and the seed decides which of its images stay. The noise is calibrated for the
# number of records that are left. We treat that number as public, as we do with the size of a data set elsewhere in
# this book. How many records *each class* has is private: the generator works with noisy counts, which come from its
# own releases.

# %% tags=["remove-input"]
Markdown(cards.source(study.chosen))

# %%
record = registry.obtain("class_imbalance", parameters)
print(cards.status(record))

# %% tags=["hide-input"]
Markdown(cards.run_caption(record))

# %% tags=["remove-cell"]
published = study.STUDY.comparable(store.published("class_imbalance"), parameters)
every = list({other.run_id: other for other in [*published, record]}.values())
rows = [tables.row(other) for other in every]
found = tables.row(record)
glue("epsilon_asked", f"{privacy.epsilon:g}", display=False)
glue("epsilon_spent", numbers.rounded_up(record.epsilon_spent), display=False)
glue("delta", numbers.plain(privacy.delta), display=False)
glue("status", cards.status(record), display=False)
glue("rare_digit", str(study.RARE), display=False)
glue("rare_left", f"{found['rare']:,}", display=False)
for remedy in ("real", "oversampled", "topped_up", "synthetic"):
    glue(f"recall_{remedy}", f"{tables.score(found, remedy):.1%}", display=False)

# %% [markdown]
# Of the digit {glue:text}`rare_digit`, {glue:text}`rare_left` images were left. A CNN that learnt from the real images
# finds {glue:text}`recall_real` of that digit's images in the test set. With the rare images repeated it finds
# {glue:text}`recall_oversampled`, with generated images added {glue:text}`recall_topped_up`, and from generated images
# alone {glue:text}`recall_synthetic`. The run was asked for epsilon {glue:text}`epsilon_asked` and spent
# {glue:text}`epsilon_spent` (PLD accountant, delta {glue:text}`delta`, add/remove one record).
#
# That epsilon belongs to the *generator*. A classifier that also learns from the real images, as in every column of the
# tables below but the last, has no privacy guarantee. If you may hand out the generator but not the data, only the last
# column applies to you.

# %% tags=["hide-input"]
assert record.epsilon_spent <= privacy.epsilon

# %% [markdown]
# ## Recall of the rare digit
#
# The figure shows the share of real test images of the rare digit that a CNN finds, against the share of that digit's
# training images that we kept. There is a panel for each epsilon and a line for each remedy. The table gives the
# numbers, with the precision in brackets.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Share of real test images of the rare digit that a CNN finds, against the share of the digit that is kept, a panel for each epsilon, a line for each remedy"}}
figures.panels(tables.recall_panels(rows))

# %% tags=["hide-input"]
HTML(tables.remedy_table(rows, "cnn"))

# %% [markdown]
# The remedies that use real images alone do not depend on epsilon. We compute them for each run all the same, so where
# two rows differ only in epsilon, these columns show how much two trainings differ.
#
# The next table is for logistic regression. It also covers giving the rare images more weight, since the fit of a
# logistic regression takes weights:

# %% tags=["hide-input"]
HTML(tables.remedy_table(rows, "logistic"))

# %% [markdown]
# ## What the rare digit looks like
#
# These grids are the first draw of each generator, uncurated. Each row is a digit, and each column has the same latent
# vector from top to bottom.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Grids of generated digits, one for each run in which a digit is rare: one row a digit, ten columns of fixed latent vectors"}}
figures.sample_grids(tables.grids(every) or {tables.run_name(found): store.read_samples(record)})

# %% [markdown]
# ## Sufficient training samples
#
# Here we train the same method on fewer records, with every digit kept and at a fixed epsilon. The noise does not
# shrink with the data set, so what can be learnt must. For comparison, another CNN learns from the $N$ real images
# themselves.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Accuracy over ten classes of a CNN trained on generated images, against the number of records that the generator learnt from, with that of a CNN trained on the records themselves"}}
sizes = tables.by_size(rows)
figures.panels([tables.size_panel(rows)]) if sizes else Markdown("No run with every digit kept is at hand.")

# %% tags=["hide-input"]
HTML(tables.size_table(rows)) if sizes else Markdown("No run with every digit kept is at hand.")

# %% [markdown]
# ## What the paper claimed, and what came out
#
# Both rules were written before any run on MNIST. They changed later, and {doc}`10_claims` says how.

# %% tags=["hide-input"]
HTML(claims.table(claims.PAPER, store.published, "class_imbalance"))

# %% [markdown]
# ## What it costs, and where it breaks
#
# * **One digit, one draw.** Another digit, or another draw of the few images that stay, gives other numbers. Each row
#   comes from one seed.
# * **The generator of a rare class is mostly noise.** Its prototypes are means over few records, with the same noise as
#   for any other class. Where its noisy count is below what noise alone would give, nothing was learnt about the class,
#   and asking for it by code does not help.
# * **The remedies are old and cheap.** Repeating and weighting cost nothing. A generator is worth the trouble where the
#   real images may not be handed out, and then it must be judged by the last column.
# * **Accuracies read data.** On private data they would be releases.
# * **A seeded run is a demonstration, not a release.**
#
# ## Exercises
#
# 1. Keep a twentieth of the rare digit. Before you run it, guess from the figure which remedy wins at your epsilon.
# 2. Why does the generator's noise not depend on how many records a class has, and why does its *quality*?
# 3. A colleague reports that topping up raised accuracy over ten classes. Why is that not enough to say that the rare
#    class is better served?
#
# ```{dropdown} Solutions
# 1. `papermill notebooks/09_class_imbalance.ipynb out.ipynb -p kept 0.05` adds your run to the figure.
# 2. One record moves a sum by at most 1, whatever its class, and that alone sets the noise. The sum grows with the
#    number of records, so the noise in their mean falls as one over that number.
# 3. Accuracy counts all digits, and nine of ten test images are of other digits. Recall may fall while accuracy rises,
#    and so may precision. The tables show both.
# ```

# %% tags=["hide-input"]
HTML(cards.computed_by(every, cards.command("class_imbalance", asdict(parameters)),
                        asdict(study.Parameters()), lambda each: tables.run_name(tables.row(each))))
