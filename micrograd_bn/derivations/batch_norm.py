"""Batch normalisation: thirteen numbered equations and six gradients, with the source's numbers.

Source: Aritra Roy Gosthipaty, "Back propagation in BatchNorm", 12 August 2020. (1) to (4) are the forward pass and stand in
``batchnorm``; (5) to (13) are the local derivatives, one for each edge between the seven variables, each a partial derivative with
the function's other arguments held fixed. They are written by hand, for they are the claim that is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..arguments import checked
from ..batchnorm import mean, normalize, normalized, scale_shift, variance
from ..derivation import Derivation, Edge, Formula, Gradient, Mistake
from ..engine import Tensor
from ..kinds import Value, as_data, explains_kinds
from ..primitives import shared, sqrt
from ..shapes import Axis, count, shape

# ---- (5) to (13). Each takes the gradient of the edge's output and returns the term for its input, not yet summed over the
# batch; the local derivative itself stands in parentheses.


def y_to_x_hat(dy: Value, gamma: Value) -> Value:
    """(5): ∂y/∂x_hat = gamma."""
    return dy * (gamma)


def y_to_beta(dy: Value) -> Value:
    """(6): ∂y/∂beta = 1."""
    return dy * (1)


def y_to_gamma(dy: Value, x_hat: Value) -> Value:
    """(7): ∂y/∂gamma = x_hat."""
    return dy * (x_hat)


def x_hat_to_var(dx_hat: Value, x: Value, mu: Value, var: Value, eps: Value) -> Value:
    """(8): ∂x_hat/∂var = −½ (x − mu) (var + eps)^(−3/2), in two divisions: the −3/2 alone leaves float16's range."""
    return dx_hat * (-(x - mu) / (2 * sqrt(var + eps)) / (var + eps))


def var_to_mu(dvar: Value, x: Value, mu: Value, axis: Axis) -> Value:
    """(9): ∂var/∂mu = 1/m Σ −2 (x − mu)."""
    return dvar * ((-2 * (x - mu)).mean(axis=axis, keepdims=True))


def x_hat_to_mu(dx_hat: Value, var: Value, eps: Value) -> Value:
    """(10): ∂x_hat/∂mu = −1 / √(var + eps)."""
    return dx_hat * (-1 / sqrt(var + eps))


def mu_to_x(dmu: Value, x: Value, axis: Axis) -> Value:
    """(11): ∂mu/∂x = 1/m; divided, because 1/m would be a float and not every number mixes with those."""
    return shared(dmu, x, axis)


def var_to_x(dvar: Value, x: Value, mu: Value, axis: Axis) -> Value:
    """(12): ∂var/∂x = 2/m (x − mu)."""
    return dvar * (shared(2 * (x - mu), x, axis))


def x_hat_to_x(dx_hat: Value, var: Value, eps: Value) -> Value:
    """(13): ∂x_hat/∂x = 1 / √(var + eps)."""
    return dx_hat * (1 / sqrt(var + eps))


# ---- What follows from the thirteen: the three terms of dx collected


def d_x_condensed(dx_hat: Value, x: Value, x_hat: Value, var: Value, eps: Value, axis: Axis) -> Value:
    """What frameworks hard-code: the three terms of dx, collected. The sums are over the batch."""
    m = count(x, axis)
    sums = dx_hat.sum(axis=axis, keepdims=True) + x_hat * (dx_hat * x_hat).sum(axis=axis, keepdims=True)
    return (m * dx_hat - sums) / (m * sqrt(var + eps))


# ---- The table

EDGES = (
    Edge(5, "y", "x_hat", function=y_to_x_hat),
    Edge(6, "y", "beta", function=y_to_beta),
    Edge(7, "y", "gamma", function=y_to_gamma),
    Edge(8, "x_hat", "var", function=x_hat_to_var),
    Edge(9, "var", "mu", function=var_to_mu),
    Edge(10, "x_hat", "mu", function=x_hat_to_mu),
    Edge(11, "mu", "x", function=mu_to_x),
    Edge(12, "var", "x", function=var_to_x),
    Edge(13, "x_hat", "x", function=x_hat_to_x),
)

