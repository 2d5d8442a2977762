"""The budget that releases share: never more than was declared, whoever asks, dies, edits or runs out of room."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.rdp import RdpAccountant
from hypothesis import given
from hypothesis import strategies as some
from mpmath import mp, mpf
from test_release import DECLARED, SHORT, Killed, arguments, artefacts, dying, ledger_at_kill, private_data, saved

from dpgan_lib import profiles, release
from dpgan_lib.cli import main
from dpgan_lib.privacy import accounting, budget, ledger, renyi_filter

KILLS = int(os.environ.get("DPGAN_TEST_KILLS", 5))
UNIT = "one image with its label"
STEP = {"noise_multiplier": 3.0, "sampling_rate": 0.1}
COSTS = renyi_filter.costs(**STEP)


@pytest.fixture
def file(tmp_path) -> Path:
    """A budget of epsilon 3."""
    return declare(tmp_path / "clinic.budget")


def declare(path: Path, epsilon: float = 3.0, delta: float = 1e-5) -> Path:
    budget.create(path, population="the patients of a clinic", epsilon=epsilon, delta=delta, unit=UNIT)
    return path


def reserve(path: Path, name: str = "a", steps: int = 10, costs=COSTS, unit: str = UNIT, records: int = 1000,
            **other) -> budget.Reservation:
    """A release of one part, "steps"."""
    only = budget.Mechanism(part="steps", steps=steps, costs=costs, **STEP | other)
    return budget.reserve(path, name, unit=unit, records=records, mechanisms=[only]).of("steps")


def charged(path: Path, name: str = "a") -> int:
    return sum(budget.read(path).releases[name].charged.values())


def cost(path: Path, name: str = "a") -> int:
    """Of one step of a release whose steps all cost the same."""
    release = budget.read(path).releases[name]
    (only,) = release.mechanisms
    return only.costs[release.order]


def most_steps(path: Path) -> int:
    """Of STEP, all that an unused budget grants."""
    whole = budget.read(path)
    return max(whole.allowance(order) // COSTS[order] for order in budget.ORDERS)


def refused(call, *words: str) -> str:
    with pytest.raises((ValueError, RuntimeError)) as refusal:
        call()
    text = str(refusal.value)
    assert "\n" not in text and all(word in text for word in words), text
    return text


# Declared once --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("change, says", [
    ({"epsilon": 0.0}, "epsilon=0"), ({"epsilon": float("inf")}, "finite"), ({"epsilon": float("nan")}, "finite"),
    ({"epsilon": True}, "finite"), ({"epsilon": 1e-4}, "too small for any release"), ({"delta": 0.0}, "delta=0"),
    ({"delta": 1.0}, "delta=1"), ({"population": " "}, "population"), ({"unit": "a\nb"}, "unit")])
def test_a_declaration_that_makes_no_sense_is_refused_and_leaves_no_file(tmp_path, change, says):
    whole = {"population": "p", "epsilon": 3.0, "delta": 1e-5, "unit": UNIT}
    refused(lambda: budget.create(tmp_path / "b", **whole | change), says)
    assert not list(tmp_path.iterdir())


def test_a_budget_is_declared_once(file):
    before = file.read_bytes()
    refused(lambda: declare(file, epsilon=30.0), "declared once")
    assert file.read_bytes() == before and [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_rows_are_in_the_file_and_each_is_on_the_disk_before_the_next(file):
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with budget._opened(file) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"


# What is granted ------------------------------------------------------------------------------------------------------

def test_what_was_never_charged_goes_back_and_nothing_else(file):
    half = most_steps(file) // 2 + 1
    one = reserve(file, "a", half)
    refused(lambda: reserve(file, "b", half), "does not grant", "epsilon=3", "% of the budget is left")
    for steps in (2, 4, 7):
        budget.charge(one, steps)
    budget.close(one)
    found = budget.read(file)
    assert found.granted == 7 * cost(file)
    refused(lambda: budget.charge(one, 8), "at its end")
    left = found.allowance(found.order) // cost(file) - 7
    refused(lambda: reserve(file, "b", left + 1), "does not grant")
    reserve(file, "b", left)
    budget.close(one)
    assert charged(file) == 7, "closed once"


def test_a_step_is_charged_once(file):
    place = reserve(file, steps=10)
    budget.charge(place, 4)
    for steps in (4, 3, 0, -1, 11, 5.0, True):
        refused(partial(budget.charge, place, steps), "of steps must be above the 4 charged and at most the 10")
    assert budget.charged(place) == 4


def test_a_release_that_is_not_at_its_end_is_gone_on_with(file):
    place = reserve(file, steps=10)
    budget.charge(place, 4)
    assert reserve(file, steps=10) == place and budget.read(file).granted == 10 * COSTS[budget.read(file).order]
    refused(lambda: reserve(file, steps=11), "other noise or steps")
    refused(lambda: reserve(file, steps=10, noise_multiplier=0.9), "other noise or steps")
    budget.close(place)
    again = reserve(file, steps=10)
    assert again.name == "a.2" and budget.charged(again) == 0


@pytest.mark.parametrize("change, says", [
    ({"unit": "one person"}, "needs another budget"), ({"records": 100_000}, "below 1 / delta"),
    ({"steps": 0}, "above 0")])
def test_a_release_of_another_unit_or_of_too_many_records_is_refused(file, change, says):
    refused(lambda: reserve(file, **change), says)
    assert len(budget.read(file).lines) == 1


def test_the_order_is_that_of_the_first_release_until_nothing_is_granted(file):
    whole, sampled = (renyi_filter.costs(noise_multiplier=noise, sampling_rate=rate)
                      for noise, rate in ((30.0, 1.0), (0.9, 0.01)))
    one = reserve(file, "whole", 1, whole)
    first = budget.read(file).order
    other = reserve(file, "sampled", 1, sampled)
    assert {each.order for each in budget.read(file).releases.values()} == {first}
    budget.close(one)
    budget.close(other)
    assert budget.read(file).order is None, "nothing was released, so that nothing can have been learnt"
    reserve(file, "sampled", 1, sampled)
    assert budget.read(file).order not in (None, first), "left to itself, it takes another"


def test_a_refusal_changes_nothing(file):
    head = budget.read(file).head
    refused(lambda: reserve(file, steps=10**6), "does not grant")
    assert budget.read(file).head == head


# Numbers --------------------------------------------------------------------------------------------------------------

@given(some.floats(0.01, 1e6), some.floats(1e-12, 0.5), some.sampled_from(budget.ORDERS))
def test_an_allowance_is_the_last_unit_that_stays_within_epsilon(epsilon, delta, order):
    allowed = budget.allowance(epsilon, delta, order)
    if allowed > 0:
        assert budget.epsilon(allowed, delta, order) <= epsilon < budget.epsilon(allowed + 1, delta, order)


@pytest.mark.parametrize("beyond, granted", [(0, True), (1, False)])
@pytest.mark.parametrize("epsilon", [3.0, 1e6])
def test_one_unit_beyond_is_refused_also_where_floats_are_too_coarse(tmp_path, epsilon, beyond, granted):
    file = declare(tmp_path / "b", epsilon)
    whole = {order: budget.allowance(epsilon, 1e-5, order) for order in budget.ORDERS}
    if epsilon == 1e6:
        assert sum(float(each + 1) == float(each) for each in whole.values()) > len(whole) / 2
    asked = {order: each + beyond for order, each in whole.items()}
    if granted:
        reserve(file, "a", 1, asked)
        refused(lambda: reserve(file, "b", 1, dict.fromkeys(budget.ORDERS, 1)), "does not grant")
    else:
        refused(lambda: reserve(file, "a", 1, {order: each if each > 0 else 10**30 for order, each in asked.items()}),
                "does not grant")


@pytest.mark.parametrize("q, sigma", [(0.01, 0.6), (0.1, 1.0), (0.5, 4.0), (1.0, 2.0), (1e-4, 1.1)])
def test_a_cost_is_no_less_than_the_divergence_and_hardly_more(q, sigma):
    """The divergence with 60 digits, by the binomial sum."""
    costs = renyi_filter.costs(noise_multiplier=sigma, sampling_rate=q)
    with mp.workdps(60):
        for order in (2, 3, 7, 31, 64):
            moment = sum(mp.binomial(order, k) * (1 - mpf(q)) ** (order - k) * mpf(q) ** k
                         * mp.exp((mpf(k) ** 2 - k) / (2 * mpf(sigma) ** 2)) for k in range(order + 1))
            exact = mp.log(moment) / (order - 1) * budget.UNITS
            assert exact <= costs[order] <= exact * (1 + 2 * renyi_filter.RELATIVE_ERROR) + 1


@pytest.mark.parametrize("epsilon", [1.0, 3.0, 10.0])
def test_a_budget_that_is_full_spends_no_more_than_was_declared_by_the_accountant(tmp_path, epsilon):
    """And one step more would be too many at each of the orders that there are."""
    file = declare(tmp_path / "b", epsilon)
    steps = most_steps(file)
    reserve(file, "a", steps)
    refused(lambda: reserve(file, "b", 1), "does not grant")
    spent = accounting.epsilon_rdp(steps=steps, delta=1e-5, **STEP)
    order = np.array(budget.ORDERS)
    more = (steps + 1) * accounting.renyi_divergence(orders=order, **STEP) + np.log1p(-1 / order) \
        - (np.log(1e-5) + np.log(order)) / (order - 1)
    assert spent <= epsilon < more.min()


# Several mechanisms ---------------------------------------------------------------------------------------------------

RUN = (("sums", 4.0, 1.0, 3), ("sums", 5.0, 1.0, 1), ("reader", 6.0, 0.2, 20), ("critic", 1.1, 0.01, 30))


def reserve_run(path: Path, name: str = "run") -> budget.Reservation:
    asked = [renyi_filter.mechanism(part, noise_multiplier=noise, sampling_rate=rate, steps=steps)
             for part, noise, rate, steps in RUN]
    return budget.reserve(path, name, unit=UNIT, records=1000, mechanisms=asked)


def test_all_mechanisms_of_a_release_cost_what_the_accountant_says_of_them_together(file):
    reserve_run(file)
    found = renyi_filter.verify(file)
    theirs = RdpAccountant(orders=[found.order])
    for _, noise, rate, steps in RUN:
        theirs.compose(SelfComposedDpEvent(PoissonSampledDpEvent(rate, GaussianDpEvent(noise)), steps))
    # Costs are rounded up to 1e-12 nats for each of 54 steps; and dp_accounting's slack is another formula's rounding.
    assert found.epsilon(found.granted, found.order) == pytest.approx(theirs.get_epsilon(1e-5), rel=1e-8)
    assert found.granted > sum(steps * renyi_filter.costs(noise_multiplier=noise, sampling_rate=rate)[found.order]
                               for _, noise, rate, steps in RUN[1:])


def test_parts_are_charged_apart_and_what_was_never_charged_of_any_goes_back(file):
    whole = reserve_run(file)
    cost_of = {number: renyi_filter.costs(noise_multiplier=noise, sampling_rate=rate)[budget.read(file).order]
               for number, (_, noise, rate, _) in enumerate(RUN)}
    for part, steps in (("sums", 1), ("critic", 4), ("sums", 4), ("reader", 10)):
        budget.charge(whole.of(part), steps)
    assert [budget.charged(whole.of(part)) for part in ("sums", "reader", "critic")] == [4, 10, 4]
    assert budget.charged(whole) == 18
    refused(lambda: budget.charge(whole.of("sums"), 5), "at most the 4 reserved")
    refused(lambda: budget.charge(whole.of("critic"), 4), "above the 4 charged")
    refused(lambda: budget.charge(whole.of("other"), 1), "nothing for 'other', but for sums, reader, critic")
    refused(lambda: budget.charge(whole, 1), "has reserved nothing for None")
    assert reserve_run(file) == whole
    budget.close(whole)
    used = 3 * cost_of[0] + cost_of[1] + 10 * cost_of[2] + 4 * cost_of[3]
    assert budget.read(file).granted == used, "and of the noisy sums the last costs another sum"


def test_of_a_part_with_two_mechanisms_the_first_is_charged_first(file):
    whole = reserve_run(file)
    budget.charge(whole.of("sums"), 2)
    budget.close(whole)
    first = renyi_filter.costs(noise_multiplier=RUN[0][1], sampling_rate=1.0)
    assert budget.read(file).granted == 2 * first[budget.read(file).order]


# At once --------------------------------------------------------------------------------------------------------------

ASK = """
import sys, time
from pathlib import Path
from dpgan_lib.privacy import budget
path, name, start, steps, cost = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
time.sleep(max(0, start - time.time()))
try:
    budget.reserve(path, name, unit="one image with its label", records=1000, mechanisms=[
        budget.Mechanism(part="steps", noise_multiplier=1.0, sampling_rate=0.1, steps=steps,
                         costs=dict.fromkeys(budget.ORDERS, cost))])
