"""A start and stages, compiled once each, and drawn from batch by batch with a look at the chains on their way."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.attacks.surrogates import inference, joint_energy
from jeat_tf.core.energy import energy
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Draw, Images, Labels, Seed
from jeat_tf.samplers.metropolis import Acceptance, acceptance
from jeat_tf.samplers.stages import Stage
from jeat_tf.samplers.values import Chain


class Reached(NamedTuple):
    """Where a stage has come to: images, steps since the last reading, share of proposals accepted if there are any."""

    x: Images
    steps: int
    accepted: tf.Tensor | None


class Drawing:
    """The start and the stages, compiled once each for batches of any size."""

    def __init__(self, net: keras.Model, start: Draw, stages: Sequence[Stage], readings: int, *, jit_compile: bool):
        self.net = net
        self.stages = stages
        self.readings = readings
        self._compile = functools.partial(tf.function, autograph=False, jit_compile=jit_compile, reduce_retracing=True)
        self._start = self._compile(start)
        self._parts = [self._compiled(stage) for stage in stages]
        self._read = [self._reader(stage) for stage in stages]
        self._read_start = self._read[0] if stages else self._reader(None)

    def readings_at(self) -> list[tuple[int, int]]:
        """Stage, from 0, and its steps done, at each reading of `batch`; the first is before the first stage."""
        places = [(0, 0)]
        for i, stage in enumerate(self.stages):
            chain = isinstance(stage.sampler, Chain)
            places += [(i, done) for done in (self._stops(stage.steps) if chain else [1])]
        return places

    def start(self, labels: Labels, seed: Seed) -> Images:
        """Where the batch begins."""
        return self._start(labels, fold_in(seed, 0))

    def batch(
        self, labels: Labels, seed: Seed, progress: Callable[[int], None]
    ) -> tuple[list[Images], dict[str, np.ndarray]]:
        """Images at each reading, the last after all stages, and what was read: arrays [T, n]."""
        x = self.start(labels, seed)
        frames, readings, steps = [x], [self._read_start(x, labels)], [0]
        accepted: dict[str, np.ndarray] = {}
        for i, (one_stage, part, read) in enumerate(zip(self.stages, self._parts, self._read, strict=True), start=1):
            for reached, done, share in part(x, labels, fold_in(seed, i)):
                x = reached
                if share is not None:
                    accepted[f"accepted_by_stage_{i}"] = share.numpy()[None]
                frames.append(x)
                readings.append(read(x, labels))
                steps.append(steps[-1] + done)
                progress(done)
            if not isinstance(one_stage.sampler, Chain):
                progress(1)
        names = ("energy", "marginal_energy", "gradient_norm", "saturated")
        columns = zip(*[[value.numpy() for value in reading] for reading in readings], strict=True)
        traces = {f"trace_{name}": np.stack(column) for name, column in zip(names, columns, strict=True)}
        return frames, traces | accepted | {"trace_step": np.array(steps)}

    def _compiled(self, stage: Stage) -> Callable[[Images, Labels, Seed], Iterator[Reached]]:
        """(x, labels, seed) -> what is reached at each reading."""
        surrogate, sampler = stage.surrogate(), stage.sampler

        if not isinstance(sampler, Chain):
            apply = self._compile(lambda x, labels, seed: sampler(surrogate(inference(self.net), labels), x, seed=seed))
            return lambda x, labels, seed: iter([Reached(apply(x, labels, seed), 0, None)])

        walk, num_steps = sampler.walk(), sampler.steps
        begin = self._compile(lambda x, labels: walk.begin(surrogate(inference(self.net), labels), x))

        @self._compile
        def advance(x: Images, memory: Any, labels: Labels, seed: Seed, start: tf.Tensor, stop: tf.Tensor) -> Any:
            return walk.advance(surrogate(inference(self.net), labels), x, memory, seed=seed, start=start, stop=stop)

        def run(x: Images, labels: Labels, seed: Seed) -> Iterator[Reached]:
            memory, done = begin(x, labels), 0
            for stop in self._stops(num_steps):
                x, memory = advance(x, memory, labels, seed, tf.constant(done), tf.constant(stop))
                yield Reached(x, stop - done, acceptance(memory) if isinstance(memory, Acceptance) else None)
                done = stop

        return run

    def _stops(self, num_steps: int) -> list[int]:
        """Steps of a chain that are done when it is looked at."""
        length = max(1, -(-num_steps // max(self.readings, 1)))
        return [min(done + length, num_steps) for done in range(0, num_steps, length)]

    def _reader(self, stage: Stage | None) -> Callable[[Images, Labels], list[tf.Tensor]]:
        surrogate = stage.surrogate() if stage else joint_energy

        @self._compile
        def read(x: Images, labels: Labels) -> list[tf.Tensor]:
            """E(x, y), E(x), l2 norm of the gradient that the stage follows, share of saturated pixels."""
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                logits = inference(self.net)(x)
                followed = tf.reduce_sum(surrogate(lambda _: logits, labels)(x))
            gradient = tape.gradient(followed, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            axes = (1, 2, 3)
            saturated = tf.reduce_mean(tf.cast((x <= 0) | (x >= 1), tf.float32), axis=axes)
            norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=axes))
            return [energy(logits, labels), energy(logits), norm, saturated]

        return read