# ---- What people get wrong in it, beyond what follows from the formulas

PLACES = {3: "x̂, equation (3)", 8: "∂x̂/∂σ², equation (8)", 10: "∂x̂/∂μ, equation (10)", 11: "∂μ/∂x, equation (11)"}
PLACES |= {12: "∂σ²/∂x, equation (12)", 13: "∂x̂/∂x, equation (13)"}
POWERS = {3: 1, 8: 3, 10: 1, 13: 1}  # of √(σ² + ε), by which these divide
ROOTS: tuple[tuple[str, Formula], ...] = (  # what stands for √(σ² + ε)
    ("ε is forgotten", lambda var, eps: sqrt(var)),
    ("ε is always 1e-5, not the one that was passed,", lambda var, eps: sqrt(var + 1e-5)),
    ("ε is added to σ, after the root,", lambda var, eps: sqrt(var) + eps),
    ("the square root is forgotten", lambda var, eps: var + eps),
)


def _with_root(number: int, other: Formula) -> Formula:
    """The formula with something else for √(σ² + ε)."""
    return lambda term, var, eps: term * (sqrt(var + eps) / other(var, eps)) ** POWERS[number]


def _times_m(term: Value, x: Value, axis: Axis) -> Value:
    return term * count(x, axis)


def _unbiased(term: Value, x: Value, axis: Axis) -> Value:
    m = count(x, axis)
    return term * m / (m - 1)


def _divided(term: Value, var: Value, eps: Value) -> Value:
    return term / sqrt(var + eps)


def _multiplied(term: Value, var: Value, eps: Value) -> Value:
    return term * sqrt(var + eps)


