"""What computed a result: which definitions are reached, what of them counts, and which results of this library each
change of a line makes stale.
"""

import shutil

import pytest

from dpgan_lib.paths import PACKAGE
from dpgan_lib.records import store
from dpgan_lib.records.definitions import Package
from dpgan_lib.records.provenance import MEASURING, TRAINING, measuring_source, training_source
from dpgan_lib.studies import registry

# A toy package

MODULES = {
    "__init__": "",
    "training": '"""Trains."""\nimport os\nimport toy.marks\nimport toy.scores as s\nfrom somewhere import latent, x\n'
                "from toy import nothing, steps\nfrom toy.config import Settings as S\nfrom .floor import deep\n\n\n"
                "def train(x):\n    from .floor.lazily import late  # lazily\n    y = S(deep.dive(x), late())\n"
                "    return s.score(y) + steps.step(x) + latent(x) + toy.marks.mark(x) + 1\n\n\n"
                "def idle():\n    return unused()\n\n\ndef unused():\n    return 1\n",
    "config": "WIDTH = 3\n\n\nclass Settings:\n    width: int = WIDTH\n\n"
              "    def area(self):\n        return self.width**2\n",
    "steps": "from toy.floor import again\n\n\ndef step(x):\n    latent = x\n    return again(latent)\n",
    "scores": "def score(y):\n    return y.area()\n\n\ndef other():\n    return 2\n",
    "marks": "def mark(x):\n    return x\n",
    "latent": "def latent(x):\n    return x\n",
    "figures": "from toy import training\n\n\ndef figure():\n    return training.train(0)\n",
    "floor.__init__": "from .deep import dive as again\n",
    "floor.deep": "from .. import config\n\n\ndef dive(x):\n    return config.WIDTH * x\n",
    "floor.lazily": "def late():\n    return 4\n\n\ndef early():\n    return 5\n",
}
REACHED = {"training.train", "config.Settings", "config.WIDTH", "steps.step", "scores.score", "marks.mark",
           "floor.deep.dive", "floor.lazily.late"}
ROOT = ["training.train"]


@pytest.fixture
def toy(tmp_path):
    """Writes the toy package, with some modules' text changed, and reads it."""
    folder = tmp_path / "toy"

    def write(**changes):
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in (MODULES | {name.replace("__", ".", 1) if "floor__" in name else name: text
                                      for name, text in changes.items()}).items():
            if text is not None:
                path = folder.joinpath(*name.split(".")).with_suffix(".py")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return Package(folder)

    return write


def changed(old: str, new: str, module: str = "training") -> dict[str, str]:
    assert old in MODULES[module]
    return {module: MODULES[module].replace(old, new)}


def digest(package: Package) -> str:
    return package.source_digest(ROOT)


def test_the_closure_follows_every_form_of_import_and_no_namesake(toy):
    assert toy().reached(ROOT) == REACHED


@pytest.mark.parametrize("old, new, module", [
    ("+ 1", "+ 2", "training"), ("WIDTH = 3", "WIDTH = 4", "config"), ("self.width**2", "self.width", "config"),
    ("width: int", "width: float", "config"), ("again(latent)", "latent", "steps"), ("y.area()", "y", "scores"),
    ("return x", "return -x", "marks"), ("WIDTH * x", "WIDTH + x", "floor.deep"),
    ("return 4", "return 3", "floor.lazily")])
def test_code_that_is_reached_changes_the_digest(toy, old, new, module):
    assert digest(toy(**changed(old, new, module))) != digest(toy())


@pytest.mark.parametrize("old, new, module", [
    ("return x", "return 7", "latent"), ("train(0)", "train(1)", "figures"), ("return 2", "return 3", "scores"),
    ("return 5", "return 6", "floor.lazily"), ("return unused()", "return 3", "training"),
    ("return 1\n", "return 2\n", "training"), ("import os\n", "import math, os\nLIMIT = 3\n", "training")])
def test_code_that_is_not_reached_does_not(toy, old, new, module):
    assert digest(toy(**changed(old, new, module))) == digest(toy())


def test_a_new_module_and_one_that_is_gone_do_not(toy):
    assert digest(toy(new="def train():\n    return 1\n", figures=None)) == digest(toy())


