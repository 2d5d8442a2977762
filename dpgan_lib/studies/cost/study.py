"""The study of cost: a benchmark of one machine, whose records name machines and not what a reader asked for."""

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from dpgan_lib import data
from dpgan_lib.config import EvaluationConfig, RunConfig, canonical_json
from dpgan_lib.gan import loop
from dpgan_lib.gan.state import device, new_state
from dpgan_lib.measures import probe
from dpgan_lib.records import store
from dpgan_lib.records.store import Record
from dpgan_lib.report import cards
from dpgan_lib.studies.cost import bench
from dpgan_lib.studies.cost.tables import FILL, device_of, summary
from dpgan_lib.studies.parameters import RunParameters, plan_run
from dpgan_lib.studies.study import Plan, Study

# Whose accuracy is followed over time.
QUALITY = tuple(RunParameters(epsilon=epsilon) for epsilon in (1.0, 10.0, "inf"))
SNAPSHOT_STEPS = 200  # critic steps between two looks at a run
SNAPSHOT = EvaluationConfig(images=5_000, cnn_steps=200)  # a short recipe: many looks, no comparison with a chapter


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a reader may choose of the chapter: which of the benchmarked steps it looks at."""

    critic: str = "MNIST"
    batch: int = 512

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        for name, value, known in (("critic", self.critic, list(bench.CRITICS)), ("batch", self.batch, bench.BATCHES)):
            if value not in known:
                raise ValueError(f"{name}={value!r} was not benchmarked: choose from {', '.join(map(str, known))}")


def plan(machine: dict) -> Plan:
    """machine: the hardware, as provenance describes it."""
    return Plan(run=None, config=bench.config(), claims_epsilon=False, card={
        "title": "random images in [-1, 1], of the size that each critic takes", "machine": machine})


def measure(progress: Callable[[str], object]) -> dict:
    """All metrics of this machine: bench.tables(), and accuracy against seconds of training.

    "quality" has the runs (each a configuration), the recipe of the classifier, and the rows.
    """
    runs = [plan_run(asked) for asked in QUALITY]
    return bench.tables(progress) | {"quality": {
        "runs": [config.to_dict() for config in runs], "recipe": asdict(SNAPSHOT),
        "rows": [row for config in runs for row in quality_curve(config, progress)]}}


def quality_curve(config: RunConfig, progress: Callable[[str], object] = lambda text: None) -> list[dict]:
    """Accuracy on real test images after every SNAPSHOT_STEPS critic steps, with the seconds of training until then."""
    files, rows = data.load(config.dataset, progress=False), []
    records = loop.on_device(config, files.train_images, files.train_labels)
    state, seconds = new_state(config, device()), 0.0
    while state.step < config.privacy.steps:
        started = time.perf_counter()
        loop.train_block(config, state, records)
        seconds += time.perf_counter() - started
        if state.step % SNAPSHOT_STEPS == 0:
            progress(f"time to quality, epsilon {config.privacy.epsilon:g}, step {state.step}")
            accuracy = probe.accuracy(config, SNAPSHOT, state, files.test_images, files.test_labels)
            rows.append({"epsilon": config.privacy.epsilon, "step": state.step, "seconds": seconds,
                         "accuracy": accuracy})
    return rows


def benchmark(measured: dict | None = None, progress: Callable[[str], object] = lambda text: None) -> Record:
    """Measure what privacy costs on this machine, and record it.

    measured: of bench.measured() on another machine, which needs no data; else all is measured here, and so is the
    accuracy against seconds of training.  progress: told what comes next.
    """
    if measured is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Opacus and of the compiler, about themselves
            measured = bench.measured(measure, progress)
    content = _content(measured)
    return store.write(STUDY.chapter, store.content_address(content["config"], content["card"]), content, {})


def _content(measured: dict) -> dict:
    """A record's, of what was measured."""
    origin = measured["provenance"]
    return {"mode": "demo", "asked": {}, "config": measured["config"], "card": plan(origin["hardware"]).card_described,
            "privacy": {}, "metrics": {"quality": {}} | measured["metrics"], "provenance": origin,
            "seconds": {"benchmark": measured["seconds"]}}


def read_measured(path: Path) -> dict:
    """What the bench left in a file. Raises ValueError, one line with the path, for anything else, or a part of it."""
    try:
        measured = store.strict_json(path.read_bytes())
        address = {"schema": store.SCHEMA, "study": STUDY.chapter, "run_id": "", "created": "", "artefacts": {}}
        record = Record(path.parent, _content(measured) | address)
        store.sound(record)
        summary(record)
    except (LookupError, TypeError, AttributeError, ValueError, StopIteration, ZeroDivisionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} is not what the bench leaves ({reason}): run `python -m dpgan_lib.studies.cost.bench "
                         f"{path.name}` there again, and copy the whole file.") from None
    return measured


class MachineStudy(Study):
    """A study whose records stand for machines: one is wanted of each kind, and the newest current one is published."""

    def to_publish(self, progress: bool = True, holes: bool = False) -> list[Record]:
        """One record for each machine: those made here before those published, current before stale."""
        if not holes and all(map(store.staleness, self._latest())):  # none is current, or there is none
            benchmark()
        return self._latest()

    def _latest(self) -> list[Record]:
        chosen: dict[str, Record] = {}
        for record in [*store.published(self.chapter), *store.local(self.chapter)]:
            machine = canonical_json([record.card["machine"], record.content["config"]["threads"]])
            if machine not in chosen or store.staleness(chosen[machine]) or not store.staleness(record):
                chosen[machine] = record
        return list(chosen.values())

    def states(self) -> Iterator[str]:
        """A line for each kind of machine that a benchmark is wanted of: current, stale (and why) or missing."""
        published = store.published(self.chapter)
        for record in published:
            yield f"{self.chapter}/{record.run_id}  {cards.run_name(record)}  {cards.status(record)}"
        there = {device_of(record) for record in published}
        for kind in ("cpu", "gpu"):
            if kind not in there:
                yield f"{self.chapter}  a {kind.upper()}'s benchmark  missing: {FILL} there makes it"


STUDY = MachineStudy(chapter="cost", kind="benchmark", asked=Parameters, plan=plan, training_set=None, measure=measure)
