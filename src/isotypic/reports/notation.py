"""How numbers are written on the page: one spelling for percentages, intervals, factors and durations."""

from __future__ import annotations

import math

from isotypic.studies.statistics import Interval, LabelWorth, Worth

MINUS = "\u2212"
THIN = "\u202f"
NOTHING = "\u2013"


def signed(value: float, digits: int = 1) -> str:
    """Return a number with its sign and a true minus; what rounds to zero has no sign.

    >>> signed(0.031 * 100), signed(-0.02), signed(-0.5)
    ('+3.1', '0.0', '−0.5')
    """
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else MINUS) + text


def plain(value: float, digits: int = 1) -> str:
    """Return a number with a true minus where it is negative.

    >>> plain(-0.52), plain(0.52)
    ('−0.5', '0.5')
    """
    return signed(value, digits).lstrip("+")


def percent(share: float, digits: int = 1) -> str:
    """Return a share of one in percent, without the sign.

    >>> percent(0.8734)
    '87.3'
    """
    return f"{100 * share:.{digits}f}"


def half_width(interval: Interval) -> str:
    """Return half the interval's width in percentage points, as it stands after "±".

    >>> half_width(Interval(0.5, 0.48, 0.53))
    '2.5'
    """
    return percent((interval.high - interval.low) / 2)


def points(interval: Interval) -> str:
    """Return an interval of differences in percentage points, "2.1 to 4.4".

    >>> points(Interval(0.03, -0.001, 0.044))
    '−0.1 to 4.4'
    """
    return f"{plain(100 * interval.low)} to {plain(100 * interval.high)}"


def factor(value: float) -> str:
    """Return a factor with two or three digits that count.

    >>> factor(2.58), factor(0.333), factor(12.4)
    ('2.6', '0.33', '12')
    """
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def bounded(worth: Worth) -> str:
    """Return a worth as it stands in an interval: "2.0", "more than 3.3" or "less than 0.33".

    >>> bounded(Worth(10 / 3, "at least"))
    'more than 3.3'
    """
    word = {"equal": "", "at least": "more than ", "at most": "less than "}[worth.bound]
    return word + factor(worth.factor)


def ends(worth: LabelWorth) -> str:
    """Return the interval of a worth, "2.0 to 3.4"; one bound where both ends lie beyond the sizes tried.

    >>> beyond = Worth(1.0, "at least")
    >>> ends(LabelWorth(100, beyond, beyond, beyond))
    'more than 1.0'
    """
    low, high = bounded(worth.low), bounded(worth.high)
    return low if low == high and worth.low.bound != "equal" else f"{low} to {high}"


def count(value: float) -> str:
    """Return a whole number with separated thousands; a mean that is not whole keeps one digit.

    >>> count(12345), count(61.25)
    ('12,345', '61.2')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def duration(seconds: float) -> str:
    """Return seconds as a reader says them.

    >>> duration(3.21), duration(150), duration(7300)
    ('3.2 s', '2.5 min', '2.0 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def scientific(value: float) -> str:
    """Return a number with two digits that count, and with its power of ten where it is small or large.

    >>> scientific(3.2e-15), scientific(0.0), scientific(0.52)
    ('3.2 × 10⁻¹⁵', '0', '0.52')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    if 0.01 <= abs(value) < 100:
        return f"{value:#.2g}".rstrip(".")
    exponent = math.floor(math.log10(abs(value)))
    return f"{value / 10**exponent:.1f} × {power_of_ten(exponent)}"


def number(value: float) -> str:
    """Return a number of any scale with three digits that count, without a power of ten where it is readable so.

    >>> number(167.06), number(0.2549), number(12345), number(2e-9), number(0)
    ('167', '0.255', '12,345', '2.0 × 10⁻⁹', '0')
    """
    if not 1e-3 <= abs(value) < 1e6:
        return scientific(value)
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}".replace("-", MINUS)


def power_of_ten(exponent: int) -> str:
    """Return a power of ten in plain characters.

    >>> power_of_ten(-3)
    '10⁻³'
    """
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def capital(text: str) -> str:
    """Return a text that begins with a capital letter; the others stay as they are.

    >>> capital("accuracy"), capital("AP at IoU .5")
    ('Accuracy', 'AP at IoU .5')
    """
    return text[:1].upper() + text[1:]


def enumeration(words: list[str]) -> str:
    """Return words as a list within a sentence.

    >>> enumeration(["100", "300", "1,000"])
    '100, 300 and 1,000'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
