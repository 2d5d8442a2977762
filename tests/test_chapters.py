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


@pytest.mark.parametrize("cell", ["width = ", "width = 2 * 3", "width = other"])
def test_a_parameters_cell_that_cannot_be_read_is_named(project, cell):
    project.chapter("07_tiny", parameters=cell)
    with pytest.raises(ValueError, match="parameters cell of 07_tiny.py cannot be read") as refusal:
        chapters.run_chapter("tiny", {"width": 3})
    assert "\n" not in str(refusal.value)


def test_a_source_that_is_no_text_is_named(project):
    (project.folder / "notebooks" / "07_tiny.py").write_bytes("# %%".encode("utf-16"))
    with pytest.raises(ValueError, match="notebooks/07_tiny.py is no text in UTF-8") as refusal:
        chapters.run_chapter("tiny")
    assert "\n" not in str(refusal.value)


# Executed notebooks

GLUED = nbformat.v4.new_output("display_data", {"scrapbook/text/plain": "'a'"},
                               metadata={"scrapbook": {"name": "found", "mime_prefix": "scrapbook/"}})
NOTEBOOK = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("glue('found', 'a')", outputs=[GLUED])])


def test_a_notebook_cut_anywhere_is_one_line_with_its_path(tmp_path):
    path, text = tmp_path / "x.ipynb", nbformat.writes(NOTEBOOK).encode()
    path.write_bytes(text)
    assert chapters.glued(path) == {"found": "a"}
    for cut in range(0, len(text), len(text) // 10):
        path.write_bytes(text[:cut])
        with pytest.raises(ValueError, match="x.ipynb is no whole notebook") as refusal:
            chapters.glued(path)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", [
    b"[]", b"3", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"nbformat": 3}', b'{"x": NaN}',
    b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [3]}',
    b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}'])
def test_json_that_is_no_notebook_is_one_line_with_its_path(tmp_path, text):
    (tmp_path / "x.ipynb").write_bytes(text)
    with pytest.raises(ValueError, match="x.ipynb is no whole notebook") as refusal:
        chapters.read_notebook(tmp_path / "x.ipynb")
    assert "\n" not in str(refusal.value)


def test_an_absent_notebook_is_named_with_what_makes_it(tmp_path):
    with pytest.raises(ValueError, match="07_tiny.ipynb is absent: `dpgan publish 07_tiny` makes"):
        chapters.glued(tmp_path / "07_tiny.ipynb")


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
@pytest.mark.parametrize("name", ["My Clone [1]", "{width} and *?"])
def test_a_folders_name_is_no_pattern(project, name, monkeypatch):
    moved = project.folder / name
    for part in ("notebooks", "pyproject.toml"):
        moved.mkdir(exist_ok=True)
        (project.folder / part).rename(moved / part)
    monkeypatch.setattr(paths, "ROOT", moved)
    (moved / "notebooks" / "07_tiny.py").write_text('# %% tags=["parameters"]\nwidth = 2\n')
    assert chapters.run_chapter("tiny", {"width": 3}, progress=False) == moved / "build" / "07_tiny.ipynb"
    assert os.listdir(moved / "build") == ["07_tiny.ipynb"]


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
    assert _ended(int(Path("pid").read_text()))


@pytest.mark.full
def test_what_a_cell_started_ends_with_it_in_whatever_group_it_is(project, monkeypatch):
    """Where there are no process groups, as on Windows, nothing else ends it."""
    monkeypatch.delattr(os, "killpg")
    monkeypatch.delattr(os, "getpgid")
    start = "import os, subprocess\nchild = subprocess.Popen(['sleep', '600'], start_new_session=True)"
    project.chapter("07_tiny", start + "\nopen('pid', 'w').write(str(child.pid))",
                    "import signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(RuntimeError, match="the kernel died in cell 3"):
        chapters.run_chapter("tiny", progress=False)
    assert _ended(int(Path("pid").read_text()))
    assert not [name for name in os.environ if name.startswith("DPGAN_KERNEL")]


def _ended(pid: int) -> bool:
    deadline = time.monotonic() + 5  # seconds; a killed process is gone at once, or its parent has yet to reap it
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _alive(pid)


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_an_output_that_is_not_json_is_refused(tmp_path, constant):
    path = tmp_path / "x.ipynb"
    path.write_text(f'{{"metadata": {{"papermill": {{"parameters": {{"x": {constant}}}}}}}}}')
    with pytest.raises(RuntimeError, match=f"bare {constant}"):
        chapters._finish(path, "x")
