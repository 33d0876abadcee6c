"""check_backward and gradcheck: what is right passes, however it is written, and what is wrong is told why."""

import html
import inspect
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, batch_norm_backward, cli
from micrograd_bn.check import Check, Row, check_backward, gradcheck
from micrograd_bn.mistakes import MISTAKES, backward, forward

# ---- The same backward pass, as five people write it.


def derived(dy, x, gamma, beta, eps):
    """As in the derivation, gradient by gradient."""
    m = len(x)
    mu = np.sum(x, axis=0) / m
    var = np.sum((x - mu) ** 2, axis=0) / m
    x_hat = (x - mu) / np.sqrt(var + eps)
    dx_hat = dy * gamma
    dgamma = np.sum(dy * x_hat, axis=0)
    dbeta = np.sum(dy, axis=0)
    dvar = np.sum(dx_hat * -0.5 * (x - mu) * (var + eps) ** -1.5, axis=0)
    dmu = np.sum(dx_hat * -1 / np.sqrt(var + eps), axis=0) + dvar * np.mean(-2 * (x - mu), axis=0)
    dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / m + dmu / m
    return {"dx_hat": dx_hat, "dgamma": dgamma, "dbeta": dbeta, "dvar": dvar, "dmu": dmu, "dx": dx}


def condensed(dy, x, gamma, beta, eps):
    """The three terms of dx collected, as frameworks have it."""
    m, deviation = x.shape[0], np.std(x, axis=0)
    root = np.hypot(deviation, np.sqrt(eps)).astype(x.dtype)
    x_hat = (x - np.mean(x, axis=0)) / root
    dbeta, dgamma = dy.sum(0), (dy * x_hat).sum(0)
    return gamma / (m * root) * (m * dy - dbeta - x_hat * dgamma), dgamma, dbeta


def staged(dy, x, gamma, beta, eps):
    """A node at a time, twelve forward and twelve back, as in F. Kratzert's post on batch normalisation (2016)."""
    m, k = x.shape
    mu = 1.0 / m * x.sum(axis=0)
    centered = x - mu
    square = centered**2
    var = 1.0 / m * square.sum(axis=0)
    root = np.sqrt(var + eps)
    inverse = 1.0 / root
    x_hat = centered * inverse
    # out = gamma * x_hat + beta; from here on backwards
    dbeta = dy.sum(axis=0)
    dscaled = dy
    dgamma = (dscaled * x_hat).sum(axis=0)
    dx_hat = dscaled * gamma
    dinverse = (dx_hat * centered).sum(axis=0)
    dcentered = dx_hat * inverse
    droot = -1.0 / root**2 * dinverse
    dvar = 0.5 / np.sqrt(var + eps) * droot
    dsquare = 1.0 / m * np.ones((m, k), dtype=x.dtype) * dvar
    dcentered = dcentered + 2 * centered * dsquare
    dmu = -1 * dcentered.sum(axis=0)
    dx = dcentered + 1.0 / m * np.ones((m, k), dtype=x.dtype) * dmu
    return {"x": dx, "mu": dmu, "var": dvar, "gamma": dgamma, "beta": dbeta}


def with_keepdims(dy, x, gamma, beta, eps):
    """As a user of torch writes it; centred in two steps, and a variance that is spelled out."""
    mean = x.mean(0, keepdims=True)
    rstd = (((x - mean) ** 2).mean(0, keepdims=True) + eps) ** -0.5
    x_hat = (x - mean) * rstd
    grad_x_hat = dy * gamma
    grad_weight, grad_bias = (dy * x_hat).sum(0, keepdims=True), dy.sum(0, keepdims=True)
    grad_input = rstd * (grad_x_hat - grad_x_hat.mean(0, keepdims=True) - x_hat * (grad_x_hat * x_hat).mean(0, keepdims=True))
    return Named(grad_input, grad_weight, grad_bias)


class Named(NamedTuple):
    x: object
    dgamma: object
    dbeta: object


def by_engine(dy, x, gamma, beta, eps):
    """No derivation at all."""
    x, gamma, beta = Tensor(x), Tensor(gamma), Tensor(beta)
    batch_norm(x, gamma, beta, eps).backward(dy)
    return x.grad, gamma.grad, beta.grad


def on_paper(dy, x, gamma, beta, eps):
    return batch_norm_backward(dy, x, gamma, eps)


STYLES = (derived, condensed, staged, with_keepdims, by_engine, on_paper)
SIX = ["x_hat", "gamma", "beta", "var", "mu", "x"]
RETURNED = {derived: SIX, on_paper: SIX, staged: SIX[1:]}


