"""What defines a run on faces, beside what defines any run with a warm start: frozen, public numbers only. Never imports
torch.
"""

from dataclasses import dataclass

from dpgan_lib.warm_config import WarmRunConfig, WarmStartConfig


@dataclass(frozen=True, kw_only=True)
class FaceModelConfig:
    """What is released of faces before the embedding. Public numbers, set by hand on drawings and on CelebA's validation
    part, which trains nothing.

    luma, chroma: sides of the squares of low frequencies that are kept of brightness and of each of two colours.
    level: root mean square of an image's pixels in [-1, 1] above which it is dimmed, so that its norm is bounded.
    attribute_weight: of all attributes together in a record's row, where pixels weigh at most 1.
    components: eigenfaces of a generator; those that noise hides are 0 to start with.
    """

    luma: int
    chroma: int
    level: float
    attribute_weight: float
    components: int

    @property
    def width(self) -> int:
        """Frequencies kept of an image."""
        return self.luma**2 + 2 * self.chroma**2


@dataclass(frozen=True, kw_only=True)
class FaceStartConfig(WarmStartConfig):
    """A warm start whose first and only round releases second moments."""

    face_model: FaceModelConfig

    @property
    def first_rounds(self) -> int:
        return 1


@dataclass(frozen=True, kw_only=True)
class FaceRunConfig(WarmRunConfig):
    """A run on faces. A category of its code is a combination of attributes.

    attributes: their names, with commas between.  unit: whom epsilon protects, "image" or "person".
    """

    warm_start: FaceStartConfig
    attributes: str
    unit: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.attributes.split(","))
