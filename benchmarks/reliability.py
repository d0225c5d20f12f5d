"""How much is lost when processes are killed, files are damaged, folders are shared and disks are full?

python benchmarks/reliability.py --trials=100 --files=10000     writes docs/reliability.md
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import h5py
import numpy as np

from jeat_tf.config.flags import parsed
from jeat_tf.config.store import read_settings
from jeat_tf.config.train import TrainConfig
from jeat_tf.core import generations
from jeat_tf.core.failures import FAULT, sentence, status
from jeat_tf.core.files import read_arrays, read_json, write_arrays
from jeat_tf.methods.guard_files import read_events
from jeat_tf.runs.samples import SampleFolder

ROOT = pathlib.Path(__file__).parents[1]
FLAGS = "--method=jem --epochs=3 --batch_size=100 --chain_steps=2 --buffer_size=300 --robust_every=0 --images_every=0"
MORE = ["--checkpoint_steps=3", "--energy_changes_every=4"]
HOLD = (
    "import sys, time; from jeat_tf.runs.locks import held\n"
    "with held(sys.argv[1], 'benchmark'): time.sleep(float(sys.argv[2]))"
)


def command(folder: pathlib.Path) -> list[str]:
    return [sys.executable, "-m", "jeat_tf.train", *FLAGS.split(), *MORE, f"--model_dir={folder}"]


def run(folder: pathlib.Path) -> float:
    """Trains to the end; returns seconds."""
    begun = time.monotonic()
    subprocess.run(command(folder), check=True, capture_output=True, cwd=ROOT)
    return time.monotonic() - begun


def same(a: pathlib.Path, b: pathlib.Path) -> bool:
    """Whether all arrays of the state, the history, the records and the logs are equal to the bit."""
    with h5py.File(a / "last.weights.h5") as left, h5py.File(b / "last.weights.h5") as right:
        if generations._digests(left) != generations._digests(right):
            return False
    if any((a / name).read_bytes() != (b / name).read_bytes() for name in ("history.json", "energy_changes.npz")):
        return False
    results = [json.loads((folder / "train.json").read_text()) for folder in (a, b)]
    return results[0]["weights_sha256"] == results[1]["weights_sha256"] and results[0]["logs"] == results[1]["logs"]


def kills(whole: pathlib.Path, seconds: float, trials: int, work: pathlib.Path, rng: random.Random) -> str:
    """SIGKILL at a random time of the run, then the same command to its end."""
    survived, left = 0, 0
    for trial in range(trials):
        folder = work / f"kill-{trial}"
        process = subprocess.Popen(command(folder), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        run(folder)
        survived += same(whole, folder)
        left += sum(1 for path in folder.rglob(".partial-*"))
    return f"| kills of `train` at a random time | {trials} | {survived} bit for bit | {left} temporaries left |"


def flips(half: pathlib.Path, files: int, work: pathlib.Path, rng: random.Random) -> str:
    """One bit of one file of a state: is it noticed, and is the state before it found?"""
    noticed, tried = 0, min(files, 1000)
    for i in range(tried):
        folder = work / f"flip-{i}"
        folder.mkdir()
        for path in half.iterdir():
            if path.name.startswith(("last.", "previous.")):
                shutil.copy(path, folder)
        path = folder / rng.choice(["last.weights.h5", "last.json"])
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        found = generations.newest(str(folder))
        older = generations.newest(str(half)).manifest
        noticed += bool(found.broken) and found.manifest is not None and found.manifest.step < older.step
        shutil.rmtree(folder)
    return f"| single bits flipped in the newest state | {tried} | {noticed} noticed, the state before used | |"


def starts(trials: int, work: pathlib.Path) -> str:
    """Two processes at once in one folder."""
    right = 0
    for trial in range(trials):
        folder = work / f"start-{trial}"
        folder.mkdir()
        arguments = [sys.executable, "-c", HOLD, str(folder), "3"]
        both = [subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL) for _ in range(2)]
        right += sorted(process.wait() != 0 for process in both) == [False, True]
    return f"| two processes at once in one folder | {trials} | {right}: one works, one is refused | |"


def disk_full(trials: int, work: pathlib.Path, rng: random.Random) -> str:
    """A limit on the size of files, as a full disk sets it, in the middle of a file."""
    path, right = work / "full.npz", 0
    write_arrays(str(path), a=np.arange(10))
    before = path.read_bytes()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for _ in range(trials):
        resource.setrlimit(resource.RLIMIT_FSIZE, (rng.randrange(1, 50_000), hard))
        try:
            write_arrays(str(path), a=np.random.default_rng(0).random(20_000))
        except OSError as error:
            right += str(path) in sentence(error) and path.read_bytes() == before and len(os.listdir(work)) >= 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return f"| disk full in the middle of a file | {trials} | {right}: old file whole, the file is named | |"


def fuzz(half: pathlib.Path, files: int, work: pathlib.Path, rng: random.Random) -> list[str]:
    """Malformed inputs by reader: stated, accepted, or a fault."""
    settings = work / "a.flags"
    settings.write_text("\n".join(FLAGS.split()))
    folder = work / "samples"
    folder.mkdir()
    (folder / "identity.json").write_text(json.dumps({name: 1 for name in ("num", "seed", "steps", "classes")}))
    readers: dict[str, tuple[pathlib.Path, Callable[[str], object]]] = {
        "config.json": (half / "config.json", lambda path: read_settings(TrainConfig, path)),
        "history.json": (half / "history.json", lambda path: read_json(path, list)),
        "last.json": (half / "last.json", generations._parse),
        "last.weights.h5": (half / "last.weights.h5", lambda path: generations.newest(os.path.dirname(path))),
        "energy_changes.npz": (half / "energy_changes.npz", read_arrays),
        "guard.json": (half / "history.json", read_events),
        "flagfile": (settings, lambda path: parsed(TrainConfig, f"--flagfile={path}")),
        "identity.json": (folder / "identity.json", lambda path: SampleFolder(os.path.dirname(path)).identity()),
    }
    lines = []
    for name, (source, read) in readers.items():
        counts = {"accepted": 0, "stated": 0, "fault": 0, "without the file's name": 0}
        content = source.read_bytes()
        for _ in range(files // len(readers)):
            place = work / "fuzz"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            path = place / name
            path.write_bytes(mutated(content, rng))
            try:
                read(str(path))
                counts["accepted"] += 1
            except Exception as error:
                counts["fault" if status(error) == FAULT else "stated"] += 1
                counts["without the file's name"] += str(place) not in str(error) and name != "last.json"
        lines.append(f"| {name} | {sum(list(counts.values())[:3])} | " + " | ".join(map(str, counts.values())) + " |")
    return lines


def mutated(content: bytes, rng: random.Random) -> bytes:
    kind = rng.randrange(8)
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
    changed = bytearray(content)
    for _ in range(rng.choice([1, 5, 50])):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def snapshots(work: pathlib.Path) -> str:
    """Seconds of a state of 50 MB: written, synced, digested; and read again."""
    folder = work / "snapshot"
    folder.mkdir()
    values = np.random.default_rng(0).random(6_250_000)

    def write(path: str) -> None:
        with h5py.File(path, "w") as file:
            file["a"] = values

    times = []
    for step in range(3):
        begun = time.monotonic()
        generations.commit(str(folder), write, step=step, metrics=[], history=[], seconds=0.0, files={})
        times.append(time.monotonic() - begun)
    begun = time.monotonic()
    generations.newest(str(folder))
    cost, check = sorted(times)[1], time.monotonic() - begun
    return (
        f"A state of 50 MB takes {cost:.2f} s to write, sync and digest (median of 3). One a minute costs "
        f"{100 * cost / 60:.1f}% of the time. A resume takes {check:.2f} s to verify two of them."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as made:
        work = pathlib.Path(made)
        seconds = run(work / "whole")
        half, needed = work / "half", ("history.json", "previous.json", "energy_changes.npz")
        process = subprocess.Popen(command(half), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not all((half / name).exists() for name in needed):
            time.sleep(0.05)
        process.kill()
        process.wait()
        fuzzed = fuzz(half, asked.files, work, rng)
        print(*fuzzed, sep="\n", flush=True)
        cost = snapshots(work)
        print(cost, flush=True)
        rows = []
        for measure in (
            lambda: flips(half, asked.files, work, rng),
            lambda: starts(asked.trials, work),
            lambda: disk_full(asked.trials, work, rng),
            lambda: kills(work / "whole", seconds, asked.trials, work, rng),
        ):
            rows.append(measure())
            print(rows[-1], flush=True)
    full = asked.trials >= 100 and asked.files >= 10_000
    scale = "full scale" if full else "**small scale**; the full one is TRIALS=100 FILES=10000"
    page = f"""# Reliability

Written by `make reliability TRIALS={asked.trials} FILES={asked.files}`: {scale}. Seed {asked.seed},
{datetime.date.today().isoformat()}, {platform.machine()}, {os.cpu_count()} processors.

The run is a JEM on digits of three epochs, with a state every three steps and records of energies. "Bit for bit"
compares weights, optimizer, buffer, history, records, and the last logs with those of an undisturbed run.

| What was done | Tried | Survived | |
|---|---|---|---|
{chr(10).join(rows)}

## Malformed inputs

| Reader | Tried | Accepted | Stated | Faults of the program | Without the file's name |
|---|---|---|---|---|---|
{chr(10).join(fuzzed)}

A checkpoint's reader never fails: it finds no intact state and says which files are broken. This counts as accepted.
`last.json` alone is named by the reader of the whole state.

## Cost

{cost}

`tests/test_faults.py` kills a commit before and after each of its renames, and damages each file that only helps.
"""
    (ROOT / "docs" / "reliability.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
