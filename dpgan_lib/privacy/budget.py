"""A privacy budget that releases share and cannot overspend: one SQLite file for each declared population.

A release RESERVEs all that it may cost before its data is opened, CHARGEs each block of steps before it is computed,
and COMMITs at the end, which returns what was never charged. What it may cost are its mechanisms, each so many steps of
a Poisson-sampled Gaussian: noisy sums, steps of a reader, steps of a critic. They are charged by parts, each of which
has a count of its own. Each of the three is one transaction that excludes the
others and is on the disk when it returns: two processes cannot be granted the same rest, and a process killed anywhere
leaves too much reserved or charged, never too little. The file, not its caller, says what is granted; there is no way
to add to a budget.

Composition is a Renyi filter at one order (Feldman and Zrnic 2021), because what a later release asks for may depend on
what earlier ones showed: divergences of a fixed order add up even then, and where releases run at the same time (Haney
et al. 2023), while for privacy loss distributions, tighter where all is planned beforehand, that fails in general
(Regehr et al. 2026). The first reservation fixes the order, before anything is released, as the one at which it takes
the least share of the budget, so that a budget for releases of one kind loses little by keeping to one order.

Divergences are whole numbers of 1e-12 nats, costs rounded up and the allowance down, so that their sums are exact.

Every row is a line of JSON that holds the SHA-256 of the line before: to edit one is to be found out, unless all lines
after it are written anew. Who can write the file can do that too, or put back an old copy; what shows it is the hash
of a last line that was published, for a file that goes on from it must contain it. So this is evidence of tampering,
and no lock. What happened after the last published hash can be undone unseen, and two copies of a file spend twice,
which shows once the last hashes of both are compared. Rows are ordered by their number; no clock is asked but for the
day. The file must lie on a local disk: SQLite's log of writes does not work over a network.

Runs with the standard library alone, for training does.
"""

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from pathlib import Path

UNITS = 10**12  # in a nat
DIGITS = 50  # of an allowance before it is rounded
ORDERS = (*range(2, 65), 128, 256, 512, 1024)  # where the divergence of a step is exact to 1e-11
BUSY_SECONDS = 60.0  # how long to wait for another process's transaction, which takes milliseconds
ADJACENCY = "add or remove one record"
ACCOUNTANT = "Renyi filter at one order, fixed by the first reservation"
SCHEMA = 2  # of the rows; of the first schema, a release was the steps of one mechanism
TABLES = """
CREATE TABLE rows (number INTEGER PRIMARY KEY, release TEXT NOT NULL, line TEXT NOT NULL);
CREATE INDEX rows_of_release ON rows (release, number);
CREATE TABLE head (number INTEGER NOT NULL, hash TEXT NOT NULL);
"""


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """Steps of one Poisson-sampled Gaussian.

    part: by whose count they are charged, one mechanism of it after the other.
    costs: of one step, in 1e-12 nats of Renyi divergence, by order; of what was reserved, at the filter's order alone.
    """

    part: str
    noise_multiplier: float
    sampling_rate: float
    steps: int
    costs: Mapping[int, int]

    @property
    def asked(self) -> dict:
        """All but what it costs, as a row has it."""
        return {"part": self.part, "noise_multiplier": float(self.noise_multiplier),
                "sampling_rate": float(self.sampling_rate), "steps": int(self.steps)}


@dataclass(frozen=True, kw_only=True)
class Release:
    """What a release was granted and has used. charged: of each part, how many steps in all."""

    name: str
    order: int
    mechanisms: tuple[Mechanism, ...]
    charged: Mapping[str, int]
    closed: bool = False

    @property
    def steps(self) -> dict[str, int]:
        """Of each part, how many steps were reserved."""
        return {part: sum(each.steps for each in self.mechanisms if each.part == part)
                for part in dict.fromkeys(each.part for each in self.mechanisms)}

    @property
    def granted(self) -> int:
        """In 1e-12 nats: what was reserved, or after the end what was charged."""
        return self.used if self.closed else cost(self.mechanisms, self.order)

    @property
    def used(self) -> int:
        """In 1e-12 nats: what was charged. The mechanisms of a part are charged one after the other."""
        total, left = 0, dict(self.charged)
        for each in self.mechanisms:
            steps = min(left[each.part], each.steps)
            left[each.part] -= steps
            total += steps * each.costs[self.order]
        return total


def cost(mechanisms: Sequence[Mechanism], order: int) -> int:
    """Of all steps of all mechanisms, in 1e-12 nats: divergences of one order add up."""
    return sum(each.steps * each.costs[order] for each in mechanisms)