def random_batches(n, seed):
    """Any m and k, both dtypes, any scale and offset a column; some columns constant, or nearly."""
    random = np.random.default_rng(seed)
    for _ in range(n):
        m, k = int(random.integers(1, 40)), int(random.integers(1, 9))
        dtype = random.choice(["float32", "float64"])
        scale = 10.0 ** random.uniform(-8, 6, k) * (random.random(k) < 0.9)
        offset = 10.0 ** random.uniform(-3, 6, k) * random.choice([-1, 0, 0, 1], k)
        x = random.normal(size=(m, k)) * scale + offset
        dy, gamma = (
            random.normal(size=(m, k)) * 10.0 ** random.uniform(-4, 4),
            random.normal(size=k) * 10.0 ** random.uniform(-2, 2),
        )
        eps = 10.0 ** random.uniform(-8, -1)
        yield *(a.astype(dtype) for a in (dy, x, gamma, random.normal(size=k))), eps


@pytest.mark.parametrize("style", STYLES)
def test_what_is_right_passes_in_any_style(style):
    check = check_backward(style)
    check.raise_if_wrong()
    returned = [row.variable for row in check.rows if row.verdict in ("exact", "approximate")]
    assert returned == RETURNED.get(style, ["gamma", "beta", "x"])


def test_no_false_alarm_on_a_thousand_random_batches():
    for i, style in enumerate(STYLES):
        check_backward(style, batches=random_batches(1000 // len(STYLES) + 1, seed=i)).raise_if_wrong()


def test_no_false_alarm_on_many_rows_in_float32():
    random = np.random.default_rng(0)
    batch = [
        a.astype(np.float32) for a in (random.normal(size=(20_000, 2)), random.normal(3, 1, (20_000, 2)), np.ones(2), np.ones(2))
    ]
    check_backward(derived, batches=[(*batch, 1e-5)]).raise_if_wrong()


def test_the_derivations_own_code_is_exact_and_another_order_is_approximate():
    assert {row.verdict for row in check_backward(on_paper).rows} == {"exact"}
    assert [row.verdict for row in check_backward(staged).rows] == ["not returned", *["approximate", "exact"], *["approximate"] * 3]


def test_leaving_out_equation_9_is_no_mistake():
    """Σ (x − μ) is 0, so the path from σ² to μ carries nothing."""
    check_backward(edited(derived, " + dvar * np.mean(-2 * (x - mu), axis=0)", "")).raise_if_wrong()


# ---- Mistakes, planted by changing the text of the code.


def edited(function, *changes):
    """The function with pieces of its text replaced, (old, new, old, new …)."""
    source = inspect.getsource(function)
    for old, new in zip(changes[::2], changes[1::2]):
        assert old in source, old
        source = source.replace(old, new)
    namespace = dict(globals())
    exec(source, namespace)
    return namespace[function.__name__]


# What stands there, what is put in its place, the gradient that is to blame, and what must be said of it.
PLANTED = [
    ("dx_hat = dy * gamma", "dx_hat = dy", "x_hat", "γ is forgotten in ∂y/∂x̂, equation (5)"),
    ("np.sum(dy * x_hat", "np.sum(dx_hat * x_hat", "gamma", "there is a γ too many in ∂y/∂γ, equation (7)"),
    ("np.sum(dy * x_hat", "np.sum(dy * x", "gamma", "x stands for x̂ in ∂y/∂γ, equation (7)"),
    ("np.sum(dy * x_hat", "np.sum(dy * (x - mu)", "gamma", "x − μ stands for x̂ in ∂y/∂γ, equation (7)"),
    ("np.sum(dy * x_hat, axis=0)", "dy * x_hat", "gamma", "there is no sum over the batch in ∂y/∂γ, equation (7)"),
    ("np.sum(dy, axis=0)", "np.sum(dy, axis=1)", "beta", "the sum is over the features (axis 1)"),
    ("np.sum(dy, axis=0)", "np.sum(dy)", "beta", "the sum is over everything"),
    ("np.sum(dy, axis=0)", "np.mean(dy, axis=0)", "beta", "(a mean for the sum over the batch) in ∂y/∂β, equation (6)"),
    ("np.sum(dy, axis=0)", "np.zeros_like(mu)", "beta", "it is 0 everywhere"),
    ('"dgamma": dgamma, "dbeta": dbeta', '"dgamma": dbeta, "dbeta": dgamma', "gamma", "this is dβ: are the names"),
    ("-0.5 *", "-1 *", "var", "the ½ is missing in ∂x̂/∂σ², equation (8)"),
    ("-0.5 *", "0.5 *", "var", "the sign is wrong in ∂x̂/∂σ², equation (8)"),
    ("-1.5", "-0.5", "var", "the power is −½, not −3/2, in ∂x̂/∂σ², equation (8)"),
    ("(var + eps) ** -1.5", "var ** -1.5", "var", "ε is forgotten in ∂x̂/∂σ², equation (8)"),
    ("-0.5 * (x - mu)", "-0.5 * x_hat", "var", "x̂ stands for x − μ in ∂x̂/∂σ², equation (8)"),
    ("-0.5 * (x - mu)", "-0.5 * x", "var", "x stands for x − μ in ∂x̂/∂σ², equation (8)"),
    ("np.sum(dx_hat * -1 /", "np.sum(dx_hat /", "mu", "the sign is wrong in ∂x̂/∂μ, equation (10)"),
    ("-1 / np.sqrt(var + eps)", "-1 / (var + eps)", "mu", "the square root is forgotten in ∂x̂/∂μ, equation (10)"),
    ("np.sum(dx_hat * -1", "np.sum(dy * -1", "mu", "γ is forgotten (dy stands for dx̂) in ∂x̂/∂μ, equation (10)"),
    (" + dmu / m", "", "x", "dx lacks the path through μ, equation (11)"),
    (" + dvar * 2 * (x - mu) / m", "", "x", "dx lacks the path through σ², equation (12)"),
    (" + dvar * 2 * (x - mu) / m + dmu / m", "", "x", "dx takes μ and σ² for constants"),
    ("dmu / m", "dmu", "x", "the 1/m is missing in ∂μ/∂x, equation (11)"),
    ("dmu / m", "dmu / (m - 1)", "x", "there is m − 1 for m in ∂μ/∂x, equation (11)"),
    ("dvar * 2", "dvar", "x", "the 2 is missing in ∂σ²/∂x, equation (12)"),
    ("dx = dx_hat / np.sqrt(var + eps) +", "dx =", "x", "dx lacks the path through x̂, equation (13)"),
    ("** 2, axis=0) / m", "** 2, axis=0) / (m - 1)", "gamma", "the variance divides by m − 1, not by m, in equation (2)"),
    ("(x - mu) / np.sqrt(var + eps)\n", "(x - mu) / (np.sqrt(var) + eps)\n", "gamma", "ε is added to σ, after the root,"),
    ("np.sum(x, axis=0) / m", "np.mean(x)", "gamma", "μ is taken over everything (no axis), not only over the batch (axis 0)"),
    ("np.sum((x - mu) ** 2, axis=0) / m", "np.mean((x - mu) ** 2)", "gamma", "σ² is taken over everything (no axis)"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "variable", "words"), PLANTED, ids=[f"{old} → {new}" for old, new, *_ in PLANTED])
def test_a_planted_mistake_is_explained_by_its_own_cause(old, new, variable, words):
    check = check_backward(edited(derived, old, new))
    assert not check.ok
    row = next(row for row in check.rows if row.variable == variable)
    assert row.verdict in ("wrong", "wrong shape")
    assert words in row.why
    assert "with the same numbers" not in row.why
    for later in check.rows:  # what comes after is either right, or right given what came before, or wrong for the same cause
        assert later.ok or later.variable in (variable, "beta") or "is right given your" in later.why or words in later.why


OVER_EVERYTHING = [
    (derived, "μ and σ² are", "np.sum(x, axis=0) / m", "x.mean()", "np.sum((x - mu) ** 2, axis=0) / m", "x.var()"),
    (derived, "μ is", "np.sum(x, axis=0) / m", "x.mean()", "np.sum((x - mu) ** 2, axis=0) / m", "x.var(axis=0)"),
    (derived, "σ² is", "np.sum((x - mu) ** 2, axis=0) / m", "x.var()"),
    (derived, "μ is", "np.sum(x, axis=0) / m", "x.mean()", " + dvar * np.mean(-2 * (x - mu), axis=0)", ""),
    (condensed, "μ is", "np.mean(x, axis=0)", "np.mean(x)", ", dgamma, dbeta", ", None, None"),
    (condensed, "μ and σ² are", "np.mean(x, axis=0)", "np.mean(x)", "np.std(x, axis=0)", "np.std(x)"),
    (condensed, "μ is", "np.mean(x, axis=0)", "np.mean(x)"),
    (condensed, "σ² is", "np.std(x, axis=0)", "np.std(x)"),
    (staged, "μ and σ² are", "1.0 / m * x.sum(axis=0)", "x.mean()", "1.0 / m * square.sum(axis=0)", "square.mean()"),
    (staged, "μ is", "1.0 / m * x.sum(axis=0)", "x.mean()"),
    (staged, "σ² is", "1.0 / m * square.sum(axis=0)", "square.mean()"),
    (with_keepdims, "μ and σ² are", "x.mean(0, keepdims=True)", "x.mean()", "((x - mean) ** 2).mean(0, keepdims=True)", "x.var()"),
]


@pytest.mark.parametrize(("style", "words", "changes"), [(style, words, rest) for style, words, *rest in OVER_EVERYTHING])
def test_a_mean_or_variance_without_an_axis_is_named_in_any_style(style, words, changes):
    """With (9) left out too: of no consequence before, it is one with a mean that is not the column's."""
    why = [row.why for row in check_backward(edited(style, *changes)).rows if not row.ok]
    assert why
    assert all(f"{words} taken over everything (no axis)" in text or "is right given your" in text for text in why)


def test_the_causes_planted_are_more_than_fifteen_and_all_different():
    assert len({words for *_, words in PLANTED}) == len(PLANTED) >= 15


FLIPPED = "the sign is wrong in ∂y/∂x̂, equation (5)"


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.why for mistake in MISTAKES])
def test_every_mistake_in_the_table_can_be_told_from_all_others(mistake):
    """Some gradient is explained by it and by nothing else; for changes that concern several equations, that is dx alone."""

    def f(dy, x, gamma, beta, eps):
        v = forward({"dy": dy, "x": x, "gamma": gamma[None], "beta": beta[None], "eps": eps}, (mistake,))
        gradients = backward(v, (mistake,))
        return gradients if len(mistake.places) < 2 else {"x": gradients["x"]}

    why = [row.why.partition("for a batch of shape (5, 3): ")[2] or row.why for row in check_backward(f).rows]
    assert mistake.why in why or why[5] == f"{FLIPPED}; or, with the same numbers, {mistake.why}"


