"""What does one training step of each preset cost, in passes through the network and in FLOPs?

    python benchmarks/step_costs.py [--scale=digits] [--methods=jeat,jem] [--write=docs/results.md]

Plans each preset as `train --dry_run` does: runs a few steps, counts their passes for one image of a batch, and asks
TensorFlow's profiler for the FLOPs of a step. Neither depends on the machine. Prints a Markdown table, and with --write
puts it between its marks in that file. About five minutes on one thread.
"""

import pathlib

from absl import app, flags
from rows import head, put, row

from jeat_tf.config.flags import parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.train.planning import plan

PRESETS = pathlib.Path(__file__).parents[1] / "configs"

_SCALE = flags.DEFINE_string("scale", "digits", "folder of presets")
_METHODS = flags.DEFINE_list("methods", [], "presets; empty: all of the folder")
_WRITE = flags.DEFINE_string("write", "", "file with the marks of the table; empty: none")


def main(_: list[str]) -> None:
    folder = PRESETS / _SCALE.value
    methods = _METHODS.value or sorted(path.stem for path in folder.glob("*.flags") if path.stem != "judge")
    lines = [head(["preset", "steps", "forward", "backward to images", "backward to weights", "GFLOP a step"])]
    for method in methods:
        found = plan(parsed(TrainConfig, f"--flagfile={folder / method}.flags"))
        passes = found.passes_per_step
        counts = [passes.forward, passes.input_backward, passes.weight_backward]
        lines.append(
            row([f"`{method}`", found.steps, *(f"{n:.3g}" for n in counts), f"{found.flops_per_step / 1e9:.2f}"])
        )
        print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if _WRITE.value:
        put(_WRITE.value, text, "cost")


if __name__ == "__main__":
    app.run(main)
