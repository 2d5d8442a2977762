"""What the records of the studies of audits say, as rows and tables."""

import math

import numpy as np
from scipy.stats import binom

from dpgan_lib.config import CRITIC, READER, PrivacyConfig
from dpgan_lib.privacy import audit
from dpgan_lib.records import store
from dpgan_lib.records.store import Record
from dpgan_lib.report import cards, html, numbers
from dpgan_lib.studies.audit import alone, canaries, memorisation, whole
from dpgan_lib.studies.audit.study import DELTA, LEVEL

PARTS = (whole.PROTOTYPES, whole.EMBEDDING, READER, CRITIC)  # of the whole method, in the order of a run
WHOLE_BOUNDS = (audit.GAUSSIAN_MEAN, audit.F_DP, audit.ONE_RUN)


def sorted_by_privacy(records: list[Record]) -> list[Record]:
    """Each run once, by epsilon, then seed."""
    runs = {record.run_id: record for record in records}
    return sorted(runs.values(), key=lambda record: (_epsilon(record), record.asked["seed"]))


def _epsilon(record):
    return store.number(record.asked["epsilon"])


# Memorisation

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
    privacy = PrivacyConfig(**record.content["config"]["privacy"])
    if not privacy.is_private:
        return 1.0
    curve = audit.curve(privacy)
    return float(np.max(1 - curve.alpha - curve.beta))


# Audits

def audits_table(records: list[Record]) -> str:
    """Every audit, each bound with its ceiling, as HTML."""
    body = []
    for record in records:
        for auditor, found in record.metrics["audits"].items():
            cells = [_with_ceiling(record, found["bounds"], name) for name in audit.BOUNDS]
            body.append(html.table_row(f"{cards.run_name(record)}: {auditor}",
                                       [f"{record.metrics['claimed']:g}", f"{found['correct']} of {found['guesses']}",
                                        *cells]))
    return html.table(f"Epsilon from below (delta = {numbers.plain(DELTA)}, add/remove), each at level {LEVEL:g}, and "
                      "in brackets what ideal canaries show (median)",
                      ["run: an auditor who", "epsilon claimed", "guesses right", *audit.BOUNDS], body)


def _with_ceiling(record, bounds, name):
    return f"{bounds[name]:.2f} ({record.metrics['ideal'][name]['median']:.2f})" if name in bounds else "-"


def audit_rows(records: list[Record]) -> list[dict]:
    """For figures_audit.ranges: a line for each estimator from 0 to the claim, with its bound and its ceiling."""
    rows = []
    for record in records:
        for name, bound in record.metrics["audits"][canaries.KNOWS_DATA]["bounds"].items():
            rows.append({"name": f"{cards.run_name(record)}: {name}", "epsilon": _epsilon(record), "low": 0.0,
                         "high": record.metrics["claimed"],
                         "marks": {"bound": bound, "ideal canaries (median)": record.metrics["ideal"][name]["median"],
                                   "claimed": record.metrics["claimed"]}})
    return rows


def ideal_table(records: list[Record]) -> str:
    """How often each estimator exceeded the claim, in simulated audits of ideal canaries, as HTML.

    records: private ones. Runs with the same claim are simulated apart, and counted together.
    """
    body = []
    for claimed in sorted({record.metrics["claimed"] for record in records}):
        of_claim = [record.metrics["ideal"] for record in records if record.metrics["claimed"] == claimed]
        count = sum(found[audit.ONE_RUN]["audits"] for found in of_claim)
        cells = [f"{np.median([found[name]['median'] for found in of_claim]):.2f}; "
                 f"{sum(found[name]['above'] for found in of_claim)} of {count}" for name in audit.BOUNDS]
        body.append(html.table_row(f"{claimed:g}", [*cells, f"{most_above(count):.0f} of {count}"]))
    return html.table("Ideal canaries: the median bound, and how many bounds exceed the claim",
                      ["epsilon claimed", *audit.BOUNDS, f"at level {LEVEL:g}, chance leaves up to"], body)


