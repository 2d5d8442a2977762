"""The book as a reader meets it: complete, its commands real, its figure described, its pages readable offline."""

import io
import json
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr
from dataclasses import asdict
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import click
import papermill.cli
import pytest
import yaml
from click.testing import CliRunner
from jupyter_book.config import get_final_config
from snakemake.cli import get_argument_parser
from torch.distributed.run import get_args_parser

from dpgan_lib import cli, paths, remote
from dpgan_lib.book import chapters
from dpgan_lib.book import site as book_site
from dpgan_lib.studies import parameters

ROOT = Path(__file__).resolve().parent.parent
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
ENTRIES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
PAGES = sorted((ROOT / "book").glob("*.md"))
ACTIVATE = ".venv/bin/activate"


# Complete


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_of_the_contents_is_a_page(entry):
    assert (ROOT / f"{entry}.md").exists() or (ROOT / f"{entry}.ipynb").exists()


def test_every_page_and_chapter_is_in_the_contents_once():
    written = [*PAGES, *(ROOT / "notebooks").glob("*.ipynb")]
    assert sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in written) == sorted(ENTRIES)


def test_every_citation_has_an_entry_and_every_entry_is_cited():
    texts = [path.read_text() for path in [*PAGES, *(ROOT / "notebooks").glob("*.py")]]
    cited = {key for text in texts for keys in re.findall(r"\{cite[\w:]*\}`([^`]+)`", text) for key in keys.split(",")}
    assert cited == set(re.findall(r"^@\w+\{(\w+),", (ROOT / "book" / "references.bib").read_text(), re.MULTILINE))


def test_a_term_is_defined_once():
    terms = re.findall(r"(?m)^(?![`\s#])(.+)\n(?=  \S)", (ROOT / "book" / "glossary.md").read_text())
    assert len(terms) > 20  # the pattern does find the terms
    assert len(terms) == len(set(terms))


def test_buttons_that_launch_a_chapter_lie_ready_in_comments(tmp_path):
    ready = re.sub(r"(?m)^# (?=repository:|launch_buttons:|  )", "", (ROOT / "_config.yml").read_text())
    (tmp_path / "_config.yml").write_text(ready)
    final, _ = get_final_config(user_yaml=tmp_path / "_config.yml", cli_config={"latex_individualpages": False},
                                raise_on_invalid=True)
    options = final["html_theme_options"]
    assert options["launch_buttons"]["binderhub_url"] and options["launch_buttons"]["colab_url"]
    assert options["repository_url"].endswith("OWNER/NAME") and options["navbar_persistent"] == []


# Its commands are real: parsed by the programs that would run them


def commands(name: str) -> list[str]:
    blocks = re.findall(r"(?sm)^```bash\n(.*?)^```$", (ROOT / name).read_text())
    return [line for block in blocks for line in block.splitlines()]


def parsed(command: click.Command, words: list[str]) -> click.Context:
    """The context that click makes of the words; nothing is run."""
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(click.Context(command), name)
        assert command, f"there is no command {name}"
    return command.make_context(command.name, list(words))


def reader_values(pairs) -> dict:
    """Parameters as a reader types them, checked by the library."""
    typed = {name: number(text) for name, text in pairs}
    values = chapters.check_values(typed, asdict(parameters.RunParameters()), "05_mnist_tradeoff")
    parameters.RunParameters(**values).check()
    return values


def number(text: str):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def check_make(words):
    made = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    for name, value in (word.split("=") for word in words if "=" in word):
        assert f"-p {name.lower()} '{value}'" in made.stdout, f"{name} does nothing"


def check_papermill(words):
    values = parsed(papermill.cli.papermill, words).params
    assert chapters.chapter_path(Path(values["notebook_path"]).stem).parent == ROOT / "notebooks"
    reader_values([*values["parameters"], *values["parameters_raw"]])


def check_dpgan(words):
    values = parsed(cli.main, words).params
    if values.get("chapter"):
        chapters.chapter_path(values["chapter"])
    reader_values(values.get("parameters", ()))


def check_snakemake(words):
    values = get_argument_parser().parse_args(words)
    assert (ROOT / values.snakefile).is_file()
    for target in values.targets:
        if target.endswith(".ipynb"):
            chapters.chapter_path(Path(target).stem.split("_eps")[0])
    for profile in (values.profile or "").split():
        assert (ROOT / profile / "config.yaml").is_file()


