"""Settings of `python -m jeat_tf.export`."""

from jeat_tf.core.values import Value, nearest, setting, value

FORMATS = {
    "saved_model": "TensorFlow SavedModel with the signatures classify, energy and sample",
    "tflite": "TensorFlow Lite file: logits and energy",
    "onnx": "ONNX file: logits and energy; needs the package tf2onnx",
    "card": "folder of net.keras, its settings, and a model card, as model hubs take it",
}
"""What a net can be exported to, by name."""


@value
class ExportConfig(Value):
    """Settings of `python -m jeat_tf.export`."""

    model: str = setting("", "folder of a finished training run, or a .keras file")
    output_dir: str = setting(
        "", "folder of the exports; empty: `export` beside the net, `export-NAME` for NAME.keras", identity=False
    )
    formats: str = setting("saved_model", f"comma-separated, of {', '.join(FORMATS)}")
    name: str = setting("", "card: name of the model; empty: <data set>-<method>")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The formats, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.formats.split(",") if name.strip()))

    def _check(self) -> None:
        super()._check()
        if not self.chosen:
            raise ValueError(f"expected --formats of {', '.join(FORMATS)}, received none")
        for name in self.chosen:
            if name not in FORMATS:
                raise ValueError(f'unknown format "{name}" in --formats; {nearest(name, FORMATS)}')
