"""`python -m jeat_tf.evaluate`: accuracy of a net, clean and under attack."""

import dataclasses
import datetime
import functools
import os
import re
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from jeat_tf import build, cli
from jeat_tf.artifacts import net_file, provenance, writable_folder, write_arrays, write_json
from jeat_tf.attacks import cross_entropy, fgsm, joint_energy
from jeat_tf.config import EvaluateConfig, check_epsilon, nearest
from jeat_tf.data import evaluation_batches
from jeat_tf.evaluation import Verdicts, attacked_verdicts, clean_verdicts, wilson_interval
from jeat_tf.norms import linf
from jeat_tf.trained import open_trained, output_folder, run_config
from jeat_tf.types import Attack, Surrogate
from jeat_tf.units import fraction_of_255

_NAMES = ("clean", "fgsm", "pgd20", "pgd50", "energy")
_ENERGY_STEPS = 20


@dataclasses.dataclass(frozen=True)
class _Named:
    name: str
    surrogate: Surrogate
    attack: Attack
    protocol: str


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Attacks the net on a split and writes `results.json` and `verdicts.npz`.

    Returns:
      results: for each attack accuracy, 95% Wilson interval, largest distance, seconds and protocol; with the
        net's digests, data set, epsilon, seed and provenance.

    Raises:
      ValueError: bad settings, an unknown attack, an unreadable net, or a net that does not fit the data.
      FileNotFoundError: the data set is not prepared.
    """
    net_file(config.model)  # before its settings: without a net there is nothing to say about epsilon
    run = run_config(config.model)
    epsilon = config.epsilon or (run.method.epsilon if run else 0.0)
    if not epsilon:
        raise ValueError("expected --epsilon, e.g. 8/255: the net comes without the settings of a run")
    check_epsilon(epsilon)
    attacks = [_attack(name.strip(), epsilon) for name in config.attacks.split(",") if name.strip()]
    if config.batch_size < 1 or config.num_images < 0:
        raise ValueError(
            f"expected --batch_size >= 1 and --num_images >= 0, received {config.batch_size}, {config.num_images}"
        )
    trained = open_trained(config.model, config.data)
    data = trained.data
    total = config.num_images or data.size(config.split)
    if total > data.size(config.split):
        raise ValueError(f"expected --num_images of at most {data.size(config.split)}, received {total}")
    folder = writable_folder(output_folder(config.model, config.output_dir, "evaluation"), "output_dir")

    results: dict[str, Any] = {}
    verdicts: dict[str, Verdicts] = {}
    for attack in attacks:
        name = attack.name if attack else "clean"
        batches = evaluation_batches(data.split(config.split).take(total), config.batch_size)
        progress = tqdm(batches, desc=f"{name:8}", total=-(-total // config.batch_size), unit="batch")
        started = time.monotonic()
        verdicts[name] = (
            attacked_verdicts(trained.net, attack.surrogate, attack.attack, linf(epsilon), progress, seed=config.seed)
            if attack
            else clean_verdicts(trained.net, progress)
        )
        results[name] = _summary(verdicts[name], time.monotonic() - started)
        results[name]["protocol"] = attack.protocol if attack else "images as they are"
    report = {
        **trained.identity(),
        "split": config.split,
        "images": f"the first {total} of {data.size(config.split)}, in file order",
        "norm": "linf",
        "epsilon": epsilon,
        "epsilon_text": fraction_of_255(epsilon),
        "seed": config.seed,
        "attacks": results,
        "date": datetime.date.today().isoformat(),
        "provenance": provenance(),
    }
    arrays = {f"{name}_{field}": v for name, of in verdicts.items() for field, v in of._asdict().items()}
    write_arrays(os.path.join(folder, "verdicts.npz"), **arrays)
    write_json(os.path.join(folder, "results.json"), report)
    return report


def _attack(name: str, epsilon: float) -> _Named | None:
    if name == "clean":
        return None
    if name == "fgsm":
        return _Named(
            name,
            cross_entropy,
            functools.partial(fgsm, ball=linf(epsilon)),
            "one step of epsilon on the cross-entropy, from x",
        )
    match = re.fullmatch(r"(pgd(?=\d)|energy)([1-9]\d*)?", name)
    if match is None:
        raise ValueError(f'unknown attack "{name}"; {nearest(name, _NAMES)}')
    steps = int(match[2] or _ENERGY_STEPS)
    on, surrogate = ("cross-entropy", cross_entropy) if match[1] == "pgd" else ("E(x, y)", joint_energy)
    return _Named(
        name,
        surrogate,
        build.pgd_attack(epsilon, steps),
        f"{steps} sign steps of {2.5 * epsilon / steps:.5g} on {on}, one random start, last iterate",
    )


def _summary(verdicts: Verdicts, seconds: float) -> dict[str, Any]:
    count, correct = len(verdicts.correct), int(verdicts.correct.sum())
    return {
        "accuracy": correct / count,
        "interval_95": wilson_interval(correct, count),
        "correct": correct,
        "images": count,
        "largest_distance": float(np.max(verdicts.distance)),
        "seconds": round(seconds, 2),
    }


def _main(config: EvaluateConfig) -> None:
    report = evaluate(config)
    print(f"\n{report['dataset']} {report['split']}, {report['images']}; l-inf epsilon {report['epsilon_text']}")
    for name, result in report["attacks"].items():
        low, high = result["interval_95"]
        print(f"  {name:10} {result['accuracy']:7.2%}   95% interval {low:.1%} .. {high:.1%}")
    folder = output_folder(config.model, config.output_dir, "evaluation")
    print(f"written: {os.path.join(folder, 'results.json')}")


if __name__ == "__main__":
    cli.run(EvaluateConfig, _main)
