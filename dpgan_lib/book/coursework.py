"""Coursework: from one master each, what a student gets and what an instructor keeps, by nbgrader's own preprocessors.

A master is a notebook as a py:percent file. Its solutions and hidden tests stand between nbgrader's markers, and the
header of a cell says `nbgrader={"grade_id": ..., "solution": true}` or `nbgrader={"grade_id": ..., "points": ...}`.
"""

from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.nbgraderformat import SCHEMA_VERSION
from nbgrader.preprocessors import CheckCellMetadata, ClearHiddenTests, ClearSolutions, ComputeChecksums, LockCells

from dpgan_lib import paths
from dpgan_lib.book.chapters import read_source

CONFIG = """c = get_config()  # nbgrader's commands read this, in the folder where they are called
c.CourseDirectory.course_id = "private_and_specific"
c.CourseDirectory.source_directory = "instructor"
c.CourseDirectory.release_directory = "student"
c.Execute.timeout = 300  # seconds a cell; the default is hard on a busy machine that imports torch
"""


def masters() -> dict[str, Path]:
    """The hand-edited masters by name: {"break_and_mend": .../book/coursework/break_and_mend.py, ...}."""
    return {path.stem: path for path in sorted((paths.project() / "book" / "coursework").glob("*.py"))}


def instructor(master: Path) -> NotebookNode:
    """The notebook with its solutions and hidden tests: what nbgrader calls the source of an assignment."""
    notebook = read_source(master)
    notebook.metadata.pop("jupytext", None)
    notebook.metadata["language_info"] = {"name": "python"}
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index:02d}"  # jupytext draws one at random
        cell.metadata.pop("lines_to_next_cell", None)
        if "nbgrader" in cell.metadata:
            cell.metadata["nbgrader"] = _completed(cell.metadata["nbgrader"])
    return _through(notebook, CheckCellMetadata, ComputeChecksums)


def _completed(short: dict) -> dict:
    """nbgrader's metadata of a cell, all of it: one with points is a locked cell of tests."""
    is_test = "points" in short
    return dict(schema_version=SCHEMA_VERSION, grade=is_test, locked=is_test, solution=False, task=False) | short


def student(master: Path) -> NotebookNode:
    """The notebook that is handed out: stubs for the solutions, no hidden test, the graded cells locked."""
    return _through(instructor(master), LockCells, ClearSolutions, ClearHiddenTests, ComputeChecksums,
                    CheckCellMetadata)


def _through(notebook: NotebookNode, *preprocessors) -> NotebookNode:
    """The notebook after nbgrader's preprocessors. They raise for a marker without its pair or a grade_id used
    twice.
    """
    for preprocessor in preprocessors:
        notebook, _ = preprocessor().preprocess(notebook, {})
    return notebook


def points(master: Path) -> dict[str, int]:
    """The points of each graded cell, by its grade_id."""
    cells = [cell.metadata.get("nbgrader", {}) for cell in instructor(master).cells]
    return {cell["grade_id"]: cell["points"] for cell in cells if cell.get("grade")}


def title(master: Path) -> str:
    """The notebook's heading."""
    return read_source(master).cells[0].source.splitlines()[0].removeprefix("# ")


def build(folder: Path) -> list[Path]:
    """Write both versions of every assignment in the layout that nbgrader's commands expect; returns the notebooks.

    folder: gets instructor/<name>/<name>.ipynb, student/<name>/<name>.ipynb and nbgrader_config.py.
    Raises ValueError, and writes nothing, if one of these is there with other content: somebody may have edited it.
    """
    notebooks = {folder / kind / name / f"{name}.ipynb": _text(version(master))
                 for kind, version in (("instructor", instructor), ("student", student))
                 for name, master in masters().items()}
    files = notebooks | {folder / "nbgrader_config.py": CONFIG}
    if others := [path for path, text in files.items() if path.exists() and path.read_bytes() != text.encode()]:
        raise ValueError(f"{', '.join(map(str, others))}: there already, and edited or of another version. Nothing was "
                         "written: move it away, or name another folder.")
    for path, text in files.items():
        _write(text, path)
    return list(notebooks)


def stage(folder: Path) -> None:
    """Write what the book offers into its folder coursework/: the student versions, and a table of points."""
    for name, master in masters().items():
        _write(_text(student(master)), folder / f"{name}.ipynb")
    (folder / "points.md").write_text(points_table(), encoding="utf-8")


def points_table() -> str:
    """Assignments, their graded cells and points, as a Markdown table; the notebooks themselves are counted."""
    rows = [(title(master), points(master)) for master in masters().values()]
    lines = [f"| {name} | {len(each)} | {sum(each.values())} |" for name, each in rows]
    return "\n".join(["| assignment | graded cells | points |", "|---|---|---|", *lines]) + "\n"


def _text(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook) + "\n"


def _write(text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())  # the same bytes on every system
