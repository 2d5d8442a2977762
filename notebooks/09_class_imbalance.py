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
# # A class that is hardly there
#
# After this chapter you can say what private synthetic images are worth where one class is rare, and beside which plain
# remedies they must be seen; and how many records a private generator needs.
#
# **What the paper claims.** Its codes give better representation to underrepresented classes, since one can ask for as
# many images of a class as one likes {cite}`imdpgan,rewording`; and it says that the method requires sufficient
# training samples.
#
# **What speaks against it beforehand.** A rare class is where differential privacy hurts most: the noise that hides one
# record hides a hundred of them too, if there are no more. And images that a generator draws hold no more than it learnt
# from the same few records. A remedy that costs nothing, repeating these, is the one to beat.
#
# **How we test it.** One digit, the 8, was chosen before any run. Of its training images we keep a tenth, a hundredth,
# or two in a thousand, and all images of the other digits. This book's method ({doc}`05_mnist_tradeoff`) trains on what
# is left. Classifiers then learn from several training sets, and we look at the share of real test 8s that they find.

# %% [markdown]
# ## Your parameters

# %% tags=["parameters"]
epsilon = 10.0  # total privacy loss, in nats; "inf" trains without privacy
delta = 1e-5  # total, below 1/N
dataset = "mnist"  # or "fashion_mnist", "digits" (embedded, small)
profile = "laptop"  # or "smoke" (seconds, plumbing only), "paper" (a GPU)
seed = 0  # names the run's random numbers, and chooses the records that are kept
info_weight = 0.1  # lambda: units of f_w per nat of L_I
kept = 0.01  # share of the 8s that are kept
records = 0  # how many records are drawn, with kept = 1; 0 for all

# %% tags=["remove-output"]
from dpgan_lib import imbalance
from dpgan_lib.experiment import parameters_from

parameters = parameters_from(globals(), imbalance.Parameters)

# %%
from IPython.display import HTML, Markdown

from dpgan_lib import claims, figures, report, results, studies
from dpgan_lib import imbalance_tables as tables

privacy = imbalance.plan(parameters).privacy
print(f"N = {privacy.records} records are left, and the rare digit is {imbalance.RARE}")
print(f"expected batch q N = {privacy.expected_batch}, T = {privacy.steps} critic steps")
print(f"noise multiplier sigma = {privacy.noise_multiplier}")

# %% [markdown]
# ## The run
#
# The record of these parameters is loaded, or computed now. What is published for the same data set and profile stands
# beside it, whatever its epsilon and however many records it learnt from.

# %%
record = studies.obtain("class_imbalance", parameters)
published = imbalance.same_settings(results.published("class_imbalance"), parameters)
records = list({each.run_id: each for each in [*published, record]}.values())
rows = list(map(tables.row, records))
print(report.status(record))

# %% tags=["hide-input"]
Markdown(report.run_caption(record))

# %% tags=["hide-input"]
Markdown(report.sweep_caption(records))

# %% [markdown]
# ## Remedies
#
# A classifier is trained on each of these:
#
# * **real images**, as they are, the rare class included;
# * **rare ones repeated**: the same, with 8s drawn again and again until there are as many as of a usual digit;
# * **rare ones weighed more**: each record counts the more, the fewer there are of its class. With a CNN and shuffled
#   batches this is nearly the same as repeating, so only logistic regression has it;
# * **generated ones added**: real images, and as many generated 8s as repeating would add. This is what the paper means;
# * **generated alone**: as many generated images of each digit, and no real one. Only this one is private: all others
#   train on the records themselves, and what they learn would be a release.
#
# The classifier is the CNN of {doc}`05_mnist_tradeoff`, trained for half as many steps. The measure is *recall*: the
# share of real test 8s that it finds.

# %% mystnb={"image": {"alt": "Share of real test 8s that a CNN finds, against the share of the training 8s that is kept, a panel for each epsilon and a curve for each remedy"}}
figures.panels(tables.recall_panels(rows)) if tables.thinned(rows) else None

# %% [markdown]
# Recall alone can be bought by calling everything an 8, so the table has precision in brackets.

# %%
HTML(tables.remedy_table(rows, "cnn"))

# %%
HTML(tables.remedy_table(rows, "logistic"))

# %% [markdown]
# ## What the generator draws
#
# Asked for one digit after another, the rare one among them, uncurated. What is kept of the 8s stands above each grid.

# %% mystnb={"image": {"alt": "Grids of generated images, one for each run: one row a requested digit, the rare 8 in the last but one"}}
grids = tables.grids(records)
figures.sample_grids(grids) if grids else None

# %% [markdown]
# ## How many records are enough?
#
# The same method, on fewer records drawn from all digits. Noise has to hide one record whatever $N$ is, so with half of
# the records there is twice as much noise for each.

# %% mystnb={"image": {"alt": "Accuracy over ten classes against the number of records, for classifiers trained on generated images at each epsilon and for one trained on the real records"}}
figures.panels([tables.size_panel(rows)]) if tables.by_size(rows) else None

# %%
HTML(tables.size_table(rows))

# %% [markdown]
# ## What the paper claimed, and what came out
#
# The rules were written before the first of these runs. Verdicts come from the published runs alone, and stand with all
# others in {doc}`10_claims`.

# %%
HTML(claims.table(results.published, studies=("class_imbalance",)))

# %% [markdown]
# ## Where it breaks
#
# * **One rare class, one seed a cell.** Another digit may fare better or worse: 8s resemble 3s and 5s, which helps a
#   generator and hurts a classifier.
# * **The number of 8s is private too.** The remedies here look at it to fill up what lacks; on private data that is a
#   release. Asking for as many of each class, as *generated alone* does, takes no look.
# * **Topping up is not private.** Its classifier trains on real records.
#
# ## Exercises
#
# 1. Keep all 8s (`kept = 1.0`). Which of the remedies differ then, and why?
# 2. A hundredth of the 8s is about 60 images. By what factor is the noise on their mean larger than on another digit's?
# 3. Why is repeating a rare record harmless for a classifier that is not private, and costly under DP-SGD?
#
# ```{dropdown} Solutions
# 1. With nothing lacking, *repeated* and *added* add nothing: all three are the real images.
# 2. The noise on a class's sum is the same for each class; a mean divides it by the class's count. A hundredth of the
#    records makes the noise on the mean a hundred times as large.
# 3. Repeating gives a record more weight, and that is all. Under DP-SGD a record that appears $k$ times can move a sum
#    by $k C$: the sensitivity, and so the noise for the same epsilon, grows $k$-fold.
# ```

# %% tags=["hide-input"]
HTML(report.computed_by(records, "dpgan sweep class_imbalance", {}, lambda each: tables.run_name(tables.row(each))))
