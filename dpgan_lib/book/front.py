"""What the front page shows of the records: three findings in a sentence each, and every verdict as a mark."""

from collections.abc import Callable
from html import escape
from statistics import mean, median

from dpgan_lib.book.claims import claims
from dpgan_lib.paths import chapters
from dpgan_lib.privacy.audit import GAUSSIAN_MEAN
from dpgan_lib.records.store import Record
from dpgan_lib.studies.audit.canaries import KNOWS_DATA
from dpgan_lib.studies.verdicts import (
    BOOK,
    FAILS,
    FIRST_LOOK,
    HOLDS,
    IN_PART,
    NOT_MEASURABLE,
    NOT_MEASURED,
    PAPER,
    epsilon_of,
    number_of,
    on_mnist,
    seeds_of,
    stale,
)

Published = Callable[[str], list[Record]]  # a study -> its published records
MARKS = {HOLDS: "✓", IN_PART: "◐", FAILS: "✗", FIRST_LOOK: "?", NOT_MEASURABLE: "–", NOT_MEASURED: "–"}
CLAIMANTS = {PAPER: "What the paper claims", BOOK: "What we claim"}


def findings(published: Published) -> str:
    """As an HTML list, each with its chapter. What no record says is left out."""
    found = [("mnist_tradeoff", _utility(published("mnist_tradeoff"))),
             ("audit", _audit(published("audit"))),
             ("mutual_information", _codes(published("mutual_information")))]
    items = "".join(f'<li>{escape(words)} <a href="{_page(chapter)}">{_name(chapter)}</a></li>'
                    for chapter, words in found if words)
    return f'<ul class="findings">{items}</ul>'


def _utility(records: list[Record]) -> str:
    read, ceiling = on_mnist(records, "reader"), on_mnist(records, "ceiling")
    shown = {epsilon: [record.metrics["wide"]["synthetic"]["ten_cnn"] for record in read
                       if epsilon_of(record) == epsilon] for epsilon in (10.0, 1.0)}
    if not (ceiling and all(shown.values())):
        return ""
    real = ceiling[0].metrics["real"]["ten_cnn"]
    return ("Images from a generator trained with epsilon 10 teach a classifier to name "
            f"{mean(shown[10.0]):.1%} of real test digits, and with epsilon 1 {mean(shown[1.0]):.1%} "
            f"({_seeds(read, shown)}{stale(read + ceiling)}). Real images teach it {real:.1%}.")


def _seeds(records, of_epsilons):
    return number_of(min(seeds_of([record for record in records if epsilon_of(record) in of_epsilons]).values()))


def _audit(records: list[Record]) -> str:
    at_ten = [record for record in on_mnist(records) if epsilon_of(record) == 10]
    if not at_ten:
        return ""
    shown = median(record.metrics["audits"][KNOWS_DATA]["bounds"][GAUSSIAN_MEAN] for record in at_ten)
    return ("Epsilon can be checked. Whoever listens to a single training run that claims epsilon 10 can show that "
            f"it is at least {shown:.1f}, if its noise is Gaussian as it says ({_seeds(at_ten, [10.0])}"
            f"{stale(at_ten)}).")


def _codes(records: list[Record]) -> str:
    learnt = [record for record in on_mnist(records, "infogan")
              if record.asked["deformed"] and record.asked["loss"] == "js"]
    if not learnt:
        return ""
    right = mean(record.metrics["real"]["accuracy"] for record in learnt)
    return (f"Codes can become digits without a single label: {right:.1%} of real test digits, once the network that "
            f"reads codes looks at deformed copies ({number_of(len(learnt))}, no privacy"
            f"{stale(learnt)}).")


def marks(published: Published) -> str:
    """Every verdict as a sign with the claim's words, as HTML lists, one for each claimant. Each leads to the claims'
    chapter.
    """
    return "".join(f"<p>{title}</p><ul class=\"marks\">{_list(who, published)}</ul>"
                   for who, title in CLAIMANTS.items())


def _list(who: str, published: Published) -> str:
    items = []
    for claim in claims(who):
        verdict = claim.verdict(published(claim.study)).verdict
        method = f" ({claim.method})" if claim.method else ""
        items.append(f'<li><a href="{_page("claims")}"><span aria-hidden="true">{MARKS[verdict]}</span> '
                     f"{escape(claim.words + method)}: {escape(verdict)}</a></li>")
    return "".join(items)


def _page(chapter: str) -> str:
    """From any page of the book's folder or of the notebooks'."""
    return f"../notebooks/{chapters()[chapter].stem}.html"


def _name(chapter: str) -> str:
    return f"Chapter {int(chapters()[chapter].stem.partition('_')[0])}"
