"""The run store: a record for each completed run, found by what defines it, and told apart when it is out of date.

<store>/<study>/<run id>/ holds record.json, generator.safetensors and samples.png. The run id is a hash of the
configuration and the data card; the record also says what was asked for, and which source and versions it came from.
Its digest, over all else that it says, shows damage by accident; an edit on purpose can bring its own.
"""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np

from dpgan_lib import paths
from dpgan_lib.config import RunConfig, canonical_json, config_from
from dpgan_lib.records import shape
from dpgan_lib.records.provenance import MEASURING, TRAINING, source_changes, version_changes

RECORD = "record.json"
MANIFEST = "MANIFEST.json"
SCHEMA = 2
# What a caller of write() supplies.
GIVEN = ("mode", "asked", "config", "card", "privacy", "metrics", "seconds", "provenance")
CHANGED = {TRAINING: "the source that trains it has changed since",
           MEASURING: "the source that measures it has changed since"}
ADDED = ("schema", "study", "run_id", "created", "artefacts")  # what write() adds
DIGEST = "digest"  # added too; records from before there was one lack it
RECORDS_ONLY = "DPGAN_RECORDS_ONLY"  # set while published notebooks are checked
SWAP_SECONDS = 1.0  # a replaced record is missing between two renames; a reader waits this long for it


@dataclass(frozen=True)
class Record:
    """One completed run, as its record.json says. Infinities in content are the string "inf": read with number()."""

    folder: Path
    content: dict

    @property
    def study(self) -> str:
        return self.content["study"]

    @property
    def run_id(self) -> str:
        return self.content["run_id"]

    @property
    def kind(self) -> str:
        """Which of the study's kinds of experiment it is; "release" for what release mode left."""
        return self.provenance["sources"].get(MEASURING, {"kind": "release"})["kind"]

    @property
    def asked(self) -> dict:
        """The parameters that the run was asked for with, by name."""
        return self.content["asked"]

    @property
    def mode(self) -> str:
        return self.content["mode"]

    @property
    def created(self) -> str:
        """UTC, like 2025-01-31T12:00:00Z."""
        return self.content["created"]

    @property
    def config(self) -> RunConfig:
        """Raises ValueError if the record was written for other configuration fields than today's."""
        try:
            return config_from(self.content["config"])
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"{self.folder / RECORD} has another configuration: {error}. Compute it again.") from None

    @property
    def card(self) -> dict:
        return self.content["card"]

    @property
    def privacy(self) -> dict:
        return self.content["privacy"]

    @property
    def epsilon_spent(self) -> float:
        """By the PLD accountant, total, at the record's delta; inf without privacy."""
        return number(self.privacy["epsilon_spent"]["pld"])

    @property
    def metrics(self) -> dict:
        return self.content["metrics"]

    @property
    def seconds(self) -> dict:
        return self.content["seconds"]

    @property
    def provenance(self) -> dict:
        return self.content["provenance"]


# Strict JSON

