"""What a reader has typed, made to fit what is known. Apart from chapters, whose notebooks take seconds to import."""

import difflib
import math
from dataclasses import MISSING, fields


def fitted(values: dict, known: dict, name: str) -> dict:
    """The values, each of the type of its known default. Raises ValueError for an unknown name, with the nearest."""
    return {key: _fit(key, value, known, name) for key, value in values.items()}


def field_defaults(kind: type) -> dict:
    """The fields of a dataclass that have a default, and these."""
    return {field.name: field.default for field in fields(kind) if field.default is not MISSING}


def _fit(key: str, value, known: dict, name: str):
    if not key.isidentifier():
        raise ValueError(f"{key!r} is not a parameter's name: it must be one of {', '.join(known)}")
    if key not in known:
        raise ValueError(f"{name} has no parameter {key!r}{nearest(key, known)}")
    kind = float if key == "epsilon" and known[key] == "inf" else type(known[key])
    if kind is float and type(value) is int:
        value = float(value)
    if kind is float and value in ("inf", math.inf) and key == "epsilon":
        return "inf"  # papermill would write a bare Infinity, which is not JSON
    if type(value) is not kind:
        raise ValueError(f"{key}={value!r} must be of type {kind.__name__}, such as {known[key]!r}")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{key}={value} must be a finite number, such as {known[key]!r}")
    return value


def nearest(name: str, known) -> str:
    """The end of a refusal of a name: the known one that is nearest, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else f": choose from {', '.join(known) or 'none yet'}"
