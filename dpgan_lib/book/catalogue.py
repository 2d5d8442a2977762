"""Tables of every published record: what it is, where it comes from, what checks of it say, its spread over seeds."""

from collections.abc import Callable
from html import escape

import numpy as np

from dpgan_lib.records import bands, checks, store, verify
from dpgan_lib.records.store import Record
from dpgan_lib.report import cards, html, numbers
from dpgan_lib.studies.mnist_tradeoff import tables

NAMES: dict[str, Callable[[Record], str]] = {"mnist_tradeoff": tables.name}  # where settings say too little
# What tells runs apart.
SETTINGS = ("dataset", "unit", "lipschitz", "info_weight", "conditional", "clip_norm", "expected_batch",
            "loss", "gradient_penalty", "spectral_norm", "weight_clip", "deformed", "shared", "z_dim")
VERDICTS = (bands.WITHIN, bands.NOT_REPRODUCED, bands.NO_BAND)
READERS = "committed manifest"  # this check depends on the commit at hand, and so on who asks


def names(records: list[Record]) -> list[str]:
    """The runs of one study in words, each ending in its seed if it has one."""
    own = [_own_name(record) for record in records]
    leaves = [cards.leaves(record.content["config"]) for record in records]
    for setting in SETTINGS:
        values = [leaf.get(setting) for leaf in leaves]
        if len(set(zip(own, values))) > len(set(own)):
            own = [name if value is None else f"{setting} {numbers.plain(value)}, {name}"
                   for name, value in zip(own, values)]
    return own


def _own_name(record):
    named = NAMES.get(record.study) if record.privacy else None
    return (named or cards.run_name)(record)


def records_table(study: str, records: list[Record]) -> str:
    """A study's records, one a row, as HTML; what all of them share stands beneath. Each run id is an anchor."""
    rows = [_row(record, records) for record in records]
    common = {column: _shared([row[column] for row in rows]) for column in rows[0]}
    varying = [column for column in rows[0] if not common[column] and any(row[column] for row in rows)]
    body = [html.table_row(name, [row[column] for column in varying]) for name, row in zip(names(records), rows)]
    alike = "".join(f"<li>{column}: {value}</li>" for column, value in common.items() if value)
    of_all = f"<p>{'The same for all' if len(records) > 1 else 'Besides'}:</p>\n<ul>{alike}</ul>"
    return "\n".join([html.table(f"{study}: {_count(len(records), 'record')}", ["run", *varying], body), of_all])


def _shared(cells: list[str]) -> str:
    """What the cells agree on, as far as they are filled; nothing if they do not, or if they are anchors."""
    filled = {cell for cell in cells if cell}
    return filled.pop() if len(filled) == 1 and "<a " not in cells[0] else ""


def _row(record: Record, records: list[Record]) -> dict[str, str]:
    """Column -> HTML."""
    origin = record.provenance
    return {
        "run id": _anchor(record),
        "epsilon spent": _epsilon(record),
        "status": cards.status_badge(record),
        "other seeds": cards.seeds_badge(record, records),
        "checks": _checks(record),
        "computed": cards.moment(record),
        "digest": f"<code>{cards.digest(record)}</code>",
        "source": cards.sources(record),
        "commit": escape(cards.commit(record)),
        "data": escape(cards.data_words(record) if "records" in record.card else record.card["title"]),
        "profile": escape(str(record.content["config"].get("profile", ""))),
        "scope of epsilon": escape(_scope(record)),
        "hardware": escape(cards.hardware(origin)),
    }


def _anchor(record):
    name = f"{record.study}-{record.run_id}"
    return f'<a id="{escape(name)}" href="#{escape(name)}"><code>{escape(record.run_id)}</code></a>'


def _epsilon(record):
    if not record.privacy:
        return "none claimed"
    spent = record.epsilon_spent
    return "no privacy" if np.isinf(spent) else numbers.rounded_up(spent)


