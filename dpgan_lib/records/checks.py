"""What a check of a record says: one line with its outcome, and the comparisons that make one."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from dpgan_lib import data
from dpgan_lib.records.store import number

OK, FAILED, NOT_CHECKED = "ok", "FAILED", "not checked"


@dataclass(frozen=True)
class Check:
    """One line of the verdict. outcome: OK, FAILED or NOT_CHECKED.  detail: the value, both values, or the reason."""

    name: str
    outcome: str
    detail: str

    def __str__(self) -> str:
        """One printable line, whatever the record holds: a text of its own must not pass for another check's line."""
        line = f"{self.outcome:<12} {self.name}: {self.detail}"
        return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def gathered(name: str, rows: Iterable[Check]) -> list[Check]:
    """The rows; a field that is absent, or no number where one must be, is one more that failed."""
    found: list[Check] = []
    try:
        found.extend(rows)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError) as error:
        reason = f"the record lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        found.append(Check(name, FAILED, f"cannot be checked: {reason}"))
    return found


def equal(name: str, recorded, derived, source: str) -> Check:
    """source: where the other value comes from, as "in its config"."""
    if recorded == derived:
        return Check(name, OK, f"{_plain(recorded)}, the same {source}")
    return Check(name, FAILED, f"{_plain(recorded)} in the record, {_plain(derived)} {source}")


def _plain(value) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def near(name: str, recorded: float, derived: float, tolerance: float) -> Check:
    allowed = f" ({tolerance:.1g} apart is allowed)" if tolerance else ""
    if math.isclose(recorded, derived, rel_tol=0, abs_tol=tolerance):  # an infinity is close to itself alone
        return Check(name, OK, f"{recorded:.6g} in the record, {derived:.6g} derived again{allowed}")
    return Check(name, FAILED, f"{recorded} in the record, {derived} derived again{allowed}")


MEAN_TOLERANCE = 1e-12  # 45 numbers of at most 1, in another order of summation

# Absolute, of accuracies: six times and more what 2 threads changed against 1, for one generator's images and for real
# ones (laptop profile), where rounding goes through 600 steps or an unfinished descent. That was at most 0.0008 for
# ten_cnn and ten_logistic, 0.0016 for a pair, which has about 2,000 test images, and 0.0001 for the mean of the pairs.
TOLERANCES = {"ten_cnn": 0.01, "ten_mlp": 0.01, "ten_logistic": 0.005, "pairs_logistic": 0.001, "pairs_worst": 0.01,
              "pairs_cnn": 0.005, "pairs_cnn_worst": 0.03}
# List -> mean, least.
PAIRS = {"pairs": ("pairs_logistic", "pairs_worst"), "cnn_pairs": ("pairs_cnn", "pairs_cnn_worst")}


def is_demonstration(content: dict) -> bool:
    """Whether its metrics are utility on a data set of this library: neither another study's nor a release's."""
    return content["mode"] == "demo" and "synthetic" in content["metrics"]


def metrics_checks(content: dict) -> Iterator[Check]:
    """Checks of a record's metrics, by its content."""
    metrics = content["metrics"]
    if "obeyed" in metrics:
        yield from gathered("faces", _faces(metrics, content["config"]))
        yield from gathered("fidelity", _fidelity(metrics["fidelity"]))
        return
    if not is_demonstration(content):
        yield Check("metrics", NOT_CHECKED, f"no check knows {', '.join(sorted(metrics)) or 'any, for it has none'}")
        return
    synthetic = metrics["synthetic"]
    yield from gathered("accuracies", _accuracies(synthetic, content["card"]["classes"]))
    yield from gathered("fidelity", _fidelity(metrics["fidelity"]))
    yield equal("names of the codes", len(metrics["names"]), content["config"]["latent"]["categories"], "in its config")
    if others := metrics.keys() - {"synthetic", "fidelity", "names"} | synthetic.keys() - {*TOLERANCES, *PAIRS}:
        yield Check("other metrics", NOT_CHECKED, f"no check knows {', '.join(sorted(others))}")


def _accuracies(values: dict, classes: int) -> Iterator[Check]:
    """In range, and consistent with each other."""
    named = {name: number(values[name]) for name in TOLERANCES if name in values}
    expected = list(combinations(range(classes), 2))
    for listed, (mean, least) in PAIRS.items():
        if listed not in values and listed != "pairs":
            continue  # not every run has a CNN for each pair
        pairs = {(first, second): number(accuracy) for first, second, accuracy in values[listed]}
        yield equal(listed, len(values[listed]), len(expected), f"for {classes} classes")
        if odd := sorted(set(pairs) ^ set(expected)):
            yield Check(listed, FAILED, f"{odd[0]} is missing, or is no pair of {classes} classes")
        yield near(mean, named[mean], float(np.mean([*pairs.values()])), MEAN_TOLERANCE)
        yield near(least, named[least], min(pairs.values()), 0)
        named |= {f"{listed} {pair}": pairs[pair] for pair in pairs}
    outside = {name: value for name, value in named.items() if not 0 <= value <= 1}
    yield (Check("range", FAILED, ", ".join(f"{name} {value!r}" for name, value in outside.items())
                 + ": accuracies lie in [0, 1]") if outside else
           Check("range", OK, f"{len(named)} accuracies in [0, 1]"))


def _fidelity(values: dict) -> Iterator[Check]:
    """Distances and densities from 0 on, shares in [0, 1]."""
    limits = {name: 1.0 if name in ("precision", "recall", "coverage") else math.inf for name in values}
    outside = [f"{name} {value!r}" for name, value in values.items() if not 0 <= number(value) <= limits[name]]
    yield Check("fidelity", FAILED if outside else OK, f"{', '.join(outside)}: out of range" if outside else
                f"{len(values)} measures in range")


def _faces(metrics: dict, config: dict) -> Iterator[Check]:
    """Counts of images asked for and read agree with the configuration, and with each other."""
    images, combined, names = config["evaluation"]["images"], metrics["combinations"], config["attributes"].split(",")
    yield equal("combinations", len(combined), config["latent"]["categories"], "in its config")
    yield equal("images asked for", sum(asked for _, asked in combined), images, "in its config")
    hits = []
    for name, obeyed in zip(names, metrics["obeyed"], strict=True):
        yield equal(f"images asked for, {name}", obeyed["with"][1] + obeyed["without"][1], images, "in its config")
        hits.append(obeyed["with"][0] + obeyed["without"][0])
    # What fails in every attribute at once fails in each; what fails somewhere fails in one at least.
    joint, least, most = sum(read for read, _ in combined), sum(hits) - (len(hits) - 1) * images, min(hits)
    words = f"{joint} images as asked in every attribute, between {least} and {most} by the counts of each"
    pairs = [*combined, *(obeyed[side] for obeyed in metrics["obeyed"] for side in ("with", "without"))]
    is_possible = least <= joint <= most and all(0 <= read <= asked for read, asked in pairs)
    yield Check("specificity", OK if is_possible else FAILED, words)
    card = data.faces_card(config["dataset"], "image")
    yield equal("training images counted", sum(metrics["counts"]), card.records, "in this library's card")
    for judged in ("reader", "ceiling", "utility"):
        odd = [name for name, found in zip(names, metrics[judged], strict=True)
               if not 0 <= min(found["with"], found["without"]) <= found["accuracy"]
               <= max(found["with"], found["without"]) <= 1]
        yield Check(judged, FAILED if odd else OK, f"accuracy of {', '.join(odd)} out of range, or not between that "
                                                   "with the attribute and that without" if odd
                    else f"{len(names)} accuracies, each between its two parts")
