"""What a page says about the runs behind it, as HTML that takes its colours from the page."""

import ast
import hashlib
import inspect
import math
import shlex
import textwrap
from collections.abc import Callable
from html import escape
from pathlib import Path

from dpgan_lib.config import canonical_json
from dpgan_lib.records import bands, store
from dpgan_lib.records.store import Record, number, published, staleness
from dpgan_lib.report.html import badge, table, table_row
from dpgan_lib.report.numbers import duration, epsilon_name, plain, rounded_up, short

WORDS = {"epsilon": "epsilon asked", "info_weight": "lambda (info_weight)"}
CLAIM = "enters no claim"


def computed_by(records: list[Record], command: str, defaults: dict,
                name: Callable[[Record], str] | None = None) -> str:
    """The card at a chapter's end: one column a record, one row a field, as HTML.

    command: what computes the records again.  name: a record -> its column's heading, run_name by default.
    defaults: the chapter's parameters by name; a value that differs is marked. A name that the configuration lacks,
    one that cannot change a result, is left out.
    Raises ValueError if there is no record: a number without one has no place on a page.
    """
    if not records:
        raise ValueError("records=[] must hold at least one: every number on a page is backed by a record")
    fields = [_fields(record, defaults) for record in records]
    rows = [_card_row(name, [field[name] for field in fields]) for name in fields[0]]
    head = list(map(name or run_name, records))
    seeded = ["<p>seeded: for study, not a release</p>"] if any(record.mode == "demo" for record in records) else []
    return _card(table(_caption(records), ["run", *head], rows), command, *seeded)


def benchmark_card(records: list[Record], command: str) -> str:
    """The card of a benchmark's records: they have neither data nor epsilon. Arguments as of computed_by."""
    return _plain_card("The benchmarks behind this page", "machine", records, command, lambda record: {
        "measured on": record.card["title"], "threads": str(record.content["config"]["threads"])})


def experiment_card(records: list[Record], command: str) -> str:
    """The card of disclosed experiments: they read data beyond what is private, and claim no epsilon."""
    return _plain_card("The disclosed experiments behind this page, which are not private", "experiment", records,
                       command, lambda record: {"data": data_words(record)})


