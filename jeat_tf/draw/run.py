"""`python -m jeat_tf.draw`: the papers' figures, of any set of trained nets."""

import datetime
import os

from tqdm import tqdm

from jeat_tf import figures
from jeat_tf.config.draw import DrawConfig
from jeat_tf.core.files import writable_folder
from jeat_tf.core.provenance import provenance
from jeat_tf.core.records import plain, write_record
from jeat_tf.core.values import nearest
from jeat_tf.draw.figures import FIGURES, Missing
from jeat_tf.draw.scene import Scene
from jeat_tf.runs.drawings import FILE, Drawings, FigureRecord, read_figures
from jeat_tf.runs.locks import held


def draw(config: DrawConfig) -> Drawings:
    """Draws the figures as PNG, each with its numbers as .npz, and writes `figures.json`.

    Figures that an earlier call left in the folder keep their entry there.

    Returns:
      drawings: by name what each figure shows, its settings, seed, nets with the digest of their weights, and
        provenance; and the reasons for figures that this call could not draw.

    Raises:
      ValueError: bad settings, an unreadable net, nets that do not fit one data set, or a requested figure that cannot
        be drawn.
      FileNotFoundError: the data set is not prepared.
    """
    chosen = kinds(config)
    scene = Scene(config)
    folder = writable_folder(config.output_dir, "output_dir")
    with held(folder, "jeat_tf.draw"):
        records, not_drawn, made_by = _earlier(folder), {}, provenance()
        with tqdm(chosen, desc="figures", unit="kind", disable=None) as bar:
            for kind in bar:
                bar.set_postfix_str(kind)
                try:
                    for drawn in FIGURES[kind](scene):
                        figures.save_figure(os.path.join(folder, drawn.name), drawn.figure, **drawn.arrays)
                        records[drawn.name] = FigureRecord(
                            kind=kind,
                            shows=drawn.shows,
                            models={name: scene.identities[name] for name in drawn.models},
                            settings=plain(drawn.settings),
                            seed=config.seed,
                            dataset=scene.data.name,
                            date=datetime.date.today().isoformat(),
                            provenance=made_by,
                        )
                except Missing as reason:
                    if config.figures:
                        raise
                    not_drawn[kind] = str(reason)
        drawings = Drawings(figures=records, not_drawn=not_drawn)
        write_record(os.path.join(folder, FILE), drawings)
        return drawings


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


def _earlier(folder: str) -> dict[str, FigureRecord]:
    """Records of figures that are still in the folder."""
    try:
        return read_figures(folder)
    except ValueError as error:
        raise ValueError(f"{error} after removing that file, or choose another --output_dir") from error
