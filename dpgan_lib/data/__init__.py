"""Data sets as NumPy arrays behind one interface, each checked against its card before use."""

from dpgan_lib.data.cards import CARDS, FACES, DataCard, DataFile, card, faces_card
from dpgan_lib.data.files import Dataset, check, fetch, load, read_idx

__all__ = ["CARDS", "FACES", "DataCard", "DataFile", "Dataset", "card", "check", "faces_card", "fetch", "load",
           "read_idx"]
