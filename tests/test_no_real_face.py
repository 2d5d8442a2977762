"""No real face is in the repository: every committed face-sized image is compared with CelebA's training part.

Skipped where CelebA is not at hand. What counts as a copy is fixed here, and controls show that copies are found.
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpgan_lib.data import celeba

ROOT = Path(__file__).resolve().parents[1]
SIDE = 32
LARGEST = 218  # pixels, of a single face: an original of CelebA
NEIGHBOURS = 50
# An image is a copy if its nearest training image is far nearer than the next fifty are on average: the test of Carlini
# et al. 2023, "Extracting training data from diffusion models". Their threshold is for other images; this one lies
# halfway between a copy, 0, and an image that is no nearer to one than to many, 1.
COPY = 0.5
AT_A_TIME = 64  # images whose distances to all others are held in memory


@pytest.fixture(scope="module")
def faces():
    try:
        return celeba.load((), SIDE, progress=False)
    except ValueError as refusal:
        pytest.skip(f"CelebA is not at hand: {refusal}")


def committed() -> list[Path]:
    """Raster images under version control, or in a tree without git all that lie where results and pages do."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    paths = map(ROOT.joinpath, listed.stdout.split("\0")) if listed.returncode == 0 else ROOT.glob("[bn]*/**/*")
    return [path for path in paths if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp") and path.exists()]


def tiles(path: Path) -> np.ndarray:
    """The faces in a file, (n, 3, 32, 32) uint8: of a grid of samples its tiles, of a small image itself."""
    with Image.open(path) as image:
        pixels = image.convert("RGB")
    if pixels.width % SIDE == pixels.height % SIDE == 0 and "celeba" in str(path):
        array = np.asarray(pixels)
        grid = array.reshape(pixels.height // SIDE, SIDE, pixels.width // SIDE, SIDE, 3)
        return grid.transpose(0, 2, 4, 1, 3).reshape(-1, 3, SIDE, SIDE)
    if max(pixels.size) <= LARGEST:
        return np.asarray(pixels.resize((SIDE, SIDE))).transpose(2, 0, 1)[None]
    return np.empty((0, 3, SIDE, SIDE), np.uint8)


def nearness(images: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Of each image, the distance to its nearest training image over the mean of those to the next fifty."""
    known = train.reshape(len(train), -1).astype(np.float32)
    squares = np.square(known).sum(1)
    found = []
    for some in np.array_split(images.reshape(len(images), -1).astype(np.float32), -(-len(images) // AT_A_TIME)):
        distances = np.sqrt(np.maximum(squares - 2 * some @ known.T + np.square(some).sum(1)[:, None], 0))
        nearest, *others = np.sort(np.partition(distances, NEIGHBOURS)[:, : NEIGHBOURS + 1]).T
        found.append(nearest / np.mean(others, axis=0))
    return np.concatenate(found)


@pytest.mark.full
def test_no_committed_image_is_a_copy_of_a_training_image(faces):
    found = {path.relative_to(ROOT): tiles(path) for path in committed()}
    ratios = {path: nearness(images, faces["train"].images).min() for path, images in found.items() if len(images)}
    assert [path for path, ratio in ratios.items() if ratio < COPY] == []


@pytest.mark.full
def test_a_copy_is_found_and_another_persons_face_is_none(faces):
    rng = np.random.default_rng(0)
    some = faces["train"].images[rng.choice(len(faces["train"]), 20, replace=False)]
    noisy = np.clip(some + rng.normal(0, 8, some.shape), 0, 255)  # 3% of the range: as a strong JPEG changes it
    assert (nearness(some, faces["train"].images) < COPY).all()
    assert (nearness(noisy, faces["train"].images) < COPY).all()
    known = set(faces["train"].people.tolist())
    strangers = faces["test"].images[[one not in known for one in faces["test"].people]][:50]
    assert (nearness(strangers, faces["train"].images) > COPY).all()


def test_a_grid_is_cut_into_its_faces(tmp_path):
    array = np.random.default_rng(0).integers(256, size=(2 * SIDE, 3 * SIDE, 3), dtype=np.uint8)
    path = tmp_path / "celeba.png"
    Image.fromarray(array).save(path)
    cut = tiles(path)
    assert len(cut) == 6 and (cut[4] == array[SIDE:, SIDE : 2 * SIDE].transpose(2, 0, 1)).all()
