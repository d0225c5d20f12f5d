"""The methods, one function each: which inner problem, which loss.

| method     | x_adv                | x_neg                    | loss                                        |
|------------|----------------------|--------------------------|---------------------------------------------|
| standard   | x                    | -                        | CE(x)                                       |
| noise      | x + N(0, std^2)      | -                        | CE(x_adv)                                   |
| pgd_at     | attack on CE         | -                        | CE(x_adv)                                   |
| pre_jeat   | attack on E(x, y)    | -                        | CE(x_adv)                                   |
| trades     | attack on KL         | -                        | CE(x) + beta KL                             |
| weat       | attack on KL         | -                        | the same, times 1 / softplus of abs E(x)    |
| jem        | x                    | chain on E(x)            | CE(x) + w (E(x) - E(x_neg))                 |
| jeat       | attack on E(x, y)    | chain on E(x)            | CE(x_adv) + w (E(x_adv) - E(x_neg))         |
| robust_jem | attack on CE         | chain on E(x)            | CE(x_adv) + w (E(x) - E(x_neg))             |
| dat        | attack on CE         | fresh starts, PGD on -E  | CE(x_adv) + w BCE(-E(x), -E(x_neg))         |
| igebm      | x                    | chain on E(x, y)         | E(x, y) - E(x_neg, y_neg) + L2              |
| flow       | x, dequantised       | -                        | -log p(x given y) / size + c CE             |

FGSM-AT and Fast are `pgd_at` with one step; Free, AWP and SAM are updates; JEM++ and SADA-JEM are `jem` with other
chains, starts and updates; RST is any of them on pseudo-labelled images. The joint methods also take v, the weight of
E(x, y) - E(x_neg, y_neg), with chains on E(x, y).
"""

from collections.abc import Callable

import tensorflow as tf

from jeat_tf.attacks.surrogates import cross_entropy, joint_energy
from jeat_tf.core.types import Attack
from jeat_tf.methods.inner import Negatives, attacked, dequantized, gaussian_noise, kl_attacked
from jeat_tf.methods.objective import (
    Objective,
    Positive,
    adversarial,
    clean,
    consistent,
    discriminated,
    joint,
    likelihood,
    perturbed,
)


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


def trades(attack: Attack, *, beta: float = 6.0) -> Objective:
    """CE(x) + beta KL(p(y | x) || p(y | x_adv)) (Zhang et al., 2019, eq. 5); start at `norms.gaussian_start`."""
    return consistent(kl_attacked(attack), beta=beta)


def weat(
    attack: Attack,
    *,
    beta: float = 6.0,
    classified: Positive = clean,
    weigh: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> Objective:
    """TRADES with each image weighed by 1 / log(1 + exp |E(x)|) (Mirza et al., 2024).

    Their WEAT_nat classifies x with beta 6, the default; WEAT_adv x_adv (`classified=perturbed`) with beta 7.

    Args:
      attack: on the KL divergence, as in TRADES.
      beta: weight of the divergence.
      classified: whose cross-entropy, `clean` or `perturbed`.
      weigh: another weight of E(x).
    """
    return consistent(kl_attacked(attack), beta=beta, classified=classified, weigh=weigh or _weat_weight)


def _weat_weight(energies: tf.Tensor) -> tf.Tensor:
    return 1.0 / tf.nn.softplus(tf.abs(energies))


def jem(
    negatives: Negatives,
    *,
    positive: Positive = clean,
    energy_weight: float = 1.0,
    joint_weight: float = 0.0,
    energy_l2: float = 0.0,
    input_noise_std: float = 0.0,
) -> Objective:
    """A joint energy-based model (Grathwohl et al., 2020): -log p(y | x) - w log p(x) - v log p(x, y)."""
    return joint(
        negatives,
        positive=positive,
        energy_weight=energy_weight,
        joint_weight=joint_weight,
        energy_l2=energy_l2,
        input_noise_std=input_noise_std,
    )


def jeat(
    attack: Attack,
    negatives: Negatives,
    *,
    positive: Positive = perturbed,
    energy_weight: float = 1.0,
    joint_weight: float = 0.0,
    energy_l2: float = 0.0,
    input_noise_std: float = 0.0,
) -> Objective:
    """Joint energy adversarial training (JEAT Algorithm 1): -log p(x_adv, y), x_adv of high E(x, y)."""
    return joint(
        negatives,
        perturb=attacked(joint_energy, attack),
        positive=positive,
        energy_weight=energy_weight,
        joint_weight=joint_weight,
        energy_l2=energy_l2,
        input_noise_std=input_noise_std,
    )


def robust_jem(
    attack: Attack,
    negatives: Negatives,
    *,
    positive: Positive = clean,
    energy_weight: float = 1.0,
    joint_weight: float = 0.0,
    energy_l2: float = 0.0,
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
        joint_weight=joint_weight,
        energy_l2=energy_l2,
        input_noise_std=input_noise_std,
    )


def dat(
    attack: Attack,
    negatives: Negatives,
    *,
    energy_weight: float = 1.0,
    energy_l2: float = 0.0,
    input_noise_std: float = 0.0,
) -> Objective:
    """Dual adversarial training: adversarial classification, and adversarial detection of `Fresh` negatives.

    After the authors' code (xuwangyin/DAT): binary cross-entropy on logsumexp f(x), no likelihood. Their negatives
    start at withdrawn web images and their net at an adversarially trained one; here they start at noise or class
    Gaussians, and the net wherever it is.
    """
    return discriminated(
        negatives,
        perturb=attacked(cross_entropy, attack),
        energy_weight=energy_weight,
        energy_l2=energy_l2,
        input_noise_std=input_noise_std,
    )


def igebm(negatives: Negatives, *, energy_l2: float = 1.0, input_noise_std: float = 0.0) -> Objective:
    """A class-conditional energy-based model (Du & Mordatch, 2019): -log p(x | y) by contrast, energies kept small.

    f(x)[y] = -E(x, y), so that its argmax classifies although no cross-entropy is trained. Chains run down E(x, y)
    (`Persistent(surrogate=joint_energy)`), and it is E(x, y) whose square is penalised; the net wants spectral
    normalisation.
    """
    return joint(
        negatives,
        energy_weight=0.0,
        joint_weight=1.0,
        class_weight=0.0,
        energy_l2=energy_l2,
        input_noise_std=input_noise_std,
    )


def flow(*, num_values: int = 256, class_weight: float = 0.01) -> Objective:
    """Maximum likelihood of a net whose logits are log p(x | y) (`models.glow`; Kingma & Dhariwal, 2018)."""
    return likelihood(dequantized(num_values), class_weight=class_weight)
