"""Trains a joint model on real digits, attacks it, and draws digits from it; about a minute on two cores."""

import functools

import keras
import numpy as np

import jeat_tf as jt
from jeat_tf.data.datasets import as_floats, open_dataset


def main(epochs: int = 12) -> tuple[float, float, np.ndarray]:
    images, labels = open_dataset("digits").arrays("train")
    images = as_floats(images)  # float32[N, 8, 8, 1] in [0, 1]

    ball = jt.Linf(26 / 255)
    attack = functools.partial(jt.pgd, ball=ball, start=ball.random_start, step_size=26 / 255, num_steps=1)
    chain = functools.partial(jt.sgld, step_size=0.25, noise_std=0.005, num_steps=20, bounds=(0.0, 1.0))
    start = jt.class_gaussians(jt.class_statistics(images, labels, num_classes=10))
    buffer = jt.ReplayBuffer(2000, start, image_shape=(8, 8, 1), num_classes=10)

    net = jt.small_cnn((8, 8, 1), 10)  # any functional Keras net: images in [0, 1] -> logits
    model = jt.EnergyClassifier(net, jt.jeat(attack, jt.Persistent(buffer, chain)))
    model.compile(keras.optimizers.Adam(1e-3), metrics=["accuracy"])
    model.fit(images, labels, batch_size=64, epochs=epochs)
    net.save("net.keras")  # a plain Keras model

    test_images, test_labels = open_dataset("digits").arrays("test")
    x, y = keras.ops.convert_to_tensor(as_floats(test_images)), keras.ops.convert_to_tensor(test_labels)
    pgd20 = functools.partial(jt.pgd, ball=ball, start=ball.random_start, step_size=ball.epsilon / 8, num_steps=20)
    x_adv = pgd20(jt.cross_entropy(net, y), x, seed=[0, 0])
    clean, robust = (float(np.mean(np.argmax(net(v), -1) == test_labels)) for v in (x, x_adv))
    digits = jt.generate(net, np.arange(10), seed=[0, 1], start=start, stages=[jt.Stage(jt.joint_energy, chain)])
    print(f"clean {clean:.1%}, under PGD-20 {robust:.1%}, drew {digits.shape[0]} digits")
    return clean, robust, digits


if __name__ == "__main__":
    main()