@dataclass(frozen=True)
class Budget:
    """A file's content after its rows were checked. declaration: the first row; lines: all rows, as they are hashed."""

    declaration: Mapping
    releases: Mapping[str, Release]
    lines: tuple[str, ...]

    @property
    def head(self) -> str:
        """SHA-256 of the last line: publish it, and nothing before can change unseen."""
        return _hash(self.lines[-1])

    @property
    def order(self) -> int | None:
        """Of the filter; None until a release is granted something."""
        return next((release.order for release in self.releases.values() if release.granted), None)

    @property
    def granted(self) -> int:
        """To all releases together, in 1e-12 nats of divergence."""
        return sum(release.granted for release in self.releases.values())

    def allowance(self, order: int) -> int:
        return allowance(self.declaration["epsilon"], self.declaration["delta"], order)

    def epsilon(self, divergence: int, order: int) -> float:
        return epsilon(divergence, self.declaration["delta"], order)


@dataclass(frozen=True)
class Reservation:
    """A release's place in a budget. first: hash of the file's first row, by which a file that was moved is known.

    part: of the release, what is charged here; None for a place that only asks.
    """

    path: Path
    first: str
    name: str
    part: str | None = None

    def of(self, part: str) -> "Reservation":
        """The place where that part is charged."""
        return replace(self, part=part)


def allowance(epsilon: float, delta: float, order: int) -> int:
    """The most divergence of that order that (epsilon, delta) allows, in 1e-12 nats, rounded down; may be negative.

    The conversion of accounting.epsilon_rdp, solved for the divergence.
    """
    with localcontext(prec=DIGITS):
        return int(((Decimal(epsilon) - _slack(delta, order)) * UNITS).to_integral_value(ROUND_FLOOR))


def epsilon(divergence: int, delta: float, order: int) -> float:
    """What a divergence in 1e-12 nats comes to at delta, rounded up; 0 for none."""
    if divergence == 0:
        return 0.0
    with localcontext(prec=DIGITS):
        exact = max(Decimal(divergence) / UNITS + _slack(delta, order), Decimal(0))
        rounded = float(exact)
        return rounded if Decimal(rounded) >= exact else math.nextafter(rounded, math.inf)


def _slack(delta: float, order: int) -> Decimal:
    """Epsilon beyond the divergence: log((a-1) / a) - (log delta + log a) / (a-1)."""
    a = Decimal(order)
    return (1 - 1 / a).ln() - (Decimal(delta).ln() + a.ln()) / (a - 1)


def units(divergence: float, relative_error: float) -> int:
    """A divergence in nats, known to a relative error, as whole units that are no less."""
    with localcontext(prec=DIGITS):
        exact = Decimal(divergence) * (1 + Decimal(relative_error)) * UNITS
        return int(exact.to_integral_value(ROUND_CEILING))


# The file

