"""Where a measured number comes from."""

import os
import platform
import shlex
import sys

import keras
import tensorflow as tf

from jeat_tf.core.records import record
from jeat_tf.core.version import __version__


@record
class Provenance:
    """Command, versions and hardware, which are stored beside every measured number.

    Attributes:
      gpus: names of the devices.
    """

    command: str
    jeat_tf: str
    tensorflow: str
    keras: str
    python: str
    platform: str
    cpus: int | None
    gpus: tuple[str, ...]


def provenance() -> Provenance:
    """The provenance of what this process measures."""
    return Provenance(
        command=shlex.join([os.path.basename(sys.executable), *sys.orig_argv[1:]]),
        jeat_tf=__version__,
        tensorflow=tf.__version__,
        keras=keras.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        gpus=tuple(device.name for device in tf.config.list_physical_devices("GPU")),
    )
