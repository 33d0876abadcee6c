"""Why a backward pass is wrong: mistakes that are planted in batch norm's are explained by their own causes."""

import inspect
import re

import numpy as np
import pytest

from micrograd_bn import derivations, mistakes
from micrograd_bn.check import check_backward
from micrograd_bn.computed import Computed
from micrograd_bn.derivations import BATCH_NORM
from tests.backward_passes import condensed, derived, edited, staged, with_keepdims

# ---- Mistakes, planted by changing the text of the code


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
    ("-1.5", "-1.0", "var", "the power is −1, not −3/2, in ∂x̂/∂σ², equation (8)"),
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


def test_an_epsilon_after_the_root_with_the_derivatives_that_follow_from_it_is_one_mistake():
    away = "np.sqrt(var + eps)", "(np.sqrt(var) + eps)", "(var + eps) ** -1.5", "(np.sqrt(var) + eps) ** -2 / np.sqrt(var)"
    others = '"dx_hat": dx_hat, "dgamma": dgamma, "dbeta": dbeta, "dvar": dvar, "dmu": dmu, '
    (dx,) = [row for row in check_backward(edited(derived, *away, others, "")).rows if row.variable == "x"]
    assert "ε is added to σ, after the root, in equation (3) and in its derivatives" in dx.why


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


GRADIENTS = ["x_hat", "gamma", "beta", "var", "mu", "x"]
FLIPPED = "the sign is wrong in ∂y/∂x̂, equation (5)"


@pytest.mark.parametrize("mistake", [m for m in BATCH_NORM.mistakes if not m.loses_digits], ids=lambda mistake: mistake.why)
def test_every_mistake_in_the_table_can_be_told_from_all_others(mistake):
    """Some gradient is explained by it and by nothing else; for changes that concern several equations, that is dx alone."""

    def f(dy, x, gamma, beta, eps):
        values = {"dy": dy, "x": x, "gamma": gamma[None], "beta": beta[None], "eps": eps, "axis": 0}
        right = BATCH_NORM.forward(**{name: values[name] for name in ("x", "gamma", "beta", "eps", "axis")})
        found = Computed(BATCH_NORM, values, (mistake,), shapes={name: np.shape(right[name]) for name in BATCH_NORM.variables})
        return {name: found[f"d{name}"] for name in (GRADIENTS if len(mistake.places) < 2 else ["x"])}

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
    assert rows[1].why.startswith("shape (5,) and not (3,) for a batch of shape (5, 3): two mistakes together: the sum is over")


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


# ---- Further than the table


CONDENSED_FURTHER = [
    ("x_hat * dgamma", "dgamma", "x̂ is forgotten in the condensed form of dx"),
    ("gamma / (m * root)", "gamma / ((m - 1) * root)", "there is m − 1 for m in all of dx"),
    ("gamma / (m * root)", "gamma * root / m", "it is multiplied by √(σ² + ε), not divided, in all of dx"),
    ("gamma / (m * root)", "gamma**2 / (m * root)", "there is a γ too many in ∂y/∂x̂, equation (5)"),
]


@pytest.mark.parametrize(("old", "new", "why"), CONDENSED_FURTHER)
def test_the_condensed_form_goes_wrong_in_its_own_ways(old, new, why):
    assert check_backward(edited(condensed, old, new)).rows[5].why == why


FURTHER = [
    ('"dx": dx', '"dx": dx * x_hat', "x", "there is a factor x̂ too many in all of dx"),
    ('"dx": dx', '"dx": dx_hat * x_hat', "x", "two mistakes together: this is dx̂; and there is a factor x̂ too many in all of dx"),
    ('"dx": dx', '"dx": dx / x_hat', "x", "there is a division by x̂ too many in all of dx"),  # of 0, where a column is constant
    ('"dgamma": dgamma', '"dgamma": dgamma / mu', "gamma", "there is a division by μ too many in all of dγ"),
    ("np.sum(dy * x_hat", "-np.mean(dy * (x - mu) ** 2", "gamma", "three mistakes together: (x − μ)² stands for x̂ in ∂y/∂γ"),
    ("dx_hat = dy * gamma", "dx_hat = dy * gamma * gamma", "x_hat", "there is a γ too many in ∂y/∂x̂, equation (5)"),
    ("np.sum(dx_hat * -0.5", "np.sum(dx_hat * gamma * -0.5", "var", "there is a γ too many in ∂x̂/∂σ², equation (8)"),
    ("-1 / np.sqrt(var + eps)", "-1 * np.sqrt(var + eps)", "mu", "it is multiplied by √(σ² + ε), not divided, in ∂x̂/∂μ"),
    ("2 * (x - mu) / m", "2 * x_hat / m", "x", "x̂ stands for x − μ in ∂σ²/∂x, equation (12)"),
    ("2 * (x - mu) / m", "2 * x / m", "x", "x stands for x − μ in ∂σ²/∂x, equation (12)"),
    ("np.sum(dy * x_hat", "np.sum(dy * (x - mu) ** 2", "gamma", "(x − μ)² stands for x̂ in ∂y/∂γ, equation (7)"),
]


@pytest.mark.parametrize(("old", "new", "variable", "words"), FURTHER)
def test_a_quantity_for_another_and_a_factor_too_many_are_each_named(old, new, variable, words):
    row = next(row for row in check_backward(edited(derived, old, new)).rows if row.variable == variable)
    assert words in row.why
    assert "with the same numbers" not in row.why


def test_of_a_gradient_the_largest_numbers_are_compared_which_have_lost_no_digits():
    assert mistakes.Case.large(np.array([[1.0, 1e-5, -3.0], [np.inf, 2e-3, -np.nan]])).tolist() == [2, 0]
    assert mistakes.Case.large(np.array([4e-3, 1.0, 3e-3])).tolist() == [1, 0, 2]


def test_a_readers_own_strategy_is_asked_as_the_modules_text_says(monkeypatch):
    """The function in the module's docstring, as it stands there."""
    monkeypatch.setattr(mistakes, "STRATEGIES", list(mistakes.STRATEGIES))
    exec(inspect.cleandoc(re.search(r"(?s)\n\n(    def halved.*?)\n\nA mistake", mistakes.__doc__)[1]), vars(mistakes) | {})
    row = check_backward(edited(derived, "np.sum(dy, axis=0)", "np.sum(dy, axis=0) / 2")).rows[2]
    assert row.why == "it is half of what it should be"


def test_a_second_mistake_in_a_pair_is_found_whatever_else_is_returned():
    """Right given nothing that the function returned: both mistakes are in its own dx."""

    def backward(dy, x, gamma, beta, eps, power=-0.5):
        m, mu, var = x.shape[1], x.mean(axis=0, keepdims=True), x.var(axis=0, keepdims=True)
        m, dx_hat = len(x), dy * gamma
        dvar = (dx_hat * -0.5 * (x - mu) * (var + eps) ** power).sum(axis=0, keepdims=True)
        dmu = -(dx_hat / np.sqrt(var + eps)).sum(axis=0, keepdims=True)
        return {"dx": dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / m + dmu / m, "dvar": dvar[0]}

    (why,) = [row.why for row in check_backward(backward, derivation=derivations.LAYER_NORM).rows if row.variable == "x"]
    assert why.startswith("two mistakes together")
