"""The promise in floating point: a record's part of a sum is its own, and the last bits of a release tell nothing."""

import math
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from test_mechanism import OneScore
from torch import nn
from torch.nn import functional as F

from dpgan_lib import profiles, release
from dpgan_lib.config import FaceModelConfig, PrototypeConfig
from dpgan_lib.data import files
from dpgan_lib.gan import networks
from dpgan_lib.privacy import clipping, exact, ledger, mechanism
from dpgan_lib.privacy.clipping import check_separable, clipped_sum
from dpgan_lib.privacy.exact import blocks, full_float32
from dpgan_lib.privacy.mechanism import noisy_mean, noisy_sum
from dpgan_lib.warm_start import embedding, face_model, prototypes
from dpgan_lib.warm_start.deformations import PARAMETERS, candidates
from dpgan_lib.warm_start.features import Features, NormalisedScattering
from dpgan_lib.warm_start.prototypes import Prototypes, deformed_prototypes, match, style_sums
from dpgan_lib.warm_start.reader import WhitenedFeatures

CLASSES, RECORDS, BLOCK = 3, 60, 16
COUNTS = (1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 33, 59, 60)  # that share a block, and more than fill one
RARE = 1e-6
SETTINGS = PrototypeConfig(rounds=2, candidates=8, level=0.35)
FACES = FaceModelConfig(luma=5, chroma=3, components=4, level=0.6, attribute_weight=0.5)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(exact, "BLOCK", BLOCK)


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def guess():
    """Two smooth styles for each class."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(CLASSES * 2, 1, 7, 7, generator=rng)
    images = F.interpolate(coarse, size=(28, 28), mode="bilinear").view(CLASSES, 2, 1, 28, 28)
    return Prototypes(images, torch.full((CLASSES, 2), 100.0), torch.zeros(CLASSES, PARAMETERS),
                      torch.ones(CLASSES, PARAMETERS))


def near_ties(count):
    """uint8 images (count, 784), of which each resembles the two styles of class 0 as equally as we could make it."""
    rng = np.random.default_rng(0)
    one, other = guess().images[0].flatten(1).double().numpy()
    slope = 2 * (other - one) / 255  # of the difference of the squared distances, for a grey level more
    levels = np.rint(255 * (one + other) / 2 + rng.uniform(-20, 20, (count, 784))).clip(0, 254)
    for _ in range(40):
        difference = (one**2 - other**2).sum() + levels @ slope
        steps = np.abs(difference[:, None] + slope)
        best = steps.argmin(1)
        better = (steps[np.arange(count), best] < np.abs(difference)) & (levels[np.arange(count), best] < 255)
        levels[np.arange(count)[better], best[better]] += 1
    return levels.astype(np.uint8)


def digits():
    """Records of all classes, most of them near ties; images (RECORDS, 1, 28, 28) in [-1, 1] and one-hot labels."""
    images = torch.from_numpy(near_ties(RECORDS).reshape(-1, 1, 28, 28).astype(np.float32) / 127.5 - 1)
    return images, F.one_hot((torch.arange(RECORDS) % 5 - 2).clamp(min=0), CLASSES).float()


def faces():
    rng = torch.Generator().manual_seed(0)
    return torch.rand(RECORDS, 3, 16, 16, generator=rng) * 2 - 1, F.one_hot(torch.arange(RECORDS) % 4, 4).float()


# A record alone, and in company


SUMS = {"embedding": (lambda *records: embedding.class_sums(PHI, *records), digits),
        "prototypes, first round": (lambda *records: style_sums(None, *records, SETTINGS), digits),
        "prototypes, later round": (lambda *records: style_sums(guess(), *records, SETTINGS), digits),
        "faces": (lambda *records: face_model.second_moments(*records, 2, FACES), faces)}
PHI = Features(side=28, channels=1, frequencies=30)


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_is_bit_for_bit_the_sum_of_what_each_record_gives_alone(name, threads):
    of, records = SUMS[name][0], SUMS[name][1]()
    alone = [of(*(part[i : i + 1] for part in records)) for i in range(RECORDS)]
    for count in COUNTS:
        assert torch.equal(of(*(part[:count] for part in records)), sum(alone[:count])), count
    for seed in range(3):
        shuffled = torch.randperm(RECORDS, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(of(*(part[shuffled] for part in records)), sum(alone))


@pytest.mark.full
@pytest.mark.parametrize("name", SUMS)
def test_one_thread_and_two_give_the_same_bits(name):
    of, records, before = SUMS[name][0], SUMS[name][1](), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = of(*records)
        torch.set_num_threads(2)
        assert torch.equal(of(*records), one)
    finally:
        torch.set_num_threads(before)


def test_a_near_tie_has_one_style_whoever_shares_its_chunk(threads):
    """Thousands of uint8 images near the bisector of two styles, alone and in chunks of 1 to 60."""
    pixels = torch.from_numpy(near_ties(4000)).float() / 255
    maps = candidates(1)
    templates = deformed_prototypes(guess(), 0, maps)
    together = torch.stack(match(templates, pixels, len(maps)))
    for size in (1, 2, 3, 4, 5, 16, 17, 60):
        chunks = torch.cat([torch.stack(match(templates, part, len(maps))) for part in pixels.split(size)], 1)
        assert torch.equal(chunks, together), size
    assert 0.2 < together[0].float().mean() < 0.8  # both styles are found: they are near ties indeed


def test_three_copies_and_a_fourth_move_the_sum_by_at_most_1():
    for image in near_ties(20).reshape(-1, 1, 28, 28):
        images = torch.from_numpy(image.astype(np.float32) / 127.5 - 1).expand(4, -1, -1, -1)
        categories = F.one_hot(torch.zeros(4, dtype=torch.long), CLASSES).float()
        moved = style_sums(guess(), images, categories, SETTINGS) - style_sums(guess(), images[:3], categories[:3],
                                                                              SETTINGS)
        assert moved.norm() <= 1


def test_the_readers_features_are_the_same_in_any_company(threads):
    scattering = NormalisedScattering(side=28, channels=1)
    features = WhitenedFeatures(SimpleNamespace(directions=20), scattering)
    features.whitening = torch.randn(scattering.outputs, 20, generator=torch.Generator().manual_seed(0))
    images = digits()[0]
    alone = torch.cat([features(images[i : i + 1]) for i in range(RECORDS)])
    for count in (0, *COUNTS):
        assert torch.equal(features(images[:count]), alone[:count]), count
    assert torch.equal(features(images.flip(0)), alone.flip(0))
    assert torch.equal(features(images.repeat(3, 1, 1, 1)), alone.repeat(3, 1))  # in several blocks


@pytest.mark.parametrize("block", [BLOCK, 500])
def test_a_row_is_the_same_at_every_place_of_a_block(threads, block, monkeypatch):
    monkeypatch.setattr(exact, "BLOCK", block)
    image = digits()[0][:1]
    others = torch.rand(block, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = []
    for place in {*range(0, block, max(1, block // 10)), *range(block - 4, block)}:
        others[place] = image
        ((part,), _), = blocks(others)
        rows.append(PHI(part)[place])
    assert all(torch.equal(row, rows[0]) for row in rows)


def test_bytes_come_back_as_they_were():
    """In [-1, 1] and back to 255ths: matching loses nothing of an image of bytes."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    for scaled in (files._scaled(levels), release.scaled(levels)):
        pixels = (torch.from_numpy(scaled).clamp(-1, 1) + 1) / 2
        assert torch.equal((pixels.flatten().double() * prototypes.LEVELS).round(), torch.arange(256).double())


