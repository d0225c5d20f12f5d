"""The methods, one file each: which inner problem, which loss.

| method     | x_adv                | x_neg                    | loss                                        |
|------------|----------------------|--------------------------|---------------------------------------------|
| standard   | x                    | -                        | CE(x)                                       |
| noise      | x + N(0, std^2)      | -                        | CE(x_adv)                                   |
| pgd_at     | attack on CE         | -                        | CE(x_adv)                                   |
| der        | attack on CE         | -                        | CE(x_adv) + beta (E(x) - E(x_adv))^2        |
| pre_jeat   | attack on E(x, y)    | -                        | CE(x_adv)                                   |
| trades     | attack on KL         | -                        | CE(x) + beta KL                             |
| weat       | attack on KL         | -                        | the same, times 1 / softplus of abs E(x)    |
| jem        | x                    | chain on E(x)            | CE(x) + w (E(x) - E(x_neg))                 |
| jem_dsm    | x + N(0, t^2)        | -                        | CE(x) + w denoising score matching of E(x)  |
| jeat       | attack on E(x, y)    | chain on E(x)            | CE(x_adv) + w (E(x_adv) - E(x_neg))         |
| robust_jem | attack on CE         | chain on E(x)            | CE(x_adv) + w (E(x) - E(x_neg))             |
| dat        | attack on CE         | fresh starts, climbing   | CE(x_adv) + w BCE(-E(x), -E(x_neg))         |
| igebm      | x                    | chain on E(x, y)         | E(x, y) - E(x_neg, y_neg) + L2              |
| flow       | x, dequantised       | -                        | -log p(x given y) / size + c CE             |

FGSM-AT and Fast are `PGDAT` with one step; Free, AWP and SAM are updates; JEM++ and SADA-JEM are `JEM` with other
chains, starts and updates; RST is any of them on pseudo-labelled images. The contrastive methods also take v, the
weight of E(x, y) - E(x_neg, y_neg), with chains on E(x, y).

A file in this folder is a method: nothing else lists them.
"""

import functools
import importlib
import pkgutil

from jeat_tf.methods.base import Method


@functools.cache
def methods() -> dict[str, type[Method]]:
    """All methods of this folder by the word that the command line knows them by."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    found = [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Method) and kind.word and kind.__module__ == module.__name__
    ]
    return {kind.word: kind for kind in sorted(found, key=lambda kind: kind.word)}
