"""Badges, tables and their rows, as HTML that scrolls on a phone and is read aloud right."""

from html import escape


def badge(text: str) -> str:
    """The text says the status; style sheets may colour its edge."""
    return f'<span class="record-badge record-{text.replace(" ", "-")}">{text}</span>'


def table(caption: str, head: list[str], rows: list[str]) -> str:
    """A table that scrolls within itself on a narrow screen, also by keyboard. rows: of table_row()."""
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return "\n".join([
        f'<div style="overflow-x: auto" role="region" aria-label="{escape(caption)}" tabindex="0">',
        '<table class="records" style="text-align: left">',
        f'<caption style="text-align: left">{escape(caption)}</caption>',
        f"<thead><tr>{cells}</tr></thead>",
        "<tbody>", *rows, "</tbody>",
        "</table>",
        "</div>",
    ])


def table_row(name: str, cells: list[str]) -> str:
    """A row with its heading; the cells are HTML already."""
    cells = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
