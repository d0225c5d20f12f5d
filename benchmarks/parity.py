"""Are the generative scores those of torch-fidelity, clean-fid and prdc on the same features, and what do they cost?

    python benchmarks/parity.py ours --folder=runs/parity
    python benchmarks/parity.py reference --folder=runs/parity     in an environment with torch, torch-fidelity,
                                                                   clean-fid, prdc and scipy; jeat_tf is not needed
    python benchmarks/parity.py table --folder=runs/parity         the relative differences, as Markdown
    python benchmarks/parity.py stream                             memory of 50,000 x 2048 features, in blocks

`ours` writes the features it scores, <folder>/<case>.npz, so that both sides see the same numbers, and its scores with
CPU seconds (of all threads). Cases: `random` (5,000 rectified Gaussian features of 2048 dimensions with a falling
spectrum, and 5,000 probabilities of 1008 classes), `few` (the first 500 features, whose covariances lack full rank,
and the first 100 classes), and `digits` (features of a small CNN trained here for a few epochs: training images
against test images with noise). KID takes all features as its one subset, IS consecutive splits. The cases test
arithmetic; none of their scores says anything about a generative model.
"""

import argparse
import contextlib
import functools
import importlib.metadata
import json
import os
import resource
import time
import warnings
from collections.abc import Callable

import numpy as np

_CASES = ("random", "few", "digits")
_PACKAGES = ("torch-fidelity", "clean-fid", "prdc", "torch", "scipy", "numpy", "scikit-learn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ours", "reference", "table", "stream"])
    parser.add_argument("--folder", default="runs/parity")
    arguments = parser.parse_args()
    os.makedirs(arguments.folder, exist_ok=True)
    {"ours": ours, "reference": reference, "table": table, "stream": lambda _: stream()}[arguments.what](
        arguments.folder
    )


def ours(folder: str) -> None:
    from jeat_tf.metrics import frechet, scores

    cases = {**_random_cases(), "digits": _digits()}
    results = {}
    for case, arrays in cases.items():
        np.savez(os.path.join(folder, f"{case}.npz"), **arrays)
        a, b, p = arrays["a"], arrays["b"], arrays["p"]
        works = {
            "is": lambda p=p: scores.inception_score(p)._asdict(),
            "fid": lambda a=a, b=b: frechet.frechet_distance(a, b),
            "kid": lambda a=a, b=b: scores.kernel_mmd(a, b),
            "pr": lambda a=a, b=b: scores.precision_recall(a, b)._asdict(),
            "dc": lambda a=a, b=b: scores.density_coverage(a, b)._asdict(),
        }
        results[case] = _timed(works)
    _write(folder, "ours", results)


def reference(folder: str) -> None:
    import cleanfid.fid
    import prdc
    import torch
    import torch_fidelity.metric_fid as fid
    import torch_fidelity.metric_isc as isc
    import torch_fidelity.metric_kid as kid
    import torch_fidelity.metric_prc as prc

    torch.set_num_threads(2)
    results = {}
    for case in _CASES:
        with np.load(os.path.join(folder, f"{case}.npz"), allow_pickle=False) as arrays:
            a, b, p = (arrays[name].astype(np.float64) for name in ("a", "b", "p"))
        ta, tb = torch.from_numpy(a), torch.from_numpy(b)
        with np.errstate(divide="ignore"):
            logits = torch.from_numpy(np.log(p))
        one_subset = {"kid_subsets": 1, "kid_subset_size": len(a), "verbose": False}

        def fidelity_fid(ta: torch.Tensor = ta, tb: torch.Tensor = tb) -> float:
            return fid.fid_statistics_to_metric(
                fid.fid_features_to_statistics(ta), fid.fid_features_to_statistics(tb), False
            )["frechet_inception_distance"]

        works = {
            "is torch-fidelity": functools.partial(isc.isc_features_to_metric, logits, 10, False),
            "fid torch-fidelity": fidelity_fid,
            "fid clean-fid": functools.partial(cleanfid.fid.fid_from_feats, a, b),
            "kid torch-fidelity": functools.partial(kid.kid_features_to_metric, ta, tb, **one_subset),
            "kid clean-fid": functools.partial(cleanfid.fid.kernel_distance, b, a, 1, len(a)),
            "pr torch-fidelity": functools.partial(prc.prc_features_to_metric, ta, tb, verbose=False),
            "pr prdc": functools.partial(prdc.compute_prdc, b, a, 3),
            "dc prdc": functools.partial(prdc.compute_prdc, b, a, 5),
        }
        results[case] = _timed(works)
    _write(folder, "reference", results)


