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
# # The paper and its claims
#
# This page lists what the paper {cite}`imdpgan,rewording` claims, the rule by which we judge each claim, what the
# published records say, and the verdict. After it you know which claims stand, which fall, and which this book has not
# tested yet.
#
# Nobody types a verdict: the cell below computes it from the records, by rules, and a negative one stays. The three
# rules for MNIST were written before any record, and made stricter once, when one record had been read (epsilon 1,
# seed 0). The rule for the tenfold was written after prototypes of a step had been timed. A claim that no record touches yet has no rule; its row says what will be measured.

# %% tags=["parameters"]
# Nothing to choose on this page: every verdict follows from the published records.

# %% tags=["hide-input"]
from IPython.display import HTML

from dpgan_lib import claims, report, results

HTML(claims.table(results.published))

# %% [markdown]
# The first three claims rest on {doc}`05_mnist_tradeoff`: epsilon is a total for the whole run, by the PLD accountant,
# for adding or removing one image with its label, at the delta given in the card below. The claim on time rests on
# {doc}`06_cost`, which has no epsilon: a step takes the same time at any. Where one seed stands behind a
# verdict, the table says so: a verdict on one seed is a first look.
#
# A rule in library code is easy to check. This is the one behind the first row:

# %% tags=["hide-input"]
from IPython.display import Markdown

Markdown(report.source(claims.judge_fall))

# %% [markdown]
# ## Records

# %% tags=["hide-input"]
from dataclasses import asdict

from dpgan_lib import experiment

HTML(report.computed_by(results.published("mnist_tradeoff"), "dpgan publish", asdict(experiment.Parameters())))

# %% tags=["hide-input"]
HTML(report.benchmark_card(results.published("cost"), "dpgan bench"))
