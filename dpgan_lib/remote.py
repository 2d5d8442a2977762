"""Training on a bare machine, where the noise was calibrated before: torch, numpy and safetensors are enough.

    python -m dpgan_lib.remote FOLDER --max-minutes 9

reads FOLDER/run.json (a run's configuration) and FOLDER/data.npz (images, labels; people where they are the unit of
privacy) and leaves FOLDER/checkpoint.safetensors. The next call goes on from there.

    python -m dpgan_lib.remote --all FOLDER --max-minutes 9

does so for every folder in FOLDER that holds a run.json, one after another, for so many minutes altogether. It ends
with 0 when every run has all its steps, and with 75 when the next call has some to go on with.

    torchrun --nproc-per-node 4 -m dpgan_lib.remote FOLDER --max-minutes 9

shares each batch of the critic out among four processes of one machine (gan.ranks). The next call may have another
number of them. torchrun ends with 1 where a process ends with 75, or fails.
"""

import argparse
import json
import sys
import time
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from dpgan_lib.config import RunConfig, config_from
from dpgan_lib.gan import ranks
from dpgan_lib.gan.state import hardware
from dpgan_lib.warm_start.methods import train

STOPPED_EARLY = 75  # as of `dpgan train`


def main() -> None:
    """Train a run whose configuration and data were laid out in a folder, or all that lie in one."""
    parser = argparse.ArgumentParser(prog="python -m dpgan_lib.remote", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds run.json and data.npz; the checkpoint is written here")
    parser.add_argument("--all", action="store_true", help="FOLDER holds such folders: train each")
    parser.add_argument("--max-minutes", type=float, help="stop after this long; the next call resumes")
    arguments = parser.parse_args()
    with ranks.joined() as shared:
        if arguments.all:
            parser.exit(_train_all(arguments.folder, arguments.max_minutes, shared))
        try:
            _train(arguments.folder, arguments.max_minutes, shared)
        except ValueError as refusal:
            _say(str(refusal), file=sys.stderr)
            parser.exit(2)


def _train(folder: Path, max_minutes: float | None, shared: dict) -> bool:
    """Whether the run has all its steps now. shared: what ranks.joined() gave."""
    config, images, labels, people = read(folder)
    ranks.check(config)
    state = train(config, images, labels, folder, people=people, max_minutes=max_minutes, **shared)
    _say(f"{state.step} of {config.privacy.steps} critic steps, {state.seconds:.0f} s on {hardware()}"
         + (f" and {ranks.count() - 1} more" if ranks.count() > 1 else ""))
    return state.step == config.privacy.steps


def _say(text: str, end: str = "\n", file=None) -> None:
    """Once, however many processes there are."""
    if ranks.is_first():
        print(text, end=end, file=file, flush=True)


def _train_all(folder: Path, max_minutes: float | None, shared: dict) -> int:
    """The exit status. A run that is refused, or diverges, is a line on stderr and spoils no other."""
    runs = sorted(path.parent for path in folder.glob("*/run.json"))
    if not runs:
        _say(f"{folder} does not hold a prepared run: make some with `dpgan train --prepare`, and copy their whole "
             "folders into it.", file=sys.stderr)
        return 2
    clock = shared.get("clock", time.monotonic)
    started, failed, complete = clock(), False, True
    for run in runs:
        left = None if max_minutes is None else max(0, max_minutes - (clock() - started) / 60)
        if left == 0 and not complete:  # however short the time, some run has gone on
            break
        _say(f"{run.name}: ", end="")
        try:
            complete &= _train(run, left, shared)
        except (ValueError, RuntimeError) as error:
            if ranks.count() > 1:  # perhaps here alone: the others would wait for this one, so all have to end
                raise
            _say("failed")
            _say(f"{run}: {' '.join(str(error).split())}", file=sys.stderr)
            failed = True
    return 1 if failed else 0 if complete else STOPPED_EARLY


def read(folder: Path) -> tuple[RunConfig, np.ndarray, np.ndarray, np.ndarray | None]:
    """Configuration, images (n, channels, side, side) in [-1, 1], labels (n,), and people (n,) or None.

    Raises ValueError, one line with the folder, if a file is absent, cut or something else.
    """
    try:
        config = config_from(json.loads((folder / "run.json").read_text(encoding="utf-8")))
        with open(folder / "data.npz", "rb") as file, np.load(file, allow_pickle=False) as data:
            images, labels = data["images"].astype(np.float32) / 127.5 - 1, data["labels"].astype(np.int64)
            return config, images, labels, data["people"] if "people" in data else None
    except (OSError, EOFError, LookupError, TypeError, ValueError, AttributeError, BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{folder} does not hold a prepared run ({reason}): make it with `dpgan train --prepare`, and "
                         "copy the whole folder.") from None


if __name__ == "__main__":
    main()
