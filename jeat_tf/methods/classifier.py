"""The one Keras model with the one train_step."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.core.checks import admit, admit_images, admit_labels, check_batch_size
from jeat_tf.core.energy import cross_entropy, energy
from jeat_tf.core.logits import check_head, check_logits
from jeat_tf.core.replicas import as_reduced, check_scope, mean_over_replicas, rows_gatherer, this_replica
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Draw
from jeat_tf.methods.adjustments import Adjustments
from jeat_tf.methods.base import Method
from jeat_tf.methods.entrances import arrays_of, check_metrics, in_words, refuse_weights
from jeat_tf.methods.gated import GatedModel, cast_batch
from jeat_tf.methods.logs import ADVERSARIAL, latest, with_prefix
from jeat_tf.methods.objective import Objective, mean_over_labelled
from jeat_tf.methods.presets import training_of
from jeat_tf.methods.progress import Progress
from jeat_tf.methods.steps import FreeStep, Step, descend
from jeat_tf.methods.updates import Update
from jeat_tf.models.flow import flow_samples
from jeat_tf.models.shapes import shapes_of
from jeat_tf.samplers.generation import generate
from jeat_tf.samplers.stages import Stage
from jeat_tf.samplers.starts import Exact, Start

_DEFAULT_BATCH = 32  # of Keras' fit on arrays


class EnergyClassifier(GatedModel):
    """Trains a net, images in [0, 1] -> logits, by a method and an update.

    The net stays a plain Keras model: `classifier.net.save("net.keras")` is what evaluation, sampling and
    serving load. The replay buffer belongs to the training state: `save_weights` carries it, the net does not.

    Example:
      model = EnergyClassifier(net, jt.methods.JEAT(epsilon=8 / 255))
      model.compile("adam", metrics=["accuracy"])
      model.fit(images, labels, batch_size=64, epochs=10)
      digits = model.generate(range(10))

    Training logs hold the means of the loss, the objective's terms and `gradient_norm`, what a guard watches
    (`latest_gap`, ...), and the compiled metrics of the classified images. Where these are adversarial, the metrics
    are called `adv_accuracy`, ... Validation and `evaluate` use the images as given, and the plain names.

    Attributes:
      method: what is minimised, as a value; None for a bare objective.
      step: int64[], training steps taken, however the optimizer counts them.
      adjustments: what a guard may change between steps.
      replay_buffer: the objective's persistent chains, or None.
      curriculum: of the objective's negatives, or None.
      start: where chains begin, or None.
    """

    def __init__(
        self,
        net: keras.Model,
        method: Method | Objective,
        update: Update | Step | None = None,
        *,
        unlabelled: bool = False,
        seed: int = 0,
    ):
        """
        Args:
          net: a built model, images float32[B, H, W, C] in [0, 1] -> logits [B, K]; a subclassed one must have been
            called once.
          method: what to minimise, e.g. `methods.JEAT(epsilon=8 / 255)`, or an objective of your own.
          update: how the weights move, e.g. `methods.AWP(0.01)`; None is plain descent.
          unlabelled: labels may be -1, unknown: such images count in no cross-entropy and serve p(x).
          seed: of all inner problems; step t uses fold_in(seed, t), so that a restored run resumes exactly as an
            uninterrupted one.

        Raises:
          TypeError: not a method, not an update, or not a seed.
          ValueError: the net is not built, its output is not [B, K], or it ends in a softmax or sigmoid.
        """
        if not isinstance(seed, (int, np.integer)):
            raise TypeError(f"expected seed, an int, received {seed!r}")
        image_shape, num_classes = shapes_of(net)
        check_head(net)
        check_scope(net)
        super().__init__(name=f"{net.name}_classifier")
        self.net = net
        self.image_shape, self.num_classes = image_shape, num_classes
        self.seed = seed
        self.method = None if isinstance(method, Objective) else method
        objective = method if isinstance(method, Objective) else _objective(method, image_shape, num_classes, seed)
        self.update = descend if update is None else update.step(image_shape) if isinstance(update, Update) else update
        if not callable(self.update):
            raise TypeError(f"expected an update such as methods.AWP(0.01), received {update!r}")
        self.step = self.add_weight(
            name="step",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        # Direct attributes: only then do checkpoints of this model carry them.
        self.adjustments = Adjustments(objective.energy_l2)
        self.replay_buffer = None if objective.negatives is None else objective.negatives.buffer
        self.curriculum = None if objective.negatives is None else objective.negatives.curriculum
        self.start = None if objective.negatives is None else objective.negatives.start
        self.objective = dataclasses.replace(
            objective,
            energy_l2=self.adjustments.energy_l2,
            chain_rounds=self.adjustments.chain_rounds,
            unlabelled=unlabelled or objective.unlabelled,
        )
        self._gather: Callable[[], None] | None = None
        self._means = [keras.metrics.Mean(name=name) for name in ("loss", *objective.terms, "gradient_norm")]
        self.built = True

    @classmethod
    def from_preset(cls, preset: str, net: keras.Model, *, seed: int = 0, **settings: Any) -> "EnergyClassifier":
        """The classifier that trains a net by the method and the update of a preset such as "digits/jeat".

        Args:
          preset: a name of `jeat_tf list presets`, or the path of a flagfile.
          net: as in the constructor.
          seed: as in the constructor.
          **settings: settings that override the preset's, e.g. `epsilon=0.2`.

        Raises:
          ValueError: no such preset or setting, with its neighbours.
        """
        training = training_of(preset, **settings)
        return cls(net, training.method, training.update, seed=seed)

    @property
    def metric_prefix(self) -> str:
        """Before the names of metrics in training logs: "adv_" where the classified images are adversarial."""
        return ADVERSARIAL if self.objective.classifies_adversarial or isinstance(self.update, FreeStep) else ""

    @property
    def adapted(self) -> bool:
        """Whether chains know where to begin: their start learns nothing from data, or has learnt it."""
        return self.start is None or self.start.adapted

    def adapt(self, x: Any, y: Any = None) -> None:
        """Lets the start of the chains learn from training images, and fills the replay buffer from it.

        The first `fit` does this by itself. The state is saved with the weights, as of `keras.layers.Normalization`.

        Args:
          x: float32[N, H, W, C] in [0, 1], or a finite dataset of (images, labels).
          y: int[N].

        Raises:
          ValueError: invalid images or labels, or an endless dataset.
        """
        if self.adapted:
            return
        images, labels = arrays_of(*self._entrance(unlabelled=True).admitted(x, y))
        known = labels >= 0
        learner = self.start if self.replay_buffer is None else self.replay_buffer
        assert learner is not None  # a model without a start is adapted
        learner.adapt(images[known], labels[known])

    def energy(self, x: Any, labels: Any = None) -> tf.Tensor:
        """E(x) float32[B], or E(x, y) where labels int[B] are given (JEAT eq. 7 and 8).

        Raises:
          ValueError: invalid images or labels.
        """
        images = admit_images(x, image_shape=self.image_shape)
        if labels is not None:
            images, labels = admit(images, labels, self.num_classes)
        logits = self.net(images, training=False)
        check_logits(logits, energies=True)
        return energy(logits, labels)

    def generate(
        self,
        labels: Any,
        stages: Sequence[Stage] | None = None,
        *,
        start: Start | Draw | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Images float32[B, H, W, C] for labels int[B], drawn as the method's paper draws them.

        Args:
          labels: the requested class of each image, e.g. `range(10)`.
          stages: samplers and the energies they lower, e.g. `[Stage(SGLD(steps=200))]`; None is the method's own.
          start: where the chains begin, e.g. `Uniform()`; None is the method's own.
          seed: of start and chains.

        Raises:
          ValueError: labels that are not classes, or a start that has not seen data.
        """
        recipe = self.method.drawing() if self.method is not None else Method().drawing()
        first = self._start(recipe.start if start is None else start)
        chains = tuple(recipe.stages if stages is None else stages)
        labels = admit_labels(labels, self.num_classes)

        @tf.function(autograph=False)  # one graph for all steps: loops run faster than in eager mode
        def draw() -> tf.Tensor:
            return generate(self.net, tf.constant(labels), start=first, stages=chains, seed=tf.constant([seed, 1]))

        first(tf.constant(labels[:1]), tf.constant([seed, 0]))  # outside the graph it refuses what has not seen data
        return draw().numpy()

    @property
    def steps_taken(self) -> int:
        """`step` as a number, under any distribution strategy."""
        return int(keras.ops.convert_to_numpy(self.step))

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits float[B, K]."""
        return self.net(x, training=training)

    def compile(self, optimizer: Any = "adam", *, loss: None = None, **kwargs: Any) -> None:
        """Keras' `compile` without a loss: the objective is the loss.

        Raises:
          ValueError: a loss is given, or a metric of one-hot labels or probabilities.
        """
        if loss is not None:
            raise ValueError(
                f"expected compile() without a loss, received {loss!r}: the objective given to EnergyClassifier "
                "is what is minimised"
            )
        check_metrics([kwargs.get("metrics"), kwargs.get("weighted_metrics")])
        super().compile(optimizer, **kwargs)
        self.optimizer.build(self.net.trainable_variables)
        if kwargs.get("metrics") or kwargs.get("weighted_metrics"):
            # Metrics that make their variables inside train_step cause it to be traced twice, and are not there yet
            # when a checkpoint of a step within an epoch is restored.
            self._compile_metrics.build(tf.zeros([1], tf.int64), tf.zeros([1, self.num_classes]))

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """Keras' `fit`, after a check of the images and labels (all of an array, the first batch of a dataset).

        Raises:
          ValueError: images outside [0, 1], not finite or not float; labels out of range or one-hot; weights of
            samples or classes, which objectives do not know; batches that the replay buffer or `Free` cannot serve.
        """
        refuse_weights("fit", kwargs)
        check_batch_size(kwargs.get("batch_size"))
        x, y = self._entrance(unlabelled=self.objective.unlabelled).admitted(x, y)
        x = self._look(x)
        self.adapt(x, y)
        self._check_batches(x, kwargs.get("batch_size") or _DEFAULT_BATCH)
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"] = self._validation(kwargs["validation_data"])
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # a dataset has its own order; Keras warns of its default
            if isinstance(self.update, FreeStep) and not tf.distribute.has_strategy():
                x = x.map(self.update.checked)
        callbacks = keras.tree.flatten(kwargs.pop("callbacks", None) or [])
        for callback in callbacks:
            if isinstance(callback, keras.callbacks.ModelCheckpoint) and not callback.save_weights_only:
                raise NotImplementedError(
                    "ModelCheckpoint would save an EnergyClassifier, which holds functions: give it "
                    "save_weights_only=True, and save the net with `model.net.save(path)`"
                )
        if not any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in callbacks):
            callbacks.append(Progress())
        with in_words():
            return super().fit(x, y, callbacks=callbacks, **kwargs)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, labels = cast_batch(data)
        out = self.update(self.net, self.objective, self.optimizer, x, labels, self._step_seed())
        for mean in self._means:
            mean.update_state(out.loss if mean.name == "loss" else out.terms[mean.name])
        known = tf.cast(labels >= 0, tf.float32) if self.objective.unlabelled else None
        self.compute_metrics(x, labels, out.logits, sample_weight=known)
        if self.curriculum is not None:
            self.curriculum.update(mean_over_replicas(out.terms["auc"]))
        self.step.assign_add(1)
        right = tf.cast(tf.argmax(out.logits, axis=-1, output_type=labels.dtype) == labels, tf.float32)
        results = with_prefix(self.get_metrics_result(), self.metric_prefix, but=[mean.name for mean in self._means])
        return as_reduced(results | latest(out.terms, mean_over_labelled(right, labels), self.metric_prefix))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, labels = cast_batch(data)
        logits = self.net(x, training=False)
        loss = self._means[0]
        number = tf.shape(labels)[0]
        mean = tf.reduce_mean(cross_entropy(logits, labels))
        # One of several replicas may get no image of the last batch.
        loss.update_state(tf.where(number > 0, mean, 0.0), sample_weight=number)
        self.compute_metrics(x, labels, logits)
        of_training = {mean.name for mean in self._means[1:]}
        return as_reduced({k: v for k, v in self.get_metrics_result().items() if k not in of_training})

    def gather_replicas(self) -> None:
        """Makes one whole of what the replicas keep in parts: the replay buffer, and the perturbation of `Free`."""
        parts = [self.replay_buffer.images, self.replay_buffer.age] if self.replay_buffer is not None else []
        parts += [self.update.delta] if isinstance(self.update, FreeStep) else []
        if not parts or self.distribute_strategy.num_replicas_in_sync == 1:
            return
        if self._gather is None:
            self._gather = rows_gatherer(self.distribute_strategy, parts)
        self._gather()

    def save_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Keras' `save_weights`, of the state of all replicas; any number of devices can resume it."""
        self.gather_replicas()
        super().save_weights(filepath, **kwargs)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Not available.

        Raises:
          NotImplementedError: always, before a file is touched, with what to save instead.
        """
        self.get_config()

    def get_config(self) -> dict:
        raise NotImplementedError(
            "an EnergyClassifier holds functions and is not saved itself: save its net with "
            "`model.net.save(path)`, its training state with `model.save_weights(path)`"
        )

    def _step_seed(self) -> tf.Tensor:
        seed = fold_in(tf.constant([self.seed, 0]), self.step.value)
        replica = this_replica()
        return seed if replica.number == 1 else fold_in(seed, replica.index)

    def _start(self, start: Start | Draw) -> Draw:
        if not isinstance(start, Start):
            return start
        if isinstance(start, Exact):
            return flow_samples(self.net, start.temperature)
        own = self.start is not None and self.start.start == start
        return self.start if own and self.start is not None else start.layer(self.image_shape, self.num_classes)


def _objective(method: Any, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> Objective:
    if not isinstance(method, Method):
        raise TypeError(f"expected a method such as methods.JEAT(epsilon=8 / 255), received {method!r}")
    return method.objective(image_shape, num_classes, seed)
