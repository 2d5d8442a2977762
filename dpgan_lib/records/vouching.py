"""What `dpgan verify` vouches for, field by field: is it right, and is it as it was written?

The first is answered for each field by FIELDS. The second is answered for all of them together, by a digest; how much
that is worth depends on where the digest lies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from dpgan_lib.records.store import DIGEST, SCHEMA, Record, is_published

RECOMPUTED, HASHED, REPORTED = "recomputed", "in the run id", "merely reported"
MEANING = {
    RECOMPUTED: "derived again from other fields, from files or by this library, and compared",
    HASHED: "the run id is a hash of these, and names the record's folder",
    REPORTED: "what the record says of itself: no check derives it again",
}


@dataclass(frozen=True)
class Field:
    """path: of a record's fields, a * for anything below or between.  how: of MEANING.  words: by what, or why not."""

    path: str
    how: str
    words: str


FIELDS = (  # the first that fits a field is its
    Field("schema", RECOMPUTED, f"no reader takes another than {SCHEMA}"),
    Field("run_id", RECOMPUTED, "the hash of config and card"),
    Field("mode", RECOMPUTED, "by the config: a release has no seed, and a demonstration has one"),
    Field("digest", RECOMPUTED, "over all else in the record"),
    Field("asked/profile", RECOMPUTED, "the same in the config"),
    Field("asked/seed", RECOMPUTED, "the same in the config"),
    Field("asked/epsilon", RECOMPUTED, "the same in the config"),
    Field("asked/delta", RECOMPUTED, "the same in the config"),
    Field("privacy/epsilon_spent/pld", RECOMPUTED, "from mechanism and delta, to within a millionth"),
    Field("privacy/epsilon_spent/rdp", RECOMPUTED, "from mechanism and delta, to within a millionth"),
    Field("privacy/epsilon_spent/moments", RECOMPUTED, "from mechanism and delta, to within a millionth"),
    Field("privacy/epsilon_asked", RECOMPUTED, "the same in the config, and no less than is spent"),
    Field("privacy/delta", RECOMPUTED, "the same in the config, and below 1/N"),
    Field("privacy/noise_multiplier", RECOMPUTED, "the same in the config"),
    Field("privacy/steps", RECOMPUTED, "the same in the config; that so many were taken is merely reported"),
    Field("steps/*/charged", RECOMPUTED, "of each part of a release: the same in the config"),
    Field("steps/*/taken", REPORTED, "between the least share declared and all that were charged"),
    Field("privacy/release_noise", RECOMPUTED, "the same in the config"),
    Field("privacy/reader/*", RECOMPUTED, "the same in the config; that so many steps were taken is merely reported"),
    Field("privacy/sampling_rate", RECOMPUTED, "expected batch / records of the config"),
    Field("privacy/adjacency", RECOMPUTED, "the only one that the accountants bound"),
    Field("privacy/unit", RECOMPUTED, "the same in the card"),
    Field("artefacts/*", RECOMPUTED, "SHA-256 of the file"),
    Field("metrics/synthetic/pairs/*", RECOMPUTED, "their mean and the least of them are two other metrics"),
    Field("metrics/synthetic/pairs_*", RECOMPUTED, "mean and least of the pairs"),
    Field("metrics/synthetic/cnn_pairs/*", RECOMPUTED, "their mean and the least of them are two other metrics"),
    Field("metrics/combinations/*/1", RECOMPUTED, "they add up to the images of the config"),
    Field("metrics/obeyed/*/1", RECOMPUTED, "they add up to the images of the config"),
    Field("config/*", HASHED, "of a training run, the privacy statement must agree with it too"),
    Field("card/*", HASHED, "of a data set of this library, it must be the library's card too"),
    Field("metrics/*", REPORTED, "in range and consistent at most; --deep computes those of digits from the weights"),
    Field("asked/*", REPORTED, "the config follows from it, by a plan that no check makes"),
    Field("study", REPORTED, "in the published store it is the folder's name"),
    Field("created", REPORTED, "by that machine's clock"),
    Field("seconds/*", REPORTED, "by that machine's clock"),
    Field("history/*", REPORTED, "what training showed while it ran; only training again shows it"),
    Field("released/*", REPORTED, "what the warm start released; only training again shows it"),
    Field("provenance/sources/*", REPORTED, "`dpgan status` compares it with the source here"),
    Field("provenance/versions/*", REPORTED, "`dpgan status` compares it with the versions here"),
    Field("provenance/*", REPORTED, "machine and commit"),
    Field("*", REPORTED, "no check knows it"),
)


def leaves(value, path: str = "") -> Iterator[str]:
    """The paths of all numbers, texts and the like in a record's content, and of what is empty: "card/files/0/name"."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not parts:
        yield path
    for name, part in parts:
        yield from leaves(part, f"{path}/{name}" if path else str(name))


def field(path: str) -> Field:
    """What is vouched for of a field of a record."""
    return next(each for each in FIELDS if fnmatchcase(path, each.path))


def as_written(record: Record) -> str:
    """What shows whether the record, every field of it, is as it was written."""
    if is_published(record):
        return ("the record's digest is in MANIFEST.json, and the manifest in a commit: an edit shows as long as that "
                "commit is the one you trust")
    if DIGEST in record.content:
        return ("the record holds a digest of itself: damage by accident shows; who edits it on purpose can write a "
                "new one")
    return "nothing: the record is not published, and is from before records held a digest of themselves"


def explain(record: Record | None = None) -> list[str]:
    """The table: what is vouched for, field by field; of a record, the fields that it has."""
    rows = list(FIELDS)
    if record:
        there = {field(path) for path in leaves(record.content)}
        rows = [row for row in FIELDS if row in there]
    wide = max(len(row.path) for row in rows)
    lines = []
    for how, meaning in MEANING.items():
        lines += [f"{how}: {meaning}", *(f"  {row.path:{wide}}  {row.words}" for row in rows if row.how == how), ""]
    lines.append("as it was written, whatever the field:")
    if record:
        return [*lines, f"  {as_written(record)}"]
    return [*lines, *(f"  {words}" for words in (
        "published       MANIFEST.json holds the digest of the record, and a commit holds the manifest",
        "computed here   the record holds a digest of itself: damage by accident shows, an edit on purpose need not",
        "older than that nothing, unless it is published"))]
