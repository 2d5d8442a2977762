"""The `dpgan` command: the library's own functions, one line each. Heavy modules load inside the commands."""

from contextlib import suppress

import click

STOPPED_EARLY = 75  # BSD's EX_TEMPFAIL: nothing is wrong, run it again
FIRST_CHAPTER = "mnist_tradeoff"
SUMMARY = {  # of what a chapter glues
    "epsilon asked": "{epsilon_asked}",
    "epsilon spent": "{epsilon_spent} (total, delta = {delta}, add/remove one record, PLD)",
    "accuracy": "ten classes {accuracy_ten}, digit pairs {accuracy_pairs}",
}


class _Refusal(click.ClickException):
    def __init__(self, error: Exception):
        super().__init__(" ".join(str(error).split()))
        self.exit_code = 2 if isinstance(error, ValueError) else 1


class _OneLine(click.Group):
    """A group whose refusals and failures are one line on stderr: exit status 2 for a wrong argument, else 1."""

    def invoke(self, context):
        try:
            return super().invoke(context)
        except (click.exceptions.Exit, click.Abort):  # click's own ways out are RuntimeErrors
            raise
        except (ValueError, RuntimeError, OSError) as error:
            raise _Refusal(error) from error


_parameters = click.option(
    "-p", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", help="A parameter; may be given again."
)
_timeout = click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=3600, show_default=True, help="Seconds a cell."
)


@click.group(cls=_OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quiet", is_flag=True, help="No progress bars, for logs.")
@click.version_option(package_name="dpgan_lib")
@click.pass_context
def main(context, quiet):
    """Private and Specific: differentially private GANs you can steer."""
    from dpgan_lib import paths

    paths.lend_home()
    context.obj = not quiet


@main.command()
@click.argument("chapter")
@_parameters
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="build/NN_name.ipynb unless given.")
@_timeout
@click.pass_obj
def run(progress, chapter, parameters, output, timeout):
    """Re-execute a chapter; its output changes only if every cell succeeds."""
    from dpgan_lib.book import chapters

    click.echo(chapters.run_chapter(chapter, _values(parameters), output, timeout, progress))


@main.command()
@_parameters
@click.option("--study", default=FIRST_CHAPTER, show_default=True,
              help="Whose record it is: a chapter, or chapter/kind where it has several.")
@click.option("--max-minutes", type=click.FloatRange(min=0, min_open=True), help="Stop then; the next call resumes.")
@click.option("--fresh", is_flag=True, help="Compute it even if a record is there.")
@click.option("--current", is_flag=True, help="Compute it again if the record that is there is stale.")
@click.option("--prepare", is_flag=True, help="Only lay out run.json and data.npz, to train on another machine.")
@click.pass_obj
def train(progress, parameters, study, max_minutes, fresh, current, prepare):
    """Compute one record, or find it: train and measure. A parameter without a default is the grid's first."""
    from dpgan_lib.records import store
    from dpgan_lib.report import cards
    from dpgan_lib.studies import registry

    wanted = registry.study(study)
    known = _known(wanted)
    asked = wanted.asked(**known | _fitted(parameters, known, study))
    if prepare:
        click.echo(wanted.prepare(asked))
        return
    if current and (found := store.find(wanted.chapter, wanted.address(asked))):
        fresh = fresh or bool(store.staleness(found))
    record = wanted.obtain(asked, fresh=fresh, max_minutes=max_minutes, progress=progress)
    _show(record, record and cards.status(record))


@main.command()
@click.argument("folder", type=click.Path(file_okay=False))
@click.pass_obj
def collect(progress, folder):
    """Make records of the prepared runs in FOLDER that `python -m dpgan_lib.remote --all FOLDER` has trained."""
    from pathlib import Path

    from dpgan_lib.studies import elsewhere

    holes = 0
    for run, record, reason in elsewhere.collect(Path(folder), progress):
        click.echo(f"hole: {run.name}: {reason}" if record is None else record.folder)
        holes += record is None
    if holes:
        raise click.exceptions.Exit(1)


def _known(study) -> dict:
    """What a study can be asked for, by name: the defaults, or else the values of the grid's first cell."""
    from dataclasses import asdict

    from dpgan_lib.book.values import field_defaults

    return asdict(study.grid[0]) | field_defaults(study.asked)


def _fitted(parameters, known: dict, study: str) -> dict:
    from dpgan_lib.book.values import fitted

    return fitted(_values(parameters), known, study)


