"""The strict papermill wrapper, on tiny notebooks in a project of their own."""

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest

from dpgan_lib import paths
from dpgan_lib.book import chapters
from dpgan_lib.studies import registry

KNOWN = {"epsilon": 10.0, "seed": 0, "dataset": "mnist", "paired": True, "delta": 1e-5}


# Names


@pytest.mark.parametrize("name", ["tiny", "07_tiny"])
def test_a_chapter_has_two_names(project, name):
    project.chapter("07_tiny")
    assert chapters.chapter_path(name) == project.folder / "notebooks" / "07_tiny.py"


@pytest.mark.parametrize("name", ["tinny", "7_tiny", "../tiny", ""])
def test_an_unknown_chapter_is_refused(project, name):
    project.chapter("07_tiny")
    with pytest.raises(ValueError, match="unknown: .*tiny"):
        chapters.chapter_path(name)


def test_the_root_is_this_project():
    assert (paths.project() / "dpgan_lib" / "book" / "chapters.py").samefile(chapters.__file__)


# Parameters


@pytest.mark.parametrize(
    "given, passed",
    [({"epsilon": 2}, {"epsilon": 2.0}), ({"epsilon": math.inf}, {"epsilon": "inf"}),
     ({"epsilon": "inf"}, {"epsilon": "inf"}), ({"seed": 3, "paired": False}, {"seed": 3, "paired": False}), ({}, {})],
)  # fmt: skip
def test_values_that_fit_are_passed_as_strict_json(given, passed):
    checked = chapters.check_values(given, KNOWN, "05_x")
    assert checked == passed
    assert [type(value) for value in checked.values()] == [type(value) for value in passed.values()]
    json.dumps(checked, allow_nan=False)


