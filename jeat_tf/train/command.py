"""What `python -m jeat_tf.train` does with its settings, and what it prints."""

import dataclasses
import os

from jeat_tf.config.train import TrainConfig
from jeat_tf.train.planning import plan
from jeat_tf.train.run import train


def main(config: TrainConfig) -> None:
    """Trains the net, and says what to type next."""
    result = train(config)
    seconds = f"{result.seconds:.0f} s" if result.seconds is not None else "nothing left to do"
    shown = ", ".join(
        f"{name} {result.logs[name]:.3f}"
        for name in ("val_accuracy", "val_robust_accuracy", "gap")
        if name in result.logs
    )
    print(f"{config.method.word}: {result.steps} steps, {seconds}; {shown}")
    recoveries = len(result.guard.events)
    if recoveries:
        print(f"recovered from divergence {recoveries} times; see {os.path.join(config.run.model_dir, 'guard.json')}")
    print(f"net in {os.path.join(config.run.model_dir, 'net.keras')}")


def print_plan(config: TrainConfig) -> None:
    """Prints what the run would cost, as comments of a flagfile."""
    found = plan(config)
    passes = dataclasses.asdict(found.passes_per_step)
    shown = {
        "parameters": f"{found.parameters:,}",
        "passes per image and step": ", ".join(f"{name} {value:g}" for name, value in passes.items()),
        "FLOPs per step": f"{found.flops_per_step:.3g}",
        "activations of a training pass": f"{found.activation_bytes / 2**20:,.0f} MiB (estimate)",
        "replay buffer": f"{found.buffer_bytes / 2**20:,.0f} MiB",
        "seconds per step": f"{found.seconds_per_step:.3g} ({found.basis})",
        "steps": f"{found.steps:,}",
        "hours": f"{found.hours:.3g}, without tracing and validation"
        + (f"; {found.teacher_hours:.3g} of them are the teacher's" if found.teacher_hours is not None else ""),
    }
    for name, value in shown.items():
        print(f"# {name}: {value}")
