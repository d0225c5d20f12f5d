"""The joint energy-based model without chains: p(x) by denoising score matching."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import DRAWN_STEPS, Method
from jeat_tf.samplers.stages import Recipe, Stage
from jeat_tf.samplers.starts import Uniform
from jeat_tf.samplers.values import SGLD

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class JEMDSM(Method):
    """JEM whose p(x) term is denoising score matching: CE(x) + w J(E), with no chains and no replay buffer.

    J is eq. 9 of Vincent (2011), "A connection between score matching and denoising autoencoders", for the density
    exp(-E(x)) smoothed by Gaussian noise. With `widest_noise_std` above `noise_std` it is the multi-scale form of Li et
    al. (2019), https://arxiv.org/abs/1910.07762, which teaches the energy far from the images too.

    The net's gradient is trained, so that it should be smooth: activation swish, no batch normalisation. With leaky
    ReLU on digits nothing of J is learnt in 800 steps.
    """

    word: ClassVar[str] = "jem_dsm"

    noise_std: float = setting(
        0.2, "standard deviation of the noise whose score is matched, in pixels", above=0.0, flag="dsm_noise_std"
    )
    widest_noise_std: float = setting(
        0.4, "largest deviation of the noise on a batch, in pixels; noise_std: one scale", above=0.0
    )
    energy_weight: float = setting(10.0, "w, the weight of -log p(x)", at_least=0.0)
    input_noise_std: float = setting(
        0.015, "standard deviation of Gaussian noise on all images, in pixels", at_least=0.0
    )

    def _check(self) -> None:
        super()._check()
        if self.widest_noise_std < self.noise_std:
            raise ValueError(
                f"expected widest_noise_std of at least noise_std ({self.noise_std:g}), "
                f"received {self.widest_noise_std:g}; give noise_std itself for one scale"
            )

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.score_matching import denoising

        return denoising(
            noise_std=self.noise_std,
            widest_noise_std=self.widest_noise_std,
            energy_weight=self.energy_weight,
            input_noise_std=self.input_noise_std,
        )

    def drawing(self) -> Recipe:
        """A chain on E(x, y) from uniform noise, whose step noise_std^2 is that of the denoiser."""
        chain = SGLD(DRAWN_STEPS, step_size=self.noise_std**2, noise_std=0.1 * self.noise_std)
        return Recipe(Uniform(), (Stage(chain),), "the denoiser's own step")
