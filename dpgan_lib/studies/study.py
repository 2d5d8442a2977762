"""One study, from what a reader asks for to a record: validate, plan and look up, or else train, measure and store.

A notebook under papermill and the `dpgan` command come through here. A job for another machine is laid out here, and
its checkpoint is taken up again; dpgan_lib.remote trains it.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from tqdm import tqdm

from dpgan_lib import data, paths
from dpgan_lib.config import RunConfig, reader_steps, release_noise
from dpgan_lib.data import DataCard
from dpgan_lib.gan.state import hardware
from dpgan_lib.privacy import accounting
from dpgan_lib.privacy.accounting import SampledGaussian
from dpgan_lib.records import locks, store
from dpgan_lib.records.provenance import MEASURING, TRAINING, measuring_source, provenance, training_source
from dpgan_lib.records.store import RECORDS_ONLY, Record, strict
from dpgan_lib.warm_start import methods

CURRENT, TRAIN, MEASURE = "current", "train", "measure"  # what there is to do for a record
ASKED = "asked.json"  # of a run that was laid out for another machine
WEIGHTS, POSTERIOR, SAMPLES = "generator.safetensors", "posterior.safetensors", "samples.png"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What follows from what was asked, before any data is opened.

    run: the configuration; with claims_epsilon, the record states its privacy.  card: the data set's.
    config: what the record stores in place of it, where that is more.
    """

    run: object
    card: DataCard | dict
    config: dict | None = None
    claims_epsilon: bool = True

    @property
    def described(self) -> dict:
        """The configuration as plain JSON types, of which the run id is made."""
        return strict(_as_dict(self.run) if self.config is None else self.config)

    @property
    def card_described(self) -> dict:
        return _as_dict(self.card)

    @property
    def address(self) -> str:
        """The run id, 16 hex digits."""
        return store.content_address(self.described, self.card_described)


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """What a run is trained on: images (n, channels, side, side) float32 in [-1, 1], labels (n,); people (n,) where the
    unit of privacy is a person.
    """

    images: np.ndarray
    labels: np.ndarray
    people: np.ndarray | None = None


@dataclass
class Trained:
    """What training leaves to be measured, on the CPU. average: the generator that is released.

    posterior: Q.  shares: (K,) of the categories, as a warm start released them.  What a record did not keep is None.
    """

    average: nn.Module
    posterior: nn.Module | None = None
    shares: Tensor | None = None


def whole(asked, files: data.Dataset) -> TrainingSet:
    """All of a data set's training part."""
    return TrainingSet(images=files.train_images, labels=files.train_labels)


def load_files(asked, progress: bool) -> data.Dataset:
    """The data set that was asked for by name."""
    return data.load(asked.dataset, progress=progress)


