"""The coursework: what students get holds no solution, and the checks pass what is right and nothing else."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jupytext
import matplotlib
import nbformat
import pytest
from click.testing import CliRunner
from nbgrader.utils import determine_grade, is_grade, is_solution

from dpgan_lib import cli
from dpgan_lib.book import coursework, site

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "book" / "teaching.md").read_text()
MASTERS = coursework.masters()
SECRETS = re.compile(r"(?ms)^ *### BEGIN (SOLUTION|HIDDEN TESTS)\n(.*?)^ *### END \1$")
SECONDS = 500  # of one nbgrader command, on a machine that does much else; pytest gives up after 600

each_master = pytest.mark.parametrize("master", MASTERS.values(), ids=MASTERS)


def graded(notebook) -> dict:
    return {cell.metadata["nbgrader"]["grade_id"]: cell for cell in notebook.cells if is_grade(cell)}


# Two versions from one master


@each_master
def test_the_students_version_has_no_solution_and_no_hidden_test(master):
    whole, handed_out = text(jupytext.read(master)), text(coursework.student(master))
    secrets = [secret for _, secret in SECRETS.findall(whole)]
    shown = SECRETS.sub("", whole)
    assert len(secrets) > len(coursework.points(master)) and not re.search("BEGIN|END|SOLUTION|HIDDEN", handed_out)
    lines = {line.strip() for secret in secrets for line in secret.splitlines()}
    assert [line for line in lines if line in handed_out and line not in shown] == []


def text(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells)


@each_master
def test_a_task_is_a_stub_and_its_checks_are_locked(master):
    notebook = coursework.student(master)
    tasks = [cell for cell in notebook.cells if is_solution(cell)]
    assert tasks and all("raise NotImplementedError()" in cell.source for cell in tasks)
    checks = graded(notebook).values()
    assert all(cell.metadata["editable"] is False and cell.source.strip() for cell in checks)
    assert not [cell for cell in checks if is_solution(cell)], "nothing is left to be graded by hand"


@each_master
def test_every_check_has_a_hidden_part_and_points(master):
    cells = graded(coursework.instructor(master))
    assert all("### BEGIN HIDDEN TESTS" in cell.source for cell in cells.values())
    assert coursework.points(master).keys() == cells.keys() and min(coursework.points(master).values()) > 0


@each_master
def test_the_same_master_gives_the_same_bytes(master):
    assert nbformat.writes(coursework.student(master)) == nbformat.writes(coursework.student(master))


def test_what_somebody_edited_is_not_overwritten(tmp_path):
    first = coursework.build(tmp_path)
    assert coursework.build(tmp_path) == first  # the same again changes nothing
    edited = tmp_path / "student" / "steer" / "steer.ipynb"
    edited.write_text(edited.read_text().replace("raise NotImplementedError()", "return 0"))
    (tmp_path / "instructor" / "steer" / "steer.ipynb").unlink()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    refused = CliRunner().invoke(cli.main, ["coursework", str(tmp_path)])
    assert refused.exit_code == 2 and refused.stderr.startswith(f"Error: {edited}: there already, and edited")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


# On the teacher's page


@pytest.mark.full
def test_the_book_offers_the_students_versions_and_no_master(tmp_path):
    source = site._stage(tmp_path / "source", {})
    offered = source / "book" / "coursework"
    assert {path.name for path in offered.iterdir()} == {"points.md", *(f"{name}.ipynb" for name in MASTERS)}
    texts = [path.read_text(encoding="utf-8") for kind in ("*.ipynb", "*.py") for path in (source / "book").rglob(kind)]
    assert len(texts) == len(MASTERS) and not [text for text in texts if "SOLUTION" in text or "HIDDEN" in text]
    assert all(f"<coursework/{name}.ipynb>" in PAGE for name in MASTERS)


def test_the_page_counts_the_points():
    assert "{include} coursework/points.md" in PAGE
    for master in MASTERS.values():
        worth = coursework.points(master)
        assert f"| {coursework.title(master)} | {len(worth)} | {sum(worth.values())} |" in coursework.points_table()
        assert f"**{coursework.title(master)}.**" in PAGE


# nbgrader grades what comes back, by the commands of the teacher's page

NAME = "break_and_mend"  # one assignment: the other goes the same way, and its cells are executed below
HAND_INS = {"solved": coursework.instructor, "as_handed_out": coursework.student}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A course whose assignments nbgrader has made ready, and its commands on the page that are still to come."""
    folder = tmp_path_factory.mktemp("course")
    coursework.build(folder)
    lines = [line for block in re.findall(r"(?sm)^```bash\n(.*?)^```$", PAGE) for line in block.splitlines()]
    commands = [words for words in map(shlex.split, lines) if words[0] == "nbgrader" and "steer" not in words]
    assert [words[1] for words in commands] == ["generate_assignment", "autograde", "generate_feedback", "export"]
    run(commands[0], folder)
    return folder, commands[1:]


