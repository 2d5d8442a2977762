"""Publishing a chapter with its records, and the book build, in a project of their own."""

import os
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from dpgan_lib import publish

pytestmark = pytest.mark.usefixtures("experiment")

# Publishing


@pytest.fixture
def study(project, experiment, stand_in):
    """A chapter with one published record and one newly computed one, and stand-ins for the store."""
    published = project.folder / "book" / "results" / "tiny"
    for folder, text in ((published / "aaaa", "old"), (project.folder / "runs" / "tiny" / "bbbb", "new")):
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(text)
    asked = []

    def obtain(study, config, *, fresh=False, progress=True):
        asked.append((config, fresh))
        return SimpleNamespace(folder=project.folder / "runs" / study / "bbbb", run_id="bbbb", fresh=fresh)

    experiment.STUDIES = {"tiny": ("first",)}
    experiment.plan = lambda parameters: f"plan of {parameters}"
    experiment.obtain = obtain
    stand_in(
        "results",
        staleness=lambda record: [] if record.fresh else ["source changed"],
        update_manifest=lambda: (published.parent / "MANIFEST.json").write_text("{}"),
    )
    (project.folder / "notebooks" / "07_tiny.ipynb").write_text("old")
    return SimpleNamespace(published=published, asked=asked, **vars(project))


def test_publishing_replaces_the_notebook_and_the_records(study):
    study.chapter(
        "07_tiny",
        "import os\nfrom pathlib import Path\nassert os.environ['DPGAN_RECORDS_ONLY'] == '1'",
        "sorted(p.name for p in Path(os.environ['DPGAN_PUBLISHED'], 'tiny').iterdir())",
    )
    path = publish.publish_chapter("tiny", progress=False)
    assert path == study.folder / "notebooks" / "07_tiny.ipynb"
    content = nbformat.read(path, as_version=4)
    nbformat.validate(content)
    assert content.cells[-1].outputs[0].data["text/plain"] == "['bbbb']"
    assert [cell.execution_count for cell in content.cells] == [1, 2, 3]
    assert "papermill" not in path.read_text() and str(study.folder) not in path.read_text()
    assert os.listdir(study.published) == ["bbbb"] and (study.published.parent / "MANIFEST.json").exists()
    assert study.asked == [("plan of first", False), ("plan of first", True)]  # the stale record was computed afresh
    assert "DPGAN_PUBLISHED" not in os.environ


@pytest.mark.parametrize("break_at", ["execute", "_tidy"])
def test_a_failed_publication_changes_nothing(study, monkeypatch, break_at):
    def fail(*_, **__):
        raise RuntimeError("no")

    monkeypatch.setattr(publish, "execute", lambda notebook, target, values, **_: target)
    monkeypatch.setattr(publish, break_at, fail)
    study.chapter("07_tiny")
    with pytest.raises(RuntimeError, match="no"):
        publish.publish_chapter("tiny", progress=False)
    assert (study.folder / "notebooks" / "07_tiny.ipynb").read_text() == "old"
    assert os.listdir(study.published) == ["aaaa"]
    assert not (study.published.parent / "MANIFEST.json").exists()


def test_a_notebook_that_shows_this_machine_is_not_published(project):
    path = project.folder / "x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"{project.folder}/x")]), path)
    with pytest.raises(RuntimeError, match="shows the path"):
        publish._tidy(path)


# The book


def _small_book(folder: Path, text: str) -> None:
    (folder / "book").mkdir()
    (folder / "book" / "index.md").write_text(f"# A book\n\n{text}\n")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n  - file: notebooks/07_tiny\n")
    (folder / "_config.yml").write_text(
        "title: A book\nexecute: {execute_notebooks: 'off'}\nonly_build_toc_files: true\n"
        "sphinx:\n  config:\n    nb_ipywidgets_js: {}\n"
    )
    for name, word in (("notebooks/07_tiny.ipynb", "published"), ("mine.ipynb", "recomputed")):
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {word}")]), folder / name)


def test_the_book_shows_the_replacement_and_touches_nothing_published(project):
    project.chapter("07_tiny")
    _small_book(project.folder, "Text.")
    index = publish.build_book({"tiny": Path("mine.ipynb")}, progress=False)
    assert index == project.folder / "build" / "site" / "index.html" and index.is_file()
    assert "recomputed" in (index.parent / "notebooks" / "07_tiny.html").read_text()
    assert "published" in Path("notebooks/07_tiny.ipynb").read_text()


def test_a_warning_stops_the_book_and_the_old_pages_stay(project):
    _small_book(project.folder, "[gone](nowhere.md)")
    Path("build/site").mkdir(parents=True)
    Path("build/site/index.html").write_text("old")
    with pytest.raises(RuntimeError, match="WARNING.*nowhere"):
        publish.build_book(progress=False)
    assert Path("build/site/index.html").read_text() == "old"


LOADS = [
    '<script src="https://x.org/a.js"></script>', '<link rel="stylesheet" href="//x.org/a.css">',
    '<link rel="preload icon" href="http://x.org/i">', '<img src="https://x.org/a.png">',
    '<img src="a.png" srcset="a.png 1x, https://x.org/b.png 2x">', '<p style="background: url(https://x.org/a.png)">',
    '<style>@import "https://x.org/a.css";</style>', '<style>@font-face { src: url(//x.org/f.woff2) }</style>',
    '<video poster="https://x.org/a.png"></video>', '<object data="https://x.org/a.svg"></object>',
]  # fmt: skip


@pytest.mark.parametrize("html", LOADS)
def test_what_a_page_would_load_from_elsewhere_is_found(tmp_path, html):
    (tmp_path / "page.html").write_text(f"<html><body>{html}</body></html>")
    found = publish.external_resources(tmp_path)
    assert len(found) == 1 and found[0].startswith("page.html: ") and "//x.org/" in found[0]


def test_plain_links_and_own_files_are_fine(tmp_path):
    links = '<a href="https://x.org">x</a><link rel="canonical" href="https://x.org"><img src="_images/a.png">'
    (tmp_path / "page.html").write_text(links + "<p>https://x.org</p><script>// https://x.org</script>")
    (tmp_path / "own.css").write_text("p { background: url(a.png) }")
    assert publish.external_resources(tmp_path) == []
    (tmp_path / "own.css").write_text("@import url('https://x.org/a.css');")
    assert publish.external_resources(tmp_path) == ["own.css: https://x.org/a.css"]