def table(folder: str) -> None:
    mine, theirs = (_read(folder, name)["results"] for name in ("ours", "reference"))
    print("| case | score | ours | reference | received | relative difference | CPU-s, ours | theirs |")
    print(f"|{'---|' * 8}")
    for case in _CASES:
        for key, row in theirs[case].items():
            score, package = key.split(" ")
            own = mine[case][score]
            if "error" in row:
                print(f"| {case} | {score} | {own['value']:.9g} | {package} | {row['error'][:80]} | - | - | - |")
                continue
            for name, value in _pairs(score, own["value"], row["value"]):
                difference = abs(value[0] - value[1]) / max(abs(value[1]), 1e-300)
                print(
                    f"| {case} | {name} | {value[0]:.9g} | {package} | {value[1]:.9g} | {difference:.1e} | "
                    f"{own['cpu_seconds']:.2f} | {row['cpu_seconds']:.2f} |"
                )


def stream() -> None:
    from jeat_tf.metrics.feature_statistics import FeatureStatistics
    from jeat_tf.metrics.frechet import frechet_distance

    before = _peak()
    rng = np.random.default_rng(0)
    started = time.monotonic()
    statistics = []
    for shift in (0.0, 0.01):
        new = FeatureStatistics(2048)
        for _ in range(100):
            new.update(rng.standard_normal((500, 2048), np.float32) + np.float32(shift))
        statistics.append(new)
    streamed, peak = time.monotonic() - started, _peak()
    started, used = time.monotonic(), time.process_time()
    distance = frechet_distance(*statistics)
    seconds, used = time.monotonic() - started, time.process_time() - used
    print(f"peak memory of the process: {before:.0f} MiB after imports, {peak:.0f} MiB after twice 50,000 x 2048")
    print(f"(together 781 MiB in float32) in {streamed:.1f} s; then {_peak():.0f} MiB with the Frechet distance")
    print(f"Frechet distance of 2048 features: {distance:.6g} in {seconds:.1f} s, {used:.1f} CPU seconds")


def _random_cases() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    spectrum = np.linspace(1, 40, 2048) ** -1.0
    mixing = rng.normal(size=(2048, 2048)) / np.sqrt(2048)
    a, b = (np.maximum((rng.normal(size=(5000, 2048)) * spectrum * s) @ mixing + 0.05, 0) for s in (1.0, 1.2))
    logits = 2 * rng.normal(size=(5000, 1008))
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    full = {"a": a.astype(np.float32), "b": b.astype(np.float32), "p": p / p.sum(axis=1, keepdims=True)}
    few = {"a": full["a"][:500], "b": full["b"][:500], "p": full["p"][:, :100] / full["p"][:, :100].sum(1)[:, None]}
    return {"random": full, "few": few}


def _digits() -> dict[str, np.ndarray]:
    import keras

    from jeat_tf.data.datasets import as_floats, open_dataset
    from jeat_tf.metrics.features import classifier
    from jeat_tf.models.cnn import small_cnn

    data = open_dataset("digits")
    (images, labels), (others, _) = data.arrays("train"), data.arrays("test")
    keras.utils.set_random_seed(0)
    net = small_cnn(data.image_shape, data.num_classes, head="average")
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.fit(as_floats(images), labels, epochs=10, batch_size=64, verbose=0)
    noise = 0.1 * np.random.default_rng(0).normal(size=others.shape)
    samples = np.clip(as_floats(others) + noise, 0, 1).astype(np.float32)
    judge = classifier(net)
    features, probabilities = judge.of(samples)
    # As many on both sides, so that one subset of KID can hold all.
    return {"a": features, "b": judge.of(as_floats(images[: len(samples)]))[0], "p": probabilities}


def _timed(works: dict[str, Callable[[], object]]) -> dict[str, dict]:
    rows = {}
    for key, work in works.items():
        started = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = work()
        except Exception as error:  # A package that cannot compute a score is a result, and must not end the others.
            rows[key] = {"error": f"{type(error).__name__}: {error}"}
            continue
        seconds = time.process_time() - started
        numbers = {k: float(v) for k, v in value.items()} if isinstance(value, dict) else float(value)
        rows[key] = {"value": numbers, "cpu_seconds": seconds}
        print(f"{key}: {numbers}", flush=True)
    return rows


def _pairs(score: str, own: float | dict, other: float | dict) -> list[tuple[str, tuple[float, float]]]:
    """(name, (ours, theirs)) of each number that both give."""
    if not isinstance(own, dict):
        return [(score, (own, next(iter(other.values())) if isinstance(other, dict) else other))]
    renamed = {"mean": "inception_score_mean", "std": "inception_score_std"}
    return [(f"{score} {name}", (value, other[renamed.get(name, name)])) for name, value in own.items()]


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _write(folder: str, name: str, results: dict) -> None:
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    with open(os.path.join(folder, f"{name}.json"), "w", encoding="utf-8") as f:
        json.dump({"results": results, "versions": versions}, f, indent=2)


def _read(folder: str, name: str) -> dict:
    with open(os.path.join(folder, f"{name}.json"), encoding="utf-8") as f:
        return json.load(f)


if __name__ == "__main__":
    main()
