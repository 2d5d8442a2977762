"""The notebooks as published: paired with their sources, executed, strict JSON; no result typed in the book's prose."""

import json
import re
import shutil
import time
from pathlib import Path

import jupytext
import nbformat
import pytest

from dpgan_lib import chapters, experiment, results

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
PUBLISHED = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROSE = SOURCES + sorted((ROOT / "book").glob("*.md")) + [path for path in [ROOT / "README.md"] if path.exists()]
SMOKE_SECONDS = 60
SMOKE_SEED = 271828  # no reader's, so that the test may delete its record


def over(paths):
    """A test for each file; pytest shows a skip where there is none yet."""
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


# Pairs


@over(SOURCES)
def test_a_source_has_a_number_and_a_published_pair(path):
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem)
    assert path.with_suffix(".ipynb") in PUBLISHED, f"dpgan publish {path.stem} makes it"


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
    assert any(compared(cell) for cell in code), "strict nbval would pass whatever this notebook computes"


def compared(cell) -> bool:
    """Whether nbval compares an output of the cell: it skips images, and cells marked so."""
    markers = "NBVAL_IGNORE_OUTPUT" in cell.source or "NBVAL_SKIP" in cell.source
    skipped = {"nbval-ignore-output", "nbval-skip"} & set(cell.metadata.get("tags", []))
    kinds = [kind for output in cell.outputs for kind in output.get("data", {"text/plain": ""})]
    return not markers and not skipped and any(not kind.startswith("image/") for kind in kinds)


@over(PUBLISHED)
def test_a_published_notebook_shows_no_error(path):
    outputs = [out for cell in nbformat.read(path, as_version=4).cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]


def refuse(constant: str):
    raise AssertionError(f"a bare {constant} is not JSON")


@over(PUBLISHED + sorted((ROOT / "book").rglob("*.json")))
def test_what_is_published_is_strict_json(path):
    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_the_json_check_refuses_what_is_no_json(constant):
    with pytest.raises(AssertionError, match="is not JSON"):
        json.loads(f"[{constant}]", parse_constant=refuse)


# No typed result: percentages, fractions and accuracies in prose come from records, through glue

NOT_PROSE = [
    r"(?s)\A---\n.*?\n---\n",  # front matter
    r"(?sm)^(`{3,})(?!\{)[^\n]*\n.*?^\1`*[ \t]*$",  # code, but not a directive, whose text is prose
    r"(?sm)^(`{3,})\{(?:math|code|code-block|mermaid|bibliography)\}.*?^\1`*[ \t]*$",
    r"(?m)^[ \t]*:[\w-]+:.*$",  # a directive's options
    r"(?s)\$\$.*?\$\$",
    r"\$[^$\n]+\$",
    r"`[^`\n]+`",  # code and roles, glue among them
    r"(?s)<[^>]*>",
    r"\]\([^)\n]*\)",  # a link's address
    r"https?://\S+",
]
TYPED = [
    r"\d+(?:\.\d+)?\s*(?:%|per ?cent\b|percentage points?\b)",
    r"(?<![\w.])0\.\d+(?![\w.]*\d)",
    r"(?i)\baccurac(?:y|ies)\s+(?:of|is|was|are|were|from|at|to|=|:)\s+(?:about\s+|only\s+|roughly\s+)?\d[\d.]*",
]
DEFINITIONS = {"0.69": "the logarithm of 2, in nats"}  # numbers that no record backs, and why


def typed_results(text: str) -> list[str]:
    """The numbers in Markdown text that look like results and are typed rather than glued."""
    for pattern in NOT_PROSE:
        text = re.sub(pattern, " ", text)
    found = [match.group().strip() for pattern in TYPED for match in re.finditer(pattern, text)]
    return [number for number in found if number not in DEFINITIONS]


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
     "```{note}\nIt reaches 93.4%.\n```", "accuracy was about 81"],
)  # fmt: skip
def test_a_typed_result_is_found(text):
    assert typed_results(text)


@pytest.mark.parametrize(
    "text",
    ["{glue:text}`accuracy_ten:.1%`", "$q = 0.01$", "`-p delta 0.001`", "```python\nx = 0.93\n```", "version 1.0.4",
     "Python 3.11 and 3.13", "arXiv 2009.13839", "$$\nx = 0.5\n$$", '<img width="80%">', "epsilon 10 and 1",
     "```{figure} a.svg\n:width: 80%\n```", "[x](https://x.org/0.9)", "release 2.0.10",
     "an accuracy for each of 45 pairs"],
)  # fmt: skip
def test_what_is_no_result_is_left_alone(text):
    assert typed_results(text) == []


# Every chapter that trains does so, small, through the strict wrapper


def parameter_cells(path: Path) -> list:
    return [cell for cell in jupytext.read(path).cells if "parameters" in cell.metadata.get("tags", [])]


def trains(path: Path) -> bool:
    return any("profile" in cell.source for cell in parameter_cells(path))


@over([path for path in SOURCES if trains(path)])
def test_a_training_chapter_runs_at_smoke(path):
    values = {"profile": "smoke", "dataset": "digits", "seed": SMOKE_SEED}
    run = experiment.run_id(experiment.plan(experiment.Parameters(**values)))
    record = results.LOCAL / path.stem.split("_", 1)[1] / run
    shutil.rmtree(record, ignore_errors=True)  # so that it trains
    output = ROOT / "build" / "test" / f"{path.stem}.ipynb"
    started = time.monotonic()
    chapters.run_chapter(path.stem, values, output, timeout=SMOKE_SECONDS, progress=False)
    assert time.monotonic() - started < SMOKE_SECONDS
    assert (record / "record.json").is_file()
    assert {"epsilon_asked", "epsilon_spent", "delta", "accuracy_ten", "accuracy_pairs"} <= set(chapters.glued(output))


@over(SOURCES)
def test_a_parameter_has_its_unit_or_choices_beside_it(path):
    lines = [line for cell in parameter_cells(path) for line in cell.source.splitlines() if "=" in line.split("#")[0]]
    assert [line for line in lines if "#" not in line] == []
