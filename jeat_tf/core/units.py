"""Units: everything inside the package is in [0, 1] pixels; this module is the way in.

JEM and its descendants feed images in [-1, 1]. With u = 2 x - 1 a chain u <- u - s dE/du + n N(0, 1) is, in
pixels, x <- x - (s / 4) dE/dx + (n / 2) N(0, 1): lengths halve, and a step that multiplies a gradient halves
twice. Mixing the two has spoiled published comparisons by a factor of two in epsilon.
"""

from fractions import Fraction


def number(text: str | float) -> float:
    """The float of "8/255", "0.03" or 0.03.

    Raises:
      ValueError: the text is neither a decimal number nor a fraction.
    """
    if isinstance(text, (int, float)):
        return float(text)
    try:
        if "/" in text:
            numerator, denominator = text.split("/")
            return float(numerator) / float(denominator)
        return float(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f'expected a number such as 0.03 or 8/255, received "{text}"') from None


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of a comma-separated list; empty for an empty text."""
    return tuple(number(part.strip()) for part in text.split(",") if part.strip())


def fraction_of_255(value: float) -> str:
    """ "8/255" for 8 / 255; the plain number for 0.2, for what is no whole multiple of 1/255, and from 1 on."""
    scaled = Fraction(value * 255).limit_denominator(10**6)
    in_255ths = scaled.denominator == 1 and value < 1 and value != round(value, 1)
    return f"{scaled.numerator}/255" if in_255ths else f"{value:g}"


def length_from_symmetric(value: float) -> float:
    """A length (epsilon, noise standard deviation) given for [-1, 1] images, in [0, 1] pixels."""
    return value / 2


def gradient_step_from_symmetric(value: float) -> float:
    """The factor in front of an energy gradient given for [-1, 1] images, for [0, 1] pixels."""
    return value / 4


def gradient_bound_from_symmetric(value: float) -> float:
    """A bound on the entries of an energy gradient given for [-1, 1] images, for [0, 1] pixels."""
    return value * 2
