"""What `benchmarks/reliability.py` does to runs: one function a fault, each of which is one trial of it."""

import contextlib
import json
import multiprocessing
import os
import pathlib
import random
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from components import manifest
from components.store import Lineage, Made
from components.types import Examples
from jeat_tf.attacks.ensemble import Standing
from jeat_tf.config.flags import parsed
from jeat_tf.config.store import read_settings
from jeat_tf.config.train import TrainConfig
from jeat_tf.core import generations
from jeat_tf.core.failures import BUSY, FAULT, STATED, sentence, status
from jeat_tf.core.files import KeptWarning, read_arrays, read_json, write_arrays
from jeat_tf.data.arrays import open_arrays
from jeat_tf.methods.guard_files import read_events
from jeat_tf.models.files import load_net
from jeat_tf.report.collect import read_run
from jeat_tf.runs import verdicts
from jeat_tf.runs.samples import SampleFolder, _read
from jeat_tf.runs.training import read_training
from jeat_tf.runs.verdicts import StoredStanding

ROOT = pathlib.Path(__file__).parents[1]
TRAIN = "--method=jem --epochs=3 --batch_size=100 --chain_steps=2 --buffer_size=300 --robust_every=0 --images_every=0"
STATES = "--checkpoint_steps=3 --energy_changes_every=4"
EVALUATE = "--attacks=clean,pgd50,apgd-ce --num_images=200 --batch_size=20 --audit_images=0"
SAMPLE = "--num=60 --batch_size=10 --shard_size=10 --stages=sgld:steps=200 --readings=2"
HOLD = (
    "import sys; from jeat_tf.runs.locks import held\n"
    "with held(sys.argv[1], 'benchmark'): print('held', flush=True); sys.stdin.read()"
)
_MESSAGES = 4096  # bytes of standard error, which is a file too
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["jeat_tf.train.run", "jeat_tf.evaluate.robustness", "jeat_tf.sample.run"])
VERBS = {
    "train": lambda work, folder: f"train {TRAIN} {STATES} --model_dir={folder}",
    "evaluate": lambda work, folder: f"evaluate --model={work / 'train'} {EVALUATE} --output_dir={folder}",
    "sample": lambda work, folder: f"sample --model={work / 'train'} {SAMPLE} --output_dir={folder}",
}
"""Verb -> (folder of the undisturbed work, output folder) -> its command."""


class Verb:
    """A verb in a process of its own, which is forked once the modules are loaded, and so at work at once."""

    def __init__(self, words: str, *, largest: int = 0):
        """
        Args:
          words: of the command line.
          largest: bytes that its files may have; 0: any.
        """
        self.words = words
        self._folder = tempfile.mkdtemp()
        self._error = os.path.join(self._folder, "error")
        self.process = _SERVER.Process(target=_work, args=(words.split(), self._error, largest))
        self.process.start()

    def wait(self, seconds: float) -> None:
        """Waits until the process has had so many seconds of the processor, however busy that is, or has ended."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            while self.process.is_alive():
                user, system = stat.read_text().rpartition(")")[2].split()[11:13]
                if (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") >= seconds:
                    return
                time.sleep(0.01)

    def end(self) -> tuple[int, str]:
        """Waits for the end; returns the exit status and what is on standard error. `cpu` has its processor seconds."""
        self.process.join()
        with open(self._error, encoding="utf-8", errors="replace") as file:
            error = file.read()
        cpu = pathlib.Path(self._folder, "cpu")
        self.cpu = float(cpu.read_text()) if cpu.exists() else None
        shutil.rmtree(self._folder)
        return self.process.exitcode or 0, error


def _work(words: list[str], error: str, largest: int) -> None:
    if largest:
        sys.dont_write_bytecode = True  # Python writes half of a file without a word, and reads it later
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    with open(error, "w") as file, open(os.devnull, "w") as null:
        os.dup2(file.fileno(), 2)
        os.dup2(null.fileno(), 1)
    verdicts._SAVE_EVERY = 0.2  # the attacks are short
    sys.argv = ["jeat_tf", *words]
    try:
        runpy.run_module("jeat_tf", run_name="__main__")
    finally:
        pathlib.Path(error).with_name("cpu").write_text(str(time.process_time()))


def seconds_of(words: str) -> tuple[float, float]:
    """Runs a verb to its end; returns seconds of the clock, and of the processor without the import of modules."""
    begun, verb = time.monotonic(), Verb(words)
    status, error = verb.end()
    if status or verb.cpu is None:
        raise RuntimeError(f"{words} ended with {status}: {error}")
    return time.monotonic() - begun, verb.cpu


def whole(work: pathlib.Path) -> dict[str, float]:
    """Makes what all trials are compared with; returns each verb's seconds of the processor."""
    Verb("list methods").end()  # loads the modules
    return {verb: seconds_of(words(work, work / verb))[1] for verb, words in VERBS.items()}