def check_python(words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert words[:2] == ["-m", "dpgan_lib.remote"]
    monkeypatch.setattr(sys, "argv", words[1:])
    said = io.StringIO()
    with redirect_stderr(said), pytest.raises(SystemExit):
        remote.main()
    assert "does not hold a prepared run" in said.getvalue()  # so the words were understood


def check_torchrun(words, monkeypatch, tmp_path):
    values = get_args_parser().parse_args(words)
    assert values.module
    check_python(["-m", values.training_script, *values.training_script_args], monkeypatch, tmp_path)


@pytest.mark.parametrize("line", [line for name in ("README.md", "CONTRIBUTING.md", "book/rerun.md")
                                  for line in commands(name)])
def test_a_command_in_the_text_is_understood(line, monkeypatch, tmp_path):
    name, *words = shlex.split(line)
    match Path(name).name:
        case "make":
            check_make(words)
        case "papermill":
            check_papermill(words)
        case "dpgan":
            check_dpgan(words)
        case "snakemake":
            check_snakemake(words)
        case "python":
            check_python(words, monkeypatch, tmp_path)
        case "torchrun":
            check_torchrun(words, monkeypatch, tmp_path)
        case _:
            assert line == f". {ACTIVATE}", "no check for this command"


def notebook_commands() -> list[str]:
    """The documented commands that leave a notebook."""
    return [line for name in ("README.md", "CONTRIBUTING.md", "book/rerun.md") for line in commands(name)
            if line.startswith(("papermill ", "dpgan run ")) or line.startswith("dpgan book ") and " -p " in line]


@pytest.mark.parametrize("line", notebook_commands())
def test_what_a_documented_command_writes_is_strict_json(line, monkeypatch, tmp_path):
    """With its parameters put in and no cell executed, which would take hours."""
    monkeypatch.setattr(papermill, "execute_notebook", partial(papermill.execute_notebook, prepare_only=True))
    monkeypatch.setattr(book_site, "build_book", lambda *given: tmp_path / "index.html")
    monkeypatch.setattr(paths, "build", lambda: tmp_path)
    monkeypatch.chdir(ROOT)
    name, *words = shlex.split(line)
    if name == "papermill":
        words = [words[0], str(tmp_path / words[1]), *words[2:], "--prepare-only"]
    elif "-o" in words:
        words[words.index("-o") + 1] = str(tmp_path / "out.ipynb")
    done = CliRunner().invoke(papermill.cli.papermill if name == "papermill" else cli.main, words)
    assert done.exit_code == 0, done.output
    (written,) = tmp_path.glob("*.ipynb")
    json.loads(written.read_text(), parse_constant=lambda constant: pytest.fail(f"a bare {constant}"))
    assert "# Parameters" in written.read_text()


@pytest.mark.parametrize("line", [
    "make boook", "make book EPSILN=2", "papermill notebooks/05_mnist_tradeoff.ipynb o.ipynb -p epsilonn 2",
    "dpgan trian", "dpgan train -p epsilon 0", "dpgan data fetch --all", "dpgan run mnist_tradeof"])
def test_a_wrong_command_is_found(line, monkeypatch, tmp_path):
    with pytest.raises((AssertionError, ValueError, click.UsageError)):
        test_a_command_in_the_text_is_understood(line, monkeypatch, tmp_path)


def test_the_run_prepared_for_a_bare_machine_is_the_one_that_the_command_resumes():
    lines = [line for line in commands("book/rerun.md") if line.startswith("dpgan train") and "paper" in line]
    prepared, resumed = (parsed(cli.main, shlex.split(line)[1:]).params for line in lines)
    assert prepared.pop("prepare") and not resumed.pop("prepare") and prepared == resumed


# Its figure is described


@pytest.mark.parametrize("path", sorted((ROOT / "book" / "_static").glob("*.svg")), ids=lambda path: path.name)
def test_a_drawing_has_a_title_and_a_description_and_loads_nothing(path):
    drawing = ElementTree.parse(path).getroot()
    texts = {part.get("id"): part.text.strip() for part in drawing if part.tag.split("}")[1] in ("title", "desc")}
    assert sorted(drawing.get("aria-labelledby").split()) == sorted(texts)
    assert all(texts.values()) and len(texts) == 2
    assert not re.search(r"<script|<image|@import|url\((?!#)|href=", path.read_text())


# Its pages are readable offline


class Page(HTMLParser):
    """What a page refers to, and its images that have no words."""

    NO_END = {"img", "link", "meta", "input", "br", "hr", "source", "col", "wbr"}

    def __init__(self, path: Path):
        super().__init__()
        self.loads, self.links, self.wordless, self.open = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in ("img", "script", "iframe", "source") and values.get("src"):
            self.loads.append(values["src"])
        if tag in ("a", "link") and values.get("href"):
            (self.loads if tag == "link" else self.links).append(values["href"])
        if tag == "img" and not has_words(values.get("alt")) and not any(self.open):
            self.wordless.append(values["src"])
        if tag not in self.NO_END:
            self.open.append(values.get("role") == "img" and has_words(values.get("aria-label")))

    def handle_endtag(self, tag):
        if tag not in self.NO_END and self.open:
            self.open.pop()


def has_words(text: str | None) -> bool:
    """Whether a text describes: a file's name, which Sphinx fills in, does not."""
    return bool(text and len(text.split()) > 3)


def built_pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for entry in ENTRIES for path in [site / f"{entry}.html"]}


