"""Releases of each declared kind of images: every mechanism is charged before it is computed, fresh, and counted."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from test_release import artefacts, found, private_data, saved
from whole_run import Entropy, Killed, Seen, watch_steps, watch_sums

from dpgan_lib import release
from dpgan_lib.cli import main
from dpgan_lib.config import CRITIC, READER, SUMS, charges, mechanisms
from dpgan_lib.gan import loop
from dpgan_lib.privacy import accounting, budget
from dpgan_lib.records import checks, store, verify
from dpgan_lib.studies import kinds
from dpgan_lib.studies.celeba_specificity import study as faces
from dpgan_lib.studies.mnist_tradeoff import study as digits
from dpgan_lib.warm_start import reader
from dpgan_lib.warm_start.features import NormalisedScattering

DECLARED = {"dataset": "clinic", "records": 1_700, "delta": 1e-5, "epsilon": 10.0, "profile": "smoke"}
KINDS = {"digits": DECLARED | {"kind": "digits", "side": 16, "classes": 10},
         "photos": DECLARED | {"kind": "photos", "side": 24, "classes": 2, "channels": 3}}
# Noise that spends no more than that epsilon: to calibrate it takes half a minute. test_reading checks what does.
NOISES, FACE_NOISES = (1.082, 0.692, 0.67), (1.2, 0.7)
BOTH = ["digits", pytest.param("photos", marks=pytest.mark.full)]
READER_BLOCK, CRITIC_BLOCK = reader.BLOCK, 4
SPENT = accounting.spent


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Less of what costs no privacy, and 12 critic steps."""
    monkeypatch.setattr(digits, "noises_of_three", lambda *given: NOISES)
    monkeypatch.setattr(faces, "_noises", lambda *given: FACE_NOISES)
    monkeypatch.setattr(accounting, "spent", lambda parts, delta: dict.fromkeys(
        ("pld", "rdp", "moments"), accounting.spent_rdp(parts, delta)))  # PLD takes seconds
    monkeypatch.setattr(reader, "ITERATIONS", 5)
    monkeypatch.setitem(digits.SIZES, "smoke", digits.SIZES["smoke"] | dict(fit_steps=1, steps=12, candidates=2))
    monkeypatch.setitem(faces.SIZES, "smoke", faces.SIZES["smoke"] | dict(fit_steps=1, steps=12))
    monkeypatch.setitem(digits.READERS, "smoke", digits.READERS["smoke"] | dict(steps=14, expected_batch=60))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def images_of(kind, count=300):
    """The middle of digits; or noise in three colours, in which no image is like another."""
    if kind == "digits":
        images, labels = private_data()
        return np.ascontiguousarray(images[-count:, 6:-6, 6:-6]), labels[-count:]
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 24, 24, 3), dtype=np.uint8), rng.integers(0, 2, count)


def released(kind, out, *, given=None, replay=None, entropy=None, kill=None, file=None, **changes):
    """A release under watch (see whole_run): the record, and what was seen."""
    declared, seen = KINDS[kind] | changes, Seen()
    parameters = release.Parameters(**declared)
    config = release.plan(parameters)
    work = out / "release" / f".work-{store.content_address(config.to_dict(), release.declared(parameters))}"
    with pytest.MonkeyPatch.context() as patch:
        if entropy is not None:
            patch.setattr("secrets.randbits", Entropy(entropy).source())
        watch_sums(patch, seen, work, replay, False, kill, None)
        watch_steps(patch, loop, "critic_step", seen, work, replay, kill, None)
        watch_steps(patch, reader, "reader_step", seen, work / reader.FOLDER, replay, kill, None)
        with release.reserved(file, out, **declared) as reservation:
            record = release.obtain(parameters, *(given or images_of(kind)), out, reservation=reservation,
                                    progress=False)
    return record, seen


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """One release of each kind, and what was seen of it."""
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = released(kind, tmp_path_factory.mktemp(kind), entropy=0)
        return made[kind]

    return of


