"""What can be wrong in a derivation, in words: each step of a formula, an edge, a form; and what may multiply a gradient."""

import re

import numpy as np
import pytest

from micrograd_bn import Derivation, equation
from micrograd_bn.check import check_backward
from micrograd_bn.derivation import Edge, Gradient
from micrograd_bn.formulas import factors_in, mistakes_in


def sentences(text):
    return re.split(r"\s*\|\s*", text.strip())


def by_formula(text):
    """Cases: a formula, and what is to be said of it in the lines below that are indented."""
    return pytest.mark.parametrize(("formula", "due"), re.findall(r"(?m)^(\S.*)\n((?: .*\n)+)", text))


# ---- A formula in words, and what can be wrong with its steps

TEXTS = """
    x + w ~ x + w | x - (w + x) ~ x − (w + x) | x - w * x ~ x − w x | (x + w) * x ~ (x + w) x | x * (w * x) ~ x (w x) |
    x / (w * x) ~ x / (w x) | x / w / x ~ x / w / x | (x - w) / x ~ (x − w) / x | -x ~ −x | -(x + w) ~ −(x + w) | -x * w ~ −x w |
    x * -w ~ x (−w) | (-x) ** 2 ~ (−x)² | x * np.sqrt(w) ~ x √w | np.sqrt(x * w) ~ √(x w) | np.sqrt(np.sqrt(x)) ~ √√x |
    x * w**3 ~ x w³ | (x * w) ** 0.5 ~ √(x w) | x**4 / w ~ x^(4) / w | x * x**-0.5 ~ x x^(−½) | np.tanh(x + w) ~ tanh(x + w) |
    x * np.tanh(w) ** 2 ~ x tanh(w)² | (x + w).sum(axis=0) ~ Σ (x + w) | x * w.sum(axis=0) ~ x (Σ w) | x @ w.T @ x ~ x wᵀ x |
    x @ (w.T @ x) ~ x (wᵀ x) | (x + w) @ w.T ~ (x + w) wᵀ | (x + w).T ~ (x + w)ᵀ | x.reshape(-1) / 2 ~ x / 2 |
    np.maximum(x, w + x) ~ maximum(x, w + x) | x * 2.5 * 1e-05 ~ x 2.5 1e-5 | 0.5 * x ~ ½ x | -3 * x ~ −3 x | x * -3.0 ~ x (−3) |
    x / x.shape[0] ~ x / m | x / x.size ~ x / (m k) | x / np.sqrt(x.shape[1]) ~ x / √k | x * np.sqrt(x.size) ~ x √(m k)
"""


def derivation_of(formula, **how):
    names = [name for name in ("x", "w", "eps=1e-5") if re.search(rf"\b{name[:3]}\b", formula)]
    equations = [equation(1, "y")(eval(f"lambda {', '.join(names)}: {formula}"))]
    return Derivation("test", equations, shapes={"w": ("m", "k")} if "w" in names else {}, **how)


@pytest.mark.parametrize("formula", sentences(TEXTS))
def test_a_formula_in_words_has_the_parentheses_that_it_needs(formula):
    code, text = formula.split(" ~ ")
    assert f"there is a − for the + in {text} + 1 in y, equation (1)" in [
        m.why for m in mistakes_in(derivation_of(f"{code} + 1")).forward
    ]


