"""Where a result comes from: the hash of its source, the versions, the machine and the commit."""

import json
import subprocess
import sys

import pytest

from dpgan_lib.records import provenance, store

# The source hash

MODULES = {
    "training": '"""Trains."""\nimport os\nfrom somewhere import latent, x\nfrom toy.config import Settings as S\n'
                "def train(x):\n    from . import steps\n    return x + 1\n",
    "evaluation": "import toy.scores as s\nfrom toy import nothing\n",
    "config": "class Settings: pass\n",
    "steps": "def step():\n    from .deep import dive  # lazily\n    return dive\n",
    "deep": "from toy import config\n",
    "scores": "x = 1\n",
    "latent": "x = 1\n",
    "figures": "from toy import training\n",
}


@pytest.fixture
def toy(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_the_closure_follows_every_form_of_import_and_no_namesake(toy):
    reached = {"training", "evaluation", "config", "steps", "deep", "scores"}
    assert provenance.import_closure(toy) == reached


@pytest.mark.parametrize("name", ["training", "evaluation", "config", "steps", "deep", "scores"])
def test_code_in_the_closure_changes_the_hash(toy, name):
    before = provenance.source_hash(toy)
    (toy / f"{name}.py").write_text(MODULES[name] + "y = 2\n")
    assert provenance.source_hash(toy) != before


@pytest.mark.parametrize("name", ["figures", "latent", "new"])
def test_code_outside_the_closure_does_not(toy, name):
    before = provenance.source_hash(toy)
    (toy / f"{name}.py").write_text("y = 2\n")
    assert provenance.source_hash(toy) == before


@pytest.mark.parametrize("old, new", [
    ('"""Trains."""\n', ""),
    ("Trains", "Teaches"),
    ("def train(x):\n", 'def train(x):\n    """Docstring."""  # and a comment\n'),
    ("x + 1", "(x  +  1)"),
])
def test_text_and_layout_leave_the_hash(toy, old, new):
    before = provenance.source_hash(toy)
    changed = MODULES["training"].replace(old, new)
    assert changed != MODULES["training"]
    (toy / "training.py").write_text(changed)
    assert provenance.source_hash(toy) == before


@pytest.mark.parametrize("old, new", [("x + 1", "x - 1"), ("x + 1", "x + 1.0"), ("x + 1", "x + True"),
                                      ("return x", "x"), ("train(x)", "train(x, /)")])
def test_small_changes_of_code_change_the_hash(toy, old, new):
    before = provenance.source_hash(toy)
    (toy / "training.py").write_text(MODULES["training"].replace(old, new))
    assert provenance.source_hash(toy) != before


def test_a_renamed_module_changes_the_hash(toy):
    before = provenance.source_hash(toy)
    (toy / "scores.py").rename(toy / "marks.py")
    (toy / "evaluation.py").write_text(MODULES["evaluation"].replace("toy.scores", "toy.marks"))
    assert provenance.source_hash(toy) != before


EVERY_SYNTAX = r'''
"""Module."""
from __future__ import annotations
import math as m, os.path
from . import other

@decorate(1, *rest, key=None, **more)
class Shape(Base, metaclass=Meta):
    "Docstring."
    side: int = 3
    empty = ([], {}, (), set(), "", [""])

    async def area(self, a, /, b=2, *args, c, d=.5, **kw) -> float:
        """Docstring."""
        async with lock as held:
            return await self.side ** 2 // b if not c else -1e-5

def describe(x, width=3):
    u = f"{x!r:>{width}} {x:} {{}} {x=}" f"{x:.2f}\n" "\u00e9\u0378" + b"\x00".decode() + u"k"
    match x:
        case {"a": [1, *_], **rest} if rest: pass
        case None | Shape(side=3): return ...
    try:
        del x[1:2, ::3], u
    except* ValueError as error:
        raise RuntimeError from error
    else:
        lambda *, q: (yield)
    return [y := 1j, *(z for z in x if z)], {**x, "k": True}, {v for v in x}
'''


def test_every_python_spells_a_tree_alike():
    """Computed by Python 3.11.7, 3.12.1 and 3.13.0; a reader's Python must not make a published record stale."""
    assert provenance._digest(EVERY_SYNTAX) == "d085e690ed0a9ba0811461bc6487883da92d21c5eddd29a351c26b3f80a71b2b"


def test_figures_and_text_are_no_part_of_a_result():
    closure = provenance.import_closure()
    assert {"training", "evaluation", "config", "mechanism"} <= closure
    assert not closure & {"figures", "report", "results", "publish", "cli"}


# Provenance

def test_reading_records_loads_neither_torch_nor_data():
    code = ("import sys; from dpgan_lib import report, results; results.provenance()\n"
            "assert not {'torch', 'sklearn', 'dpgan_lib.data'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=store.ROOT)


def test_provenance_is_strict_json_and_names_public_versions():
    origin = provenance.provenance(gpu="a device")
    json.dumps(origin, allow_nan=False)
    assert origin["hardware"]["gpu"] == "a device"
    assert origin["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert not [version for version in origin["versions"].values() if "+" in version]


def test_a_folder_outside_a_clone_has_no_commit(tmp_path):
    assert provenance._commit(tmp_path) == {"commit": "unknown", "dirty": False}


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    assert subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True).returncode == 0


def test_a_clone_says_its_commit_and_changes_to_the_library_only(tmp_path):
    (tmp_path / "dpgan_lib").mkdir()
    (tmp_path / "dpgan_lib" / "a.py").write_text("x = 1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "a")
    (tmp_path / "notes.md").write_text("text\n")
    clean = provenance._commit(tmp_path)
    assert len(clean["commit"]) == 40 and not clean["dirty"]
    (tmp_path / "dpgan_lib" / "a.py").write_text("x = 2\n")
    assert provenance._commit(tmp_path) == clean | {"dirty": True}
    assert provenance._commit(tmp_path / "dpgan_lib")["commit"] == "unknown"  # inside someone else's clone
