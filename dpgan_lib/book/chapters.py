"""Chapters by name, and papermill made strict: a re-execution gives a whole, correct output or leaves the old one."""

import ast
import json
import logging
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import jupytext
import nbformat
import papermill
import psutil
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.validator import get_validator
from papermill.exceptions import PapermillExecutionError

from dpgan_lib import paths
from dpgan_lib.book.values import fitted, nearest
from dpgan_lib.records.store import strict_json

logging.getLogger("papermill").addHandler(logging.NullHandler())  # what it logs is also raised


def chapter_path(name: str) -> Path:
    """The source of a chapter named with or without its number. Raises ValueError, with the nearest name."""
    known = paths.chapters()
    for short, path in known.items():
        if name in (short, path.stem):
            return path
    raise ValueError(f"chapter {name!r} is unknown{nearest(name, known)}")


def run_chapter(name, parameters=None, output=None, timeout=3600, progress=True) -> Path:
    """Re-execute a chapter, from the project's folder, and return the path of the result.

    parameters: values by name; epsilon may be inf or "inf".  output: build/NN_name.ipynb unless given.
    timeout: seconds for each cell.
    The output is replaced only by a complete run. Raises ValueError before a kernel starts if a name, a type, a value
    or the path is wrong; RuntimeError if a cell fails (traceback in build/*.failed.ipynb), hangs, or the kernel dies.
    """
    source = chapter_path(name)
    notebook = read_source(source)
    values = check_values(parameters or {}, defaults(notebook, source.name), source.stem)
    target = output_path(output or paths.build() / f"{source.stem}.ipynb")
    return execute(notebook, target, values, timeout=timeout, progress=progress)


def read_source(path: Path) -> nbformat.NotebookNode:
    """The notebook that a py:percent file describes. Raises ValueError, one line with the path, if it is no text."""
    try:
        return jupytext.read(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{paths.shown(path)} is no text in UTF-8 ({error}): save it as such, or restore it with "
                         "git.") from None


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """An executed notebook. Raises ValueError, one line with the path, if it is absent or no strict, whole notebook."""
    try:
        text = path.read_bytes()
        get_validator(4, 5).validate(strict_json(text))
    except FileNotFoundError:
        raise ValueError(f"{paths.shown(path)} is absent: `dpgan publish {path.stem}` makes a chapter's.") from None
    except (ValueError, nbformat.ValidationError) as error:
        raise ValueError(f"{paths.shown(path)} is no whole notebook ({str(error).splitlines()[0]}): execute it again, "
                         "or restore it with git.") from None
    return nbformat.reads(text.decode(), as_version=4)


