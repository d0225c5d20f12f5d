"""What every method is made of: its settings, and the objective that they describe."""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from jeat_tf.attacks.values import ATTACKS, MSD, PGD
from jeat_tf.core.balls import Ball
from jeat_tf.core.values import Value, setting, value
from jeat_tf.samplers.stages import RECIPES, Recipe, Stage
from jeat_tf.samplers.starts import STARTS, Start, Uniform
from jeat_tf.samplers.values import CHAINS, SGLD, Sampler

if TYPE_CHECKING:
    from jeat_tf.core.types import Perturb, View
    from jeat_tf.methods.inner import Persistent
    from jeat_tf.methods.objective import Objective

VIEWS = ("inference", "training")


@value
class Method(Value):
    """A training method: what it minimises, with every setting that it reads.

    A method is one file: a value like this, whose `objective` puts the parts of `methods.objective` together.

    Attributes:
      accuracy_may_fall: it trains no cross-entropy, so that a fall of accuracy is no alarm.
    """

    accuracy_may_fall: ClassVar[bool] = False

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        """What is minimised, for images (H, W, C) of K classes; `seed` is that of the first fill of a buffer."""
        raise NotImplementedError

    def drawing(self) -> Recipe:
        """How its paper draws images: JEAT eq. 16 for classifiers, whose chains lower E(x, y) - E(x)."""
        return RECIPES["eq16"]


@value
class Attacked(Method):
    """A method that trains on adversarial images.

    `epsilon` is only a short way to give the radius of the attack's ball; read it from `ball`.
    """

    attack: PGD = setting(PGD(), "attack that makes x_adv", kinds=ATTACKS, prefix="attack_")
    epsilon: dataclasses.InitVar[float | None] = setting(None, "radius of the attack's ball, in pixels", flag="")
    attack_view: str = setting(
        "inference",
        "how the attack calls the net; training uses, and moves, batch statistics, as the code of Fast and AT-AWP does",
        choices=VIEWS,
    )

    def __post_init__(self, epsilon: float | None = None) -> None:
        self._check()
        if epsilon is not None:
            if isinstance(self.attack, MSD):
                raise ValueError(
                    f"{type(self).__name__}(epsilon={epsilon:g}): epsilon is the radius of one ball, and {self.attack} "
                    "has one for each norm; give the radii to MSD"
                )
            ball = dataclasses.replace(self.attack.ball, epsilon=epsilon)
            object.__setattr__(self, "attack", dataclasses.replace(self.attack, ball=ball))

    @property
    def ball(self) -> Ball:
        """Where x_adv may be."""
        return self.attack.ball

    def raising(self, surrogate: str) -> "Perturb":
        """x_adv that raises the named surrogate: "cross_entropy", "joint_energy" or "kl_divergence"."""
        from jeat_tf.attacks import surrogates
        from jeat_tf.methods.inner import attacked, kl_attacked

        view = view_named(self.attack_view)
        if surrogate == "kl_divergence":
            return kl_attacked(self.attack, view)
        return attacked(getattr(surrogates, surrogate), self.attack, view)


@value
class Contrastive(Method):
    """A method that contrasts images with samples of its own density, by persistent chains and a replay buffer."""

    chain: Sampler = setting(SGLD(), "chain that draws the negatives", kinds=CHAINS, prefix="chain_")
    start: Start = setting(Uniform(), "where chains begin", kinds=STARTS, flag="chain_start", prefix="start_")
    buffer_size: int = setting(10_000, "slots of the replay buffer", at_least=1)
    restart_probability: float = setting(
        0.05, "chance that a chain begins afresh (rho of JEAT's Algorithm 1)", at_least=0.0, at_most=1.0
    )
    class_conditional: bool = setting(False, "chains lower E(x, y), each for its slot's class, rather than E(x)")
    chain_view: str = setting(
        "inference",
        "how chains call the net; training uses, and moves, batch statistics, as JEM++ does",
        choices=VIEWS,
    )
    energy_weight: float = setting(1.0, "w, the weight of -log p(x)", at_least=0.0)
    joint_weight: float = setting(0.0, "v, the weight of -log p(x, y); needs class_conditional chains", at_least=0.0)
    energy_l2: float = setting(0.0, "weight of the mean squared energies, against divergence", at_least=0.0)
    input_noise_std: float = setting(
        0.015, "standard deviation of Gaussian noise on all images, in pixels (JEM: 0.03 on [-1, 1])", at_least=0.0
    )

    def _check(self) -> None:
        super()._check()
        if self.joint_weight and not self.class_conditional:
            raise ValueError(
                f"{type(self).__name__}(joint_weight={self.joint_weight:g}): joint_weight contrasts images of a class "
                "and needs chains of classes; add class_conditional=True"
            )

    def negatives(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Persistent":
        """The chains, the buffer that they live in, and where they begin."""
        from jeat_tf.attacks.surrogates import joint_energy, marginal_energy
        from jeat_tf.methods.inner import Persistent
        from jeat_tf.samplers.replay_buffer import ReplayBuffer

        buffer = ReplayBuffer(self.buffer_size, self.start, image_shape=image_shape, num_classes=num_classes, seed=seed)
        surrogate = joint_energy if self.class_conditional else marginal_energy
        return Persistent(buffer, self.chain, self.restart_probability, view_named(self.chain_view), surrogate)

    def drawing(self) -> Recipe:
        """JEAT eq. 17: the chain of training down E(x, y), as many steps as fresh chains need."""
        steps = max(getattr(self.chain, "steps", 0), DRAWN_STEPS)
        chain = dataclasses.replace(self.chain, steps=steps)  # type: ignore[call-arg]
        return Recipe(self.start, (Stage(chain),), "the method's own chain")

    def weights(self) -> dict[str, Any]:
        """The settings of `methods.objective.joint` that all these methods share."""
        return {
            "energy_weight": self.energy_weight,
            "joint_weight": self.joint_weight,
            "energy_l2": self.energy_l2,
            "input_noise_std": self.input_noise_std,
        }


DRAWN_STEPS = 200  # from uniform noise; training's chains of 20 steps live on in a buffer
POSITIVES = ("clean", "adversarial")


def view_named(name: str) -> "View":
    """How a net is called: "inference" or "training"."""
    from jeat_tf.attacks import surrogates

    return surrogates.training if name == "training" else surrogates.inference
