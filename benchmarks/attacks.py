"""Is the native AutoAttack as strong as the official code, and how much faster? And PGD beside other libraries?

    pip install torch pyautoattack foolbox adversarial-robustness-toolbox cleverhans     # those to compare with
    python benchmarks/attacks.py --model=net.keras --dataset=cifar10 --data_dir=data --epsilon=8/255 --num_images=200

Each contestant runs in a process of its own, on one thread, and sees eight images before the clock starts. The time
is the process' CPU time. The official code is pyautoattack, its package, through its own TensorFlow 2 adapter,
which calls for CUDA without need: that call does nothing here. The floor is what the counted passes would take at the
speed of this processor's matrix product.
"""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["OMP_NUM_THREADS"] = "1"

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import jeat_tf as jt
from jeat_tf.attacks.ensemble import autoattack
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.search import predictions
from jeat_tf.attacks.steps import pgd_search
from jeat_tf.attacks.surrogates import inference
from jeat_tf.core.provenance import provenance
from jeat_tf.core.records import plain
from jeat_tf.core.units import number
from jeat_tf.data.labelled import open_labelled
from jeat_tf.models.files import load_net
from jeat_tf.models.precision import in_bfloat16

_MODEL = flags.DEFINE_string("model", "", "a .keras file")
_DATASET = flags.DEFINE_string("dataset", "cifar10", "TFDS name, folder or .npz file")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "TFDS data folder")
_IMAGES = flags.DEFINE_integer("num_images", 200, "the first so many test images")
_EPSILON = flags.DEFINE_string("epsilon", "8/255", "l-inf radius")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "seeds")
_CONTESTANTS = flags.DEFINE_list("contestants", [], "only these")
_ONE = flags.DEFINE_string("one", "", "internal: run this contestant and print its result")
_OUTPUT = flags.DEFINE_string("output", "", "JSON file for all results")
_BATCH = 200

Contestant = Callable[[keras.Model, np.ndarray, np.ndarray, float, int], tuple[np.ndarray, float | None]]
"""(net, x, labels, epsilon, seed) -> bool[N], the unbroken images, and passes counted as forward ones, where known."""


def _native(net, x, labels, epsilon, seed, *, version, bfloat16=False):
    found = autoattack(
        _oracle(net, bfloat16), x, labels, seed=[seed, 0], ball=jt.Linf(epsilon), attacks=version, batch_size=_BATCH
    )
    return ~found.broken, float(found.forwards.sum() + 2 * found.gradients.sum())


def _native_pgd(net, x, labels, epsilon, seed, *, steps, bfloat16=False, skip=True):
    oracle = _oracle(net, bfloat16)
    chosen = np.arange(len(x))
    if skip:
        chosen = np.flatnonzero(predictions(oracle, x).argmax(-1) == labels)
    search = functools.partial(pgd_search, ball=jt.Linf(epsilon), step_size=2.5 * epsilon / steps, num_steps=steps)
    found = search(oracle, x[chosen], labels[chosen], seed=[seed, 0])
    standing = np.zeros(len(x), bool)
    standing[chosen] = ~found.broken
    return standing, float(found.forwards.sum() + 2 * found.gradients.sum() + len(x))


@functools.cache
def _oracle(net: keras.Model, bfloat16: bool) -> Oracle:
    return Oracle(inference(net), coarse_fn=inference(in_bfloat16(net)) if bfloat16 else None)


def _official(net, x, labels, epsilon, seed):
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.Tensor.cuda = lambda self, *args, **kwargs: self
    torch.cuda.random.manual_seed = lambda seed: None
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
    from pyautoattack.fab_tf import FABAttack_TF
    from pyautoattack.square import SquareAttack
    from pyautoattack.utils_tf2 import ModelAdapter

    model = ModelAdapter(net, num_classes=net.output_shape[-1])
    images, y = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), torch.from_numpy(labels)
    common = {"eps": epsilon, "norm": "Linf", "seed": seed, "device": "cpu"}
    attacks = [
        APGDAttack(model, n_restarts=1, loss="ce", is_tf_model=True, **common),
        APGDAttack_targeted(model, n_restarts=1, is_tf_model=True, **common),
        FABAttack_TF(model, n_restarts=1, targeted=True, **common),
        SquareAttack(model.predict, resc_schedule=False, **common),
    ]
    for attack in attacks:
        if hasattr(attack, "loss"):
            attack.logger = __import__("logging").getLogger()
    standing = model.predict(images).max(1)[1] == y
    for attack in attacks:
        for batch in torch.split(standing.nonzero().squeeze(1), _BATCH):
            x_adv = attack.perturb(images[batch], y[batch])
            distance = (x_adv - images[batch]).abs().flatten(1).max(1)[0]
            standing[batch] = (model.predict(x_adv).max(1)[1] == y[batch]) | (distance > epsilon + 1e-5)
    return standing.numpy(), None


def _foolbox(net, x, labels, epsilon, seed, *, steps):
    import foolbox

    model = foolbox.TensorFlowModel(net, bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / steps, steps=steps)
    *_, broken = attack(model, tf.constant(x), tf.constant(labels), epsilons=epsilon)
    return ~broken.numpy(), None