# What is charged ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
def test_each_mechanism_is_charged_before_it_is_computed_and_in_its_order(once, kind):
    record, seen = once(kind)
    of = charges(record.config)
    names = {"sums": SUMS, "reader": READER, "critic": CRITIC}
    ahead = {"sums": 1, "reader": READER_BLOCK, "critic": CRITIC_BLOCK}
    assert [(names[part], number) for part, number, _ in seen.ledger] == [
        (part, number + 1) for part in of for number in range(of[part])]
    for part, number, charged in seen.ledger:
        assert number <= charged < number + ahead[part], (part, number)
    assert record.content["steps"] == {part: {"charged": count, "taken": count} for part, count in of.items()}
    assert list(of) == ([SUMS, READER, CRITIC] if kind == "digits" else [SUMS, CRITIC])


@pytest.mark.parametrize("kind", BOTH)
def test_with_a_budget_every_mechanism_is_charged_to_it_alone(tmp_path, kind):
    file = tmp_path / "clinic.budget"
    budget.create(file, population="clinic", epsilon=20.0, delta=1e-5, unit="one image with its label")
    record, seen = released(kind, tmp_path / "out", file=file)
    (only,) = budget.read(file).releases.values()
    assert only.closed and only.charged == only.steps == charges(record.config)
    assert all(number <= charged for _, number, charged in seen.ledger)
    assert not list(tmp_path.rglob("charged"))
    rows = [row for row in map(json.loads, budget.read(file).lines) if row["kind"] == "charge"]
    order = [row["part"] for row in rows]
    assert list(dict.fromkeys(order)) == list(only.steps) and order == sorted(order, key=list(only.steps).index)
    assert [(each.part, each.noise_multiplier, each.sampling_rate, each.steps) for each in only.mechanisms] == [
        (part, *(each[name] for name in ("noise_multiplier", "sampling_rate", "steps")))
        for part, each in mechanisms(record.config)]


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_the_stated_epsilon_is_that_of_all_mechanisms_by_dp_accounting(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(accounting, "spent", SPENT)
    record, seen = released(kind, tmp_path)
    accountant = PLDAccountant()
    counted = {SUMS: len(seen.sums), READER: len(seen.reader), CRITIC: len(seen.critic)}
    for part, each in mechanisms(record.config):
        counted[part] -= each["steps"]
        step = PoissonSampledDpEvent(each["sampling_rate"], GaussianDpEvent(each["noise_multiplier"]))
        accountant.compose(SelfComposedDpEvent(step, each["steps"]))
    assert set(counted.values()) == {0}, "no mechanism ran that is not counted"
    # Two discretisations of the loss, in intervals of 1e-4.
    assert record.epsilon_spent == pytest.approx(accountant.get_epsilon(1e-5), abs=2e-3)
    assert record.epsilon_spent <= 10.0
    assert not [check for check in verify.check(record) if check.outcome == checks.FAILED]


# What leaves ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", BOTH)
def test_given_what_was_released_garbage_in_the_place_of_the_data_leaves_every_artefact_as_it_is(once, tmp_path, kind):
    record, seen = once(kind)
    images, labels = images_of(kind)
    other, _ = released(kind, tmp_path, given=(255 - images[:-9], labels[9:] * 0 - 1), replay=seen, entropy=0)
    one, another = artefacts(record.folder), artefacts(other.folder)
    assert [name for name in one if one[name] != another[name]] == [] and one.keys() == another.keys()


@pytest.mark.parametrize("kind", BOTH)
def test_two_releases_of_the_same_data_differ_in_every_noisy_number(once, tmp_path, kind):
    _, one = once(kind)
    record, other = released(kind, tmp_path)
    pairs = list(zip(one.sums, other.sums, strict=True))
    for mine, yours in (*zip(one.reader, other.reader, strict=True), *zip(one.critic, other.critic, strict=True)):
        pairs += [(mine.gradient[name], yours.gradient[name]) for name in mine.gradient]
    assert len(pairs) > 20
    for mine, yours in pairs:  # on a grid of some 2^-20 of the noise, two numbers may meet by chance
        assert float((mine == yours).double().mean()) <= 1e-3 + (mine.numel() < 1000) / mine.numel()


@pytest.mark.full
def test_nothing_of_a_canary_is_in_what_a_release_leaves(tmp_path):
    record, _ = released("digits", tmp_path, given=private_data(), side=28)
    left = artefacts(tmp_path)
    assert sorted(left) == ["generator.safetensors", "posterior.safetensors", "record.json", "samples.png"]
    assert not found(*private_data(), left.values())


# Killed ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("budgeted", [False, True], ids=["alone", "with a budget"])
def test_a_release_killed_between_charging_and_storing_a_sum_is_refused_with_the_way_out(tmp_path, budgeted):
    file = tmp_path / "clinic.budget" if budgeted else None
    if file:
        budget.create(file, population="clinic", epsilon=20.0, delta=1e-5, unit="one image with its label")
    with pytest.raises(Killed):
        released("digits", tmp_path / "out", kill=("sums", 2), file=file)
    with pytest.raises(RuntimeError, match="a noisy sum was charged and then lost") as refusal:
        released("digits", tmp_path / "out", file=file)
    text = str(refusal.value)
    assert "\n" not in text and ("dpgan budget close" in text) == budgeted and not list(tmp_path.rglob("record.json"))
    if file:
        (name,) = budget.read(file).releases
        assert budget.read(file).releases[name].charged[SUMS] == 2
        assert CliRunner().invoke(main, ["budget", "close", str(file), name]).exit_code == 0
    else:
        work, = (tmp_path / "out" / "release").glob(".work-*")
        assert f"Delete {work}" in text


@pytest.mark.parametrize(("part", "number", "lost"), [
    ("reader", 3, {READER: READER_BLOCK}),
    pytest.param("critic", 5, {CRITIC: 2 * CRITIC_BLOCK}, marks=pytest.mark.full)])
def test_a_killed_release_goes_on_and_says_of_each_part_what_was_lost(tmp_path, part, number, lost):
    with pytest.raises(Killed):
        released("digits", tmp_path, kill=(part, number))
    with pytest.raises(RuntimeError, match=f"of {charges(plan_of('digits'))[next(iter(lost))]} {part} steps are in"):
        released("digits", tmp_path)
    record, seen = released("digits", tmp_path, least_taken=0.1)
    steps = record.content["steps"]
    assert {each: steps[each]["charged"] - steps[each]["taken"] for each in steps} == {
        each: lost.get(each, 0) for each in steps}
    assert not seen.sums, "they were stored"
    assert f"{lost[next(iter(lost))]} of" in release.status(record)
    assert not [check for check in verify._steps(record.content) if check.outcome == checks.FAILED]


def plan_of(kind, **changes):
    return release.plan(release.Parameters(**KINDS[kind] | changes))


@pytest.mark.parametrize("part", [SUMS, READER])
@pytest.mark.parametrize("field", ["charged", "taken"])
def test_a_record_whose_steps_do_not_agree_is_refused_by_verify(once, part, field):
    content = json.loads(json.dumps(once("digits")[0].content))
    content["steps"][part][field] //= 2
    assert [check for check in verify._steps(content) if check.outcome == checks.FAILED]
    del content["steps"][part]
    with pytest.raises(KeyError):
        list(verify._steps(content))


# What each kind takes -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("kind", "change", "says"), [
    ("digits", {"channels": 3}, "channels=3 must be 1, for kind 'digits'"),
    ("digits", {"side": 12}, "side=12 must lie in 16..64"), ("digits", {"side": 68}, "side=68 must lie in 16..64"),
    ("digits", {"classes": 30}, "classes=30 must be 29 or fewer"), ("digits", {"ground": 255}, "invert the images"),
    ("photos", {"channels": 1}, "channels=1 must be 3"),
    ("photos", {"side": 20}, "side=20"), ("photos", {"classes": 3}, "a sum of attributes"),
    ("digits", {"kind": "strokes"}, "kind='strokes' must be one of digits, photos, plain")])
