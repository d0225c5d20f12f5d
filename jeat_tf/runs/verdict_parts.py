"""Shards of an evaluation on disk: `StoredStanding`'s file for each attack and shard, and a note when a shard ends."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

from jeat_tf.core.files import changes, own_file, read_json, whole_file, write_json
from jeat_tf.runs.parts import shard_name

_FILE = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.(npz|json)")
_WHOLE = re.compile(r".+_(l1|l2|linf)_\d+\.\d{6}\.npz")
_END = "shard"  # first part of the name of the note
_IDENTITY = "shards.json"


def state_file(folder: str, key: str, shard: str = "") -> str:
    """The file of an attack on all images, or on a shard "i/m" of them."""
    return os.path.join(folder, f"{key}-{shard_name(shard)}.npz" if shard else f"{key}.npz")


def forget(folder: str, shard: str = "") -> None:
    """Removes the files of a shard, or of all; what else is in the folder stays, and then the folder does."""
    if os.path.islink(folder) or not os.path.isdir(folder):
        return
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        of_shard = _FILE.fullmatch(name) is not None and (not shard or f"-{shard_name(shard)}." in name)
        of_all = not shard and (_WHOLE.fullmatch(name) is not None or name == _IDENTITY)
        if (of_shard or of_all) and os.path.isfile(path):
            os.remove(path)
    with contextlib.suppress(OSError):  # it is not empty
        os.rmdir(folder)


def begin_shard(folder: str, identity: dict[str, Any], *, others: bool) -> None:
    """Notes what the shards of an evaluation have in common, or compares it with what another one has noted.

    Args:
      folder: of their files.
      identity: that has to be equal.
      others: whether other shards are at work.

    Raises:
      ValueError: shards of another evaluation are there.
    """
    path = os.path.join(folder, _IDENTITY)
    if os.path.isfile(path) and (others or _files(folder)):
        was = read_json(path, dict, remedy="give --noresume without --shard to begin again")
        if different := changes(was, identity):
            raise ValueError(
                f"{folder} holds shards of another evaluation ({different}); choose another --output_dir, or give "
                "--noresume without --shard to begin again"
            )
    write_json(path, identity)


def end_shard(folder: str, shard: str, identity: dict[str, Any]) -> None:
    """Notes that all attacks on a shard are done; `identity` has to be equal in all shards of an evaluation."""
    write_json(os.path.join(folder, f"{_END}-{shard_name(shard)}.json"), identity)


def shards_in(folder: str) -> list[str]:
    """The shards "i/m" of which a folder holds files, in order; none if the images are not divided there.

    Raises:
      ValueError: some are not there or have not ended, or they are of different divisions.
    """
    return _all_ended(_files(folder), folder)


def merge(folders: Sequence[str], into: str) -> None:
    """Copies what shards of one evaluation found into one folder, with the result of one that attacks all images.

    Args:
      folders: of shards, in any order: `state/` in the output folder of `python -m jeat_tf.evaluate --shard=i/m`.
      into: the folder; what it holds is replaced.

    Raises:
      ValueError: no shards, shards of different evaluations, or shards that are missing, there twice, or have not
        ended. Nothing is written.
    """
    found: dict[str, str] = {}
    identities: dict[str, Any] = {}
    for folder in folders:
        for name in _files(folder):
            if name in found:
                raise ValueError(f"expected each shard once, received {name} in {found[name]} and {folder}")
            found[name] = folder
            if name.startswith(f"{_END}-"):
                identities[folder] = _read(os.path.join(folder, name))
    for folder, identity in identities.items():
        first = next(iter(identities))
        if different := changes(identities[first], identity):
            raise ValueError(f"expected shards of one evaluation, received {first} and {folder} ({different})")
    if not _all_ended(found, ", ".join(folders) or "no folder"):
        raise ValueError(f"expected shards of an evaluation, received none in {', '.join(folders) or 'no folder'}")
    forget(into)
    for name, folder in found.items():
        with whole_file(os.path.join(into, name)) as temporary:
            shutil.copyfile(own_file(os.path.join(folder, name)), temporary)


def _all_ended(names: Iterable[str], where: str) -> list[str]:
    matches = [match for name in names if (match := _FILE.fullmatch(name))]
    counts = sorted({int(match[3]) for match in matches})
    if not counts:
        return []
    if len(counts) > 1:
        raise ValueError(
            f"expected shards of one division in {where}, received such of {' and '.join(map(str, counts))}"
        )
    ended = {int(match[2]) for match in matches if match[1] == _END}
    missing = [f"{i}/{counts[0]}" for i in range(counts[0]) if i not in ended]
    if missing:
        raise ValueError(
            f"expected {counts[0]} shards that have ended in {where}, received {len(ended)}: "
            f"{', '.join(f'--shard={shard}' for shard in missing)} still to be run; --noresume begins again"
        )
    return [f"{i}/{counts[0]}" for i in range(counts[0])]


def _files(folder: str) -> list[str]:
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(name for name in names if _FILE.fullmatch(name))


def _read(path: str) -> dict[str, Any]:
    return read_json(path, dict, remedy="run that shard again")
