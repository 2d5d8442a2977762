"""Private prototypes: mean images of styles within classes, of records that were first aligned. A few noisy sums.

In each round a record is matched with the prototype of its class, and the public deformation of it, that it resembles
most; the deformation is undone, and the aligned record enters the mean of that style. So means stay sharp where images
differ by slant, size or place. In terms of Eq. 1, a round is a critic that is linear in aligned pixels, with weights
for each class and style; its maximum is a difference of means (see embedding). The matching depends on what earlier
rounds released, as accountants allow: rounds compose adaptively.

Clustering up to deformations without privacy: Frey and Jojic 2003. Noisy k-means: Blum et al. 2005.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dpgan_lib.config import PrototypeConfig
from dpgan_lib.privacy.exact import blocks, on_grid, one_hot
from dpgan_lib.privacy.mechanism import noisy_sum
from dpgan_lib.warm_start.deformations import (
    KNOTS,
    PARAMETERS,
    SPREAD,
    affine,
    candidates,
    displacements,
    inverse,
    warp,
)

ANCHOR = 0.3  # in a record's row beside its pixels: counts the records of a style
MOMENTS = 0.3  # the same for each of the deformation's first and second moments
SCALE = math.sqrt(1 + ANCHOR**2 + 2 * MOMENTS**2)
REACH = 2.5  # standard deviations of a deformation at which its moments are clipped
FEWEST, CLEAR = 30, 4  # a style needs so many records, and so many standard deviations of its noisy count
NUDGE = 0.12  # half-sides: standard deviation of the displacements that tell two halves of a style apart
LEVELS = 255  # grey levels above black in which a record is matched
FINENESS = 2.0**-20  # of the templates that it is matched with


@dataclass(frozen=True)
class Prototypes:
    """What the rounds so far say, and all that later steps know of the data.

    images (classes, styles, channels, side, side) in [0, 1].  counts (classes, styles): noisy numbers of records, 0 for
    a style that was given up.  mean, spread (classes, PARAMETERS): of the deformations that undo the alignment.
    """

    images: Tensor
    counts: Tensor
    mean: Tensor
    spread: Tensor

    @property
    def shares(self) -> Tensor:
        """Of each style in its class, (classes, styles): at least 0, summing to 1."""
        return self.counts / self.counts.sum(1, keepdim=True)


def learn(images: Tensor, categories: Tensor, settings: PrototypeConfig, noise_multiplier: float,
          draw: Callable[[int], np.random.Generator]) -> Prototypes:
    """All rounds.  draw: round -> its random numbers, used for its noise alone.

    images (N, channels, side, side), categories (N, classes) one-hot, of any values.
    Guarantee, add/remove one record: each round is a Gaussian mechanism of that noise multiplier; all R together are
    one whose noise multiplier is a sqrt(R)-th of it (accounting's release_noise).
    """
    found = None
    for number in range(settings.rounds):
        sums = noisy_sums(found, images, categories, settings, noise_multiplier, draw(number))
        found = read(found, sums, images.shape[1:], settings, noise_multiplier)
    return found


def noisy_sums(before: Prototypes | None, images: Tensor, categories: Tensor, settings: PrototypeConfig,
            noise_multiplier: float, rng: np.random.Generator) -> Tensor:
    """One round: split every style, match and align the records, and publish noisy sums over styles."""
    return noisy_sum(style_sums(split(before), images, categories, settings), noise_multiplier, rng)


def split(prototypes: Prototypes | None) -> Prototypes | None:
    """Every style twice, under a small public displacement and under its opposite. A style given up stays so."""
    if prototypes is None:
        return None
    classes, styles, *shape = prototypes.images.shape
    images = prototypes.images.flatten(0, 1)
    knots = NUDGE * torch.randn(1, 2, KNOTS, KNOTS, generator=torch.Generator().manual_seed(styles))
    field = displacements(knots, shape[-1]).to(images.device).expand(len(images), -1, -1, -1)
    identity = affine(torch.zeros(len(images), PARAMETERS, device=images.device))
    halves = [warp(images, identity, side * field).view(classes, styles, *shape) for side in (1, -1)]
    return Prototypes(torch.stack(halves, 2).flatten(1, 2), (prototypes.counts / 2).repeat_interleave(2, 1),
                      prototypes.mean, prototypes.spread)


# The noisy sums: what reads data

@torch.no_grad()
def style_sums(guess: Prototypes | None, images: Tensor, categories: Tensor, settings: PrototypeConfig) -> Tensor:
    """Sums over styles of the records' rows: (classes * styles, width) float64, moved by one record by at most 1 (L2).

    A row is (aligned pixels, 1, deformation, its square), each part by its weight. A record enters one style of one
    class. The sums are exact, and a record's style and row have the same bits whoever else is there (see match and
    privacy.exact). Nothing is raised for its sake: pixels outside [-1, 1] are clipped, those that are no number count
    as -1, and a record whose category is not one of the classes counts nowhere.
    """
    pixels = (torch.nan_to_num(images, nan=-1.0, posinf=1.0, neginf=-1.0).clamp(-1, 1) + 1) / 2
    styles = 1 if guess is None else guess.images.shape[1]
    maps = candidates(settings.candidates).to(images.device)
    undone, member = inverse(affine(maps)), one_hot(categories)
    sums = torch.zeros(categories.shape[1] * styles, math.prod(images.shape[1:]) + 1 + 2 * PARAMETERS,
                       dtype=torch.float64, device=images.device)
    for label in range(categories.shape[1]):
        templates = None if guess is None else deformed_prototypes(guess, label, maps)
        for (part,), count in blocks(pixels[member[:, label]]):
            style, chosen = match(templates, part, len(maps))
            rows = bounded_rows(warp(part, undone[chosen]), maps[chosen], settings.level)
            sums.index_add_(0, label * styles + style[:count], rows[:count])
    return sums


def deformed_prototypes(guess: Prototypes, label: int, maps: Tensor) -> tuple[Tensor, Tensor]:
    """The styles of a class that were not given up, (S,), and each under every map, (S * len(maps), width) float64.

    They are multiples of FINENESS; of released sums alone, and the same for every record.
    """
    alive = guess.counts[label].nonzero()[:, 0]
    templates = torch.cat([warp(image.expand(len(maps), -1, -1, -1), affine(maps))
                           for image in guess.images[label, alive]])
    return alive, (templates.flatten(1).double() / FINENESS).round() * FINENESS


def match(templates: tuple[Tensor, Tensor] | None, pixels: Tensor, maps: int) -> tuple[Tensor, Tensor]:
    """The style and the number of the map, each (B,), whose deformed prototype is nearest to each record of a class.

    pixels (B, ...) in [0, 1], compared in whole 255ths. So all products are multiples of 2^-20 below 2^18, which
    float64 adds exactly in any order: who resembles two templates almost equally is matched alike in any company.
    """
    if templates is None:
        return torch.zeros(2, len(pixels), dtype=torch.long, device=pixels.device).unbind()
    alive, of_each = templates
    levels = (pixels.flatten(1).double() * LEVELS).round()
    nearest = (LEVELS * of_each.square().sum(1) - 2 * (levels @ of_each.T)).argmin(1)
    return alive[nearest // maps], nearest % maps


def bounded_rows(aligned: Tensor, parameters: Tensor, level: float) -> Tensor:
    """What each record adds to its style's sum, (B, width) float64 on exact.GRID, of L2 norm at most 1."""
    pixels = aligned.flatten(1).double()
    pixels = pixels / (level * math.sqrt(pixels.shape[1]))
    pixels = pixels / pixels.norm(dim=1, keepdim=True).clamp(min=1)
    moved = _relative(parameters).double()
    anchor = torch.full((len(pixels), 1), ANCHOR, dtype=torch.float64, device=pixels.device)
    rows = torch.cat([pixels, anchor, MOMENTS * moved, MOMENTS * moved.square() * math.sqrt(PARAMETERS)], 1) / SCALE
    return on_grid(rows / rows.norm(dim=1, keepdim=True).clamp(min=1))


