"""What each table and figure of the papers needs: data, which the command and its page both read."""

from typing import NamedTuple

from jeat_tf.core.values import Value, nearest, setting, value


class Row(NamedTuple):
    """A table or figure.

    Attributes:
      kind: "table" or "figure".
      source: its paper and number.
      shows: what it shows.
      presets: the systems, as names of presets.
      attacks: of `evaluate`.
      measures: more flags of `evaluate`.
      draw: flags of `draw`; empty: none.
      cifar100: whether the paper's data are CIFAR-100.
      train: more flags of `train`.
    """

    kind: str
    source: str
    shows: str
    presets: tuple[str, ...]
    attacks: str = "clean"
    measures: str = ""
    draw: str = ""
    cifar100: bool = False
    train: str = ""


class Scale(NamedTuple):
    """Data and effort.

    Attributes:
      folder: of the presets.
      dataset: its name.
      suffix: of the presets' names.
      epsilon: radius of the attacks, in pixels.
      num: images to draw.
      judge: preset of the net that grades them; empty: none, as the folder has none.
      seeds: of each system.
      says: one line that describes it.
    """

    folder: str
    dataset: str
    suffix: str
    epsilon: str
    num: int
    judge: str
    seeds: str
    says: str


_JEAT, _FIRST, _ROBUST = "JEAT (ICCV 2021)", "JEAT (first version, 2021)", "Robust JEM (2022)"
_ATTACKED = ("trades", "fast", "free", "jem", "rst", "jeat")
_CHANGES = "--energy_changes_every=10"

ROWS: dict[str, Row] = {
    "jeat-table1": Row(
        "table", f"{_FIRST}, Table 1", "attack on CE and on E(x, y)", ("standard",), "clean,pgd20,energy20"
    ),
    "jeat-table2": Row(
        "table",
        f"{_JEAT}, Table 2",
        "Fisher scores and generated images",
        ("standard", "pgd_at", "jem", "jeat"),
        measures="--fisher_images=100",
    ),
    "jeat-table3": Row(
        "table", f"{_JEAT}, Table 3", "PGD-20 of hybrid models", ("flow", "igebm", "jem", "jeat"), "clean,pgd20"
    ),
    "jeat-v1-table2": Row("table", f"{_FIRST}, Table 2", "robustness", _ATTACKED, "clean,pgd50,cw_l2_fixed,autoattack"),
    "jeat-v1-table3": Row(
        "table",
        f"{_FIRST}, Table 3",
        "robustness on CIFAR-100",
        _ATTACKED,
        "clean,pgd50,cw_l2_fixed,autoattack",
        cifar100=True,
    ),
    "robust-jem-table1": Row(
        "table", f"{_ROBUST}, Table 1", "generated images", ("flow", "residual_flow", "jem_pp", "pgd_at", "robust_jem")
    ),
    "jeat-fig2": Row(
        "figure",
        f"{_JEAT}, Fig. 2",
        "contours of the energy",
        ("standard", "pgd_at", "pre_jeat", "jeat"),
        draw="--figures=contours",
    ),
    "jeat-fig3": Row(
        "figure", f"{_JEAT}, Fig. 3", "changes of energy", ("pgd_at",), draw="--figures=changes", train=_CHANGES
    ),
    "jeat-fig4": Row(
        "figure", f"{_JEAT}, Fig. 4", "images by eq. 16 and eq. 17", ("pgd_at",), draw="--figures=equations"
    ),
    "jeat-fig5": Row(
        "figure",
        f"{_JEAT}, Fig. 5",
        "images of nets trained on noise",
        ("noise_8", "noise_16", "noise"),
        draw="--figures=equations",
    ),
    "jeat-fig6": Row(
        "figure",
        f"{_JEAT}, Fig. 6",
        "images of four systems",
        ("pgd_at", "pre_jeat", "jem", "jeat"),
        draw="--figures=grids",
    ),
    "jeat-fig7": Row("figure", f"{_JEAT}, Fig. 7", "nearest training images", ("jeat",), draw="--figures=neighbours"),
    "jeat-fig8": Row(
        "figure", f"{_FIRST}, Fig. 8", "images of CIFAR-100", ("jeat",), draw="--figures=grids", cifar100=True
    ),
    "jeat-fig9": Row(
        "figure",
        f"{_FIRST}, Fig. 9",
        "changes of E(x, y) on CIFAR-100",
        ("pgd_at",),
        draw="--figures=changes",
        cifar100=True,
        train=_CHANGES,
    ),
    "jeat-fig10": Row(
        "figure", f"{_FIRST}, Fig. 10", "changes of E(x)", ("pgd_at",), draw="--figures=changes", train=_CHANGES
    ),
    "jeat-fig11": Row(
        "figure",
        f"{_FIRST}, Fig. 11",
        "changes of E(x) on CIFAR-100",
        ("pgd_at",),
        draw="--figures=changes",
        cifar100=True,
        train=_CHANGES,
    ),
    "jeat-fig12": Row(
        "figure", f"{_FIRST}, Fig. 12", "gradients of both energies", ("pgd_at",), draw="--figures=gradients"
    ),
    "jeat-fig13": Row(
        "figure",
        f"{_FIRST}, Fig. 13",
        "gradients of both energies on CIFAR-100",
        ("pgd_at",),
        draw="--figures=gradients",
        cifar100=True,
    ),
    "robust-jem-fig1": Row(
        "figure", f"{_ROBUST}, Fig. 1", "images of a robust classifier", ("pgd_at",), draw="--figures=grids"
    ),
    "robust-jem-fig2": Row("figure", f"{_ROBUST}, Fig. 2", "images of JEM++", ("jem_pp",), draw="--figures=grids"),
    "robust-jem-fig3": Row(
        "figure", f"{_ROBUST}, Fig. 3", "images of Robust JEM", ("robust_jem",), draw="--figures=grids"
    ),
}
"""Tables and figures by name. The papers' numbers are in `report/published.json`."""
ALL = "all"
"""The name that stands for every table, or every figure."""

