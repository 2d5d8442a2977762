"""What several test files share."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from browsing import sound_page
from playwright.sync_api import sync_playwright

from dpgan_lib import data, paths
from dpgan_lib.book.site import build_book
from dpgan_lib.records import locks

ROOT = Path(__file__).resolve().parent.parent


# What takes a browser, the whole book or real data belongs to the full tier without saying so.
FULL = {"browser", "page", "site", "real_mnist"}


# Files of minutes, longest first: begun at the end, one would keep its worker when the others have nothing left.
LONGEST = ("test_workflow.py", "test_whole_run.py", "test_browser.py", "test_kills.py", "test_exact.py",
           "test_faces.py", "test_audit_whole.py", "test_accounting.py", "test_laws.py", "test_sweep.py")


def pytest_collection_modifyitems(items):
    for item in items:
        if FULL & set(getattr(item, "fixturenames", ())):
            item.add_marker("full")
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory):
    """runs/ and build/ of this worker, in a temporary folder: no test writes into the checkout's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPGAN_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True, scope="module")
def training_allowed():
    """`make test` forbids training to the published notebooks; the tests train on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DPGAN_RECORDS_ONLY", raising=False)
        yield


@pytest.fixture
def real_mnist():
    """The real MNIST; skips where a file of it is absent. A file that is there and wrong is no reason to."""
    try:
        data.check("mnist")
    except ValueError as refusal:
        if " is absent" not in str(refusal):
            raise
        pytest.skip("real MNIST is not at hand: no such files under $DPGAN_DATA or in the cache")
    return data.load("mnist", progress=False)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own in a temporary folder, with chapters written by project.chapter(name, *cells).

    Its runs/ and build/ lie in it, its published results too.
    """
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.delenv("DPGAN_HOME")
    monkeypatch.chdir(tmp_path)

    def chapter(name: str, *cells: str, parameters: str = "width = 2") -> None:
        texts = ['# %% tags=["parameters"]\n' + parameters, *("# %%\n" + cell for cell in cells)]
        (tmp_path / "notebooks" / f"{name}.py").write_text("\n\n".join(texts) + "\n", encoding="utf-8")

    return SimpleNamespace(folder=tmp_path, chapter=chapter)


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id):
    """The published book, built once for all workers: the folder of its pages. Warnings fail the build."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "site"
    with locks.held(shared.with_suffix(".lock")):
        if not shared.exists():
            shared.write_text(str(_built(tmp_path_factory.mktemp("project"))), encoding="utf-8")
    return Path(shared.read_text(encoding="utf-8"))


def _built(folder):
    for name in ("_config.yml", "_toc.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("book", "notebooks"):
        (folder / name).symlink_to(ROOT / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "ROOT", folder)
        patch.delenv("DPGAN_HOME")
        for proxy in ("http_proxy", "https_proxy"):
            patch.setenv(proxy, "http://127.0.0.1:9")  # the discard port: nothing answers
        return build_book(progress=False).parent


# Not of the whole session: while it is open, an event loop counts as running, and notebooks would not execute.
@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, without a window; skips where there is none."""
    if not (chromium := shutil.which("chromium")):
        pytest.skip("no chromium on the PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as launched:
            yield launched


@pytest.fixture
def page(browser):
    """A page without a network; fails at the end if anything went wrong on it."""
    with sound_page(browser) as page:
        yield page


def pytest_terminal_summary(terminalreporter):
    """The mutants of the private mechanism and the laws that caught them, where they were put to the test."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    rows = [values for report in reports for name, values in getattr(report, "user_properties", ()) if name == "mutant"]
    if rows:
        terminalreporter.section("mutants and the laws that caught them")
        for mutant, laws in rows:
            for index, law in enumerate(laws or ["NOTHING"]):
                terminalreporter.line(f"{'' if index else mutant:58}{law}")
