"""Training on a bare machine, where the noise was calibrated before: torch, numpy and safetensors are enough.

    python -m dpgan_lib.remote FOLDER --max-minutes 9

reads FOLDER/run.json (a run's configuration) and FOLDER/data.npz (images, labels; people where they are the unit of
privacy) and leaves FOLDER/checkpoint.safetensors. The next call goes on from there.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from dpgan_lib.config import config_from
from dpgan_lib.gan.state import hardware
from dpgan_lib.warm_start.methods import train


def main() -> None:
    """Train a run whose configuration and data were laid out in a folder."""
    parser = argparse.ArgumentParser(prog="python -m dpgan_lib.remote", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds run.json and data.npz; the checkpoint is written here")
    parser.add_argument("--max-minutes", type=float, help="stop after this long; the next call resumes")
    arguments = parser.parse_args()
    config = config_from(json.loads((arguments.folder / "run.json").read_text()))
    with np.load(arguments.folder / "data.npz", allow_pickle=False) as data:
        images, labels = data["images"].astype(np.float32) / 127.5 - 1, data["labels"].astype(np.int64)
        people = data["people"] if "people" in data else None
    state = train(config, images, labels, arguments.folder, people=people, max_minutes=arguments.max_minutes)
    print(f"{state.step} of {config.privacy.steps} critic steps, {state.seconds:.0f} s on {hardware()}")


if __name__ == "__main__":
    main()
