"""Every kind of run, read back from its JSON. Never imports torch."""

from dpgan_lib.config import RunConfig
from dpgan_lib.face_config import FaceRunConfig
from dpgan_lib.warm_config import WarmRunConfig


def config_from(values: dict) -> RunConfig:
    """The run that a dict describes, with a warm start or without. Raises TypeError on a missing or unknown field."""
    if "attributes" in values:
        return FaceRunConfig.from_dict(values)
    return (WarmRunConfig if "warm_start" in values else RunConfig).from_dict(values)
