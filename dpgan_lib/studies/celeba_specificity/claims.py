"""The paper's claim on CelebA and this book's, with their rules."""

from dpgan_lib.records.store import Record
from dpgan_lib.report import numbers
from dpgan_lib.report.numbers import mean_words
from dpgan_lib.studies.celeba_specificity import study, tables
from dpgan_lib.studies.verdicts import (
    BOOK,
    NOT_MEASURED,
    PAPER,
    SEVERAL,
    Claim,
    Verdict,
    epsilon_of,
    fewest_seeds,
    no_smoke,
    of_parts,
    of_targets,
    stale,
    with_several,
)

STEERED = 0.75  # specificity, of each attribute: halfway between chance and always
FACE_UTILITY = 0.75  # likewise, of balanced accuracy: a rare attribute's plain one is high if it is never named
FACE_WORDS = {"specificity": "specificity", "balanced": "balanced accuracy"}


def judge_faces(records: list[Record]) -> Verdict:
    """At every epsilon up to 10 that has SEVERAL seeds, an image at a time, specificity and balanced accuracy reach
    STEERED and FACE_UTILITY, on average over seeds, for every attribute asked for: in part, where only some do.
    """
    counted = with_several([record for record in records
                            if record.config.unit == "image" and epsilon_of(record) <= 10])
    rows = list(map(tables.row, counted))
    if not rows:
        return Verdict(NOT_MEASURED, "no record")
    names, passes, words = tables.names_of(records), [], []
    for epsilon in sorted({row["epsilon"] for row in rows}):
        for measure, least in (("specificity", STEERED), ("balanced", FACE_UTILITY)):
            found = {name: values for name in names
                     if (values := [row[measure, name] for row in rows if row["epsilon"] == epsilon])}
            passes += [sum(values) / len(values) >= least for values in found.values()]
            words.append(f"{numbers.epsilon_name(epsilon)}, {FACE_WORDS[measure]}: " + ", ".join(
                f"{tables.words(name)} {mean_words(values)}" for name, values in found.items()))
    return Verdict(of_parts(passes), "; ".join(words) + stale(counted), fewest_seeds(counted))


def judge_steering(records: list[Record]) -> Verdict:
    """The targets of the chapter on faces."""
    return of_targets(tables.targets(list(map(tables.row, records)), study.INFO_WEIGHT), records)


def admissible_faces(records: list[Record]) -> list[Record]:
    """The runs on real faces by the whole method, and no smoke run."""
    return [record for record in no_smoke(records) if record.asked["dataset"].startswith("celeba")
            and record.asked["info_weight"] > 0]


CLAIMS = (
    Claim(who=PAPER, words="The approach extends to CelebA",
          method="this book's method alone: the paper's own has not been tried on it",
          rule=f"At every epsilon up to 10 of {SEVERAL} seeds or more, and for every attribute asked for, at least "
               f"{STEERED:.0%} of the images are read as asked for, and a network that learnt from generated images "
               f"alone reads at least {FACE_UTILITY:.0%} of the real ones right, on average of those with the "
               "attribute and those without; in part, if only some do.",
          study="celeba_specificity", where="do-you-get-what-you-ask-for", judge=judge_faces, admits=admissible_faces),
    Claim(who=BOOK, words="Private faces can be steered, and are worth training on",
          rule="Every target of specificity and accuracy that was set beforehand for two cores is reached, by "
               f"{SEVERAL} seeds or more; in part, if some are.",
          study="celeba_specificity", where="do-you-get-what-you-ask-for", judge=judge_steering,
          admits=admissible_faces),
)