def _relative(parameters):
    """Deformations in units of REACH standard deviations, clipped there, with norm at most 1."""
    spread = torch.tensor(SPREAD, device=parameters.device)
    return (parameters / (REACH * spread)).clamp(-1, 1) / math.sqrt(PARAMETERS)


# Afterwards: what reads noisy sums alone

def read(before: Prototypes | None, sums: Tensor, shape: torch.Size, settings: PrototypeConfig,
         noise_multiplier: float) -> Prototypes:
    """Prototypes from a round's noisy sums, and from those before. Means are drawn towards the guess that they started
    from, where noise hides more.
    """
    guess = split(before)
    width = math.prod(shape)
    styles = 1 if guess is None else guess.images.shape[1]
    sums = (sums * SCALE).view(-1, styles, sums.shape[1])  # (classes, styles, width)
    counts = sums[..., width] / ANCHOR
    alive = counts > max(FEWEST, CLEAR * noise_multiplier * SCALE / ANCHOR)
    if guess is None:
        alive = torch.ones_like(alive)
    else:
        alive = alive & (guess.counts > 0)
        alive[~alive.any(1)] = guess.counts[~alive.any(1)] > 0  # no class is left without a style
    counts = torch.where(alive, counts.clamp(min=1), 0)
    norm = settings.level * math.sqrt(width)
    means = (norm * sums[..., :width] / counts.clamp(min=1)[..., None]).unflatten(-1, shape)
    if guess is not None:
        noise = noise_multiplier * SCALE * norm / counts.clamp(min=1)
        means = shrink(means, guess.images.double(), noise)
    mean, spread = _moments(sums[..., width + 1 :].sum(1) / counts.sum(1, keepdim=True))
    return Prototypes(means.clamp(0, 1).float(), counts.float(), mean, spread)


def shrink(means: Tensor, guess: Tensor, noise: Tensor) -> Tensor:
    """Noisy means drawn towards a guess, pixel by pixel: a Wiener filter of their difference.

    means, guess (classes, styles, channels, side, side).  noise (classes, styles): standard deviation in a pixel.
    Where the difference's mean square in a neighbourhood is that of noise, none of it is kept.
    """
    difference = (means - guess).flatten(0, 1)
    power = F.avg_pool2d(difference.square(), 3, 1, 1, count_include_pad=False)
    kept = (1 - noise.flatten()[:, None, None, None] ** 2 / power.clamp(min=1e-12)).clamp(min=0)
    kept = F.avg_pool2d(kept, 3, 1, 1, count_include_pad=False)
    return guess + (kept * difference).view_as(guess)


def _moments(sums):
    """Mean and standard deviation of a class's deformations, from means of their weighted moments (classes, 12)."""
    first, second = (sums / MOMENTS).float().chunk(2, dim=1)
    unit = REACH * math.sqrt(PARAMETERS) * torch.tensor(SPREAD, device=sums.device)
    mean = first * unit
    variance = second / math.sqrt(PARAMETERS) * unit.square() - mean.square()
    return mean, variance.clamp(min=1e-6).sqrt()