STEPS = """\
x + w
    w is forgotten | x is forgotten | there is a − for the + in x + w
x - w
    x stands for x − w | x is forgotten | there is a + for the − in x − w | 1 stands for w
x * w
    x is forgotten | w is forgotten
x / w
    the division by w is missing | x is forgotten | it is multiplied by w, not divided, | there is a division by w too many
x**0.5
    the square root is forgotten | the power is 1.5, not ½, | the power is −½, not ½, | the power is 1, not ½, | √x is missing
x**2
    x stands for x² | the power is 3, not 2, | the power is 1, not 2, | the power is 2.5, not 2, | the power is 1.5, not 2,
x**-1.5
    x stands for x^(−1.5) | the power is −½, not −1.5, | the power is −2.5, not −1.5, | the power is −1, not −1.5, |
    the power is −2, not −1.5,
np.sqrt(x)
    the square root is forgotten
np.tanh(x)
    tanh is forgotten
np.exp(x)
    exp is forgotten | the sign under exp is wrong
x.sum(axis=0)
    there is no sum over the batch | the sum is over the features (axis 1), not over the batch (axis 0), |
    the sum is over everything, not only over the batch (axis 0), | there is a 1/m too many (a mean for the sum over the batch)
x.mean(axis=0)
    the mean is over the features (axis 1), not over the batch (axis 0), |
    the mean is over everything, not only over the batch (axis 0), | the 1/m is missing
x.mean()
    the mean is over the batch (axis 0), not over the axes 0 and 1, |
    the mean is over the features (axis 1), not over the axes 0 and 1, | the 1/(m k) is missing
x.max(axis=0)
    the largest is over the features (axis 1), not over the batch (axis 0), |
    the largest is over everything, not only over the batch (axis 0),
x / x.shape[0]
    the 1/m is missing | x is forgotten | it is multiplied by m, not divided, | there is a division by m too many |
    there is m − 1 for m | there is k for m
x / x.size
    the 1/(m k) is missing | x is forgotten | it is multiplied by m k, not divided, | there is a division by m k too many |
    there is m k − 1 for m k | there is m for m k | there is k for m k
x / x.shape[1] ** 0.5
    the 1/√k is missing | x is forgotten | it is multiplied by √k, not divided, | there is a division by √k too many
x / 2
    the ½ is missing | x is forgotten | it is multiplied by 2, not divided, | there is a division by 2 too many
x * 0.5
    x is forgotten | the ½ is missing
x * -3.0
    x is forgotten | the −3 is missing
x * np.arange(1.0, 12.0)[: x.shape[1]]
    x is forgotten | the … is missing
np.sqrt(x + eps)
    ε is forgotten | x is forgotten | there is a − for the + in x + ε | the square root is forgotten
(x + w) * x / (w * x)
    w is forgotten | x is forgotten, in x + w, | there is a − for the + in x + w | the factor x + w is missing |
    x is forgotten, in (x + w) x, | the division by w is missing | the division by x is missing | the division by w x is missing
    | the factor (x + w) x is missing | it is multiplied by w x, not divided, | there is a division by w x too many
-((x + w) ** 2)
    w is forgotten | x is forgotten | there is a − for the + in x + w | x + w stands for (x + w)² | the power is 3, not 2, |
    the power is 1, not 2, | the power is 2.5, not 2, | the power is 1.5, not 2,
x - (w - x)
    w stands for w − x | w is forgotten | there is a + for the − in w − x | 1 stands for x | x stands for x − (w − x) |
    x is forgotten | there is a + for the − in x − (w − x) | 1 stands for w − x
1 / (x * (w + 2))
    2 is forgotten | w is forgotten | there is a − for the + in w + 2 | the division by x is missing |
    the division by w + 2 is missing | the division by x (w + 2) is missing | it is multiplied by x (w + 2), not divided, |
    there is a division by x (w + 2) too many
x / -np.sqrt(x * w)
    the division by x is missing | the division by w is missing | the square root is forgotten |
    the division by −√(x w) is missing | x is forgotten | it is multiplied by −√(x w), not divided, |
    there is a division by −√(x w) too many
x + w * 0
    the 0 is missing | x is forgotten
np.sin(x) + np.sin(x)
    sin is forgotten | sin(x) is forgotten, in sin(x) + sin(x), | sin(x) is forgotten, in sin(x) + sin(x), |
    there is a − for the + in sin(x) + sin(x)
"""