@pytest.mark.parametrize("old, new, module", [
    ('"""Trains."""\n', "", "training"), ("Trains", "Teaches", "training"),
    ("def train(x):\n", 'def train(x):\n    """Docstring."""  # and a comment\n', "training"),
    ("+ 1\n", "+ (1)\n", "training"),
    ("S(deep.dive(x), late())", "S(\n        deep.dive(x),\n        late())", "training"),
    ("def train(x):", "def train(x: int) -> float:", "training"),
    ("import toy.scores as s\n", "from toy import scores as s\n", "training"),
    ("from toy.config import Settings as S\n", "from .config import Settings as S\n", "training"),
    ("class Settings:\n", 'class Settings:\n    """Docstring."""\n\n', "config")])
def test_text_layout_annotations_and_imports_leave_the_digest(toy, old, new, module):
    assert digest(toy(**changed(old, new, module))) == digest(toy())


@pytest.mark.parametrize("old, new", [
    ("+ 1", "- 1"), ("+ 1", "+ 1.0"), ("+ 1", "+ True"), ("return s.score(y)", "s.score(y)"),
    ("def train(x)", "def train(x, /)"), ("def train(x)", "def train(x=1)"), ("def train(x)", "@cache\ndef train(x)"),
    ("+ latent(x)", "+ x"), ("steps.step(x)", "steps.step(y)"), ("S(deep.dive(x), late())", "S(late(), deep.dive(x))")])
def test_small_changes_of_code_change_the_digest(toy, old, new):
    assert digest(toy(**changed(old, new))) != digest(toy())


def test_the_annotation_of_a_variable_does_not_count_in_a_function(toy):
    one, other = (toy(**changed("y = S(", f"y: {kind} = S(")) for kind in ("int", "float"))
    assert digest(one) == digest(other)


def test_a_moved_file_leaves_the_digest(toy):
    moved = toy(scores=None, floor__points=MODULES["scores"], **changed("toy.scores", "toy.floor.points"))
    assert digest(moved) == digest(toy())


def test_a_moved_definition_leaves_the_digest(toy):
    elsewhere = MODULES["latent"] + "\n\n" + MODULES["marks"]
    assert digest(toy(marks="from toy.latent import mark\n", latent=elsewhere)) == digest(toy())
    turned = MODULES["config"].replace("WIDTH = 3\n\n\n", "") + "\n\nWIDTH = 3\n"
    assert digest(toy(config=turned)) == digest(toy())


def test_a_renamed_module_and_a_renamed_definition_leave_the_digest(toy):
    text = MODULES["training"].replace("toy.marks.mark(", "toy.labels.label(").replace("toy.marks", "toy.labels")
    renamed = toy(marks=None, labels="def label(x):\n    return x\n", training=text)
    assert digest(renamed) == digest(toy())
    shape = {name: MODULES[name].replace("Settings", "Shape") for name in ("config", "training")}
    assert digest(toy(**shape)) == digest(toy())
    with pytest.raises(ValueError, match="no definition of toy"):
        toy(training=MODULES["training"].replace("def train", "def teach")).source_digest(ROOT)


def test_two_definitions_that_change_places_change_the_digest(toy):
    turned = "def late():\n    return 5\n\n\ndef early():\n    return 4\n"
    assert digest(toy(floor__lazily=turned)) != digest(toy())


# Names: what they stand for where they stand

ROWS = "def rows():\n    return 1\n"


@pytest.mark.parametrize("body, is_reached", [
    ("return rows()", True), ("return [rows() for _ in x]", True), ("return lambda: rows()", True),
    ("def inner():\n        return rows()\n    return inner", True), ("global rows\n    rows = rows()", True),
    ("rows = x\n    return rows", False), ("return [rows for rows in x]", False), ("return lambda rows: rows", False),
    ("for rows in x:\n        pass", False), ("with x as rows:\n        return rows", False),
    ("if rows := x:\n        return rows", False), ("return x.rows", False), ("return x(rows=1)", False),
    ("from somewhere import rows\n    return rows()", False),
    # What is evaluated around a function or comprehension
    ("return [rows for rows in rows()]", True), ("return lambda rows=rows: rows()", True),
    ("def inner(rows=rows):\n        return rows\n    return inner", True),
    ("def inner(*, rows=rows):\n        return rows\n    return inner", True),
    ("@rows\n    def inner(rows):\n        return rows\n    return inner", True)])
