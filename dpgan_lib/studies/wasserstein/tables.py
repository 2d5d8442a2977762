"""What the records of the studies of Wasserstein distances say, as rows and tables."""

import numpy as np

from dpgan_lib.records import store
from dpgan_lib.report import html, numbers


def of(records: list[store.Record], kind: str, profile: str) -> list[store.Record]:
    """Those of one kind of experiment and one profile."""
    return [record for record in records if (record.kind, record.asked["profile"]) == (kind, profile)]


def toy_rows(records: list[store.Record], published: set[str]) -> list[dict]:
    """A row a run: lipschitz, epsilon, seed, is_new (no run id of those published), ratio, w1, slope, gradient_norm."""
    return [{"lipschitz": record.content["config"]["lipschitz"], "seed": record.content["config"]["seed"],
             "epsilon": store.number(record.privacy["epsilon_asked"]), "is_new": record.run_id not in published} | run
            for record in records for run in record.metrics["runs"]]


def stability_rows(records: list[store.Record]) -> list[dict]:
    """A row a run: seed, loss, rate, width, seconds, and stability.outcome()."""
    return [{"seed": record.content["config"]["seed"]} | run for record in records for run in record.metrics["runs"]]


def toy_table(rows: list[dict]) -> str:
    """W1 for each ratio, with what explains it, as HTML. rows: of toy_rows."""
    ratios = sorted({row["ratio"] for row in rows})
    body = []
    for way, epsilon in sorted({(row["lipschitz"], row["epsilon"]) for row in rows}):
        own = [row for row in rows if (row["lipschitz"], row["epsilon"]) == (way, epsilon)]
        cells = [_spread([row["w1"] for row in own if row["ratio"] == ratio]) for ratio in ratios]
        cells += [_spread([row[name] for row in own]) for name in ("gradient_norm", "slope")]
        body.append(html.table_row(f"{way}, {numbers.epsilon_name(epsilon)}", cells))
    return html.table("W1 to the law by critic steps for each generator step; then, over all of these runs, a real "
                      "point's gradient norm and the critic's largest slope: mean (least to most)",
                      ["f_w in W by", *map(str, ratios), "gradient norm", "slope"], body)


def stability_table(runs: list[dict]) -> str:
    """Runs that collapsed, and what the judge says of all, by loss, learning rate and width, as HTML."""
    body = []
    for loss, rate, width in dict.fromkeys((run["loss"], run["rate"], run["width"]) for run in runs):
        own = [run for run in runs if (run["loss"], run["rate"], run["width"]) == (loss, rate, width)]
        cells = [f"{sum(run['collapsed'] for run in own)} of {len(own)}",
                 *(_spread([run[name] for run in own]) for name in ("classes", "variety", "score"))]
        body.append(html.table_row(f"{loss}, rate {rate:g}, width {width}", cells))
    return html.table("GANs that differ in loss, learning rate and width; over seeds: mean (least to most)",
                      ["loss", "collapsed", "classes", "variety", "score"], body)


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
