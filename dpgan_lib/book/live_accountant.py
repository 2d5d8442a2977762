"""The live accountant's page: a table by the library to compare with, and published runs to start from."""

import re
from html import escape
from pathlib import Path
from urllib.parse import urlencode

from dpgan_lib.book.chapters import chapter_path
from dpgan_lib.privacy.accounting import epsilon_pld, epsilon_rdp
from dpgan_lib.records import store
from dpgan_lib.records.store import Record
from dpgan_lib.report.html import table, table_row
from dpgan_lib.report.numbers import plain, rounded_up

TABLE, PRESETS = "accountant_settings.html", "accountant_presets.html"  # beside the page, which includes them

# (name, N, expected batch, noise multiplier, steps, delta)
SETTINGS = [
    ("the form as it opens", 60_000, 512, 1.0, 3000, 1e-5),
    ("four times the steps", 60_000, 512, 1.0, 12_000, 1e-5),
    ("a tenth of the data", 6000, 512, 1.0, 3000, 1e-5),
    ("one step, every record in it", 60_000, 60_000, 4.0, 1, 1e-5),
]


def stage(book: Path) -> None:
    """Write what the page in `book` includes."""
    (book / TABLE).write_text(settings_table(), encoding="utf-8")
    (book / PRESETS).write_text(presets_html(), encoding="utf-8")


def settings_table() -> str:
    """Epsilon for each of SETTINGS by two accountants, as HTML. Computed anew, in a few seconds."""
    rows = []
    for name, records, batch, noise, steps, delta in SETTINGS:
        run = dict(noise_multiplier=noise, sampling_rate=batch / records, steps=steps, delta=delta)
        numbers = [f"{records:,}", f"{batch:,}", plain(noise), f"{steps:,}", plain(delta)]
        rows.append(table_row(name, [*numbers, rounded_up(epsilon_rdp(**run)), rounded_up(epsilon_pld(**run))]))
    return table("Epsilon (total, add/remove one record; unit: one record) by two accountants",
                 ["setting", "N", "batch", "noise multiplier", "steps", "delta", "RDP", "PLD"], rows)


# Published runs. What the form holds is one line, in a link as in an option: name=value, joined by &.

def presets() -> dict[str, list[tuple[str, Record]]]:
    """Study -> the published private runs that differ in their mechanisms: what the form holds, and a record.

    By epsilon, then N. Only the settings are read, so that a record may be stale.
    """
    found = {}
    for name in store.published_studies():
        records = [record for record in store.published(name) if _is_private(record)]
        held = {state(record): record for record in records}
        if held:
            found[name] = sorted(held.items(), key=lambda item: (float(item[1].privacy["epsilon_asked"]), *_size(item)))
    return found


def _is_private(record: Record) -> bool:
    return bool(record.privacy) and store.number(record.privacy["epsilon_spent"]["pld"]) < float("inf")


def _size(item: tuple[str, Record]) -> tuple[int, str]:
    held, record = item
    return record.content["config"]["privacy"]["records"], held


def state(record: Record) -> str:
    """A record's mechanisms as the form's fields. The critic's noise is left out where the critic takes no step."""
    privacy, public = record.privacy, record.content["config"]["privacy"]
    fields = {"records": public["records"], "batch": public["expected_batch"], "steps": privacy["steps"],
              "delta": privacy["delta"]}
    if privacy["steps"]:
        fields["noise"] = privacy["noise_multiplier"]
    if "release_noise" in privacy:
        fields["sums_noise"] = privacy["release_noise"]
    if reader := privacy.get("reader"):
        fields |= {"reader_batch": round(reader["sampling_rate"] * public["records"], 6),
                   "reader_noise": reader["noise_multiplier"], "reader_steps": reader["steps"]}
    return urlencode({name: plain(value) for name, value in fields.items()})


def presets_html() -> str:
    """The options of a list of published runs, one group a chapter. data-spent: what the record says was spent."""
    lines = []
    for study, runs in presets().items():
        lines.append(f'<optgroup label="{escape(_title(study))}">')
        lines += [f'<option value="{escape(held)}" data-spent="{rounded_up(record.epsilon_spent)}">'
                  f"{escape(_words(record))}</option>" for held, record in runs]
        lines.append("</optgroup>")
    return "\n".join(lines)


def _title(study: str) -> str:
    """A chapter's own heading."""
    (heading,) = re.findall(r"(?m)\A(?:.*\n)*?# # (.+)$", chapter_path(study).read_text(encoding="utf-8"))
    return heading


def _words(record: Record) -> str:
    """What a run is told apart by."""
    privacy, public = record.privacy, record.content["config"]["privacy"]
    parts = [*(["noisy sums"] if "release_noise" in privacy else []), *(["a reader"] if privacy.get("reader") else []),
             *([f"{privacy['steps']:,} critic steps, batch {public['expected_batch']:,}"] if privacy["steps"] else [])]
    return f"epsilon {plain(privacy['epsilon_asked'])}, N = {public['records']:,}: {' + '.join(parts)}"
