"""The shape of a record: the type of each field that a reader relies on. Each study's metrics have their own."""

from functools import cache

import fastjsonschema

NUMBER = {"type": ["number", "string"], "pattern": "^-?inf$"}  # a pattern holds for texts alone
TEXT, DICT = {"type": "string"}, {"type": "object"}
EPSILONS = ("pld", "rdp", "moments")
PRIVACY = {"epsilon_asked": NUMBER, "delta": NUMBER, "adjacency": TEXT, "unit": TEXT, "noise_multiplier": NUMBER,
           "sampling_rate": NUMBER, "steps": {"type": "integer"},
           "epsilon_spent": {"type": "object", "required": [*EPSILONS], "additionalProperties": NUMBER}}
READER = {"noise_multiplier": NUMBER, "sampling_rate": NUMBER, "steps": {"type": "integer"}}


def _source(name: str) -> dict:
    return {"type": "object", "required": [name, "sha256"], "properties": {name: TEXT, "sha256": TEXT}}


PROVENANCE = {
    "type": "object",
    "required": ["sources", "versions", "platform", "hardware", "commit"],
    "properties": {
        "sources": {"type": "object", "additionalProperties": False,
                    "properties": {"training": _source("method"), "measuring": _source("kind")}},
        "versions": {"type": "object", "additionalProperties": TEXT},
        "platform": TEXT, "commit": TEXT, "trained_on": TEXT, "dirty": {"type": "boolean"},
        "hardware": {"type": "object", "required": ["gpu"], "properties": {"gpu": TEXT, "cpu": TEXT}},
    },
}
RECORD = {
    "type": "object",
    "properties": {
        "study": TEXT, "run_id": TEXT, "created": TEXT, "digest": TEXT, "mode": {"enum": ["demo", "release"]},
        "asked": DICT, "card": DICT, "metrics": DICT,
        "config": {"type": "object", "properties": {"seed": {"type": ["integer", "null"]}}},
        "privacy": {"type": "object", "properties": PRIVACY | {
            "release_noise": NUMBER, "reader": {"type": "object", "required": [*READER], "properties": READER}},
                    "if": {"minProperties": 1}, "then": {"required": [*PRIVACY]}},
        "seconds": {"type": "object", "additionalProperties": NUMBER},
        "steps": {"type": "object", "additionalProperties": {
            "type": "object", "required": ["charged", "taken"], "additionalProperties": {"type": "integer"}}},
        "artefacts": {"type": "object", "additionalProperties": TEXT},
        "history": {"type": "array", "items": {"type": "array", "items": NUMBER}},
        "released": {"type": "object", "properties": {"shares": {"type": "array", "items": NUMBER}}},
        "provenance": PROVENANCE,
    },
}
LONGEST = 200  # characters that are shown of what is wrong


def fault(content: dict) -> str | None:
    """The first field of another shape than a record's, and what it must be, in one line; None if nothing is."""
    try:
        _validator()(content)
    except fastjsonschema.JsonSchemaValueException as error:
        return " ".join(error.message.removeprefix("data.").split())[:LONGEST]
    return None


@cache
def _validator():
    return fastjsonschema.compile(RECORD)