def test_a_name_is_followed_unless_it_is_bound_there(toy, body, is_reached):
    package = toy(names=f"from toy.many import rows\n\n\ndef look(x):\n    {body}\n", many=ROWS)
    assert ("many.rows" in package.reached(["names.look"])) == is_reached


def test_the_defaults_of_a_definition_mean_what_stands_around_it(toy):
    package = toy(names="from toy.many import rows\n\n\ndef look(rows=rows):\n    return rows\n", many=ROWS)
    assert package.reached(["names.look"]) == {"names.look", "many.rows"}


METHODS = ("from toy.kinds import Known\n\n\ndef look(x):\n    return x.girth()\n\n\n"
           "def tell(x):\n    return Known(x).girth()\n")
KINDS = ("class Known:\n    def girth(self):\n        return 1\n\n\n"
         "class Other:\n    def girth(self):\n        return 2\n\n"
         "    def idle(self):\n        return 3\n")


def test_a_method_reached_through_an_attribute_counts(toy):
    """Of a class that is reached, or of any, where none of these has it."""
    package = toy(names=METHODS, kinds=KINDS)
    assert package.reached(["names.look"]) == {"names.look", "kinds.Known.girth", "kinds.Other.girth"}
    assert package.reached(["names.tell"]) == {"names.tell", "kinds.Known"}
    other = toy(names=METHODS, kinds=KINDS.replace("return 2", "return 4"))
    assert other.source_digest(["names.look"]) != package.source_digest(["names.look"])
    assert other.source_digest(["names.tell"]) == package.source_digest(["names.tell"])


def test_which_of_two_methods_stands_first_does_not_count(toy):
    first, _, second = KINDS.partition("\n\n\n")
    turned = f"{second}\n\n{first}\n"
    assert (toy(names=METHODS, kinds=turned).source_digest(["names.look"])
            == toy(names=METHODS, kinds=KINDS).source_digest(["names.look"]))


def test_what_is_taken_from_another_package_is_no_method_of_ours(toy):
    package = toy(names="import somewhere\n\n\ndef look(x):\n    return somewhere.girth()\n", kinds=KINDS)
    assert package.reached(["names.look"]) == {"names.look"}


# Constants

@pytest.mark.parametrize("text, change", [
    ("SIZES = {1: 2}\n", ("1: 2", "1: 3")), ("SIZES = 1\nSIZES += 2\n", ("+= 2", "+= 3")),
    ("OTHER, SIZES = 1, 2\n", ("1, 2", "1, 3")), ("SIZES: int = 2\n", ("= 2", "= 3")),
    ("if LATER:\n    SIZES = 1\nelse:\n    SIZES = 2\n", ("= 2", "= 3")),
    ("try:\n    SIZES = 1\nexcept OSError:\n    SIZES = 2\n", ("= 1", "= 3")),
    ("PART = 2\nSIZES = [PART, 1]\n", ("PART = 2", "PART = 3"))])
def test_a_constant_counts_with_all_that_it_is_made_of(toy, text, change):
    look = "from toy import numbers\n\n\ndef look():\n    return numbers.SIZES\n"
    before = toy(names=look, numbers=text).source_digest(["names.look"])
    assert toy(names=look, numbers=text + "MORE = 4\n").source_digest(["names.look"]) == before
    assert toy(names=look, numbers=text.replace(*change)).source_digest(["names.look"]) != before


# Every Python alike

EVERY_SYNTAX = r'''
"""Module."""
from __future__ import annotations
import math as m, os.path
from . import other

@decorate(1, *rest, key=None, **more)
class Shape(Base, metaclass=Meta):
    "Docstring."
    side: int = 3
    empty = ([], {}, (), set(), "", [""])

    async def area(self, a, /, b=2, *args, c, d=.5, **kw) -> float:
        """Docstring."""
        async with lock as held:
            return await self.side ** 2 // b if not c else -1e-5

def describe(x, width=3):
    u = f"{x!r:>{width}} {x:} {{}} {x=}" f"{x:.2f}\n" "\u00e9\u0378" + b"\x00".decode() + u"k"
    match x:
        case {"a": [1, *_], **rest} if rest: pass
        case None | Shape(side=3): return ...
    try:
        del x[1:2, ::3], u
    except* ValueError as error:
        raise RuntimeError from error
    else:
        lambda *, q: (yield)
    return [y := 1j, *(z for z in x if z)], {**x, "k": True}, {v for v in x}
'''


