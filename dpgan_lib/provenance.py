"""Where a result comes from: the source it depends on, versions, machine and commit. Never imports torch."""

import ast
import hashlib
import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ENTRIES = ("training", "evaluation")  # a result depends on these modules and on what they import
PACKAGES = ("torch", "numpy", "scikit-learn", "opacus", "dp-accounting")
ABSENT = "absent"


def provenance(gpu: str | None = None, entries: tuple[str, ...] = ENTRIES) -> dict:
    """What a record says of its origin. Take it before training: the source may be edited while that runs.

    gpu: the device's name, "none" for a CPU run; by default what torch sees, if torch is loaded.
    entries: the modules that the result depends on, with all that they import.
    """
    return {"source_hash": source_hash(entries=entries), "entries": list(entries)} | _environment(gpu) | _commit(PACKAGE.parent)


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


# The source

def source_hash(package: Path = PACKAGE, entries: tuple[str, ...] = ENTRIES) -> str:
    """SHA-256 of the entries, training and evaluation by default, and of what they import within the package.

    64 hex digits, of syntax trees without docstrings and comments, alike on Python 3.11 to 3.13.
    Raises FileNotFoundError if the package lacks an entry.
    """
    trees = {module: _digest(_text(package, module)) for module in import_closure(package, entries)}
    return hashlib.sha256("\n".join(f"{module} {tree}" for module, tree in sorted(trees.items())).encode()).hexdigest()


def import_closure(package: Path = PACKAGE, entries: tuple[str, ...] = ENTRIES) -> set[str]:
    """Names of the modules of a flat package that entries reach, by imports at any depth, within functions too."""
    closure, waiting = set(), [*entries, *_existing(package, {"__init__"})]
    while waiting:
        module = waiting.pop()
        if module not in closure:
            closure.add(module)
            waiting += _existing(package, _imports(_text(package, module), package.name))
    return closure


def _existing(package: Path, names) -> list[str]:
    return [name for name in names if (package / f"{name}.py").is_file()]


def _text(package: Path, module: str) -> str:
    return (package / f"{module}.py").read_text(encoding="utf-8")


@lru_cache(maxsize=256)
def _imports(text: str, package: str) -> frozenset[str]:
    """Names that may be modules of the package: what is imported from it, or through it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {_below(alias.name, package) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = f"{package}.{node.module or ''}".rstrip(".") if node.level else node.module
            found |= {_below(f"{module}.{alias.name}", package) for alias in node.names}
    return frozenset(found - {None})


def _below(dotted: str, package: str) -> str | None:
    first, *rest = dotted.split(".")
    return rest[0] if first == package and rest else None


@lru_cache(maxsize=256)
def _digest(text: str) -> str:
    return hashlib.sha256(_spell(ast.parse(text)).encode()).hexdigest()


def _spell(node) -> str:
    """A syntax tree as text that no supported Python spells otherwise: ast.dump shows fields that only some know."""
    if isinstance(node, list):
        return "[" + ",".join(_spell(item) for item in node if not _is_idle(item)) + "]"
    if not isinstance(node, ast.AST):
        return ascii(node)  # not repr: which characters it escapes depends on Python's Unicode tables
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    if isinstance(node, ast.JoinedStr):  # Python 3.12 ends a format like {x:>{width}} with an empty text
        fields = {"values": [part for part in node.values if getattr(part, "value", None) != ""]}
    return f"{type(node).__name__}({','.join(f'{name}={_spell(value)}' for name, value in fields.items())})"


def _is_idle(node) -> bool:
    """A statement without effect: pass, or a bare string such as a docstring."""
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


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
