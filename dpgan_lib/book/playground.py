"""The playground: which published generators its page shows, and how; `scripts` makes them scripts."""

import math
from html import escape
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from dpgan_lib.book.scripts import script
from dpgan_lib.gan.latent import make_code
from dpgan_lib.records import store
from dpgan_lib.records.store import Record
from dpgan_lib.report import cards, figures, numbers
from dpgan_lib.studies.celeba_specificity import figures as face_figures
from dpgan_lib.studies.celeba_specificity import study as faces
from dpgan_lib.studies.celeba_specificity.tables import colour_grid, combination_words, run_name
from dpgan_lib.studies.mnist_tradeoff import study, tables
from dpgan_lib.studies.study import generator_of

METHODS = ("both", "paper")  # in the page's order

# Beside the page, which includes them.
FIGURES, FACES, SCRIPTS = "playground_figures.html", "playground_faces.html", "playground_scripts.html"
STATIC = "_static/playground"  # what it loads
FALLBACK, FACES_FALLBACK = "fallback.png", "faces.webp"  # faces are no line drawings: a quarter of the bytes
FIXED = ((-1, 0), (0, 0), (1, 0), (0, -1), (0, 1))  # slant and width in the columns of the still picture
SEED = 0  # of its z


# Which generators

def chosen() -> dict[str, list[Record]]:
    """Method -> its published MNIST runs by epsilon: one each, of the study's usual parameters and seed."""
    usual = study.Parameters(epsilon="inf")
    records = [record for record in study.STUDY.comparable(store.published(study.STUDY.chapter), usual)
               if record.asked["seed"] == usual.seed and record.asked["ablation"] == usual.ablation]
    found = {method: [record for record in records if record.asked["method"] == method] for method in METHODS}
    return {method: of_method for method, of_method in found.items() if of_method}


def chosen_faces() -> list[Record]:
    """The published private runs on real faces by epsilon: one each, of the study's usual parameters and seed.

    A run without privacy stays out: it can memorise, and its weights are not published.
    """
    usual = faces.Parameters(epsilon="inf")
    records = [record for record in faces.STUDY.comparable(store.published(faces.STUDY.chapter), usual)
               if record.config.privacy.is_private and all(record.asked[name] == getattr(usual, name)
                                                           for name in ("seed", "unit", "info_weight"))]
    return sorted(records, key=lambda record: record.config.privacy.epsilon)


# What the page shows

def stage(book: Path) -> None:
    """Write what the page in `book` includes and loads: a script a generator, still pictures, the figures' HTML."""
    static, methods, of_faces = book / STATIC, chosen(), chosen_faces()
    static.mkdir(parents=True, exist_ok=True)
    digits = [record for of_method in methods.values() for record in of_method]
    for record in digits + of_faces:
        (static / f"{record.run_id}.js").write_text(script(record), encoding="utf-8")
    still(digits).savefig(static / FALLBACK)
    if of_faces:
        faces_still(of_faces).savefig(static / FACES_FALLBACK)
    pages = {FIGURES: figures_html(methods), FACES: faces_html(of_faces), SCRIPTS: scripts_html(digits + of_faces)}
    for name, html in pages.items():
        (book / name).write_text(html, encoding="utf-8")


def scripts_html(records: list[Record]) -> str:
    """The scripts that draw, in the order in which they need each other."""
    paths = ["generators.js", *(f"playground/{record.run_id}.js" for record in records), "playground.js"]
    return "".join(f'<script defer src="../_static/{path}"></script>\n' for path in paths)


def figures_html(methods: dict[str, list[Record]]) -> str:
    """Digits: a canvas a generator, epsilons side by side, a row a method; and a still picture."""
    records = [record for of_method in methods.values() for record in of_method]
    epsilons = sorted({record.config.privacy.epsilon for record in records})
    rows = [_row(f"playground-{method}", study.METHODS[method].words, _digit_cells(of_method, epsilons))
            for method, of_method in methods.items()]
    named = {tables.name(record): record for record in records}
    words = (f"Generated digits, one grid for each run ({'; '.join(named)}). A row is a class asked for. All images "
             "have the same z. Columns: slant at its least, in the middle and at its most; width at its least and at "
             "its most.")
    return _live("playground-digits", rows, named, _still_html(FALLBACK, words))