def create(path: Path, *, population: str, epsilon: float, delta: float, unit: str) -> Budget:
    """Declare a budget, once. population: a public name for whose records it covers, whatever file they lie in.

    epsilon, delta: total, for adding or removing one record.  unit: what one record is.
    Raises ValueError for numbers that make no sense, and where the file exists.
    """
    _check_declaration(population, epsilon, delta, unit)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        with _errors(path), closing(sqlite3.connect(part, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(TABLES)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO head VALUES (0, '')")
            _append(connection, "", kind="declare", schema=SCHEMA, population=population, unit=unit,
                    epsilon=float(epsilon), delta=float(delta), adjacency=ADJACENCY, accountant=ACCOUNTANT, day=_day())
            connection.execute("COMMIT")
        try:
            os.link(part, path)  # whole or not at all, and never over a file that is there
        except FileExistsError:
            raise ValueError(f"{path} exists already: a budget is declared once. Name another file for another "
                             "population.") from None
        except OSError as error:
            raise RuntimeError(f"{path} cannot be written ({error.strerror}): name a file on a local disk of "
                               "yours.") from error
    finally:
        for end in ("", "-wal", "-shm"):
            part.with_name(part.name + end).unlink(missing_ok=True)
    return read(path)


def _check_declaration(population, epsilon, delta, unit) -> None:
    for name, text in (("population", population), ("unit", unit)):
        if not (isinstance(text, str) and text.strip() and text.isprintable()):
            raise ValueError(f"{name}={text!r} must be a line of text: it is what the guarantee speaks of.")
    if not (_is_number(epsilon) and 0 < epsilon < math.inf):
        raise ValueError(f"epsilon={epsilon!r} must be a finite number above 0: it is the whole budget. Try 3.")
    if not (_is_number(delta) and 0 < delta < 1):
        raise ValueError(f"delta={delta!r} must lie strictly between 0 and 1, well below 1/N. Try 1e-6.")
    if max(allowance(epsilon, delta, order) for order in ORDERS) <= 0:
        raise ValueError(f"epsilon={epsilon:g} is too small for any release at delta={delta:g}: no Renyi order up to "
                         f"{ORDERS[-1]} leaves anything of it. Ask for a larger epsilon.")


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read(path: Path, head: str | None = None) -> Budget:
    """The budget, after a check of every row: its hash, its place, and that it was allowed when it was written.

    head: the hash of a last line, as once published; the file must go on from it.
    Raises ValueError, in one line, for a file that is absent, damaged, edited or behind the head.
    """
    with _opened(path, "BEGIN") as connection:
        budget = _checked(connection, path)
    if head is not None and head not in map(_hash, budget.lines):
        raise ValueError(f"{path} does not contain the published head {head}: it was put back to an older state, or "
                         "rewritten, or is another file. Take what was published for what is spent.")
    return budget


def reserve(path: Path, name: str, *, unit: str, records: int, mechanisms: Sequence[Mechanism]) -> Reservation:
    """Set aside what a release of these mechanisms may cost, or find what it has set aside already.

    name: of the release; one of that name that is not at its end is gone on with, and after its end another begins.
    mechanisms: with their costs for every order of ORDERS, rounded up (renyi_filter.mechanism).
    Raises ValueError where the budget does not grant it, or is about another unit.
    """
    with _opened(path) as connection:
        budget = _checked(connection, path)
        declared = budget.declaration
        if unit != declared["unit"]:
            raise ValueError(f"unit={unit!r} must be {declared['unit']!r}, which {path} protects: another unit needs "
                             "another budget.")
        if declared["delta"] * records >= 1:
            raise ValueError(f"records={records} must be below 1 / delta: {path} has delta={declared['delta']:g}. "
                             "Declare a budget with a smaller one.")
        same = [release for release in budget.releases.values() if release.name.partition(".")[0] == name]
        if same and not same[-1].closed:
            found = same[-1]
            if [each.asked for each in mechanisms] != [each.asked for each in found.mechanisms]:
                raise ValueError(f"{path} has reserved other noise or steps for release {found.name}: go on with the "
                                 "version that began it, or close it with dpgan budget close.")
            return Reservation(path.resolve(), _hash(budget.lines[0]), found.name)
        name = f"{name}.{len(same) + 1}" if same else name
        order = budget.order or _best_order(budget, mechanisms)
        rows = [each.asked | {"cost": each.costs[order]} for each in mechanisms]
        _check_granted(budget, _reserved({"release": name, "order": order, "mechanisms": rows}), path)
        _append(connection, name, kind="reserve", order=order, mechanisms=rows, day=_day())
        return Reservation(path.resolve(), _hash(budget.lines[0]), name)


def _best_order(budget: Budget, mechanisms: Sequence[Mechanism]) -> int:
    """At which the release takes the least share."""
    allowed = {order: budget.allowance(order) for order in ORDERS}
    return min((order for order in ORDERS if allowed[order] > 0),
               key=lambda order: cost(mechanisms, order) / allowed[order])


def _check_granted(budget: Budget, new: Release, path: Path) -> None:
    for each in new.mechanisms:
        if each.costs[new.order] < 1 or each.steps < 1:
            raise ValueError(f"{path}: cost={each.costs[new.order]} and steps={each.steps} of the {each.part} must be "
                             "whole numbers above 0.")
    if budget.granted + new.granted > budget.allowance(new.order):
        whole, all_then = budget.allowance(new.order), budget.granted + new.granted
        raise ValueError(
            f"{path} has epsilon={budget.declaration['epsilon']:g} at delta={budget.declaration['delta']:g} for "
            f"{budget.declaration['population']} and does not grant this release, with which epsilon would come to "
            f"{_above(budget.epsilon(all_then, new.order))}: {_percent(whole - budget.granted, whole)} of the budget "
            f"is left, and it takes {_percent(new.granted, whole)}. Ask for a smaller epsilon.")


def charge(reservation: Reservation, steps: int) -> None:
    """Write down, so that not even a power cut loses it, that the steps of the release's part up to this one are
    charged.

    Raises ValueError unless they are more than before, for then another process is at these steps, and within what was
    reserved.
    """
    with _opened(reservation.path) as connection:
        release, part = _one(connection, reservation), reservation.part
        _check_charge(release, part, steps, f"{reservation.path}: release {reservation.name}")
        _append(connection, release.name, kind="charge", part=part, steps={**release.charged, part: steps})


def _check_charge(release: Release, part: str | None, steps, where: str) -> None:
    if release.closed:
        raise ValueError(f"{where} is at its end, and nothing more can be charged to it: give the command again.")
    if part is None or part not in release.charged:
        raise ValueError(f"{where} has reserved nothing for {part!r}, but for {', '.join(release.steps)}: go on with "
                         "the version that began it.")
    before, reserved = release.charged[part], release.steps[part]
    if not (type(steps) is int and before < steps <= reserved):
        raise ValueError(f"{where}: steps={steps!r} of {part} must be above the {before} charged and at most the "
                         f"{reserved} reserved: is another process at the same release? Let it end first.")


def charged(reservation: Reservation) -> int:
    """The number of steps charged so far: of the reservation's part, or of all parts where it names none."""
    with _opened(reservation.path, "BEGIN") as connection:
        found = _one(connection, reservation).charged
    return sum(found.values()) if reservation.part is None else found[reservation.part]


def close(reservation: Reservation) -> None:
    """COMMIT: the release is at its end, and what was never charged goes back. Does nothing to one that is closed."""
    with _opened(reservation.path) as connection:
        release = _one(connection, reservation)
        if not release.closed:
            _append(connection, release.name, kind="commit", steps=dict(release.charged))


def find(path: Path, name: str) -> Reservation:
    """The place of a release, by its name. Raises ValueError if it has none."""
    budget = read(path)
    if name not in budget.releases:
        raise ValueError(f"{path} has no release {name!r}: it has {', '.join(budget.releases) or 'none'}.")
    return Reservation(path.resolve(), _hash(budget.lines[0]), name)


def summary(budget: Budget) -> list[str]:
    """In lines: what was declared, what is granted of it, the releases, and the head to publish."""
    said, order = budget.declaration, budget.order
    lines = [f"population  {said['population']}; one record is {said['unit']}; {said['adjacency']}",
             f"declared    epsilon {said['epsilon']:g}, delta {said['delta']:g}; {said['accountant']}"]
    if order is None:
        lines.append("granted     nothing")
    else:
        whole = budget.allowance(order)
        used = sum(release.used for release in budget.releases.values())
        lines.append(f"granted     epsilon {_above(budget.epsilon(budget.granted, order))}, of which charged "
                     f"{_above(budget.epsilon(used, order))}; "
                     f"{_percent(whole - budget.granted, whole)} of the budget is left, as divergence of order {order}")
    for release in budget.releases.values():
        parts = ", ".join(f"{part} {release.charged[part]} of {steps}" for part, steps in release.steps.items())
        lines.append(f"release     {release.name}: charged {parts}; {'at its end' if release.closed else 'open'}")
    return [*lines, f"head        {budget.head}"]


def _above(epsilon: float) -> str:
    """Rounded up to thousandths."""
    return f"{math.ceil(epsilon * 1000) / 1000:g}"


def _percent(part: int, whole: int) -> str:
    return f"{1000 * part // whole / 10:g} %" if whole > 0 else "nothing"


# Rows

def _append(connection: sqlite3.Connection, release: str, **fields) -> None:
    number, previous = connection.execute("SELECT number, hash FROM head").fetchone()
    line = json.dumps({"number": number + 1, "previous": previous, "release": release, **fields}, sort_keys=True)
    connection.execute("INSERT INTO rows VALUES (?, ?, ?)", (number + 1, release, line))
    connection.execute("UPDATE head SET number = ?, hash = ?", (number + 1, _hash(line)))


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def _day() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")  # the hour of a later row would tell how long training took


def _checked(connection: sqlite3.Connection, path: Path) -> Budget:
    """Every row, from the first."""
    rows = connection.execute("SELECT number, release, line FROM rows ORDER BY number").fetchall()
    lines, budget = tuple(line for _, _, line in rows), None
    previous = ""
    for index, (number, release, line) in enumerate(rows, start=1):
        try:
            _demand(isinstance(line, str), "it is no text")
            row = json.loads(line)
            _demand(number == row["number"] == index, f"its number is not {index}")
            _demand(row["previous"] == previous, "the row before it is not the one that it followed")
            _demand(row["release"] == release, "its release is filed under another name")
            budget = _after(budget, row, path)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, f"row {index}: {error}") from error
        previous = _hash(line)
    heads = connection.execute("SELECT number, hash FROM head").fetchall()
    if budget is None or heads != [(len(rows), previous)]:
        raise _damaged(path, "its last row is not the one that was written last")
    return replace(budget, lines=lines)


def _after(budget: Budget | None, row: dict, path: Path) -> Budget:
    """The budget after one more row. Raises ValueError for a row that must not have been written."""
    if budget is None:
        _demand(row["kind"] == "declare", "a budget begins with its declaration")
        _demand(row.get("schema") == SCHEMA, f"its schema is {row.get('schema', 1)}, and {SCHEMA} is read here")
        _check_declaration(row["population"], row["epsilon"], row["delta"], row["unit"])
        return Budget(row, {}, ())
    name, kind = row["release"], row["kind"]
    if kind == "reserve":
        _demand(name and name not in budget.releases, "this release was reserved before")
        new = _reserved(row)
        _demand(new.order in ORDERS and budget.order in (None, new.order), "its order is not the filter's")
        _check_granted(budget, new, path)
        return replace(budget, releases={**budget.releases, name: new})
    _demand(name in budget.releases, "nothing was reserved for this release")
    return replace(budget, releases={**budget.releases, name: _with(budget.releases[name], row)})


def _reserved(row: dict) -> Release:
    _demand(type(row["order"]) is int, "order is no whole number")
    _demand(len(row["mechanisms"]) > 0, "it reserves nothing")
    mechanisms = tuple(_mechanism(each, row["order"]) for each in row["mechanisms"])
    return Release(name=row["release"], order=row["order"], mechanisms=mechanisms,
                   charged=dict.fromkeys((each.part for each in mechanisms), 0))


def _mechanism(row: dict, order: int) -> Mechanism:
    for key in ("cost", "steps"):
        _demand(type(row[key]) is int, f"{key} is no whole number")
    _demand(isinstance(row["part"], str), "part is no text")
    return Mechanism(costs={order: row["cost"]}, **{key: row[key] for key in row if key != "cost"})


def _with(release: Release, row: dict) -> Release:
    """The release after a charge or its end."""
    if row["kind"] == "charge":
        part, steps = row["part"], row["steps"]
        _check_charge(release, part, steps.get(part), f"release {release.name}")
        _demand(steps == {**release.charged, part: steps[part]}, "it charges another part too")
        return replace(release, charged=steps)
    _demand(row["kind"] == "commit" and not release.closed and row["steps"] == release.charged, "it ends no release")
    return replace(release, closed=True)


def _one(connection: sqlite3.Connection, reservation: Reservation) -> Release:
    """One release, from its own rows and the last row of all: a charge must not take longer the more there are."""
    path, name = reservation.path, reservation.name
    with _rows_of(path):
        (declared,) = connection.execute("SELECT line FROM rows WHERE number = 1").fetchone()
        first = _hash(declared)
        number, line = connection.execute("SELECT number, line FROM rows ORDER BY number DESC LIMIT 1").fetchone()
        _demand(connection.execute("SELECT number, hash FROM head").fetchall() == [(number, _hash(line))],
                "its last row is not the one that was written last")
        ends = [connection.execute(f"SELECT line FROM rows WHERE release = ? ORDER BY number {way} LIMIT 1",
                                   (name,)).fetchone() for way in ("ASC", "DESC")]
    if first != reservation.first or None in ends:
        raise ValueError(f"{path} is not the budget that release {name} reserved from, or was put back to an older "
                         "state: restore it. What was charged stays charged.")
    with _rows_of(path):
        release, last = _reserved(json.loads(ends[0][0])), json.loads(ends[1][0])
        if last["kind"] != "reserve":
            release = replace(release, charged=last["steps"], closed=last["kind"] == "commit")
    return release


def _demand(condition: object, what: str) -> None:
    if not condition:
        raise ValueError(what)


@contextmanager
def _rows_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, what: str) -> ValueError:
    return ValueError(f"{path} was edited or is damaged ({what}): nothing is granted from it. Restore a copy that goes "
                      "on from the last published head, or take the whole budget for spent.")


# SQLite

@contextmanager
def _opened(path: Path, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
    """A transaction, which is on the disk at the end, or undone: one that excludes all others unless it only reads."""
    if not path.is_file():
        raise ValueError(f"{path} is absent: a budget that is gone grants nothing. Restore it, or name the file that "
                         "dpgan budget create made.")
    with _errors(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS,
                                                isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(begin)
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """SQLite's errors in one line, with the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error).startswith(("no such", "Could not decode")):  # a table, a column, or its text
            raise _damaged(path, str(error)) from error
        raise RuntimeError(f"{path} cannot be written ({error}), and nothing is granted or charged without it. Make "
                           "room, let others end, or make it writable, and give the command again.") from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
