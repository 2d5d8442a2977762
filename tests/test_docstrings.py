"""Docstrings are plain text: on the page of the reference they read as in the source."""

import re
from pathlib import Path
from types import SimpleNamespace

import dpgan_lib
from dpgan_lib.book import docstrings

ROOT = Path(__file__).resolve().parent.parent


def shown(text: str, width: int = 60) -> list[str]:
    return docstrings.line_blocks(text.split("\n"), width)


def test_a_full_line_goes_on_and_a_short_one_keeps_its_break():
    full = "The first line is as long as the source lets it become, so"
    assert shown(f"{full}\nthe next goes on.\nReturns a number.\norders: (K,) > 1.") == [
        f"| {full} the next goes on.", "| Returns a number.", "| orders: (K,) > 1.", ""]


def test_a_line_within_a_sentence_goes_on_however_short_the_last_one_was():
    assert shown("Sums of\nwhat is clipped.\n\nA paragraph.") == [
        "| Sums of what is clipped.", "", "| A paragraph.", ""]


def test_what_would_be_markup_is_text_and_backticks_make_code():
    assert shown("sampling_rate * records, |d|, of `clip_norm`.") == [
        r"| sampling\_rate \* records, \|d\|, of \ ``clip_norm``\ .", ""]


def test_lines_are_as_long_as_where_they_stand():
    first = "x" * 109
    for what, joined in (("function", False), ("method", True)):
        lines = [first, "Yes it is"]
        docstrings.as_text(None, what, "name", None, None, lines)
        assert (len(lines) == 2) == joined


def test_sphinx_calls_it():
    heard = {}
    docstrings.setup(SimpleNamespace(connect=heard.__setitem__))
    assert heard == {"autodoc-process-docstring": docstrings.as_text}


def test_the_page_names_modules_that_are_there_each_once_with_its_heading():
    page = (ROOT / "book" / "api.md").read_text()
    named = re.findall(r"automodule:: dpgan_lib\.(\S+)", page)
    assert named == re.findall(r"### `(\S+)`", page) and len(set(named)) == len(named)
    package = Path(dpgan_lib.__file__).parent
    for name in named:
        place = package / name.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), name