SCALES: dict[str, Scale] = {
    "digits": Scale("digits", "digits", "", "26/255", 500, "judge", "0..4", "8x8 digits, two cores"),
    "mnist": Scale("mnist", "mnist", "", "0.2", 1000, "judge", "0..4", "28x28 digits"),
    "cifar10_small": Scale("cifar10", "cifar10", "_small", "8/255", 1000, "", "0", "CIFAR-10 by small nets"),
    "paper": Scale("cifar10", "cifar10", "", "8/255", 50000, "", "0..4", "the papers' nets, data and epochs"),
}


@value
class ReproduceConfig(Value):
    """Settings of `python -m jeat_tf.reproduce`."""

    table: str = setting("", "table to make, of `jeat_tf list tables`; all: each of them in turn")
    figure: str = setting("", "figure to make, of `jeat_tf list tables`; all: each of them in turn")
    scale: str = setting("digits", "; ".join(f"{name}: {one.says}" for name, one in SCALES.items()))
    seeds: str = setting("", "seeds of each system, as 0,1 or 0..4; empty: the scale's own")
    train_flags: str = setting("", "flags of jeat_tf.train that replace those of the presets, separated by blanks")
    data_dir: str = setting("", "TFDS data folder; empty: TFDS' default", identity=False)
    output_dir: str = setting("runs/reproduce", "folder of nets, measures and the report", identity=False)


def chosen(config: ReproduceConfig) -> dict[str, Row]:
    """The rows that the settings name.

    Raises:
      ValueError: not exactly one of table and figure, or an unknown name, with its neighbours.
    """
    if bool(config.table) == bool(config.figure):
        raise ValueError("expected one of --table and --figure; `jeat_tf list tables` has their names")
    kind, name = ("table", config.table) if config.table else ("figure", config.figure)
    known = {each: row for each, row in ROWS.items() if row.kind == kind}
    if name == ALL:
        return known
    if name not in known:
        raise ValueError(f'unknown {kind} "{name}"; {nearest(name, known)}')
    return {name: known[name]}


def scale_of(config: ReproduceConfig) -> Scale:
    """The scale that the settings name.

    Raises:
      ValueError: an unknown name, with its neighbours.
    """
    if config.scale not in SCALES:
        raise ValueError(f'unknown scale "{config.scale}"; {nearest(config.scale, SCALES)}')
    return SCALES[config.scale]


def page() -> str:
    """docs/reproduce.md."""
    lines = [
        "# Reproduce the papers",
        "",
        "One command makes a table or figure: it trains the systems, measures them, draws, and writes a report.",
        "The report has the paper's numbers, labelled as the paper's, beside ours. It is",
        "`runs/reproduce/SCALE/ROW.html`. Rows share the runs that they have in common. To resume, repeat the command.",
        "`--table=all` makes every table, and `--figure=all` every figure, one after the other; what fails is named at",
        "the end. `--dry_run` prints the hours and the memory of each system instead.",
        "",
        "| scale | data | seeds | what it is |",
        "|---|---|---|---|",
        *(f"| `{name}` | {one.dataset} | {one.seeds} | {one.says} |" for name, one in SCALES.items()),
        "",
        "All rows were run to their report on 2026-11-27, at `digits` with seed 0. The eight longest took 56 minutes",
        "on one thread of an AMD EPYC. `jeat-table3`, `jeat-fig2` and `jeat-fig7` had seed 1 too, and the first was",
        "stopped by SIGTERM in between and resumed; [results](results.md) has its numbers. No row has been run at the",
        "scales `mnist`, `cifar10_small` and `paper`. Systems without a preset at a scale are named and left out.",
        "Rows of CIFAR-100 use CIFAR-100 at `paper` and `cifar10_small`. Each system of figure 6 is drawn as its paper",
        "draws. Figure 7 looks for the nearest by SSIM among the 200 nearest in l2.",
        "",
        "| row | of | shows | systems | command |",
        "|---|---|---|---|---|",
        *(
            f"| `{name}` | {row.source} | {row.shows} | {', '.join(row.presets)} "
            f"| `jeat_tf reproduce --{row.kind}={name} --scale=digits` |"
            for name, row in ROWS.items()
        ),
    ]
    return "\n".join(lines) + "\n"
