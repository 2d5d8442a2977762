"""Files as they are found: lists of images in the spellings that go about, and one line for whatever is broken."""

import codecs
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RESTORE = "restore the list"


@contextmanager
def naming(words: str, repair: str = "get it again") -> Iterator[None]:
    """Makes one ValueError, in one line, of whatever a broken file makes its reader raise: words, reason, repair.

    Pillow, zipfile and pandas promise no set of errors: SyntaxError, RuntimeError and NotImplementedError are among
    them. What the operating system says of a file by name passes, for it is not about the content.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            raise
        reason = " ".join(str(error).split()).split(" <_io")[0] or type(error).__name__
        raise ValueError(f"{words} ({reason[:120]}): {repair}.") from None


def is_hidden(path: str) -> bool:
    """Whether an operating system, not a person, put it there: .DS_Store, ._000001.jpg, what __MACOSX holds."""
    return any(part.startswith(".") or part == "__MACOSX" for part in Path(path).parts)


def is_image(path: str) -> bool:
    return not is_hidden(path) and Path(path).suffix.lower() in Image.registered_extensions()


@dataclass(frozen=True)
class ImageList:
    """A list of images. header: the words above its rows, if there are any.  values: a data frame of what stands behind
    each image's name, by its stem; nothing is NaN.
    """

    path: Path
    header: list[str]
    values: Any

    def numbers(self, images: list[str], is_right: Callable, words: str) -> np.ndarray:
        """(n, columns) int64 of the images.

        is_right: a data frame of numbers to one of bools.  words: what the numbers must be.
        Raises ValueError for an image without a row, and for the first value in the whole list that is not right.
        """
        import pandas as pd

        numbers = self.values.apply(pd.to_numeric, errors="coerce").astype(float)
        wrong = ~is_right(numbers)
        if wrong.any(axis=None):
            image = wrong.any(axis=1).idxmax()
            value = self.values.at[image, wrong.loc[image].idxmax()]
            raise ValueError(f"{self.path} has {'nothing' if pd.isna(value) else value} for {image}, where {words} "
                             f"must stand: {RESTORE}.")
        if missing := sorted(set(images) - set(numbers.index)):
            raise ValueError(f"{len(missing)} images have no row in {self.path}, the first of them {missing[0]}: "
                             f"{RESTORE}, or take the images away.")
        return numbers.loc[images].to_numpy().astype(np.int64)


def read_list(path: Path) -> ImageList:
    """A text with an image's name and values in each row, with blanks, tabs or commas between.

    Above the rows may stand their number and a header. Raises ValueError, one line, for what is no such list, and for
    one that is cut.
    """
    import pandas as pd  # here, so that nothing but lists needs it

    lines = _lines(path)
    first = next((number for number, line in enumerate(lines) if _is_row(_words(line))), None)
    if first is None:
        raise ValueError(f"{path} has no row of an image: {RESTORE}.")
    with naming(f"{path} is no list of images", RESTORE):
        values = pd.read_csv(io.StringIO("\n".join(lines[first:])), sep="," if "," in lines[first] else r"\s+",
                             header=None, index_col=0, dtype={0: str}, skipinitialspace=True, low_memory=False)
    values.index = [Path(str(name)).stem for name in values.index]
    if (twice := values.index[values.index.duplicated()]).size:
        raise ValueError(f"{path} has two rows of {twice[0]}: {RESTORE}.")
    return ImageList(path, _words(lines[first - 1]) if first else [], values)


def _lines(path: Path) -> list[str]:
    """The lines of a text, in UTF-8 or UTF-16 and with a byte-order mark or none, that are not blank."""
    content = path.read_bytes()
    encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    with naming(f"{path} is no text in UTF-8 or UTF-16", RESTORE):
        text = content.decode(encoding)
    if text and text[-1] not in "\r\n":  # what is left of a number would be another number
        raise ValueError(f"{path} ends within a line, as a file that was cut does: {RESTORE}, or end its last line if "
                         "it is whole.")
    return [line for line in text.splitlines() if line.strip()]


def _words(line: str) -> list[str]:
    return line.replace(",", " ").replace('"', "").split()


def _is_row(words: list[str]) -> bool:
    """Whether a line begins with an image's name: a header does not, nor does the number of images above it."""
    return bool(words) and (is_image(words[0]) or words[0].isdecimal() and len(words) > 1)