DX_ALONE = [
    ("-0.5 *", "-1 *", "the ½ is missing in ∂x̂/∂σ², equation (8)"),
    ("-1.5", "-0.5", "the power is −½, not −3/2, in ∂x̂/∂σ², equation (8)"),
    (
        "-0.5 *",
        "0.5 *",
        "the sign is wrong in ∂x̂/∂σ², equation (8); or, with the same numbers, the sign is wrong in ∂σ²/∂x, equation (12)",
    ),
    ("dx_hat = dy * gamma", "dx_hat = dy", "γ is forgotten in ∂y/∂x̂, equation (5)"),
    (" + eps", "", "ε is forgotten wherever √(σ² + ε) stands"),
    (" + eps", " + 1e-5", "ε is always 1e-5, not the one that was passed, wherever √(σ² + ε) stands"),
    (
        "np.sum((x - mu) ** 2, axis=0) / m",
        "np.var(x, axis=0, ddof=1)",
        "the variance divides by m − 1, not by m, in equation (2)",
    ),
    ("np.sum((x - mu) ** 2, axis=0) / m", "np.std(x, axis=0)", "σ stands for σ² in equation (2)"),
]


@pytest.mark.parametrize(("old", "new", "why"), DX_ALONE)
def test_a_mistake_further_up_is_found_where_only_dx_is_returned(old, new, why):
    check = check_backward(edited(derived, old, new, "return {", 'return {"x": dx} or {'))
    assert [row.why for row in check.rows] == [""] * 5 + [why]


