"""What each data set of faces is, and whom an epsilon on it protects: typed constants that need no data."""

from dataclasses import replace

from dpgan_lib.cards import DataCard

SIDE = 32
UNITS = {"image": "one image with its attributes", "person": "one person, with all images of them"}
_CELEBA = dict(test_records=6_000, side=SIDE, licence="non-commercial research only, not to be passed on",
               source="CelebA, Z. Liu, P. Luo, X. Wang and X. Tang 2015", unit=UNITS["image"])
CARDS = {  # classes of a card say nothing here: attributes are chosen
    "celeba_50k": DataCard(name="celeba_50k", title="CelebA, 50,000 images", records=50_000, **_CELEBA,
                           caption="50,000 faces of 7,683 people at 32x32"),
    "celeba": DataCard(name="celeba", title="CelebA", records=162_770, **_CELEBA | {"test_records": 19_962},
                       caption="162,770 faces of 8,192 people at 32x32"),
    "drawn_faces": DataCard(name="drawn_faces", title="Drawn faces", records=3_000, test_records=600, side=SIDE,
                            licence="that of this library", source="Drawings by formulas, made by this library",
                            unit=UNITS["image"], caption="plumbing check on 3,000 drawings by formulas"),
}
PEOPLE = {"celeba_50k": 7_683, "celeba": 8_192, "drawn_faces": 1_000}


def card(dataset: str, unit: str) -> DataCard:
    """A data set's, with the unit and the number of such units: images, or people."""
    whole = CARDS[dataset]
    return replace(whole, records=PEOPLE[dataset] if unit == "person" else whole.records, unit=UNITS[unit])
