"""A model card: what a net is, how it was made, what was measured of it, and what it is not for."""

import os

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.records import Record, record, stored
from jeat_tf.runs.results import ATTACKS, AttackResults
from jeat_tf.runs.training import Training

FILE = "card.json"
LICENCE = "Apache-2.0"


@record
class Measured:
    """Accuracy under one attack.

    Attributes:
      attack: its name, or "clean".
      epsilon: norm and radius as text, e.g. "linf 8/255"; empty for clean images.
      accuracy: share of images that are classified correctly.
      images: number of images.
      protocol: description of the attack.
    """

    attack: str
    epsilon: str
    accuracy: float
    images: int
    protocol: str


@record
class ModelCard(Record):
    """What is known of a net that is given away.

    Attributes:
      name: of the model.
      summary: what it is, in a line.
      method: word of its method.
      dataset: that it was trained on.
      data_sha256: digest of its training images and labels.
      class_names: one for each logit; empty where they are not known.
      image_shape: (H, W, C); pixels are in [0, 1].
      parameters: how many weights.
      file_sha256: digest of net.keras.
      weights_sha256: digest of the weights.
      command: that trained it.
      settings: flags of that command and its defaults, as text.
      measured: on test images; empty where nothing was.
      measured_by: command of that evaluation.
      licence: of the weights.
      date: of the training.
    """

    MADE_BY = "python -m jeat_tf.export --formats=card"

    name: str
    summary: str
    method: str
    dataset: str
    data_sha256: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    parameters: int
    file_sha256: str
    weights_sha256: str
    command: str
    settings: tuple[str, ...]
    measured: tuple[Measured, ...]
    measured_by: str
    licence: str
    date: str

    def markdown(self) -> str:
        """The card as a page with the header that model hubs read."""
        rows = "\n".join(
            f"| {m.attack} | {m.epsilon or '-'} | {100 * m.accuracy:.1f} | {m.images} | {m.protocol} |"
            for m in self.measured
        )
        table = f"| attack | epsilon | accuracy % | images | protocol |\n|---|---|---|---|---|\n{rows}"
        classes = ", ".join(self.class_names) or "not named"
        return f"""---
library_name: keras
license: {self.licence.lower()}
tags: [image-classification, energy-based-model, adversarial-robustness]
---

# {self.name}

{self.summary}

```python
import keras

net = keras.saving.load_model("net.keras")  # images in [0, 1], float32{list(self.image_shape)} -> logits
```

Logits are energies: E(x, y) = -f(x)[y] and E(x) = -logsumexp f(x).

- Method: {self.method}. Weights: {self.parameters:,}. Licence: {self.licence}.
- Data: {self.dataset}, digest `{self.data_sha256}`. Classes: {classes}.
- SHA-256 of `net.keras`: `{self.file_sha256}`.
- Trained on {self.date} by `{self.command}`.

## Measured

{f"{table}{chr(10)}{chr(10)}By `{self.measured_by}`." if self.measured else "Nothing was measured of this network."}

## Intended use and limits

The network is for research on robust and generative classifiers, and for examples and tests. Robust accuracy holds for
the attacks and the ball of the table alone. The network knows only the images and classes that it was trained on, and
must not be used to decide about people.
"""


def read_card(folder: str) -> ModelCard | None:
    """The card in a folder; None without one.

    Raises:
      ValueError: a file that is no card; it is named.
    """
    return stored(ModelCard, os.path.join(folder, FILE))


def measured_of(folder: str, weights_sha256: str) -> tuple[tuple[Measured, ...], str]:
    """What a run's evaluation of those weights found, and by which command; nothing where there is none."""
    found = stored(AttackResults, os.path.join(folder, "evaluation", ATTACKS))
    if found is None:
        return (), ""
    if found.weights_sha256 != weights_sha256:
        print(f"left off the card: the evaluation in {folder} is of other weights, those of {found.model}")
        return (), ""
    rows = [
        Measured(
            attack=row.attack,
            epsilon="" if row.attack == "clean" else f"{row.norm or found.norm} {row.epsilon_text or row.epsilon}",
            accuracy=row.accuracy,
            images=row.images,
            protocol=row.protocol,
        )
        for row in found.results
    ]
    return tuple(rows), found.provenance.command


def summary_of(config: TrainConfig, training: Training) -> str:
    """What a net is, in a line."""
    method = (type(config.method).__doc__ or "").strip().split("\n")[0]
    return f"A classifier of {training.dataset}, trained by {method[:1].lower()}{method[1:]}".rstrip(".") + "."