@main.command()
@click.argument("records", nargs=-1)
@click.option("--study", help="All published records of a study whose metrics are stale.")
@click.pass_obj
def measure(progress, records, study):
    """Compute the metrics of RECORDS again, from the generators that they keep; writes to runs/.

    A record is named by its folder, its <study>/<run id> or a unique run id.
    """
    from dpgan_lib.records import store, verify
    from dpgan_lib.studies import registry

    chosen = [verify.find(record) for record in records]
    if study:
        chosen += [record for record in store.published(study)
                   if store.staleness(record) == [store.CHANGED[store.MEASURING]]]
    if not chosen:
        raise ValueError("there is nothing to measure: name records, or with --study a study that has stale ones")
    for record in chosen:
        click.echo(registry.study_of(record).measure_again(record, progress=progress).folder)


def _show(record, status: str) -> None:
    if record is None:
        click.echo("stopped early: run it again to resume", err=True)
        raise click.exceptions.Exit(STOPPED_EARLY)
    click.echo(f"{record.folder}\n{status}")


@main.command()
@click.argument("data", type=click.Path())
@click.option("--name", required=True, help="What the data is called in public.")
@click.option("--records", type=int, required=True, help="N as declared in public.")
@click.option("--classes", required=True, metavar="NAMES",
              help="As zero,one,two; or a number K, for labels 0 to K - 1.")
@click.option("--side", type=int, help="Pixels that images are fitted to, a multiple of 4. Grey squares in an .npz, "
                                       "with numbered classes, do without.")
@click.option("--channels", type=click.IntRange(1, 3), default=1, show_default=True, help="1 for grey, 3 for colour.")
@click.option("--fit", type=click.Choice(["pad", "resize"]), default="pad", show_default=True,
              help="Keep the pixels, centred, and cut what stands out; or make the longer side fit.")
@click.option("--ground", type=click.IntRange(0, 255), default=0, show_default=True,
              help="The grey beside and behind an image, and of one that does not fit.")
@click.option("--kind",
              help="digits: grey strokes, light on a dark and plain ground; photos: colour images of two classes, "
                   "framed alike; plain: any images, by DP-SGD alone. Unless given, digits for grey, plain for colour.")
@click.option("--epsilon", type=float, required=True, help="Total, for adding or removing one record.")
@click.option("--delta", type=float, required=True, help="Total, below 1 / N.")
@click.option("--unit", default="one image with its label", show_default=True, help="What one record is.")
@click.option("--profile", default="laptop", show_default=True)
@click.option("--least-taken", type=float, default=0.9, show_default=True,
              help="Share of the reader's and of the critic's steps below which nothing is released: crashes lose "
                   "steps that stay charged.")
@click.option("--out", default="releases", show_default=True, type=click.Path(file_okay=False), help="A folder for it.")
@click.option("--public-test", type=click.Path(exists=True), metavar="PATH",
              help="Public data to test on, like DATA; its accuracies are not covered by epsilon.")
@click.option("--budget", type=click.Path(dir_okay=False), metavar="FILE",
              help="What `dpgan budget create` made: a release beyond it is refused before DATA is opened.")
@click.option("--max-minutes", type=click.FloatRange(min=0, min_open=True), help="Stop then; the next call goes on.")
@click.pass_obj
def release(progress, data, name, out, public_test, budget, max_minutes, **declared):
    """Train on private DATA without a seed, and record the networks.

    DATA is a folder with a folder for each class, or with labels.csv (file,label); a .csv, .parquet or .npz file; or
    the IDX file of images. An image or a label that does not fit is passed over in silence. Nothing else that is
    computed from the data is written or shown.
    """
    from pathlib import Path

    from dpgan_lib import release
    from dpgan_lib.privacy import guard
    from dpgan_lib.studies import kinds

    declared["kind"] = declared["kind"] or kinds.usual(declared["channels"])
    read, declared = release.reader(data, name, declared)
    with release.reserved(budget and Path(budget), Path(out), dataset=name, **declared) as reservation:
        with guard.guarded():
            images, labels = read(data)
        test = read(public_test) if public_test else None
        parameters = release.Parameters(dataset=name, **{"side": images.shape[1]} | declared)
        record = release.obtain(parameters, images, labels, Path(out), max_minutes=max_minutes, progress=progress,
                                public_test=test, reservation=reservation)
    _show(record, record and release.status(record))


