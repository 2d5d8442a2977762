"""The chapters' studies, found by their folders: studies/<chapter>/study.py, imported when asked for."""

from importlib import import_module

from dpgan_lib.paths import PACKAGE
from dpgan_lib.records.store import Record, sound
from dpgan_lib.studies.study import Study


def chapters() -> list[str]:
    """The chapters that have a folder here, by name."""
    return sorted(path.parent.name for path in (PACKAGE / "studies").glob("*/study.py"))


def parameters(chapter: str) -> type | None:
    """The dataclass of a chapter's parameters, or None."""
    return getattr(_module(chapter), "Parameters", None)


def studies(chapter: str) -> list[Study]:
    """A chapter's studies, in the order in which it defines them; none where it has no records."""
    return [value for value in vars(_module(chapter) or object).values()
            if isinstance(value, Study) and value.chapter == chapter]


def every() -> list[Study]:
    """The studies of all chapters."""
    return [study for chapter in chapters() for study in studies(chapter)]


def study(name: str, asked=None) -> Study:
    """A chapter's study of what is asked for; without that, its first, or the one named as "chapter/kind".

    Raises ValueError if there is none that has a grid.
    """
    chapter, _, kind = name.partition("/")
    found = [study for study in studies(chapter) if study.grid
             and (asked is None or type(asked) is study.asked) and kind in ("", study.kind)]
    if not found:
        known = [f"{study.chapter}/{study.kind}" for study in every() if study.grid]
        raise ValueError(f"{name!r} is no study with a grid: it must be a chapter, or a study, of {', '.join(known)}")
    return found[0]


def study_of(record: Record) -> Study:
    """The study whose record it is. Raises ValueError for a damaged record, or if there is no such study any more."""
    sound(record)
    for study in studies(record.study):
        if study.kind == record.kind:
            return study
    raise ValueError(f"{record.study} has no {record.kind!r} any more: {record.folder} cannot be computed again.")


def obtain(chapter: str, asked, *, fresh: bool = False, max_minutes: float | None = None,
           progress: bool = True) -> Record | None:
    """A chapter's record of what is asked for, as Study.obtain gives it."""
    return study(chapter, asked).obtain(asked, fresh=fresh, max_minutes=max_minutes, progress=progress)


def _module(chapter: str):
    return import_module(f"dpgan_lib.studies.{chapter}.study") if chapter in chapters() else None
