"""What `dpgan verify` checks of a record of faces: its metrics agree with each other, and no edit of one gets
through.
"""

import copy

import pytest

from dpgan_lib.records import checks, store, verify
from dpgan_lib.records.checks import FAILED
from dpgan_lib.studies.celeba_specificity import study

PUBLISHED = store.published(study.STUDY.chapter)


def failed(content) -> list[str]:
    return [check.name for check in checks.metrics_checks(content) if check.outcome == FAILED]


@pytest.mark.parametrize("record", PUBLISHED, ids=lambda record: record.run_id)
def test_a_published_record_passes(record):
    rows = verify.check(record)
    assert not [str(row) for row in rows if row.outcome == FAILED]
    assert {"card", "specificity", "reader", "utility", "fidelity"} <= {row.name for row in rows}


def add(number, *place):
    def edit(metrics):
        for key in place[:-1]:
            metrics = metrics[key]
        metrics[place[-1]] += number
    return edit


@pytest.mark.parametrize("edit, name", [
    (add(1, "combinations", 0, 1), "images asked for"), (add(1, "obeyed", 1, "with", 1), "images asked for, Smiling"),
    (add(-9_000, "obeyed", 0, "with", 0), "specificity"), (add(-5_000, "obeyed", 3, "with", 0), "specificity"),
    (add(20_000, "combinations", 0, 0), "specificity"),
    (add(1, "counts", 3), "training images counted"), (add(0.5, "utility", 0, "accuracy"), "utility"),
    (add(-1, "reader", 2, "with"), "reader"), (add(1, "ceiling", 0, "without"), "ceiling"),
    (add(-1, "fidelity", "recall"), "fidelity"), (lambda metrics: metrics["obeyed"].pop(), "faces")])
def test_an_edit_is_caught(edit, name):
    content = copy.deepcopy(PUBLISHED[0].content)
    assert failed(content) == []
    edit(content["metrics"])
    assert name in failed(content)


def test_another_card_of_the_data_is_caught():
    content = copy.deepcopy(PUBLISHED[0].content)
    content["card"]["caption"] = "other faces"
    (row,) = (row for row in verify._card(content) if row.name == "card")
    assert row.outcome == FAILED and "other faces" in row.detail
