"""The `dpgan` command over stand-ins of the library: what it passes on, prints and exits with."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from dpgan_lib import cli, data, paths
from dpgan_lib.book import chapters, publish, site
from dpgan_lib.data import celeba
from dpgan_lib.records import store, verify
from dpgan_lib.report import cards
from dpgan_lib.studies import registry
from dpgan_lib.studies.cost import study as cost
from dpgan_lib.studies.cost import tables as cost_tables
from dpgan_lib.studies.study import Study

GLUED = {
    "epsilon_asked": 3, "epsilon_spent": 2.98, "delta": 1e-5, "accuracy_ten": "one of ten", "accuracy_pairs": "all",
    "status": "current",
}  # fmt: skip


@dataclass
class Parameters:
    """Stands in for a chapter's parameters."""

    epsilon: float = 10.0
    seed: int = 0

    def check(self):
        if self.epsilon != "inf" and self.epsilon <= 0:
            raise ValueError(f"epsilon={self.epsilon} must be positive")


@pytest.fixture
def dpgan():
    def call(*arguments: str):
        return CliRunner().invoke(cli.main, arguments)

    return call


@pytest.fixture
def calls(monkeypatch):
    """What the command asked the book for, instead of doing it."""
    asked = []

    def note(module, name, result):
        monkeypatch.setattr(module, name, lambda *given: asked.append((name, *given)) or result)

    note(chapters, "run_chapter", Path("build/05_mnist_tradeoff.ipynb"))
    note(publish, "publish_chapter", Path("notebooks/05_mnist_tradeoff.ipynb"))
    note(site, "build_book", Path("build/site/index.html"))
    monkeypatch.setattr(chapters, "chapter_path", lambda name: Path(f"notebooks/05_{name}.py"))
    monkeypatch.setattr(chapters, "glued", lambda notebook: dict(GLUED))
    monkeypatch.setattr(publish, "stale_records", lambda notebook: [])
    monkeypatch.setattr(publish, "edited", lambda notebook: [])
    return asked


def test_help_loads_nothing_heavy():
    code = "import sys, dpgan_lib.cli; print(sorted({'torch', 'numpy', 'papermill', 'jupytext'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "text, value",
    [("2", 2), ("-1", -1), ("0.5", 0.5), ("1e-6", 1e-6), ("inf", float("inf")), ("True", True), ("mnist", "mnist"),
     ("1; x", "1; x")],
)  # fmt: skip
def test_a_parameter_is_passed_on_as_a_value(dpgan, calls, text, value):
    assert dpgan("run", "mnist_tradeoff", "-p", "x", text).exit_code == 0
    passed = calls[0][2]["x"]
    assert passed == value and type(passed) is type(value)


def test_run_passes_on_where_and_how(dpgan, calls):
    result = dpgan("--quiet", "run", "mnist_tradeoff", "-p", "epsilon", "2", "-o", "a.ipynb", "--timeout", "5")
    assert calls == [("run_chapter", "mnist_tradeoff", {"epsilon": 2}, "a.ipynb", 5.0, False)]
    assert result.stdout == "build/05_mnist_tradeoff.ipynb\n"


@pytest.mark.parametrize("error, status", [(ValueError, 2), (RuntimeError, 1), (FileNotFoundError, 1)])
def test_a_failure_is_one_line_on_stderr(dpgan, monkeypatch, error, status):
    def fail(*_):
        raise error("a cell\nfailed")

    monkeypatch.setattr(chapters, "run_chapter", fail)
    result = dpgan("run", "mnist_tradeoff")
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", "Error: a cell failed\n")


def test_an_unknown_chapter_or_option_is_refused(dpgan):
    assert dpgan("run", "no_such_chapter").exit_code == 2
    assert dpgan("run", "mnist_tradeoff", "--timeout", "0").exit_code == 2
    assert dpgan("run", "mnist_tradeoff", "--nothing").exit_code == 2