def strict(value):
    """The value with each infinity as the string "inf" or "-inf", for strict JSON has no such number."""
    if isinstance(value, dict):
        return {name: strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return str(float(value)) if isinstance(value, float) and math.isinf(value) else value


def strict_json(text: bytes):
    """The value that strict JSON spells. Raises ValueError for anything else, a bare NaN or Infinity too."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _refuse_constant(name: str):
    raise ValueError(f"{name} is not strict JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # 1e999
        _refuse_constant(text)
    return value


def number(value) -> float:
    """A number from a record; "inf" and "-inf" are infinities. Raises ValueError for anything else."""
    if value in ("inf", "-inf") or (isinstance(value, int | float) and not isinstance(value, bool)):
        return float(value)
    raise ValueError(f'{value!r} must be a number, or "inf" or "-inf" as records spell infinities')


def content_address(config: dict, card: dict) -> str:
    """The run id, 16 hex digits: configuration and data card as plain JSON types, before any data is opened."""
    text = canonical_json(strict({"config": config, "card": card}))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# Reading

def find(study: str, run_id: str) -> Record | None:
    """The run's record, or None. A current one wins over a stale one, then one computed here over a published one.

    Where DPGAN_RECORDS_ONLY is set, only published ones count. Raises ValueError, with the path, for a corrupt one.
    """
    stores = [paths.published()] if os.environ.get(RECORDS_ONLY) else [paths.runs(), paths.published()]
    records = [record for store in stores if (record := read(store / study / run_id))]
    return min(records, key=lambda record: bool(staleness(record)), default=None)


def local(study: str) -> list[Record]:
    """The study's records computed here. Raises ValueError, with the path, for a corrupt one."""
    return _records(paths.runs(), study)


def published(study: str) -> list[Record]:
    """The study's published records by epsilon, then seed, where they have these. Raises ValueError, with the path, for
    a corrupt one.
    """
    return _records(paths.published(), study)


def published_studies() -> list[str]:
    """The studies that have a published record, by name."""
    return sorted({folder.parent.name for folder in _run_folders(paths.published())})


def _records(store: Path, study: str) -> list[Record]:
    folders = [folder for folder in _run_folders(store) if folder.parent.name == study]
    records = [record for folder in folders if (record := read(folder))]
    return sorted(records, key=lambda record: (number(record.privacy.get("epsilon_asked", "inf")),
                                               record.content["config"].get("seed", 0), record.run_id))


def read(folder: Path) -> Record | None:
    """The record in a folder, or None. Raises ValueError, one line with the path, if it is damaged: not whole, not
    strict, a field of another type, or not what its digest was made of.
    """
    record = opened(folder)
    return record and sound(record)


def sound(record: Record) -> Record:
    """The record. Raises ValueError, one line with the path, if it is damaged."""
    if found := shape.fault(record.content) or digest_fault(record.content):
        raise _damaged(record.folder, found)
    return record


def opened(folder: Path) -> Record | None:
    """The record in a folder, whatever its fields hold, or None. Raises ValueError, one line with the path, if it is no
    strict JSON, or no record of this schema with all fields.
    """
    text = _record_bytes(folder)
    if text is None:
        return None
    try:
        content = strict_json(text)
        if content.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {content.get('schema')!r}")
        if missing := [name for name in GIVEN + ADDED if name not in content]:
            raise ValueError(f"it lacks {', '.join(missing)}")
    except (ValueError, AttributeError) as error:
        raise _damaged(folder, str(error)) from None
    return Record(folder, content)


def _damaged(folder: Path, reason: str) -> ValueError:
    return ValueError(f"{folder / RECORD} is no record of schema {SCHEMA} ({reason}). "
                      f"Delete its folder and compute it again, or restore it with git.")


def content_digest(content: dict) -> str:
    """SHA-256 of all that a record says, but for its digest: as parsed, whatever the file's spaces and line ends."""
    rest = {name: value for name, value in content.items() if name != DIGEST}
    return hashlib.sha256(canonical_json(rest).encode()).hexdigest()


def digest_fault(content: dict) -> str | None:
    """One line if the content is not what its digest was made of; None if it is, or has no digest."""
    if DIGEST not in content or content[DIGEST] == content_digest(content):
        return None
    return "its content is not what was written: it differs from its digest"


def is_published(record: Record) -> bool:
    """Whether the record lies in the published store, which has a manifest."""
    return record.folder.resolve().parent.parent == paths.published().resolve()


def written(folder: Path) -> int | None:
    """When the record in a folder was put there, in ns of its file's clock; None without one. Reads nothing of it."""
    try:
        return (folder / RECORD).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def read_samples(record: Record, file: str = "samples.png") -> np.ndarray:
    """A sample grid of the record: (height, width) in [0, 1], white ink on black."""
    from matplotlib import image  # half a second that no other reader needs

    return image.imread(record.folder / file)[..., 0]


def _record_bytes(folder: Path) -> bytes | None:
    deadline = time.monotonic() + SWAP_SECONDS
    while True:
        with suppress(FileNotFoundError):
            return (folder / RECORD).read_bytes()
        # A hidden neighbour: a writer is at work, or was killed. To take a swap for an absence costs a training.
        neighbours = folder.parent.iterdir() if folder.parent.is_dir() else ()
        waiting = folder.is_dir() or any(path.name.startswith(f".{folder.name}.") for path in neighbours)
        if not waiting or time.monotonic() > deadline:
            return None
        time.sleep(0.002)


def _run_folders(store: Path) -> list[Path]:
    return sorted(path for path in store.glob("*/*") if path.is_dir() and not path.name.startswith("."))


def staleness(record: Record) -> list[str]:
    """Why a record is out of date, one reason each; empty if it is current."""
    reasons = [CHANGED[part] for part in source_changes(record.study, record.provenance)]
    reasons += version_changes(record.provenance)
    return reasons + damage(record)


def damage(record: Record) -> list[str]:
    """What of a record is no longer as it was written, one reason each: its configuration, card and files."""
    content, reasons = record.content, []
    address = content_address(content["config"], content["card"])
    if not address == record.run_id == record.folder.name:
        reasons.append(f"its config and card belong to run {address}")
    for name, digest in content["artefacts"].items():
        if (found := _file_hash(record.folder / name)) != digest:
            reasons.append(f"{name} has changed" if found else f"{name} is missing")
    return reasons


# Writing

def write(study: str, run_id: str, content: dict, artefacts: dict[str, bytes], store: Path | None = None) -> Record:
    """Store a completed run, in runs/ unless told otherwise; whole or not at all. The last writer of a run wins.

    content: mode, asked, config, card, privacy, metrics, seconds, provenance; the rest is added here.
    Raises ValueError for a name that is no plain name, a missing field or one of another type, a nan, or a run id that
    is not the content's.
    """
    _check(study, run_id, content, artefacts)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(artefacts.items())}
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    content = strict({"created": created} | content
                     | {"schema": SCHEMA, "study": study, "run_id": run_id, "artefacts": digests})
    content = json.loads(_json_bytes(content))  # as it will be read
    if found := shape.fault(content):
        raise ValueError(f"a record of {study} cannot be stored: {found}")
    content[DIGEST] = content_digest(content)
    files = artefacts | {RECORD: _json_bytes(content)}
    folder = (store or paths.runs()) / study / run_id
    fresh = _neighbour(folder)
    fresh.mkdir(parents=True)
    try:
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        _swap_in(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # nothing is left of it after a swap
    return Record(folder, content)


def _check(study: str, run_id: str, content: dict, artefacts: dict[str, bytes]) -> None:
    for name in (study, *artefacts):
        if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII) or name == RECORD:
            raise ValueError(f"{name!r} must be a plain name of letters, digits, _, - and dots, and not {RECORD}")
    if missing := [name for name in GIVEN if name not in content]:
        raise ValueError(f"a record without {', '.join(missing)} cannot be stored: it needs {', '.join(GIVEN)}")
    if run_id != (address := content_address(content["config"], content["card"])):
        raise ValueError(f"run_id={run_id!r} must be {address}, the hash of the record's own config and card")