@pytest.fixture(scope="module")
def course(released):
    """Its folder after one student handed in every solution, and another what was handed out; graded."""
    folder, commands = released
    for student, version in HAND_INS.items():
        hand_in = folder / "submitted" / student / NAME / f"{NAME}.ipynb"
        hand_in.parent.mkdir(parents=True)
        nbformat.write(without_hidden_tests(version(MASTERS[NAME])), hand_in)
    for words in commands:
        run(words, folder)
    return folder


def without_hidden_tests(notebook):
    for cell in notebook.cells:
        cell.source = re.sub(r"(?ms)^### BEGIN HIDDEN TESTS$.*?^### END HIDDEN TESTS$", "", cell.source)
    return notebook


def run(words: list[str], folder: Path) -> None:
    """One of nbgrader's commands, with the environment active as the page asks: it calls others by their names."""
    programs = Path(sys.executable).parent
    command = [programs / words[0], *words[1:]]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DPGAN_RECORDS_ONLY": "1",
                                "PATH": os.pathsep.join([str(programs), os.environ["PATH"]])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr


def autograded(course: Path, student: str):
    return nbformat.read(course / "autograded" / student / NAME / f"{NAME}.ipynb", as_version=4)


def earned(course: Path, student: str) -> dict[str, float]:
    return {grade_id: determine_grade(cell)[0] for grade_id, cell in graded(autograded(course, student)).items()}


@pytest.mark.full
def test_nbgrader_makes_the_same_students_version(released):
    """generate_assignment has written over ours."""
    folder, _ = released
    theirs = nbformat.read(folder / "student" / NAME / f"{NAME}.ipynb", as_version=4)
    assert [cell.source for cell in theirs.cells] == [cell.source for cell in coursework.student(MASTERS[NAME]).cells]


@pytest.mark.full
def test_nbgrader_gives_the_solutions_every_point_and_what_was_handed_out_none(course):
    worth = coursework.points(MASTERS[NAME])
    assert earned(course, "solved") == worth
    assert earned(course, "as_handed_out") == dict.fromkeys(worth, 0)
    assert re.search(rf"(?m)^{NAME},.*,solved,.*,{sum(worth.values()):.1f}$", (course / "grades.csv").read_text())
    assert len(list((course / "feedback").rglob("*.html"))) == len(HAND_INS)


@pytest.mark.full
def test_grading_puts_the_hidden_tests_back(course):
    for student in HAND_INS:
        assert all("### BEGIN HIDDEN TESTS" in cell.source for cell in graded(autograded(course, student)).values())


# The checks catch what is plausible and wrong: for each graded cell an answer that must lose its points

