"""The study of mutual information: its parameters and runs, what their records say, and the two forces on G and Q."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from dpgan_lib import codes, experiment, report, training
from dpgan_lib.config import EvaluationConfig, RunConfig
from dpgan_lib.latent import category, mutual_info_bound, sample_latent
from dpgan_lib.networks import Generator
from dpgan_lib.results import Record, read_samples
from dpgan_lib.studies import Study

STUDY_NAME = "mutual_information"
DATASETS = ("mnist", "grown_digits", "digits")  # what the judge of digits can name
WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0)  # lambda
FEWER_WEIGHTS = (0.0, 0.1, 1.0)
SEEDS = (0, 1, 2)
OF_A_SWEEP = EvaluationConfig(images=5_000, cnn_steps=300)
SMOOTHED = 20  # generator steps that a point of a history averages over


@dataclass(frozen=True, kw_only=True)
class Parameters(experiment.Parameters):
    """As for any run. conditional: the critic sees the label beside the image, and the code's category is the label.

    Without it the critic sees images alone, as in the paper, and a code means what training makes it mean.
    """

    epsilon: float | str = "inf"
    info_weight: float = 1.0  # InfoGAN's, for a category
    conditional: bool = False

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair."""
        super().check()
        experiment.require(self.dataset in DATASETS, "dataset", self.dataset,
                           f"must be one of {', '.join(DATASETS)} here: codes are named as digits")
        experiment.require(type(self.conditional) is bool, "conditional", self.conditional, "must be True or False")


def plan(parameters: Parameters) -> RunConfig:
    """The run that the parameters ask for, its noise calibrated. Opens no data. Raises ValueError as experiment's."""
    config = experiment.without_labels(experiment.plan(parameters))
    config = replace(config, model=replace(config.model, conditional=parameters.conditional))
    return replace(config, evaluation=OF_A_SWEEP) if config.profile == "laptop" else config


def compute(parameters: Parameters, progress: bool) -> Record:
    """Train a run, measure what its codes do, and store the record."""
    return experiment.obtain(STUDY_NAME, plan(parameters), fresh=True, progress=progress, evaluate=codes.measure,
                             entries=("training", "codes"))


STUDY = Study(
    grid=(*(Parameters(info_weight=weight, seed=seed) for weight in WEIGHTS for seed in SEEDS),
          *(Parameters(info_weight=weight, epsilon=epsilon) for epsilon in (10.0, 1.0) for weight in FEWER_WEIGHTS),
          *(Parameters(info_weight=weight, conditional=True) for weight in FEWER_WEIGHTS)),
    address=lambda parameters: experiment.run_id(plan(parameters)), compute=compute)


# What the records say

def row(record: Record) -> dict:
    """A run as a line of a table: what was asked, and the measures that the chapter speaks of.

    Accuracies, nmi and purity lie in [0, 1]; a lead is Q's accuracy less another reader's; nats are bounds by a new
    network; drawn is a number of digits. What remains are correlations, of the continuous code that has the largest.
    """
    config, metrics = record.config, record.metrics
    table = np.array(metrics["digits"]["table"])
    shares = {name: reading["accuracy"] for name, reading in metrics["readers"].items()}
    independent = metrics["readers"]["independent"]
    return {"epsilon": config.privacy.epsilon, "seed": config.seed, "info_weight": config.optimiser.info_weight,
            "conditional": config.model.conditional,
            **shares, **{f"lead_{reader}": shares["posterior"] - shares[reader] for reader in shares},
            "nats": independent["category"], "continuous": sum(independent["continuous"]),
            "nmi": metrics["digits"]["nmi"], "purity": metrics["digits"]["purity"],
            "obeyed": float(np.trace(table) / table.sum()),
            "drawn": metrics["digits"]["drawn"],
            **{f"{name}_{rest}": max(abs(code[name][rest]) for code in metrics["moves"])
               for name in codes.MEASURES for rest in ("random", "fixed")}}


def is_same_sweep(one: RunConfig, other: RunConfig) -> bool:
    """Whether two runs differ in lambda, what the critic sees, epsilon and what follows from it, and seed alone."""
    def rest(config):
        return replace(config, model=replace(config.model, conditional=True),
                       optimiser=replace(config.optimiser, info_weight=0))

    return experiment.is_same_sweep(rest(one), rest(other))


def points(rows: list[dict], measure: str, **where) -> list[tuple[float, float]]:
    """(lambda, measure) of each row whose fields are as in `where`."""
    return [(row["info_weight"], row[measure]) for row in rows if row.items() >= where.items()]


def mean_shares(rows: list[dict], measures: list[str], **where) -> dict[str, str]:
    """Means over points() in percent, for sentences, by names such as nmi_0_1: nmi at lambda 0.1."""
    return {f"{measure}_{weight:g}".replace(".", "_"): _percent(points(rows, measure, info_weight=weight, **where))
            for measure in measures for weight in WEIGHTS}


def _percent(values):
    return f"{np.mean([value for _, value in values]):.0%}" if values else "not measured"


def series(rows: list[dict], names: dict[str, str], **where) -> list[dict]:
    """Measures as series of a figure. names: measure -> its words."""
    return [{"name": name, "points": points(rows, measure, **where)} for measure, name in names.items()]


