"""Sums in which a record's part is its own: the same bits, whoever else is in the data and in whatever order.

A processor picks the kernel of a matrix product by its shape, and kernels round differently: beside another record, a
row can differ in its last bits, and what is decided by it in its first. So records are computed in blocks of one shape,
in which a row depends on itself alone (measured on CPUs, at every place and on several threads; no library promises
it). And they are added as multiples of a power of two, of which float64 adds so many exactly, in any order.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 500  # rows of a block
GRID = 2.0**-30  # of rows of norm at most 1: sums of 2^22 of them take 52 of float64's 53 bits


def blocks(*records: Tensor) -> Iterator[tuple[tuple[Tensor, ...], int]]:
    """The records, tensors whose first axis is theirs, by BLOCK rows; the last filled up with rows of zeros.

    Gives each block and how many of its rows are records. No block at all if there are none.
    """
    for rows in zip(*(tensor.split(BLOCK) for tensor in records)):
        if count := len(rows[0]):  # an empty set splits into one empty part
            yield tuple(F.pad(tensor, [0, 0] * (tensor.dim() - 1) + [0, BLOCK - count]) for tensor in rows), count


def on_grid(rows: Tensor, grid: float = GRID) -> Tensor:
    """Rows (B, width) float64 of norm at most 1 as multiples of the grid, of norm at most 1 still.

    Rounding adds to a norm at most half the grid times sqrt(width), so all are first shrunk by as much: alike, so that
    ratios of sums keep their value, which cutting towards 0 would not leave them.
    """
    room = grid * math.sqrt(rows.shape[1]) / 2
    return ((1 - room) * rows / grid).round() * grid


def one_hot(categories: Tensor) -> Tensor:
    """Which category each record is of, (B, K) bool: in no row more than one, and none where a row is not one-hot."""
    return (categories == 1) & ((categories != 0).sum(1, keepdim=True) == 1)


@contextmanager
def full_float32() -> Iterator[None]:
    """Products of float32 numbers keep all their bits: no TF32, a GPU's default for convolutions, and no bfloat16."""
    backends = torch.backends
    kinds = (backends.cudnn.conv, backends.mkldnn.conv,  # type: ignore[attr-defined]  # torch's stubs lack both
             backends.cuda.matmul, backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [kind.fp32_precision for kind in kinds]
    try:
        for kind in kinds:
            kind.fp32_precision = "ieee"
        yield
    finally:
        for kind, precision in zip(kinds, before):
            kind.fp32_precision = precision
