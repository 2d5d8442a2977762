"""Publishing a chapter with its records, and the book build, in a project of their own."""

import base64
import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import jupytext
import nbformat
import numpy as np
import pytest
from PIL import Image

from dpgan_lib import paths
from dpgan_lib.book import publish, site
from dpgan_lib.records import store
from dpgan_lib.report import cards
from dpgan_lib.studies import registry
from dpgan_lib.studies.study import Study

# Publishing


class Tiny(Study):
    """Of one new record for everything asked for; what it was asked to compute is noted. Its run ids are what is asked
    for.
    """

    computed: ClassVar[list] = []
    folder: ClassVar[Path]

    def address(self, asked):
        return asked

    def obtain(self, asked, *, fresh=False, max_minutes=None, progress=True):
        self.computed.append((asked, fresh))
        return SimpleNamespace(folder=self.folder, run_id="bbbb", reasons=[])


@pytest.fixture
def found(monkeypatch):
    """What the store finds: run id -> why it is stale."""
    runs = {"first": ["source changed"]}
    monkeypatch.setattr(store, "find", lambda name, run: SimpleNamespace(
        folder=Tiny.folder, run_id=run, reasons=runs[run]) if run in runs else None)
    monkeypatch.setattr(store, "staleness", lambda record: record.reasons)
    return runs


@pytest.fixture
def study(project, found, monkeypatch):
    """A chapter with one published record and one newly computed one, and stand-ins for the store."""
    published = project.folder / "book" / "results" / "tiny"
    Tiny.folder = project.folder / "runs" / "tiny" / "bbbb"
    for folder, text in ((published / "aaaa", "old"), (Tiny.folder, "new")):
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(text)
    monkeypatch.setattr(Tiny, "computed", [])
    give(monkeypatch, ("first",))
    monkeypatch.setattr(store, "update_manifest", lambda: (published.parent / "MANIFEST.json").write_text("{}"))
    (project.folder / "notebooks" / "07_tiny.ipynb").write_text("old")
    return SimpleNamespace(published=published, **vars(project))


def give(monkeypatch, grid):
    """The chapter's study has this grid; no other chapter has one."""
    tiny = Tiny(chapter="tiny", asked=str, grid=grid, plan=None, measure=None)
    monkeypatch.setattr(registry, "studies", lambda chapter: [tiny] if chapter == "tiny" else [])


@pytest.mark.full
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
    assert Tiny.computed == [("first", True)]  # the stale record was computed afresh
    assert "DPGAN_PUBLISHED" not in os.environ


def test_with_holes_nothing_is_computed_and_nothing_stale_comes_in(study, executing, found, monkeypatch):
    """What was published before stays, though it has become stale; a stale run that was not published does not come."""
    found |= {"aaaa": ["source changed"], "bbbb": [], "cccc": ["source changed"]}
    before = [SimpleNamespace(folder=study.published / "aaaa", run_id="aaaa", kind="run", asked={"object": asked},
                              reasons=reasons)  # str(object="aaaa") is "aaaa"
              for asked, reasons in (("aaaa", ["source changed"]), ("dddd", []))]
    monkeypatch.setattr(store, "published", lambda chapter: before)
    give(monkeypatch, ("aaaa", "bbbb", "cccc", "dddd"))
    study.chapter("07_tiny", "1 + 1")
    publish.publish_chapter("tiny", progress=False, holes=True)
    assert sorted(os.listdir(study.published)) == ["aaaa", "bbbb"] and Tiny.computed == []
    assert (study.published / "aaaa" / "record.json").read_text() == "old"


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


@pytest.fixture
def executing(monkeypatch):
    """No kernel is started: a chapter is published as it is."""
    def execute(notebook, target, values, **_):
        nbformat.write(notebook, target)
        return target

    monkeypatch.setattr(publish, "execute", execute)


def as_it_was(study) -> bool:
    manifest = study.published.parent / "MANIFEST.json"
    return (
        (study.folder / "notebooks" / "07_tiny.ipynb").read_text() == "old" and not manifest.exists()
        and os.listdir(study.published) == ["aaaa"] and (study.published / "aaaa" / "record.json").read_text() == "old"
    )