CONDENSED = [
    ("m * dy", "dy", "there is a 1/m too many in ∂x̂/∂x, equation (13)"),
    ("(m * root)", "root", "a 1/m is missing in all of dx"),
    ("gamma / (m * root)", "1 / (m * root)", "γ is forgotten in ∂y/∂x̂, equation (5)"),
    (" - x_hat * dgamma", "", "dx lacks the path through σ², equation (12)"),
    ("m * dy - dbeta", "m * dy", "dx lacks the path through μ, equation (11)"),
    (
        "(m * dy - dbeta - x_hat * dgamma)",
        "(m * dy + dbeta - x_hat * dgamma)",
        "equation (10); or, with the same numbers, the sign is",
    ),
]


@pytest.mark.parametrize(("old", "new", "words"), CONDENSED)
def test_mistakes_in_the_condensed_form_are_named_too(old, new, words):
    rows = check_backward(edited(condensed, old, new)).rows
    assert [row.verdict for row in rows[1:3]] == ["approximate", "exact"]
    assert words in rows[5].why


def test_what_is_right_given_a_wrong_gradient_upstream_says_which_to_fix_first():
    rows = check_backward(edited(derived, "-0.5 *", "-1 *")).rows
    assert rows[3].why == "the ½ is missing in ∂x̂/∂σ², equation (8)"
    assert rows[5].why == "dx is right given your dσ²: fix dσ² first"


def test_the_first_wrong_gradient_of_the_derivation_is_to_be_fixed_first_in_whatever_order_they_are_returned():
    def backwards(*arguments):
        return dict(reversed(edited(derived, "dx_hat = dy * gamma", "dx_hat = dy")(*arguments).items()))

    rows = check_backward(backwards).rows
    assert rows[3].why == "dσ² is right given your dx̂: fix dx̂ first"
    assert rows[5].why == "dx is right given your dx̂, dσ² and dμ: fix dx̂ first"


def test_the_condensed_form_is_right_given_a_wrong_gradient_that_it_goes_on_with():
    rows = check_backward(edited(condensed, "dy.sum(0)", "dy.sum()", "(dy * x_hat).sum(0)", "(dy * x_hat).mean(0)")).rows
    assert rows[1].why == "there is a 1/m too many (a mean for the sum over the batch) in ∂y/∂γ, equation (7)"
    assert rows[2].why.endswith("the sum is over everything, not only over the batch (axis 0), in ∂y/∂β, equation (6)")
    assert rows[5].why == "dx is right given your dγ and dβ, in the condensed form: fix dγ first"


TWO_FAULTS = [
    (derived, ("np.sum(dy * x_hat, axis=0)", "dy * x_hat", " + dmu / m", "")),
    (staged, ("(dscaled * x_hat).sum(axis=0)", "dscaled * x_hat", "dx = dcentered + ", "dx = dcentered  # ")),
    (condensed, ("(dy * x_hat).sum(0)", "dy * x_hat", " - dbeta", "")),
    (with_keepdims, ("(dy * x_hat).sum(0, keepdims=True)", "dy * x_hat", " - grad_x_hat.mean(0, keepdims=True)", "")),
]