WRONG = {
    "break_and_mend": {
        "neighbours": "neighbours = lambda C: (np.zeros((20, 2)), np.vstack([np.zeros((20, 2)), [1000, 0]]))",
        "clipped_sum": "clipped_sum = lambda gradients, C: len(gradients) * clip_the_mean(gradients, C)",
        "spread": "measured_spread = lambda add, C, sigma, d: sigma / math.sqrt(d)",
        "add_noise": "add_noise = add_short_noise",
        "read_size": "read_size = lambda published, C, sigma: round(1 / np.std(published))",
        "private_mean": "private_mean = lambda gradients, C, sigma, B, rng: divide_by_size("
                        "add_noise(clipped_sum(gradients, C), C, sigma, rng), gradients)",
        "undo": "undo = lambda empty, release: release * batch",
        "releases": "releases = repeatable_releases",
        "accountant": "epsilon_spent = epsilon_claimed",
        "statement": "statement['epsilon'] = math.floor(100 * spent) / 100",
        "scores": "canary_scores = lambda releases: releases[0]",
        "reading": "audit_says = dict.fromkeys(audit_says, True)",
    },
    "steer": {
        "promise": "promise = lambda record: dict(epsilon=store.number(record.privacy['epsilon_asked']), "
                   "delta=1e-5, adjacency='add/remove one record', unit=record.card['unit'], demonstration=False)",
        "ask": "ask = lambda generator, settings, labels, rng: generator(*latent.sample_latent(settings, len(labels), "
               "rng)).detach().numpy()",
        "table": "obeyed, right = (lambda counts: counts.max(axis=1).sum() / counts.sum()), obeyed",
        "chance": "by_chance = lambda counts: 0.1",
        "information": "bound = lambda learnt, new: information(new)",
        "bounds": "bounds = {key: information(counts) for key, counts in tables.items()}",
        "recover": "recover = lambda published, config: published.round()",
        "statements": "epsilon_says = dict.fromkeys(epsilon_says, False)",
        "balanced": "balanced = lambda generator, settings, judge, each, rng, rounds=50: (ask(generator, settings, "
                    "np.repeat(np.arange(10), each), rng), np.repeat(np.arange(10), each))",
        "pupil": "pupil_accuracy = 1.0",
    },
}


@pytest.mark.full
@each_master
def test_what_is_handed_out_fails_in_every_graded_cell(master):
    matplotlib.use("Agg")
    names, failed = {}, set()
    for cell in coursework.student(master).cells:
        try:
            exec(cell.source if cell.cell_type == "code" else "", names)
        except Exception:  # whatever a student would see
            failed.add(cell.metadata.get("nbgrader", {}).get("grade_id"))
    assert coursework.points(master).keys() <= failed


@pytest.mark.full
@each_master
def test_the_solutions_pass_and_a_plausible_wrong_answer_loses_the_points_of_its_cell(master):
    """Warnings are errors here, as everywhere in the tests: with nbgrader a warning costs the points."""
    matplotlib.use("Agg")
    notebook, names, wrong = coursework.instructor(master), {}, WRONG[master.stem]
    marked = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    cells = {cell.metadata["nbgrader"]["grade_id"]: cell.source for cell in marked}
    assert {f"{task}_checks" for task in wrong} == coursework.points(master).keys()
    for cell in notebook.cells:
        exec(cell.source if cell.cell_type == "code" else "", names)
    for task, answer in wrong.items():
        exec(answer, names)
        with pytest.raises(AssertionError):
            exec(cells[f"{task}_checks"], names)
            pytest.fail(f"{task}: the checks accept {answer}")
        exec(cells[task], names)  # right again


def test_the_command_on_the_page_writes_both_versions(tmp_path):
    (line,) = re.findall(r"(?m)^dpgan (.*)$", PAGE)
    name, folder = shlex.split(line)
    assert f"\ncd {folder}\n" in PAGE
    cli.main.main([name, str(tmp_path)], standalone_mode=False)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert found == {"nbgrader_config.py", *(f"{kind}/{name}/{name}.ipynb" for kind in ("instructor", "student")
                                             for name in MASTERS)}