@dataclass(frozen=True, kw_only=True)
class Study:
    """One kind of experiment of a chapter. A chapter's folder has a module `study` with one or more of these.

    asked: a frozen dataclass of what a reader may choose, with check().  grid: those whose records are published.
    plan: asked -> Plan, without opening any data.  load: (asked, progress) -> the data.
    training_set: (asked, data) -> TrainingSet; None, where measuring is all there is and trains what it needs.
    measure: (asked, plan, trained, data, progress: called after each part) -> (metrics, files by name).
    vary: what may differ between points of one figure.  compared: makes what was asked for, by name, ready to compare.
    threads: of torch while measuring, for networks so small that they take longer on more; None: as many as it has.

    provenance.measuring_source and training_source read load, training_set and measure from the call that makes a
    study.
    """

    chapter: str
    kind: str = "run"
    asked: type
    grid: tuple = ()
    plan: Callable[..., Plan]
    load: Callable = load_files
    training_set: Callable[..., TrainingSet] | None = whole
    measure: Callable[..., tuple[dict, dict[str, bytes]]]
    vary: tuple[str, ...] = ("epsilon", "seed")
    compared: Callable[[dict], dict] = dict
    threads: int | None = None

    # What is asked for

    def address(self, asked) -> str:
        """The run id. Opens no data."""
        return self.plan(asked).address

    def asked_of(self, record: Record):
        """The parameters that a record answers to. Raises ValueError where parameters have been added or dropped
        since.
        """
        try:
            return self.asked(**record.asked)
        except TypeError as error:
            raise ValueError(f"{record.folder} was asked for with other parameters ({error}): compute it "
                             "again.") from None

    def comparable(self, records: list[Record], asked) -> list[Record]:
        """Those that may stand in one figure with what is asked for: all but `vary` is the same."""
        wanted = self._kept(_values(asked))
        return [record for record in records if record.kind == self.kind and self._kept(record.asked) == wanted]

    def _kept(self, values: dict) -> dict:
        return {name: value for name, value in self.compared(values).items() if name not in self.vary}

    # Records

    def find(self, asked) -> Record | None:
        """The record, maybe stale (ask store.staleness), or None.

        Raises RuntimeError for None where DPGAN_RECORDS_ONLY forbids to compute it.
        """
        address = self.address(asked)
        found = store.find(self.chapter, address)
        if found is None:
            self._may_compute(address)
        return found

    def _may_compute(self, address: str) -> None:
        if os.environ.get(RECORDS_ONLY):
            raise RuntimeError(f"no current record of {self.chapter} run {address}, and {RECORDS_ONLY} forbids to "
                               "compute one: publish the chapter, or unset it.")

    def obtain(self, asked, *, fresh: bool = False, max_minutes: float | None = None,
               progress: bool = True) -> Record | None:
        """The record: found (maybe stale), else computed. fresh: compute it whatever is found.

        Where another process computes the run already, this waits for it and returns that record.

        max_minutes: stop training then and return None; the next call resumes. Waiting does not count.
        Raises ValueError for what makes no sense, RuntimeError where DPGAN_RECORDS_ONLY is set and there is no record.
        """
        asked.check()
        address = self.address(asked)
        folder = paths.runs() / self.chapter / address
        before = store.written(folder)
        if not fresh and (found := self.find(asked)):
            return found
        self._may_compute(address)
        paths.made(paths.runs())  # before hours are spent
        with locks.held(paths.runs() / ".locks" / f"{self.chapter}-{address}"):
            # Another process may have computed it by now. That fresh asks for no older one holds all the same.
            if store.written(folder) != before and (found := store.read(folder)) and not store.staleness(found):
                return found
            return self._compute(asked, max_minutes, progress)

    def to_do(self, found: Record | None) -> str:
        """CURRENT, or what makes a record so: MEASURE where that is enough, else TRAIN, as where there is none."""
        reasons = None if found is None else store.staleness(found)
        if reasons == []:
            return CURRENT
        return MEASURE if found and reasons == [store.CHANGED[MEASURING]] and self.can_measure(found) else TRAIN

    def refresh(self, asked, *, progress: bool = True) -> Record:
        """A current record: found, measured again or computed, as to_do says."""
        found = self.find(asked)
        to_do = self.to_do(found)
        if found is None or to_do == TRAIN:
            return self.obtain(asked, fresh=True, progress=progress)  # type: ignore[return-value]  # None comes of max_minutes alone
        return found if to_do == CURRENT else self.measure_again(found, progress=progress)

    def _compute(self, asked, max_minutes, progress):
        plan = self.plan(asked)
        origin = provenance(self._sources(plan))  # before, for the source may be edited while this runs
        files, seconds, more = self.load(asked, progress), {}, {}
        trained = None
        if self.training_set is not None:
            state = self._train(asked, plan, files, max_minutes, progress)
            if state.step < plan.run.privacy.steps:
                return None
            seconds, more = {"training": round(state.seconds, 1)}, {"history": state.history}
            if state.start is not None:
                more |= {"released": {"shares": state.start.shares.tolist()}}
            origin |= {"trained_on": state.hardware}
            trained = Trained(state.average.cpu(), state.posterior.cpu(),
                              None if state.start is None else state.start.shares.cpu())
        with _threads(self.threads):
            origin = {"trained_on": hardware()} | origin
        metrics, artefacts, took = self._measured(asked, plan, trained, files, progress)
        content = {"mode": "demo", "asked": _values(asked), "config": plan.described, "card": plan.card_described,
                   "metrics": metrics, "privacy": _statement(plan), "seconds": seconds | {"evaluation": took},
                   "provenance": origin} | more
        record = store.write(self.chapter, plan.address, content, artefacts)
        shutil.rmtree(self.work_folder(asked), ignore_errors=True)
        return record

    def _train(self, asked, plan, files, max_minutes, progress):
        given = self.training_set(asked, files)
        steps = plan.run.privacy.steps
        with tqdm(total=steps, desc=f"training, epsilon {plan.run.privacy.epsilon:g}", unit=" critic steps",
                  disable=not progress) as bar:
            return methods.train(plan.run, given.images, given.labels, self.work_folder(asked), people=given.people,
                                 max_minutes=max_minutes, progress=lambda step: bar.update(step - bar.n))

    def _measured(self, asked, plan, trained, files, progress):
        started = time.monotonic()
        with (_threads(self.threads),
              tqdm(desc=f"measuring, {self.chapter}", unit=" parts", disable=not progress) as bar):
            metrics, artefacts = self.measure(asked, plan, trained, files, bar.update)
        return metrics, artefacts, round(time.monotonic() - started, 1)

    def _sources(self, plan) -> dict:
        measuring = {MEASURING: measuring_source(self.chapter, self.kind)}
        if self.training_set is None:
            return measuring
        return {TRAINING: training_source(methods.name_of(plan.run), self.chapter, self.kind)} | measuring

    def work_folder(self, asked) -> Path:
        """Where the run's checkpoint lies while it trains. Changed source starts anew: it is another result."""
        plan = self.plan(asked)
        source = self._sources(plan).get(TRAINING, {"sha256": ""})["sha256"]
        return paths.runs() / self.chapter / f".work-{plan.address}-{source[:8]}"

    # Measured again

    def can_measure(self, record: Record) -> bool:
        """Whether the record kept the generator that it was trained to."""
        return WEIGHTS in record.content["artefacts"] and TRAINING in record.provenance["sources"]

    def measure_again(self, record: Record, *, progress: bool = True) -> Record:
        """The record with metrics computed anew from the generator that it kept; its training stays as it was.

        Raises ValueError if it kept none, or if it does not answer to what was asked for.
        """
        if not self.can_measure(record):
            raise ValueError(f"{record.study}/{record.run_id} keeps no generator to measure: compute it again with "
                             "`dpgan train --fresh`.")
        if found := store.damage(record):
            raise ValueError(f"{record.folder} is damaged ({'; '.join(found)}): delete it and compute it again, or "
                             "restore it with git.")
        asked = self.asked_of(record)
        plan = self.plan(asked)
        if plan.address != record.run_id:
            raise ValueError(f"{record.study}/{record.run_id} was planned otherwise than today, as {plan.address}: "
                             "compute it again.")
        origin = provenance({TRAINING: record.provenance["sources"][TRAINING],
                             MEASURING: measuring_source(self.chapter, self.kind)})
        origin |= {"trained_on": record.provenance["trained_on"]}
        kept = {name: (record.folder / name).read_bytes() for name in record.content["artefacts"]}
        files = self.load(asked, progress)
        metrics, artefacts, took = self._measured(asked, plan, kept_of(record), files, progress)
        content = {name: record.content[name] for name in (*store.GIVEN, "history", "released")
                   if name in record.content}
        content |= {"metrics": metrics, "provenance": origin, "seconds": record.seconds | {"evaluation": took}}
        return store.write(self.chapter, record.run_id, content, kept | artefacts)

    # Elsewhere

    def prepare(self, asked) -> Path:
        """Lay out run.json and data.npz for `python -m dpgan_lib.remote` on a machine without the rest of the stack.

        Beside them ASKED says what was asked for, so that elsewhere.collect finds the study again.
        Raises ValueError for a study that has no training of its own.
        """
        if self.training_set is None:
            raise ValueError(f"{self.chapter}/{self.kind} trains while it measures: it cannot be trained elsewhere.")
        plan, folder = self.plan(asked), self.work_folder(asked)
        given = self.training_set(asked, self.load(asked, True))
        paths.made(folder)
        people = {} if given.people is None else {"people": given.people}
        np.savez_compressed(folder / "data.npz", images=np.rint((given.images + 1) * 127.5).astype(np.uint8),
                            labels=given.labels, **people)  # type: ignore[arg-type]  # arrays by name
        (folder / ASKED).write_text(json.dumps({"study": f"{self.chapter}/{self.kind}", "asked": _values(asked)}))
        (folder / "run.json").write_text(json.dumps(plan.run.to_dict(), indent=1))  # type: ignore[attr-defined]  # a RunConfig
        return folder

    # The grid

    def due(self) -> list:
        """The cells of the grid whose record is missing or stale, in order."""
        found = [(asked, store.find(self.chapter, self.address(asked))) for asked in self.grid]
        return [asked for asked, record in found if record is None or store.staleness(record)]

    def to_publish(self, progress: bool = True, holes: bool = False) -> list[Record]:
        """The records of the grid, computed where missing or stale.

        With holes, nothing is computed: those that are current and, where there is none, the stale one that was
        published for the same parameters, whatever run they were planned as.
        """
        if not holes:
            return [self.refresh(asked, progress=progress) for asked in self.grid]
        stale, kept = self._published_stale(), []
        for asked in self.grid:
            record = store.find(self.chapter, self.address(asked))
            if self.to_do(record) != CURRENT:
                record = stale.get(asked)
            kept += [record] if record else []
        return kept

    def _published_stale(self) -> dict:
        """By what they answer to."""
        found = {}
        for record in store.published(self.chapter):
            if record.kind == self.kind and store.staleness(record):
                with suppress(ValueError):  # parameters have been added or dropped since
                    found[self.asked_of(record)] = record
        return found

    def states(self) -> Iterator[str]:
        """A line for each cell of the grid: current, stale (and why), missing, or computed here and not published."""
        published = {record.run_id: record for record in store.published(self.chapter)}
        for asked in self.grid:
            address = self.address(asked)
            if address in published:
                reasons = store.staleness(published[address])
                state = f"stale: {'; '.join(reasons)}" if reasons else "current"
            else:
                state = "computed here, not published" if store.find(self.chapter, address) else "missing"
            yield f"{self.chapter}/{address}  {words(asked)}  {state}"


