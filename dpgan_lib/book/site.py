"""The book's build: its pages gathered, what follows from records added, and the whole readable offline."""

import glob
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import yaml
from sphinx_external_toc.parsing import MalformedError, parse_toc_yaml
from tqdm import tqdm

from dpgan_lib import paths
from dpgan_lib.book.chapters import chapter_path, read_notebook
from dpgan_lib.book.publish import out_of_date
from dpgan_lib.records import locks


def build_book(replacements: dict[str, Path] | None = None, progress: bool = True) -> Path:
    """Build the book into build/site and return its index.html.

    replacements: executed notebooks to show instead of the published ones, by chapter name.
    A published chapter is headed by a warning if its records are stale or its source has been edited since.
    Needs no network. Raises RuntimeError on any warning, if a page is missing or empty, if one would load something
    from elsewhere, or if the whole has become too large to hand on; the pages built before stay then.
    """
    with locks.held(paths.made(paths.build()) / "site.lock"):
        source = _stage(paths.build() / "site-src", replacements or {})
        _sphinx(source, progress)
        built = source / "_build" / "html"
        _drop_unused_bundles(built)
        _check(built, source / "_toc.yml")
        site = paths.build() / "site"
        shutil.rmtree(site, ignore_errors=True)
        os.replace(built, site)
        return site / "index.html"


def _stage(source: Path, replacements: dict[str, Path]) -> Path:
    """Copy what the book is built from, with the replacements in place of the published notebooks.

    The masters of the coursework hold solutions, and stay out.
    """
    if source.exists():
        shutil.rmtree(source)
    shutil.copytree(paths.project() / "book", source / "book", copy_function=shutil.copyfile,
                    ignore=shutil.ignore_patterns("*.safetensors", "coursework"))
    for folder in (source / "book", *(source / "book").rglob("*/")):
        folder.chmod(0o755)  # those of a read-only clone are not for writing
    (source / "notebooks").mkdir()
    for path in paths.project().glob("notebooks/*.ipynb"):
        _copy_marked(path, source / "notebooks" / path.name)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copyfile(paths.project() / name, source / name)
    for name, path in replacements.items():
        shutil.copyfile(path, source / "notebooks" / f"{chapter_path(name).stem}.ipynb")
    for path in source.glob("notebooks/*.ipynb"):
        offer(path, paths.project() / "notebooks" / f"{path.stem}.py")
    _add_computed(source / "book")
    _exclude_unlisted(source)
    return source


def _exclude_unlisted(source: Path) -> None:
    """Name in the staged configuration what the table of contents does not list.

    Sphinx looks for that itself, by a pattern that begins with the folder's path: in a clone named "My Clone [1]" it
    finds nothing.
    """
    configuration = source / "_config.yml"
    try:
        listed, content = parse_toc_yaml(source / "_toc.yml"), yaml.safe_load(configuration.read_text(encoding="utf-8"))
    except (yaml.YAMLError, MalformedError, UnicodeDecodeError) as error:
        raise ValueError(f"_toc.yml or _config.yml cannot be read ({error}): mend it, or restore it with git") from None
    pages = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.suffix in (".md", ".ipynb")]
    unlisted = [glob.escape(page.as_posix()) for page in pages if page.with_suffix("").as_posix() not in listed]
    content["exclude_patterns"] = [*content.get("exclude_patterns", ()), *unlisted]
    configuration.write_text(yaml.safe_dump(content), encoding="utf-8")


def _add_computed(book: Path) -> None:
    """What pages show that follows from records, from the library or from masters: computed at every build."""
    if (book / "playground.md").exists():
        from dpgan_lib.book import playground

        playground.stage(book)
    if (book / "live_accountant.md").exists():
        from dpgan_lib.book import live_accountant

        live_accountant.stage(book)
    if (book / "teaching.md").exists():
        from dpgan_lib.book import coursework  # nbgrader takes a second that no other command needs

        coursework.stage(book / "coursework")


def _copy_marked(notebook: Path, target: Path) -> None:
    """Copy a published notebook; if its source or records behind it have changed, with a warning above its title."""
    shutil.copyfile(notebook, target)
    if not (stale := out_of_date(notebook)):
        return
    content = read_notebook(notebook)
    lines = "\n".join(f"* {line}" for line in stale)
    warning = ("```{warning}\nStale: what this page shows was computed by an earlier version of its text, or of "
               f"the code behind its records.\n\n{lines}\n```")
    content.cells.insert(0, nbformat.v4.new_markdown_cell(warning))
    nbformat.write(content, target)


def _sphinx(source: Path, progress: bool) -> None:
    """Run Jupyter Book with warnings as errors. Everything it says is in build/book.log."""
    start = "from jupyter_book.cli.main import main; main()"  # this environment's, whatever the PATH says
    command = [sys.executable, "-c", start, "build", str(source), "--warningiserror", "--keep-going"]
    log = paths.build() / "book.log"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as book:
        bar = tqdm(book.stdout, desc="building the book", unit=" lines", disable=not progress)
        lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in bar]  # without colours
    log.write_text("".join(lines), encoding="utf-8")
    if book.returncode:
        first = next((line.strip() for line in lines if re.search(r"WARNING|ERROR|[Ee]rror:", line)), "no reason given")
        raise RuntimeError(f"the book did not build: {first} (all of it: {paths.shown(log)})")


MOST_BYTES = 60_000_000  # of the built pages: what a reader downloads to have the book offline


def _drop_unused_bundles(site: Path) -> None:
    """Leave of MathJax the one bundle that pages load, and what it loads by itself; they come a dozen, 15 MB."""
    used = {Path(script).name for page in site.rglob("*.html")
            for script in re.findall(r'src="[^"]*/mathjax/([^"/?]+)', page.read_text(encoding="utf-8"))}
    for bundle in (site / "_static" / "mathjax").glob("*.js"):
        if bundle.name not in used:
            bundle.unlink()


def _check(site: Path, contents: Path) -> None:
    """Raise RuntimeError in one line if the pages are not what readers are promised."""
    if absent := missing_pages(site, contents):
        raise RuntimeError(f"{len(absent)} pages of _toc.yml are missing or empty: {absent[0]}. Mend its source, or "
                           f"take it out of _toc.yml (the build's log: {paths.shown(paths.build() / 'book.log')})")
    if problems := external_resources(site):
        raise RuntimeError(f"{len(problems)} external resources in the book: {problems[0]}. Vendor or switch them off")
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise RuntimeError(f"the book has become {size / 1e6:.0f} MB, above {MOST_BYTES / 1e6:.0f}: show less, or pack "
                           "it tighter")


def missing_pages(site: Path, contents: Path) -> list[str]:
    """The entries of a table of contents, a _toc.yml, that have no page, or one without a heading."""
    pages = [(entry, site / f"{entry}.html") for entry in parse_toc_yaml(contents)]
    return [entry for entry, page in pages
            if not page.is_file() or not re.search(r"<h1[^>]*>(?!\s*</h1>)", page.read_text(encoding="utf-8"))]


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


def offer(notebook: Path, source: Path) -> None:
    """Put a staged chapter's source beside it, and end the chapter with links to both files.

    source: the chapter's py:percent file.
    """
    shutil.copyfile(source, notebook.with_name(source.name))
    content = read_notebook(notebook)
    content.cells.append(nbformat.v4.new_markdown_cell(
        f"*This chapter to take away:* {{download}}`as a notebook <{notebook.name}>`, with its results, or "
        f"{{download}}`as Python <{source.name}>`, its source.", id="take-away"))
    nbformat.write(content, notebook)