def half(work: pathlib.Path) -> pathlib.Path:
    """A run that was killed once it had two states, a history and a record of energies."""
    folder = work / "half"
    needed = ("history.json", "previous.json", "energy_changes.npz")
    verb = Verb(VERBS["train"](work, folder))
    while verb.process.is_alive() and not all((folder / name).exists() for name in needed):
        time.sleep(0.05)
    verb.process.kill()
    verb.end()
    return folder


def same_training(a: pathlib.Path, b: pathlib.Path) -> bool:
    """Whether all arrays of the state, the history, the records and the logs are equal to the bit."""
    with h5py.File(a / "last.weights.h5") as left, h5py.File(b / "last.weights.h5") as right:
        if generations._digests(left) != generations._digests(right):
            return False
    if any((a / name).read_bytes() != (b / name).read_bytes() for name in ("history.json", "energy_changes.npz")):
        return False
    results = [json.loads((folder / "train.json").read_text()) for folder in (a, b)]
    return all(results[0][name] == results[1][name] for name in ("weights_sha256", "logs", "steps"))


def same_files(a: pathlib.Path, b: pathlib.Path) -> bool:
    """Whether the arrays and pictures of two folders are equal to the bit, and their names."""
    names = [sorted(p.name for p in folder.iterdir() if p.suffix in (".npz", ".png", ".gif")) for folder in (a, b)]
    if names[0] != names[1]:
        return False
    for name in names[0]:
        if not name.endswith(".npz"):
            if (a / name).read_bytes() != (b / name).read_bytes():
                return False
            continue
        left, right = read_arrays(str(a / name)), read_arrays(str(b / name))
        if left.keys() != right.keys() or not all(_equal(left[k], right[k]) for k in left):
            return False
    return True


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def kill(verb: str, work: pathlib.Path, seconds: float, folder: pathlib.Path, rng: random.Random) -> dict[str, Any]:
    """SIGKILL at one or two random shares of the processor's seconds, and then the same command to its end."""
    words, kills = VERBS[verb](work, folder), 0
    for _ in range(rng.choice([1, 1, 2])):
        killed_verb = Verb(words)
        killed_verb.wait(rng.uniform(0.02, 1.0) * seconds)
        kills += killed_verb.process.is_alive()
        killed_verb.process.kill()
        killed_verb.end()
    _, cpu = seconds_of(words)
    compare = same_training if verb == "train" else same_files
    return {
        "kills": kills,
        "same": compare(work / verb, folder),
        "temporaries": sum(1 for _ in folder.rglob(".partial-*")),
        "cpu": round(cpu, 2),
    }


def resume(work: pathlib.Path, folder: pathlib.Path) -> dict[str, Any]:
    """Seconds of a command that finds the last state of its run, and nothing left to do but the result."""
    shutil.copytree(work / "train", folder)
    (folder / "train.json").unlink()
    seconds, cpu = seconds_of(VERBS["train"](work, folder))
    return {"seconds": round(seconds, 2), "cpu": round(cpu, 2)}


def flip(half: pathlib.Path, folder: pathlib.Path, rng: random.Random) -> dict[str, Any]:
    """One bit of one file of a state: is it noticed, and is the state before it found?"""
    folder.mkdir()
    for path in half.iterdir():
        if path.name.startswith(("last.", "previous.")):
            shutil.copy(path, folder)
    path = folder / rng.choice(["last.weights.h5", "last.json"])
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    found, before = generations.newest(str(folder)), generations.newest(str(half))
    assert before.manifest is not None
    older = found.manifest is not None and found.manifest.step < before.manifest.step
    return {"noticed": bool(found.broken) and older}