def test_every_python_spells_a_tree_alike(toy):
    """A reader's Python must not make a published record stale: tests run on 3.11, 3.12 and 3.13, and agree here."""
    assert toy(every=EVERY_SYNTAX).source_digest(["every.Shape", "every.describe"]) == (
        "0e44441b5491e697f077eb3b7e4d73231f557be4c7ac0890332e48785deb45e4")


# What stands in a call

CALLS = ("from toy import steps\nfrom toy.kinds import Recipe, TallRecipe\n\n\ndef own():\n    return 1\n\n\n"
         "ONE = Recipe(name=\"one\", make=steps.step, check=own)\n"
         "REST = [recipe for recipe in (TallRecipe(name=\"tall\", make=(own, steps.step)), Recipe(check=own))]\n\n\n"
         "def late():\n    return Recipe(name=\"late\", make=own)\n")
RECIPES = ("from dataclasses import dataclass\n\n\ndef usual():\n    return 0\n\n\n@dataclass\nclass Recipe:\n"
           "    name: str = \"plain\"\n    make: object = usual\n    check: object = None\n\n\n"
           "class TallRecipe(Recipe):\n    pass\n")


@pytest.mark.parametrize("name, arguments, found", [
    ("one", ("make", "check"), ["steps.step", "calls.own"]), ("one", ("check", "make"), ["calls.own", "steps.step"]),
    ("one", ("check",), ["calls.own"]), ("tall", ("make", "check"), ["calls.own", "steps.step"]),
    ("plain", ("make", "check"), ["kinds.usual", "calls.own"]), ("one", ("other",), [])])
def test_the_definitions_that_a_call_names(toy, name, arguments, found):
    package = toy(calls=CALLS, kinds=RECIPES)
    assert package.named_in_call("calls", "Recipe", "name", name, arguments) == found


@pytest.mark.parametrize("module, name", [("calls", "two"), ("calls", "late"), ("nowhere", "one")])
def test_a_call_that_is_not_there_is_refused(toy, module, name):
    with pytest.raises(ValueError, match=f"toy.{module} has no Recipe"):
        toy(calls=CALLS, kinds=RECIPES).named_in_call(module, "Recipe", "name", name, ("make",))


# This library: a line that computes is changed, and exactly the results that it has a part in are stale

MEASURED = {(chapter, kind, MEASURING) for chapter, kind in (
    ("audit", "run"), ("audit", "whole"), ("audit", "memorisation"), ("audit", "mutants"),
    ("celeba_specificity", "run"), ("class_imbalance", "run"), ("cost", "benchmark"),
    ("mnist_tradeoff", "run"), ("mnist_tradeoff", "ceiling"), ("mnist_tradeoff", "reader"),
    ("mutual_information", "run"), ("mutual_information", "infogan"),
    ("private_step", "norms"), ("private_step", "trial"), ("wasserstein", "toy"), ("wasserstein", "stability"))}
METHOD_OF = {"plain": ("mnist_tradeoff", "mutual_information"), "prototypes": ("mnist_tradeoff", "class_imbalance"),
             "faces": ("celeba_specificity",)}
TRAINED = {method: {(chapter, "run", TRAINING, method) for chapter in chapters}
           for method, chapters in METHOD_OF.items()}
TRAINED["infogan"] = {("mutual_information", "infogan", TRAINING, "infogan")}
TRAINED["reader"] = {("mnist_tradeoff", "reader", TRAINING, "reader")}


def measured(*chapters: str) -> set[tuple]:
    """The measuring of chapters, by name or by "name kind"."""
    return {key for key in MEASURED if key[0] in chapters or f"{key[0]} {key[1]}" in chapters}


