"""What the records of the study of audits say, as rows and tables."""

import math

import numpy as np

from dpgan_lib.config import PrivacyConfig
from dpgan_lib.privacy import audit
from dpgan_lib.records import store
from dpgan_lib.records.store import Record
from dpgan_lib.report import cards, html, numbers
from dpgan_lib.studies.audit import canaries, memorisation
from dpgan_lib.studies.audit.study import BROKEN_CLAIM, DELTA


def sorted_by_privacy(records: list[Record]) -> list[Record]:
    """Each run once, by epsilon, then seed."""
    runs = {record.run_id: record for record in records}
    return sorted(runs.values(), key=lambda record: (_epsilon(record), record.content["config"]["seed"]))


def _epsilon(record):
    return store.number(record.privacy["epsilon_asked"])


def claim(record: Record) -> float:
    """The epsilon that an audit is held against: of a mechanism without noise and clip, BROKEN_CLAIM."""
    return min(_epsilon(record), math.inf if record.metrics["alone"] else BROKEN_CLAIM)


def distance_curves(record: Record) -> dict[str, tuple]:
    """For figures.panels: the distribution of generated images' nearest distances, to both sets of images."""
    found, levels = record.metrics["nearest"], memorisation.QUANTILES
    return {"to the nearest training image": (found["to_train"], levels),
            "to the nearest held-out image": (found["to_held_out"], levels)}


def nearest_table(records: list[Record]) -> str:
    """The swap test, and what the generator learnt, as HTML."""
    body = [html.table_row(cards.run_name(record),
                           [f"{record.metrics['nearest']['share_nearer']:.1%}",
                            f"{record.metrics['nearest']['p_value']:.3f}", f"{record.metrics['learnt']:.1%}"])
            for record in records]
    return html.table("Generated images and their nearest neighbours",
                      ["run", "nearer to a training image", "p-value of the swap test", "held-out digits named"],
                      body)


def audits_table(records: list[Record]) -> str:
    """Every audit with its ceiling, as HTML."""
    body = [html.table_row(f"{cards.run_name(record)}: {auditor}",
                           [f"{claim(record):g}", f"{shown['correct']} of {shown['guesses']}",
                            f"{shown['epsilon']:.2f}", f"{shown['ceiling']:.2f}", _typical(record)])
            for record in records for auditor, shown in record.metrics["audits"].items()]
    level = records[0].content["config"]["audit"]["level"]
    return html.table(f"Epsilon from below (delta = {numbers.plain(DELTA)}, add/remove), each at level {level:.2g}",
                      ["run: an auditor who", "epsilon claimed", "guesses right", "bound",
                       "ceiling: all guesses right", "the mechanism alone (median)"], body)


def _typical(record):
    alone = record.metrics["alone"]
    return f"{np.median(alone['bounds']):.2f}" if alone else "hides nothing"


def audit_rows(records: list[Record]) -> list[dict]:
    """For figures_audit.ranges: a line from 0 to each audit's ceiling, and marks on it."""
    rows = []
    for record in records:
        alone = record.metrics["alone"]
        typical = {"the mechanism alone": np.median(alone["bounds"])} if alone else {}
        rows += [{"name": f"{cards.run_name(record)}: {auditor}", "epsilon": _epsilon(record), "low": 0.0,
                  "high": shown["ceiling"], "marks": {"bound": shown["epsilon"], "ceiling": shown["ceiling"],
                                                      "claimed": claim(record)} | typical}
                 for auditor, shown in record.metrics["audits"].items()]
    return rows


def controls_table(records: list[Record]) -> str:
    """Tests and audits of the mechanism alone, counted, as HTML. records: private ones."""
    body = []
    for record in records:
        alone, asked = record.metrics["alone"], _epsilon(record)
        cells = [f"{alone[each]['refuted']} of {alone[each]['tests']}" for each in ("correct", "halved")]
        above = sum(bound > asked for bound in alone["bounds"])
        body.append(html.table_row(cards.run_name(record), [*cells, f"{above} of {len(alone['bounds'])}"]))
    return html.table(f"The mechanism alone: tests at level {canaries.TEST_LEVEL:g} that refute it, and bounds above "
                      "the claim", ["claimed", "as claimed: refuted", "half the noise: refuted",
                                    "as claimed: bounds too high"], body)


def attack_rows(records: list[Record]) -> list[dict]:
    """For figures_audit.ranges: the interval of each attack's advantage."""
    return [{"name": f"{cards.run_name(record)}: {attack}", "epsilon": _epsilon(record), "low": found["low"],
             "high": found["high"], "marks": {attack: found["advantage"]}}
            for record in records for attack, found in record.metrics["attacks"].items()]


def attacks_table(records: list[Record]) -> str:
    """Advantages, with intervals and with the most that the mechanism allows, as HTML."""
    body = []
    for record in records:
        cells = [f"{found['advantage']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"
                 for found in record.metrics["attacks"].values()]
        body.append(html.table_row(cards.run_name(record), [*cells, f"{most_advantage(record):.2f}"]))
    return html.table("Advantage in telling training images from held-out ones",
                      ["run", *records[0].metrics["attacks"], "at most, by the trade-off curve"], body)


def most_advantage(record: Record) -> float:
    """Of any attack on one record added or removed, on average over runs: 1 - alpha - f(alpha) at its largest."""
    if not record.metrics["alone"]:
        return 1.0
    curve = audit.curve(PrivacyConfig(**record.content["config"]["privacy"]))
    return float(np.max(1 - curve.alpha - curve.beta))
