"""What each data set is: typed constants, fixed and public, that need no data.

So a run's id, its noise and its sampling rate need none either; opening the files checks them against the card.
"""

from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One published file: its name, size and SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """What a data set is, publicly known and fixed before any of it is opened.

    records: N of the training set, the number that the privacy accounting uses.  side: pixels.
    files: train images, train labels, test images, test labels; none for an embedded set.
    pixels_sha256: of an embedded set's uint8 arrays in that order; empty for a set of files.
    mirrors: addresses to which a file's name is appended.
    """

    name: str
    title: str
    records: int
    test_records: int
    side: int = 28
    classes: int = 10
    files: tuple[DataFile, ...] = ()
    pixels_sha256: str = ""
    mirrors: tuple[str, ...] = ()
    unit: str = "one image with its label"
    licence: str
    source: str
    caption: str

    def to_dict(self) -> dict:
        """Plain JSON types; without what may be corrected and cannot change a result: mirrors, licence, source."""
        values = asdict(self)
        for name in ("mirrors", "licence", "source"):
            del values[name]
        return values | {"files": list(values["files"])}


def card(name: str) -> DataCard:
    """The card of a data set. Raises ValueError, with the nearest name, if there is none."""
    if isinstance(name, str) and name in CARDS:
        return CARDS[name]
    near = get_close_matches(str(name), CARDS, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "Choose one of them."
    raise ValueError(f"dataset={name!r} is none of {', '.join(CARDS)}. {hint}")


_IDX_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _idx_files(*sizes_and_hashes: tuple[int, str]) -> tuple[DataFile, ...]:
    pairs = zip(_IDX_NAMES, sizes_and_hashes, strict=True)
    return tuple(DataFile(name=name, bytes=size, sha256=sha256) for name, (size, sha256) in pairs)


# Sizes and SHA-256 of the four files of each, as TensorFlow Datasets records them.
_ALL_CARDS = (
    DataCard(
        name="digits",
        title="Embedded digits",
        records=1437,
        test_records=360,
        pixels_sha256="b99f39749dea661e17307db38edaea4450f0f8a8c52153a5e692a16869f8aa19",
        licence="see its page at the UCI Machine Learning Repository",
        source="Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak 1998, UCI; as in scikit-learn",
        caption="plumbing check on 1,797 digits",
    ),
    DataCard(
        name="grown_digits",
        title="Grown digits",
        records=60_000,
        test_records=10_000,
        pixels_sha256="b9344716d21bec407bd2517eb6fc30154e51721076b60e754e993373472971b9",
        licence="that of the embedded digits",
        source="Distortions of the embedded digits, made by this library",
        caption="public stand-in: 60,000 distortions of 1,437 digits",
    ),
    DataCard(
        name="mnist",
        title="MNIST",
        records=60_000,
        test_records=10_000,
        files=_idx_files(
            (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        licence="CC BY-SA 3.0",
        source="The MNIST database, Y. LeCun, C. Cortes and C. J. C. Burges; a derivative of NIST's data",
        caption="60,000 handwritten digits",
    ),
    DataCard(
        name="fashion_mnist",
        title="Fashion-MNIST",
        records=60_000,
        test_records=10_000,
        files=_idx_files(
            (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        licence="MIT",
        source="Fashion-MNIST, H. Xiao, K. Rasul and R. Vollgraf 2017, arXiv 1708.07747, Zalando",
        caption="60,000 images of clothes",
    ),
)
CARDS = {one.name: one for one in _ALL_CARDS}
FACE_SIDE = 32
UNITS = {"image": "one image with its attributes", "person": "one person, with all images of them"}
_CELEBA = dict(test_records=6_000, side=FACE_SIDE, licence="non-commercial research only, not to be passed on",
               source="CelebA, Z. Liu, P. Luo, X. Wang and X. Tang 2015", unit=UNITS["image"])
FACES = {  # classes of a card say nothing here: attributes are chosen
    "celeba_50k": DataCard(name="celeba_50k", title="CelebA, 50,000 images", records=50_000, **_CELEBA,
                           caption="50,000 faces of 7,683 people at 32x32"),
    "celeba": DataCard(name="celeba", title="CelebA", records=162_770, **_CELEBA | {"test_records": 19_962},
                       caption="162,770 faces of 8,192 people at 32x32"),
    "drawn_faces": DataCard(name="drawn_faces", title="Drawn faces", records=3_000, test_records=600, side=FACE_SIDE,
                            licence="that of this library", source="Drawings by formulas, made by this library",
                            unit=UNITS["image"], caption="plumbing check on 3,000 drawings by formulas"),
}
PEOPLE = {"celeba_50k": 7_683, "celeba": 8_192, "drawn_faces": 1_000}


def faces_card(dataset: str, unit: str) -> DataCard:
    """A data set's, with the unit and the number of such units: images, or people."""
    whole = FACES[dataset]
    return replace(whole, records=PEOPLE[dataset] if unit == "person" else whole.records, unit=UNITS[unit])
