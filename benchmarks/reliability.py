"""How much is lost when processes are killed, files are damaged, folders are shared and disks are full?

PYTHONPATH=. python benchmarks/reliability.py --trials=100 --files=10000     writes docs/reliability.md

The same command resumes a benchmark that was stopped: each trial is kept in --work. The page is written after
each section. Sections take turns: a twentieth of their trials first, then a quarter, then all.
"""

import argparse
import collections
import datetime
import json
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import faults
import h5py
import numpy as np
import replicas
import tensorflow as tf

from jeat_tf.core import generations
from jeat_tf.core.files import write_json, write_text

EQUAL = 1e-6
SHARES = (0.05, 0.25, 1.0)
PAGE = faults.ROOT / "docs" / "reliability.md"
Trial = dict[str, Any]


class Trials:
    """Results of all trials so far, in one file."""

    def __init__(self, path: pathlib.Path, seed: int):
        self.path, self.seed = path, seed
        self.all: dict[str, list[Trial]] = json.loads(path.read_text()) if path.exists() else {}

    def run(self, section: str, count: int, trial: Callable[[pathlib.Path, random.Random], Trial]) -> None:
        """Makes those of `count` trials that are not there; each has its own random numbers, and a folder that goes."""
        done = self.all.setdefault(section, [])
        written = time.monotonic()
        for number in range(len(done), count):
            folder = self.path.parent / "trial"
            shutil.rmtree(folder, ignore_errors=True)
            done.append(trial(folder, random.Random(f"{self.seed} {section} {number}")))
            if time.monotonic() - written > 2.0:
                write_json(str(self.path), self.all)
                written = time.monotonic()
        write_json(str(self.path), self.all)

    def count(self, section: str, what: str) -> str:
        """In words, as "7 of 9"; as "0 of 0" where none was made."""
        trials = self.all.get(section, [])
        return f"{sum(bool(trial[what]) for trial in trials)} of {len(trials)}"


def snapshot(folder: pathlib.Path, rng: random.Random) -> Trial:
    """Seconds of a state of 50 MB: written, synced, digested; and verified again."""
    folder.mkdir()
    values = np.random.default_rng(rng.randrange(100)).random(6_250_000)

    def write(path: str) -> None:
        with h5py.File(path, "w") as file:
            file["a"] = values

    times = []
    for step in range(2):
        begun = time.monotonic()
        generations.commit(str(folder), write, step=step, metrics=[], history=[], seconds=0.0, files={})
        times.append(time.monotonic() - begun)
    begun = time.monotonic()
    generations.newest(str(folder))
    return {"write": times[1], "verify": time.monotonic() - begun}


def equal_replicas(trials: Trials, count: int) -> None:
    """The first `count` comparisons of two replicas with one device, those that are there left out."""
    done = trials.all.setdefault("replicas", [])
    script = [
        sys.executable,
        str(faults.ROOT / "benchmarks" / "replicas.py"),
        f"--first={len(done)}",
        f"--last={count}",
    ]
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            done.append(json.loads(line))
            write_json(str(trials.path), trials.all)
    if process.returncode:
        raise RuntimeError(f"{' '.join(script)} ended with {process.returncode}")


def every_step(work: pathlib.Path, folder: pathlib.Path) -> Trial:
    """The run with a state after each step, and with none but at the ends of epochs."""
    plain = f"train {faults.TRAIN} --model_dir={folder}"
    seconds = {}
    for name, more in (("without", ""), ("each", " --checkpoint_steps=1")):
        _, seconds[name] = faults.seconds_of(f"{plain}/{name}{more}")
    return seconds | {"steps": json.loads((folder / "each" / "train.json").read_text())["steps"]}