def is_remote(address: str) -> bool:
    return bool(urlsplit(address).scheme or urlsplit(address).netloc)


def test_every_page_is_built_and_a_reader_starts_at_the_index(site):
    assert all((site / f"{entry}.html").is_file() for entry in ENTRIES)
    assert f"url={TOC['root']}.html" in (site / "index.html").read_text()


def test_what_a_page_loads_lies_beside_it(site):
    for path, page in built_pages(site).items():
        assert page.loads, "the parser finds at least the theme"
        for address in page.loads:
            assert not is_remote(address) or address.startswith("data:"), f"{path.name} loads {address}"
            assert is_remote(address) or (path.parent / unquote(urlsplit(address).path)).is_file(), address


def test_no_link_within_the_book_is_broken(site):
    for path, page in built_pages(site).items():
        here = [urlsplit(link) for link in page.links if not is_remote(link)]
        assert [link.path for link in here if link.path and not (path.parent / unquote(link.path)).is_file()] == []


def test_pages_with_mathematics_bring_mathjax(site):
    text = (site / "book" / "index.html").read_text()
    (script,) = re.findall(r'<script[^>]* src="([^"?]*mathjax[^"?]*)', text)
    assert (site / "book" / script).resolve().is_file()
    assert list((site / "_static" / "mathjax").rglob("*.woff")), "its fonts"


def test_the_index_shows_the_drawing_and_the_published_samples(site):
    text = (site / "book" / "index.html").read_text()
    assert '<title id="architecture-title">' in text
    assert text.index("_images/") < text.index('<title id="architecture-title">')


def test_a_chapter_can_be_taken_away_as_a_notebook_and_as_python(site):
    for chapter in [ROOT / f"{entry}.py" for entry in ENTRIES if entry.startswith("notebooks/")]:
        page = site / "notebooks" / f"{chapter.stem}.html"
        files = {Path(link).name: page.parent / link for link in Page(page).links if "_downloads" in link}
        assert files[chapter.name].read_text() == chapter.read_text()
        assert json.loads(files[f"{chapter.stem}.ipynb"].read_text())["nbformat"] == 4


def test_every_image_has_words_for_those_who_do_not_see_it(site):
    assert {path.name: page.wordless for path, page in built_pages(site).items() if page.wordless} == {}


def test_the_book_is_small_enough_to_hand_on_and_has_one_bundle_of_mathjax(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < book_site.MOST_BYTES
    assert [path.name for path in (site / "_static" / "mathjax").glob("*.js")] == ["tex-chtml.js"]


@pytest.fixture
def small_site(tmp_path):
    """Two pages, both listed, and their table of contents."""
    contents = tmp_path / "_toc.yml"
    contents.write_text("format: jb-book\nroot: one\nchapters:\n- file: two\n")
    for name in ("one", "two"):
        (tmp_path / f"{name}.html").write_text(f"<h1 class='title'>{name}</h1>")
    return tmp_path, contents


def test_a_build_that_lacks_a_page_fails(small_site):
    folder, contents = small_site
    assert book_site.missing_pages(folder, contents) == []
    book_site._check(folder, contents)
    (folder / "two.html").write_text("<h1> </h1><p>nothing above")
    with pytest.raises(RuntimeError, match="^1 pages of _toc.yml are missing or empty: two. "):
        book_site._check(folder, contents)
    for page in folder.glob("*.html"):
        page.unlink()
    assert book_site.missing_pages(folder, contents) == ["one", "two"]  # an empty build


def test_a_build_that_is_too_large_fails(small_site, monkeypatch):
    monkeypatch.setattr(book_site, "MOST_BYTES", 10)
    with pytest.raises(RuntimeError, match="has become"):
        book_site._check(*small_site)