@by_formula(STEPS)
def test_all_that_can_be_wrong_with_the_steps_of_a_formula_is_said(formula, due):
    said = [mistake.why for mistake in mistakes_in(derivation_of(formula)).forward if " wherever " not in mistake.why]
    assert said == [f"{what} in y, equation (1)" for what in sentences(due)]


FLOWS_BACK = """\
x * dy
    x is forgotten | y stands for x | there is no dy
dy / x
    the division by x is missing | it is multiplied by x, not divided, | y stands for x | there is no dy
dy + x * dy
    x is forgotten | x dy is forgotten | there is a − for the + in dy + x dy | y stands for x | x stands for x dy |
    y stands for x dy | there is no dy | there is no dy
x * dy + dy
    x is forgotten | x dy is forgotten | there is a − for the + in x dy + dy | y stands for x | x stands for x dy |
    y stands for x dy | there is no dy | there is no dy
dy - x * dy
    x is forgotten | dy stands for dy − x dy | there is a + for the − in dy − x dy | 1 stands for x dy | y stands for x |
    x stands for x dy | y stands for x dy | there is no dy | there is no dy
"""


@by_formula(FLOWS_BACK)
def test_the_gradient_that_an_edge_carries_back_is_the_last_to_be_thought_forgotten(formula, due):
    edge = Edge(2, "y", "x", function=eval(f"lambda dy, x: {formula}"))
    said = [mistake.why for mistake in mistakes_in(derivation_of("x * x", edges=[edge])).backward]
    assert said[0] == "the sign is wrong in ∂y/∂x, equation (2)"
    assert [what for what in said[1:] if "too many" not in what] == [f"{what} in ∂y/∂x, equation (2)" for what in sentences(due)]


LEFT_OUT = """\
dy * np.sqrt(x) / np.log(x)
    the square root is forgotten | the factor √x is missing | log is forgotten | the division by log(x) is missing |
    the factor dy √x is missing
dy / (x * x.shape[0])
    the division by x is missing | the 1/m is missing | the division by x m is missing
(x - dy) * np.tanh(x)
    x is forgotten | tanh is forgotten | the factor x − dy is missing | the factor tanh(x) is missing
dy * x**0.5 * x.mean(axis=0)
    the square root is forgotten | √x is missing | the factor √x is missing | the 1/m is missing | the factor dy √x is missing |
    the factor mean(x) is missing
dy.sum(axis=0) + x**2 * np.exp(x)
    exp is forgotten | the factor x² is missing | the factor exp(x) is missing | x² exp(x) is forgotten | Σ dy is forgotten
"""


@by_formula(LEFT_OUT)
def test_of_an_edge_what_is_only_left_out_is_likely(formula, due):
    edge = Edge(2, "y", "x", function=eval(f"lambda dy, x: {formula}"))
    said = [mistake.why for mistake in mistakes_in(derivation_of("x * x", edges=[edge])).likely]
    assert said == [f"{what} in ∂y/∂x, equation (2)" for what in ("the sign is wrong", *sentences(due))]


# ---- A derivation of several equations


@equation(1, "s")
def scale(x, w):
    return x * w


@equation(2, "y")
def squash(s, x):
    return x - 1 / (1 + np.exp(-s))


NEURON = Derivation(
    "neuron",
    [scale, squash],
    [
        Edge(3, "y", "s", function=lambda dy, y, x: -dy * (x - y) * (1 - (x - y))),
        Edge(4, "y", "x", function=lambda dy: dy),
        Edge(5, "s", "x", function=lambda ds, w: ds * w),
        Edge(6, "s", "w", function=lambda ds, x: ds * x),
    ],
    condensed=[Gradient((6,), "w", function=lambda ds, x: (ds * x).sum(axis=0))],
)
SUMS = """
    there is no sum over the batch | the sum is over the features (axis 1), not over the batch (axis 0), |
    the sum is over everything, not only over the batch (axis 0), | there is a 1/m too many (a mean for the sum over the batch)
"""


