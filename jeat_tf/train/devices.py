"""On how many devices a run trains."""

import contextlib

import tensorflow as tf

from jeat_tf.config.train import TrainConfig
from jeat_tf.methods.base import Contrastive


def strategy_of(config: TrainConfig) -> tf.distribute.Strategy:
    """The strategy of `--devices`: TensorFlow's default for one device, MirroredStrategy for more.

    Without a GPU, the devices are equal parts of the processor. They show that a run works, and are not faster.

    Raises:
      ValueError: there are fewer devices, or the batch or the replay buffer cannot be divided among them.
    """
    count = _count(config.run.devices)
    if count == 1:
        return tf.distribute.get_strategy()
    check_divisible(config, count, "devices")
    # Physical ones: a look at the logical ones starts TensorFlow, and then the processor cannot be divided any more.
    if tf.config.list_physical_devices("GPU"):
        gpus = tf.config.list_logical_devices("GPU")
        return tf.distribute.MirroredStrategy([device.name for device in gpus[:count]])
    # The default reduction of processors fails for batch normalisation and for several steps an execution.
    return tf.distribute.MirroredStrategy(
        [device.name for device in _processors(count)], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def _count(devices: str) -> int:
    gpus = len(tf.config.list_physical_devices("GPU"))
    if devices == "all":
        return max(1, gpus)
    if not devices.isdecimal() or int(devices) < 1:
        raise ValueError(f"expected --devices=all or a number from 1, received {devices}")
    if gpus and int(devices) > gpus:
        raise ValueError(f"expected --devices of at most {gpus}, the GPUs of this machine, received {devices}")
    return int(devices)


def _processors(count: int) -> list:
    processor = tf.config.list_physical_devices("CPU")[0]
    with contextlib.suppress(RuntimeError):  # once TensorFlow has begun, the parts are what they are
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * count)
    parts = tf.config.list_logical_devices("CPU")
    if len(parts) < count:
        raise ValueError(
            f"expected --devices of at most {len(parts)}, received {count}: this process has divided its processor "
            "already; start another one"
        )
    return parts[:count]


def check_divisible(config: TrainConfig, count: int, what: str) -> None:
    """Raises ValueError unless the batch and the replay buffer can be divided equally among so many.

    Args:
      config: of the run.
      count: how many.
      what: plural noun for the message, "devices" or "workers".
    """
    sizes = {"batch_size": config.stream.batch_size}
    if isinstance(config.method, Contrastive):
        sizes["buffer_size"] = config.method.buffer_size
    for name, size in sizes.items():
        if size % count:
            raise ValueError(
                f"expected --{name} divisible by {count} {what}, received {size}; write "
                f"--{name}={max(count, size - size % count)}"
            )
    if config.optimizer.accumulate_steps > 1:
        raise ValueError(f"--accumulate_steps does not work on several {what}; use a smaller --batch_size, or only one")