@pytest.mark.parametrize(("style", "changes"), TWO_FAULTS)
def test_faults_in_two_gradients_are_each_explained_on_their_own(style, changes):
    rows = check_backward(edited(style, *changes)).rows
    assert rows[1].why.endswith("there is no sum over the batch in ∂y/∂γ, equation (7)")
    assert rows[5].why == "dx lacks the path through μ, equation (11)"


def test_a_mistake_after_a_mistake_is_explained_with_the_gradient_that_was_returned():
    rows = check_backward(edited(derived, "-0.5 *", "-1 *", "dmu / m", "dmu")).rows
    assert rows[5].why == "the 1/m is missing in ∂μ/∂x, equation (11)"


def test_two_mistakes_in_one_gradient_are_both_named():
    rows = check_backward(edited(derived, "dvar * 2", "dvar", "dmu / m", "dmu")).rows
    assert rows[5].why == (
        "two mistakes together: the 1/m is missing in ∂μ/∂x, equation (11); and the 2 is missing in ∂σ²/∂x, equation (12)"
    )


def test_an_unsummed_gradient_is_a_wrong_shape_even_where_broadcasting_hides_it_downstream():
    rows = check_backward(edited(derived, "** -1.5, axis=0)", "** -1.5)", "np.sum(dx_hat * -0.5", "(dx_hat * -0.5")).rows
    assert (rows[3].verdict, rows[3].why) == (
        "wrong shape",
        "shape (5, 3) and not (3,) for a batch of shape (5, 3): there is no sum over the batch in ∂x̂/∂σ², equation (8)",
    )
    assert rows[5].why.startswith("dx is right given your dσ²")


def test_a_gradient_whose_shape_fits_nowhere_does_not_stop_the_search_downstream():
    def f(*arguments):
        gradients = derived(*arguments)
        return gradients | {"dvar": gradients["dx"].sum(axis=1), "dx": gradients["dx"] - gradients["dmu"] / len(arguments[0])}

    rows = check_backward(f).rows
    assert rows[3].why.startswith("shape (5,) and not (3,)")
    assert rows[5].why == "dx lacks the path through μ, equation (11)"


@pytest.mark.parametrize("shape", [(9,), (2, 3, 5)])
def test_of_a_shape_that_no_known_mistake_gives_it_is_only_said_what_it_should_be(shape):
    row = check_backward(lambda *arguments: {"dgamma": np.ones(shape)}).rows[1]
    assert (row.verdict, row.why) == ("wrong shape", f"shape {shape} and not (3,) for a batch of shape (5, 3)")


def test_an_empty_gradient_is_of_the_wrong_shape():
    assert check_backward(lambda *arguments: {"dgamma": np.empty((0, 3))}).rows[1].verdict == "wrong shape"


def test_a_sum_over_the_wrong_axis_under_the_wrong_name_does_not_stop_the_search():
    rows = check_backward(edited(derived, '"dgamma": dgamma', '"dgamma": dy.sum(axis=1)')).rows
    assert rows[1].why == "shape (5,) and not (3,) for a batch of shape (5, 3)"


def test_digits_lost_far_from_zero_are_told_from_a_wrong_formula():
    rows = check_backward(edited(derived, "np.sum((x - mu) ** 2, axis=0) / m", "np.mean(x**2, axis=0) - mu**2")).rows
    assert all("E[x²] − E[x]²" in row.why for row in (rows[1], rows[3], rows[5]))


def test_float32_in_between_is_told_from_a_wrong_formula():
    def f(*arguments):
        return derived(*(np.float32(a) for a in arguments))

    rows = check_backward(f).rows
    assert all("float32" in row.why for row in rows if row.variable != "beta")


def test_what_no_known_mistake_explains_is_said_to_be_unknown_with_the_worst_element():
    rows = check_backward(edited(condensed, "- dbeta", "- dbeta**2")).rows
    alone = "none of the known mistakes explains it, alone or in a pair; on a batch of shape (5, 3), float64, element ["
    assert rows[5].why.startswith(alone)
    assert " instead of " in rows[5].why


def test_the_worst_element_is_not_one_that_is_right_because_all_its_terms_are_0():
    batch = np.ones((3, 2)), np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 6.0]]), np.ones(2), np.ones(2), 1e-5
    row = check_backward(lambda *_: {"dgamma": np.array([0.0, 7.0])}, batches=[batch]).rows[1]
    assert "element [1] is 7 instead of" in row.why


def test_a_mistake_that_would_divide_by_zero_is_not_blamed_for_whatever_comes_out():
    """Without ε, a constant column has no gradient; a 7 there is no sign that ε was forgotten."""
    batch = np.ones((3, 1)), np.full((3, 1), 2.0), np.ones(1), np.ones(1), 1e-5
    row = check_backward(lambda dy, x, gamma, beta, eps: {"dx": dy * 7}, batches=[batch]).rows[5]
    assert row.why.startswith("none of the known mistakes explains it")


