"""The playground: published generators as scripts for a browser, and what its page shows of them.

A script holds a generator's weights and what _static/generators.js must know to run them. Another kind of generator
needs an entry in SETTINGS here and a forward pass there.
"""

import base64
import json
import math
from html import escape
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch import Tensor, nn

from dpgan_lib import deforming, figures, report, results, runs, tradeoff, tradeoff_tables
from dpgan_lib.deformations import KNOTS
from dpgan_lib.evaluation import sample_grid
from dpgan_lib.latent import make_code
from dpgan_lib.networks import Generator
from dpgan_lib.results import Record

METHODS = ("both", "paper")  # in the page's order
FIGURES = "playground_figures.html"  # beside the page, which includes it
STATIC = "_static/playground"  # what it loads
FALLBACK = "fallback.png"
FEW = 4096  # numbers of a tensor, up to which float32 costs a reader nothing
BLOCK = 256  # numbers of a larger one that share a scale
STEPS = 32767  # of 16-bit integers, on either side of 0
FIXED = ((-1, 0), (0, 0), (1, 0), (0, -1), (0, 1))  # slant and width in the columns of the still picture
SEED = 0  # of its z
# The components of z that move a prototype: its style, the affine map without its slant, the displacements.
Z_NAMES = ["style", "stretch across", "shear", "stretch down", "shift across", "shift down",
           *(f"bend {knot + 1}" for knot in range(2 * KNOTS**2))]


# Which generators

def chosen() -> dict[str, list[Record]]:
    """Method -> its published MNIST runs by epsilon: one each, of the study's usual parameters and seed."""
    usual = tradeoff.plan(tradeoff.Parameters(epsilon="inf"))
    records = [record for record in tradeoff.trained(results.published(tradeoff.STUDY_NAME))
               if tradeoff.is_same_sweep(record.config, usual) and record.config.seed == usual.seed
               and tradeoff.ablation_of(record.config) == "none"]
    found = {method: [record for record in records if tradeoff.method_of(record.config) == method]
             for method in METHODS}
    return {method: of_method for method, of_method in found.items() if of_method}


def generator_of(record: Record) -> nn.Module:
    """The record's generator, ready to draw."""
    generator = runs.empty_generator(record.config)
    generator.load_state_dict(load_file(record.folder / "generator.safetensors"))
    return generator.eval()


# A generator as a script

def script(record: Record) -> str:
    """JavaScript that puts the record's generator into window.dpganModels, under its run id."""
    return f"(window.dpganModels ??= {{}})[{json.dumps(record.run_id)}] = {json.dumps(model(record))};\n"


def model(record: Record) -> dict:
    """The record's generator as plain JSON types: kind, sizes, settings of its kind, and tensors by name.

    Raises ValueError for a kind that browsers cannot run.
    """
    generator, config = generator_of(record), record.config
    kind = type(generator).__name__
    if kind not in SETTINGS:
        raise ValueError(f"{kind} must be one of {', '.join(SETTINGS)}: write its forward pass in generators.js first")
    tensors = {name: tensor for name, tensor in generator.state_dict().items() if tensor.is_floating_point()}
    return {"kind": kind, "side": config.model.image_side, "channels": config.model.channels,
            "z": config.latent.z_dim, "categories": config.latent.categories, **SETTINGS[kind](generator),
            "tensors": {name: packed(tensor) for name, tensor in tensors.items()}}


def _layers(generator: Generator) -> dict:
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


def _deformation(generator: deforming.DeformingGenerator) -> dict:
    """The module's constants, and between which z a style lies: browsers do not have the normal law."""
    assert len(Z_NAMES) == deforming.Z_DIM
    quantiles = torch.special.ndtri(generator.steps.double().clamp(0, 1)).clamp(-9, 9)  # finite, and beyond any z
    return {"slant": deforming.SLANT, "knots": KNOTS, "gain": deforming.GAIN, "zNames": Z_NAMES,
            "quantiles": quantiles.tolist()}


SETTINGS = {"Generator": _layers, "DeformingGenerator": _deformation}


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


# What the page shows