def test_what_a_kind_cannot_take_is_refused_in_one_line_and_plain_takes_it(kind, change, says):
    with pytest.raises(ValueError, match=says) as refusal:
        release.Parameters(**KINDS[kind] | change).check()
    assert "\n" not in str(refusal.value) and "plain" in str(refusal.value)
    release.Parameters(**KINDS[kind] | change | {"kind": "plain"}).check()


@pytest.mark.parametrize("side", [[], ["--side", "68"]], ids=["an .npz of grey squares", "with a side"])
def test_it_is_refused_before_data_is_opened(tmp_path, side):
    words = ["release", str(tmp_path / "absent.npz"), "--name", "x", "--records", "1700", "--classes",
             "10" if side else "30", "--epsilon", "10", "--delta", "1e-5", "--profile", "smoke", *side]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2 and "for kind 'digits'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
def test_the_limits_are_those_of_the_code_that_they_speak_of(profile):
    """What would break beyond them."""
    scattering = NormalisedScattering(side=kinds.LEAST_DIGITS, channels=1)
    assert scattering.outputs >= digits.READERS[profile]["directions"]
    assert max(faces.SIZES[profile]["luma"], faces.SIZES[profile]["chroma"]) <= kinds.LEAST_PHOTOS
    assert faces.SIZES[profile]["components"] > 2