def test_only_what_is_right_near_zero_is_said_to_lose_digits_far_from_it():
    random = np.random.default_rng(0)
    batch = random.normal(size=(5, 2)), random.normal(1e3, 1, (5, 2)), np.ones(2), np.ones(2), 1e-5
    row = check_backward(edited(condensed, "- dbeta", "- dbeta**2"), batches=[batch]).rows[5]
    assert row.why.startswith("none of the known mistakes explains it")


# ---- What f may return and do


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned NoneType"),
        (1.0, "returned float"),
        ((1, 2), "a tuple of 2: return a dict"),
        ({"dz": 1.0}, "named 'dz'"),
        ({"dx": None}, "none of the six gradients yet: each is None"),
        ({}, r"none of the six gradients but \{\}: is something missing"),
        ({"dx": "text"}, "dx is an array of real numbers, and the function returned str"),
        ({"dx": [[1.0], [1.0, 2.0]]}, "dx is an array of real numbers, and the function returned list"),
    ],
)
def test_what_is_no_gradient_is_refused_with_what_to_return(returned, message):
    with pytest.raises(TypeError, match=message):
        check_backward(lambda dy, x, gamma, beta, eps: returned)


def test_a_gradient_that_is_none_is_not_returned():
    check = check_backward(lambda *a: on_paper(*a)._replace(mu=None, var=None))
    assert [row.verdict for row in check.rows] == ["exact", "exact", "exact", "not returned", "not returned", "exact"]
    assert check.ok


def test_inputs_that_are_overwritten_are_reported_and_corrupt_nothing():
    def f(dy, x, gamma, beta, eps):
        gradients = derived(dy, x, gamma, beta, eps)
        x -= x.mean(axis=0)
        dy *= 2
        return gradients

    check = check_backward(f)
    assert all(row.ok for row in check.rows)
    assert (check.ok, check.overwritten) == (False, ("dy", "x"))
    assert "overwrites its inputs (dy, x)" in str(check)


def test_one_buffer_for_all_calls_is_no_way_to_pass():
    """What is right in the end was wrong when it was returned."""
    buffer = np.empty((5, 3), dtype=np.longdouble)
    calls = []

    def f(*arguments):
        calls.append(arguments)
        buffer[:] = derived(*arguments)["dx"] * (2 if len(calls) == 1 else 1)
        return {"dx": buffer}

    random = np.random.default_rng(0)
    batch = random.normal(size=(5, 3)), random.normal(size=(5, 3)), np.ones(3), np.ones(3), 1e-5
    assert check_backward(f, batches=[batch, batch]).rows[5].verdict == "wrong"
    assert check_backward(f, batches=[batch, batch]).ok


def test_an_error_in_f_says_on_which_batch_and_keeps_its_traceback():
    with pytest.raises(RuntimeError, match=r"raised ZeroDivisionError on a batch x of shape \(5, 3\), float64") as caught:
        check_backward(lambda *a: 1 / 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones(3)}, r"shape \(m, k\)"),
        ({"x": np.ones((3, 2), dtype=int)}, "int64"),
        ({"gamma": np.ones((2, 1))}, r"gamma is of shape \(2,\)"),
        ({"dy": np.full((3, 2), np.nan)}, "finite"),
        ({"eps": 0.0}, "eps is greater than 0"),
    ],
)
def test_a_batch_that_is_none_is_refused(change, message):
    batch = {"dy": np.ones((3, 2)), "x": np.ones((3, 2)), "gamma": np.ones(2), "beta": np.ones(2), "eps": 1e-5} | change
    with pytest.raises(ValueError, match=message):
        check_backward(derived, batches=[tuple(batch.values())])


def test_one_batch_that_is_not_in_a_list_is_refused():
    with pytest.raises(ValueError, match=r"a list of tuples \(dy, x, gamma, beta, eps\), and one of them has length 4, not 5"):
        check_backward(derived, batches=(np.ones((4, 3)), np.ones((4, 3)), np.ones(3), np.ones(3), 1e-5))


def test_no_batch_at_all_is_no_way_to_pass():
    with pytest.raises(ValueError, match="nothing would be checked"):
        check_backward(derived, batches=[])


# ---- The report


def test_the_report_is_a_table_an_html_table_and_json():
    check = check_backward(edited(derived, "dmu / m", "dmu"))
    text = str(check)
    assert "the 1/m is missing in ∂μ/∂x, equation (11)" in text
    assert "1 of 6 gradients returned is wrong, on 7 batches." in text
    assert max(map(len, text.splitlines())) <= 110
    assert check._repr_html_().count("<tr>") == 7
    data = json.loads(json.dumps(check.to_dict(), allow_nan=False))
    assert (data["ok"], [row["verdict"] for row in data["rows"]]) == (False, [row.verdict for row in check.rows])
    with pytest.raises(AssertionError, match="equation \\(11\\)"):
        check.raise_if_wrong()


