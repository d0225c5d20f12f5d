"""Settings of `python -m jeat_tf.convert`."""

from jeat_tf.core.values import Value, setting, value


@value
class ConvertConfig(Value):
    """Settings of `python -m jeat_tf.convert`."""

    checkpoint: str = setting("", "the net's state_dict, a .safetensors or .npz file of named arrays")
    output: str = setting("", "the Keras net, a .keras file", identity=False)
    layout: str = setting("", "name of the layout, as docs/convert.md lists them; empty: recognised by its arrays")
    mean: str = setting(
        "", "what the net subtracts from pixels in [0, 1], one number a channel, comma-separated; empty: see std"
    )
    std: str = setting(
        "",
        "what the net then divides by; mean=0 and std=1: nothing. Empty: as in the file or the layout, or else the "
        "usual one that gives the stored logits",
    )
    check: str = setting(
        "",
        "an .npz file of images [B, C, H, W] in [0, 1] and the logits [B, K] that PyTorch gives for them; empty: the "
        "checkpoint's own, if it holds some",
    )
