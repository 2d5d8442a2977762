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
# # All records
#
# After this page you can follow any number of the book to the record behind it, say what was checked of that record and
# what was not, and tell a result that another seed would change from one that it would not.
#
# A *record* is what a completed run leaves: a file `record.json` with its configuration, its data card, what it spent
# of epsilon, its metrics, and where it comes from; for most, weights and samples beside it. It lies in
# `book/results/<study>/<run id>/`. The run id is a hash of configuration and card, so the same run always has the same
# name. A manifest, committed beside the records, holds the SHA-256 of each: whoever edits a record afterwards must edit
# that too, and git shows it.
#
# Everything below is read from the published records when this page is executed. Nothing is trained.

# %% tags=["parameters"]
# Nothing to choose on this page: it shows every published record.

# %% tags=["hide-input"]
from IPython.display import HTML

from dpgan_lib.book import catalogue
from dpgan_lib.records import bands, store

published = {study: store.published(study) for study in store.published_studies()}
HTML(catalogue.summary(published))

# %% [markdown]
# *Stale* means that source, versions, card or files have changed since the record was made. The last three columns
# compare a record with the other seeds of its run, below.
#
# ## The records, one by one
#
# The run id is a link to its own row, to be passed on. The epsilon spent is a total, in the scope that stands under
# each table. *Checks* is the outcome of `dpgan verify`, made while this page was executed: run id, digests, manifest,
# privacy fields, and epsilon derived again by three accountants. What passes is counted; what fails is quoted. *Not
# made* are the checks that cannot be made in seconds: that the weights give these metrics, which `--deep` computes;
# that training took those steps with that noise, which only training again shows; and what a record says of its own
# machine. The digest is the start of the one in the manifest.

# %% tags=["hide-input"]
HTML("\n".join(catalogue.records_table(study, records) for study, records in published.items()))

# %% [markdown]
# To check one of them yourself, or to compute it again:
#
# ```bash
# dpgan verify STUDY/RUN_ID
# dpgan reproduce STUDY --run RUN_ID
# ```
#
# ## How far another seed would move a number
#
# Runs that differ in seed alone show how much of a number is chance. From their values $x_1, \dots, x_n$, with mean
# $\bar x$ and standard deviation $s$, the next seed's value lies in
#
# $$
# \bar x \pm t_{n-1} \, s \sqrt{1 + 1/n}
# $$ (eq-band)
#
# for nineteen of twenty seeds, if the values are independent draws from one normal law. $t_{n-1}$ is Student's
# quantile. Few seeds pay for their number:

# %%
for seeds in (2, 3, 5, 10):
    print(f"{seeds:>2} seeds: t = {bands.half_width(seeds):.2f}")

# %% [markdown]
# A band from two or three seeds is wide, and therefore hard to leave. That is no defect of the formula: so few seeds do
# not show more. A band may also reach beyond what a metric can be, for the normal law does not know its range. A run of
# one seed has no band, and a metric that was the same for every seed has none either.
#
# A run has many metrics, so some leave their bands by chance. The badge *not reproduced* asks for more: a metric so far
# off that, of $m$ metrics, even the farthest is that far in fewer than one of twenty sound runs. This is Bonferroni's
# rule, at $p < 0.05/m$, and it holds however the metrics depend on each other. In the tables above, each record is
# held against its other seeds, so that it is no judge of itself. Two other seeds are weak judges: where they happen to
# agree, their band is narrow, and a badge *not reproduced* may mean no more than that.

# %% tags=["hide-input"]
print(catalogue.compared(published))

# %% [markdown]
# The bands, each over all seeds of its run, are what `dpgan reproduce` holds a new seed against:

# %% tags=["hide-input"]
HTML("\n".join(catalogue.bands_tables(study, records) for study, records in published.items()))

# %% [markdown]
# The rule is short enough to read:

# %% tags=["hide-input"]
from IPython.display import Markdown

from dpgan_lib.report import cards

Markdown(cards.source(bands.Comparison))

# %% [markdown]
# ## Exercises
#
# 1. Someone changes an accuracy in a published `record.json` and runs `dpgan verify`. Which check fails? What else must
#    they edit for the short command to pass, and what finds them out even then?
# 2. Two laboratories publish the same method, with two seeds and with ten, and the same standard deviation. By how much
#    is the first one's band wider? Why does a run that lies in it prove little?
#
# ````{dropdown} Solution 1
# The manifest: the digest of the file is no longer the listed one. If they edit the manifest too, the committed one
# differs; if they commit it, the history shows the commit. The mean over pairs must agree with the pairs, so for some
# metrics several numbers must be changed together. The run id does not move, for it hashes configuration and card
# alone. With `--deep`, the published weights give the old accuracy again; and `dpgan reproduce` needs no trust in the
# record at all.
# ````
#
# ````{dropdown} Solution 2
# The cell below computes the ratio from {eq}`eq-band`. In a band that wide a worse method would lie as well: to be
# inside it says that nothing speaks against the result, not that much speaks for it.
# ````

# %% tags=["hide-cell"]
few, many = (bands.half_width(seeds) * (1 + 1 / seeds) ** 0.5 for seeds in (2, 10))
print(f"{few / many:.1f} times")