@pytest.mark.parametrize(
    ("wrong", "right", "batches", "words"),
    [
        ("", "bg", 7, "All gradients returned are right, on 7 batches."),
        ("b", "g", 1, "1 of 2 gradients returned is wrong, on 1 batch."),
        ("bg", "x", 7, "2 of 3 gradients returned are wrong, on 7 batches."),
    ],
)
def test_the_summary_counts_in_the_singular_and_in_the_plural(wrong, right, batches, words):
    rows = [Row(name, name, verdict, 0.0, "") for verdict, names in (("wrong", wrong), ("exact", right)) for name in names]
    missing = Row("mu", "dμ", "not returned", None, "")
    assert Check((*rows, missing), (), batches).summary.startswith(words)


def returns(change):
    """A function that returns what ``change`` makes of the right dx̂, and a right dβ."""

    def f(dy, x, gamma, beta, eps):
        return {"dx_hat": change(dy * gamma, x), "dbeta": dy.sum(axis=0)}

    return f


def test_the_error_of_a_wrong_gradient_is_taken_where_it_is_wrong():
    """1e-9 is a mistake in float64, in float32 a right gradient has more."""
    rows = check_backward(returns(lambda right, x: right * (1 + 1e-9 * (x.dtype == np.float64)))).rows
    assert (rows[0].verdict, rows[2].verdict) == ("wrong", "exact")
    assert rows[0].error == pytest.approx(1e-9, rel=1e-3)
    assert 1e-8 < rows[2].error < 1e-7


def test_the_error_of_a_wrong_gradient_is_not_that_of_an_element_within_rounding():
    """In a column that is nearly constant, much of x − mu is rounding: right as it is, it is further off than the wrong one."""
    x = np.array([[1.0, 1e6], [2.0, 1e6 + 1e-4], [6.0, 1e6 + 3e-4]])
    batch = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]), x, np.ones(2), np.ones(2), 1e-12
    right = check_backward(lambda *a: {"dgamma": derived(*a)["dgamma"]}, batches=[batch]).rows[1]
    wrong = check_backward(lambda *a: {"dgamma": derived(*a)["dgamma"] * [1 + 1e-9, 1]}, batches=[batch]).rows[1]
    assert (right.ok, wrong.ok) == (True, False)
    assert right.error > 1e-8
    assert wrong.error == pytest.approx(1e-9, rel=1e-3)


def test_the_error_is_relative_to_the_size_of_the_terms_and_the_report_says_so():
    batch = np.array([[1.0], [-2.0]]), np.array([[1.0], [3.0]]), np.ones(1), np.ones(1), 1e-5
    check = check_backward(lambda dy, *_: {"dbeta": dy.sum(axis=0) + 0.3}, batches=[batch])
    assert check.rows[2].error == pytest.approx(0.3 / 3)  # |1| + |−2|
    assert "relative to the terms that are added up" in " ".join(str(check).split())
    assert "relative to the terms that are added up" in check._repr_html_()


def test_where_all_terms_are_0_the_error_is_the_difference_itself():
    constant = np.ones((3, 1)), np.ones((3, 1)), np.ones(1), np.ones(1), 1e-5
    assert check_backward(lambda *_: {"dgamma": np.array([0.5])}, batches=[constant]).rows[1].error == 0.5


def test_the_html_is_escaped():
    check = check_backward(derived)
    check = check._replace(rows=(check.rows[0]._replace(why="<script>"), *check.rows[1:]), overwritten=("<b>",))
    assert "<script>" not in check._repr_html_()
    assert "<b>" not in check._repr_html_()
    assert html.escape("<script>") in check._repr_html_()


def test_a_gradient_of_nan_is_wrong_and_explained_by_nothing_and_still_json():
    check = check_backward(lambda dy, x, gamma, beta, eps: {"dx": x * np.nan})
    assert check.rows[5].verdict == "wrong"
    assert check.rows[5].why.startswith("none of the known mistakes explains it")
    assert "element [0, 0] is nan instead of" in check.rows[5].why
    json.dumps(check.to_dict(), allow_nan=False)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_with_one_element_that_is_not_finite_has_no_error_but_these_words(bad):
    check = check_backward(returns(lambda right, x: np.where(right == right[0, 0], bad, right)))
    assert (check.rows[0].verdict, check.rows[0].error) == ("wrong", None)
    assert "not finite" in str(check)
    assert '<td style="text-align: left">not finite</td>' in check._repr_html_()


# ---- gradcheck


def test_gradcheck_passes_what_is_right():
    random = np.random.default_rng(0)
    x, w = random.normal(size=(4, 3)), random.normal(size=(3, 2))
    assert gradcheck(lambda x, w: (x @ w).tanh(), x, w) is True
    assert gradcheck(lambda x, gamma, beta: batch_norm(x, gamma, beta), Tensor(x), 2.0, [1.0, 2.0, 3.0])
    assert gradcheck(lambda x: (x**2).sum() + 1e6, x)
    assert gradcheck(lambda x: x.exp().log().sqrt(), [[0.5, 4.0]])


