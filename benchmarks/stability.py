"""How many runs does the guard save, and does it leave alone those that need no saving?

    python benchmarks/stability.py --runs=runs/stability [--scenarios=literal_1,jem_fast] [--seeds=0,1,2,3,4]

The scenarios literal_ALPHA are JEAT's Algorithm 1 to the letter: a chain of step alpha / 2 and noise sqrt(alpha).

Trains each scenario for each seed with the guard that recovers, with the one that stops, and with none. A run is lost
if it raised DivergenceError, or ended with a loss that is not finite, a gap beyond 1000 or a validation accuracy below
50%; recovered if it is not lost and the guard went back at least once; else clean. Runs with a result are not repeated.
Writes <runs>/table.json and prints a Markdown table. Small scale: 8x8 images, 1,260 training images, a net of 98,000
weights.
"""

import dataclasses
import json
import os
from typing import Any

import keras
import numpy as np
from absl import app, flags
from rows import head, row, spread

from jeat_tf.config.flags import parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.balls import Linf
from jeat_tf.core.files import write_json
from jeat_tf.core.flat import replace
from jeat_tf.core.records import plain
from jeat_tf.methods.guard import DivergenceError
from jeat_tf.methods.guard_files import read_events
from jeat_tf.methods.recipes.jeat import JEAT
from jeat_tf.train.run import train


def _literal(alpha: float) -> tuple[str, dict[str, Any]]:
    method = dataclasses.replace(JEAT.literal(Linf(26 / 255), alpha=alpha), buffer_size=2000)
    return "jeat", {"method": method, "epochs": 11}  # 209 steps


_SCENARIOS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"literal_{alpha:g}": _literal(alpha) for alpha in (1.0, 0.5, 0.1, 0.01, 0.001)},
    "jem_fast": ("jem", {"learning_rate": 1e-2}),  # ten times the preset's
    "jem_wild": ("jem", {"learning_rate": 1e-1}),  # a hundred times
    "jem": ("jem", {}),
}
_RUNS = flags.DEFINE_string("runs", "runs/stability", "folder of the runs")
_NAMES = flags.DEFINE_list("scenarios", list(_SCENARIOS), "scenarios")
_GUARDS = flags.DEFINE_list("guards", ["recover", "stop", "off"], "guards")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "seeds")
_ENERGY_L2 = flags.DEFINE_float("energy_l2", 0.0, "L2 on energies that each recovery adds")
_EPOCHS = flags.DEFINE_integer("epochs", 0, "passes over the training images; 0: the scenario's own")

_COLUMNS = (
    "runs", "clean", "recovered", "lost", "recoveries", "first at step", "stopped at step", "validation accuracy %"
)  # fmt: skip


def main(_: list[str]) -> None:
    table = {
        name: {guard: [_cell(name, guard, seed) for seed in _SEEDS.value] for guard in _GUARDS.value}
        for name in _NAMES.value
    }
    write_json(os.path.join(_RUNS.value, "table.json"), table)
    print(head(["scenario", "guard", *_COLUMNS]))
    for name, guards in table.items():
        for guard, cells in guards.items():
            print(row([name, guard, *_row(cells)]))


def _row(cells: list[dict[str, Any]]) -> list[str]:
    outcomes = [cell["outcome"] for cell in cells]
    stops = [event["step"] for cell in cells for event in cell["events"] if event["action"] == "stop"]
    recoveries = [[event for event in cell["events"] if event["action"] != "stop"] for cell in cells]
    first = [events[0]["step"] for events in recoveries if events]
    kept = [cell["val_accuracy"] for cell in cells if cell["outcome"] != "lost"]
    return [
        str(len(cells)),
        *(str(outcomes.count(outcome)) for outcome in ("clean", "recovered", "lost")),
        str(sum(len(events) for events in recoveries)),
        ", ".join(map(str, first)) or "-",
        ", ".join(map(str, stops)) or "-",
        spread([100 * accuracy for accuracy in kept]) if kept else "-",
    ]


def _cell(name: str, guard: str, seed: str) -> dict[str, Any]:
    folder = os.path.join(_RUNS.value, f"{name}-{guard}-{seed}")
    path = os.path.join(folder, "outcome.json")
    if os.path.exists(path):
        return _read(path)
    preset, settings = _SCENARIOS[name]
    settings = settings | {"guard": guard, "guard_energy_l2": _ENERGY_L2.value, "seed": int(seed), "model_dir": folder}
    settings |= {"epochs": _EPOCHS.value} if _EPOCHS.value else {}
    print(f"{name}, guard {guard}, seed {seed}", flush=True)
    keras.utils.clear_session()
    try:
        config = parsed(TrainConfig, f"--preset=digits/{preset}")
        result = train(replace(config, robust_every=0, images_every=0, **settings))
    except DivergenceError as error:
        events = plain(read_events(os.path.join(folder, "guard.json")))
        cell = {"outcome": "lost", "reason": str(error), "events": events}
    else:
        logs, events = result.logs, plain(result.guard.events)
        sound = np.isfinite(logs["loss"]) and abs(logs["gap"]) <= 1e3 and logs["val_accuracy"] >= 0.5
        outcome = "lost" if not sound else "recovered" if events else "clean"
        cell = {"outcome": outcome, "events": events, "val_accuracy": logs["val_accuracy"], "gap": logs["gap"]}
    write_json(path, cell)
    return cell


def _read(path: str) -> Any:
    with open(path, encoding="utf-8") as f:
        return json.load(f)


if __name__ == "__main__":
    app.run(main)