def records_table(of_studies: dict[str, list[Record]]) -> str:
    """The records of several studies, a line each, as HTML. Everything else stands on the card of the study's chapter.

    of_studies: study -> its records.
    """
    rows = []
    for study, records in of_studies.items():
        stale = sum(map(bool, map(staleness, records)))
        days = sorted({record.created[:10] for record in records}) or ["none"]
        rows.append(table_row(study, [str(len(records)), f"{stale} stale" if stale else "current",
                                      days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"]))
    return table("The records behind the verdicts", ["study", "records", "status", "computed"], rows)


def _plain_card(caption: str, corner: str, records: list[Record], command: str, more: Callable[[Record], dict]) -> str:
    if not records:
        raise ValueError("records=[] must hold at least one: every number on a page is backed by a record")
    fields = [{"status": status_badge(record)}
              | _escaped({"computed": moment(record), "took": duration(sum(record.seconds.values()))} | more(record)
                         | _machine(record))
              | _digests(record) for record in records]
    rows = [_card_row(name, [field[name] for field in fields]) for name in fields[0]]
    return _card(table(caption, [corner, *map(run_name, records)], rows), command)


def _card(body: str, command: str, *after: str) -> str:
    return "\n".join([
        '<details class="computed-by" open>',
        "<summary>Computed by</summary>",
        body,
        f"<p>To compute this page's run again: <code>{escape(command)}</code></p>",
        *after,
        "</details>",
    ])


def command(study: str, parameters: dict) -> str:
    """The shell command that computes a study's run with these parameters again, whatever records there are."""
    options = " ".join(f"-p {name} {shlex.quote(plain(value))}" for name, value in parameters.items())
    return f"dpgan train --study {study} --fresh {options}".rstrip()


def source(function) -> str:
    """The source of a library function as a Markdown code block, so that no chapter retypes it."""
    return f"```python\n{textwrap.dedent(inspect.getsource(function))}```"


def source_in(path: Path, name: str) -> str:
    """The source of a top-level function in a file that no chapter can import, such as a test's, as of source()."""
    text = path.read_text(encoding="utf-8")
    function = next(node for node in ast.parse(text).body if getattr(node, "name", None) == name)
    return f"```python\n{ast.get_source_segment(text, function)}\n```"


def run_name(record: Record) -> str:
    """The epsilon asked for, without its scope, and the seed, for a title whose neighbour states the scope.

    A disclosed experiment has a name of its own; a benchmark has neither: its machine.
    """
    if "experiment" in record.content["config"]:
        return record.content["config"]["experiment"]
    if not record.privacy:
        trained_on = record.provenance["trained_on"]
        return trained_on.replace("CPU", record.provenance["hardware"]["cpu"])
    return f"{epsilon_name(number(record.privacy['epsilon_asked']))}, seed {record.content['config']['seed']}"


def format_epsilon(record: Record) -> str:
    """The epsilon spent, rounded up, with its scope: total, delta, adjacency and accountant."""
    privacy = record.privacy
    if math.isinf(record.epsilon_spent):
        return "no privacy (epsilon inf)"
    return (f"epsilon {rounded_up(record.epsilon_spent)} (total, delta = {plain(privacy['delta'])}, "
            f"{privacy['adjacency']}, PLD accountant)")


def run_caption(record: Record) -> str:
    """One sentence that says what a run is, for the head of its page; a smoke run is a check of the plumbing."""
    if _is_smoke(record):
        return f"This run is a {_plumbing(record)}."
    config = record.content["config"]
    return f"This run: {record.card['title']}, {config['profile']} profile, seed {config['seed']}."


def sweep_caption(records: list[Record]) -> str:
    """The scope that every epsilon of a figure shares, for the text beneath it."""
    first = records[0]
    data = f"{first.card['title']}, {first.content['config']['profile']} profile"
    return (f"{f'A {_plumbing(first)}' if _is_smoke(first) else f'Data: {data}'}. Each epsilon is a total for the "
            f"whole run, at delta = {plain(first.privacy['delta'])}, for {first.privacy['adjacency']} "
            f"({first.privacy['unit']}), by the PLD accountant.")


def status(record: Record) -> str:
    """ "current", or "stale: " and the reasons."""
    reasons = staleness(record)
    return f"stale: {'; '.join(reasons)}" if reasons else "current"


def status_badge(record: Record) -> str:
    """The status as HTML, its first word a badge."""
    word, colon, reasons = status(record).partition(":")
    return f"{badge(word)}{colon}{escape(reasons)}"


def seeds_badge(record: Record, records: list[Record]) -> str:
    """How the record's metrics lie in the bands of its other seeds among the records, as HTML; by the rule of bands."""
    compared, count = bands.among(record, records), len(bands.alike(record, records))
    if compared.verdict == bands.NO_BAND:
        return f"{badge(bands.NO_BAND)}: fewer than {bands.LEAST} other seeds"
    return f"{badge(compared.verdict)}: {compared.inside} of {len(compared.known)} metrics, {count - 1} other seeds"


# Fields: each value is HTML, escaped where it is made

def _fields(record: Record, defaults: dict) -> dict[str, str]:
    privacy = record.privacy
    rdp = number(privacy["epsilon_spent"]["rdp"])
    text = {
        "computed": moment(record),
        "took": ", ".join(f"{part} {duration(seconds)}"
                          for part, seconds in sorted(record.seconds.items(), reverse=True)),
        "data": data_words(record),
    }
    after = {
        "epsilon spent": format_epsilon(record) + ("" if math.isinf(rdp) else f"; {rounded_up(rdp)} by RDP"),
        "unit of privacy": privacy["unit"],
        "noise": _noise(privacy),
    }
    return (_badges(record) | _escaped(text) | _parameters(record, defaults) | _escaped(after | _machine(record))
            | _digests(record))


def _badges(record: Record) -> dict[str, str]:
    return {"status": status_badge(record), "other seeds": seeds_badge(record, published(record.study))}


def _noise(privacy: dict) -> str:
    released = f"releases of multiplier {short(number(privacy['release_noise']))}" if "release_noise" in privacy else ""
    reader = f"a reader's steps of {_steps(privacy['reader'])}" if "reader" in privacy else ""
    return "; ".join(part for part in (released, reader, _steps(privacy) if privacy["steps"] else "no step") if part)


def _steps(mechanism: dict) -> str:
    return (f"multiplier {short(mechanism['noise_multiplier'])}, sampling rate {short(mechanism['sampling_rate'])}, "
            f"{mechanism['steps']:,} steps")


def data_words(record: Record) -> str:
    """The data set, its N, and what it is."""
    return f"{record.card['title']}, N = {record.card['records']:,}: {record.card['caption']}"


def moment(record: Record) -> str:
    """When the record was computed."""
    return record.created.replace("T", " ").replace("Z", " UTC")


def _machine(record: Record) -> dict[str, str]:
    origin = record.provenance
    return {"hardware": hardware(origin),
            "versions": ", ".join(f"{name} {version}" for name, version in sorted(origin["versions"].items()))}


def _digests(record: Record) -> dict[str, str]:
    digests = {
        "commit": commit(record),
        "data card": hashlib.sha256(canonical_json(record.card).encode()).hexdigest()[:12],
        "record": digest(record),
        "run id": record.run_id,
    }
    cells = {name: f"<code>{escape(value)}</code>" for name, value in digests.items()}
    return {"commit": cells.pop("commit"), "source": sources(record)} | cells


def sources(record: Record) -> str:
    """The first 12 hex digits of the hash of the definitions behind each part of a result, as HTML."""
    return ", ".join(f"{part} <code>{source['sha256'][:12]}</code>"
                     for part, source in sorted(record.provenance["sources"].items()))


def commit(record: Record) -> str:
    """The commit that the source was at, 12 hex digits, and whether the library differed from it."""
    origin = record.provenance
    return origin["commit"][:12] + (" and changes not committed" if origin["dirty"] else "")


def digest(record: Record) -> str:
    """The first 12 hex digits of the digest of record.json, which for a published record stands in the manifest."""
    return store.record_digest(record.folder)[:12]


def hardware(origin: dict) -> str:
    """Training may have run elsewhere than the evaluation, which wrote the record; trained_on says where."""
    machine = origin["hardware"]
    here = f"{machine['cpu']}, {machine['cores']} cores, GPU: {machine['gpu']} ({origin['platform']})"
    return f"trained on {origin['trained_on']}; evaluated on {here}" if "trained_on" in origin else here


def _escaped(values: dict[str, str]) -> dict[str, str]:
    return {name: escape(value) for name, value in values.items()}


def _parameters(record: Record, defaults: dict) -> dict[str, str]:
    values = leaves(record.content["config"])
    marked = {name: _marked(values[name], defaults[name]) for name in defaults if name in values}
    if _is_smoke(record) and "profile" in marked:
        marked["profile"] += f"; {escape(_plumbing(record))}"
    return {WORDS.get(name, name): cell for name, cell in marked.items()}


def _marked(value, default) -> str:
    """The value; in bold with the default beside it where they differ, so that no mark is colour alone."""
    shown, usual = escape(plain(value)), escape(plain(default))
    return shown if shown == usual else f"<strong>{shown}</strong> (default {usual})"


def leaves(config: dict) -> dict:
    """Values by field name. A warm start has some names in common with the run's other parts: theirs are shown."""
    found = {}
    for name, value in config.items():
        found = (leaves(value) if isinstance(value, dict) else {name: value}) | found
    return found


def _is_smoke(record: Record) -> bool:
    return record.content["config"]["profile"] == "smoke"


def _plumbing(record: Record) -> str:
    words = record.card["caption"]
    return f"{words if words.startswith('plumbing check') else f'plumbing check: {words}'}; it {CLAIM}"


# The table

def _caption(records: list[Record]) -> str:
    """Names the data where all runs have the same, so that a page's cards differ. Speaks of a plumbing check only if
    all runs are one; each says so in its own cell too.
    """
    titles = {record.card["title"] for record in records}
    behind = f"The runs behind this page, on {titles.pop()}" if len(titles) == 1 else "The runs behind this page"
    checks = {_plumbing(record) for record in records if _is_smoke(record)} if all(map(_is_smoke, records)) else set()
    return ": ".join([behind, *sorted(checks)])


def _card_row(name: str, cells: list[str]) -> str:
    """One cell for all columns where they agree: it is then read once."""
    if len(cells) > 1 and len(set(cells)) == 1:
        return f'<tr><th scope="row">{escape(name)}</th><td colspan="{len(cells)}">{cells[0]}</td></tr>'
    return table_row(name, cells)