@main.command()
@click.argument("record")
@click.option("--count", type=click.IntRange(min=1), required=True, help="How many images.")
@click.option("--out", required=True, type=click.Path(), metavar="PATH",
              help="A .npz file, a .parquet file, or else a folder for PNG files; nothing is overwritten.")
@click.option("--draw",
              help="faithful: images that are what their label says; wide: for training classifiers; plain: as asked "
                   "for, without a reader. Unless given, faithful where the record keeps a reader.")
@click.option("--seed", type=click.IntRange(min=0), help="Draw the same images again; else nobody can.")
@click.option("--license", "licence", default="not stated", show_default=True, help="Of the images: its address.")
@click.option("--creator", default="not stated", show_default=True, help="Who publishes the images.")
@click.option("--url", default="not stated", show_default=True, help="Where they are published.")
def sample(record, count, out, draw, seed, **publisher):
    """Draw labelled images from a RECORD's networks into files, with a card, checksums and metadata.

    A record is named by its folder, its <study>/<run id> or a unique run id; a release by its folder. Drawing reads no
    data and costs no privacy.
    """
    from pathlib import Path

    from dpgan_lib.records import verify
    from dpgan_lib.sampling import card, files

    click.echo(files.write(verify.find(record), count, Path(out), draw=draw, seed=seed,
                           publisher=card.Publisher(**publisher)))


@main.group()
def budget():
    """Declare and look at a privacy budget that releases share: a file for each population."""


_budget_file = click.argument("file", type=click.Path(dir_okay=False))


@budget.command()
@_budget_file
@click.option("--population", required=True, help="Whose records it covers, in public, whatever file they lie in.")
@click.option("--epsilon", type=float, required=True, help="Of all releases together, for one record more or less.")
@click.option("--delta", type=float, required=True, help="Of all releases together, below 1 / N.")
@click.option("--unit", default="one image with its label", show_default=True, help="What one record is.")
def create(file, population, epsilon, delta, unit):
    """Declare a budget in FILE, once. Nothing adds to it later."""
    from pathlib import Path

    from dpgan_lib.privacy import budget

    made = budget.create(Path(file), population=population, epsilon=epsilon, delta=delta, unit=unit)
    click.echo("\n".join(budget.summary(made)))


@budget.command()
@_budget_file
def show(file):
    """What the budget in FILE has granted, and to which releases."""
    from pathlib import Path

    from dpgan_lib.privacy import budget

    click.echo("\n".join(budget.summary(budget.read(Path(file)))))


@budget.command("verify")
@_budget_file
@click.option("--head", metavar="HASH", help="A last line's hash that was published: FILE must go on from it.")
def verify_budget(file, head):
    """Check every row of FILE: its hash, its place, whether it was allowed, and what its release costs.

    This is evidence of tampering, and no lock: without --head, an older copy put back in its place passes.
    """
    from pathlib import Path

    from dpgan_lib.privacy import renyi_filter

    found = renyi_filter.verify(Path(file), head)
    newest = f"ok  goes on from {head}" if head else "not checked  whether it is the newest: there is no --head"
    click.echo(f"ok  {len(found.lines)} rows, each after the one before it, and all allowed")
    click.echo(f"{newest}\nhead {found.head}")


@budget.command()
@_budget_file
def export(file):
    """Print the rows of FILE as lines of JSON, each with the SHA-256 of the one before; the last one's is the head."""
    from pathlib import Path

    from dpgan_lib.privacy import budget

    found = budget.read(Path(file))
    click.echo("\n".join(found.lines))
    click.echo(f"head {found.head}", err=True)


@budget.command("close")
@_budget_file
@click.argument("release")
def close_release(file, release):
    """End a RELEASE that will not be gone on with: what it reserved and never charged goes back."""
    from pathlib import Path

    from dpgan_lib.privacy import budget

    budget.close(budget.find(Path(file), release))
    click.echo("\n".join(budget.summary(budget.read(Path(file)))))


@main.command()
@click.option("--measured", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
              help="Record what `python -m dpgan_lib.studies.cost.bench FILE` measured on another machine.")
@click.option("--json", "as_json", is_flag=True, help="Print all tables as JSON instead of the targets.")
@click.pass_obj
def bench(progress, measured, as_json):
    """Measure what privacy costs in time and memory here: about 10 minutes on an idle machine. Leaves a record."""
    import json
    from pathlib import Path

    from dpgan_lib.studies.cost import study, tables

    say = (lambda text: click.echo(text, err=True)) if progress else (lambda text: None)
    record = study.benchmark(study.read_measured(Path(measured)) if measured else None, say)
    click.echo(json.dumps(record.content, indent=1) if as_json else f"{tables.summary(record)}\n{record.folder}")