@pytest.mark.parametrize("labels", [[1, 1e-30, 0], [1, 1, 0], [0, 0, 0], [2, 0, 0], [1, math.nan, 0], [1, -1e-9, 0]])
def test_what_is_not_one_hot_is_of_no_class(labels):
    assert not exact.one_hot(torch.tensor([labels])).any()


# The private steps


def critic_and_batch(batch):
    """Of the laptop's critic: random records whose gradients point the same way, which rounds worst."""
    profile, rng = profiles.PROFILES["laptop"], np.random.default_rng(0)
    _, critic, _ = networks.build_networks(profile.latent, profile.model, rng)
    shared = rng.uniform(-1, 1, (1, 1, 28, 28))
    images = (0.9 * shared + 0.1 * rng.uniform(-1, 1, (batch, 1, 28, 28))).astype(np.float32)
    return critic, (torch.from_numpy(images), F.one_hot(torch.arange(batch) % 2, 10).float())


def flat(gradients):
    return torch.cat([gradient.double().flatten() for gradient in gradients.values()])


@pytest.mark.parametrize("batch", [1, 17, 257, 600])
@pytest.mark.parametrize("clip_norm", [1e-3, 0.5])
def test_a_record_moves_a_batchs_sum_by_at_most_the_clip_norm(batch, clip_norm, threads):
    """And the others' part of the move, which is rounding alone, is below batch * 2^-23 C: it adds up in no direction.
    """
    critic, inputs = critic_and_batch(batch)
    for row in {0, batch // 2, batch - 1}:
        rest = torch.arange(batch) != row
        moved = flat(clipped_sum(critic, inputs, clip_norm)) - flat(
            clipped_sum(critic, tuple(part[rest] for part in inputs), clip_norm))
        alone = flat(clipped_sum(critic, tuple(part[~rest] for part in inputs), clip_norm))
        assert moved.norm() <= clip_norm and alone.norm() <= clip_norm
        assert (moved - alone).norm() <= batch * 2.0**-23 * clip_norm


def test_a_gradients_norm_is_the_same_whoever_shares_the_batch(threads):
    critic, inputs = critic_and_batch(300)

    def norms(count):
        found = []
        for rows, is_there in clipping._passes(tuple(part[:count] for part in inputs), clipping.PASS["cpu"]):
            layers, activations, gradients = clipping.tape(critic, rows)
            squares = sum(clipping._factors(*each)[0] for each in zip(layers.values(), activations, gradients))
            found.append(squares[is_there].detach())
        return torch.cat(found)

    whole = norms(300)
    for count in (1, 2, 3, 4, 5, 15, 16, 17, 60, 255, 256, 257):
        assert torch.equal(norms(count), whole[:count]), count


@pytest.mark.parametrize("breaks", [False, True])
def test_clipping_is_done_in_float32_and_settings_come_back(breaks):
    kinds = torch.backends.cudnn.conv, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [kind.fp32_precision for kind in kinds]
    seen = []

    def spy(model, inputs, clip_norm):
        seen.extend(kind.fp32_precision for kind in kinds)
        if breaks:
            raise RuntimeError
        return {}

    assert "tf32" in before  # cuDNN's default, or this test would show nothing
    try:
        noisy_mean(nn.Linear(2, 1), (torch.zeros(1, 2),), clip_norm=1.0, noise_multiplier=1.0, expected_batch=1,
                   rng=np.random.default_rng(0), sum_of=spy)
    except RuntimeError:
        assert breaks
    assert seen == ["ieee"] * 3 and [kind.fp32_precision for kind in kinds] == before
    with full_float32():
        pass
    assert torch.backends.cudnn.allow_tf32  # the old way of asking still works


class InPlace(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.first, self.last, self.change = nn.Conv2d(2, 3, 3), nn.Linear(300, 1), change

    def forward(self, images):
        return self.last(self.change(self.first(images)).flatten(1)).squeeze(1)


def test_a_model_that_changes_a_layers_output_in_place_is_refused():
    images = torch.randn(5, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    for change in (nn.ReLU(inplace=True), torch.relu_, lambda x: x.mul_(2)):
        with pytest.raises(ValueError, match="changed in place"):
            check_separable(InPlace(change), images)
    check_separable(InPlace(nn.ReLU()), images)
    layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.LeakyReLU(0.2, inplace=True), nn.Flatten(), nn.Linear(300, 1))
    with pytest.raises(ValueError, match="changed in place"):
        clipped_sum(OneScore(layers), (images,), 1.0)


# The last bits of a release


def is_a_product(values, spread):
    """Which values are spread * n for some float64 n."""
    near = values / spread
    return np.any([spread * n == values for n in (near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf))], 0)


def looks(add_noise, sums, spread):
    """In 200 releases, how many entries no noise alone could have."""
    return np.array([np.sum(~is_a_product(add_noise(sums, spread, np.random.default_rng(seed)).numpy(), spread))
                     for seed in range(200)])


def unrounded(sums, spread, rng):
    return sums + spread * torch.from_numpy(rng.standard_normal(tuple(sums.shape)))


@pytest.mark.parametrize("spread", [1.84, 5.3, 0.7])
def test_the_last_bits_do_not_tell_none_from_one(spread):
    row = torch.randn(2001, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    none, one = torch.zeros(2001, dtype=torch.float64), exact.on_grid(row[None] / row.norm())[0]
    assert looks(unrounded, none, spread).max() == 0 < looks(unrounded, one, spread).min()  # the attack is a good one
    of_none, of_one = (looks(noisy_sum, sums, spread) for sums in (none, one))
    assert stats.ks_2samp(of_none, of_one).pvalue > RARE
    for threshold in np.unique(of_none):  # true positives and false ones, at every threshold: as of a coin
        positives = np.array([np.sum(of_one >= threshold), np.sum(of_none >= threshold)])
        assert abs(positives[0] - positives[1]) <= 5 * math.sqrt(2 * 200 / 4)  # 5 standard deviations


def grid(spread):
    return 2.0 ** (math.floor(math.log2(spread)) - mechanism.FINENESS)


def test_the_grid_is_public_and_rounding_is_negligible():
    for spread in (0.3, 1.0, 3.7, 64.0):
        assert spread / 2**21 < grid(spread) <= spread / 2**20
        sums = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        noisy = noisy_sum(sums, spread, np.random.default_rng(0))
        assert noisy.dtype == torch.float64 and torch.equal(noisy, (noisy / grid(spread)).round() * grid(spread))
        assert 0 < (noisy - unrounded(sums, spread, np.random.default_rng(0))).abs().max() <= grid(spread) / 2
    assert torch.equal(noisy_sum(sums, 0.0, np.random.default_rng(0)), sums)


def of_the_embedding(rng):
    return embedding.noisy_sums(PHI, *digits(), 3.7, rng).sums


def of_prototypes(rng):
    return prototypes.noisy_sums(None, *digits(), SETTINGS, 3.7, rng)


def of_faces(rng):
    return face_model.noisy_sums(*faces(), 2, FACES, 3.7, rng).diagonal()  # the rest was divided by sqrt(2)


def of_a_step(rng):
    """Of the critic and the reader alike; float32 holds these numbers whole, and 16 divides them without a rest."""
    critic, inputs = critic_and_batch(20)
    return 16 * flat(noisy_mean(critic, inputs, clip_norm=0.5, noise_multiplier=7.4, expected_batch=16, rng=rng))


@pytest.mark.parametrize("released", [of_the_embedding, of_prototypes, of_faces, of_a_step])
def test_whatever_is_released_lies_on_its_public_grid(released):
    steps = released(np.random.default_rng(0)) / grid(3.7)
    assert torch.equal(steps, steps.round()) and steps.abs().max() > 2**20


# Guards


def test_labels_of_a_column_are_refused():
    critic, (images, categories) = critic_and_batch(8)
    with pytest.raises(ValueError, match="one score a record"):
        clipped_sum(critic, (images, categories[:, None]), 1.0)


def test_a_charge_is_on_disk_with_its_name_and_its_folder(tmp_path, monkeypatch):
    synced, fsync, replace = [], os.fsync, os.replace

    def seen(descriptor):
        found = os.fstat(descriptor)
        synced.append(found.st_ino if stat.S_ISDIR(found.st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    monkeypatch.setattr(os, "replace", lambda *names: (replace(*names), synced.append("named")))
    folder = tmp_path / "run" / "reader"
    ledger.charge(folder, 3)
    inode = {path: path.stat().st_ino for path in (tmp_path, tmp_path / "run", folder)}
    assert synced == [inode[tmp_path], inode[tmp_path / "run"], "file", "named", inode[folder]]
    assert ledger.charged(folder) == 3


GUARDS = """
from pathlib import Path
import torch
from dpgan_lib.privacy import audit, streams
from dpgan_lib.privacy.clipping import clipped_sum

def refuses(call):
    try:
        call()
    except ValueError:
        return
    raise SystemExit(f"not refused: {call}")

if __debug__:
    raise SystemExit("this is not python -O")

class Scores(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, rows, category):
        return (self.layer(rows) * category).sum(1)

refuses(lambda: clipped_sum(Scores(), (torch.ones(4, 3), torch.ones(4, 1, 3)), 1.0))
refuses(lambda: streams.stream("key", "a purpose of its own"))
refuses(lambda: streams.stream("key", "noise", -1))
refuses(lambda: audit.p_value(correct=3, guesses=2, canaries=5, epsilon=1.0, delta=0.0))
"""


def test_guards_stand_without_asserts():
    done = subprocess.run([sys.executable, "-O", "-c", GUARDS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


LAWS = "moves_a_batchs_sum and 17 or public_grid or three_copies or column"


@pytest.mark.full
def test_the_laws_hold_without_asserts(tmp_path):
    """python -O drops the asserts of the library, and not those of a test, which pytest makes raise: shown first."""
    (tmp_path / "test_fails.py").write_text("def test_it():\n    assert 1 == 2\n")
    command = [sys.executable, "-O", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W",
               "ignore:assertions not in test modules:pytest.PytestConfigWarning"]
    wrong = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path)
    assert wrong.returncode == 1 and "1 failed" in wrong.stdout, wrong.stdout
    done = subprocess.run([*command, __file__, "-k", LAWS], capture_output=True, text=True,
                          cwd=Path(__file__).parents[1])
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout
