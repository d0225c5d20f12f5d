"""The methods, one function each: which inner problem, which loss.

| method      | x_adv                    | x_neg           | loss                              |
|-------------|--------------------------|-----------------|-----------------------------------|
| standard    | x                        | -               | CE(x)                             |
| noise       | x + N(0, std^2)          | -               | CE(x_adv)                         |
| pgd_at      | attack on CE             | -               | CE(x_adv)                         |
| pre_jeat    | attack on E(x, y)        | -               | CE(x_adv)                         |
| jem         | x                        | chain on E(x)   | CE(x) + w (E(x) - E(x_neg))       |
| jeat        | attack on E(x, y)        | chain on E(x)   | CE(x_adv) + w (E(x_adv) - E(x_neg)) |
| robust_jem  | attack on CE             | chain on E(x)   | CE(x_adv) + w (E(x) - E(x_neg))   |
"""

from jeat_tf.attacks import cross_entropy, joint_energy
from jeat_tf.methods.inner import Persistent, attacked, gaussian_noise
from jeat_tf.methods.objective import Objective, Positive, adversarial, clean, joint, perturbed
from jeat_tf.types import Attack


def standard() -> Objective:
    """Cross-entropy on the images as they are."""
    return adversarial()


def noise(std: float) -> Objective:
    """Cross-entropy on noisy images, std in [0, 1] pixels (JEAT sec. 3.2, fig. 5)."""
    return adversarial(gaussian_noise(std))


def pgd_at(attack: Attack) -> Objective:
    """Adversarial training (Madry et al., 2018; JEAT eq. 1 and 3)."""
    return adversarial(attacked(cross_entropy, attack))


def pre_jeat(attack: Attack) -> Objective:
    """Adversarial training on examples of high E(x, y) (JEAT eq. 18 and sec. 3.3)."""
    return adversarial(attacked(joint_energy, attack))


def jem(
    negatives: Persistent,
    *,
    positive: Positive = clean,
    energy_weight: float = 1.0,
    input_noise_std: float = 0.0,
) -> Objective:
    """A joint energy-based model (Grathwohl et al., 2020): -log p(y | x) - w log p(x)."""
    return joint(negatives, positive=positive, energy_weight=energy_weight, input_noise_std=input_noise_std)


def jeat(
    attack: Attack,
    negatives: Persistent,
    *,
    positive: Positive = perturbed,
    energy_weight: float = 1.0,
    input_noise_std: float = 0.0,
) -> Objective:
    """Joint energy adversarial training (JEAT Algorithm 1): -log p(x_adv, y), x_adv of high E(x, y)."""
    return joint(
        negatives,
        perturb=attacked(joint_energy, attack),
        positive=positive,
        energy_weight=energy_weight,
        input_noise_std=input_noise_std,
    )


def robust_jem(
    attack: Attack,
    negatives: Persistent,
    *,
    positive: Positive = clean,
    energy_weight: float = 1.0,
    input_noise_std: float = 0.0,
) -> Objective:
    """Robust JEM (Korst & Asadulaev, 2022): JEM whose classifier sees adversarial examples.

    The paper says that the classifier is fed adversarial examples and leaves the positive phase open; here it
    is the images themselves unless `positive=perturbed`.
    """
    return joint(
        negatives,
        perturb=attacked(cross_entropy, attack),
        positive=positive,
        energy_weight=energy_weight,
        input_noise_std=input_noise_std,
    )
