"""The claims of the paper and of this book, collected from the studies that judge them, in the order of chapters."""

import inspect
from collections.abc import Callable
from html import escape
from importlib import import_module

from dpgan_lib.paths import PACKAGE, chapters
from dpgan_lib.records.store import Record
from dpgan_lib.report import html
from dpgan_lib.studies.verdicts import BOOK, PAPER, Claim, Verdict, number_of

__all__ = ["BOOK", "PAPER", "address", "claims", "table"]
CAPTIONS = {
    True: "The claims of the paper, with verdicts by rule; accuracies are on real test images, with 95% intervals over "
          "seeds where there are several",
    False: "What this book claims, with verdicts by rule; accuracies are on real test images"}


def claims(who: str | None = None, chapter: str | None = None) -> list[Claim]:
    """Every claim, or those of one claimant, PAPER or BOOK, or of one chapter; by chapter, as each lists its own."""
    modules = [import_module(f"dpgan_lib.studies.{name}.claims") for name in chapters()
               if (PACKAGE / "studies" / name / "claims.py").is_file()]
    return [claim for module in modules for claim in module.CLAIMS
            if who in (None, claim.who) and chapter in (None, claim.study)]


def table(who: str, published: Callable[[str], list[Record]], chapter: str | None = None) -> str:
    """The claims of PAPER or BOOK as an HTML table, one row each. published: study -> its records.  chapter: only its
    own.
    """
    rows = []
    for claim in claims(who, chapter):
        records = published(claim.study)
        verdict = claim.verdict(records)
        link = f'<br>{_link(claim)}' if claim.admits(records) else ""
        seeds = "" if verdict.seeds is None else f"<br>{number_of(verdict.seeds)}"
        rows.append(html.table_row(_words(claim), [
            f"<strong>{escape(verdict.verdict)}</strong>{seeds}{link}",
            f"<p>{escape(verdict.measured)}</p><p><em>Rule: {escape(claim.rule)}{_needs(verdict, claim)}</em></p>"
            + _code(claim)]))
    head = [who, "verdict", "measured, and the rule"]
    return f'<div class="claims">{html.table(CAPTIONS[who == PAPER], head, rows)}</div>'


def _words(claim: Claim) -> str:
    return f"{claim.words} ({claim.method})" if claim.method else claim.words


def _needs(verdict: Verdict, claim: Claim) -> str:
    return "" if verdict.seeds is None else f" It takes {number_of(claim.seeds)}."


def _code(claim: Claim) -> str:
    """The rule as it is computed, folded."""
    source = escape(inspect.getsource(claim.judge))
    return f"<details><summary>The rule in code</summary><pre><code>{source}</code></pre></details>"


def address(claim: Claim) -> str:
    """The heading that measures it, as in a URL."""
    return f"{chapters()[claim.study].stem}.html#{claim.where}"


def _link(claim: Claim) -> str:
    """Says the number that the chapter's file begins with, which a page of contents does not need."""
    number = int(chapters()[claim.study].stem.partition("_")[0])
    return f'<a href="{escape(address(claim))}">chapter {number}</a>'