def stage(book: Path) -> None:
    """Write what the page in `book` includes and loads: a script a generator, a still picture, the figures' HTML."""
    static, methods = book / STATIC, chosen()
    static.mkdir(parents=True, exist_ok=True)
    records = [record for of_method in methods.values() for record in of_method]
    for record in records:
        (static / f"{record.run_id}.js").write_text(script(record), encoding="utf-8")
    still(records).savefig(static / FALLBACK)
    (book / FIGURES).write_text(figures_html(methods), encoding="utf-8")


def still(records: list[Record]) -> Figure:
    """A grid a generator: a row a class, the same z in all of it, slant and width as in FIXED."""
    return figures.sample_grids({tradeoff_tables.name(record): _grid(record) for record in records})


@torch.no_grad()
def _grid(record: Record) -> np.ndarray:
    latent, side = record.config.latent, record.config.model.image_side
    rows, columns = latent.categories, len(FIXED)
    z = np.random.default_rng(SEED).standard_normal(latent.z_dim, dtype=np.float32)
    codes = make_code(latent, torch.arange(rows).repeat_interleave(columns), torch.tensor(FIXED).repeat(rows, 1))
    images = generator_of(record)(torch.from_numpy(z).repeat(rows * columns, 1), codes)
    grid = images.view(rows, columns, side, side).transpose(1, 2).reshape(rows * side, columns * side)
    return (grid.numpy() + 1) / 2


def figures_html(methods: dict[str, list[Record]]) -> str:
    """A canvas a generator, epsilons side by side; the still picture; the scripts that draw."""
    records = [record for of_method in methods.values() for record in of_method]
    epsilons = sorted({record.config.privacy.epsilon for record in records})
    scripts = ["generators.js", *(f"playground/{record.run_id}.js" for record in records), "playground.js"]
    stale = [f"{tradeoff_tables.name(record)}: {'; '.join(reasons)}" for record in records
             if (reasons := results.staleness(record))]
    return "\n".join([
        *(f"<p><strong>Stale</strong>: {escape(line)}</p>" for line in stale),
        '<div class="playground-live" hidden>', *(_row(*item, epsilons) for item in methods.items()), "</div>",
        _still_html(records),
        f"<p><em>{escape(report.sweep_caption(records))} Seeded: for study, not a release.</em></p>",
        *(f'<script defer src="../_static/{path}"></script>' for path in scripts), ""])


def _row(method: str, records: list[Record], epsilons: list[float]) -> str:
    """A method's figures, each in its epsilon's column; a run that is missing is seen."""
    by_epsilon = {record.config.privacy.epsilon: record for record in records}
    cells = [_figure(by_epsilon[epsilon]) if epsilon in by_epsilon else _hole(epsilon) for epsilon in epsilons]
    return "\n".join([f'<section aria-labelledby="playground-{method}">',
                      f'<p class="playground-method" id="playground-{method}">{escape(tradeoff.METHODS[method])}</p>',
                      f'<div class="playground-row" style="--columns: {len(cells)}">', *cells, "</div>", "</section>"])


def _figure(record: Record) -> str:
    epsilon, noun = record.config.privacy.epsilon, "digit" if record.config.model.conditional else "class"
    spent = "epsilon inf: no noise" if math.isinf(epsilon) else f"spent: {report.format_epsilon(record)}"
    name = f"{tradeoff_tables.NAMES[tradeoff.method_of(record.config)]}, {report.epsilon_name(epsilon)}"
    side = record.config.model.image_side
    return (f'<figure><canvas width="{side}" height="{side}" role="img" aria-label="not drawn yet" '
            f'data-run="{record.run_id}" data-name="{escape(name)}" data-class="{noun}"></canvas>'
            f"{_caption(epsilon, spent)}</figure>")


def _hole(epsilon: float) -> str:
    return f"<figure>{_caption(epsilon, 'no run')}</figure>"


def _caption(epsilon: float, words: str) -> str:
    return f"<figcaption><strong>{escape(report.epsilon_name(epsilon))}</strong> {escape(words)}</figcaption>"


def _still_html(records: list[Record]) -> str:
    names = "; ".join(map(tradeoff_tables.name, records))
    words = (f"Generated digits, one grid for each run ({names}). A row is a class asked for. All images have the same "
             "z. Columns: slant at its least, in the middle and at its most; width at its least and at its most.")
    return f'<p class="playground-still"><img src="../{STATIC}/{FALLBACK}" alt="{escape(words)}"></p>'
