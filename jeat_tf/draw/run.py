"""`python -m jeat_tf.draw`: the papers' figures, of any set of trained nets."""

import datetime
import os
from typing import Any

from tqdm import tqdm

from jeat_tf import figures
from jeat_tf.config.draw import DrawConfig
from jeat_tf.core.files import read_json, writable_folder, write_json
from jeat_tf.core.provenance import provenance
from jeat_tf.core.records import plain
from jeat_tf.core.values import nearest
from jeat_tf.draw.figures import FIGURES, Missing
from jeat_tf.draw.scene import Scene
from jeat_tf.runs.locks import held


def draw(config: DrawConfig) -> dict[str, Any]:
    """Draws the figures as PNG, each with its numbers as .npz, and writes `figures.json`.

    Figures that an earlier call left in the folder keep their entry there.

    Returns:
      report: under "figures" by name what each shows, its settings, seed, nets with the digest of their weights, and
        provenance; under "not_drawn" the reasons for figures that this call could not draw.

    Raises:
      ValueError: bad settings, an unreadable net, nets that do not fit one data set, or a figure that was asked for
        and cannot be drawn.
      FileNotFoundError: the data set is not prepared.
    """
    chosen = kinds(config)
    scene = Scene(config)
    folder = writable_folder(config.output_dir, "output_dir")
    with held(folder, "jeat_tf.draw"):
        path = os.path.join(folder, "figures.json")
        records, not_drawn = _earlier(path), {}
        common = {"seed": config.seed, "dataset": scene.data.name}
        common |= {"date": datetime.date.today().isoformat(), "provenance": plain(provenance())}
        with tqdm(chosen, desc="figures", unit="kind", disable=None) as bar:
            for kind in bar:
                bar.set_postfix_str(kind)
                try:
                    for drawn in FIGURES[kind](scene):
                        figures.save_figure(os.path.join(folder, drawn.name), drawn.figure, **drawn.arrays)
                        models = {name: scene.identities[name] for name in drawn.models}
                        records[drawn.name] = {
                            "kind": kind,
                            "shows": drawn.shows,
                            "models": models,
                            "settings": drawn.settings,
                            **common,
                        }
                except Missing as reason:
                    if config.figures:
                        raise
                    not_drawn[kind] = str(reason)
        report = {"figures": records, "not_drawn": not_drawn}
        write_json(path, report)
        return report


def kinds(config: DrawConfig) -> list[str]:
    """Kinds of figures that the settings ask for."""
    for flag in ("num_images", "chain_steps"):
        if getattr(config, flag) < 1:
            raise ValueError(f"expected --{flag} >= 1, received {getattr(config, flag)}")
    asked = [name.strip() for name in config.figures.split(",") if name.strip()]
    for name in asked:
        if name not in FIGURES:
            raise ValueError(f'unknown figure "{name}"; {nearest(name, FIGURES)}')
    return [name for name in FIGURES if name in asked or not asked]


def _earlier(path: str) -> dict[str, Any]:
    """Records of figures that are still in the folder."""
    if not os.path.isfile(path):
        return {}
    records, folder = _records(read_json(path, dict), path), os.path.dirname(path)
    return {name: record for name, record in records.items() if os.path.isfile(os.path.join(folder, f"{name}.png"))}


def _records(found: dict[str, Any], path: str) -> dict[str, Any]:
    records = found.get("figures", {})
    if not isinstance(records, dict):
        raise ValueError(f"expected the figures of `python -m jeat_tf.draw` in {path}; remove it, or make it again")
    return records