def by_epsilon(rows: list[dict], measure: str, **where) -> list[dict]:
    """One measure as series of a figure, one for each epsilon."""
    return [{"name": report.epsilon_name(epsilon), "epsilon": epsilon,
             "points": points(rows, measure, epsilon=epsilon, **where)}
            for epsilon in sorted({row["epsilon"] for row in rows}, reverse=True)]


def histories(records: list[Record]) -> dict[str, tuple]:
    """L_I while training, each point a mean over SMOOTHED steps: lambda as a name -> (critic steps, nats)."""
    by_weight = sorted(records, key=lambda record: record.config.optimiser.info_weight)
    return {f"lambda {record.config.optimiser.info_weight:g}": _smoothed(record.content["history"])
            for record in by_weight}


def _smoothed(history):
    parts = [history[start : start + SMOOTHED] for start in range(0, len(history), SMOOTHED)]
    return tuple(zip(*np.array([np.mean(part, axis=0) for part in parts]).tolist()))


def table(rows: list[dict], caption: str) -> str:
    """A line for each run, collapsed ones marked, as HTML. Shares are in percent."""
    order = sorted(rows, key=_order)
    head = ["run", "Q itself", "new network", "strokes alone", "category (nats)", "continuous (nats)", "purity",
            "NMI with digits", "digits drawn"]
    return report.table(caption, head, [report.table_row(run_name(row), _cells(row)) for row in order])


def _order(row):
    return row["conditional"], row["epsilon"], row["info_weight"], row["seed"]


def _cells(row):
    collapsed = " (collapsed)" if row["drawn"] < codes.COLLAPSED else ""
    shares = [f"{100 * row[name]:.0f}" for name in ("posterior", "independent", "strokes")]
    return [*shares, f"{row['nats']:.2f}", f"{row['continuous']:.2f}", f"{100 * row['purity']:.0f}",
            f"{row['nmi']:.2f}", f"{row['drawn']}{collapsed}"]


def run_name(row: dict) -> str:
    """A run in words, with an epsilon whose scope stands nearby."""
    return (f"{'with labels, ' if row['conditional'] else ''}lambda {row['info_weight']:g}, "
            f"{report.epsilon_name(row['epsilon'])}, seed {row['seed']}")


def moves_table(records: list[Record]) -> str:
    """Rank correlations of each run's continuous codes with slant and stroke width, all else random, as HTML."""
    body = [report.table_row(run_name(row(record)), [f"{code[name]['random']:+.2f}" for code in record.metrics["moves"]
                                                     for name in codes.MEASURES]) for record in records]
    head = [f"code {number + 1}, {name}" for number in range(len(records[0].metrics["moves"]))
            for name in codes.MEASURES]
    return report.table("Rank correlations, all else random", ["run", *head], body)


def grids(records: list[Record]) -> tuple[dict, dict]:
    """For figures_information.code_grids: each run's sample grid, and what the judge calls each category; in order.

    A category is called by its commonest digit, with that digit's share.
    """
    named = {run_name(row(record)): record for record in sorted(records, key=lambda record: _order(row(record)))}
    return ({name: read_samples(record) for name, record in named.items()},
            {name: names(record.metrics["digits"]["table"]) for name, record in named.items()})


def names(table: list[list[int]]) -> list[str]:
    """The commonest digit of each line of a table (codes, digits), and its share."""
    return [f"{np.argmax(line)} ({max(line) / sum(line):.0%})" for line in table]


def generator_of(record: Record) -> Generator:
    """The released generator of a record."""
    generator = Generator(record.config.latent, record.config.model)
    generator.load_state_dict(load_file(record.folder / "generator.safetensors"))
    return generator


# The two terms of Eq. 1 that train G and Q

def forces(config: RunConfig, state: training.State, rng: np.random.Generator) -> dict[str, Tensor]:
    """The gradients, with respect to all weights of G and Q as one vector, of the two terms that train them.

    critic: of E f_w(G(z, c)).  information: of L_I. On one batch from the prior, with the networks as they are.
    """
    place = next(state.generator.parameters()).device
    z, code = (part.to(place) for part in sample_latent(config.latent, config.optimiser.fakes, rng))
    images = state.generator(z, code)
    terms = {"critic": state.critic(images, category(config.latent, code)).mean(),
             "information": mutual_info_bound(config.latent, state.posterior(images), code)}
    weights = [*state.generator.parameters(), *state.posterior.parameters()]
    return {name: _flat(torch.autograd.grad(term, weights, retain_graph=True, materialize_grads=True))
            for name, term in terms.items()}


def _flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


def after_critic_steps(config: RunConfig, images: np.ndarray, labels: np.ndarray) -> training.State:
    """A new run whose critic took its first steps on the images, while G and Q stand where they began."""
    steps = config.optimiser.critic_steps
    config = replace(config, optimiser=replace(config.optimiser, critic_steps=steps + 1),  # no generator step follows
                     privacy=replace(config.privacy, steps=steps))
    records = training.on_device(config, images, labels)
    state = training.new_state(config, training.device())
    training.train_block(config, state, records)
    return state
