"""Data set -> prepared files, class statistics, and what is in them and wrong with them."""

import os
import shutil

from jeat_tf.config.prepare import PrepareConfig
from jeat_tf.config.shared import Data
from jeat_tf.prepare.run import prepare

from .core import component
from .types import Examples, OutputArtifact, Parameter


@component(version="1")
def data_prep(
    examples: OutputArtifact[Examples],
    *,
    dataset: Parameter[str],
    data_dir: Parameter[str] = "",
    download: Parameter[bool] = False,
) -> None:
    """Prepares a TFDS data set and keeps its own copy of it.

    Args:
      dataset: as in `jeat_tf.prepare`.
      data_dir: TFDS folder; empty: TFDS' default.
      download: fetch what is not prepared.
    """
    output = os.path.join(examples.path, "summary.json")
    statistics = os.path.join(examples.path, "classes.npz")
    summary = prepare(PrepareConfig(Data(dataset, data_dir, download), output, statistics))
    folder = os.path.join(examples.path, "tfds")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(summary["folder"], folder)
    examples.properties = {"dataset": summary["dataset"], "images_sha256": summary["images_sha256"]}
