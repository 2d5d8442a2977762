"""Where a result comes from: the source that computed it, versions, machine and commit. Never imports torch."""

import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from dpgan_lib.paths import PACKAGE
from dpgan_lib.records.definitions import Package

PACKAGES = ("torch", "numpy", "scikit-learn", "opacus", "dp-accounting")
ABSENT = "absent"
TRAINING, MEASURING = "training", "measuring"  # the two parts of a result, which go stale apart


def provenance(sources: dict, gpu: str | None = None) -> dict:
    """What a record says of its origin. Take it before training: the source may be edited while that runs.

    sources: of training_source() and measuring_source(), by part.
    gpu: the device's name, "none" for a CPU run; by default what torch sees, if torch is loaded.
    """
    return {"sources": sources} | _environment(gpu) | _commit(PACKAGE.parent)


def version_changes(recorded: dict) -> list[str]:
    """How the packages here differ from a recorded provenance, one line each.

    Empty for another platform or GPU, where versions may differ. Python is recorded, not compared: no result draws on
    its arithmetic or its random numbers. Neither is a package that was absent then, for it had no part in the result.
    """
    here = _environment()
    if (recorded["platform"], recorded["hardware"]["gpu"]) != (here["platform"], here["hardware"]["gpu"]):
        return []
    then, now = recorded["versions"], here["versions"]
    return [f"{name} {then[name]} then, {now[name]} here" for name in PACKAGES
            if then.get(name, ABSENT) not in (ABSENT, now[name])]


# The source. What a study or a method is made of stands in one call, Study(...) or Method(...), which is read, not run

def training_source(method: str, chapter: str | None = None, kind: str = "run", package: Package | None = None) -> dict:
    """What trains the runs of a study by a method: {"method": its name, "sha256": of all that this reaches}.

    method: of warm_start.methods.METHODS.  chapter, kind: of the study; release mode has none.
    package: another copy of the library than this one.  Raises ValueError if it has no such method or study.
    """
    package = package or _library()
    roots = package.named_in_call("warm_start.methods", "Method", "name", method, ("config", "train", "rounds"))
    if chapter is not None:
        roots += package.named_in_call(f"studies.{chapter}.study", "Study", "kind", kind, ("load", "training_set"))
    return {"method": method, "sha256": _digest(package, tuple(roots))}


def measuring_source(chapter: str, kind: str, package: Package | None = None) -> dict:
    """What measures the runs of a study: {"kind": of the study, "sha256": of all that its measure reaches}.

    package: as of training_source().  Raises ValueError if it has no such study.
    """
    package = package or _library()
    roots = package.named_in_call(f"studies.{chapter}.study", "Study", "kind", kind, ("load", "measure"))
    return {"kind": kind, "sha256": _digest(package, ("config.RunConfig", *roots))}


def source_changes(chapter: str, recorded: dict) -> list[str]:
    """Which parts of a result would be computed by other source today: of TRAINING and MEASURING, those that
    changed.
    """
    changed = []
    measuring = recorded["sources"].get(MEASURING)
    of_study = (chapter, measuring["kind"]) if measuring else ()
    for part, source in recorded["sources"].items():
        try:
            now = (training_source(source["method"], *of_study) if part == TRAINING else measuring_source(*of_study))
        except ValueError:  # the study or the method is no more
            now = None
        if now != source:
            changed.append(part)
    return changed


@lru_cache(maxsize=1)
def _library() -> Package:
    return Package(PACKAGE)


@lru_cache(maxsize=64)
def _digest(package: Package, roots: tuple[str, ...]) -> str:
    return package.source_digest(roots)


# The machine

def _environment(gpu: str | None = None) -> dict:
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()}-{platform.machine()}".lower(),
        "hardware": {"cpu": _cpu_name(), "cores": os.cpu_count(), "gpu": gpu or _gpu_name()},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package).split("+")[0]  # 2.13.0+cpu and 2.13.0 are the same release
    except metadata.PackageNotFoundError:
        return ABSENT


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu_name() -> str:
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "none"


def _commit(folder: Path) -> dict:
    """The commit that the folder is at, and whether dpgan_lib differs from it; "unknown" outside a clone."""
    top, _, commit = _git(folder, "rev-parse", "--show-toplevel", "HEAD").partition("\n")
    if not commit or Path(top).resolve() != folder.resolve():
        return {"commit": "unknown", "dirty": False}
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--", "dpgan_lib"))}


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
