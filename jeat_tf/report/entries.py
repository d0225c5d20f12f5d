"""Leaderboard entries that the user gives, as tables beside ours."""

import os
from typing import Any

from jeat_tf.core.files import read_json

_THREATS = {"linf": "", "l2": "l2 ", "l1": "l1 "}  # how the titles of our columns name a norm
_NEEDED = ("dataset", "clean_acc", "autoattack_acc", "eps")


def read_entries(folder: str) -> list[dict[str, Any]]:
    """A table like those of `published.json` for each data set, norm and radius of the entries in a folder.

    Args:
      folder: with RobustBench's entries, `<data set>/<norm>/<model>.json` at any depth, e.g. its `model_info`. Entries
        with other measures, such as those on corruptions, are ignored.

    Raises:
      ValueError: no folder, no entries, or an entry that lacks a number, which is named.
    """
    if not os.path.isdir(folder):
        raise ValueError(f"expected a folder of leaderboard entries, received {folder}, which is no folder")
    tables: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for root, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(name for name in files if name.endswith(".json")):
            path = os.path.join(root, file)
            entry = read_json(path, dict)
            threat = str(entry.get("threat_model", os.path.basename(root))).lower()
            if "autoattack_acc" not in entry and "eps" not in entry:
                continue
            if missing := [key for key in _NEEDED if not isinstance(entry.get(key), str)]:
                raise ValueError(f"expected a text {missing[0]} in the leaderboard entry {path}, received none")
            if threat not in _THREATS:
                raise ValueError(
                    f"expected a folder Linf or L2, or a field threat_model, for the entry {path}, received {threat}"
                )
            _accuracy(entry, path)
            tables.setdefault((entry["dataset"], threat, entry["eps"]), []).append(entry | {"file": file[:-5]})
    if not tables:
        raise ValueError(f"expected leaderboard entries such as cifar10/Linf/<model>.json in {folder}, found none")
    return [_table(dataset, threat, eps, entries) for (dataset, threat, eps), entries in sorted(tables.items())]


def _table(dataset: str, threat: str, eps: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    entries = sorted(entries, key=lambda entry: -_accuracy(entry, entry["file"]))
    return {
        "title": f"Leaderboard, {threat} {eps}",
        "source": "leaderboard entries given by --entries",
        "dataset": dataset,
        "tfds": dataset,
        "note": "Ordered by AutoAttack, or by the lower figure of an adaptive attack where an entry has one. An entry "
        "marked unreliable is known to be overestimated by AutoAttack.",
        "columns": [
            {"title": "architecture", "ours": ""},
            {"title": "clean", "ours": "clean"},
            {"title": "AutoAttack", "ours": f"autoattack {_THREATS[threat]}{eps}"},
            {"title": "adaptive", "ours": f"worst case {_THREATS[threat]}{eps}"},
            {"title": "unreliable", "ours": ""},
        ],
        "rows": [
            {
                "name": entry["file"],
                "methods": [],
                "values": [
                    str(entry.get("architecture") or ""),
                    f"{entry['clean_acc']}%",
                    f"{entry['autoattack_acc']}%",
                    f"{entry['external']}%" if entry.get("external") else None,
                    "yes" if entry.get("unreliable") else None,
                ],
            }
            for entry in entries
        ],
    }


def _accuracy(entry: dict[str, Any], where: str) -> float:
    try:
        return float(entry.get("external") or entry["autoattack_acc"])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"expected accuracies in per cent in the leaderboard entry {where}, received {error}"
        ) from error
