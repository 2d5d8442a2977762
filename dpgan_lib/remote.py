"""Training on a bare machine, where the noise was calibrated before: torch, numpy and safetensors are enough.

    python -m dpgan_lib.remote FOLDER --max-minutes 9

reads FOLDER/run.json (a run's configuration) and FOLDER/data.npz (images, labels; people where they are the unit of
privacy) and leaves FOLDER/checkpoint.safetensors. The next call goes on from there.
"""

import argparse
import json
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from dpgan_lib.config import RunConfig, config_from
from dpgan_lib.gan.state import hardware
from dpgan_lib.warm_start.methods import train


def main() -> None:
    """Train a run whose configuration and data were laid out in a folder."""
    parser = argparse.ArgumentParser(prog="python -m dpgan_lib.remote", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds run.json and data.npz; the checkpoint is written here")
    parser.add_argument("--max-minutes", type=float, help="stop after this long; the next call resumes")
    arguments = parser.parse_args()
    try:
        config, images, labels, people = read(arguments.folder)
        state = train(config, images, labels, arguments.folder, people=people, max_minutes=arguments.max_minutes)
    except ValueError as refusal:
        parser.exit(2, f"{refusal}\n")
    print(f"{state.step} of {config.privacy.steps} critic steps, {state.seconds:.0f} s on {hardware()}")


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
