"""A Sphinx extension for the page of the library's reference: docstrings as the plain text that they are.

To Sphinx a docstring is reStructuredText, where a star or an underscore means something. Here a blank line begins a
paragraph, a sentence or a name with a colon that begins a line before the last one was full keeps its break, and what
stands between backticks is code.
"""

import re

WIDTH = 120
INDENT = {"module": 0, "method": 8, "property": 8, "attribute": 8}  # of the source; of others, 4

CONTINUES = re.compile(r"(?!\w+( \([^)]*\))?:)[a-z(]")  # a line in the middle of a sentence


def as_text(app, what: str, name: str, docstring_object: object, options: object, lines: list[str]) -> None:
    """Replace a docstring's lines by line blocks. What Sphinx calls for autodoc-process-docstring."""
    lines[:] = line_blocks(lines, WIDTH - INDENT.get(what, 4))


def line_blocks(lines: list[str], width: int) -> list[str]:
    """Plain text as reStructuredText. width: columns of a full line."""
    blocks: list[str] = []
    before = ""
    for line in lines:
        first = line.split(" ", 1)[0]
        is_full = len(before) + 1 + len(first) > width
        if not line.strip():
            blocks.append("")
        elif before.strip() and first and (is_full or CONTINUES.match(line)):
            blocks[-1] += " " + _escaped(line)
        else:
            indent = len(line) - len(line.lstrip())
            blocks.append("| " + " " * indent + _escaped(line.strip()))
        before = line
    return [*blocks, ""]


def _escaped(text: str) -> str:
    parts = re.split(r"`([^`]+)`", text)
    return "".join(f"\\ ``{part}``\\ " if index % 2 else re.sub(r"([\\*_|`])", r"\\\1", part)
                   for index, part in enumerate(parts))


def setup(app) -> dict:
    app.connect("autodoc-process-docstring", as_text)
    return {"parallel_read_safe": True}