except ValueError as refusal:
    sys.exit("does not grant" in str(refusal) and 3)
"""


@pytest.mark.parametrize("fits", [1, 3])
def test_of_processes_that_ask_at_once_no_more_win_than_fit(tmp_path, fits):
    for attempt in range(2):
        file = declare(tmp_path / f"b{attempt}")
        cost = max(budget.allowance(3.0, 1e-5, order) for order in budget.ORDERS) // fits // 10
        start = time.time() + 1.5  # all have started Python by then
        asking = [subprocess.Popen([sys.executable, "-c", ASK, file, str(number), str(start), "10", str(cost)])
                  for number in range(6)]
        codes = sorted(process.wait(60) for process in asking)
        assert codes == [0] * fits + [3] * (6 - fits)
        assert len(renyi_rows(file, "reserve")) == fits


def renyi_rows(file: Path, kind: str) -> list[dict]:
    return [row for row in map(json.loads, budget.read(file).lines) if row["kind"] == kind]


# Killed ---------------------------------------------------------------------------------------------------------------

WORK = """
import os, sys
from pathlib import Path
from dpgan_lib.privacy import budget, ledger
path, folder = Path(sys.argv[1]), Path(sys.argv[2])
log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for name in ("a", "b", "c"):
    if (folder / f"done-{name}").exists():
        continue
    place = budget.reserve(path, name, unit="one image with its label", records=1000, mechanisms=[
        budget.Mechanism(part=part, noise_multiplier=1.0, sampling_rate=rate, steps=steps,
                         costs=dict.fromkeys(budget.ORDERS, cost))
        for part, rate, steps, cost in (("sums", 1, 4, 10**9), ("sums", 1, 2, 2 * 10**9), ("steps", 0.1, 34, 10**9))])
    for part, most in (("sums", 6), ("steps", 34)):
        ledger.draw_on(folder / name / part, place.of(part))
        step = ledger.charged(folder / name / part)
        while step < most:
            ledger.charge(folder / name / part, step + 2)
            for each in range(step, step + 2):
                os.write(log, f"{place.name} {part}{each}\\n".encode())  # computed
            step += 2
    (folder / f"done-{name}").touch()
    budget.close(place)