READ = TRAINED["reader"] | measured("audit whole")
DIGITS = TRAINED["prototypes"] | READ
WARM = DIGITS | TRAINED["faces"]
GAN = WARM | TRAINED["plain"] | measured("audit", "cost", "private_step")  # whatever trains a run of Eq. 1
ALL = MEASURED | GAN | TRAINED["infogan"]
MUTANTS = [
    # file without .py, a text that stands in it once, what it becomes, what is stale then
    ("privacy/clipping", "clip_norm / norms).clamp(max=1)", "clip_norm / norms).clamp(max=2)", GAN),
    ("privacy/mechanism", "spread = noise_multiplier * clip_norm if", "spread = noise_multiplier if", GAN),
    ("privacy/mechanism", "rng.binomial(records, sampling_rate)", "round(records * sampling_rate)",
     GAN | measured("wasserstein toy")),
    ("privacy/streams", "counter=step << 128", "counter=step << 64", ALL - measured("mnist_tradeoff ceiling")),
    ("gan/latent", "labels = rng.integers(config.categories, size=count)", "labels = np.zeros(count, int)",
     GAN | measured("mutual_information") | TRAINED["infogan"]),
    ("gan/networks", "POSTERIOR_WIDTH = 16", "POSTERIOR_WIDTH = 8", GAN | measured("mutual_information run")),
    ("gan/steps", "fake_gradient[name] / len(fake[0]) - real", "fake_gradient[name] - real", GAN),
    ("gan/state", "betas=(0.0, 0.9), fused", "betas=(0.5, 0.9), fused", GAN),
    ("gan/loop", "settings.fakes, 2 * first + 1,", "settings.fakes, first + 1,", GAN),
    ("gan/losses", "F.softplus(-fake).mean()", "-F.softplus(fake).mean()",
     measured("wasserstein stability") | TRAINED["infogan"]),
    ("gan/deform", "STROKE = 0.5", "STROKE = 0.25", TRAINED["infogan"]),
    ("gan/infogan", "INITIAL_SPREAD = 0.02", "INITIAL_SPREAD = 0.05", TRAINED["infogan"]),
    ("gan/infogan_loop", "BETAS = (0.5, 0.999)", "BETAS = (0.0, 0.9)", TRAINED["infogan"]),
    ("warm_start/training", "first.generator(config, sums[:-1])", "first.generator(config, sums)", WARM),
    ("warm_start/embedding", "counts / counts.sum()", "counts / len(counts)", WARM),
    ("warm_start/features", "GAINS = (0.809,", "GAINS = (0.8,", WARM),
    ("warm_start/fit", "1 - step / max(settings.steps, 1)", "1", WARM),
    ("warm_start/prototypes", "variance.clamp(min=1e-6).sqrt()", "variance.clamp(min=1e-6)", DIGITS),
    ("warm_start/deformations", 'mode="bicubic"', 'mode="bilinear"', DIGITS),
    ("warm_start/generators", "lowest) / (1 - lowest)", "lowest)", DIGITS),
    ("warm_start/reader", "MOMENTUM = 0.9", "MOMENTUM = 0.5", READ),
    ("warm_start/face_model", "seen = values > 2 * edge", "seen = values > edge", TRAINED["faces"]),
    ("data/files", "np.float32(127.5)", "np.float32(128)",
     ALL - measured("celeba_specificity", "wasserstein toy", "audit mutants") - TRAINED["faces"]),
    ("data/celeba", "Resampling.BICUBIC", "Resampling.BILINEAR", measured("celeba_specificity") | TRAINED["faces"]),
    ("measures/classifiers", "batch=128, rate=1e-3", "batch=128, rate=2e-3", MEASURED - measured(
        "audit", "celeba_specificity", "private_step norms", "wasserstein toy")),
    ("measures/utility", "LINEAR = 3 ", "LINEAR = 2 ", measured("mnist_tradeoff")),
    ("measures/codes", "np.where(images > 0, 1, -1)", "np.where(images > 0.5, 1, -1)",
     measured("mutual_information run")),
    ("measures/matching", "maximize=True", "maximize=False", measured("mutual_information infogan")),
    ("measures/fidelity", "- 2 * cross)", "- cross)", measured(
        "mnist_tradeoff run", "mnist_tradeoff reader", "celeba_specificity")),
    ("measures/drawing", "range(tries - 1)", "range(tries)", measured("mnist_tradeoff reader")),
    ("measures/specificity", "BATCH, RATE = 128, 1e-3", "BATCH, RATE = 128, 2e-3", measured("celeba_specificity")),
    ("measures/probe", "RECORDS = 256 ", "RECORDS = 512 ", measured("private_step norms")),
    ("studies/class_imbalance/study", "few = slice(None, None, 3)", "few = slice(None, None, 2)",
     measured("class_imbalance")),
    ("studies/class_imbalance/study", "round(kept * rare)", "int(kept * rare)",
     measured("class_imbalance") | {("class_imbalance", "run", TRAINING, "prototypes")}),
    ("studies/class_imbalance/study", "hits / (true == RARE).sum()", "hits / len(true)", measured("class_imbalance")),
    ("studies/audit/canaries", "included * claimed", "claimed", measured("audit run", "audit whole")),
    ("studies/audit/whole", "BRIGHT = DARK = 0.25", "BRIGHT = DARK = 0.2", measured("audit whole")),
    ("studies/audit/memorisation", "(1 + reached)", "reached", measured("audit memorisation")),
    ("studies/audit/mutants", "normal(*arguments) / 2", "normal(*arguments) / 3", measured("audit mutants")),
    ("studies/audit/watch", "return len(self.releases)", "return 1 + len(self.releases)", measured("audit mutants")),
    ("studies/celeba_specificity/metrics", "READER_SEED = 0", "READER_SEED = 1", measured("celeba_specificity")),
    ("studies/mnist_tradeoff/reading", "TRIES = 4", "TRIES = 8", measured("mnist_tradeoff reader")),
    ("studies/mutual_information/study", "with_posterior=True", "with_posterior=False",
     measured("mutual_information run")),
    ("studies/wasserstein/toy", "(slope - 1) ** 2", "slope ** 2", measured("wasserstein toy")),
    ("studies/wasserstein/stability", "LEAST_VARIETY = 0.25", "LEAST_VARIETY = 0.5", measured("wasserstein stability")),
    ("studies/cost/bench", "repeats = int(min(", "repeats = int(max(", measured("cost")),
    ("studies/cost/study", "seconds += time.perf_counter() - started", "seconds = time.perf_counter() - started",
     measured("cost")),
    # What computes no result
    ("studies/mnist_tradeoff/tables", "FID_RATIO = 2.0", "FID_RATIO = 3.0", set()),
    ("records/store", "SWAP_SECONDS = 1.0", "SWAP_SECONDS = 2.0", set()),
    ("report/cards", "record.run_id,\n", "record.run_id[:8],\n", set()),
]
QUICK = ("gan/networks", "data/files", "studies/class_imbalance/study", "report/cards")  # in both tiers


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of this library to change, and its sources before."""
    folder = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("copy") / "dpgan_lib",
                             ignore=shutil.ignore_patterns("__pycache__"))
    return folder, sources(Package(folder))


def sources(package: Package) -> dict[tuple, dict]:
    return ({key: measuring_source(*key[:2], package=package) for key in MEASURED}
            | {key: training_source(method, *key[:2], package=package)
               for method, keys in TRAINED.items() for key in keys})


def changed_by(copy, name: str, old: str, new: str) -> set[tuple]:
    folder, before = copy
    path = folder / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1 and len(new.splitlines()) == len(old.splitlines())
    path.write_text(text.replace(old, new), encoding="utf-8")
    try:
        after = sources(Package(folder))
    finally:
        path.write_text(text, encoding="utf-8")
    return {key for key in before if before[key] != after[key]}


@pytest.mark.parametrize("name, old, new, stale", [
    pytest.param(*mutant, id=f"{mutant[0]}: {mutant[2].strip()}", marks=() if mutant[0] in QUICK else pytest.mark.full)
    for mutant in MUTANTS])
def test_a_changed_line_makes_exactly_the_results_stale_that_it_has_a_part_in(copy, name, old, new, stale):
    assert changed_by(copy, name, old, new) == stale


def test_at_least_twenty_modules_are_changed():
    assert len({name for name, *_, stale in MUTANTS if stale}) >= 20


def test_the_copy_computes_as_this_library_does(copy):
    _, before = copy
    assert before == {key: measuring_source(*key[:2]) for key in MEASURED} | {
        key: training_source(method, *key[:2]) for method, keys in TRAINED.items() for key in keys}


def test_every_study_is_among_them():
    assert {(study.chapter, study.kind) for study in registry.every()} == {key[:2] for key in MEASURED}
    trains = {(study.chapter, study.kind) for study in registry.every() if study.training_set is not None}
    assert trains == {key[:2] for keys in TRAINED.values() for key in keys}
    used = {(record.study, record.kind, TRAINING, record.provenance["sources"][TRAINING]["method"])
            for chapter in registry.chapters() for record in store.published(chapter)
            if TRAINING in record.provenance["sources"]}
    assert used == set().union(*TRAINED.values())