def hold(folder: pathlib.Path) -> dict[str, Any]:
    """Two processes that take the lock of one folder at once."""
    folder.mkdir()
    arguments = [sys.executable, "-c", HOLD, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    both = [subprocess.Popen(arguments, cwd=ROOT, text=True, **pipes) for _ in range(2)]
    said = [process.stdout.readline() for process in both]  # the one that has it keeps it until both have tried
    for process in both:
        process.communicate()
    return {"one": sorted(said) == ["", "held\n"]}


def together(verb: str, work: pathlib.Path, folder: pathlib.Path) -> dict[str, Any]:
    """The same verb twice at once, into one new folder and with two seeds: one is refused, all files are of one."""
    both = [Verb(f"{VERBS[verb](work, folder)} --seed={seed}") for seed in (0, 1)]
    codes, errors = zip(*(each.end() for each in both), strict=True)
    if sorted(codes) not in ([0, BUSY], [0, STATED]):  # the second is refused at work, or by what the first has left
        return {"one": False, "codes": codes, "errors": errors}
    seed = codes.index(0)
    if verb == "train":
        result = json.loads((folder / "train.json").read_text())
        seeds = {read_settings(TrainConfig, str(folder / "config.json")).run.seed, result["seed"]}
    else:
        seeds = {json.loads((folder / "identity.json").read_text())["seed"]}
    return {"one": seeds == {seed} and any(words in errors[1 - seed] for words in ("in use by", "holds"))}


def full(path: pathlib.Path, rng: random.Random) -> dict[str, Any]:
    """A limit on the size of files, as a full disk sets it, in the middle of a file."""
    if not path.exists():
        write_arrays(str(path), a=np.arange(10))
    before, beside = path.read_bytes(), sorted(os.listdir(path.parent))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (rng.randrange(1, 50_000), hard))
    try:
        write_arrays(str(path), a=np.random.default_rng(0).random(20_000))
    except OSError as error:
        named = str(path) in sentence(error)
    else:
        named = False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return {"kept": named and path.read_bytes() == before and sorted(os.listdir(path.parent)) == beside}


