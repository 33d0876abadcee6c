"""Numbers that say how far floats may be from them: a running error analysis (Higham, 2002, "Accuracy and stability", §3.3).

A ``Running`` number holds a value in 60 digits and a bound on what the same computation in float16, float32 or float64 may
differ from it. The engine never looks inside a number, so the lines that compute with floats compute their own tolerance:
the condition of every step times the rounding of every step, neither guessed nor tuned.
"""

from __future__ import annotations

import math
import operator
from functools import wraps

import mpmath
import numpy as np
from hypothesis import reject

EXACT = mpmath.MPContext()  # a context of its own, so that its numbers can have the methods that NumPy calls on objects
EXACT.dps = 60


def _method(function):
    # What exp gives may be too large for any of them: the exponential of an exponential fills the memory.
    return lambda number: function(number) if number < 1e6 else reject()


for _name in ("exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "sqrt"):
    setattr(EXACT.mpf, _name, _method(getattr(EXACT, _name)))

FUNCTION = (
    8  # roundings' worth in exp, log, tanh, sin, ** and their like: the SIMD loops of NumPy's promise 4 units in the last place
)


def exact(array) -> np.ndarray:
    """The same numbers in 60 digits."""
    return _each(lambda number: EXACT.mpf(float(number)), array)


def running(dtype) -> type[Running]:
    """The kind of number that stands for floats of ``dtype``; a new one each time, so that ``outside`` belongs to one run."""
    info = np.finfo(dtype)
    return _kind(float(info.eps) / 2, float(info.smallest_subnormal), float(info.max))


def fine() -> type[Running]:
    """As if floats had 40 digits: for what holds in exact arithmetic, even where float64 would have lost every digit."""
    return _kind(1e-40, 0.0, 1e300)


def _kind(unit, tiny, largest) -> type[Running]:
    return type("Running", (Running,), {"__slots__": (), "outside": False, "unit": unit, "tiny": tiny, "largest": largest})


def _lifted(operation):
    """Take plain numbers as Running ones, and leave arrays to NumPy."""

    @wraps(operation)
    def lifted(self, other):
        if isinstance(other, np.ndarray):
            return NotImplemented
        return operation(self, other if isinstance(other, Running) else type(self)(other))

    return lifted


def _comparison(compare):
    def method(self, other):
        return NotImplemented if isinstance(other, np.ndarray) else compare(self._difference(other), 0)

    return method


class Running:
    """value: what the result is; error: at most how far off it floats are; size: of the partial sums, in any order."""

    __slots__ = ("error", "size", "value")

    def __init__(self, value, error=0.0, size=None):
        self.value = EXACT.convert(value)
        self.error = error
        self.size = abs(float(self.value)) + error if size is None else size

    @classmethod
    def of(cls, array) -> np.ndarray:
        return _each(lambda number: number if isinstance(number, Running) else cls(float(number)), array)

    @classmethod
    def rounded(cls, value, error, roundings=1, size=None) -> Running:
        """What an operation gives: the error that its inputs bring along, and its own, in proportion to the result."""
        result = cls(value, error, size)
        # Where numbers are subnormal, rounding is to a multiple of the smallest of them.
        result.error += roundings * (cls.unit * result.size + cls.tiny)
        return result if result.size + result.error <= cls.largest else cls.lost()

    @classmethod
    def lost(cls) -> Running:
        """A number of which floats know nothing: it may be infinite, or not a number."""
        cls.outside = True
        return cls(0, math.inf)

    @_lifted
    def __add__(self, other):
        return self.rounded(self.value + other.value, self.error + other.error, size=self.size + other.size)

    @_lifted
    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __neg__(self):
        return type(self)(-self.value, self.error, self.size)

    @_lifted
    def __mul__(self, other):
        a, b = abs(float(self.value)), abs(float(other.value))
        return self.rounded(self.value * other.value, a * other.error + b * self.error + self.error * other.error)

    __radd__, __rmul__ = __add__, __mul__

    @_lifted
    def __truediv__(self, other):
        nearest = abs(float(other.value)) - other.error
        if not nearest > 0:
            return self.lost()
        value = self.value / other.value
        return self.rounded(value, (self.error + abs(float(value)) * other.error) / nearest)

    @_lifted
    def __rtruediv__(self, other):
        return other / self

    def __pow__(self, exponent):
        if isinstance(exponent, np.ndarray):
            return NotImplemented
        if isinstance(exponent, Running):  # as if by way of the logarithm, which is no better than the power itself
            by_logarithm = (exponent * self.log()).exp()
            return self.rounded(by_logarithm.value, by_logarithm.error, FUNCTION)
        if exponent == 0:
            return self.rounded(1, 0.0)
        a = abs(float(self.value))
        if (exponent < 0 and not a > self.error) or (exponent % 1 and not float(self.value) > self.error):
            return self.lost()
        steepest = float(EXACT.mpf(a + self.error if exponent >= 1 else a - self.error) ** (exponent - 1))
        return self.rounded(self.value**exponent, abs(exponent) * steepest * self.error, FUNCTION)

    def sqrt(self):
        nearest = float(self.value) - self.error
        if (self.error and not nearest > 0) or nearest < 0:
            return self.lost()
        root = EXACT.sqrt(self.value)
        return self.rounded(root, self.error / (float(root) + math.sqrt(nearest)) if self.error else 0.0)

    def exp(self):
        if not self.value + self.error < 700 or not self.error < 700:
            return self.lost()
        value = EXACT.exp(self.value)
        return self.rounded(value, float(value) * math.expm1(self.error), FUNCTION)

    def expm1(self):
        if not self.value + self.error < 700 or not self.error < 700:
            return self.lost()
        return self.rounded(EXACT.expm1(self.value), float(EXACT.exp(self.value)) * math.expm1(self.error), FUNCTION)

    def log1p(self):
        beyond = 1 + float(self.value)
        if not beyond > self.error:
            return self.lost()
        return self.rounded(EXACT.log1p(self.value), -math.log1p(-self.error / beyond), FUNCTION)

    def log(self):
        if not float(self.value) > self.error:
            return self.lost()
        return self.rounded(EXACT.log(self.value), -math.log1p(-self.error / float(self.value)), FUNCTION)

    def tanh(self):
        return self.rounded(EXACT.tanh(self.value), self.error, FUNCTION)

    def sin(self):
        return self.rounded(EXACT.sin(self.value), min(self.error, 2.0), FUNCTION)

    def cos(self):
        return self.rounded(EXACT.cos(self.value), min(self.error, 2.0), FUNCTION)

    def _difference(self, other):
        """From ``other``, if its sign is beyond doubt; a float that may be on either side proves nothing."""
        if self is other:  # as the largest of an array is one of its numbers
            return 0
        value, error = (other.value, other.error) if isinstance(other, Running) else (other, 0)
        difference, error = self.value - value, self.error + error
        if error and not abs(float(difference)) > error:
            reject()
        return difference

    __lt__, __le__, __gt__, __ge__ = (_comparison(compare) for compare in (operator.lt, operator.le, operator.gt, operator.ge))
    __eq__, __ne__ = _comparison(operator.eq), _comparison(operator.ne)
    __hash__ = None

    def __abs__(self):
        return type(self)(abs(self.value), self.error, self.size)

    def __repr__(self):
        return f"{EXACT.nstr(self.value, 20)} ± {self.error:.2g}"


def assert_within(got, bounds, factor=1) -> None:
    """Floats are where their running error analysis says, or within ``factor`` times as far; a lost number claims nothing."""
    got, bounds = np.asarray(got), np.asarray(bounds, dtype=object)
    assert got.shape == bounds.shape, f"{got.shape} is not {bounds.shape}"
    for index, bound in np.ndenumerate(bounds):
        if isinstance(bound, Running) and bound.error < math.inf:
            number = float(got[index])
            assert math.isfinite(number), f"{list(index)}: {number} is not {bound}"
            away = abs(float(EXACT.mpf(number) - bound.value))
            assert away <= factor * bound.error, f"{list(index)}: {number!r} is not {bound}, but {away:.2g} away"
        elif not isinstance(bound, Running):
            assert got[index] == bound  # a number that no leaf has touched: the 0 of an empty sum


def errors(bounds) -> np.ndarray:
    """The bounds themselves."""
    return np.asarray(_each(lambda bound: getattr(bound, "error", 0.0), bounds), dtype=float)


def assert_negligible(difference) -> None:
    """Zero in exact arithmetic: what 60 digits leave is nothing to the error that ``fine`` numbers of 40 digits would have."""
    for d in np.asarray(difference).flat:
        assert not isinstance(d, Running) or abs(float(d.value)) <= 1e-15 * d.error, d


def _each(function, array) -> np.ndarray:
    array = np.asarray(array)
    result = np.empty(array.shape, dtype=object)
    for index, number in np.ndenumerate(array):
        result[index] = function(number)
    return result