@pytest.mark.full
@pytest.mark.parametrize(("kind", "side"), [("digits", 32), ("photos", 32)])
def test_other_sides_within_the_limits_are_trained(tmp_path, kind, side):
    images, labels = images_of(kind)
    images = np.pad(images, [(0, 0), *[(0, side - images.shape[1])] * 2, *[(0, 0)] * (images.ndim - 3)])
    record, _ = released(kind, tmp_path, given=(images, labels), side=side)
    assert record.config.model.image_side == side


def test_a_release_of_grey_images_is_of_digits_and_one_of_colours_plain_unless_told(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(release, "obtain", lambda parameters, *given, **how: asked.append(parameters.kind))
    for more in ([], ["--channels", "3"], ["--kind", "plain"], ["--kind", "photos", "--channels", "3"]):
        path = saved(tmp_path / "x.npz", np.zeros((4, 28, 28) + (3,) * ("3" in more), np.uint8), np.zeros(4, int))
        words = ["release", str(path), "--name", "x", "--records", "1700", "--classes", "2", "--side", "28",
                 "--epsilon", "10", "--delta", "1e-5", "--profile", "smoke", *more]
        assert CliRunner().invoke(main, words).exit_code == 75
    assert asked == ["digits", "plain", "plain", "photos"]


# The same method as the study's ---------------------------------------------------------------------------------------

def test_a_release_of_digits_is_planned_as_the_studys_run_but_for_what_is_declared():
    study = digits.run_with_reader(digits.ReadParameters(dataset="digits", profile="smoke", epsilon=10.0))
    records = study.privacy.records
    mine = plan_of("digits", dataset="digits", records=records, side=28)
    assert replace(mine, seed=0) == study and mine.is_release


@pytest.mark.full
def test_each_set_of_images_is_measured_on_public_images(tmp_path, monkeypatch):
    monkeypatch.setattr(release.utility, "of_images", lambda images, labels, test, recipe, rng, pair_cnns: {
        "ten_cnn": float(len(images)), "read": bool((labels != np.arange(len(labels)) % 10).any())})
    images, labels = images_of("digits", 60)
    monkeypatch.setitem(digits.SIZES, "smoke", digits.SIZES["smoke"] | dict(images=300))
    parameters = release.Parameters(**KINDS["digits"])
    record = release.obtain(parameters, *images_of("digits"), tmp_path, public_test=(images, labels % 10),
                            progress=False)
    found = record.metrics["public_test"]
    assert list(found) == sorted(["plain", "faithful", "wide"]) and found["wide"]["read"]
    assert not found["plain"]["read"] and {each["ten_cnn"] for each in found.values()} == {300.0}
    assert "on the public test images: " in release.status(record)