"""


def work(file: Path, seconds: float | None = None) -> None:
    with subprocess.Popen([sys.executable, "-c", WORK, file, file.parent]) as process:
        try:
            assert process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)


def computed(file: Path) -> list[tuple[str, str, int]]:
    """Of each step its release, its part and its number, from 0."""
    log = file.parent / "log"
    found = map(re.compile(r"(\w+) ([a-z]+)(\d+)").fullmatch, log.read_text().splitlines()) if log.exists() else []
    return [(each[1], each[2], int(each[3])) for each in found]


@pytest.fixture(scope="module")
def whole_work(tmp_path_factory) -> float:
    """How long it takes when nobody kills it."""
    file = declare(tmp_path_factory.mktemp("whole") / "budget")
    started = time.monotonic()
    work(file)
    assert len(computed(file)) == 120 == len(set(computed(file)))
    return time.monotonic() - started


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("kill", range(KILLS))
def test_a_kill_leaves_too_much_charged_at_worst_and_no_step_is_computed_twice(whole_work, tmp_path, kill):
    file, chance = declare(tmp_path / "budget"), random.Random(kill)
    for attempt in range(2):
        work(file, chance.uniform(0.1, 1.0) * whole_work)
        found, done = budget.read(file), computed(file)
        assert len(done) == len(set(done)), "no step twice"
        for name, each in found.releases.items():
            for part, most in each.steps.items():
                steps = [step for *whose, step in done if whose == [name, part]]
                assert len(steps) <= each.charged[part] <= most and max(steps, default=-1) < each.charged[part]
            assert sum(each.steps.values()) == 40 and each.used <= each.granted <= 42 * 10**9
        assert {name for name, *_ in done} <= found.releases.keys()
        assert found.order is None or found.granted <= found.allowance(found.order)
    work(file)
    found, done = budget.read(file), computed(file)
    assert len(done) == len(set(done)) and sorted(found.releases) == ["a", "b", "c"]
    lost = sum(sum(each.charged.values()) for each in found.releases.values()) - len(done)
    assert 0 <= lost <= 2 * 2, "at most the block of each kill"


# Edited ---------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def used(tmp_path_factory) -> Path:
    """A budget with every kind of row."""
    file = declare(tmp_path_factory.mktemp("used") / "b")
    for name in ("a", "b"):
        place = reserve(file, name, 10)
        budget.charge(place, 4)
        budget.charge(place, 8)
        if name == "a":
            budget.close(place)
    return file


ROWS = 8


def test_the_used_budget_passes(used):
    assert len(renyi_filter.verify(used).lines) == ROWS and {json.loads(line)["kind"] for line in
                                                             budget.read(used).lines} == {
        "declare", "reserve", "charge", "commit"}


def edited(used: Path, folder: Path, *statements) -> Path:
    file = Path(shutil.copy(used, folder / "edited"))
    with sqlite3.connect(file) as connection:
        for statement, values in statements:
            assert connection.execute(statement, values).rowcount > 0
    connection.close()
    return file


def another(value):
    return {int: lambda: value + 1, float: lambda: value * 1.5, str: lambda: value + "x"}[type(value)]()


def edits(value):
    """The value, with one number or text in it changed at a time."""
    if isinstance(value, dict):
        yield from (value | {name: other} for name, each in value.items() for other in edits(each))
    elif isinstance(value, list):
        yield from ([*value[:place], other, *value[place + 1 :]] for place, each in enumerate(value)
                    for other in edits(each))
    else:
        yield another(value)


@pytest.mark.parametrize("number", range(1, ROWS + 1))
def test_an_edited_field_is_found(used, tmp_path, number):
    for row in edits(json.loads(budget.read(used).lines[number - 1])):
        line = json.dumps(row, sort_keys=True)
        file = edited(used, tmp_path, ("UPDATE rows SET line = ? WHERE number = ?", (line, number)))
        refused(partial(budget.read, file), "was edited or is damaged", str(file))
        refused(partial(reserve, file, "c"), "was edited or is damaged")


@pytest.mark.parametrize("statement", [
    *(f"DELETE FROM rows WHERE number = {number}" for number in range(1, ROWS + 1)),
    "DELETE FROM rows", "DELETE FROM rows WHERE number > 4", "UPDATE rows SET number = 99 WHERE number = 8",
    "UPDATE rows SET release = 'z' WHERE number = 3",
    "UPDATE rows SET line = '[]' WHERE number = 3", "UPDATE rows SET line = '{' WHERE number = 8",
    "UPDATE rows SET line = 7 WHERE number = 8",
    "UPDATE rows SET line = CAST(line AS BLOB) WHERE number = 8", "UPDATE rows SET line = CAST(x'ff' AS TEXT)",
    "INSERT INTO rows SELECT number + 1, release, line FROM rows WHERE number = 8", "DELETE FROM head",
    "UPDATE head SET number = number - 1", "UPDATE head SET hash = 'x'", "INSERT INTO head SELECT * FROM head"])
def test_a_row_that_is_gone_moved_or_new_is_found(used, tmp_path, statement):
    place = replace(budget.find(used, "b").of("steps"), path=tmp_path / "edited")
    file = edited(used, tmp_path, (statement, ()))
    refused(lambda: budget.read(file), "was edited or is damaged")
    if "number = 8" in statement or "head" in statement:
        refused(lambda: budget.charge(place, 9), "was edited or is damaged")


@pytest.mark.parametrize("content", [lambda whole: whole[: len(whole) // 2], lambda whole: whole[:100],
                                     lambda whole: b"", lambda whole: b"no database",
                                     lambda whole: whole[:4096] + bytes(len(whole) - 4096)])
def test_a_cut_or_foreign_file_is_found(used, tmp_path, content):
    file = tmp_path / "cut"
    file.write_bytes(content(used.read_bytes()))
    refused(lambda: budget.read(file), "was edited or is damaged")
    refused(lambda: reserve(file), "was edited or is damaged")


def rewritten(used: Path, folder: Path, change) -> Path:
    """All rows written anew after a change, hashes and all, as one who may write the file can do."""
    rows, previous, lines = [json.loads(line) for line in budget.read(used).lines], "", []
    for row in change(rows):
        lines.append(json.dumps(row | {"previous": previous, "number": len(lines) + 1}, sort_keys=True))
        previous = hashlib.sha256(lines[-1].encode()).hexdigest()
    file = edited(used, folder, ("DELETE FROM rows", ()),
                  ("UPDATE head SET number = ?, hash = ?", (len(lines), previous)))
    with sqlite3.connect(file) as connection:
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?)",
                               [(number, json.loads(line)["release"], line) for number, line in enumerate(lines, 1)])
    connection.close()
    return file


def with_field(kind: str, field: str, value):
    """In all rows of a kind; in a reserved mechanism where that has such a field."""
    def changed(row):
        if row["kind"] != kind:
            return row
        if kind == "reserve":
            return row | {"mechanisms": [each | {field: value} for each in row["mechanisms"]]}
        return row | {field: value}

    return lambda rows: [*map(changed, rows)]


@pytest.mark.parametrize("change, says", [
    (with_field("reserve", "noise_multiplier", 9.0), "costs"), (with_field("reserve", "cost", 5), "costs"),
    (with_field("reserve", "steps", 5), "at most the 5 reserved"), (with_field("reserve", "part", 7), "is no text"),
    (with_field("reserve", "steps", 10**9), "does not grant"),
    (with_field("charge", "steps", {"steps": 3}), "above the 3"),
    (with_field("charge", "steps", {"steps": 9, "sums": 1}), "another part too"),
    (with_field("charge", "part", "sums"), "has reserved nothing for 'sums'"),
    (with_field("commit", "steps", {"steps": 2}), "ends no release"),
    (with_field("declare", "schema", 1), "its schema is 1"),
    (lambda rows: [row | {"mechanisms": []} if "mechanisms" in row else row for row in rows], "it reserves nothing"),
    (lambda rows: [row for row in rows if row["kind"] != "reserve"], "nothing was reserved"),
    (lambda rows: [*rows[:5], rows[1], *rows[5:]], "was reserved before")])
def test_rewritten_rows_that_contradict_each_other_are_found_without_a_head(used, tmp_path, change, says):
    file = rewritten(used, tmp_path, change)
    refused(lambda: renyi_filter.verify(file), says)


def test_what_is_rewritten_throughout_is_found_by_a_published_head_alone(used, tmp_path):
    published = budget.read(used).head
    file = rewritten(used, tmp_path, with_field("declare", "epsilon", 30.0))
    assert renyi_filter.verify(file).declaration["epsilon"] == 30.0, "no lock: who may write the file may rewrite it"
    refused(lambda: renyi_filter.verify(file, published), "does not contain the published head")


def test_a_file_put_back_is_found_by_a_head_that_was_published_later_and_by_no_other(file, tmp_path):
    place = reserve(file, steps=10)
    early = budget.read(file).head
    old = file.read_bytes()
    budget.charge(place, 10)
    late = budget.read(file).head
    assert renyi_filter.verify(file, early) and renyi_filter.verify(file, late)
    file.write_bytes(old)
    assert renyi_filter.verify(file) and renyi_filter.verify(file, early)
    refused(lambda: renyi_filter.verify(file, late), "put back to an older state")


def test_two_copies_spend_twice_and_their_heads_show_it(file, tmp_path):
    most = most_steps(file)
    copy = Path(shutil.copy(file, tmp_path / "copy"))
    reserve(file, "a", most)
    reserve(copy, "b", most)
    one, other = budget.read(file).head, budget.read(copy).head
    refused(lambda: renyi_filter.verify(file, other), "published head")
    refused(lambda: renyi_filter.verify(copy, one), "published head")


def test_a_release_in_a_file_that_was_put_back_is_not_charged(file):
    old = file.read_bytes()
    place = reserve(file)
    file.write_bytes(old)
    refused(lambda: budget.charge(place, 2), "put back to an older state")
    file.unlink()
    refused(lambda: budget.charge(place, 2), "is absent", "grants nothing")
    declare(file)
    refused(lambda: budget.charge(place, 2), "is not the budget")
    assert len(budget.read(file).lines) == 1


# No room, no right, no clock ------------------------------------------------------------------------------------------

CHARGE = """
import os, resource, sys
from pathlib import Path
from dpgan_lib.privacy import budget
path, name, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
place = budget.find(path, name).of("steps")
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # as on a full disk, no file grows any more
try:
    for step in range(budget.charged(place) + 1, 41):
        budget.charge(place, step)
        print(step, flush=True)
