"""Two ways to draw labelled images from a generator whose Q was taught by a private reader. Both are post-processing.

faithful: images as they were asked for; one that Q reads as something else is drawn again. For looking, and where an
image must be what its label says.
wide: z and codes beyond where they are usual, and labels as Q reads them. For training classifiers: such images look
worse and teach better, for they cover more of what real ones do, and a label follows the image and not the request.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from dpgan_lib.config import LatentConfig
from dpgan_lib.gan.latent import make_code

CHUNK = 1000  # images drawn at a time


def faithful(generator: nn.Module, posterior: nn.Module, latent: LatentConfig, labels: np.ndarray,
             rng: np.random.Generator, tries: int) -> tuple[np.ndarray, float]:
    """Images (B, channels, side, side) in [-1, 1] of the labels (B,) asked for, and the share that Q reads as such.

    tries: draws of an image, at most; the first is kept that Q reads as asked for, else the one where it came nearest.
    """
    asked = torch.from_numpy(labels)
    images, agreement = _drawn(generator, posterior, latent, asked, rng)
    for _ in range(tries - 1):
        again = (agreement < 0).nonzero().squeeze(1)
        if not len(again):
            break
        others, found = _drawn(generator, posterior, latent, asked[again], rng)
        nearer = found > agreement[again]
        images[again[nearer]], agreement[again[nearer]] = others[nearer], found[nearer]
    return images.numpy(), float((agreement >= 0).float().mean())


def wide(generator: nn.Module, posterior: nn.Module, latent: LatentConfig, count: int, rng: np.random.Generator,
         spread: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Images (count, channels, side, side), labels (count,) as Q reads them, and the share that was asked for as such.

    spread: factor of z and of the continuous codes.  Classes are equally many, as far as Q finds them among four times
    count draws; the rest is filled up with whatever was drawn.
    """
    wanted = count // latent.categories
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    left = torch.full((latent.categories,), wanted)
    for _ in range(4):
        asked = torch.from_numpy(rng.permutation(np.arange(count) % latent.categories))
        images, read = _read(generator, posterior, latent, asked, rng, spread)
        kept = _first_of_each(read, left)
        found.append((images[kept], read[kept], asked[kept]))
        left = left - torch.bincount(read[kept], minlength=latent.categories)
        if not left.any():
            break
    missing = count - sum(len(each) for _, each, _ in found)
    found.append((images[:missing], read[:missing], asked[:missing]))
    all_images, labels, requests = (torch.cat(parts) for parts in zip(*found))
    return all_images.numpy(), labels.numpy(), float((labels == requests).float().mean())


def _first_of_each(read: Tensor, left: Tensor) -> Tensor:
    """Indices, in order, of the first left[k] of each class k."""
    return torch.cat([(read == k).nonzero().squeeze(1)[:count] for k, count in enumerate(left.tolist())]).sort().values


def _drawn(generator, posterior, latent, asked, rng) -> tuple[Tensor, Tensor]:
    """Images, and by how much Q finds the category asked for likelier than any other, in nats."""
    def margin(prediction: Tensor, asked: Tensor) -> Tensor:
        logits = prediction[:, : latent.categories].clone()
        mine = logits.gather(1, asked[:, None]).squeeze(1)
        return mine - logits.scatter_(1, asked[:, None], -torch.inf).amax(1)

    return _in_chunks(generator, posterior, latent, asked, rng, 1.0, margin)


def _read(generator, posterior, latent, asked, rng, spread) -> tuple[Tensor, Tensor]:
    """Images, and the category that Q reads in each."""
    return _in_chunks(generator, posterior, latent, asked, rng, spread,
                      lambda prediction, _: prediction[:, : latent.categories].argmax(1))


@torch.no_grad()
def _in_chunks(generator: nn.Module, posterior: nn.Module, latent: LatentConfig, asked: Tensor,
               rng: np.random.Generator, spread: float, see: Callable[[Tensor, Tensor], Tensor]
               ) -> tuple[Tensor, Tensor]:
    generator.eval(), posterior.eval()
    z = torch.from_numpy(rng.standard_normal((len(asked), latent.z_dim), dtype=np.float32)) * spread
    continuous = torch.from_numpy(rng.uniform(-1, 1, (len(asked), latent.continuous))) * spread
    code = make_code(latent, asked, continuous)
    images, seen = [], []
    for rows in zip(z.split(CHUNK), code.split(CHUNK), asked.split(CHUNK)):
        drawn = generator(*rows[:2])
        images.append(drawn)
        seen.append(see(posterior(drawn), rows[2]))
    return torch.cat(images), torch.cat(seen)
