"""The notebooks as published: paired with their sources, executed, strict JSON; no result typed in the book's prose."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

from dpgan_lib import paths
from dpgan_lib.book import chapters
from dpgan_lib.studies import registry
from dpgan_lib.studies.mnist_tradeoff.study import STUDY, Parameters

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
PUBLISHED = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROSE = [*SOURCES, *sorted((ROOT / "book").glob("*.md")), *sorted((ROOT / "book" / "coursework").glob("*.py")),
         ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
SMOKE_SECONDS = 60
SMOKE_SEED = 271828  # no reader's, so that the test may delete its record


def over(paths):
    """A test for each file; pytest shows a skip where there is none yet."""
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


def parameter_cells(path: Path) -> list:
    return [cell for cell in jupytext.read(path).cells if "parameters" in cell.metadata.get("tags", [])]


def trains(path: Path) -> bool:
    """Whether the chapter's records are training runs with their utility; another study has tests of its own."""
    return path.stem.split("_", 1)[1] == STUDY.chapter


# Pairs


@over(SOURCES)
def test_a_source_has_a_number_and_in_the_book_a_published_pair(path):
    """What the table of contents does not list is being written."""
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem)
    is_listed = f"notebooks/{path.stem}\n" in (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert (path.with_suffix(".ipynb") in PUBLISHED) == is_listed, f"dpgan publish {path.stem} makes it"


@over(PUBLISHED)
def test_a_published_notebook_has_its_sources_cells(path):
    pair = jupytext.read(path.with_suffix(".py"))
    assert cells(nbformat.read(path, as_version=4)) == cells(pair), f"dpgan publish {path.stem} brings it up to date"


def cells(notebook) -> list:
    return [(cell.cell_type, cell.source.strip()) for cell in notebook.cells]


# What is published


@over(PUBLISHED)
def test_a_published_notebook_is_executed_in_order_and_compared(path):
    content = nbformat.read(path, as_version=4)
    code = [cell for cell in content.cells if cell.cell_type == "code" and cell.source.strip()]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any(map(compared, code)), "strict nbval would pass whatever this notebook computes"


RESULTS = {  # where a chapter's numbers are; all else that it computes ends in these, or is a picture
    "the table of accuracies": r"<caption[^>]*>Accuracy on real test images",
    "the card": r'<details class="computed-by"',
    "the status": r"(?m)^'?(?:current|stale: .*)'?$",
}


@over([path for path in PUBLISHED if trains(path.with_suffix(".py"))])
def test_the_results_of_a_training_chapter_are_compared(path):
    texts = [text for cell in nbformat.read(path, as_version=4).cells for text in compared(cell)]
    assert [name for name, words in RESULTS.items() if not any(re.search(words, text) for text in texts)] == []


def compared(cell) -> list[str]:
    """The texts of a cell that nbval compares: it skips images, and cells marked so."""
    markers = "NBVAL_IGNORE_OUTPUT" in cell.source or "NBVAL_SKIP" in cell.source
    skipped = {"nbval-ignore-output", "nbval-skip"} & set(cell.metadata.get("tags", []))
    if cell.cell_type != "code" or markers or skipped:
        return []
    texts = [output.get("data", {"text/plain": output.get("text", "")}) for output in cell.outputs]
    return [text for kinds in texts for kind, text in kinds.items() if not kind.startswith("image/")]


@pytest.mark.parametrize("mark", [{"source": "# NBVAL_IGNORE_OUTPUT"}, {"metadata": {"tags": ["nbval-skip"]}}])
def test_a_marked_cell_and_a_picture_are_not_compared(mark):
    shown = nbformat.v4.new_output("display_data", {"text/html": "a table", "image/png": "a picture"})
    assert compared(nbformat.v4.new_code_cell(outputs=[shown])) == ["a table"]
    assert compared(nbformat.v4.new_code_cell(outputs=[shown], **mark)) == []


@over(PUBLISHED)
def test_a_published_notebook_shows_no_error(path):
    outputs = [out for cell in nbformat.read(path, as_version=4).cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]


@over(PUBLISHED)
def test_a_published_figure_is_a_picture_and_not_its_name(path):
    shown = [out.data for cell in nbformat.read(path, as_version=4).cells for out in cell.get("outputs", [])
             if "data" in out and "image/png" not in out.data]
    assert not [data for data in shown if "<Figure size" in str(data)]


def refuse(constant: str):
    raise AssertionError(f"a bare {constant} is not JSON")


@over(PUBLISHED + sorted((ROOT / "book").rglob("*.json")))
def test_what_is_published_is_strict_json(path):
    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_the_json_check_refuses_what_is_no_json(constant):
    with pytest.raises(AssertionError, match="is not JSON"):
        json.loads(f"[{constant}]", parse_constant=refuse)


# No typed result: percentages, points, fractions and accuracies in prose come from records, through glue

NOT_PROSE = [
    r"(?s)\A---\n.*?\n---\n",  # front matter
    # Code with its language, but not a directive, whose text is prose and whose closing fence opens nothing.
    r"(?sm)^(`{3,})[A-Za-z][^\n]*\n.*?^\1`*[ \t]*$",
    r"(?sm)^(`{3,})\{(?:math|code|code-block|mermaid|bibliography)\}.*?^\1`*[ \t]*$",
    r"(?m)^[ \t]*:[\w-]+:.*$",  # a directive's options
    r"(?s)\$\$.*?\$\$",
    r"\$[^$\n]+\$",
    r"`[^`\n]+`",  # code and roles, glue among them
    r"(?s)<[^>]*>",
    r"\]\([^)\n]*\)",  # a link's address
    r"https?://\S+",
]
DEFINITIONS = [  # decimals that no record backs
    r"\b\d+(?:\.\d+){2,}[\w.]*",  # a version, such as 1.0.4
    r"\b\d+\.x\b",
    r"\bPython 3\.\d+(?:(?:, | and | or | to |, and |, or )3\.\d+)*",
    r"\barXiv[ :]\d{4}\.\d{4,5}(?:v\d+)?",
    r"\bCC BY \d\.\d",
    r"\b0\.69 nats\b",  # the logarithm of 2
]
TYPED = [
    r"\d+(?:\.\d+)?\s*(?:%|per ?cent\b|(?:percentage )?points?\b)",
    r"\d*\.\d+",
    r"(?i)\baccurac(?:y|ies)\s+(?:of|is|was|are|were|from|at|to|=|:)\s+(?:about\s+|only\s+|roughly\s+)?\d[\d.]*",
]


def typed_results(text: str) -> list[str]:
    """The numbers in Markdown text that look like results and are typed rather than glued."""
    for pattern in NOT_PROSE + DEFINITIONS:
        text = re.sub(pattern, " ", text)
    return [match.group().strip() for pattern in TYPED for match in re.finditer(pattern, text)]


def prose(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    return "\n\n".join(cell.source for cell in jupytext.read(path).cells if cell.cell_type == "markdown")


@over(PROSE)
def test_no_result_is_typed(path):
    assert typed_results(prose(path)) == []


@pytest.mark.parametrize(
    "text",
    ["It reaches 93.4% here.", "It reaches 93 %.", "some 90 percent", "an accuracy of 93", "AUC 0.934.", "(0.9)",
     "```{note}\nIt reaches 93.4%.\n```", "accuracy was about 81", "epsilon 2.98 was spent", "falls by 4 points",
     "one percentage point is 1 point", "a multiplier of 1.25", "It is .93.", "arXiv says 93.4"],
)  # fmt: skip
def test_a_typed_result_is_found(text):
    assert typed_results(text)


@pytest.mark.parametrize(
    "text",
    ["{glue:text}`accuracy_ten:.1%`", "$q = 0.01$", "`-p delta 0.001`", "```python\nx = 0.93\n```", "version 1.0.4",
     "Python 3.11 and 3.13", "arXiv 2009.13839", "$$\nx = 0.5\n$$", '<img width="80%">', "epsilon 10 and 1",
     "```{figure} a.svg\n:width: 80%\n```", "[x](https://x.org/0.9)", "release 2.0.10",
     "an accuracy for each of 45 pairs", "Jupyter Book 1.x", "three points of a curve"],
)  # fmt: skip
def test_what_is_no_result_is_left_alone(text):
    assert typed_results(text) == []


# Chapters that train do so, small: those of studies without tests of their own


SMALL = {  # a chapter, and what makes it small
    "08_celeba_specificity": {"dataset": "drawn_faces", "attributes": "Smiling,Eyeglasses"},
    "09_class_imbalance": {"dataset": "digits", "kept": 0.05},
}


@pytest.mark.full
@pytest.mark.parametrize("name", SMALL)
def test_a_training_chapter_runs_at_smoke(name):
    values = SMALL[name] | {"profile": "smoke", "epsilon": "inf", "seed": SMOKE_SEED}
    study = name.split("_", 1)[1]
    record = paths.runs() / study / registry.study(study).address(registry.parameters(study)(**values))
    shutil.rmtree(record, ignore_errors=True)  # so that it trains
    output = paths.build() / "test" / f"{name}.ipynb"
    chapters.run_chapter(name, values, output, timeout=SMOKE_SECONDS, progress=False)
    assert chapters.glued(output)["status"] == "current" and (record / "record.json").is_file()
    shutil.rmtree(record)


# Plain papermill, as a reader calls it


@pytest.fixture
def papermill(tmp_path):
    """Executes the published MNIST chapter with these arguments."""
    notebook = ROOT / "notebooks" / "05_mnist_tradeoff.ipynb"
    if not notebook.exists():
        pytest.skip(f"{notebook.name} is not published yet")

    def call(*arguments: str):
        command = [Path(sys.executable).with_name("papermill"), notebook, tmp_path / "out.ipynb", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=4 * SMOKE_SECONDS)

    return call


@pytest.mark.full
def test_plain_papermill_re_executes_the_published_chapter(papermill, tmp_path):
    values = {"profile": "smoke", "dataset": "digits", "epsilon": 3.0, "seed": SMOKE_SEED}  # pairs have no CNN at 3
    record = paths.runs() / STUDY.chapter / STUDY.address(Parameters(**values))
    shutil.rmtree(record, ignore_errors=True)  # so that it trains
    done = papermill(*(word for name, value in values.items() for word in ("-p", name, str(value))))
    assert done.returncode == 0, done.stderr
    json.loads((tmp_path / "out.ipynb").read_text(encoding="utf-8"), parse_constant=refuse)
    glued = chapters.glued(tmp_path / "out.ipynb")
    assert {"epsilon_asked", "epsilon_spent", "delta", "accuracy_ten", "accuracy_pairs", "status"} <= set(glued)
    assert glued["epsilon_asked"] == "3" and (record / "record.json").is_file()
    shutil.rmtree(record)


@pytest.mark.full
def test_plain_papermill_refuses_an_unknown_name_with_the_nearest(papermill):
    done = papermill("-p", "epsilno", "2")
    assert done.returncode != 0 and "Did you mean 'epsilon'?" in done.stderr


@pytest.mark.full
def test_plain_papermill_refuses_an_infinite_number_and_names_the_text(papermill):
    done = papermill("-p", "epsilon", "inf")
    assert done.returncode != 0 and "`-r epsilon inf` for papermill" in done.stderr.splitlines()[-2]


@over(SOURCES)
def test_a_parameter_has_its_unit_or_choices_beside_it(path):
    lines = [line for cell in parameter_cells(path) for line in cell.source.splitlines() if "=" in line.split("#")[0]]
    assert [line for line in lines if "#" not in line] == []