def _digit_cells(records: list[Record], epsilons: list[float]) -> list[str]:
    """Each in its epsilon's column; a run that is missing is seen."""
    by_epsilon = {record.config.privacy.epsilon: record for record in records}
    return [_figure(by_epsilon[epsilon], study.METHODS[by_epsilon[epsilon].asked["method"]].name,
                    "digit" if by_epsilon[epsilon].config.model.conditional else "class")
            if epsilon in by_epsilon else f"<figure>{_caption(epsilon, 'no run')}</figure>" for epsilon in epsilons]


def faces_html(records: list[Record]) -> str:
    """Faces: a canvas an epsilon, in one row; and a still picture. Empty without records."""
    if not records:
        return ""
    cells = [_figure(record, "faces", "") for record in records]
    named = {run_name(record): record for record in records}
    words = (f"Generated faces, one grid for each run ({'; '.join(named)}). A row is a combination of attributes asked "
             "for, a column one latent vector.")
    return _live("playground-faces", [_row("playground-faces-row", "Faces, this book's method", cells)], named,
                 _still_html(FACES_FALLBACK, words))


def _live(name: str, rows: list[str], named: dict[str, Record], still_picture: str) -> str:
    stale = [escape(title) for title, record in named.items() if store.staleness(record)]
    which = "all of these" if len(stale) == len(named) else "; ".join(stale)
    caption = f"{cards.sweep_caption(list(named.values()))} Seeded: for study, not a release."
    warning = f"<p><strong>Stale</strong>, trained or measured by earlier code: {which}.</p>"
    return "\n".join([*([warning] if stale else []),
                      f'<div class="playground-live" id="{name}" hidden>', *rows, "</div>", still_picture,
                      f"<p><em>{escape(caption)}</em></p>", ""])


def _row(name: str, title: str, cells: list[str]) -> str:
    return "\n".join([f'<section aria-labelledby="{name}">',
                      f'<p class="playground-method" id="{name}">{escape(title)}</p>',
                      f'<div class="playground-row" style="--columns: {len(cells)}">', *cells, "</div>", "</section>"])


def _figure(record: Record, method: str, noun: str) -> str:
    epsilon, side = record.config.privacy.epsilon, record.config.model.image_side
    spent = "epsilon inf: no noise" if math.isinf(epsilon) else f"spent: {cards.format_epsilon(record)}"
    name = f"{method}, {numbers.epsilon_name(epsilon)}"
    return (f'<figure><canvas width="{side}" height="{side}" role="img" aria-label="not drawn yet" '
            f'data-run="{record.run_id}" data-name="{escape(name)}" data-noun="{noun}"></canvas>'
            f"{_caption(epsilon, spent)}</figure>")


def _caption(epsilon: float, words: str) -> str:
    return f"<figcaption><strong>{escape(numbers.epsilon_name(epsilon))}</strong> {escape(words)}</figcaption>"


# Still pictures

def _still_html(file: str, words: str) -> str:
    return f'<p class="playground-still"><img src="../{STATIC}/{file}" alt="{escape(words)}"></p>'


def still(records: list[Record]) -> Figure:
    """A grid a generator: a row a class, the same z in all of it, slant and width as in FIXED."""
    return figures.sample_grids({tables.name(record): _grid(record) for record in records})


@torch.no_grad()
def _grid(record: Record) -> np.ndarray:
    latent, side = record.config.latent, record.config.model.image_side
    rows, columns = latent.categories, len(FIXED)
    z = np.random.default_rng(SEED).standard_normal(latent.z_dim, dtype=np.float32)
    codes = make_code(latent, torch.arange(rows).repeat_interleave(columns), torch.tensor(FIXED).repeat(rows, 1))
    images = generator_of(record)(torch.from_numpy(z).repeat(rows * columns, 1), codes)
    grid = images.view(rows, columns, side, side).transpose(1, 2).reshape(rows * side, columns * side)
    return (grid.numpy() + 1) / 2


def faces_still(records: list[Record]) -> Figure:
    """The records' own sample grids, side by side: a row a combination, a column one latent vector."""
    config = records[0].config
    rows = [combination_words(config, one) for one in range(config.latent.categories)]
    grids = {run_name(record): colour_grid(record) for record in records}
    return face_figures.grids(grids, rows)
