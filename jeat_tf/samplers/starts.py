"""Where chains begin, as values. What depends on data is learnt by `adapt`, as in `keras.layers.Normalization`."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.core.values import Value, by_word, setting, value

if TYPE_CHECKING:
    import numpy as np

    from jeat_tf.samplers.class_statistics import ClassStatistics
    from jeat_tf.samplers.start_layer import StartLayer

FULL_UP_TO = 1024  # numbers of an image; beyond, a full covariance of each class takes too much memory
RANK = 256  # of 32x32x3 images: 31 MB for ten classes, where full covariances take 377 MB


@value
class Start(Value):
    """First images of a chain, one for each label.

    `start.layer(image_shape, num_classes)` is the Keras layer that draws them: `layer.adapt(images, labels)` learns
    from data what the start needs, and `layer(labels, seed)` draws.

    Attributes:
      of_classes: whether the label decides what is drawn.
      learns: whether it has to `adapt` to data first.
    """

    of_classes: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    def layer(self, image_shape: tuple[int, int, int], num_classes: int) -> "StartLayer":
        """The layer that draws for images (H, W, C) of K classes."""
        from jeat_tf.samplers.start_layer import StartLayer

        return StartLayer(self, image_shape, num_classes)

    def rank_for(self, size: int) -> int | None:
        """Columns of a class's factor for images of `size` numbers; None for a full factor, without a diagonal."""
        raise NotImplementedError

    def statistics(self, images: "np.ndarray", labels: "np.ndarray", num_classes: int) -> "ClassStatistics":
        """What it learns from data."""
        raise NotImplementedError


@value
class Uniform(Start):
    """Uniform noise over the pixel range (JEAT Algorithm 1, JEM)."""

    word: ClassVar[str] = "uniform"


@value
class Gaussian(Start):
    """Gaussian noise about mid-grey, clipped to [0, 1]."""

    word: ClassVar[str] = "gaussian"

    mean: float = setting(0.5, "mean of the noise, in pixels", flag="start_mean")
    std: float = setting(0.25, "standard deviation of the noise, in pixels", at_least=0.0, flag="start_std")


@value
class ClassGaussians(Start):
    """A draw from the Gaussian of the label's class, clipped to [0, 1] (JEM++; JEAT sec. 2.2)."""

    word: ClassVar[str] = "class_gaussian"
    of_classes: ClassVar[bool] = True
    learns: ClassVar[bool] = True

    rank: int | None = setting(
        None, "rank of a class's covariance, beside a diagonal; empty: full, or 256 beyond 1024 numbers", at_least=1
    )

    def rank_for(self, size: int) -> int | None:
        return RANK if self.rank is None and size > FULL_UP_TO else self.rank

    def statistics(self, images: "np.ndarray", labels: "np.ndarray", num_classes: int) -> "ClassStatistics":
        from jeat_tf.samplers.class_statistics import class_statistics

        return class_statistics(images, labels, num_classes, rank=self.rank)


@value
class Mixture(ClassGaussians):
    """A draw from the equal mixture of all classes' Gaussians, whatever the label, clipped to [0, 1]."""

    word: ClassVar[str] = "mixture"
    of_classes: ClassVar[bool] = False


@value
class ClassComponents(Start):
    """A draw from the leading principal components of the label's class (WEAT, Mirza et al., 2024).

    WEAT's code scales a component by sigma times its singular value. That is sigma sqrt(n - 1) of its standard
    deviation in n images: 0.35 of it for 5,000. `sigma=None` takes the deviation itself.
    """

    word: ClassVar[str] = "class_pca"
    of_classes: ClassVar[bool] = True
    learns: ClassVar[bool] = True

    retained: float = setting(0.99, "share of a class's variance that its components hold", above=0.0, at_most=1.0)
    max_rank: int = setting(512, "components of a class, at most", at_least=1, flag="start_max_rank")
    sigma: float | None = setting(
        0.005,
        "WEAT's sigma_pca: components are sigma sqrt(n - 1) of their deviation in n images; empty: all of it",
        above=0.0,
        flag="start_sigma",
    )
    noise_std: float = setting(
        0.0, "standard deviation of the noise on every pixel", at_least=0.0, flag="start_noise_std"
    )

    def rank_for(self, size: int) -> int:
        return min(self.max_rank, size)

    def statistics(self, images: "np.ndarray", labels: "np.ndarray", num_classes: int) -> "ClassStatistics":
        from jeat_tf.samplers.class_statistics import class_components

        return class_components(
            images,
            labels,
            num_classes,
            retained=self.retained,
            sigma=self.sigma,
            noise_std=self.noise_std,
            max_rank=self.max_rank,
        )


@value
class Exact(Start):
    """Exact samples of p(x | y), which only a flow has (Glow, Kingma & Dhariwal, 2018); no chain follows them."""

    word: ClassVar[str] = "flow"
    of_classes: ClassVar[bool] = True

    temperature: float = setting(
        1.0,
        "factor on the standard deviation of the latents; below 1, images are more typical and less varied",
        at_least=0.0,
        flag="start_temperature",
    )

    def layer(self, image_shape: tuple[int, int, int], num_classes: int) -> "StartLayer":
        """Refused: the net itself draws.

        Raises:
          ValueError: always.
        """
        raise ValueError(f"expected a start that draws without a net, received {self!r}; use models.flow_samples(net)")


STARTS = by_word(Uniform, Gaussian, ClassGaussians, Mixture, ClassComponents)
"""Starts by name."""
