"""What the book's build adds to the pages: the accountant's table of settings, and each chapter to take away."""

import shutil
from pathlib import Path

import nbformat

# (name, N, expected batch, noise multiplier, steps, delta)
SETTINGS = [
    ("the form as it opens", 60_000, 512, 1.0, 3000, 1e-5),
    ("four times the steps", 60_000, 512, 1.0, 12_000, 1e-5),
    ("a tenth of the data", 6000, 512, 1.0, 3000, 1e-5),
    ("one step, every record in it", 60_000, 60_000, 4.0, 1, 1e-5),
]


def settings_table() -> str:
    """Epsilon for each of SETTINGS by two accountants, as HTML. Computed anew, in a few seconds."""
    from dpgan_lib.accounting import epsilon_pld, epsilon_rdp
    from dpgan_lib.report import plain, rounded_up, table, table_row

    rows = []
    for name, records, batch, noise, steps, delta in SETTINGS:
        run = dict(noise_multiplier=noise, sampling_rate=batch / records, steps=steps, delta=delta)
        numbers = [f"{records:,}", f"{batch:,}", plain(noise), f"{steps:,}", plain(delta)]
        rows.append(table_row(name, [*numbers, rounded_up(epsilon_rdp(**run)), rounded_up(epsilon_pld(**run))]))
    return table("Epsilon (total, add/remove one record; unit: one record) by two accountants",
                 ["setting", "N", "batch", "noise multiplier", "steps", "delta", "RDP", "PLD"], rows)


def offer(notebook: Path, source: Path) -> None:
    """Put a staged chapter's source beside it, and end the chapter with links to both files.

    source: the chapter's py:percent file.
    """
    shutil.copy(source, notebook.parent)
    content = nbformat.read(notebook, as_version=4)
    content.cells.append(nbformat.v4.new_markdown_cell(
        f"*This chapter to take away:* {{download}}`as a notebook <{notebook.name}>`, with its results, or "
        f"{{download}}`as Python <{source.name}>`, its source.", id="take-away"))
    nbformat.write(content, notebook)