# Renames: the old notebook aside, the new one in, the old record aside, the new one in.
@pytest.mark.parametrize("count", range(4))
def test_a_publication_undoes_its_renames_if_the_next_one_fails(study, executing, monkeypatch, count):
    steps = iter([os.replace] * count + [full_disk])
    monkeypatch.setattr(publish, "os", SimpleNamespace(
        environ=os.environ, replace=lambda source, target: next(steps, os.replace)(source, target)))
    study.chapter("07_tiny")
    with pytest.raises(OSError, match="disk full"):
        publish.publish_chapter("tiny", progress=False)
    assert as_it_was(study)


def test_a_publication_is_undone_if_the_manifest_cannot_be_written(study, executing, monkeypatch):
    monkeypatch.setattr(store, "update_manifest", full_disk)
    study.chapter("07_tiny")
    with pytest.raises(OSError, match="disk full"):
        publish.publish_chapter("tiny", progress=False)
    assert as_it_was(study)


def full_disk(*_):
    raise OSError("disk full")


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


@pytest.fixture
def published(monkeypatch):
    """published(records, reasons): what is published of each study, records being their own names."""
    def are(records, reasons):
        monkeypatch.setattr(store, "published_studies", lambda: ["cost", "other", "tiny"])
        monkeypatch.setattr(store, "published", records)
        monkeypatch.setattr(store, "staleness", reasons)
        monkeypatch.setattr(cards, "run_name", str)

    return are


@pytest.mark.full
def test_the_book_shows_the_replacement_and_touches_nothing_published(project):
    project.chapter("07_tiny")
    _small_book(project.folder, "Text.")
    index = site.build_book({"tiny": Path("mine.ipynb")}, progress=False)
    assert index == project.folder / "build" / "site" / "index.html" and index.is_file()
    assert "recomputed" in (index.parent / "notebooks" / "07_tiny.html").read_text()
    assert "published" in Path("notebooks/07_tiny.ipynb").read_text()


def paired(folder: Path) -> None:
    """Let the published notebook of 07_tiny have the cells of its source."""
    source = jupytext.read(folder / "notebooks" / "07_tiny.py")
    source.metadata["language_info"] = {"name": "python"}
    nbformat.write(source, folder / "notebooks" / "07_tiny.ipynb")


def test_a_source_edited_since_it_was_published_is_told_by_its_cells(project):
    project.chapter("07_tiny", "1 + 1")
    paired(project.folder)
    notebook, source = (project.folder / "notebooks" / f"07_tiny{suffix}" for suffix in (".ipynb", ".py"))
    os.utime(source)  # newer than the notebook, as after any git clone
    assert publish.edited(notebook) == []
    source.write_text(source.read_text() + "\n# %%\n2 + 2\n")
    assert publish.edited(notebook) == [
        "notebooks/07_tiny.py has been edited since: `dpgan publish tiny` executes it"]


@pytest.mark.full
@pytest.mark.parametrize("name", ["My Clone [1]", "What? A *book*"])
def test_the_book_is_built_in_a_folder_whose_name_would_be_a_pattern(project, name, monkeypatch):
    project.chapter("07_tiny")
    source = project.folder / "notebooks" / "07_tiny.py"
    source.write_text("# %% [markdown]\n# # A title\n\n" + source.read_text())
    _small_book(project.folder, "Text.")
    paired(project.folder)
    (project.folder / "book" / "draft.md").write_text("# Not in the table of contents\n")
    moved = project.folder / name
    moved.mkdir()
    for part in ("notebooks", "book", "_toc.yml", "_config.yml", "pyproject.toml"):
        (project.folder / part).rename(moved / part)
    monkeypatch.setattr(paths, "ROOT", moved)
    index = site.build_book(progress=False)
    assert index.parent == moved / "build" / "site" and (index.parent / "notebooks" / "07_tiny.html").is_file()
    assert not (index.parent / "book" / "draft.html").exists()


@pytest.mark.parametrize("name, text", [
    ("_toc.yml", "format: [\n"), ("_toc.yml", "chapters: []\n"), ("_config.yml", "a: [\n")])
def test_a_table_of_contents_that_cannot_be_read_is_named(project, name, text):
    project.chapter("07_tiny")
    _small_book(project.folder, "Text.")
    (project.folder / name).write_text(text)
    with pytest.raises(ValueError, match="_toc.yml or _config.yml cannot be read"):
        site.build_book(progress=False)


