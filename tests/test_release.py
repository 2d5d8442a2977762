"""Release mode: nothing computed from private data leaves but the generator, and no step is taken uncharged."""

import base64
import hashlib
import io
import json
import secrets
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from recording import Recording, watch_critic_steps

from dpgan_lib import data, profiles, release
from dpgan_lib.cli import main
from dpgan_lib.gan import loop, steps
from dpgan_lib.gan.state import new_state
from dpgan_lib.privacy import ledger, streams
from dpgan_lib.records import checks, store, verify

DECLARED = {"dataset": "clinic", "kind": "plain", "records": 1_500, "side": 28, "classes": 10, "delta": 1e-5,
            "epsilon": 3.0, "profile": "smoke"}
SHORT = 12  # critic steps
CANARY = np.random.default_rng(7).integers(0, 256, (28, 28), dtype=np.uint8)  # no image looks like it
CANARY_LABEL = 4_242


@pytest.fixture
def short(monkeypatch):
    """The smoke profile with fewer steps."""
    profile = replace(profiles.PROFILES["smoke"], steps=SHORT)
    monkeypatch.setitem(profiles.PROFILES, "smoke", profile)


def private_data(count=1_437):
    """Digits, with a canary in their midst. Their number is not the declared one."""
    files = data.load("digits", progress=False)
    images = np.rint((files.train_images[:count, 0] + 1) * 127.5).astype(np.uint8)
    labels = files.train_labels[:count].copy()
    images[count // 2], labels[count // 2] = CANARY, CANARY_LABEL
    return images, labels


def saved(path: Path, images, labels) -> Path:
    np.savez(path, images=images, labels=labels)
    return path


def arguments(path, out):
    return ["release", str(path), "--name", "clinic", "--kind", "plain", "--records", "1500", "--classes", "10",
            "--epsilon", "3", "--delta", "1e-5", "--profile", "smoke", "--out", str(out)]


def artefacts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# What leaves ----------------------------------------------------------------------------------------------------------

def traces(images, labels) -> list[bytes]:
    """What data or one record of it would look like in a file: as it is, as text, as a digest, as a number."""
    raw = [CANARY.tobytes()[:16], (CANARY.astype(np.float32) / 127.5 - 1).tobytes()[:32]]
    whole = [CANARY.tobytes(), images.tobytes(), labels.tobytes(), (images.astype(np.float32) / 127.5 - 1).tobytes()]
    digests = [hashlib.new(name, each).hexdigest().encode()[:16] for name in ("md5", "sha1", "sha256")
               for each in whole]
    # Its words have 3 bytes.
    shifted = [base64.b64encode(each[start : start + 12]) for each in raw for start in range(3)]
    texts = [form for each in raw for form in (each, each.hex().encode())]
    numbers = [f" {CANARY_LABEL}", f" {len(images)}", ", ".join(map(str, CANARY.ravel()[:4]))]
    return texts + shifted + digests + [number.encode() for number in numbers]


def found(images, labels, texts) -> list[bytes]:
    return [trace for trace in traces(images, labels) for text in texts if trace in text]


def test_a_canary_appears_in_no_artefact_and_no_line_of_the_command(short, tmp_path):
    images, labels = private_data()
    done = CliRunner().invoke(main, arguments(saved(tmp_path / "secret.npz", images, labels), tmp_path / "out"))
    assert done.exit_code == 0, done.output
    left = artefacts(tmp_path / "out")
    assert sorted(left) == ["generator.safetensors", "record.json", "samples.png"]
    assert not found(images, labels, [*left.values(), done.output.encode()])
    assert b"secret" not in left["record.json"] + done.output.encode()


@pytest.mark.parametrize("leak", [
    lambda images, labels: hashlib.sha256(images.tobytes()).hexdigest(), lambda images, labels: len(images),
    lambda images, labels: int(labels.max()), lambda images, labels: base64.b64encode(images.tobytes()).decode()])
def test_a_record_that_tells_of_the_data_would_be_caught(short, tmp_path, leak):
    images, labels = private_data()
    parameters = release.Parameters(**DECLARED)
    text = json.dumps(release.declared(parameters) | {"noted": leak(images, labels)}).encode()
    assert found(images, labels, [text])


def released(images, labels, out, replay=None):
    """A release with the entropy of a known generator, and its recording."""
    run = Recording()
    entropy = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "randbits", lambda bits: int.from_bytes(entropy.bytes(bits // 8), "big"))
        patch.setattr(torch.cuda, "is_available", lambda: False)
        watch_critic_steps(patch, run, replay)
        record = release.obtain(release.Parameters(**DECLARED), images, labels, out, progress=False)
    return record, run


def test_given_the_same_critics_garbage_in_the_place_of_the_data_leaves_every_artefact_as_it_is(short, tmp_path):
    images, labels = private_data()
    _, run = released(images, labels, tmp_path / "one")
    released(255 - images[:-9], labels[9:] * 0 - 1, tmp_path / "other", replay=run)
    one, other = artefacts(tmp_path / "one"), artefacts(tmp_path / "other")
    assert [name for name in one if one[name] != other[name]] == [] and one.keys() == other.keys()


def test_a_record_holds_what_was_declared_and_nothing_that_was_found(short, tmp_path):
    record, _ = released(*private_data(), tmp_path)
    content = record.content
    assert content["mode"] == "release" and content["config"]["seed"] is None
    assert content["seconds"] == {} and content["metrics"] == {} and "history" not in content
    assert len(content["created"]) == len("2025-01-31")
    assert content["card"] == release.declared(release.Parameters(**DECLARED))
    assert record.epsilon_spent <= 3.0
    assert not [check for check in verify.check(record) if check.outcome == checks.FAILED]


# Randomness -----------------------------------------------------------------------------------------------------------

def test_two_releases_share_no_number(short):
    config = release.plan(release.Parameters(**DECLARED))
    one, other = (new_state(config, torch.device("cpu")) for _ in range(2))
    assert not any(torch.equal(mine, yours)
                   for mine, yours in zip(one.generator.parameters(), other.generator.parameters())
                   if mine.dim() > 1)
    assert all(torch.equal(mine, kept) for mine, kept in zip(one.generator.parameters(), one.average.parameters()))
    drawn = [streams.stream(config.randomness, "noise", 3).standard_normal(4).tolist() for _ in range(3)]
    assert len({tuple(numbers) for numbers in drawn}) == 3


def test_no_random_state_is_written(short, tmp_path):
    images, labels = private_data()
    config = release.plan(release.Parameters(**DECLARED))
    keys, fresh = [], secrets.randbits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "randbits", lambda bits: keys.append(fresh(bits)) or keys[-1])
        loop.train(config, release.scaled(images), labels, tmp_path)
    left = b"".join(artefacts(tmp_path).values())
    assert len(keys) > 2 * SHORT and len(set(keys)) == len(keys)
    assert not any(form in left for key in keys for form in (key.to_bytes(32, "big"), key.to_bytes(32, "little"),
                                                             str(key).encode(), f"{key:x}".encode()))


# The budget -----------------------------------------------------------------------------------------------------------

class Killed(BaseException):
    pass


def ledger_at_kill(kill_at, config) -> int:
    """Steps charged when step kill_at is being computed: whole blocks."""
    block = config.optimiser.critic_steps
    return min(-(-kill_at // block) * block, SHORT)


@pytest.mark.parametrize("kill_at", [1, 5, SHORT])
def test_a_killed_release_takes_no_step_twice(short, tmp_path, monkeypatch, kill_at):
    """Before the kill and after it: T steps at most, charged before they were computed."""
    images, labels = private_data()
    parameters = release.Parameters(**DECLARED)
    config, pixels = release.plan(parameters), release.scaled(images)
    taken, step = [], steps.critic_step

    def counted(*given):
        taken.append(None)
        assert len(taken) <= ledger.charged(tmp_path)
        if len(taken) == kill_at:
            raise Killed
        step(*given)

    monkeypatch.setattr(loop, "critic_step", counted)
    with pytest.raises(Killed):
        loop.train(config, pixels, labels, tmp_path)
    state = loop.train(config, pixels, labels, tmp_path)
    assert state.step == SHORT and kill_at <= len(taken) <= SHORT
    after = SHORT - ledger_at_kill(kill_at, config)
    assert state.taken == after, "the weights began anew, behind the block that was charged when the kill came"


def dying(monkeypatch, at: int):
    """The critic step of that number, from 1, is killed, once."""
    taken, step = [], steps.critic_step

    def counted(*given):
        taken.append(None)
        if len(taken) == at:
            raise Killed
        step(*given)

    monkeypatch.setattr(loop, "critic_step", counted)


@pytest.mark.parametrize("field, value, says", [
    ("taken", 5, "critic steps taken: 5, and at least"), ("charged", 11, "critic steps charged"),
    ("taken", SHORT + 1, f"critic steps taken: {SHORT + 1}, and at least")])
def test_a_release_whose_steps_do_not_agree_is_refused_by_verify(release_record, field, value, says):
    content = json.loads(json.dumps(release_record.content))
    content["steps"]["critic steps"][field] = value
    failed = [check for check in verify.check(store.Record(release_record.folder, content))
              if check.outcome == checks.FAILED]
    assert any(says in str(check) for check in failed)


@pytest.fixture(scope="module")
def release_record(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(profiles.PROFILES, "smoke", replace(profiles.PROFILES["smoke"], steps=SHORT))
        return released(*private_data(), tmp_path_factory.mktemp("released"))[0]


def test_what_crashes_lost_is_charged_said_and_not_released_below_the_declared_share(short, tmp_path, monkeypatch):
    given, parameters = private_data(), release.Parameters(**DECLARED)
    dying(monkeypatch, at=5)
    with pytest.raises(Killed):
        release.obtain(parameters, *given, tmp_path, progress=False)
    lost = ledger_at_kill(5, release.plan(parameters))
    says = f"^{SHORT - lost} of {SHORT} critic steps .* not released below 0.9"
    with pytest.raises(RuntimeError, match=says) as refusal:
        release.obtain(parameters, *given, tmp_path, progress=False)
    assert "\n" not in str(refusal.value) and not list(tmp_path.rglob("record.json"))
    record = release.obtain(replace(parameters, least_taken=0.1), *given, tmp_path, progress=False)
    assert record.content["steps"] == {"critic steps": {"charged": SHORT, "taken": SHORT - lost}}
    assert release.status(record) == f"released; {lost} of {SHORT} critic steps were charged and lost"


def test_a_release_that_crashes_before_its_first_step_loses_no_more_than_one_block(short, tmp_path, monkeypatch):
    given, parameters = private_data(), release.Parameters(**DECLARED)
    block = release.plan(parameters).optimiser.critic_steps
    with pytest.raises(ValueError, match="labels are float64"):
        release.obtain(parameters, given[0], given[1] / 2, tmp_path, progress=False)
    assert not list(tmp_path.rglob("charged"))
    dying(monkeypatch, at=1)
    with pytest.raises(Killed):
        release.obtain(parameters, *given, tmp_path, progress=False)
    charged, = tmp_path.rglob("charged")
    assert charged.read_text() == str(block)


@pytest.mark.parametrize("text", ["", "1_2", "-4", "4\n5"])
def test_a_damaged_ledger_is_named_and_the_whole_budget_is_spent(short, tmp_path, text):
    given, parameters = private_data(), release.Parameters(**DECLARED)
    release.obtain(parameters, *given, tmp_path, max_minutes=1e-9, progress=False)
    charged, = tmp_path.rglob("charged")
    charged.write_text(text)
    with pytest.raises(ValueError, match="take the whole epsilon for spent") as refusal:
        release.obtain(parameters, *given, tmp_path, progress=False)
    assert str(charged) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_checkpoint_is_named(short, tmp_path, share):
    given, parameters = private_data(), release.Parameters(**DECLARED)
    release.obtain(parameters, *given, tmp_path, max_minutes=1e-9, progress=False)
    checkpoint, = tmp_path.rglob("checkpoint.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[: int(share * checkpoint.stat().st_size)])
    with pytest.raises(ValueError, match="is cut, or no checkpoint") as refusal:
        release.obtain(parameters, *given, tmp_path, progress=False)
    assert str(checkpoint) in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_release_that_was_stopped_in_time_loses_nothing(short, tmp_path, monkeypatch):
    images, labels = private_data()
    parameters = release.Parameters(**DECLARED)
    taken, step = [], steps.critic_step
    monkeypatch.setattr(loop, "critic_step", lambda *given: taken.append(None) or step(*given))
    assert release.obtain(parameters, images, labels, tmp_path, max_minutes=1e-9, progress=False) is None
    record = release.obtain(parameters, images, labels, tmp_path, progress=False)
    assert len(taken) == SHORT and record.folder.is_dir() and not list(tmp_path.glob("*/.work*"))


def test_of_two_calls_at_once_one_releases_and_the_other_is_refused(short, tmp_path, monkeypatch):
    """The second begins while the first trains; it waits, and then finds what was released."""
    given, parameters = private_data(), release.Parameters(**DECLARED)
    begun, taken, step, outcomes = threading.Event(), [], steps.critic_step, []

    def slow(*args):
        begun.set()
        taken.append(None)
        step(*args)

    def call():
        try:
            outcomes.append(release.obtain(parameters, *given, tmp_path, progress=False).run_id)
        except ValueError as refusal:
            outcomes.append(str(refusal))

    monkeypatch.setattr(loop, "critic_step", slow)
    first, second = threading.Thread(target=call), threading.Thread(target=call)
    first.start()
    assert begun.wait(60)
    second.start()
    first.join()
    second.join()
    assert len(taken) == SHORT and "spends epsilon 3 once more" in outcomes[1], outcomes
    assert [path.name for path in (tmp_path / "release").iterdir()] == [outcomes[0]]


def test_the_same_release_twice_is_refused(short, tmp_path):
    released(*private_data(), tmp_path)
    with pytest.raises(ValueError, match="spends epsilon 3 once more"):
        released(*private_data(), tmp_path)


# What is refused ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("change, says", [
    ({"seed": 1}, "seed=1 is refused"), ({"epsilon": "inf"}, "must be finite"),
    ({"records": 100}, "expected batch of 128"),
    ({"side": 30}, "multiple of 4"),
    ({"least_taken": 0.0}, r"\(0, 1\]"), ({"delta": 1e-3}, r"\(0, 1/N\) with N = 1500"), ({"classes": 1}, "2 or more")])
def test_a_wrong_declaration_is_refused_in_one_line(change, says):
    with pytest.raises(ValueError, match=says) as refusal:
        release.plan(release.Parameters(**DECLARED | change))
    assert "\n" not in str(refusal.value)


def test_images_of_another_kind_are_refused(short, tmp_path):
    images, labels = private_data()
    with pytest.raises(ValueError, match=r"float32, 3-dimensional, and must be uint8 of shape \(n, 28, 28\)"):
        release.obtain(release.Parameters(**DECLARED), images.astype(np.float32), labels, tmp_path, progress=False)


IMAGES, LABELS = np.zeros((60, 28, 28), np.uint8), np.arange(60) % 10


@pytest.mark.parametrize("labels", [
    LABELS[:, None], LABELS[None], np.int64(3), np.eye(10)[LABELS], np.eye(10, dtype=int)[LABELS], LABELS.astype(str),
    LABELS.astype("S"), LABELS.astype(float), LABELS.astype(complex), LABELS > 4, LABELS.astype("datetime64[D]"),
    np.array([(label,) for label in LABELS], dtype=[("y", "i4")]), LABELS.astype(object), LABELS[:-1]],
    ids=["(n, 1)", "(1, n)", "a scalar", "one-hot", "one-hot integers", "strings", "bytes", "floats", "complex", "bool",
         "dates", "structured", "objects", "one fewer"])
def test_labels_of_another_kind_are_refused_before_anything_is_charged(tmp_path, labels):
    path = saved(tmp_path / "x.npz", IMAGES, labels)
    done = CliRunner().invoke(main, arguments(path, tmp_path / "out"))
    assert done.exit_code == 2 and str(path) in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists() and not any(str(count) in done.stderr.replace(str(path), "")
                                                       for count in (len(IMAGES), len(IMAGES) - 1))


def test_no_number_from_inside_a_file_is_in_a_message(tmp_path, monkeypatch):
    """Images that lie the wrong way round, words as labels, and a file that is larger than memory."""
    def too_large(*_, **__):
        raise np._core._exceptions._ArrayMemoryError((7331, 28, 28), np.dtype(np.uint8))

    for images, labels in ((np.zeros((28, 28, 7331), np.uint8), np.zeros(7331, int)), (IMAGES, ["x" * 7331] * 60)):
        with pytest.raises(ValueError) as refusal:
            release.read_arrays(saved(tmp_path / "x.npz", images, np.asarray(labels)))
        assert "7331" not in str(refusal.value).replace(str(tmp_path), "")
    monkeypatch.setattr(np, "load", too_large)
    with pytest.raises(ValueError, match="does not fit into memory") as refusal:
        release.read_arrays(saved(tmp_path / "x.npz", IMAGES, LABELS))
    assert "7331" not in str(refusal.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64, ">i4", np.int16])
def test_integers_of_any_width_are_labels(tmp_path, dtype):
    assert (release.read_arrays(saved(tmp_path / "x.npz", IMAGES, LABELS.astype(dtype)))[1] == LABELS).all()


@pytest.mark.parametrize("images", [
    IMAGES[..., None].repeat(3, -1), IMAGES[:, None], IMAGES[:, :, :20], IMAGES[0], IMAGES / 255, IMAGES > 0,
    IMAGES.astype(np.uint16)], ids=["RGB", "channels first", "not square", "one image", "floats", "bool", "16 bits"])
def test_images_of_another_kind_are_said_to_be_so(tmp_path, images):
    done = CliRunner().invoke(main, arguments(saved(tmp_path / "x.npz", images, LABELS), tmp_path / "out"))
    assert done.exit_code == 2 and "images are" in done.stderr and "must be uint8 of shape (n, " in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("labels, says", [
    (LABELS + 1, r"public test labels=\[10\] must lie in 0..9"),
    (LABELS[:1], r"public test labels=\[0\] must be of two"),
    (LABELS[:0], r"public test labels=\[\] must be of two")])
def test_public_labels_are_checked_by_value_too(short, tmp_path, labels, says):
    with pytest.raises(ValueError, match=says):
        release.obtain(release.Parameters(**DECLARED), *private_data(), tmp_path,
                       public_test=(IMAGES[: len(labels)], labels))
    assert not list(tmp_path.rglob("charged"))


def test_a_private_label_outside_the_classes_counts_as_none():
    """What a value may change: its record's score is 0. Nothing is said, for that would tell of the data."""
    config = release.plan(release.Parameters(**DECLARED))
    categories = loop.on_device(config, release.scaled(IMAGES[:3]), np.array([3, 77, -1])).categories
    assert categories.sum(1).tolist() == [1, 0, 0]


def archive(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


WHOLE = archive(images=IMAGES, labels=LABELS)


@pytest.mark.parametrize("content", [
    *(WHOLE[: len(WHOLE) * cut // 10] for cut in range(10)), archive(images=IMAGES), archive(x=IMAGES, y=LABELS),
    b"not a zip file", b"PK\x03\x04" + bytes(100), archive(images=IMAGES, labels=LABELS.astype(object)),
    *(WHOLE[:place] + bytes(20) + WHOLE[place + 20 :] for place in (0, 30, len(WHOLE) - 60))])
def test_a_cut_or_foreign_file_is_named_in_one_line_and_nothing_is_written(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    done = CliRunner().invoke(main, arguments(path, tmp_path / "out"))
    assert done.exit_code == 2 and str(path) in done.stderr and "np.savez" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "out").exists()


def test_an_array_without_a_name_and_an_absent_file_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    for name in ("x.npy", "absent.npz"):
        with pytest.raises(ValueError, match=f"{name}.*np.savez"):
            release.read_arrays(tmp_path / name)


@pytest.mark.full
def test_accuracies_on_a_public_test_set_are_named_as_such(short, tmp_path):
    files = data.load("digits", progress=False)
    test = np.rint((files.test_images[:, 0] + 1) * 127.5).astype(np.uint8), files.test_labels
    record = release.obtain(release.Parameters(**DECLARED), *private_data(), tmp_path, public_test=test, progress=False)
    assert list(record.metrics) == ["public_test"] and list(record.metrics["public_test"]) == ["plain"]
    assert 0 <= record.metrics["public_test"]["plain"]["ten_cnn"] <= 1
    assert store.read(record.folder).content == record.content


# While the data is in memory ------------------------------------------------------------------------------------------

def test_while_it_trains_no_core_file_is_written_and_its_folder_is_the_owners(tmp_path, short, monkeypatch):
    resource, seen = pytest.importorskip("resource"), []
    block = loop.train_block

    def watched(*given):
        (work,) = (tmp_path / "release").glob(".work-*")
        seen.append((resource.getrlimit(resource.RLIMIT_CORE)[0], work.stat().st_mode & 0o777))
        block(*given)

    monkeypatch.setattr(loop, "train_block", watched)
    assert release.obtain(release.Parameters(**DECLARED), *private_data(), tmp_path, progress=False)
    assert set(seen) == {(0, 0o700)}


def test_an_error_from_below_does_not_say_how_many_records_were_drawn(tmp_path, short, monkeypatch):
    """torch names shapes, and the first of them is the size of a batch."""
    monkeypatch.setattr(loop, "critic_step", lambda critic, optimiser, real, *_: real[0].flatten(1) @ real[0][:1, 0, 0])
    images, labels = private_data()
    result = CliRunner().invoke(main, arguments(saved(tmp_path / "clinic.npz", images, labels), tmp_path / "out"))
    assert result.exit_code == 1 and "RuntimeError at" in result.output and "is not shown" in result.output
    assert "mat1 and mat2" not in result.output and "Traceback" not in result.output
