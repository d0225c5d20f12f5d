"""`jeat_tf <verb>`: the same as `python -m jeat_tf.<verb>`; and lists of what there is."""

import json
import pathlib
import runpy
import sys
from collections.abc import Mapping

from jeat_tf.core.failures import show
from jeat_tf.core.values import nearest
from jeat_tf.core.version import __version__

VERBS = {
    "prepare": "fetch a data set and check it",
    "train": "train a net by a method",
    "evaluate": "measure robustness, calibration, OOD detection and generated images",
    "sample": "draw images from a net",
    "draw": "draw the papers' figures",
    "convert": "turn a PyTorch checkpoint into a Keras net",
    "export": "write a net as a SavedModel, TensorFlow Lite or ONNX file, or with a model card",
    "reproduce": "make a table or figure of the papers",
    "report": "turn runs into tables and one page",
}
LISTS = ("methods", "presets", "models", "attacks", "samplers", "starts", "nets", "tables")


def listing(kind: str) -> Mapping[str, str]:
    """name -> one line, for one of `LISTS`."""
    if kind == "presets":
        from jeat_tf.methods.presets import presets, summary

        return {name: summary(path) for name, path in presets().items()}
    if kind == "models":
        return {
            card.parent.name: json.loads(card.read_text(encoding="utf-8"))["summary"]
            for card in sorted((pathlib.Path(__file__).parent / "zoo").glob("*/card.json"))
        }
    if kind == "attacks":
        from jeat_tf.attacks.evaluation import NAMES

        return NAMES
    if kind == "tables":
        from jeat_tf.reproduce.rows import ROWS

        return {name: f"{row.source}: {row.shows}" for name, row in ROWS.items()}
    from jeat_tf.methods.recipes import methods
    from jeat_tf.models.nets import NETS
    from jeat_tf.samplers.starts import STARTS
    from jeat_tf.samplers.values import SAMPLERS

    kinds: Mapping[str, Mapping[str, type]] = {
        "methods": methods(),
        "samplers": SAMPLERS,
        "starts": STARTS,
        "nets": NETS,
    }
    return {word: (each.__doc__ or "").strip().split("\n")[0] for word, each in kinds[kind].items()}


def main() -> None:
    """The console script."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        verbs = _columns(VERBS | {f"list {'|'.join(LISTS)}": "what there is, with a line each"})
        more = "jeat_tf <verb> --help has the flags of a verb; --version prints the version"
        show(f"usage: jeat_tf <verb> [--flag=value ...]\n\n{verbs}\n\n{more}")
    elif arguments[0] == "--version":
        print(f"jeat_tf {__version__}")
    elif arguments[0] == "list":
        kind = arguments[1] if len(arguments) == 2 else ""
        if kind not in LISTS:
            sys.exit(f"error: expected jeat_tf list {'|'.join(LISTS)}, received {' '.join(arguments[1:]) or 'nothing'}")
        show(_columns(listing(kind)))
    elif arguments[0] in VERBS:
        sys.argv = [f"jeat_tf {arguments[0]}", *arguments[1:]]
        runpy.run_module(f"jeat_tf.{arguments[0]}", run_name="__main__")
    else:
        sys.exit(f'error: unknown verb "{arguments[0]}"; {nearest(arguments[0], [*VERBS, "list"])}')


def _columns(rows: Mapping[str, str]) -> str:
    width = max(len(name) for name in rows)
    return "\n".join(f"  {name:{width}}  {line}" for name, line in rows.items())


if __name__ == "__main__":
    main()
