"""Publishing: a chapter and its records replaced together or not at all, and the book built to be read offline."""

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import jupytext
import nbformat
from PIL import Image
from tqdm import tqdm

from dpgan_lib import pages
from dpgan_lib.chapters import chapter_path, execute, glued, root, run_chapter

__all__ = ["build_book", "chapter_path", "glued", "publish_chapter", "root", "run_chapter", "stale_records"]


def publish_chapter(name: str, timeout: float = 3600, progress: bool = True, holes: bool = False) -> Path:
    """Replace a chapter's published notebook and its study's records, and return the notebook's path.

    Records that are missing or stale are trained first (resumable) or, with holes, left out; then the chapter is executed
    from a staged copy of the store, where training raises. Nothing published changes unless all of it succeeds.
    """
    from dpgan_lib import results

    source = chapter_path(name)
    study = source.stem.split("_", 1)[1]
    records = _current(study) if holes else _records(study, progress)
    work = root() / "build" / "publish" / source.stem
    shutil.rmtree(work, ignore_errors=True)
    store = _staged_store(work / "results", study, records)
    with _environment(DPGAN_RECORDS_ONLY="1", DPGAN_PUBLISHED=str(store)):
        executed = execute(
            jupytext.read(source), work / f"{source.stem}.ipynb", {}, timeout=timeout, progress=progress
        )
    _tidy(executed)
    published = source.with_suffix(".ipynb")
    with _all_or_nothing(work / "aside") as place:
        place(executed, published)
        if records:
            _promote(store / study, root() / "book" / "results" / study, place)
            results.update_manifest()  # last: it replaces one file, so nothing is left to undo after it
    return published


def _records(study: str, progress: bool) -> list:
    from dpgan_lib import cost, results, studies

    if study == cost.STUDY:
        if all(map(results.staleness, cost.latest())):  # none is current, or there is none
            from dpgan_lib import experiment

            experiment.benchmark()
        return cost.latest()
    records = []
    for parameters in wanted.grid if (wanted := studies.study(study)) else ():
        record = studies.obtain(study, parameters, progress=progress)
        if results.staleness(record):
            record = studies.obtain(study, parameters, fresh=True, progress=progress)
        records.append(record)
    return records


def _current(study: str) -> list:
    """The records of the study's grid that are there and current."""
    from dpgan_lib import results, studies

    wanted = studies.study(study)
    found = [results.find(study, wanted.address(parameters)) for parameters in (wanted.grid if wanted else ())]
    return [record for record in found if record and not results.staleness(record)]


def _staged_store(store: Path, study: str, records: list) -> Path:
    """A copy of the published store in which the study has exactly these records."""
    published = root() / "book" / "results"
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
    if str(root()) in text:
        raise RuntimeError(f"{notebook.name} shows the path {root()}: print paths relative to the project")
    notebook.write_text(text, encoding="utf-8")


def _packed(picture: str) -> str:
    """A PNG in base64 with the same pixels in fewer bytes: without an idle alpha, and as a palette where that is exact."""
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