def words(asked) -> str:
    """What is asked for, in words."""
    return "  ".join(f"{name} {value}" for name, value in asdict(asked).items())


def weights(trained: Trained, with_posterior: bool = False) -> dict[str, bytes]:
    """The files that keep a generator, and Q where asked for."""
    files = {WEIGHTS: save(trained.average.state_dict())}
    return files | ({POSTERIOR: save(trained.posterior.state_dict())} if with_posterior else {})  # type: ignore[union-attr]  # what was trained has Q


def generator_of(record: Record) -> nn.Module:
    """The generator that a record keeps, in evaluation mode. Raises ValueError, one line with the path, if it is
    damaged.
    """
    return _filled(methods.empty_generator(record.config), record.folder / WEIGHTS).eval()


def kept_of(record: Record) -> Trained:
    """What a record keeps of its training. Raises ValueError as generator_of does."""
    posterior = None
    if POSTERIOR in record.content["artefacts"]:
        posterior = _filled(methods.empty_posterior(record.config), record.folder / POSTERIOR)
    released = record.content.get("released", {})
    return Trained(generator_of(record), posterior, Tensor(released["shares"]) if "shares" in released else None)


def _filled(network: nn.Module, path: Path) -> nn.Module:
    """The network with the weights of a file."""
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} does not hold the weights of its record ({reason}): restore it with git, or compute "
                         "the record again.") from None
    return network


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _values(asked) -> dict:
    return strict(asdict(asked))


def _as_dict(value) -> dict:
    if isinstance(value, RunConfig | DataCard):
        return value.to_dict()
    return strict(asdict(value)) if is_dataclass(value) else value  # type: ignore[arg-type]  # never a class


def _statement(plan: Plan) -> dict:
    return privacy_statement(plan.run, plan.card_described["unit"]) if plan.claims_epsilon else {}


def privacy_statement(config, unit: str) -> dict:
    """Epsilon by each accountant, with everything that it depends on. unit: what one record is, in words."""
    privacy, released = config.privacy, release_noise(config)
    reader = reader_steps(config)
    mechanism = {"noise_multiplier": privacy.noise_multiplier, "sampling_rate": privacy.sampling_rate,
                 "steps": privacy.steps}
    parts = accounting.parts_of_run(**mechanism, release_noise=released,
                                    reader=SampledGaussian(**reader) if reader else None)
    statement = {"epsilon_asked": privacy.epsilon, "epsilon_spent": accounting.spent(parts, privacy.delta),
                 "delta": privacy.delta, "adjacency": "add/remove one record", "unit": unit} | mechanism
    return (statement | ({"release_noise": released} if math.isfinite(released) else {})
            | ({"reader": reader} if reader else {}))
