"""What a check of a record says: one line with its outcome, and the comparisons that make one."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

OK, FAILED, NOT_CHECKED = "ok", "FAILED", "not checked"


@dataclass(frozen=True)
class Check:
    """One line of the verdict. outcome: OK, FAILED or NOT_CHECKED.  detail: the value, both values, or the reason."""

    name: str
    outcome: str
    detail: str

    def __str__(self) -> str:
        """One printable line, whatever the record holds: a text of its own must not pass for another check's line."""
        line = f"{self.outcome:<12} {self.name}: {self.detail}"
        return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def gathered(name: str, rows: Iterable[Check]) -> list[Check]:
    """The rows; a field that is absent, or no number where one must be, is one more that failed."""
    found = []
    try:
        found.extend(rows)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError) as error:
        reason = f"the record lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        found.append(Check(name, FAILED, f"cannot be checked: {reason}"))
    return found


def equal(name: str, recorded, derived, source: str) -> Check:
    """source: where the other value comes from, as "in its config"."""
    if recorded == derived:
        return Check(name, OK, f"{_plain(recorded)}, the same {source}")
    return Check(name, FAILED, f"{_plain(recorded)} in the record, {_plain(derived)} {source}")


def _plain(value) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def near(name: str, recorded: float, derived: float, tolerance: float) -> Check:
    allowed = f" ({tolerance:.1g} apart is allowed)" if tolerance else ""
    if math.isclose(recorded, derived, rel_tol=0, abs_tol=tolerance):  # an infinity is close to itself alone
        return Check(name, OK, f"{recorded:.6g} in the record, {derived:.6g} derived again{allowed}")
    return Check(name, FAILED, f"{recorded} in the record, {derived} derived again{allowed}")