@pytest.mark.parametrize(
    "given, says",
    [
        ({"epsilom": 2.0}, "did you mean 'epsilon'"),
        ({"zzz": 2.0}, "choose from epsilon, seed"),
        ({"seed=1; import os": 1}, "is not a parameter's name"),
        ({"epsilon": "two"}, "must be of type float"),
        ({"epsilon": True}, "must be of type float"),
        ({"epsilon": math.nan}, "finite"),
        ({"delta": math.inf}, "finite"),
        ({"delta": "inf"}, "must be of type float"),
        ({"seed": 1.0}, "must be of type int"),
        ({"seed": True}, "must be of type int"),
        ({"paired": 1}, "must be of type bool"),
        ({"dataset": 3}, "must be of type str"),
        ({"dataset": None}, "must be of type str"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_one_line(given, says):
    with pytest.raises(ValueError, match=says) as refusal:
        chapters.check_values(given, KNOWN, "05_x")
    assert "\n" not in str(refusal.value)


def test_values_are_checked_as_the_chapters_before_a_kernel_starts(project, monkeypatch):
    @dataclass
    class Parameters:
        width: int = 1

        def check(self):
            if self.width < 1:
                raise ValueError(f"width={self.width} must be at least 1")

    monkeypatch.setattr(registry, "parameters", {"tiny": Parameters}.get)
    monkeypatch.setattr(chapters, "execute", lambda *_, **__: pytest.fail("a kernel would start"))
    project.chapter("07_tiny")
    with pytest.raises(ValueError, match="width=-1"):
        chapters.run_chapter("tiny", {"width": -1})


def test_a_notebook_without_a_parameters_cell_is_refused(project):
    (project.folder / "notebooks" / "07_tiny.py").write_text("# %%\nwidth = 2\n")
    with pytest.raises(ValueError, match="0 cells tagged 'parameters'"):
        chapters.run_chapter("tiny", {"width": 3})


# Output paths


@pytest.mark.parametrize(
    "output, says",
    [("../out.ipynb", "outside"), ("/out.ipynb", "outside"), ("away/out.ipynb", "outside"),
     ("link.ipynb", "outside"), ("out.txt", "end it in .ipynb"), ("folder.ipynb", "end it in .ipynb"),
     ("notebooks/07_tiny.ipynb", "notebooks/")],
)  # fmt: skip
def test_an_output_path_that_leads_elsewhere_is_refused(project, tmp_path_factory, output, says):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (project.folder / "away").symlink_to(elsewhere)
    (project.folder / "link.ipynb").symlink_to(elsewhere / "target.ipynb")
    (project.folder / "folder.ipynb").mkdir()
    project.chapter("07_tiny")
    with pytest.raises(ValueError, match=says):
        chapters.run_chapter("tiny", output=output)
    assert not list(elsewhere.iterdir())


def test_without_an_output_path_build_takes_it_wherever_that_is(project, tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("DPGAN_HOME", str(home))
    monkeypatch.setattr(chapters, "execute", lambda notebook, target, values, **_: target)
    project.chapter("07_tiny")
    assert chapters.run_chapter("tiny") == home / "build" / "07_tiny.ipynb"


# Execution: each of these starts one kernel


@pytest.mark.full
def test_a_run_is_parametrised_complete_and_leaves_nothing_else(project):
    glue = "from myst_nb import glue\nglue('where', os.getcwd(), display=False)\nglue('asked', epsilon, display=False)"
    project.chapter("07_tiny", "import os\n" + glue, "glue('width', width / 4)", parameters="epsilon = 10.0\nwidth = 2")
    path = chapters.run_chapter("tiny", {"width": 3, "epsilon": math.inf}, "out/x.ipynb", progress=False)
    assert path == project.folder / "out" / "x.ipynb"
    assert chapters.glued(path) == {"where": str(project.folder), "asked": "inf", "width": 0.75}
    assert os.listdir("out") == ["x.ipynb"]
    assert "papermill" in nbformat.read(path, as_version=4).metadata
    assert "Infinity" not in path.read_text()


@pytest.mark.full
def test_what_a_cell_prints_slowly_is_one_output(project):
    slowly = "import time\nfor part in range(3):\n    print(part, flush=True)\n    time.sleep(0.3)"
    project.chapter("07_tiny", slowly, parameters="width = 2")
    path = chapters.run_chapter("tiny", output="out/x.ipynb", progress=False)
    (cell,) = [cell for cell in nbformat.read(path, as_version=4).cells if cell.source == slowly]
    assert [output.text for output in cell.outputs] == ["0\n1\n2\n"]


@pytest.mark.full
def test_a_failing_cell_leaves_the_old_output(project):
    project.chapter("07_tiny", "1 / 0")
    Path("old.ipynb").write_text("old")
    with pytest.raises(RuntimeError, match=r"cell 2 \('1 / 0'\) failed: ZeroDivisionError: .*build/old.failed.ipynb"):
        chapters.run_chapter("tiny", output="old.ipynb", progress=False)
    assert Path("old.ipynb").read_text() == "old"
    assert "Traceback" in Path("build/old.failed.ipynb").read_text()
    assert sorted(os.listdir()) == ["build", "notebooks", "old.ipynb", "pyproject.toml"]


@pytest.mark.full
def test_a_killed_kernel_is_reported_as_died(project):
    project.chapter("07_tiny", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    Path("old.ipynb").write_text("old")
    with pytest.raises(RuntimeError, match="the kernel died in cell 2"):
        chapters.run_chapter("tiny", output="old.ipynb", progress=False)
    assert Path("old.ipynb").read_text() == "old"
    assert sorted(os.listdir()) == ["notebooks", "old.ipynb", "pyproject.toml"]


@pytest.mark.full
def test_a_hung_cell_times_out_and_its_children_end(project):
    hang = "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nopen('pid', 'w').write(str(child.pid))"
    project.chapter("07_tiny", hang + "\nchild.wait()")
    with pytest.raises(RuntimeError, match=r"cell 2 .* ran longer than 1 s"):
        chapters.run_chapter("tiny", timeout=1, progress=False)
    child = int(Path("pid").read_text())
    deadline = time.monotonic() + 5  # seconds; a killed process is gone at once, or its parent has yet to reap it
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_an_output_that_is_not_json_is_refused(tmp_path, constant):
    path = tmp_path / "x.ipynb"
    path.write_text(f'{{"metadata": {{"papermill": {{"parameters": {{"x": {constant}}}}}}}}}')
    with pytest.raises(RuntimeError, match=f"bare {constant}"):
        chapters._finish(path, "x")