@main.command()
@click.argument("chapter", required=False)
@_timeout
@click.option("--holes", is_flag=True, help="Compute nothing: a cell without a record stays a hole, and a stale "
                                            "record that is published stays, marked as stale.")
@click.pass_obj
def publish(progress, chapter, timeout, holes):
    """Replace a chapter's published notebook and records, or every chapter's, if all of it succeeds."""
    from dpgan_lib import paths
    from dpgan_lib.book import publish

    for name in [chapter] if chapter else paths.chapters():
        click.echo(publish.publish_chapter(name, timeout, progress, holes))


@main.command()
@_parameters
@click.option("--chapter", default=FIRST_CHAPTER, show_default=True, help="The chapter to re-execute.")
@_timeout
@click.pass_obj
def book(progress, parameters, chapter, timeout):
    """Build the book; with parameters, re-execute a chapter first and show that."""
    from dpgan_lib import paths
    from dpgan_lib.book import chapters, publish, site

    shown = chapters.chapter_path(chapter).with_suffix(".ipynb")
    replacements = {}
    if parameters:
        shown = replacements[chapter] = chapters.run_chapter(chapter, _values(parameters), None, timeout, progress)
    values = chapters.glued(shown)
    if not parameters and (stale := publish.out_of_date(shown)):
        values["status"] = f"stale: {'; '.join(stale)}"
    index = site.build_book(replacements, progress)
    others = (path.with_suffix(".ipynb") for path in paths.chapters().values() if path.stem != shown.stem)
    notes = [f"stale          {note}" for path in others if path.exists() for note in publish.edited(path)]
    click.echo("\n".join([*_summary(values), *notes, f"page           {index.parent / 'notebooks' / shown.stem}.html"]))


def _summary(values: dict) -> list[str]:
    """The numbers that a chapter glued, as its reader sees them: a line each, of those that it has."""
    lines = []
    for name, words in SUMMARY.items():
        with suppress(KeyError):
            lines.append(f"{name:<15}{words.format(**values)}")
    status = str(values.get("status", ""))
    return [*lines, f"status         {status}"] if status.startswith("stale") else lines


@main.command()
@click.argument("folder", type=click.Path(file_okay=False))
def coursework(folder):
    """Write the student and the instructor version of every assignment into FOLDER, as nbgrader expects them."""
    from pathlib import Path

    from dpgan_lib.book import coursework

    click.echo("\n".join(map(str, coursework.build(Path(folder)))))


@main.group()
def data():
    """Check the data sets, or download what is absent."""


@data.command()
@click.argument("name", required=False)
@click.pass_obj
def fetch(progress, name):
    """Download the absent files of a data set, or of all, each checked against its card."""
    from dpgan_lib import data
    from dpgan_lib.data import celeba

    if name == celeba.NAME:
        raise ValueError("CelebA is not downloaded. " + celeba.REMEDY.format(folder="$DPGAN_DATA/celeba"))
    for each in [name] if name else data.CARDS:
        paths = data.fetch(each, progress=progress)
        click.echo(f"{each}: {len(paths)} files downloaded" if paths else f"{each}: nothing to download")


@data.command()
@click.argument("name", required=False)
def check(name):
    """Check the files of a data set, or of all, against their cards; of "celeba", count what is there."""
    from dpgan_lib import data
    from dpgan_lib.data import celeba

    if name == celeba.NAME:
        summary = celeba.summary()
        found = summary.pop("found")
        click.echo("\n".join([f"{name}: " + ", ".join(f"{key} {value}" for key, value in summary.items()), *found]))
        return
    for each in [name] if name else data.CARDS:
        paths = data.check(each)
        click.echo(f"{each}: as its card says{f', in {paths[0].parent}' if paths else ', embedded'}")


@main.command()
@click.pass_obj
def status(progress):
    """Which published results are current, stale (and why) or missing."""
    from tqdm import tqdm

    from dpgan_lib.records import store
    from dpgan_lib.studies import registry

    states = (line for study in registry.every() for line in study.states())
    lines = list(tqdm(states, desc="planning the runs", leave=False, disable=not progress))
    lines += [f"manifest: {problem}" for problem in store.check_manifest()]
    click.echo("\n".join(lines))


