"""Where a measured number comes from."""

import os
import platform
import shlex
import sys
from typing import Any

import keras
import tensorflow as tf

from jeat_tf.core.version import __version__


def provenance() -> dict[str, Any]:
    """Command, versions and hardware, to stand beside every measured number."""
    return {
        "command": shlex.join([os.path.basename(sys.executable), *sys.orig_argv[1:]]),
        "jeat_tf": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
    }