def mistakes_in(over: str, elsewhere: str, other_axis: Axis, m: str = "m") -> list[Mistake]:
    """The mistakes in these equations with statistics ``over`` some axes, of ``m`` numbers, and not over ``other_axis``, which is
    ``elsewhere``."""
    share = f"1/({m})" if " " in m else f"1/{m}"
    unbiased, no_mean = f"the variance divides by {m} − 1, not by {m}, in equation", f"the variance lacks its {share} in equation"
    no_9 = {9: lambda term: term * 0}  # whoever leaves it out takes Σ (x − μ) for 0, which it is not with such a μ
    along: dict[Any, Formula] = {  # every equation with an axis, along another
        1: lambda x: mean(x, other_axis),
        2: lambda x, mu: variance(x, mu, other_axis),
        9: lambda dvar, x, mu: var_to_mu(dvar, x, mu, other_axis),
        11: lambda dmu, x: mu_to_x(dmu, x, other_axis),
        12: lambda dvar, x, mu: var_to_x(dvar, x, mu, other_axis),
        "x": lambda dx_hat, x, x_hat, var, eps: d_x_condensed(dx_hat, x, x_hat, var, eps, other_axis),
    }
    sums: dict[int, Formula] = dict.fromkeys((8, 10), lambda term: term.sum(axis=other_axis, keepdims=True))
    sums[9] = lambda term: term

    def statistics(what: str, wrong: Axis) -> Iterator[Mistake]:
        """They are over other axes: one or both, and what is squared in σ² with it, or as it should be."""
        mu: dict[Any, Formula] = {1: lambda x: mean(x, wrong)}
        var: dict[Any, Formula] = {2: lambda x, mu: variance(x, mu, wrong)}
        mu_alone = mu | {2: lambda x, axis: variance(x, mean(x, axis), axis)}
        var_with_mu: dict[Any, Formula] = {2: lambda x: variance(x, mean(x, wrong), wrong)}
        for which, where, formulas in (
            ("μ and σ² are", "equations (1) and (2)", mu | var),
            ("μ is", "equation (1)", mu),
            ("μ is", "equation (1)", mu_alone),
            ("σ² is", "equation (2)", var),
            ("σ² is", "equation (2)", var_with_mu),
        ):
            for without in ({}, no_9):
                yield Mistake(f"{which} taken over {what} {where}", formulas | without)

    return [
        Mistake(
            "dx takes μ and σ² for constants: it lacks the paths through them, equations (11) and (12)",
            dict.fromkeys((11, 12), lambda term: term * 0),
        ),
        Mistake(f"the power is −½, not −3/2, in {PLACES[8]}", {8: lambda term, var, eps: term * (var + eps)}),
        Mistake(f"the power is −1, not −3/2, in {PLACES[8]}", {8: _multiplied}),
        Mistake(f"x̂ stands for x − μ in {PLACES[8]}", {8: _divided}),
        *(Mistake(f"γ is forgotten (dy stands for dx̂) in {PLACES[n]}", {n: lambda term, gamma: term / gamma}) for n in (8, 10, 13)),
        *(Mistake(f"{what} in {PLACES[n]}", {n: _with_root(n, other)}) for what, other in ROOTS for n in POWERS),
        *(Mistake(f"{what} wherever √(σ² + ε) stands", {n: _with_root(n, other) for n in POWERS}) for what, other in ROOTS),
        Mistake(
            "ε is added to σ, after the root, in equation (3) and in its derivatives",
            {n: _with_root(n, ROOTS[2][1]) for n in (3, 10, 13)}
            | {8: lambda term, var, eps: term * sqrt(var + eps) ** 3 / (sqrt(var) * (sqrt(var) + eps) ** 2)},
        ),
        Mistake(f"{unbiased} (2)", {2: _unbiased}),
        Mistake(f"{unbiased}s (2) and (12)", dict.fromkeys((2, 12), _unbiased)),
        Mistake(f"{no_mean} (2)", {2: _times_m}),
        Mistake(f"{no_mean}s (2) and (12)", dict.fromkeys((2, 12), _times_m)),
        Mistake("σ stands for σ² in equation (2)", {2: lambda term: sqrt(term)}),
        Mistake(f"μ and σ² are taken over {elsewhere}, not over {over}, equations (1) and (2)", along, sums),
        *statistics(f"everything (no axis), not only over {over},", None),
        *statistics(f"{elsewhere}, not over {over},", other_axis),
        Mistake(f"a {share} is missing in all of dx", dict.fromkeys((11, 12, 13), _times_m)),
        Mistake(f"there is {m} − 1 for {m} in all of dx", dict.fromkeys((11, 12, 13), _unbiased)),
        Mistake("the division by √(σ² + ε) is missing in all of dx", dict.fromkeys((11, 12, 13), _multiplied)),
        Mistake("the square root is forgotten in all of dx", dict.fromkeys((11, 12, 13), _divided)),
        Mistake(
            "it is multiplied by √(σ² + ε), not divided, in all of dx",
            dict.fromkeys((11, 12, 13), lambda term, var, eps: term * (var + eps)),
        ),
        Mistake(
            "right where a column's mean is small; where it is large against σ, digits are lost, as E[x²] − E[x]² loses them",
            {2: lambda x, axis: (x**2).mean(axis=axis, keepdims=True) - x.mean(axis=axis, keepdims=True) ** 2},
            loses_digits=True,
        ),
    ]


# The condensed form as people write it goes on with dγ and dβ, where the derivation goes on with dσ² and dμ.
FORMS: dict[str, dict[int, Formula]] = {
    "the condensed form": {
        12: lambda gamma, x_hat, dgamma, x, var, eps, axis: -gamma * x_hat * dgamma / (count(x, axis) * sqrt(var + eps)),
        11: lambda gamma, dbeta, x, var, eps, axis: -gamma * dbeta / (count(x, axis) * sqrt(var + eps)),
    }
}


def _check(values: dict[str, Value]) -> None:
    """What ``batch_norm`` says of bad arguments; and where σ² + ε is 0, equation (3) has no value."""
    x, _, _ = checked(*(values[name] for name in ("x", "gamma", "beta", "eps", "axis")))
    if isinstance(x, np.ndarray) and not shape(values["eps"]) and values["eps"] == 0:
        with np.errstate(over="ignore", invalid="ignore"):
            var = variance(x, mean(x, values["axis"]), values["axis"])
        if not var.all():
            raise ZeroDivisionError(
                f"the batch is constant at statistic {np.argwhere(var == 0)[0].tolist()} and eps is 0: equation (3) divides by "
                "√(σ² + ε) = 0. Use an eps > 0"
            )


