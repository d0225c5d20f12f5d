"""The model that a run trains, and what a step of it costs."""

import dataclasses

import numpy as np
import tensorflow as tf

from jeat_tf.config import build
from jeat_tf.config.train import TrainConfig
from jeat_tf.data.datasets import as_floats
from jeat_tf.data.image_data import ImageData
from jeat_tf.methods.accounting import activation_bytes, buffer_bytes, count_passes, forward_flops, step_flops
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.updates import Free
from jeat_tf.models.flow import initialize_flow
from jeat_tf.models.nets import FlowNet
from jeat_tf.runs.training import Cost
from jeat_tf.train.images import TrainingImages

_FLOW_IMAGES = 256  # that a flow's ActNorms are set by


def classifier(config: TrainConfig, data: ImageData, images: TrainingImages, steps_per_epoch: int) -> EnergyClassifier:
    """The compiled and adapted model that the settings describe."""
    run = config.run
    net = build.net(config.net, data.image_shape, data.num_classes, precision=run.precision, init_from=run.init_from)
    update = config.update
    if isinstance(update, Free):
        update = dataclasses.replace(update, ball=config.ball, batch_size=config.stream.batch_size)
    model = EnergyClassifier(net, config.method, update, unlabelled=config.unlabelled, seed=run.seed)
    if isinstance(config.net, FlowNet) and not run.init_from:
        some = np.random.default_rng(config.run.seed).permutation(len(images.labelled[0]))[:_FLOW_IMAGES]
        x = model.objective.perturb(net, as_floats(images.labelled[0][some]), None, tf.constant([config.run.seed, 5]))
        initialize_flow(net, x)
    jit = {"auto": "auto", "true": True, "false": False}[config.run.jit_compile]
    optimizer = build.optimizer(config.optimizer, steps_per_epoch, config.run.epochs, model.adjustments)
    model.adapt(as_floats(images.labelled[0]), images.labelled[1])
    # Weighed by whether the label is known.
    model.compile(optimizer, weighted_metrics=["accuracy"], jit_compile=jit)
    return model


def cost_of(config: TrainConfig, model: EnergyClassifier, data: ImageData) -> Cost:
    """What a step costs, and what is held in memory."""
    batch_size = config.stream.batch_size
    passes = count_passes(
        model.objective,
        model.update,
        data.image_shape,
        data.num_classes,
        batch_size,
        separate_marginal=config.stream.separate_marginal,
    )
    flops = forward_flops(model.net)
    return Cost(
        parameters=int(model.net.count_params()),
        passes_per_step=passes,
        forward_flops_per_image=float(flops),
        flops_per_step=float(step_flops(passes, flops, batch_size)),
        activation_bytes=int(activation_bytes(model.net, batch_size)),
        buffer_bytes=int(buffer_bytes(model.objective)),
    )