def test_publish_takes_one_chapter_or_all(dpgan, calls, monkeypatch):
    monkeypatch.setattr(paths, "chapters", lambda: {"one": Path(), "two": Path()})
    assert dpgan("publish", "one").exit_code == dpgan("publish").exit_code == 0
    assert [call[:2] for call in calls] == [("publish_chapter", name) for name in ("one", "one", "two")]


def test_book_executes_builds_and_says_what_came_out(dpgan, calls):
    result = dpgan("book", "-p", "epsilon", "3")
    executed = ("run_chapter", "mnist_tradeoff", {"epsilon": 3}, None, 3600, True)
    assert calls == [executed, ("build_book", {"mnist_tradeoff": Path("build/05_mnist_tradeoff.ipynb")}, True)]
    assert result.stdout == (
        "epsilon asked  3\n"
        "epsilon spent  2.98 (total, delta = 1e-05, add/remove one record, PLD)\n"
        "accuracy       ten classes one of ten, digit pairs all\n"
        "page           build/site/notebooks/05_mnist_tradeoff.html\n"
    )


def test_book_without_parameters_shows_what_is_published(dpgan, calls):
    assert dpgan("book").exit_code == 0
    assert calls == [("build_book", {}, True)]


def test_book_ends_with_the_status_of_what_is_stale(dpgan, calls, monkeypatch):
    assert "status" not in dpgan("book").stdout
    monkeypatch.setattr(publish, "stale_records", lambda notebook: ["epsilon 1, seed 0: source changed"])
    assert "status         stale: epsilon 1, seed 0: source changed\n" in dpgan("book").stdout
    monkeypatch.setattr(chapters, "glued", lambda notebook: GLUED | {"status": "stale: card changed"})
    assert "status         stale: card changed\n" in dpgan("book", "-p", "epsilon", "3").stdout


def test_book_shows_what_a_chapter_glues_and_is_content_with_that(dpgan, calls, monkeypatch):
    without_accuracy = {name: value for name, value in GLUED.items() if not name.startswith("accuracy")}
    for glued, lines in ((without_accuracy, 3), ({"delta": 1e-5, "epsilon_pld": 2.0}, 1), ({}, 1)):
        monkeypatch.setattr(chapters, "glued", lambda notebook, glued=glued: dict(glued))
        result = dpgan("book", "--chapter", "accountant")
        assert (result.exit_code, len(result.stdout.splitlines())) == (0, lines)
        assert result.stdout.splitlines()[-1] == "page           build/site/notebooks/05_accountant.html"


def test_book_builds_nothing_for_a_chapter_that_cannot_be_read(dpgan, calls, monkeypatch):
    def refuse(notebook):
        raise ValueError(f"{notebook} is no whole notebook")

    monkeypatch.setattr(chapters, "glued", refuse)
    assert dpgan("book").exit_code == 2 and calls == []


def test_book_names_every_chapter_that_was_edited_since_it_was_published(dpgan, calls, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "chapters", lambda: {name: tmp_path / f"0{number}_{name}.py" for number, name in
                                                    enumerate(["one", "two", "draft", "mnist_tradeoff"], 2)})
    for name in ("02_one.ipynb", "03_two.ipynb"):  # the draft is not published
        (tmp_path / name).touch()
    monkeypatch.setattr(publish, "edited", lambda notebook: [f"{notebook.stem} edited"] * (notebook.stem != "02_one"))
    assert dpgan("book").stdout.splitlines()[3:5] == [
        "status         stale: 05_mnist_tradeoff edited", "stale          03_two edited"]


def test_the_module_is_the_command(tmp_path):
    done = subprocess.run([sys.executable, "-m", "dpgan_lib.cli", "no_such"], capture_output=True, text=True)
    assert done.returncode == 2 and "No such command 'no_such'" in done.stderr


