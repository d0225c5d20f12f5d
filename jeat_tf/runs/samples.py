"""Generated images on disk: files of some thousand images each, so that no number of them has to fit in memory."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.core.files import (
    begin_anew,
    changes,
    own_file,
    read_arrays,
    read_json,
    whole_file,
    write_arrays,
    write_json,
)
from jeat_tf.core.records import plain, read_record, typed, write_record
from jeat_tf.runs.locks import held
from jeat_tf.runs.sample_results import SampleIdentity

FILES = "files of images; lower --shard_size for more"
_AGAIN = "remove that file, and the same command draws it again"
_FILE = re.compile(r"samples-(\d{5})-of-(\d{5})\.(npz|tfrecord)")
_IDENTITY = "identity.json"
_BESIDE = re.compile(r"(?:traces-(\d{5})-of-(\d{5})\.npz|spent-(\d{5})-of-(\d{5})\.json)")


class Shard(NamedTuple):
    """The images of one file.

    Attributes:
      images: float32[n, H, W, C] in [0, 1] (chains that are not clipped may leave it).
      labels: int64[n], the requested classes; without any, the classes that the net sees, and -1 for images that are
        not finite.
    """

    images: np.ndarray
    labels: np.ndarray


def in_blocks(images: Any, labels: np.ndarray, size: int = 1_000) -> Iterator[Shard]:
    """Parts of images, with their labels: of a few at a time if slices of `images` are made on demand."""
    for i in range(0, len(labels), size):
        yield Shard(images[i : i + size], labels[i : i + size])


class Spent(NamedTuple):
    """What drawing images took.

    Attributes:
      images: how many.
      seconds: wall-clock seconds.
      cpu_seconds: processor seconds of all threads.
    """

    images: int
    seconds: float
    cpu_seconds: float


class SampleFolder:
    """A folder of generated images and of what was read from their chains on the way."""

    def __init__(self, path: str):
        self.path = path

    def begin(self, identity: SampleIdentity, *, resume: bool, part: range | None = None, others: bool = False) -> None:
        """Makes the folder ready for the samples that `identity` describes.

        Args:
          identity: what the samples are.
          resume: keep the files that are there; otherwise those of `part` are removed.
          part: numbers of the files that are drawn here; None: all.
          others: whether other processes draw other parts of the same samples into the folder.

        Raises:
          ValueError: it holds other samples.
        """
        if not resume:
            for name in self._files():
                if part is None or int(name.split("-")[1]) in part:
                    os.remove(os.path.join(self.path, name))
        if (others or self._files()) and (changed := changes(plain(self.identity()), plain(identity))):
            raise ValueError(
                f"{self.path} holds other samples ({changed}); choose another --output_dir, or --resume=false to "
                "replace them"
            )
        write_record(os.path.join(self.path, _IDENTITY), identity)

    def identity(self) -> SampleIdentity:
        """What the samples are, as it was given to `begin`.

        Raises:
          ValueError: there is no such file, or it is no such record.
        """
        try:
            return read_record(SampleIdentity, os.path.join(self.path, _IDENTITY))
        except ValueError as error:
            raise ValueError(f"no samples of known origin in {self.path}: {error}") from error

    def has(self, index: int, count: int) -> bool:
        """Whether file `index` of `count` is there, whole, with its traces; a damaged one is set aside."""
        stem = f"{index:05d}-of-{count:05d}"
        names = [match[0] for match in self._matches() if f"-{stem}." in match[0]]
        traces = os.path.join(self.path, f"traces-{stem}.npz")
        if not names or not os.path.lexists(traces):
            return False
        for path, read in [*((os.path.join(self.path, name), _read) for name in names), (traces, read_arrays)]:
            try:
                read(path)
            except (OSError, ValueError) as error:
                begin_anew(path, "a file of samples; it is drawn again", error.__cause__ or error)
                return False
        return True

    def write(
        self, index: int, count: int, shard: Shard, traces: dict[str, np.ndarray], spent: Spent, *, format: str
    ) -> None:
        """Writes one file of images, after what was read from their chains and what they took."""
        stem = f"{index:05d}-of-{count:05d}"
        write_arrays(os.path.join(self.path, f"traces-{stem}.npz"), **traces)
        write_json(self._spent(index, count), spent._asdict())
        path = os.path.join(self.path, f"samples-{stem}.{format}")
        if format == "npz":
            write_arrays(path, images=shard.images, labels=shard.labels)
            return
        with whole_file(path) as temporary, tf.io.TFRecordWriter(temporary) as writer:
            for image, label in zip(to_bytes(shard.images), shard.labels, strict=True):
                writer.write(_example(image, int(label)))

    def spent(self, files: range, count: int) -> Spent:
        """What drawing these of `count` files took, over all runs; files whose time is not known are left out."""
        paths = [path for index in files if os.path.exists(path := self._spent(index, count))]
        parts = []
        for path in paths:
            try:
                parts.append(typed(Spent, read_json(path, dict)))
            except ValueError as error:
                begin_anew(path, "the seconds that a file took; they are left out", error)
        return Spent(*map(sum, zip(*parts, strict=True))) if parts else Spent(0, 0.0, 0.0)

    def shards(self) -> Iterator[Shard]:
        """The images, file by file.

        Raises:
          ValueError: no samples there, some of their files are missing or damaged, or, after the last file, they are
            not as many as were to be drawn.
        """
        matches = self._matches()
        if not matches:
            raise ValueError(
                f"no samples in {self.path}; expected files samples-00000-of-00001.npz as `python -m jeat_tf.sample` "
                "writes them"
            )
        total = int(matches[0][2])
        missing = sorted(set(range(total)) - {int(match[1]) for match in matches})
        if missing or len(matches) != total:
            raise ValueError(
                f"expected {total} files of samples in {self.path}, received {len(matches)}: the run that writes them "
                "has not ended; the same command resumes it"
            )
        expected, received = self.identity().num, 0
        for match in matches:
            shard = _read(os.path.join(self.path, match[0]))
            received += len(shard.labels)
            yield shard
        # A file of records that is cut between two of them can be read.
        if received != expected:
            raise ValueError(
                f"expected {expected} images in {self.path}, received {received}: a file is not whole; {_AGAIN}"
            )

    def traces(self) -> dict[str, np.ndarray]:
        """What was read from the chains: trace_step int[T], and arrays float32[T, N].

        Raises:
          ValueError: no such files, or damaged ones.
        """
        names = [name for name in self._files() if name.startswith("traces-")]
        try:
            parts = [read_arrays(os.path.join(self.path, name)) for name in names]
            step = parts[0].pop("trace_step")
            joined = {key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0]}
        except (ValueError, LookupError) as error:
            raise ValueError(f"cannot read the traces in {self.path}: {error}; {_AGAIN}") from error
        return {"trace_step": step} | joined

    def _files(self) -> list[str]:
        names = os.listdir(self.path) if os.path.isdir(self.path) else []
        return sorted(name for name in names if _FILE.fullmatch(name) or _BESIDE.fullmatch(name))

    def _spent(self, index: int, count: int) -> str:
        return os.path.join(self.path, f"spent-{index:05d}-of-{count:05d}.json")

    def copy(self, into: str) -> None:
        """Copies the files that are there, and the animation if it is there, into another folder."""
        for name in [*self._files(), "chain.gif"]:
            source = os.path.join(self.path, name)
            if os.path.exists(source):
                with whole_file(os.path.join(into, name)) as temporary:
                    shutil.copyfile(own_file(source), temporary)

    def _matches(self) -> list[re.Match]:
        return [match for name in self._files() if (match := _FILE.fullmatch(name))]


def is_sample_folder(path: str) -> bool:
    """Whether the folder holds generated images, whole or not."""
    return os.path.isdir(path) and any(_FILE.fullmatch(name) for name in os.listdir(path))


def file_batches(num: int, batch_size: int, shard_size: int) -> list[range]:
    """The batches of each file, where `num` images are drawn in batches and a file has at least `shard_size` images."""
    batches = -(-num // batch_size)
    each = -(-shard_size // batch_size)
    return [range(i, min(i + each, batches)) for i in range(0, batches, each)]


def merge(folders: Sequence[str], into: str) -> None:
    """Copies the shards of one set of samples into one folder, with the result of one run that draws them all.

    Args:
      folders: of shards, as `python -m jeat_tf.sample --shard=i/m` writes them, in any order.
      into: the folder; samples that it holds are replaced.

    Raises:
      ValueError: no shards, shards of different samples, or files that are missing or there twice. Nothing is written.
    """
    if not folders:
        raise ValueError("expected the folders of shards, received none")
    shards = [SampleFolder(folder) for folder in folders]
    identity = shards[0].identity()
    found: dict[str, str] = {}
    total = 0
    for shard in shards:
        if changed := changes(plain(identity), plain(shard.identity())):
            raise ValueError(f"expected shards of the same samples, received {folders[0]} and {shard.path} ({changed})")
        for match in shard._matches():
            name, total = match[0], int(match[2])
            if name in found:
                raise ValueError(
                    f"expected each file of samples once, received {name} in {found[name]} and {shard.path}"
                )
            found[name] = shard.path
    missing = [i for i in range(total) if not any(name.startswith(f"samples-{i:05d}-") for name in found)]
    if missing or not found:
        raise ValueError(
            f"expected {total or 'the'} files of samples in {len(folders)} shards, received {len(found)}"
            + (f" without the files {', '.join(map(str, missing))}" if missing else "")
            + ": a shard is not there, or has not ended"
        )
    os.makedirs(into, exist_ok=True)
    with held(into, "jeat_tf.runs.samples.merge"):
        SampleFolder(into).begin(identity, resume=False)
        for shard in shards:
            shard.copy(into)


def to_bytes(images: np.ndarray) -> np.ndarray:
    """uint8 images, rounded, of float images in [0, 1]."""
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)


def _example(image: np.ndarray, label: int) -> bytes:
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[tf.io.encode_png(image).numpy()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _read(path: str) -> Shard:
    try:
        shard = _arrays(path) if path.endswith(".npz") else _records(path)
        if shard.images.ndim != 4 or shard.labels.shape != shard.images.shape[:1]:
            raise ValueError(
                f"expected images [n, H, W, C] and a label for each, received shapes {list(shard.images.shape)} and "
                f"{list(shard.labels.shape)}"
            )
        return shard
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"cannot read the samples in {path}: {error.__cause__ or error}; {_AGAIN}") from error


def _arrays(path: str) -> Shard:
    arrays = read_arrays(path)
    if missing := {"images", "labels"} - arrays.keys():
        raise ValueError(f"it has no {' and no '.join(sorted(missing))}")
    return Shard(arrays["images"], arrays["labels"])


def _records(path: str) -> Shard:
    spec = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
    examples = [tf.io.parse_single_example(record, spec) for record in tf.data.TFRecordDataset(path)]
    images = np.stack([tf.io.decode_png(example["image"]).numpy() for example in examples])
    return Shard(images.astype(np.float32) / np.float32(255), np.array([int(e["label"]) for e in examples]))