BATCH_NORM = Derivation(
    "batch norm",
    [mean, variance, normalize, scale_shift],
    EDGES,
    shapes={"gamma": "kept", "beta": "kept"},
    domains={"gamma": "scale"},
    symbols={"mu": ("μ", r"\mu_B"), "var": ("σ²", r"\sigma_B^2")},
    texts={  # the source's own forms; the rest is written from the functions
        9: ("1/m Σ −2 (x − μ)", r"\frac{\partial \sigma_B^2}{\partial \mu_B} = \frac{1}{m} \sum_{i=1}^m -2 (x_i - \mu_B)"),
        10: ("−1 / √(σ² + ε)", r"\frac{\partial \hat x_i}{\partial \mu_B} = \frac{-1}{\sqrt{\sigma_B^2 + \epsilon}}"),
        "mu": (
            "Σ dx̂ · −1/√(σ² + ε) + dσ² · 1/m Σ −2 (x − μ)",
            r"d\mu_B = \sum_{i=1}^m d\hat x_i \cdot \frac{-1}{\sqrt{\sigma_B^2 + \epsilon}}"
            r" + d\sigma_B^2 \cdot \frac{1}{m} \sum_{i=1}^m -2 (x_i - \mu_B)",
        ),
        "x": (
            "dx̂ / √(σ² + ε) + dσ² · 2/m (x − μ) + dμ · 1/m",
            r"dx_i = d\hat x_i \cdot \frac{1}{\sqrt{\sigma_B^2 + \epsilon}}"
            r" + d\sigma_B^2 \cdot \frac{2}{m} (x_i - \mu_B) + d\mu_B \cdot \frac{1}{m}",
        ),
    },
    condensed=[
        Gradient(
            (13, 12, 11),
            "x",
            "γ (m dy − dβ − x̂ dγ) / (m √(σ² + ε))",
            r"dx_i = \frac{\gamma}{m \sqrt{\sigma_B^2 + \epsilon}} \left( m \, dy_i - d\beta - \hat x_i \, d\gamma \right)",
            d_x_condensed,
        ),
    ],
    forms=FORMS,
    mistakes=mistakes_in("the batch (axis 0)", "the features (axis 1)", 1),
    check=_check,
)


class Gradients(NamedTuple):
    """The gradients of the loss with respect to each variable but y, in the order in which they are derived.

    >>> Gradients._fields
    ('x_hat', 'gamma', 'beta', 'var', 'mu', 'x')
    """

    x_hat: Value
    gamma: Value
    beta: Value
    var: Value
    mu: Value
    x: Value


@explains_kinds
def batch_norm_backward(dy: Value, x: Value, gamma: Value, eps: Value = 1e-5, axis: int | tuple[int, ...] = 0) -> Gradients:
    """The backward pass of ``batch_norm`` as derived on paper: no engine, on any kind of number, Tensors included.

    dy is the upstream gradient, of x's shape; x, gamma, eps and axis are ``batch_norm``'s, and raise the same errors. The
    gradients have their variables' shapes (mu and var keep the reduced axes as size 1); beta is taken to be of gamma's shape.

    >>> import numpy as np
    >>> gradients = batch_norm_backward(np.array([1.0, 0.0, 0.0]), np.array([1.0, 2.0, 6.0]), gamma=1.0)
    >>> gradients.x.round(4)
    array([ 0.1763, -0.2204,  0.0441])
    """
    x, gamma, _ = checked(x, gamma, 0, eps, axis)
    dy = dy if isinstance(dy, Tensor) else as_data(dy)
    if shape(dy) != shape(x):
        raise ValueError(f"dy is the gradient of y, so it has x's shape {shape(x)}, and this has {shape(dy)}")
    mu, var, x_hat = normalized(x, eps, axis)
    known = {"x": x, "gamma": gamma, "beta": gamma, "mu": mu, "var": var, "x_hat": x_hat, "y": x_hat, "eps": eps, "axis": axis}
    return Gradients(**BATCH_NORM.backward(dy, **known))  # of y and beta only the shapes count