class Noting(Study):
    """A study that notes what it is asked for. Its run ids follow from the seed; it gives `record`."""

    def address(self, asked):
        return f"run{asked.seed}"

    def _compute(self, asked, max_minutes, progress):
        NOTED.append((asked, {"max_minutes": max_minutes, "progress": progress}))
        return self.measure

    def measure_again(self, record, *, progress=True):
        NOTED.append((record, {"progress": progress}))
        return SimpleNamespace(folder=Path("runs/s/new"))


NOTED = []
CELLS = (Parameters(),)


@pytest.fixture
def study(monkeypatch):
    """study(record): the only study is "s", and it computes a record in that folder, or none."""
    NOTED.clear()

    def give(record="runs/s/aaaa", grid=CELLS):
        record = record and SimpleNamespace(folder=Path(record))
        noting = Noting(chapter="s", asked=Parameters, grid=grid, plan=None, measure=record)
        monkeypatch.setattr(registry, "chapters", lambda: ["s"])
        monkeypatch.setattr(registry, "studies", lambda chapter: [noting] if chapter == "s" else [])
        monkeypatch.setattr(registry, "study_of", lambda record: noting)
        return noting

    monkeypatch.setattr(store, "find", lambda study, run: None)
    return give


def test_train_prints_where_the_record_is_and_its_status(dpgan, study, monkeypatch):
    study()
    monkeypatch.setattr(cards, "status", lambda record: "stale: source changed")
    result = dpgan("--quiet", "train", "-p", "epsilon", "2", "--study", "s", "--max-minutes", "0.5")
    assert (result.exit_code, result.stdout) == (0, "runs/s/aaaa\nstale: source changed\n")
    assert NOTED == [(Parameters(epsilon=2.0), {"max_minutes": 0.5, "progress": False})]


def test_train_computes_what_is_there_only_if_told_so(dpgan, study, monkeypatch):
    study()
    monkeypatch.setattr(cards, "status", lambda record: "current")
    monkeypatch.setattr(store, "find", lambda study, run: SimpleNamespace(folder=Path("runs/s/old")))
    assert dpgan("train", "--study", "s").stdout == "runs/s/old\ncurrent\n" and not NOTED
    assert dpgan("train", "--study", "s", "--fresh").stdout == "runs/s/aaaa\ncurrent\n"


def test_train_takes_what_has_no_default_from_the_grid(dpgan, study, monkeypatch):
    @dataclass
    class Bare:
        epsilon: float
        seed: int = 0

        def check(self):
            pass

    study()
    bare = Noting(chapter="s", asked=Bare, grid=(Bare(epsilon=7.0),), plan=None, measure=None)
    monkeypatch.setattr(registry, "studies", lambda chapter: [bare])
    for given in ((), ("-p", "epsilon", "2"), ("-p", "seed", "1")):
        dpgan("train", "--study", "s", *given)
    assert [asked for asked, _ in NOTED] == [Bare(epsilon=7.0), Bare(epsilon=2.0), Bare(epsilon=7.0, seed=1)]


def test_train_stopped_early_says_how_to_go_on(dpgan, study):
    study(record=None)
    result = dpgan("train", "--study", "s", "--max-minutes", "1")
    assert (result.exit_code, result.stdout, result.stderr) == (75, "", "stopped early: run it again to resume\n")


def test_train_refuses_a_chapter_without_a_study(dpgan, study):
    study()
    result = dpgan("train", "--study", "t")
    assert result.exit_code == 2
    assert "'t' is no study with a grid: it must be a chapter, or a study, of s/run" in result.stderr


def test_measure_takes_records_or_what_is_stale_in_its_measuring_alone(dpgan, study, monkeypatch):
    study()
    records = {name: SimpleNamespace(study="s", kind="run", reasons=reasons) for name, reasons in {
        "s/one": [], "s/two": [store.CHANGED["measuring"]],
        "s/three": [store.CHANGED["training"], store.CHANGED["measuring"]]}.items()}
    monkeypatch.setattr(verify, "find", records.__getitem__)
    monkeypatch.setattr(store, "published", lambda study: list(records.values()))
    monkeypatch.setattr(store, "staleness", lambda record: record.reasons)
    assert dpgan("--quiet", "measure", "s/one").stdout == "runs/s/new\n"
    assert dpgan("measure", "--study", "s").stdout == "runs/s/new\n"
    assert NOTED == [(records["s/one"], {"progress": False}), (records["s/two"], {"progress": True})]
    refused = dpgan("measure")
    assert refused.exit_code == 2 and "nothing to measure" in refused.stderr


