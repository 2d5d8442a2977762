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
# After this page you can follow any number in the book to the record behind it, say what was checked of that record and
# what was not, and tell a result that another seed would change from one that it would not.
#
# A *record* is what a completed run leaves behind: a file `record.json` with the run's configuration, its data card,
# the epsilon that it spent, its metrics, and where it comes from. Most records have weights and samples beside it. All
# of this is in `book/results/<study>/<run id>/`. The run id is a hash of configuration and card, so the same run always
# has the same name. A manifest, committed beside the records, holds the SHA-256 of each. Anyone who edits a record
# afterwards must edit the manifest too, and git shows that.
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
# *Stale* means that the source, the versions, the card or the files have changed since the record was made. The last
# three columns count how records compare with the other seeds of their run, by a rule that is explained below.
#
# ## The records, one by one
#
# Each run id is a link to its own row, so that you can pass it on. The epsilon spent is a total, in the scope that is
# given under each table. *Checks* is the outcome of `dpgan verify`, run while this page was executed: it checks the run
# id, the digests, the manifest and the privacy fields, and derives epsilon again by three accountants. The checks that
# pass are counted, and those that fail are quoted. *Not made* are the checks that cannot be made in seconds: that the
# weights give these metrics, which `--deep` computes; that training took those steps with that noise, which only
# training again shows; and what a record says about its own machine. The digest is the start of the one in the
# manifest.

# %% tags=["hide-input"]
HTML("\n".join(catalogue.records_table(study, records) for study, records in published.items()))

# %% [markdown]
# To check one of the records yourself, or to compute it again:
#
# ```bash
# dpgan verify STUDY/RUN_ID
# dpgan reproduce STUDY --run RUN_ID
# ```
#
# ## How far another seed would move a number
#
# Runs that differ only in their seed show how much of a number is chance. Let their values be $x_1, \dots, x_n$, with
# mean $\bar x$ and standard deviation $s$. The value of the next seed then lies in
#
# $$
# \bar x \pm t_{n-1} \, s \sqrt{1 + 1/n}
# $$ (eq-band)
#
# for nineteen of twenty seeds, if the values are independent draws from one normal law. Here $t_{n-1}$ is Student's
# quantile. With few seeds it is large:

# %%
for seeds in (2, 3, 5, 10):
    print(f"{seeds:>2} seeds: t = {bands.half_width(seeds):.2f}")

# %% [markdown]
# So a band from two or three seeds is wide, and a value rarely falls outside it. That is no defect of the formula: so
# few seeds do not show more. A band may also reach beyond the values that a metric can have, because the normal law
# does not know its range. A run of one seed has no band, and neither has a metric that was the same for every seed.
#
# A run has many metrics, so some of them fall outside their bands by chance. The badge *not reproduced* therefore asks
# for more: a metric so far off that, of $m$ metrics, even the farthest is that far off in fewer than one of twenty
# sound runs. This is Bonferroni's rule, at $p < 0.05/m$, and it holds however the metrics depend on each other. In the
# tables above, each record is compared with the other seeds of its run, without itself. Two other seeds are weak
# judges: where they happen to agree, their band is narrow, and a badge *not reproduced* may mean no more than that.

# %% tags=["hide-input"]
print(catalogue.compared(published))

# %% [markdown]
# The next tables give the bands, each over all seeds of its run. `dpgan reproduce` compares a new seed with them:

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
# 2. Two laboratories publish the same method with the same standard deviation, one with two seeds and the other with
#    ten. How much wider is the first one's band? Why does it prove little that a run lies in it?
#
# ````{dropdown} Solution 1
# The manifest: the digest of the file is no longer the one that is listed. If they edit the manifest too, it differs
# from the committed one; if they commit it, the history shows the commit. The mean over pairs must agree with the
# pairs, so for some metrics several numbers must be changed together. The run id does not change, because it is a hash
# of configuration and card alone. With `--deep`, the published weights give the old accuracy again; and
# `dpgan reproduce` needs no trust in the record at all.
# ````
#
# ````{dropdown} Solution 2
# The cell below computes the ratio from {eq}`eq-band`. A worse method would lie in a band that wide as well. To lie
# inside it says that nothing speaks against the result, not that much speaks for it.
# ````

# %% tags=["hide-cell"]
few, many = (bands.half_width(seeds) * (1 + 1 / seeds) ** 0.5 for seeds in (2, 10))
print(f"{few / many:.1f} times")