def _art(net, x, labels, epsilon, seed, *, steps):
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import TensorFlowV2Classifier

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    shape, classes = x.shape[1:], net.output_shape[-1]
    model = TensorFlowV2Classifier(
        lambda x, training=False: net(x, training=False), classes, shape, loss_object=loss, clip_values=(0, 1)
    )
    attack = ProjectedGradientDescent(
        model, eps=epsilon, eps_step=2.5 * epsilon / steps, max_iter=steps, num_random_init=1, batch_size=_BATCH,
        verbose=False,
    )  # fmt: skip
    return net(attack.generate(x, labels)).numpy().argmax(-1) == labels, None


def _cleverhans(net, x, labels, epsilon, seed, *, steps):
    from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

    x_adv = projected_gradient_descent(
        lambda x: net(x, training=False), tf.constant(x), epsilon, 2.5 * epsilon / steps, steps, np.inf, clip_min=0,
        clip_max=1, y=tf.constant(labels), rand_init=1, sanity_checks=False,
    )  # fmt: skip
    return net(x_adv).numpy().argmax(-1) == labels, None


CONTESTANTS: dict[str, tuple[Contestant, str | None]] = {
    "autoattack official": (_official, "pyautoattack"),
    "autoattack native": (functools.partial(_native, version="standard"), None),
    "autoattack native bfloat16": (functools.partial(_native, version="standard", bfloat16=True), None),
    "autoattack native fast": (functools.partial(_native, version="fast"), None),
    **{
        f"pgd{steps} {name}": (functools.partial(contestant, steps=steps), package)
        for steps in (20, 50)
        for name, contestant, package in (
            ("foolbox", _foolbox, "foolbox"),
            ("ART", _art, "art"),
            ("CleverHans", _cleverhans, "cleverhans"),
            ("native, no skipping", functools.partial(_native_pgd, skip=False), None),
            ("native", _native_pgd, None),
            ("native bfloat16", functools.partial(_native_pgd, bfloat16=True), None),
        )
    },
}
"""Name -> contestant and the package that it needs."""


def main(_: list[str]) -> None:
    if _ONE.value:
        _run_one(_ONE.value, int(_SEEDS.value[0]))
        return
    results: dict[str, list[dict]] = {}
    for name, (_, package) in CONTESTANTS.items():
        if _CONTESTANTS.value and name not in _CONTESTANTS.value:
            continue
        if package and importlib.util.find_spec(package) is None:
            print(f"{name}: not installed")
            continue
        for seed in _SEEDS.value:
            command = [sys.executable, *sys.argv, f"--one={name}", f"--seeds={seed}"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{name}, seed {seed}: failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
                continue
            result = json.loads(done.stdout.strip().splitlines()[-1])
            results.setdefault(name, []).append(result)
            stands = f"{np.mean(result['standing']):.2%}"
            print(f"{name}, seed {seed}: {result['seconds']:.1f} CPU-s, {stands} stand", flush=True)
    _table(results)
    if _OUTPUT.value:
        with open(_OUTPUT.value, "w", encoding="utf-8") as f:
            json.dump({"provenance": plain(provenance()), "results": results}, f)


def _run_one(name: str, seed: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    net = load_net(_MODEL.value)
    data = open_labelled(_DATASET.value, "test", count=_IMAGES.value, data_dir=_DATA_DIR.value)
    x, epsilon = data.images[:], number(_EPSILON.value)
    contestant, _ = CONTESTANTS[name]
    contestant(net, x[:8], data.labels[:8], epsilon, seed)
    started = time.process_time()
    standing, passes = contestant(net, x, data.labels, epsilon, seed)
    seconds = time.process_time() - started
    floor = None if passes is None else passes * _flops(net) / _peak()
    print(json.dumps({"seconds": seconds, "standing": standing.tolist(), "passes": passes, "floor": floor}))


def _flops(net: keras.Model) -> float:
    """Operations of one forward pass in convolutions and dense layers."""
    kernels = [layer for layer in net.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    return float(sum(2 * np.prod(k.kernel.shape) * np.prod(k.output.shape[1:-1]) for k in kernels))


def _peak() -> float:
    """Operations per second of a float32 matrix product on one thread."""
    a = tf.random.normal([1024, 1024])
    tf.matmul(a, a)
    started = time.process_time()
    for _ in range(20):
        tf.matmul(a, a)
    return 20 * 2 * 1024**3 / (time.process_time() - started)


def _table(results: dict[str, list[dict]]) -> None:
    def seconds(name: str) -> float:
        return float(np.mean([result["seconds"] for result in results[name]]))

    columns = ("contestant", "CPU-s", "stand %", "times the speed of", "passes per image", "time / floor")
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in results:
        kind = name.split()[0]
        rivals = [n for n in results if n.split()[0] == kind and "native" not in n] if "native" in name else []
        ratios = ", ".join(f"{rival.split(maxsplit=1)[1]}: {seconds(rival) / seconds(name):.2f}" for rival in rivals)
        first = results[name][0]
        passes = f"{first['passes'] / len(first['standing']):.0f}" if first["passes"] else "-"
        floor = f"{seconds(name) / first['floor']:.2f}" if first["floor"] else "-"
        stand = np.mean([np.mean(result["standing"]) for result in results[name]])
        print(f"| {name} | {seconds(name):.1f} | {100 * stand:.2f} | {ratios or '-'} | {passes} | {floor} |")
    official = results.get("autoattack official", [])
    for name in results:
        if name.startswith("autoattack native"):
            for ours, theirs in zip(results[name], official, strict=False):
                differ = np.mean(np.array(ours["standing"]) != np.array(theirs["standing"]))
                print(f"{name}: {differ:.2%} of the verdicts differ from the official ones")


if __name__ == "__main__":
    app.run(main)