@pytest.mark.full
def test_a_stale_chapter_is_headed_by_a_warning_and_a_replacement_is_not(project, published):
    published(lambda study: [f"a run of {study}"], lambda record: ["source changed"])
    project.chapter("07_tiny")
    _small_book(project.folder, "Text.")
    page = site.build_book(progress=False).parent / "notebooks" / "07_tiny.html"
    shown = page.read_text().partition("<article")[2]
    assert shown.index("Stale:") < shown.index("a run of tiny: source changed") < shown.index("<h1>published")
    assert "a run of other" not in shown and "Stale" not in Path("notebooks/07_tiny.ipynb").read_text()
    site.build_book({"tiny": Path("mine.ipynb")}, progress=False)
    assert "Stale" not in page.read_text()


@pytest.mark.parametrize("name, code", [("07_tiny", "x = 1"), ("10_claims", 'store.published("tiny")')])
def test_a_chapter_rests_on_its_study_and_on_those_it_names(tmp_path, published, name, code):
    published(lambda study: [f"{study} 1", f"{study} 2"],
              lambda record: ["source changed", "card changed"] if record.endswith("2") else [])
    path = tmp_path / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), path)
    assert publish.stale_records(path) == ["tiny, tiny 2: source changed; card changed"]


def test_many_stale_records_are_one_line(tmp_path, published):
    published(lambda study: [f"{study} {index}" for index in range(9)],
              lambda record: [] if record.endswith("8") else ["other hardware"] if record.endswith("7") else ["older"])
    path = tmp_path / "07_tiny.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[]), path)
    assert publish.stale_records(path) == ["tiny, 7 of 9 records: older", "tiny, tiny 7: other hardware"]


def test_a_page_that_asks_which_studies_there_are_rests_on_all(tmp_path, published):
    published(lambda study: [study], lambda record: ["older"])
    path = tmp_path / "11_records.ipynb"
    code = nbformat.v4.new_code_cell("store.published_studies()")
    nbformat.write(nbformat.v4.new_notebook(cells=[code]), path)
    assert publish.stale_records(path) == ["cost, cost: older", "other, other: older", "tiny, tiny: older"]


@pytest.mark.full
def test_a_warning_stops_the_book_and_the_old_pages_stay(project):
    project.chapter("07_tiny")
    _small_book(project.folder, "[gone](nowhere.md)")
    Path("build/site").mkdir(parents=True)
    Path("build/site/index.html").write_text("old")
    with pytest.raises(RuntimeError, match="WARNING.*nowhere"):
        site.build_book(progress=False)
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
    found = site.external_resources(tmp_path)
    assert len(found) == 1 and found[0].startswith("page.html: ") and "//x.org/" in found[0]


def test_plain_links_and_own_files_are_fine(tmp_path):
    links = '<a href="https://x.org">x</a><link rel="canonical" href="https://x.org"><img src="_images/a.png">'
    (tmp_path / "page.html").write_text(links + "<p>https://x.org</p><script>// https://x.org</script>")
    (tmp_path / "own.css").write_text("p { background: url(a.png) }")
    assert site.external_resources(tmp_path) == []
    (tmp_path / "own.css").write_text("@import url('https://x.org/a.css');")
    assert site.external_resources(tmp_path) == ["own.css: https://x.org/a.css"]


@pytest.mark.parametrize("alpha", [255, 7])
def test_a_picture_is_packed_without_changing_a_pixel(alpha):
    shade = np.tile(np.arange(100, dtype=np.uint8), (100, 1))
    many = np.random.default_rng(0).integers(256, size=(100, 100, 3), dtype=np.uint8)
    for colours in (np.stack([shade] * 3, 2), many):
        pixels = np.dstack([colours, np.full((100, 100), alpha, dtype=np.uint8)])
        file = io.BytesIO()
        Image.fromarray(pixels, "RGBA").save(file, "PNG")
        packed = base64.b64decode(publish._packed(base64.b64encode(file.getvalue()).decode()))
        assert (np.asarray(Image.open(io.BytesIO(packed)).convert("RGBA")) == pixels).all()
        assert len(packed) <= len(file.getvalue())
