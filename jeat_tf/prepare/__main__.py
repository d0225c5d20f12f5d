"""`python -m jeat_tf.prepare`."""

import json

from jeat_tf.config import cli
from jeat_tf.config.prepare import PrepareConfig
from jeat_tf.prepare.run import prepare


def main(config: PrepareConfig) -> None:
    print(json.dumps(prepare(config), indent=2))


if __name__ == "__main__":
    cli.run(PrepareConfig, main, name="jeat_tf.prepare")