def test_gradcheck_names_the_input_the_element_and_both_numbers():
    def leaky(a, b):
        return (a * b).sum() + 3 * b.data[1]  # through .data, the engine does not see it

    with pytest.raises(
        AssertionError, match=r"input 1, element \[1\]: the engine's gradient is 2, and central differences give 5\b"
    ):
        gradcheck(leaky, [1.0, 2.0], [3.0, 4.0])
    with pytest.raises(AssertionError, match=r"input 0, element \[\]: .* random weights"):
        gradcheck(lambda a: a * a.detach() * np.ones(2), 2.0)


@pytest.mark.parametrize("factor", [1 + 1e-5, -1, 0])
def test_gradcheck_notices_a_vjp_that_is_slightly_wrong(factor, monkeypatch):
    from micrograd_bn import primitives

    monkeypatch.setattr(primitives, "exp", replace(primitives.exp, vjp=lambda g, y, a: (g * y * factor,)))
    with pytest.raises(AssertionError):
        gradcheck(lambda a: a.exp(), [0.5, 1.0])


def test_gradcheck_needs_a_tensor_back():
    with pytest.raises(TypeError, match="without a history"):
        gradcheck(lambda a: a.data * 2, [1.0])
    with pytest.raises(AssertionError, match="nan"), np.errstate(all="ignore"):
        gradcheck(lambda a: (a - 1).log(), [1.0])


# ---- The command

DEF = "def backward(dy, x, gamma, beta, eps):\n    "


@pytest.fixture
def student(tmp_path):
    def write(text):
        path = tmp_path / "student.py"
        path.write_text("import numpy as np\n" + text, encoding="utf-8")
        return f"{path}:backward"

    return write


def test_the_command_is_0_for_right_and_1_for_wrong(student, capfd):
    right = inspect.getsource(derived).replace("def derived", "def backward")
    assert cli.main(["check", student("print('hello')\n" + right)]) == 0
    out, err = capfd.readouterr()
    assert "All gradients returned are right" in out
    assert "hello" not in out  # what the student's code prints is no part of the report
    assert "hello" in err

    assert cli.main(["check", "--json", student(right.replace("dmu / m", "dmu"))]) == 1
    report = json.loads(capfd.readouterr().out)
    assert report["rows"][5]["why"] == "the 1/m is missing in ∂μ/∂x, equation (11)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DEF + "z = 1\n    return 1 / 0", ["student.py", "line 4, in backward", "return 1 / 0", "ZeroDivisionError"]),
        (DEF + "return np.ones((2, 3)) @ x", ["shape (5, 3), float64", "line 3", "ValueError"]),
        ("def backward(dy x):\n    pass", ["line 2", "SyntaxError"]),
        ("1 / 0", ["line 2, in <module>", "ZeroDivisionError"]),
        ("raise ValueError('setup') from KeyError('k')", ["line 2, in <module>", "ValueError: setup"]),
        (DEF + "return {'dx': x, 'x': x}", ["both 'x' and 'dx'"]),
        (DEF + "raise SystemExit(0)", ["line 3", "SystemExit"]),
        (DEF + "import os; os._exit(0)", ["ended without a result", "exit code 0"]),
        (DEF + "pass", ["returned NoneType: return a dict"]),
        ("def backward(x):\n    pass", ["takes 1 positional argument"]),
        ("def other():\n    pass", ["no function 'backward'"]),
    ],
)  # fmt: skip
def test_code_that_crashes_is_2_and_its_own_lines_are_shown(student, capfd, text, expected):
    assert cli.main(["check", student(text)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    for words in expected:
        assert words in err
    assert "micrograd_bn/" not in err  # the lines are the student's, not ours


def test_code_that_does_not_end_is_stopped(student, capfd):
    start = time.monotonic()
    assert cli.main(["check", "--timeout", "2", student("def backward(*a):\n    while True: pass")]) == 2
    assert "not done after 2 seconds" in capfd.readouterr().err
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(("argument", "message"), [("student.py", "FILE.py:FUNCTION"), ("no_such.py:backward", "no_such.py")])
def test_a_file_or_function_that_is_not_there_is_2(argument, message, capfd):
    assert cli.main(["check", argument]) == 2
    err = capfd.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_file_that_is_not_named_as_python_is_2(tmp_path, capfd):
    (tmp_path / "student.txt").write_text("def backward(*a): pass", encoding="utf-8")
    assert cli.main(["check", f"{tmp_path / 'student.txt'}:backward"]) == 2
    assert "its name ends with .py" in capfd.readouterr().err


def test_python_m_runs_the_check(student):
    code = inspect.getsource(condensed).replace("def condensed", "def backward")
    done = subprocess.run(
        [sys.executable, "-m", "micrograd_bn", "check", student(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_readmes_student_gets_the_readmes_report(student, capfd, monkeypatch):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code = re.search(r"(?ms)^```python\n(# student.py\n.*?)^```", readme)[1]
    shown = re.search(r"(?m)^    \$ micrograd-bn check student.py:backward\n((?:\n|    .*\n)+)", readme)[1]
    monkeypatch.setenv("COLUMNS", "110")
    assert cli.main(["check", student(code)]) == 1

    def words(text):
        return re.sub(r"\de-0\d", "rounding", text).split()  # which may be another on another machine

    assert words(shown) == words(capfd.readouterr().out)
