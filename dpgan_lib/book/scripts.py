"""A published generator as a script for a browser: its weights, and what _static/generators.js must know to run them.

Another kind of generator needs an entry in SETTINGS here and a forward pass there.
"""

import base64
import json

import numpy as np
import torch
from torch import Tensor, nn

from dpgan_lib.config import FaceRunConfig, RunConfig
from dpgan_lib.gan.networks import Generator
from dpgan_lib.records.store import Record
from dpgan_lib.studies.study import generator_of
from dpgan_lib.warm_start import face_model, generators
from dpgan_lib.warm_start.deformations import KNOTS

FEW = 4096  # numbers of a tensor, up to which float32 costs a reader nothing
BLOCK = 256  # numbers of a larger one that share a scale
STEPS = 32767  # of 16-bit integers, on either side of 0

# The components of z that move a prototype: its style, the affine map without its slant, the displacements.
Z_NAMES = ["style", "stretch across", "shear", "stretch down", "shift across", "shift down",
           *(f"bend {knot + 1}" for knot in range(2 * KNOTS**2))]


def script(record: Record) -> str:
    """JavaScript that puts the record's generator into window.dpganModels, under its run id."""
    content = json.dumps(model(generator_of(record), record.config))
    return f"(window.dpganModels ??= {{}})[{json.dumps(record.run_id)}] = {content};\n"


def model(generator: nn.Module, config: RunConfig) -> dict:
    """A run's generator as plain JSON types: kind, sizes, settings of its kind, and tensors by name.

    Raises ValueError for a kind that browsers cannot run.
    """
    kind = type(generator).__name__
    if kind not in SETTINGS:
        raise ValueError(f"{kind} must be one of {', '.join(SETTINGS)}: write its forward pass in generators.js first")
    tensors = {name: tensor for name, tensor in generator.state_dict().items() if tensor.is_floating_point()}
    return {"kind": kind, "side": config.model.image_side, "channels": config.model.channels,
            "z": config.latent.z_dim, "categories": config.latent.categories, **SETTINGS[kind](generator, config),
            "tensors": {name: packed(tensor) for name, tensor in tensors.items()}}


def _layers(generator: Generator, config: RunConfig) -> dict:
    """The layers in order: of each its kind, the name that its tensors' begin with, and its settings if it has any."""
    return {"layers": [{"kind": type(layer).__name__, "name": f"layers.{name}", **_settings(layer)}
                       for name, layer in generator.layers.named_children()]}


def _settings(layer: nn.Module) -> dict:
    match layer:
        case nn.Unflatten():
            return {"shape": list(layer.unflattened_size)}
        case nn.Conv2d():
            assert layer.stride == layer.dilation == (1, 1) and layer.groups == 1  # as in generators.js
            return {"padding": layer.padding[0]}
        case nn.PixelShuffle():
            return {"factor": layer.upscale_factor}
        case nn.BatchNorm2d():
            return {"tiny": layer.eps}
    return {}


def _deformation(generator: generators.DeformingGenerator, config: RunConfig) -> dict:
    """The module's constants, and between which z a style lies: browsers do not have the normal law."""
    assert len(Z_NAMES) == generators.Z_DIM
    quantiles = torch.special.ndtri(generator.steps.double().clamp(0, 1)).clamp(-9, 9)  # finite, and beyond any z
    return {"slant": generators.SLANT, "knots": KNOTS, "gain": generators.GAIN, "zNames": Z_NAMES,
            "quantiles": quantiles.tolist()}


def _faces(generator: nn.Module, config: FaceRunConfig) -> dict:
    """How many frequencies are kept of each colour, for the browser makes them itself."""
    settings, attributes = config.warm_start.face_model, len(config.names)
    free = range(1, config.latent.z_dim + 1)
    return {"attributes": attributes, "colours": face_model.COLOURS, "gain": generators.GAIN,
            "kept": [settings.luma, settings.chroma, settings.chroma],
            "zNames": [f"eigenface {config.latent.continuous + number}" for number in free]}


SETTINGS = {"Generator": _layers, "DeformingGenerator": _deformation, "FaceGenerator": _faces}


def packed(tensor: Tensor) -> dict:
    """A tensor as base64 of little-endian numbers: float32 if it is small, else 16-bit integers and a scale a block.

    Half floats would take as much room and be far coarser: most of their bits are for sizes that weights do not have.
    """
    shape = list(tensor.shape)
    if tensor.numel() <= FEW:
        return {"shape": shape, "floats": _base64(tensor.numpy(), "<f4")}
    blocks = nn.functional.pad(tensor.flatten(), (0, -tensor.numel() % BLOCK)).view(-1, BLOCK)
    scales = blocks.abs().amax(1).clamp(min=1e-30) / STEPS
    integers = (blocks / scales[:, None]).round()
    return {"shape": shape, "block": BLOCK, "integers": _base64(integers.numpy(), "<i2"),
            "scales": _base64(scales.numpy(), "<f4")}


def _base64(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode()
