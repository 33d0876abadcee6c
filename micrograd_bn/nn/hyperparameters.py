"""Hyperparameters are plain numbers in their range, whatever computed them: a np.float64 would make float64 of float32. Sizes are
integers from 1 on."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from operator import index
from typing import Any, NamedTuple

import numpy as np


class Range(NamedTuple):
    """The numbers that a hyperparameter may be, in words and as a test."""

    words: str
    contains: Callable[[float], bool]


FINITE = Range("finite", math.isfinite)
NOT_NEGATIVE = Range("0 or more and finite", lambda number: 0 <= number < math.inf)
BELOW_1 = Range("0 or more and below 1", lambda number: 0 <= number < 1)
UP_TO_1 = Range("from 0 to 1", lambda number: 0 <= number <= 1)


def plain(name: str, value: Any, within: Range, why: str = "") -> float:
    """``value`` as Python's float. Raises TypeError if it is no number, ValueError if it is out of range, and ``why``.

    >>> plain("lr", np.float64(0.1), NOT_NEGATIVE)
    0.1
    """
    number = value.item() if isinstance(value, np.ndarray) and value.shape == () else value
    if not isinstance(number, Real):
        advice = ": pass its item()" if hasattr(value, "item") else ""
        raise TypeError(f"{name} is {value!r}, and should be a number{advice}")
    number = float(number)
    if not within.contains(number):
        raise ValueError(f"{name} is {number}, and should be {within.words}" + (f": {why}" if why else ""))
    return number


def size(name: str, value: Any) -> int:
    """``value`` as Python's int. Raises TypeError if it is no integer, ValueError if it is below 1.

    >>> size("num_features", np.int64(3))
    3
    """
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, and should be an integer") from None
    if number < 1:
        raise ValueError(f"{name} is {number}, and should be 1 or more")
    return number


class Hyperparameter:
    """An attribute that is a plain number ``within`` a range, whenever it is assigned; or None, if that is ``optional``."""

    def __init__(self, within: Range, why: str = "", *, optional: bool = False):
        self.within, self.why, self.optional = within, why, optional

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else vars(instance)[self.name]

    def __set__(self, instance: Any, value: Any) -> None:
        if value is not None or not self.optional:
            value = plain(f"{type(instance).__name__}'s {self.name}", value, self.within, self.why)
        vars(instance)[self.name] = value
