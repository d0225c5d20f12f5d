"""What `python -m jeat_tf.prepare` does with its settings, and what it prints."""

import json

from jeat_tf.config.prepare import PrepareConfig
from jeat_tf.prepare.run import prepare


def main(config: PrepareConfig) -> None:
    """Prepares the data set, and prints what it holds."""
    print(json.dumps(prepare(config), indent=2))
