"""A published run computed again, and held against what is published: its other seeds' bands, or its own digits."""

from dataclasses import dataclass, replace

from dpgan_lib.records import bands, store
from dpgan_lib.records.store import Record
from dpgan_lib.report import cards, numbers
from dpgan_lib.studies import registry, study


@dataclass(frozen=True)
class Reproduction:
    """asked: the run to compute.  against: the published records to hold it against.

    is_repeat: they are one record of the same seed, so that every digit must be the same.
    """

    asked: object
    against: list[Record]
    is_repeat: bool


def plan(name: str, values: dict, run: str | None = None) -> Reproduction:
    """What to compute: a published cell of the study's grid, at the next seed unless one is given. Opens no data.

    values: by name; the first cell that has them is taken, and without any the first that has a seed.
    run: a published run id to take the cell from instead.
    Raises ValueError if there is no such cell, if it is not published, or if it has no band and no seed is given.
    """
    cell = _cell(name, {key: value for key, value in values.items() if key != "seed"}, run)
    published, address = store.published(name), registry.study(name, cell).address(cell)
    record = next((record for record in published if record.run_id == address), None)
    if record is None:
        raise ValueError(f"{name} run {address} is not published, so there is nothing to compare with: "
                         "choose another with -p, or see `dpgan status`.")
    if not hasattr(cell, "seed"):
        return Reproduction(cell, [record], True)
    same = bands.alike(record, published)
    asked = replace(cell, seed=values.get("seed", _next_seed(name, cell)))
    asked.check()
    if repeated := [each for each in same if each.run_id == registry.study(name, asked).address(asked)]:
        return Reproduction(asked, repeated, True)
    if len(same) < bands.LEAST:
        raise ValueError(f"{name} run {address} is published with {len(same)} seed, which makes no band: give "
                         f"-p seed {cell.seed} to compare with it digit for digit.")
    return Reproduction(asked, same, False)


def words(plan: Reproduction) -> str:
    """What is computed, and what it is held against."""
    return (f"{study.words(plan.asked)}, to be compared with "
            f"{'that record' if plan.is_repeat else f'{len(plan.against)} published seeds'}")


def _cell(name, values, run):
    registry.study(name)
    grid = [(each, cell) for each in registry.studies(name) for cell in each.grid]
    if run:
        found = (cell for each, cell in grid if each.address(cell) == run)
    else:
        found = (cell for _, cell in grid if _has(cell, values or {"seed": None}))
    if (cell := next(found, None)) is None:
        asked = f"run {run!r}" if run else " ".join(f"{key}={value!r}" for key, value in values.items())
        raise ValueError(f"{asked} is no cell of the grid of {name}: `dpgan status` lists its cells.")
    return cell


def _has(cell, values: dict) -> bool:
    """Whether the cell has these values, of which None stands for any; 1 and 1.0 are the same."""
    return all(hasattr(cell, key) and (value is None or numbers.plain(getattr(cell, key)) == numbers.plain(value))
               for key, value in values.items())


def _next_seed(name, cell) -> int:
    same = [other for other in registry.study(name, cell).grid if replace(other, seed=cell.seed) == cell]
    return 1 + max(other.seed for other in same)


# What came of it

def outcome(fresh: Record, plan: Reproduction) -> tuple[list[str], bool]:
    """A line a metric and a verdict, and whether the run is reproduced."""
    stale = [f"note: a published record is {cards.status(each)}" for each in plan.against if store.staleness(each)]
    lines, reproduced = _digits(fresh, *plan.against) if plan.is_repeat else _bands(fresh, plan.against)
    return [*lines, *stale[:1]], reproduced


def _bands(fresh, others):
    compared, published = bands.compare(fresh, others), bands.of(others)
    lines = []
    for name, value in compared.values.items():
        if band := compared.known.get(name):
            low, high = band.limits
            place = "inside" if band.holds(value) else "OUTSIDE"
            lines.append(f"{place:<8} {name}: {value:.4g}, band {low:.4g} to {high:.4g} ({len(band.values)} seeds)")
        else:
            seen = ", ".join(f"{each:.4g}" for each in published[name].values) if name in published else "nothing"
            lines.append(f"{'no band':<8} {name}: {value:.4g}, published {seen}")
    count = len(compared.known)
    return [*lines, f"{compared.verdict}: {compared.inside} of {count} metrics inside their {bands.LEVEL:.0%} bands; "
            f"by chance {(1 - bands.LEVEL) * count:.1f} would be outside"
            ], compared.verdict == bands.WITHIN


def _digits(fresh, published):
    now, then = bands.metrics(fresh), bands.metrics(published)
    lines = [f"{'same' if now.get(name) == then.get(name) else 'DIFFERS':<8} {name}: {now.get(name)}, "
             f"published {then.get(name)}" for name in now | then]
    same = fresh.metrics == published.metrics
    verdict = "the same, digit for digit" if same else "not the same digits" + _elsewhere(fresh, published)
    return [*lines, verdict], same


def _elsewhere(fresh, published) -> str:
    """What else may have changed digits: rounding differs between machines, versions and numbers of threads."""
    def of(record):
        origin = record.provenance
        return {"platform": origin["platform"], "trained on": origin.get("trained_on"),
                "processor": origin["hardware"]["cpu"], **origin["versions"]}

    here, there = of(fresh), of(published)
    apart = [f"{name} {there.get(name)} there, {here[name]} here" for name in here if here[name] != there.get(name)]
    if not apart:
        return ", on the same machine"
    return f". Rounding may differ: {'; '.join(apart)}. Without a seed, bands decide"