def _swap_in(fresh: Path, folder: Path) -> None:
    while True:
        try:
            os.rename(fresh, folder)
            return
        except OSError as error:  # a folder cannot be renamed onto a filled one
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        old = _neighbour(folder)
        with suppress(FileNotFoundError):  # another writer may have moved it aside
            os.rename(folder, old)
            shutil.rmtree(old)


def _neighbour(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid4().hex}")


def _json_bytes(value) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


# The manifest of the published store

def update_manifest() -> None:
    """Write the digest of every published record.json, under "<study>/<run id>"."""
    store = paths.published()
    store.mkdir(parents=True, exist_ok=True)
    fresh = _neighbour(store / MANIFEST)
    fresh.write_bytes(_json_bytes(_digests(store)))
    os.replace(fresh, store / MANIFEST)


def check_manifest() -> list[str]:
    """What differs between the manifest and the published store, one line each; empty if nothing does."""
    store = paths.published()
    path = store / MANIFEST
    try:
        listed = strict_json(path.read_bytes()) if path.exists() else {}
        if not isinstance(listed, dict):
            raise ValueError("it lists no runs")
    except ValueError as error:
        return [f"{path} is not JSON of runs and their digests ({error}). Restore it with git."]
    there = _digests(store)
    return ([f"{run}: in the manifest, not in the store" for run in sorted(listed.keys() - there.keys())]
            + [f"{run}: in the store, not in the manifest" for run in sorted(there.keys() - listed.keys())]
            + [f"{run}: {RECORD} is not the one in the manifest"
               for run in sorted(listed.keys() & there.keys()) if listed[run] != there[run]])


def _digests(store: Path) -> dict[str, str | None]:
    return {f"{folder.parent.name}/{folder.name}": record_digest(folder) if (folder / RECORD).is_file() else None
            for folder in _run_folders(store)}


def record_digest(folder: Path) -> str:
    """The SHA-256 of the record.json in a folder, 64 hex digits, as the manifest lists it.

    Of its lines, not of how they end: git may write CRLF where it checks a text out, and in JSON a line end is but
    space between values.
    """
    return hashlib.sha256((folder / RECORD).read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _file_hash(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
