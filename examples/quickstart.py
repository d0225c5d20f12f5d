"""Trains a joint model on real digits, draws digits from it, and attacks it; about a minute on two cores."""

import numpy as np

import jeat_tf as jt


def main(epochs: int = 8, num_images: int | None = None) -> tuple[jt.attacks.Robustness, np.ndarray]:
    x, y = jt.data.open_dataset("digits").arrays("train")
    x_test, y_test = jt.data.open_dataset("digits").arrays("test")
    x, x_test = jt.data.as_floats(x), jt.data.as_floats(x_test)  # float32[N, 8, 8, 1] in [0, 1]

    net = jt.models.small_cnn((8, 8, 1), num_classes=10)  # or any Keras net: images in [0, 1] -> logits
    model = jt.EnergyClassifier(net, jt.methods.JEAT(epsilon=0.1))
    model.compile("adam", metrics=["accuracy"])
    model.fit(x, y, epochs=epochs, callbacks=[jt.callbacks.Guard()])
    net.save("net.keras")  # a plain Keras model

    digits = model.generate(range(10))  # also model.energy(x), model.predict(x)
    result = jt.attacks.AutoAttack(jt.Linf(0.1))(net, x_test[:num_images], y_test[:num_images])
    print(result)
    return result, digits


if __name__ == "__main__":
    main()
