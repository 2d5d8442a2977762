"""What a new study, data set and method take, and that all else is inherited.

A copy of the library gets a toy of each. A study is a folder. A data set is a function that makes it, and its card. A
method is a file, with its class of configurations, and its row. Then the study must be computed, swept, listed,
verified, shown, judged and measured again.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.full  # about a minute: two processes load torch, train and account
PACKAGE = Path(__file__).resolve().parents[1] / "dpgan_lib"

# A data set: a function that makes it, and a card.
BLOBS = '''

def blobs() -> tuple[np.ndarray, ...]:
    """1,000 to train and 40 to test, as digits(): the left half is bright (class 0) or the right one (class 1)."""
    rng = np.random.RandomState(0)
    labels = rng.randint(0, 2, 1040).astype(np.uint8)
    images = rng.randint(0, 100, (1040, 8, 8)).astype(np.uint8)
    for image, label in zip(images, labels):
        image[:, 4 * label : 4 * label + 4] += 120
    return images[:1000], labels[:1000], images[1000:], labels[1000:]
'''
CARD = '''DataCard(name="blobs", title="Blobs", records=1000, test_records=40, side=8, classes=2,
             pixels_sha256="{digest}", licence="none", source="this test", caption="1,000 blobs"),'''

# A method: a file with the class of its runs' configurations, and what they start from.
METHOD = '''"""A linear generator, which starts from small random weights and knows nothing of the data."""

from dataclasses import dataclass

import torch
from torch import nn

from dpgan_lib.config import RunConfig
from dpgan_lib.gan import loop
from dpgan_lib.gan.networks import Posterior
from dpgan_lib.gan.state import Start


@dataclass(frozen=True, kw_only=True)
class ToyRunConfig(RunConfig):
    """A run whose generator is linear. scale: of its initial weights."""

    scale: float


class LinearGenerator(nn.Module):
    def __init__(self, config: ToyRunConfig):
        super().__init__()
        self.side = config.model.image_side
        self.layer = nn.Linear(config.latent.z_dim + config.latent.code_dim, self.side**2)

    def forward(self, z, code):
        return torch.tanh(self.layer(torch.cat([z, code], 1))).view(-1, 1, self.side, self.side)


class ToyStart:
    def begin(self, config: ToyRunConfig) -> Start:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            generator, posterior = LinearGenerator(config), Posterior(config.latent, config.model)
        with torch.no_grad():
            generator.layer.weight *= config.scale
        categories = config.latent.categories
        return Start(generator, posterior, torch.full((categories,), 1 / categories), no_witness)


def no_witness(images, categories):
    return lambda images, categories: torch.zeros(len(images))


def train(config, first, images, labels, folder, **how):
    return loop.train(config, images, labels, folder, start=first.begin(config), **how)
'''
ROW = '''    Method(name="toy", config=toy.ToyRunConfig, train=toy.train, rounds=toy.ToyStart,
           empty=toy.LinearGenerator),
'''

# A study: a folder, and a chapter's file of the same name.
STUDY = '''"""Whether a linear generator draws the class that it is asked for."""

from dataclasses import dataclass, replace

import numpy as np

from dpgan_lib import data
from dpgan_lib.config import LatentConfig
from dpgan_lib.measures.classifiers import synthesise
from dpgan_lib.privacy.streams import stream
from dpgan_lib.studies.parameters import RunParameters, configure
from dpgan_lib.studies.study import Plan, Study, Trained, weights
from dpgan_lib.warm_start.toy import ToyRunConfig

NOISE = 20.0  # more than any epsilon of the grid needs


@dataclass(frozen=True, kw_only=True)
class Parameters(RunParameters):
    dataset: str = "blobs"
    scale: float = 0.5


def plan(asked: Parameters) -> Plan:
    run = configure(replace(asked, epsilon="inf"), data.card(asked.dataset).records)
    privacy = replace(run.privacy, epsilon=asked.target_epsilon, expected_batch=20, steps=4, clip_norm=1.0,
                      noise_multiplier=NOISE)
    changes = dict(latent=LatentConfig(z_dim=2, categories=2, continuous=1), privacy=privacy,
                   model=replace(run.model, image_side=8, critic_width=4))
    return Plan(run=ToyRunConfig(**vars(run) | changes, scale=asked.scale), card=data.card(asked.dataset))


def measure(asked: Parameters, plan: Plan, trained: Trained, files: data.Dataset, progress) -> tuple[dict, dict]:
    wanted = np.arange(100) % 2
    images = synthesise(trained.average, plan.run.latent, wanted, stream(plan.run.randomness, "evaluation"))
    right, left = (images[..., part].mean((1, 2, 3)) for part in (slice(4, 8), slice(0, 4)))
    progress()
    return {"drawn": float(((right > left) == wanted).mean())}, weights(trained)


STUDY = Study(chapter="toy_study", asked=Parameters, plan=plan, measure=measure,
              grid=(Parameters(epsilon=1.0), Parameters(epsilon=1.0, seed=1)))
'''
CLAIMS = '''from dpgan_lib.studies.verdicts import BOOK, Claim, Verdict, no_smoke, of_parts


def judge(records):
    return Verdict(of_parts([record.metrics["drawn"] > 0.5 for record in records]), f"{len(records)} records")


CLAIMS = (Claim(who=BOOK, words="Toys draw what they are asked for", rule="Every run does it more often than not.",
                study="toy_study", where="toys", judge=judge, admits=no_smoke),)
'''
CHAPTER = "# %% [markdown]\n# ## Toys\n"

# What is then asked of the copy, in a process of its own.
SCRIPT = '''import json
import shutil
from pathlib import Path

import pytest

from dpgan_lib import paths
from dpgan_lib.book import catalogue, claims
from dpgan_lib.records import checks, provenance, store, verify
from dpgan_lib.studies import registry, sweep
from dpgan_lib.warm_start import methods


def changed(file, before, after):
    """Edit a file of the library as a reader would between two sessions."""
    text = (paths.PACKAGE / file).read_text()
    assert text.count(before) == 1
    (paths.PACKAGE / file).write_text(text.replace(before, after))
    provenance._library.cache_clear()


def main():
    study, found = registry.study("toy_study"), {"package": str(paths.PACKAGE)}
    found["missing"] = list(study.states())
    first = registry.obtain("toy_study", study.grid[0], progress=False)
    found["due"] = len(sweep.due("toy_study"))
    found["holes"] = [reason for _, reason in sweep.compute("toy_study", sweep.due("toy_study"))]
    found["computed"] = list(study.states())

    shutil.copytree(paths.runs() / "toy_study", paths.published() / "toy_study")
    store.update_manifest()
    records = store.published("toy_study")
    found["current"] = list(study.states())
    verdicts = [verify.check(record) for record in records]
    found["checks"] = [list(map(str, each)) for each in verdicts]
    found["failed"] = [str(check) for each in verdicts for check in each if check.outcome == checks.FAILED]
    found["asked"] = [study.asked_of(record) in study.grid for record in records]
    found["comparable"] = len(study.comparable(records, study.grid[0]))
    found["runs"] = [record.run_id for record in records]
    found["drawn"] = [record.metrics["drawn"] for record in records]
    found["config"] = type(first.config).__name__
    found["records"] = catalogue.records_table("toy_study", records)
    found["claims"] = claims.table(claims.BOOK, store.published)

    again = study.measure_again(first, progress=False)
    found["measured again"] = {name: [record.content[name] for record in (first, again)]
                               for name in ("metrics", "history", "released", "artefacts", "asked", "privacy")}
    changed("studies/toy_study/study.py", "arange(100)", "arange(200)")
    found["other measure"] = store.staleness(again)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "train", lambda *_, **__: pytest.fail("trained again"))
        refreshed = study.refresh(study.grid[0], progress=False)
    found["refreshed"] = [store.staleness(refreshed), refreshed.content["history"] == first.content["history"]]
    changed("warm_start/toy.py", "*= config.scale", "*= -config.scale")
    found["other training"] = store.staleness(refreshed)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
'''


def insert(file: Path, **edits):
    """Put text before anchors that the file has once. edits: by purpose, (anchor, text)."""
    text = file.read_text(encoding="utf-8")
    for anchor, more in edits.values():
        assert text.count(anchor) == 1, (file, anchor)
        text = text.replace(anchor, more + anchor)
    file.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the script found in a project that has the copy."""
    project = tmp_path_factory.mktemp("project")
    library = project / "dpgan_lib"
    shutil.copytree(PACKAGE, library, ignore=shutil.ignore_patterns("__pycache__"))
    files = {"pyproject.toml": "", "notebooks/01_toy_study.py": CHAPTER, "book/results/.keep": "", "script.py": SCRIPT,
             "dpgan_lib/studies/toy_study/__init__.py": "", "dpgan_lib/studies/toy_study/study.py": STUDY,
             "dpgan_lib/studies/toy_study/claims.py": CLAIMS, "dpgan_lib/warm_start/toy.py": METHOD}
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    insert(library / "data" / "cards.py",
           row=('    DataCard(\n        name="digits"', "    " + CARD.format(digest=_digest_of_blobs()) + "\n"))
    with (library / "data" / "stand_ins.py").open("a", encoding="utf-8") as stand_ins:
        stand_ins.write(BLOBS)
    insert(library / "warm_start" / "methods.py", row=(")}\n", ROW),
           import_=("from dpgan_lib.config import FaceRunConfig", "from dpgan_lib.warm_start import toy\n"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DPGAN_")}
    done = subprocess.run([sys.executable, "-W", "ignore", "script.py"], cwd=project, capture_output=True, text=True,
                          env=environment | {"PYTHONPATH": str(project)}, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"project": str(project)}


def _digest_of_blobs():
    scope = {"np": np}
    exec(BLOBS, scope)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in scope["blobs"]())).hexdigest()


