"""Publishing: a chapter and its records replaced together or not at all."""

import base64
import io
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import nbformat
from PIL import Image

from dpgan_lib import paths
from dpgan_lib.book.chapters import chapter_path, execute, read_notebook, read_source
from dpgan_lib.records import locks, store
from dpgan_lib.report import cards

FEW = 3  # stale records are named, up to so many of a study for the same reasons


def publish_chapter(name: str, timeout: float = 3600, progress: bool = True, holes: bool = False) -> Path:
    """Replace a chapter's published notebook and its study's records, and return the notebook's path.

    Records that are missing or stale are trained first (resumable) or, with holes, left as they are: nothing stale
    comes in, and what was published stays, marked as stale. Then the chapter is executed from a staged copy of the
    store, where training raises. Nothing published changes unless all of it succeeds.
    """
    from dpgan_lib.studies import registry  # late: it loads torch

    source = chapter_path(name)
    chapter = source.stem.split("_", 1)[1]
    records = [record for study in registry.studies(chapter) for record in study.to_publish(progress, holes)]
    work = paths.made(paths.build() / "publish") / source.stem
    published = source.with_suffix(".ipynb")
    with locks.held(paths.build() / "publish" / "lock"):
        shutil.rmtree(work, ignore_errors=True)
        staged = _staged_store(work / "results", chapter, records)
        with _environment(DPGAN_RECORDS_ONLY="1", DPGAN_PUBLISHED=str(staged)):
            executed = execute(read_source(source), work / f"{source.stem}.ipynb", {}, timeout=timeout,
                               progress=progress)
        _tidy(executed)
        with _all_or_nothing(work / "aside") as place:
            place(executed, published)
            if records:
                _promote(staged / chapter, paths.published() / chapter, place)
                store.update_manifest()  # last: it replaces one file, so nothing is left to undo after it
    return published


def _staged_store(store: Path, study: str, records: list) -> Path:
    """A copy of the published store in which the study has exactly these records."""
    published = paths.published()
    if published.is_dir():
        shutil.copytree(published, store)
    shutil.rmtree(store / study, ignore_errors=True)
    for record in records:
        shutil.copytree(record.folder, store / study / record.run_id)
    return store


@contextmanager
def _environment(**values: str):
    """Set environment variables, which the kernel inherits, for a while."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.__setitem__(key, value)


def _tidy(notebook: Path) -> None:
    """Leave what a reader sees and drop what every execution changes: timings, random cell ids, Python's version."""
    content = nbformat.read(notebook, as_version=4)
    content.metadata.pop("papermill", None)
    content.metadata.pop("jupytext", None)
    content.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content.metadata["language_info"] = {"name": "python"}
    for index, cell in enumerate(content.cells):
        cell["id"] = f"cell-{index:02d}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]  # papermill gives every cell an empty list
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _packed(output.data["image/png"])
    text = nbformat.writes(content) + "\n"
    if str(paths.project()) in text:
        raise RuntimeError(f"{notebook.name} shows the path {paths.project()}: print paths relative to the project")
    notebook.write_text(text, encoding="utf-8")


def _packed(picture: str) -> str:
    """A PNG in base64 with the same pixels in fewer bytes: without an idle alpha, and as a palette where that is
    exact.
    """
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA")
    if image.getextrema()[3] == (255, 255):
        image = image.convert("RGB")
        palette = image.quantize(256)
        image = palette if palette.convert("RGB").tobytes() == image.tobytes() else image
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return min(picture, base64.b64encode(file.getvalue()).decode(), key=len)


@contextmanager
def _all_or_nothing(aside: Path):
    """Gives place(new, target): rename new, unless it is None, to target, whose old content goes aside.

    An exception undoes every rename, the last one first.
    """
    aside.mkdir()
    done = []

    def move(source, target):
        os.replace(source, target)
        done.append((source, target))

    def place(new, target):
        if target.exists():
            move(target, aside / str(len(done)))
        if new is not None:
            move(new, target)

    try:
        yield place
    except BaseException:
        for source, target in reversed(done):
            os.replace(target, source)
        raise


def _promote(staged: Path, published: Path, place) -> None:
    """Bring in each staged record and drop those no longer of the study."""
    published.mkdir(parents=True, exist_ok=True)
    fresh = {record.name: record for record in staged.iterdir()}
    for name in sorted(fresh.keys() | {record.name for record in published.iterdir()}):
        place(fresh.get(name), published / name)


def out_of_date(notebook: Path) -> list[str]:
    """Why a published notebook no longer shows what its source and the records behind it say, a line each."""
    return [*edited(notebook), *stale_records(notebook)]


def stale_records(notebook: Path) -> list[str]:
    """The published records behind a published notebook that are out of date: a line for each study and reasons.

    These are the records of its own study and of every study that its code names; all, if it asks which there are.
    """
    code = "".join(cell.source for cell in read_notebook(notebook).cells if cell.cell_type == "code")
    own = notebook.stem.split("_", 1)[1]
    asks_all = "published_studies()" in code
    behind = [chapter for chapter in store.published_studies() if asks_all or chapter == own or f'"{chapter}"' in code]
    lines = []
    for chapter in behind:
        alike: dict[str, list[str]] = {}
        records = store.published(chapter)
        for record in records:
            alike.setdefault("; ".join(store.staleness(record)), []).append(cards.run_name(record))
        lines += [f"{chapter}, {', '.join(names) if len(names) <= FEW else f'{len(names)} of {len(records)} records'}: "
                  f"{reasons}" for reasons, names in alike.items() if reasons]
    return lines


def edited(notebook: Path) -> list[str]:
    """That a published notebook's source has changed since, in one line; nothing if it has not."""
    source = notebook.with_suffix(".py")
    if _cells(read_notebook(notebook)) == _cells(read_source(source)):
        return []
    name = source.stem.partition("_")[2]
    return [f"{paths.shown(source)} has been edited since: `dpgan publish {name}` executes it"]


def _cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source.strip()) for cell in notebook.cells]