def stale_records(notebook: Path) -> list[str]:
    """The published records behind a published notebook that are out of date, one line each with the reasons.

    These are the records of its own study and of every study that its code names; all, if it asks which there are.
    """
    from dpgan_lib import cost, report, results, studies

    code = "".join(cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code")
    own = notebook.stem.split("_", 1)[1]
    asks_all = "published_studies()" in code
    studies = [study for study in (*studies.names(), cost.STUDY) if asks_all or study == own or f'"{study}"' in code]
    records = [record for study in studies for record in results.published(study)]
    return [f"{report.run_name(record)}: {'; '.join(reasons)}" for record in records
            if (reasons := results.staleness(record))]


def build_book(replacements: dict[str, Path] | None = None, progress: bool = True) -> Path:
    """Build the book into build/site and return its index.html.

    replacements: executed notebooks to show instead of the published ones, by chapter name.
    A published chapter whose records are stale is headed by a warning.
    Needs no network. Raises RuntimeError on any warning, or if a page would load something from elsewhere; the pages
    built before stay then.
    """
    source = _stage(root() / "build" / "site-src", replacements or {})
    _sphinx(source, progress)
    built = source / "_build" / "html"
    if problems := external_resources(built):
        raise RuntimeError(f"{len(problems)} external resources in the book: {problems[0]}. Vendor or switch them off")
    site = root() / "build" / "site"
    shutil.rmtree(site, ignore_errors=True)
    os.replace(built, site)
    return site / "index.html"


def _stage(source: Path, replacements: dict[str, Path]) -> Path:
    """Copy what the book is built from, with the replacements in place of the published notebooks.

    The masters of the coursework hold solutions, and stay out.
    """
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(root() / "book", source / "book", ignore=shutil.ignore_patterns("*.safetensors", "coursework"))
    (source / "notebooks").mkdir()
    for path in root().glob("notebooks/*.ipynb"):
        _copy_marked(path, source / "notebooks" / path.name)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(root() / name, source)
    for name, path in replacements.items():
        shutil.copy(path, source / "notebooks" / f"{chapter_path(name).stem}.ipynb")
    for path in source.glob("notebooks/*.ipynb"):
        pages.offer(path, root() / "notebooks" / f"{path.stem}.py")
    _add_computed(source / "book")
    return source


def _add_computed(book: Path) -> None:
    """What pages show that follows from records, from the library or from masters: computed at every build."""
    if (book / "playground.md").exists():
        from dpgan_lib import playground

        playground.stage(book)
    if (book / "live_accountant.md").exists():
        (book / "accountant_settings.html").write_text(pages.settings_table(), encoding="utf-8")
    if (book / "teaching.md").exists():
        from dpgan_lib import coursework  # nbgrader takes a second that no other command needs

        coursework.stage(book / "coursework")


def _copy_marked(notebook: Path, target: Path) -> None:
    """Copy a published notebook; if records behind it are stale, with a warning above its title."""
    shutil.copy(notebook, target)
    if not (stale := stale_records(notebook)):
        return
    content = nbformat.read(notebook, as_version=4)
    lines = "\n".join(f"* {line}" for line in stale)
    warning = f"```{{warning}}\nStale: records behind this page are out of date.\n\n{lines}\n```"
    content.cells.insert(0, nbformat.v4.new_markdown_cell(warning))
    nbformat.write(content, target)


def _sphinx(source: Path, progress: bool) -> None:
    """Run Jupyter Book with warnings as errors. Everything it says is in build/book.log."""
    start = "from jupyter_book.cli.main import main; main()"  # this environment's, whatever the PATH says
    command = [sys.executable, "-c", start, "build", str(source), "--warningiserror", "--keep-going"]
    log = root() / "build" / "book.log"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as book:
        bar = tqdm(book.stdout, desc="building the book", unit=" lines", disable=not progress)
        lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in bar]  # without colours
    log.write_text("".join(lines), encoding="utf-8")
    if book.returncode:
        first = next((line.strip() for line in lines if re.search(r"WARNING|ERROR|[Ee]rror:", line)), "no reason given")
        raise RuntimeError(f"the book did not build: {first} (all of it: {log.relative_to(root())})")


_REMOTE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
_CSS_REMOTE = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\"')\s;]+)", re.IGNORECASE)
_LOADING_RELS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "manifest"}
_LOADING = {"script", "img", "source", "iframe", "video", "audio", "embed", "object", "image", "use", "track"}


def external_resources(site: Path) -> list[str]:
    """What the pages and style sheets would load from another host, as "page: address"; plain links are fine."""
    found = []
    for page in sorted(site.rglob("*.html")):
        parser = _Loads()
        parser.feed(page.read_text(encoding="utf-8"))
        found += [f"{page.relative_to(site)}: {address}" for address in parser.addresses]
    for sheet in sorted(site.rglob("*.css")):
        found += [f"{sheet.relative_to(site)}: {url}" for url in _CSS_REMOTE.findall(sheet.read_text(encoding="utf-8"))]
    return found


class _Loads(HTMLParser):
    """Collects the remote addresses that a browser fetches by itself when it opens a page."""

    def __init__(self):
        super().__init__()
        self.addresses = []
        self.in_style = False

    def handle_starttag(self, tag, attrs):
        values = {key: value or "" for key, value in attrs}
        self.in_style = tag == "style"
        loads = tag in _LOADING or (tag == "link" and _LOADING_RELS & set(values.get("rel", "").lower().split()))
        if loads:
            candidates = [values.get(key, "") for key in ("src", "href", "data", "poster", "xlink:href")]
            candidates += values.get("srcset", "").split(",")
            self.addresses += [address.strip() for address in candidates if _REMOTE.match(address)]
        self.addresses += _CSS_REMOTE.findall(values.get("style", ""))

    def handle_endtag(self, tag):
        self.in_style = False

    def handle_data(self, data):
        if self.in_style:
            self.addresses += _CSS_REMOTE.findall(data)