def _scope(record):
    privacy = record.privacy
    return privacy and (f"total, at delta = {numbers.plain(privacy['delta'])}, for {privacy['adjacency']} "
                        f"({privacy['unit']}), by the PLD accountant, rounded up") or ""


def _checks(record):
    """What `dpgan verify` says without --deep: how many checks pass, or those that fail in full."""
    found = [check for check in verify.check(record) if check.name != READERS]
    if failed := [check for check in found if check.outcome == checks.FAILED]:
        return "; ".join(f"<strong>{escape(str(check))}</strong>" for check in failed)
    outcomes = [check.outcome for check in found]
    return f"{outcomes.count(checks.OK)} pass, {outcomes.count(checks.NOT_CHECKED)} not made"


# The spread over seeds

def bands_tables(study: str, records: list[Record]) -> str:
    """A study's metrics with their bands, a column for each run that has several seeds, as HTML that unfolds."""
    seeded = [group for group in bands.groups(records) if len(group) >= bands.LEAST]
    single = sum(len(group) < bands.LEAST for group in bands.groups(records))
    has = "has" if single == 1 else "have"
    alone = f"<p>{study}: {_count(single, 'run')} of one seed {has} no band.</p>" if single else ""
    of_name = dict(zip((record.run_id for record in records), names(records)))
    kinds: dict[tuple, list] = {}
    for group in seeded:
        kinds.setdefault(tuple(bands.metrics(group[0])), []).append(group)
    return "\n".join([*(_bands_table(study, metrics, groups, of_name) for metrics, groups in kinds.items()), alone])


def _bands_table(study, metrics, groups, of_name):
    found = [bands.of(group) for group in groups]
    shown = [name for name in metrics if any(name in band and band[name].is_known for band in found)]
    body = [html.table_row(name, [_band(band.get(name)) for band in found]) for name in shown]
    head = [f"{_seedless(of_name[group[0].run_id], group[0])} ({len(group)} seeds)" for group in groups]
    words = f"{study}: {_count(len(shown), 'metric')} over seeds, {_count(len(groups), 'run')}"
    table = html.table(f"{words}: mean, and how far from it the next seed's value may lie", ["metric", *head], body)
    constant = _count(len(metrics) - len(shown), "metric")
    return (f"<details>\n<summary>{escape(words)}</summary>\n{table}\n"
            f"<p>The same for every seed, and so without a band: {constant}.</p>\n</details>")


def _band(band):
    if band is None or not band.is_known:
        return "" if band is None else f"always {_plain(band.values[0])}"
    low, high = band.limits
    return f"{_plain((low + high) / 2)} ± {_plain((high - low) / 2)}"


def _plain(value):
    """Three significant digits."""
    return numbers.plain(float(f"{value:.3g}"))


def _seedless(name, record):
    return name.removesuffix(f", seed {record.content['config'].get('seed')}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def summary(published: dict[str, list[Record]]) -> str:
    """Of every study: its records, how many of them are stale, and how they compare with their other seeds, as HTML."""
    rows = []
    for study, records in published.items():
        stale, verdicts = sum(bool(store.staleness(record)) for record in records), _verdicts(records)
        rows.append(html.table_row(study, [str(len(records)), str(stale), *map(str, map(verdicts.count, VERDICTS))]))
    return html.table("Published records, by study", ["study", "records", "stale", *VERDICTS], rows)


def compared(published: dict[str, list[Record]]) -> str:
    """How many of all records that have a band are called not reproduced, beside what chance would do, in words."""
    verdicts = [verdict for records in published.values() for verdict in _verdicts(records)]
    count = len(verdicts) - verdicts.count(bands.NO_BAND)
    return (f"{verdicts.count(bands.NOT_REPRODUCED)} of {count} records with a band are {bands.NOT_REPRODUCED} by it; "
            f"of sound ones, up to {(1 - bands.LEVEL) * count:.1f} on average")


def _verdicts(records):
    return [bands.among(record, records).verdict for record in records]