def test_two_may_be_made_together_of_a_path_a_sign_a_sum_and_what_is_left_out_those_in_one_place_first():
    in_3 = "the factor −dy is missing | the factor x − y is missing | x is forgotten | 1 is forgotten | the factor −dy (x − y)"
    assert [mistake.why for mistake in mistakes_in(NEURON).likely] == [
        "dx lacks the path through y, equation (4)",
        "dx lacks the path through s, equation (5)",
        *[
            f"the sign is wrong in ∂{edge}"
            for edge in ("y/∂s, equation (3)", "y/∂x, equation (4)", "s/∂x, equation (5)", "s/∂w, equation (6)")
        ],
        *[f"{what} in ∂s/∂w, equation (6)" for what in sentences(SUMS)],
        *[f"{what} in ∂y/∂s, equation (3)" for what in sentences(in_3 + " is missing | the factor 1 − (x − y) is missing")],
        "w is forgotten in ∂s/∂x, equation (5)",
        "x is forgotten in ∂s/∂w, equation (6)",
        "the sign is wrong in all of dx",
    ]


def test_besides_a_factor_may_be_too_many_a_quantity_stand_for_another_and_what_flows_back_be_left_out():
    said = [mistake.why for mistake in mistakes_in(NEURON).backward]
    assert [what for what in said if "equation (6)" in what][6:] == [
        f"{what} in ∂s/∂w, equation (6)"
        for what in (
            *["there is an x too many", "there is a w too many", "there is an s too many", "there is a 1/m too many"],
            *["there is a 1/k too many", "dy stands for ds"],
            *[f"{q} stands for x" for q in ("s", "y", "−s", "exp(−s)", "1 + exp(−s)", "1 / (1 + exp(−s))")],
            "there is no ds",
        )
    ]
    assert [what for what in said if "in the condensed form of dw" in what][:9] == [
        f"{what} in the condensed form of dw"
        for what in (
            *["x is forgotten", *sentences(SUMS)],
            *[
                f"{which} {along}"
                for along in (
                    "over the features (axis 1), not over the batch (axis 0),",
                    "over everything, not only over the batch (axis 0),",
                )
                for which in ("the mean of ds x is", "all means are")
            ],
        )
    ]


def test_a_step_that_stands_in_several_formulas_may_be_wrong_wherever_it_stands():
    d = Derivation("root", [equation(1, "r")(lambda x, eps=1e-5: np.sqrt(x + eps)), equation(2, "y")(lambda x, r: x * r)])
    wherever = [mistake for mistake in mistakes_in(d).forward if " wherever " in mistake.why]
    assert [mistake.why for mistake in wherever] == [
        *[f"{what} wherever x + ε stands" for what in ("ε is forgotten", "x is forgotten", "there is a − for the + in x + ε")],
        "the square root is forgotten wherever √(x + ε) stands",
    ]
    assert {tuple(sorted(mistake.places)) for mistake in wherever} == {(1, 5)}


def test_a_gradient_may_be_multiplied_by_any_quantity_once_and_by_what_is_between_0_and_1_and_what_that_lacks_to_1():
    assert [q.text for q in factors_in(NEURON)] == [
        *["x", "w", "s", "y", "−s", "exp(−s)", "exp(−s) (1 − exp(−s))", "1 + exp(−s)", "1 / (1 + exp(−s))"],
        *["1 / (1 + exp(−s)) (1 − 1 / (1 + exp(−s)))", "1 − (x − y)", "(1 − (x − y)) (1 − (1 − (x − y)))"],
    ]


def test_another_gradient_times_a_quantity_is_named_where_there_is_no_form_of_the_whole():
    def backward(dy, x, w):
        return {"x": NEURON.backward(dy, x=x, w=w)["s"] * x}

    (row, *_) = [row for row in check_backward(backward, derivation=NEURON).rows if row.variable == "x"]
    assert row.why == "two mistakes together: this is ds; and there is a factor x too many in all of dx"