@pytest.mark.parametrize("wrong", [("epsilom", "2"), ("epsilon", "0"), ("epsilon", "nan"), ("seed", "1.5")])
def test_train_refuses_what_the_experiment_does_not_take(dpgan, study, wrong):
    study()
    result = dpgan("train", "--study", "s", "-p", *wrong)
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert not NOTED


def test_status_tells_every_state(dpgan, study, monkeypatch):
    noting = study(grid=tuple(Parameters(seed=seed) for seed in range(4)))
    machines = SimpleNamespace(states=lambda: ["cost/run7  a machine  current"])
    monkeypatch.setattr(registry, "every", lambda: [noting, machines])
    for name, stand_in in {
        "published": lambda study: [SimpleNamespace(run_id="run0"), SimpleNamespace(run_id="run1")],
        "staleness": lambda record: ["source changed", "card changed"] if record.run_id == "run1" else [],
        "find": lambda study, run: object() if run == "run2" else None,
        "check_manifest": lambda: ["s/run9 is not in it"],
    }.items():
        monkeypatch.setattr(store, name, stand_in)
    result = dpgan("status")
    assert result.exit_code == 0
    assert [line.split("  ")[-1] for line in result.stdout.splitlines()] == [
        "current", "stale: source changed; card changed", "computed here, not published", "missing", "current",
        "manifest: s/run9 is not in it",
    ]  # fmt: skip


def test_data_fetch_and_check_name_what_they_did(dpgan, monkeypatch):
    files = {"a": [Path("cache/a/x.gz")], "b": []}
    monkeypatch.setattr(data, "CARDS", files)
    monkeypatch.setattr(data, "fetch", lambda name, progress: files[name])
    monkeypatch.setattr(data, "check", files.__getitem__)
    assert dpgan("data", "fetch").stdout == "a: 1 files downloaded\nb: nothing to download\n"
    assert dpgan("data", "check", "a").stdout == "a: as its card says, in cache/a\n"
    assert dpgan("data", "check").stdout.endswith("b: as its card says, embedded\n")


def test_celeba_is_counted_and_never_downloaded(dpgan, monkeypatch):
    monkeypatch.setattr(celeba, "REMEDY", "Put it into {folder}.")
    monkeypatch.setattr(celeba, "summary", lambda: {"train": 3, "people": 2, "found": ["3 images in img_align_celeba"]})
    assert dpgan("data", "check", "celeba").stdout == "celeba: train 3, people 2\n3 images in img_align_celeba\n"
    refused = dpgan("data", "fetch", "celeba")
    assert refused.exit_code == 2 and "Put it into $DPGAN_DATA/celeba." in refused.stderr


def test_bench_prints_the_targets_and_the_records_folder(dpgan, monkeypatch, tmp_path):
    record = SimpleNamespace(folder=Path("runs/cost/1"), content={"metrics": {}})
    asked = []
    monkeypatch.setattr(cost_tables, "summary", lambda record: "a target  met")
    monkeypatch.setattr(cost, "read_measured", lambda path: json.loads(path.read_text()))
    monkeypatch.setattr(cost, "benchmark", lambda measured, progress: asked.append(measured) or record)
    assert dpgan("bench").stdout == "a target  met\nruns/cost/1\n"
    (tmp_path / "measured.json").write_text('{"seconds": 1}')
    assert json.loads(dpgan("bench", "--json", "--measured", str(tmp_path / "measured.json")).stdout) == record.content
    assert asked == [None, {"seconds": 1}]