def full_verb(verb: str, work: pathlib.Path, folder: pathlib.Path, rng: random.Random) -> dict[str, Any]:
    """A verb under a limit on the size of its files, and again without: a sentence, then as if undisturbed."""
    words = VERBS[verb](work, folder)
    largest = max(path.stat().st_size for path in (work / verb).iterdir())
    limit = rng.randrange(max(largest // 100, _MESSAGES), largest)
    code, error = Verb(words, largest=limit).end()
    last = (error.strip().splitlines() or [""])[-1]
    named = any(place in last for place in (str(folder), tempfile.gettempdir()))
    stated = code == STATED and last.startswith("error: ") and named
    with contextlib.suppress(RuntimeError):
        seconds_of(words)
    compare = same_training if verb == "train" else same_files
    try:
        same = compare(work / verb, folder)
    except OSError:
        same = False
    return {"limit": limit, "stated": stated, "same": same, "words": last[:300]}


def readers(work: pathlib.Path, half: pathlib.Path) -> dict[str, tuple[pathlib.Path, Callable[[str], object]]]:
    """Name -> (an intact file, what reads it)."""
    from components.lineage import ancestry  # here: it defines flags, which a verb defines too

    made = work / "inputs"
    made.mkdir(exist_ok=True)
    (made / "a.flags").write_text("\n".join(TRAIN.split()))
    images = np.random.default_rng(0).random((20, 8, 8, 1)).astype("float32")
    write_arrays(str(made / "a.npz"), images=images, labels=np.arange(20) % 10)
    identity = {"seed": 0}

    def standing(path: str) -> StoredStanding:
        return StoredStanding(path, Standing(np.ones(20, bool)), identity)

    if not (made / "state.npz").exists():
        standing(str(made / "state.npz")).finish(0.0)
        (made / "artifact").mkdir()
        (made / "artifact" / "a.json").write_text("{}")
        manifest.write(str(made / "artifact"), Examples, {}, producer={}, parameters={}, parents={})
        lineage = Lineage(str(made / "lineage.sqlite"))
        for i in range(20):
            lineage.begin(f"node-{i}", "data_prep", f"key-{i}", {"dataset": "digits"})
            lineage.complete(f"key-{i}", [], [Made("a", "Examples", str(made / f"{i}"), f"d{i}", f"s{i}")], 1.0)
        lineage.close()

    def lineage_of(path: str) -> object:
        found = Lineage(path)
        try:
            return [list(ancestry(found, each)) for each in found.find("d")] + [found.mean_seconds()]
        finally:
            found.close()

    def beside(path: str) -> str:
        return os.path.dirname(path)

    def run(path: str) -> object:
        for name in ("config.json", "train.json", "history.json"):
            if not os.path.exists(os.path.join(beside(path), name)):
                shutil.copy(work / "train" / name, beside(path))
        return read_run(beside(path), "run")

    def artifact(path: str) -> object:
        (pathlib.Path(beside(path)) / "a.json").write_text("{}")
        return manifest.read(beside(path), Examples)

    train, samples = work / "train", work / "sample"
    return {
        "config.json": (half / "config.json", lambda path: read_settings(TrainConfig, path)),
        "history.json": (half / "history.json", lambda path: read_json(path, list)),
        "last.json": (half / "last.json", lambda path: generations.newest(beside(path))),
        "last.weights.h5": (half / "last.weights.h5", lambda path: generations.newest(beside(path))),
        "energy_changes.npz": (half / "energy_changes.npz", read_arrays),
        "guard.json": (half / "history.json", read_events),
        "train.json": (train / "train.json", lambda path: read_training(beside(path))),
        "net.keras": (train / "net.keras", load_net),
        "flagfile": (made / "a.flags", lambda path: parsed(TrainConfig, f"--flagfile={path}")),
        "data set .npz": (made / "a.npz", open_arrays),
        "samples .npz": (next(samples.glob("samples-*.npz")), _read),
        "identity.json": (samples / "identity.json", lambda path: SampleFolder(beside(path)).identity()),
        "state of an evaluation": (made / "state.npz", standing),
        "manifest.json": (made / "artifact" / "manifest.json", artifact),
        "lineage.sqlite": (made / "lineage.sqlite", lineage_of),
        "history.json of a report": (train / "history.json", run),
        "train.json of a report": (train / "train.json", run),
    }


NAMES = {"data set .npz": "a.npz", "samples .npz": "samples-00000-of-00006.npz", "state of an evaluation": "state.npz"}


def fuzz(
    name: str, source: pathlib.Path, read: Callable[[str], object], place: pathlib.Path, rng: random.Random
) -> dict[str, Any]:
    """A malformed file: "accepted", "stated" or a "fault"; and whether the words have its name."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    path = place / NAMES.get(name, name.partition(" ")[0])
    path.write_bytes(mutated(source.read_bytes(), rng))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("ignore", KeptWarning)
        try:
            read(str(path))
        except Exception as error:
            outcome = "fault" if status(error) == FAULT else "stated"
            return {
                "outcome": outcome,
                "named": str(place) in str(error),
                "words": f"{type(error).__name__}: {error}"[:300],
            }
    return {"outcome": "accepted", "named": True}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Cut, replaced, lengthened, shortened, or with other bytes or another JSON value inside."""
    kind = rng.randrange(9)
    at = rng.randrange(max(1, len(content)))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return rng.randbytes(rng.randrange(2000))
    if kind == 2:
        return rng.choice([b"", b"null", b"[1]", b"{}", b"3", b'"x"', b"NaN", b"[" * 50_000, b"9" * 5000, b"\xff\xfe"])
    if kind == 3:
        return content[:at] + rng.randbytes(20) + content[at:]
    if kind == 4:
        return content[:at] + content[at + rng.randrange(50) :]
    if kind == 5 and (changed := _another_value(content, rng)):
        return changed
    changed = bytearray(content)
    for _ in range(rng.choice([1, 5, 50])):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _another_value(content: bytes, rng: random.Random) -> bytes:
    """JSON with another value at some place; nothing for what is no JSON."""
    try:
        body = json.loads(content)
    except ValueError:
        return b""
    place = body
    while isinstance(place, (dict, list)) and place:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.3:
            place[key] = rng.choice([None, {}, [], [1e308], "x", -1, 1e308, float("nan"), True, {"a": {"b": 1}}])
            return json.dumps(body).encode()
        place = place[key]
    return b""