def test_it_is_the_copy_that_ran(found):
    assert found["package"] == f"{found['project']}/dpgan_lib"


def test_a_study_is_found_by_its_folder_obtained_and_swept(found):
    states = found["missing"], found["computed"], found["current"]
    assert [len(lines) for lines in states] == [2, 2, 2]
    for lines, state in zip(states, ("missing", "computed here, not published", "current")):
        assert all(line.startswith("toy_study/") and line.endswith(state) for line in lines)
    assert found["due"] == 1 and found["holes"] == [None]


def test_a_record_answers_to_what_was_asked_and_verifies(found):
    assert found["asked"] == [True] * 2 and found["comparable"] == 2 and found["config"] == "ToyRunConfig"
    assert found["failed"] == []
    for lines in found["checks"]:
        assert any("card: this library's of blobs" in line for line in lines)
        assert any("epsilon's limit" in line for line in lines)


def test_the_book_lists_its_records_and_judges_its_claims(found):
    assert all(run in found["records"] for run in found["runs"]) and "toy_study: 2 records" in found["records"]
    kept = [drawn > 0.5 for drawn in found["drawn"]]
    verdict = "holds" if all(kept) else "holds in part" if any(kept) else "does not hold"
    assert f"<strong>{verdict}</strong>" in found["claims"] and "2 records" in found["claims"]
    assert 'href="01_toy_study.html#toys">chapter 1</a>' in found["claims"]


def test_what_a_record_kept_is_measured_again_to_the_same_digits(found):
    for name, (first, again) in found["measured again"].items():
        assert first == again, name


def test_measuring_and_training_go_stale_apart_and_measuring_alone_is_made_up_without_training(found):
    assert found["other measure"] == ["the source that measures it has changed since"]
    assert found["refreshed"] == [[], True]
    assert found["other training"] == ["the source that trains it has changed since"]