def sections(
    trials: Trials, work: pathlib.Path, count: int, files: int, asked_for: int
) -> dict[str, Callable[[], None]]:
    """Name -> what makes its trials.

    Args:
      count: trials of now.
      files: malformed files of now.
      asked_for: trials in the end.
    """
    alone = trials.all.setdefault("alone", [])
    if not alone:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        alone.append(faults.whole(work))
        faults.half(work)
        write_json(str(trials.path), trials.all)
    half, seconds = work / "half", alone[0]
    readers = faults.readers(work, half)

    def fuzz() -> None:
        for name, (source, read) in readers.items():
            trials.run(
                f"fuzz {name}",
                files // len(readers),
                lambda folder, rng, name=name, source=source, read=read: faults.fuzz(name, source, read, folder, rng),
            )

    some = max(1, min(count, max(20, count // 4)))
    made: dict[str, Callable[[], None]] = {
        "fuzz": fuzz,
        "flips": lambda: trials.run("flips", max(1, files // 10), lambda f, rng: faults.flip(half, f, rng)),
        "full": lambda: trials.run("full", 2 * count, lambda f, rng: faults.full(work / "full" / "a.npz", rng)),
        "snapshot": lambda: trials.run("snapshot", 5, snapshot),
        "every step": lambda: trials.run("every step", 1, lambda f, rng: every_step(work, f)),
        "resume": lambda: trials.run("resume", min(5, count), lambda f, rng: faults.resume(work, f)),
        "hold": lambda: trials.run("hold", count, lambda f, rng: faults.hold(f)),
    }
    for verb, many in (("train", count), ("evaluate", some), ("sample", some)):
        made[f"kill {verb}"] = lambda verb=verb, many=many: trials.run(
            f"kill {verb}", many, lambda f, rng: faults.kill(verb, work, seconds[verb], f, rng)
        )
    for verb in faults.VERBS:
        made[f"full {verb}"] = lambda verb=verb: trials.run(
            f"full {verb}", some, lambda f, rng: faults.full_verb(verb, work, f, rng)
        )
    for verb in ("train", "sample"):
        made[f"together {verb}"] = lambda verb=verb: trials.run(
            f"together {verb}", some, lambda f, rng: faults.together(verb, work, f)
        )
    made["replicas"] = lambda: equal_replicas(trials, -(-len(replicas.combinations()) * count // asked_for))
    made["kill train"] = made.pop("kill train")  # the longest goes last
    return made


def page(trials: Trials, asked: argparse.Namespace) -> str:
    """docs/reliability.md, of what is there so far."""
    everything = trials.all
    kills = {verb: everything.get(f"kill {verb}", []) for verb in faults.VERBS}
    rows = [
        (
            f"SIGKILL of `{verb}` at random times ({sum(trial['kills'] for trial in made)})",
            trials.count(f"kill {verb}", "same") + " end bit for bit",
            f"{sum(trial['temporaries'] for trial in made)} temporary files left",
        )
        for verb, made in kills.items()
    ]
    rows += [
        (
            "one bit of the newest state flipped",
            trials.count("flips", "noticed") + " noticed, the state before used",
            "",
        ),
        ("two processes that take one folder's lock at once", trials.count("hold", "one") + ": one has it", ""),
    ]
    for verb in ("train", "sample"):
        found = trials.count(f"together {verb}", "one")
        rows.append((f"`{verb}` twice at once in a new folder", f"{found}: one works, one is refused", ""))
    rows.append(
        ("disk full in the middle of a file", trials.count("full", "kept") + ": old file whole, file named", "")
    )
    for verb in faults.VERBS:
        section = f"full {verb}"
        then = trials.count(section, "same") + " end bit for bit once there is room"
        rows.append((f"disk full during `{verb}`", trials.count(section, "stated") + " end in a sentence", then))
    rows += [*equalities(everything), *overheads(everything)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows if not row[1].startswith("0 of 0"))
    left = ", ".join(name for name, *rest in rows if rest[0].startswith("0 of 0"))
    left = f"\n\nNot run at this scale: {left}." if left else ""
    return f"""# Reliability

This page is written by `make reliability TRIALS={asked.trials} FILES={asked.files}`.
{scale(everything, asked)} Seed {asked.seed},
{datetime.date.today().isoformat()}, {processor()}, no GPU, TensorFlow {tf.__version__}. Other programs ran beside it,
so wall times are upper bounds. A number in brackets counts kills: some runs were killed more than once.

The training is a JEM on digits of three epochs, with a state every three steps and records of energies. The evaluation
runs PGD-50 and APGD-CE on 200 images. The samples are 60 images in six files. Processes are forked once the modules are
loaded, so that a kill hits the work. "Bit for bit" compares weights, optimizer, buffer, history, records, logs,
verdicts, images and pictures with those of undisturbed work.

| What was done | Result | |
|---|---|---|
{table}

A full disk is imitated by a limit on the size of files, drawn at random.{left}

Two replicas are compared for one step of each method and update. Methods that draw nothing are compared with one device
of 64 images. Methods are also compared with two threads without `tf.distribute`, which exchange their gradients.
Of {len(replicas.combinations())} comparisons, {len(everything.get("replicas", []))} were made.

## Malformed inputs

A file is cut, replaced, lengthened, shortened, changed in some bytes, or given a JSON value of another type. Its reader
must accept it, or refuse it in a sentence that names it or its folder. A fault is any other exception.

| Reader | Tried | Accepted | Refused | Faults | Without the file's name |
|---|---|---|---|---|---|
{fuzzed(everything)}

Two readers never refuse. That of a checkpoint finds no intact state and says which files are broken. That of the
guard's events sets the file aside and warns.

## What safety costs

{costs(everything)}

## What is not here

- `tests/test_faults.py` kills a commit before and after each of its renames, and damages each file that only helps.
- `tests/test_devices.py` and `tests/test_workers.py` resume with another number of devices or processes.
- The same bits need the same number of threads. A run that resumed with another number differed in its last bits.
- A power cut was not tried. Files and folders are synced before a name changes.
- Network file systems were not tried. The lock is the operating system's.
"""


def scale(everything: dict[str, list[Trial]], asked: argparse.Namespace) -> str:
    kills = len(everything.get("kill train", []))
    files = sum(len(made) for section, made in everything.items() if section.startswith("fuzz "))
    if kills >= 100 and files >= 9_900:
        return "It is at full scale."
    if kills < asked.trials:
        return (
            f"It is **not complete**: {kills} of {asked.trials} trials of the longest section were made. Each row has "
            "the\nnumber of its trials."
        )
    return "It is at a **small scale**; the full one is `TRIALS=100 FILES=10000`."


def equalities(everything: dict[str, list[Trial]]) -> list[tuple[str, str, str]]:
    """Rows about two replicas of 32 images."""
    rows = []
    for alone, what in ((True, "one device of 64 images"), (False, "the mean of what each would do alone")):
        made = [trial["difference"] for trial in everything.get("replicas", []) if trial["alone"] == alone]
        equal = sum(difference <= EQUAL for difference in made)
        largest = f"largest difference {max(made):.1e}" if made else ""
        rows.append(
            (f"2 replicas of 32 images, and {what}", f"{equal} of {len(made)}: gradients equal to 1e-6", largest)
        )
    return rows


def overheads(everything: dict[str, list[Trial]]) -> list[tuple[str, str, str]]:
    """Rows about what a state a minute costs, and what a resume."""
    rows = []
    if made := everything.get("snapshot"):
        write = statistics.median(trial["write"] for trial in made)
        rows.append(("overhead of one state of 50 MB a minute", f"{write / 0.6:.2g}% of the time", "limit 3%"))
    if made := everything.get("every step"):
        each = max(0.0, made[0]["each"] - made[0]["without"]) / made[0]["steps"]
        rows.append(("overhead of one state of this training a minute", f"{each / 0.6:.2g}% of the time", "limit 3%"))
    if made := everything.get("resume"):
        clock, cpu = (statistics.median(trial[name] for trial in made) for name in ("seconds", "cpu"))
        words = f"{clock:.1f} s, of which {cpu:.1f} s of the processor without the import of modules"
        rows.append(("resume of `train` whose last state is there, to its result", words, f"median of {len(made)}"))
    return rows


def processor() -> str:
    information = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in information if line.startswith("model name")]
    return f"{len(names)} cores of an {names[0]}" if names else platform.machine()


def fuzzed(everything: dict[str, list[Trial]]) -> str:
    lines = []
    for section, made in everything.items():
        if section.startswith("fuzz ") and made:
            outcomes = collections.Counter(trial["outcome"] for trial in made)
            unnamed = sum(not trial["named"] for trial in made)
            counts = [len(made), *(outcomes[name] for name in ("accepted", "stated", "fault")), unnamed]
            lines.append(f"| {section.removeprefix('fuzz ')} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines) or "| not run | | | | | |"


def costs(everything: dict[str, list[Trial]]) -> str:
    lines = []
    if made := everything.get("snapshot"):
        write, verify = (statistics.median(trial[name] for trial in made) for name in ("write", "verify"))
        lines.append(
            f"- A state of 50 MB takes {write:.2f} s to write, sync and digest.\n  One a minute costs "
            f"{write / 0.6:.1f}% of the time.\n  A resume takes {verify:.2f} s to verify two of them. These are "
            f"medians of {len(made)}."
        )
    if made := everything.get("every step"):
        found = made[0]
        lines.append(
            f"- The training of {found['steps']} steps takes {found['without']:.1f} s of the processor with a state at "
            f"each epoch's end.\n  With one after each step it takes {found['each']:.1f} s."
        )
    if made := [trial["cpu"] for trial in everything.get("kill train", []) if "cpu" in trial]:
        lines.append(
            f"- The repeated command after a kill takes {statistics.median(made):.1f} s of the processor (median of "
            f"{len(made)})."
        )
    return "\n".join(lines) or "Not run."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=pathlib.Path, default=faults.ROOT / "runs" / "reliability")
    parser.add_argument("--page", action="store_true", help="write the page of what is in --work, and stop")
    asked = parser.parse_args()
    work = asked.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    trials = Trials(work / "trials.json", asked.seed)
    if asked.page:
        write_text(str(PAGE), page(trials, asked))
        return
    for share in SHARES:
        count, files = (max(1, round(share * number)) for number in (asked.trials, asked.files))
        for name, make in sections(trials, work / "alone", count, files, asked.trials).items():
            begun = time.monotonic()
            make()
            write_text(str(PAGE), page(trials, asked))
            print(f"{name}, {count} trials: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