def defaults(notebook, name: str) -> dict:
    """Names and default values in the notebook's parameters cell. Raises ValueError if it has none, or others than
    plain values.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"{name} has {len(cells)} cells tagged 'parameters', expected 1: tag the cell of its scalars")
    try:
        return {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(cells[0].source).body
                if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)}
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"the parameters cell of {name} cannot be read ({error}): give each name a plain value, such "
                         "as epsilon = 10.0") from None


def check_values(values: dict, known: dict, name: str) -> dict:
    """The values, ready for strict JSON, or ValueError at the first that the known defaults do not fit."""
    checked = fitted(values, known, name)
    from dpgan_lib.studies import registry  # late: torch comes with the parameters, and a wrong name is refused without

    kind = registry.parameters(name.partition("_")[2])
    if kind is not None:
        kind(**known | checked).check()
    return checked


def output_path(output) -> Path:
    """Where an execution may write: an .ipynb inside the current or the project's folder or build/, links followed.

    Raises ValueError outside these, and in notebooks/, which only publishing replaces.
    """
    target = Path(output).resolve()
    if target.suffix != ".ipynb" or target.is_dir():
        raise ValueError(f"output {output} must be a notebook's file name: end it in .ipynb")
    if not any(target.is_relative_to(folder.resolve()) for folder in (Path.cwd(), paths.project(), paths.build())):
        raise ValueError(f"output {output} leads to {target}, outside this folder: name a path inside {Path.cwd()}")
    if target.is_relative_to(paths.project() / "notebooks"):
        raise ValueError(f"output {output} lies in notebooks/: name another folder, or use `dpgan publish`")
    return target


def execute(notebook, target: Path, values: dict, *, timeout: float, progress: bool) -> Path:
    """Run a notebook's cells through papermill into a file beside the target, then rename it over the target."""
    paths.made(target.parent)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.ipynb")
    seen = ["the first cell"]
    try:
        nbformat.write(notebook, partial)
        as_named = str(partial).replace("{", "{{").replace("}", "}}")  # papermill fills parameters into paths
        with _kernel_ends():
            papermill.execute_notebook(
                as_named, as_named, values, kernel_name="python3", language="python", cwd=paths.project(),
                execution_timeout=timeout, progress_bar=progress,
                stderr_file=sys.stderr if progress else None,  # the bars of a training in a cell
                coalesce_streams=True,  # what a cell prints is one output, however slowly it comes
                shutdown_kernel="immediate",  # a polite request to a kernel in a hung cell ends in tracebacks
                extra_arguments=["--Application.log_level=ERROR"],  # else every kernel notes that it uses loopback TCP
                on_cell_execute=lambda cell, cell_index: seen.append(_describe(cell, cell_index)),
            )  # fmt: skip
        _finish(partial, target.stem)
        os.replace(partial, target)
    except PapermillExecutionError as error:
        kept = _keep_failed(partial, target.stem)
        reason = (error.evalue.splitlines() or [""])[0]
        raise RuntimeError(f"{target.stem}: {seen[-1]} failed: {error.ename}: {reason} (see {kept})") from None
    except CellTimeoutError:
        raise RuntimeError(f"{target.stem}: {seen[-1]} ran longer than {timeout} s and was stopped") from None
    except DeadKernelError:
        raise RuntimeError(f"{target.stem}: the kernel died in {seen[-1]} (killed, or out of memory)") from None
    finally:
        partial.unlink(missing_ok=True)
    return target


def _keep_failed(partial: Path, stem: str) -> Path:
    """Move a failed execution, with its full traceback, to build/; its path from the project's folder."""
    kept = paths.made(paths.build()) / f"{stem}.failed.ipynb"
    os.replace(partial, kept)
    return paths.shown(kept)


def _finish(partial: Path, name: str) -> None:
    """Refuse what JSON does not have, and drop papermill's note of the temporary file."""
    def refuse(constant):
        raise RuntimeError(f"{name} holds a bare {constant}, which is not JSON: show or pass it as a string")

    content = json.loads(partial.read_text(encoding="utf-8"), parse_constant=refuse)
    for key in ("input_path", "output_path"):
        del content["metadata"]["papermill"][key]
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _describe(cell, index: int) -> str:
    first = next((line for line in cell.source.splitlines() if line.strip()), "")
    return f"cell {index + 1} ({first[:60]!r})"


@contextmanager
def _kernel_ends():
    """While it lasts, what is started carries a mark in its environment; at the end, every process with it is killed.

    A kernel stopped by a timeout, or dead, does not take along the processes that a cell started, and once it is gone
    they are nobody's children.
    """
    mark = f"DPGAN_KERNEL_{uuid4().hex}"
    os.environ[mark] = "1"
    try:
        yield
    finally:
        del os.environ[mark]
        for process in psutil.process_iter(["environ"]):
            if mark in (process.info["environ"] or ()):  # None: another user's
                with suppress(psutil.Error):  # it has ended meanwhile
                    process.kill()


def glued(notebook: Path) -> dict:
    """The text and number values that an executed notebook glued, by name (figures are left out).

    Raises ValueError, one line with the path, if it is absent or no whole notebook.
    """
    values = {}
    for output in (output for cell in read_notebook(notebook).cells for output in cell.get("outputs", [])):
        scrap = output.get("metadata", {}).get("scrapbook")
        if scrap and not any("image/" in kind for kind in output.data):
            values[scrap.name] = _value(output.data[scrap.mime_prefix + "text/plain"])
    return values


def _value(text: str):
    with suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    return text