@main.command()
@click.argument("study", default=FIRST_CHAPTER)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Cells computed at a time.")
@click.pass_obj
def sweep(progress, study, jobs):
    """Compute the records of a study that are missing or stale. Resumable; a cell that fails is named at the end."""
    from tqdm import tqdm

    from dpgan_lib.studies import sweep
    from dpgan_lib.studies.study import words

    due = sweep.due(study)
    done = tqdm(sweep.compute(study, due, jobs), total=len(due), desc=study, unit=" cells", disable=not progress)
    holes = [f"hole: {words(asked)}: {reason}" for asked, reason in done if reason]
    click.echo("\n".join([f"{len(due) - len(holes)} of {len(due)} cells computed", *holes]))
    if holes:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("study", default=FIRST_CHAPTER)
@_parameters
def cells(study, parameters):
    """Print the cells of a study's grid as JSON, for workflow/Snakefile; with parameters, all at that size."""
    import json

    from dpgan_lib.studies import registry, sweep

    given = _fitted(parameters, _known(registry.study(study)), study)
    click.echo(json.dumps(sweep.cells(study, given), indent=1))


@main.command()
@click.argument("chapter")
@_parameters
@click.option("--run", metavar="ID", help="The published run id to take, instead of the first with those parameters.")
@click.pass_obj
def reproduce(progress, chapter, parameters, run):
    """Compute a published run again, at the next seed, and compare it with the band over the published seeds.

    With -p seed N of a published run, every digit must be the same. Writes to runs/ alone.
    """
    from dpgan_lib.studies import registry, reproduce

    plan = reproduce.plan(chapter, _values(parameters), run)
    click.echo(f"{chapter}: {reproduce.words(plan)}", err=True)
    fresh = registry.obtain(chapter, plan.asked, fresh=True, progress=progress)
    lines, reproduced = reproduce.outcome(fresh, plan)
    click.echo("\n".join(lines))
    if not reproduced:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("record", required=False)
@click.option("--deep", is_flag=True, help="Also compute the metrics again from the weights: needs the data, 2 "
                                           "minutes.")
@click.option("--explain", is_flag=True, help="Say of each field what the checks vouch for; without RECORD, of all "
                                              "fields that there are.")
@click.pass_obj
def verify(progress, record, deep, explain):
    """Check what a record says, by its folder or <study>/<run id>, or an archive's. Opens no data unless --deep."""
    from pathlib import Path

    from dpgan_lib.records import archive, checks, verify, vouching

    if record is None and not explain:
        raise ValueError("there is nothing to verify: name a record, or ask with --explain what would be checked")
    if record and archive.is_archive(Path(record)):
        if deep or explain:
            raise ValueError(f"{record} is an archive, which --deep and --explain do not take: unpack it, and name the "
                             "folder of one of its records.")
        _verify_archive(Path(record), progress)
        return
    chosen = None if record is None else verify.find(record)
    found = [] if chosen is None else verify.check(chosen, deep=deep, progress=progress)
    lines = list(map(str, found)) + ([""] if found and explain else [])
    click.echo("\n".join(lines + (vouching.explain(chosen) if explain else [])))
    if any(check.outcome == checks.FAILED for check in found):
        raise click.exceptions.Exit(1)


def _verify_archive(path, progress):
    from tqdm import tqdm

    from dpgan_lib.records import archive, checks, store, verify

    with archive.unpacked(path) as results:
        failed = [f"manifest: {problem}" for problem in store.check_manifest()]
        folders = sorted(found.parent for found in results.glob(f"*/*/{store.RECORD}"))
        for folder in tqdm(folders, desc="verifying", unit=" records", disable=not progress):
            wrong = [check for check in verify.check(verify.find(str(folder))) if check.outcome == checks.FAILED]
            failed += [f"{folder.parent.name}/{folder.name}: {check}" for check in wrong]
    click.echo("\n".join([*failed, f"{len(folders)} records, {len(failed)} checks failed"]))
    if failed:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False))
def archive(file):
    """Write the published records, weights, manifest and environment into FILE, a plain tar: for an archive with a DOI.

    `dpgan verify FILE` checks it, and needs nothing else.
    """
    import hashlib
    from pathlib import Path

    from dpgan_lib.records import archive

    count = archive.write(Path(file))
    click.echo(f"{file}: {count} records\nsha256 {hashlib.sha256(Path(file).read_bytes()).hexdigest()}")


def _values(parameters) -> dict:
    """Names and texts as Python values: a number where the text is one, True and False, else the text."""
    return {name: _value(text) for name, text in parameters}


def _value(text: str):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(text, text)


if __name__ == "__main__":
    main()
