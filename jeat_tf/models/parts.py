"""A net in two parts."""

import keras


def split(net: keras.Model, layer: str | None = None) -> tuple[keras.Model, keras.Model]:
    """The net cut after a layer, (stem, head) with head(stem(x)) = net(x), over the net's own layers and weights.

    For gradients that go through the first layer once and through the rest many times: YOPO (Zhang et al., 2019,
    https://arxiv.org/abs/1905.00877), and the chain that JEM++ (Yang & Ji, 2021, https://arxiv.org/abs/2109.09032)
    makes of it.

    Args:
      net: functional or Sequential, one input, one output.
      layer: name of the last layer of the stem; None is the first with a kernel, in most nets the first convolution.

    Returns:
      stem: images -> hidden float[B, ...], what comes before the layer included.
      head: hidden -> logits.

    Raises:
      ValueError: no such layer, one that is called more than once, the last, or one that later layers go around.
    """
    if layer is None:
        layer = next((each.name for each in net.layers if hasattr(each, "kernel")), None)
        if layer is None:
            raise ValueError(
                f'expected a net of layers with kernels, received "{net.name}"; name the layer to cut after'
            )
    cut = net.get_layer(layer)
    calls = [tensor for tensor in _needed(net.outputs[0]) if _maker(tensor) is cut]
    if len(calls) != 1:
        raise ValueError(
            f'expected a layer that is called once, received "{layer}" with {len(calls)} outputs in the net'
        )
    hidden = calls[0]
    if hidden is net.outputs[0]:
        raise ValueError(f'expected a layer with others after it, received "{layer}", the last')
    before = {id(tensor) for tensor in _needed(hidden)} - {id(hidden)}
    for tensor in _needed(net.outputs[0], hidden):
        for source in _sources(tensor):
            if id(source) in before:
                raise ValueError(
                    f'expected a layer that all of the net goes through, received "{layer}": "{_maker(tensor).name}" '
                    f'after it uses the output of "{_maker(source).name}" before it'
                )
    return (
        keras.Model(net.inputs[0], hidden, name=f"{net.name}_stem"),
        keras.Model(hidden, net.outputs[0], name=f"{net.name}_head"),
    )


def _needed(tensor: keras.KerasTensor, end: keras.KerasTensor | None = None) -> list[keras.KerasTensor]:
    """The tensor and all that it is computed from, as far as `end`, which is left out."""
    found: dict[int, keras.KerasTensor] = {}
    ahead = [tensor]
    while ahead:
        tensor = ahead.pop()
        if tensor is not end and id(tensor) not in found:
            found[id(tensor)] = tensor
            ahead += _sources(tensor)
    return list(found.values())


def _maker(tensor: keras.KerasTensor) -> keras.Layer:
    return tensor._keras_history.operation


def _sources(tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    return _maker(tensor)._inbound_nodes[tensor._keras_history.node_index].input_tensors
