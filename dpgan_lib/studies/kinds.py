"""Kinds of images that an owner may declare for a release, and the study whose runs such a release is planned as."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dpgan_lib.config import RunConfig
from dpgan_lib.studies.celeba_specificity import study as faces
from dpgan_lib.studies.mnist_tradeoff import study as mnist
from dpgan_lib.studies.parameters import RunParameters, configure

DIGITS, PHOTOS, PLAIN = "digits", "photos", "plain"
# The reader keeps 800 directions of 81 features at every fourth pixel; the model of faces up to 24 frequencies a side.
LEAST_DIGITS, LEAST_PHOTOS = 16, 24
LARGEST_SIDE = 64  # memory and time grow with its fourth power, as the features' matrices do: 5 GB, seen at 64
DARK = 127  # a ground up to which strokes are the lighter part


class Declared(Protocol):
    """What a kind may set limits to; as of release.Parameters."""

    profile: str
    side: int
    classes: int
    channels: int
    ground: int | None


Limit = tuple[bool, str, str]  # whether it holds, of which field, and what that must be


@dataclass(frozen=True, kw_only=True)
class Kind:
    """run_of: (what is asked, N) -> the run, but for its categories and the shape of its images.

    limits: what the method takes, of which all must hold.  info_weight: lambda of the study's published runs.
    """

    run_of: Callable[[RunParameters, int], RunConfig]
    limits: Callable[[Declared], list[Limit]]
    info_weight: float


def _of_photos(asked: RunParameters, records: int) -> RunConfig:
    """With one attribute: whether an image is of the second class."""
    return faces.configure_faces(asked, records, attributes="second class", unit="image")


def _limits_of_digits(asked: Declared) -> list[Limit]:
    most = mnist.SIZES[asked.profile]["batch"] // 2 - 1  # a step of the fit takes two images of each class, and more
    return [(asked.channels == 1, "channels", "must be 1"),
            (LEAST_DIGITS <= asked.side <= LARGEST_SIDE, "side", f"must lie in {LEAST_DIGITS}..{LARGEST_SIDE}"),
            (asked.classes <= most, "classes", f"must be {most} or fewer"),
            (asked.ground is None or asked.ground <= DARK, "ground",
             f"must be {DARK} or less, for strokes are light on a dark ground: invert the images")]


def _limits_of_photos(asked: Declared) -> list[Limit]:
    return [(asked.channels == 3, "channels", "must be 3"),
            (LEAST_PHOTOS <= asked.side <= LARGEST_SIDE, "side", f"must lie in {LEAST_PHOTOS}..{LARGEST_SIDE}"),
            (asked.classes == 2, "classes", "must be 2: with more, a mean image would have to be a sum of attributes")]


KINDS = {
    DIGITS: Kind(run_of=mnist.configure_with_reader, limits=_limits_of_digits, info_weight=RunParameters.info_weight),
    PHOTOS: Kind(run_of=_of_photos, limits=_limits_of_photos, info_weight=faces.INFO_WEIGHT),
    PLAIN: Kind(run_of=configure, limits=lambda asked: [], info_weight=RunParameters.info_weight),
}


def usual(channels: int) -> str:
    """The kind that is taken unless another is declared."""
    return DIGITS if channels == 1 else PLAIN
