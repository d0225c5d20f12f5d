"""Generated images as an independent classifier sees them. Not IS, not FID: those need Inception's features."""

import keras
import numpy as np
import scipy.linalg


def classifier_features(judge: keras.Model, images: np.ndarray) -> np.ndarray:
    """float64[N, D], what the judge's last dense layer reads.

    Raises:
      ValueError: the judge has no dense layer, or takes images of another shape.
    """
    if judge.input_shape[1:] != images.shape[1:]:
        raise ValueError(
            f"expected a judge for images of shape {list(images.shape[1:])}, received one for "
            f"{list(judge.input_shape[1:])}"
        )
    dense = [layer for layer in judge.layers if isinstance(layer, keras.layers.Dense)]
    if not dense:
        raise ValueError(f"expected a judge that ends in a dense layer, received {judge.name} without one")
    return _outputs(keras.Model(judge.inputs[0], dense[-1].input), images).astype(np.float64)


def agreement(judge: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images that the judge classifies as the label asked for."""
    return float(np.mean(_outputs(judge, images).argmax(-1) == labels))


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features, float[N, D] and float[M, D].

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)). The trace of the root is the sum of square roots of the
    eigenvalues of A^(1/2) B A^(1/2), which is symmetric: no complex roots, and rank-deficient covariances
    (fewer images than features) do no harm to the arithmetic. Their bias stays: it grows as N falls.

    Raises:
      ValueError: fewer than two rows in either set.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"expected at least 2 images in each set, received {len(a)} and {len(b)}")
    difference = a.mean(axis=0) - b.mean(axis=0)
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = scipy.linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.maximum(scipy.linalg.eigvalsh(root_a @ cov_b @ root_a), 0)
    return float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(product).sum())


def _outputs(net: keras.Model, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    parts = range(0, len(images), batch_size)
    return np.concatenate([net(images[i : i + batch_size], training=False) for i in parts])