except RuntimeError as error:
    sys.exit(str(error))
"""


def charging(file: Path, limit: int = 0, **how) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", CHARGE, file, "a", str(limit)], capture_output=True, text=True, **how)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_on_a_full_disk_nothing_is_charged_and_what_was_stays(file):
    reserve(file, steps=40)
    done = charging(file, file.stat().st_size - 4096)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and f"{file} cannot be written" in done.stderr
    said = len(done.stdout.split())
    assert said < 40 and charged(file) == said
    assert charging(file).returncode == 0 and renyi_filter.verify(file).releases["a"].charged == {"steps": 40}


@pytest.fixture
def anybody(tmp_path_factory):
    """A folder that every user reads, and a context in which this process may write no more than nobody may."""
    folder = Path(tempfile.mkdtemp())  # not pytest's, which is its owner's alone

    @contextmanager
    def without_rights():
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(before)

    yield folder, without_rights
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
@pytest.mark.parametrize("folder_mode", [0o777, 0o555], ids=["file", "file and folder"])
def test_a_read_only_file_grants_and_charges_nothing(anybody, folder_mode):
    folder, without_rights = anybody
    file = declare(folder / "clinic.budget")
    place, before = reserve(file), file.read_bytes()
    file.chmod(0o444)
    folder.chmod(folder_mode)
    with without_rights():
        refused(lambda: budget.charge(place, 2), f"{file} cannot be written")
        refused(lambda: reserve(file, "b"), f"{file} cannot be written")
        refused(lambda: declare(folder / ("new" if folder_mode == 0o555 else "clinic.budget")))
    assert file.read_bytes() == before and budget.charged(place) == 0


@pytest.mark.parametrize("day", ["1999-12-31", "2999-12-31"])
def test_a_clock_that_is_wrong_changes_no_order(file, monkeypatch, day):
    one = reserve(file, "a", 10)

    class Clock:
        @staticmethod
        def now(zone):
            return datetime.fromisoformat(day)

    monkeypatch.setattr(budget, "datetime", Clock)
    other = reserve(file, "b", 10)
    budget.charge(other, 2)
    budget.charge(one, 2)
    found = renyi_filter.verify(file)
    assert [json.loads(line)["number"] for line in found.lines] == [1, 2, 3, 4, 5]
    assert json.loads(found.lines[2])["day"] == day and found.granted == 20 * cost(file)


def test_no_row_tells_how_long_anything_took(used):
    for line in budget.read(used).lines:
        row = json.loads(line)
        assert ("day" in row) == (row["kind"] in ("declare", "reserve")), "both written before data is opened"


# Releases -------------------------------------------------------------------------------------------------------------

@pytest.fixture
def short(monkeypatch):
    """The smoke profile with fewer steps."""
    monkeypatch.setitem(profiles.PROFILES, "smoke", replace(profiles.PROFILES["smoke"], steps=SHORT))


@pytest.fixture
def clinic(tmp_path):
    """A budget that holds one release of epsilon 3 by PLD, a little more by RDP, and not two."""
    return declare(tmp_path / "clinic.budget", 3.8)


PUBLIC = {name: value for name, value in DECLARED.items() if name != "side"}


def asked(out: Path, file: Path | None, given, **how):
    """As the command does it."""
    with release.reserved(file, out, **PUBLIC) as reservation:
        return release.obtain(release.Parameters(**DECLARED), *given, out, reservation=reservation, progress=False,
                              **how)


def test_a_release_within_the_budget_is_charged_to_it_and_one_beyond_is_refused_before_data_is_opened(
        short, tmp_path, clinic):
    private = saved(tmp_path / "x.npz", *private_data())
    done = CliRunner().invoke(main, [*arguments(private, tmp_path / "one"), "--budget", str(clinic)])
    assert done.exit_code == 0, done.output
    found = budget.read(clinic)
    (only,) = found.releases.values()
    assert only.charged == only.steps == {"critic steps": SHORT} and only.closed
    assert found.granted == SHORT * cost(clinic, only.name)
    assert sorted(artefacts(tmp_path / "one")) == ["generator.safetensors", "record.json", "samples.png"]
    private.unlink()
    more = CliRunner().invoke(main, [*arguments(private, tmp_path / "two"), "--budget", str(clinic)])
    assert more.exit_code == 2 and "does not grant this release" in more.stderr and more.stderr.count("\n") == 1
    assert not (tmp_path / "two").exists() and budget.read(clinic).head == found.head


def test_the_same_data_under_another_name_size_and_folder_draws_on_the_same_budget(short, tmp_path, clinic):
    asked(tmp_path / "one", clinic, private_data())
    images, labels = private_data()
    saved(tmp_path / "renamed.npz", images[:, :24, :24], labels)
    words = arguments(tmp_path / "renamed.npz", tmp_path / "two")
    words[words.index("clinic")] = "another name"
    done = CliRunner().invoke(main, [*words, "--budget", str(clinic)])
    assert done.exit_code == 2 and "does not grant this release" in done.stderr


def test_a_budget_that_is_gone_grants_nothing_and_none_is_made(short, tmp_path):
    words = arguments(saved(tmp_path / "x.npz", *private_data()), tmp_path / "out")
    done = CliRunner().invoke(main, [*words, "--budget", str(tmp_path / "gone")])
    assert done.exit_code == 2 and "is absent" in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_data_that_is_refused_gives_the_reservation_back(short, tmp_path, clinic):
    words = [*arguments(tmp_path / "absent.npz", tmp_path / "out"), "--budget", str(clinic)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2 and "absent.npz is absent" in done.stderr
    assert budget.read(clinic).granted == 0
    assert asked(tmp_path / "out", clinic, private_data())


def test_a_release_that_exists_takes_nothing_more(short, tmp_path):
    clinic = declare(tmp_path / "b", 30.0)
    asked(tmp_path / "out", clinic, private_data())
    granted = budget.read(clinic).granted
    refused(lambda: asked(tmp_path / "out", clinic, private_data()), "spends epsilon 3 once more")
    assert budget.read(clinic).granted == granted
    asked(tmp_path / "other", clinic, private_data())
    assert budget.read(clinic).granted == 2 * granted, "in another folder it is another release"


def test_releases_into_two_folders_are_two_also_while_both_are_open(short, tmp_path):
    clinic, given = declare(tmp_path / "b", 30.0), private_data()
    assert asked(tmp_path / "one", clinic, given, max_minutes=1e-9) is None
    for out in ("two", "one"):
        assert asked(tmp_path / out, clinic, given).content["steps"] == {
            "critic steps": {"charged": SHORT, "taken": SHORT}}
    one, other = budget.read(clinic).releases.values()
    assert one.granted == other.granted == SHORT * cost(clinic, one.name)


@pytest.mark.parametrize("kill_at", [1, 5])
def test_a_release_resumed_after_a_kill_is_charged_once(short, tmp_path, clinic, monkeypatch, kill_at):
    given, parameters = private_data(), release.Parameters(**DECLARED)
    dying(monkeypatch, at=kill_at)
    with pytest.raises(Killed):
        asked(tmp_path / "out", clinic, given)
    (name,), lost = budget.read(clinic).releases, ledger_at_kill(kill_at, release.plan(parameters))
    assert charged(clinic, name) == lost and not list(tmp_path.rglob("charged"))
    refused(lambda: asked(tmp_path / "out", clinic, given), f"{SHORT - lost} of {SHORT} critic steps")
    found = budget.read(clinic)
    assert len(found.releases) == 1 and found.granted == SHORT * cost(clinic, name)
    steps = [row["steps"]["critic steps"] for row in renyi_rows(clinic, "charge")]
    assert steps == sorted(set(steps)) and steps[-1] == SHORT


def test_deleting_the_folder_of_a_release_takes_no_step_again(short, tmp_path, clinic):
    given = private_data()
    assert asked(tmp_path / "out", clinic, given, max_minutes=1e-9) is None
    (name,) = budget.read(clinic).releases
    before = charged(clinic, name)
    shutil.rmtree(tmp_path / "out")
    refused(lambda: asked(tmp_path / "out", clinic, given), f"{SHORT - before} of {SHORT} critic steps")
    assert charged(clinic, name) == SHORT and len(budget.read(clinic).releases) == 1


def test_a_release_goes_on_with_what_it_was_begun_with(short, tmp_path, clinic):
    given, other = private_data(), declare(tmp_path / "other", 30.0)
    asked(tmp_path / "within", clinic, given, max_minutes=1e-9)
    refused(lambda: asked(tmp_path / "within", None, given), "was begun with the budget", "--budget")
    refused(lambda: asked(tmp_path / "within", other, given), "another budget")
    assert budget.read(other).granted == 0
    moved = clinic.rename(tmp_path / "moved")
    assert asked(tmp_path / "within", moved, given) and next(iter(budget.read(moved).releases.values())).closed
    asked(tmp_path / "without", None, given, max_minutes=1e-9)
    refused(lambda: asked(tmp_path / "without", other, given), "was begun without a budget")
    assert budget.read(other).granted == 0 and asked(tmp_path / "without", None, given)


def test_a_release_that_was_closed_is_not_gone_on_with(short, tmp_path, clinic):
    given = private_data()
    asked(tmp_path / "out", clinic, given, max_minutes=1e-9)
    (name,) = budget.read(clinic).releases
    done = CliRunner().invoke(main, ["budget", "close", str(clinic), name])
    assert done.exit_code == 0 and "at its end" in done.output
    granted = budget.read(clinic).granted
    assert granted == charged(clinic, name) * cost(clinic, name)
    refused(lambda: asked(tmp_path / "out", clinic, given), "does not grant")
    assert budget.read(clinic).granted == granted


def test_an_error_before_the_first_step_is_no_obstacle_to_the_next_call(short, tmp_path, clinic, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(release.methods, "train", lambda *given, **how: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            asked(tmp_path / "out", clinic, private_data())
    assert budget.read(clinic).granted == 0 and list(tmp_path.rglob(ledger.BUDGET))
    assert asked(tmp_path / "out", clinic, private_data())


def test_a_reservation_for_less_noise_than_was_reserved_is_refused(short, tmp_path, clinic):
    with release.reserved(clinic, tmp_path, **PUBLIC | {"epsilon": 1.0}) as reservation:
        refused(lambda: release.obtain(release.Parameters(**DECLARED), *private_data(), tmp_path,
                                       reservation=reservation, progress=False), "for these parameters")


def test_a_budget_file_says_nothing_of_the_data(short, tmp_path, clinic):
    images, labels = private_data()
    asked(tmp_path / "one", clinic, (images, labels))
    other = declare(tmp_path / "other.budget", 3.8)
    asked(tmp_path / "one2", other, (255 - images[:-9], labels[9:] * 0))
    names = {next(iter(budget.read(file).releases)): file for file in (clinic, other)}
    one, two = ([line.replace(name, "") for line in map(without_previous, budget.read(file).lines)]
                for name, file in names.items())
    assert one == two


def without_previous(line: str) -> str:
    return json.dumps(json.loads(line) | {"previous": ""})


# The commands ---------------------------------------------------------------------------------------------------------

def test_the_commands_create_show_verify_and_export(tmp_path):
    file = tmp_path / "b"
    call = CliRunner().invoke
    made = call(main, ["budget", "create", str(file), "--population", "patients", "--epsilon", "3", "--delta", "1e-5"])
    assert made.exit_code == 0 and "granted     nothing" in made.output and "epsilon 3, delta 1e-05" in made.output
    place = reserve(file, "a", 10)
    budget.charge(place, 4)
    shown = call(main, ["budget", "show", str(file)]).output
    assert "a: charged steps 4 of 10; open" in shown and "of the budget is left" in shown
    exported = call(main, ["budget", "export", str(file)])
    lines = exported.stdout.splitlines()
    hashes = [hashlib.sha256(line.encode()).hexdigest() for line in lines]
    assert [json.loads(line)["previous"] for line in lines] == ["", *hashes[:-1]]
    assert exported.stderr.split() == ["head", hashes[-1]] and f"head        {hashes[-1]}" in shown
    assert call(main, ["budget", "verify", str(file)]).output.splitlines()[1].startswith("not checked")
    assert call(main, ["budget", "verify", str(file), "--head", hashes[1]]).exit_code == 0
    wrong = call(main, ["budget", "verify", str(file), "--head", "0" * 64])
    assert wrong.exit_code == 2 and wrong.stderr.count("\n") == 1
    unknown = call(main, ["budget", "close", str(file), "z"])
    assert unknown.exit_code == 2 and "has no release 'z': it has a." in unknown.stderr


def test_what_is_granted_of_a_release_of_the_smoke_profile_is_that_of_the_accountant(short, tmp_path, clinic):
    with release.reserved(clinic, tmp_path, **PUBLIC):
        found = budget.read(clinic)
    privacy = release.plan(release.Parameters(**DECLARED)).privacy
    divergence = accounting.renyi_divergence(sampling_rate=privacy.sampling_rate, orders=[found.order],
                                             noise_multiplier=privacy.noise_multiplier)[0] * SHORT
    assert 1 <= found.granted / (divergence * budget.UNITS) < 1 + 1e-8