def most_above(audits: int) -> int:
    """Of so many audits at LEVEL, as many bounds above the claim as chance exceeds one time in a thousand."""
    return int(binom.isf(1e-3, audits, LEVEL))


def gap_table(records: list[Record]) -> str:
    """What lies between the claim and what the Gaussian mean shows, step by step, as HTML. records: private ones."""
    body = []
    for record in records:
        metrics, found = record.metrics, record.metrics["audits"][canaries.KNOWS_DATA]
        fit, ideal = found["fit"], metrics["ideal"][audit.GAUSSIAN_MEAN]["median"]
        body.append(html.table_row(cards.run_name(record), [
            f"{metrics['claimed']:g}", f"{metrics['limit']:.2f}", f"{ideal:.2f}",
            f"{found['bounds'][audit.GAUSSIAN_MEAN]:.2f}", f"{fit['shift'] / fit['ideal']:.1%}",
            f"{fit['spread_out']:.2f}, {fit['spread_in']:.2f}"]))
    return html.table("From the claim to the bound",
                      ["run", "claimed", "of one score, known exactly", "ideal canaries, 95% sure", "this run",
                       "shift, of the ideal one", "spread: out, in (noise alone: 1)"], body)


def whole_table(records: list[Record]) -> str:
    """Each part of runs by the whole method, in their order, and all of them together, as HTML."""
    body = []
    for record in records:
        parts = {name: record.metrics["parts"][name] for name in PARTS}
        for name, part in parts.items():
            cells = [f"{part['bounds'][estimator]:.2f}" for estimator in WHOLE_BOUNDS]
            body.append(_whole_row(record, name, part["epsilon"], cells, part["fit"], part["length"]))
        found = record.metrics["audits"][canaries.KNOWS_DATA]
        cells = [_with_ceiling(record, found["bounds"], estimator) for estimator in WHOLE_BOUNDS]
        squares = {name: part["fit"]["ideal"] ** 2 for name, part in parts.items()}
        length = sum(squares[name] * parts[name]["length"] for name in parts) / sum(squares.values())
        body.append(_whole_row(record, "all of it", record.metrics["claimed"], cells, found["fit"], length))
    return html.table(f"Part by part: epsilon from below (delta = {numbers.plain(DELTA)}, add/remove), each at level "
                      f"{LEVEL:g}, and in brackets what ideal canaries show of a whole run (median)",
                      ["run: part", "claimed", "of one score, known exactly", *WHOLE_BOUNDS,
                       "shift, of the ideal one", "canaries' length, of C"], body)


def _whole_row(record, name, claimed, cells, fit, length):
    return html.table_row(f"{cards.run_name(record)}: {name}", [
        f"{claimed:.2f}", f"{audit.epsilon_of_mu(fit['ideal'], DELTA):.2f}", *cells,
        f"{fit['shift'] / fit['ideal']:.1%}", f"{length:.1%}"])


def controls_table(records: list[Record]) -> str:
    """Tests of the mechanism alone, counted, as HTML. records: private ones."""
    body = [html.table_row(cards.run_name(record),
                           [f"{record.metrics['alone'][each]['refuted']} of {record.metrics['alone'][each]['tests']}"
                            for each in ("correct", "halved")]) for record in records]
    return html.table(f"The mechanism alone: tests at level {alone.TEST_LEVEL:g} that refute it",
                      ["claimed", "as claimed: refuted", "half the noise: refuted"], body)


def mutants_table(record: Record) -> str:
    """Each mutant, the step that refuted it and what was seen, as HTML; first the library as it is."""
    correct = record.metrics["correct"]
    refuted = sum(found["step"] is not None for found in correct)
    rows = [html.table_row("(the library as it is)", [f"{refuted} of {len(correct)} runs refuted", "-"])]
    by_step = sorted(record.metrics["mutants"].items(), key=lambda each: (each[1]["step"] or math.inf, each[0]))
    rows += [html.table_row(name, [str(found["step"] or "never"), found["seen"] or "-"]) for name, found in by_step]
    return html.table("Mutants, watched until they are refuted", ["mutant", "step", "what was seen"], rows)
