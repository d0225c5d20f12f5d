from .recipes.dat import DAT
from .recipes.der import DER
from .recipes.flow import Flow
from .recipes.igebm import IGEBM
from .recipes.jeat import JEAT
from .recipes.jem import JEM
from .recipes.jem_dsm import JEMDSM
from .recipes.noise import Noise
from .recipes.pgd_at import PGDAT
from .recipes.pre_jeat import PreJEAT
from .recipes.robust_jem import RobustJEM
from .recipes.standard import Standard
from .recipes.trades import TRADES
from .recipes.weat import WEAT
from .updates import AWP, SAM, Free

__all__ = [
    "AWP",
    "DAT",
    "DER",
    "Flow",
    "Free",
    "IGEBM",
    "JEAT",
    "JEM",
    "JEMDSM",
    "Noise",
    "PGDAT",
    "PreJEAT",
    "RobustJEM",
    "SAM",
    "Standard",
    "TRADES",
    "WEAT",
]
