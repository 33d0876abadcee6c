"""The proof: every row an identity, and a wrong formula not."""

import inspect
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from micrograd_bn import Derivation, Tensor, cli, derivations, equation
from micrograd_bn.batchnorm import mean, variance
from micrograd_bn.derivation import Edge, Gradient
from micrograd_bn.functions import sigmoid
from micrograd_bn.primitives import NONE, relu, sqrt, stop_gradient
from micrograd_bn.prove import Prover, prove
from tests.conftest import optional

optional("sympy")


ALL = {name: getattr(derivations, name) for name in derivations.__all__}


def failing(proof):
    return [row.number for row in proof.rows if row.difference is not None]


@pytest.mark.parametrize("m", [None, 1, 2, 3, 4])
def test_every_row_is_an_identity(m):
    proof = prove(m)
    assert proof.ok and failing(proof) == []
    assert len(proof.rows) == 20
    assert {row.scope for row in proof.rows} == {f"m = {m}, k = {3 if m == 2 else 2}" if m else "every m"}


@pytest.mark.parametrize("name", ALL)
def test_each_packaged_derivation_is_proved_for_every_size_that_it_can_have(name):
    proof = prove(derivation=ALL[name])
    assert failing(proof) == []
    scopes = {
        "BATCH_NORM": "every m",
        "GROUP_NORM": "every n and g and c and h and w",
        "ATTENTION": "(n, d) = (2, 3), (3, 2), near 2 points each",
    }
    scopes |= {"LINEAR": "every m and k and n"}
    assert {row.scope for row in proof.rows} == {scopes.get(name, "every m and k")}
    assert ("a size twice" in proof.reason) == (name == "ATTENTION")  # that is why


@pytest.mark.parametrize("name", [name for name in ALL if name != "ATTENTION"])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_check_of_the_check(name, m):
    assert failing(prove(m, derivation=ALL[name])) == []


# A VJP with a mistake in it → the local derivatives whose identity fails. On symbols, (9) is not 0: its sign is seen.
MISTAKES = {
    "sqrt": (lambda g, y, a: (g / y,), {"(8)"}),
    "sub": (lambda g, y, a, b: (g, g), {"(9)", "(10)"}),
    "pow": (lambda g, y, a, exponent: (g * a,), {"(9)", "(12)"}),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_leaves_a_difference(name, monkeypatch):
    wrong, expected = MISTAKES[name]
    record = Tensor.record

    def record_wrongly(primitive, inputs, params=NONE):
        return record(replace(primitive, vjp=wrong) if primitive.name == name else primitive, inputs, params)

    monkeypatch.setattr(Tensor, "record", staticmethod(record_wrongly))
    proof = prove(2)
    assert not proof.ok
    assert {row.number for row in proof.rows[:13] if row.difference} == expected
    assert max((row.difference or "" for row in proof.rows), key=len)[:20] in str(proof)


@contextmanager
def formula(edge, function):
    """The table is frozen, for whoever does not insist."""
    right = edge.function
    object.__setattr__(edge, "function", function)
    try:
        yield
    finally:
        object.__setattr__(edge, "function", right)


def changed(function, how):
    """A formula with another result, of the same parameters."""

    def wrong(*arguments):
        return how(function(*arguments))

    wrong.__signature__ = inspect.signature(function)
    return wrong


# A wrong formula changes its own row, and the gradients that it goes into: but the terms of (9) add up to 0, so of a wrong one,
# too; and a wrong (8) does not change dμ, into which dσ² goes through (9) alone.
REACH = {
    5: ["(5)", "(5)", "(8)", "(10) (9)", "(13) (12) (11)", "condensed"],  # which takes dx̂, too
    6: ["(6)", "(6)"],
    7: ["(7)", "(7)"],
    8: ["(8)", "(8)", "(13) (12) (11)"],
    9: ["(9)"],
    10: ["(10)", "(10) (9)", "(13) (12) (11)"],
    11: ["(11)", "(13) (12) (11)"],
    12: ["(12)", "(13) (12) (11)"],
    13: ["(13)", "(13) (12) (11)"],
}
WRONG = {"factor": lambda term: term * 2, "sign": lambda term: -term, "power": lambda term: term**2}


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("number", REACH)
def test_a_wrong_formula_fails_every_row_that_it_changes_and_no_other(number, how):
    edge = next(edge for edge in derivations.BATCH_NORM.edges if edge.number == number)
    with formula(edge, changed(edge.function, WRONG[how])):
        assert failing(prove()) == REACH[number]
        assert failing(prove(2)) == REACH[number]


# Without its 1/m, or with another power, from the formula's own parameters.
SLIPS = {
    11: lambda dmu, x, axis: dmu,
    12: lambda dvar, x, mu, axis: dvar * (2 * (x - mu)),
    9: lambda dvar, x, mu, axis: dvar * (-2 * (x - mu)).sum(axis=axis, keepdims=True),
    8: lambda dx_hat, x, mu, var, eps: dx_hat * (-(x - mu) / (2 * sqrt(var + eps))),
    10: lambda dx_hat, var, eps: dx_hat * (-1 / (var + eps)),
    13: lambda dx_hat, var, eps: dx_hat * (1 / sqrt(var)),
}


@pytest.mark.parametrize("number", SLIPS)
def test_a_slip_of_the_pen_fails_and_shows_what_does_not_vanish(number):
    edge = next(edge for edge in derivations.BATCH_NORM.edges if edge.number == number)
    with formula(edge, SLIPS[number]):
        proof = prove()
        assert failing(proof) == REACH[number]
        row = next(row for row in proof.rows if row.difference)
        symbol = derivations.BATCH_NORM.symbol(edge.output)[0]
        assert f"d{symbol}" in row.difference and row.difference[:20] in str(proof)
        assert "mean" not in row.difference and "*" not in row.difference
        # Where a 1/m is missing, a batch of one does not show it.
        seen = proof.seen(row)
        assert seen.startswith("at m = 2, k = 1, " if number in (9, 11, 12) else "at m = 1, k = 1, "), seen
        assert seen[:8] in str(proof)


def test_the_numbers_at_which_a_difference_is_seen_give_it():
    edge = next(edge for edge in derivations.BATCH_NORM.edges if edge.number == 11)
    with formula(edge, SLIPS[11]):
        proof = prove()
        row = next(row for row in proof.rows if row.difference)
        assert row.difference == "1/m (1 − m) dμ"
        given, _, value = proof.seen(row).replace("−", "-").removeprefix("at m = 2, k = 1, ").partition(": ")
        assert given.startswith("dμ = ")
        dmu = float(given.removeprefix("dμ = "))
        assert float(value) == dmu / 2 - dmu  # 1/m dμ by the engine, dμ by the formula
    assert prove().seen(prove().rows[0]) == ""


def test_on_arrays_of_symbols_elements_are_counted_from_1():
    edge = next(edge for edge in derivations.BATCH_NORM.edges if edge.number == 12)
    with formula(edge, SLIPS[12]):
        proof = prove(2)
        row = next(row for row in proof.rows if row.difference)
        assert row.difference == "(−x[1,1] + μ[1]) dσ²[1]"
        assert proof.seen(row).startswith("at m = 2, k = 1, dσ² = ") and "[0]" not in str(proof)


@pytest.mark.parametrize(("more", "rest"), [(1, "−1"), (-1, "1")])
@pytest.mark.parametrize("m", [None, 2])
def test_a_formula_that_is_off_by_a_number_fails_and_is_seen_without_symbols(m, more, rest):
    double = equation(1, "y")(lambda x: 2 * x)
    proof = prove(m, derivation=Derivation("d", [double], [Edge(2, "y", "x", function=lambda dy: 2 * dy + more)]))
    assert [(row.number, row.difference) for row in proof.rows] == [("(1)", None), ("(2)", rest), ("(2)", rest)]
    assert proof.seen(proof.rows[1]) == f"at m = 1, k = 1: {rest}"


def test_in_print_equations_local_derivatives_and_gradients_stand_apart():
    assert [section.count("identity") for section in str(prove()).split("\n\n")][1:4] == [4, 9, 7]


def test_a_constant_is_taken_for_positive_if_its_default_is():
    d = Derivation("d", [equation(1, "y")(lambda x, a=0.0, b=1e-5, c=-1.0: x * a + b * c)])
    constants = Prover(d).constants
    assert [bool(constants[name].e.is_positive) for name in "abc"] == [False, True, False]


@pytest.mark.parametrize(
    ("difference", "seen"),
    [
        (lambda x, w, eps: x * (x - 1) * (x + 1), "at m = 1, k = 1, x = 2: 6"),  # 0 at the others that are tried
        (lambda x, w, eps: eps - 1, "at m = 1, k = 1, ε = 2: 1"),  # of a positive symbol 0 and −1 are no values
        (lambda x, w, eps: 1 / (x - w), "at m = 1, k = 1, w = 2, x = 1: −1"),  # which has no value where they are the same
        (lambda x, w, eps: x / 10**12, ""),  # what rounding leaves of 0
    ],
)
def test_a_difference_is_shown_at_small_numbers_where_it_is_one(difference, seen):
    prover = Prover(Derivation("d", [equation(1, "y")(lambda x, w, eps=1e-5: x * w + eps)]), {"m": 1, "k": 1})
    symbols = [prover.flat(value)[0] for value in (*prover.inputs.values(), prover.constants["eps"])]
    assert prover.numbers(difference(*symbols)) == seen


def test_a_users_derivation_is_proved():
    @equation(1, "s", text="w x")
    def scale(x, w):
        return w * x

    @equation(2, "y", text="tanh s")
    def squash(s):
        return np.tanh(s)

    @equation(3, "l", text="Σ y²")
    def add(y):
        return (y**2).sum()

    neuron = Derivation("neuron", [scale, squash, add])
    assert failing(prove(derivation=neuron)) == []
    wrong = Edge(4, "y", "s", "1 + y²", "", lambda dy, y: dy * (1 + y**2))
    assert failing(prove(derivation=Derivation("neuron", [scale, squash, add], [wrong]))) == ["(4)", "(4)", "(6)", "(7)"]


def test_where_numbers_are_compared_the_sizes_are_numbers_and_where_there_is_no_rule_it_says_what_it_takes():
    @equation(1, "y", text="relu x")
    def rectify(x):
        return relu(x)

    proof = prove(derivation=Derivation("rectifier", [rectify]))
    assert proof.ok and {row.scope for row in proof.rows} == {"every m and k, where numbers that are compared differ"}
    proof = prove(derivation=one_step(lambda a: a.max(axis=0) * 2, None, {"a": ("m", "k")}))
    assert proof.ok and {row.scope for row in proof.rows} == {"(m, k) = (2, 3), (3, 2), near 2 points each"}
    assert proof.reason.endswith(
        "and does not cancel"
    ) and "near 2 points each, true of all that compare as at one of these." in " ".join(str(proof).split())

    @equation(1, "h", text="w x − b")
    def hidden(x, w, b):
        return w * x - b

    @equation(2, "r", text="relu h")
    def rectify_hidden(h):
        return relu(h)

    @equation(3, "y", text="r²")
    def square(r):
        return r**2

    # A variable that is a symbol of its own is compared as what it stands for.
    assert failing(prove(derivation=Derivation("network", [hidden, rectify_hidden, square]))) == []

    @equation(1, "y", text="sinh x")
    def sinh(x):
        return np.sinh(x)

    with pytest.raises(TypeError, match="sinh"):
        prove(derivation=Derivation("sinh", [sinh]))

    @equation(1, "y", text="x c")
    def weigh(x):
        return x * np.array([0.5, 0.25])

    with pytest.raises(TypeError, match="Batch is an expression of symbols, and does not mix with an array of float64"):
        prove(derivation=Derivation("weighed", [weigh]))


def one_step(function, formula=None, shapes=None, **more):
    """A table of one step, a formula for its first edge."""
    edges = [] if formula is None else [Edge(2, "y", "a", function=formula)]
    return Derivation("d", [equation(1, "y")(function)], edges, shapes={"a": ("m",)} | (shapes or {}), **more)


def test_an_array_whose_sizes_are_the_same_is_not_its_transpose():
    wrong = one_step(lambda a, w: np.transpose(a) * w, lambda dy, w: dy * w, {"a": ("n", "n"), "w": ("n", "n")})
    assert failing(prove(derivation=wrong)) == ["(2)", "(2)"]
    right = one_step(wrong.equations[0].function, lambda dy, w: np.transpose(dy * w), wrong.shapes)
    assert failing(proof := prove(derivation=right)) == []
    assert {row.scope for row in proof.rows} == {"n = 2, 3"} and "(n, n) has a size twice" in proof.reason
    sums = one_step(
        lambda a, w: a.sum(axis=0, keepdims=True) * w,
        lambda dy, w: (dy * w).sum(axis=1, keepdims=True),
        {"a": ("n", "n"), "w": ("1", "n")},
    )
    assert failing(prove(derivation=sums)) == ["(2)", "(2)"]
    assert prove(derivation=one_step(lambda a: a - np.transpose(a), lambda dy: dy * 0, {"a": ("n", "n")})).ok is False
    assert (
        right.equations[0].text == "f(a, w)"
        and one_step(lambda a: a - np.transpose(a), None, {"a": ("n", "n")}).equations[0].text == "f(a)"
    )


def test_a_root_of_a_variable_is_the_root_of_what_it_stands_for():
    normalized = equation(3, "y")(lambda x, mu, var: (x - mu) / sqrt(var))  # without an ε
    d = Derivation("standardized", [mean, variance, normalized], shapes={"x": ("m",)})
    assert failing(prove(derivation=d)) == failing(prove(2, derivation=d)) == []
    logarithm = equation(3, "y")(lambda x, mu, var: (x - mu) * np.log(var))
    assert failing(prove(derivation=Derivation("logarithm", [mean, variance, logarithm], shapes={"x": ("m",)}))) == []


def test_the_sign_of_a_denominator_is_not_known():
    both = {"a": ("m",), "b": ("m",)}
    size = lambda a, b: np.sqrt((1 / (a + b)) ** 2)  # noqa: E731
    assert failing(prove(derivation=one_step(size, lambda dy, a, b: -dy / (a + b) ** 2, both))) == ["(2)", "(2)"]
    assert failing(prove(derivation=one_step(size, lambda dy, y, a, b: -dy * y / (a + b), both))) == []
    root = lambda a, b: np.sqrt(1 / (a + b))  # noqa: E731
    assert failing(prove(derivation=one_step(root, lambda dy, a, b: -dy / 2 * (a + b) ** -1.5, both))) == []
    assert failing(prove(derivation=one_step(root, lambda dy, a, b: -dy / (2 * sqrt(a + b) * (a + b)), both))) == []
    proof = prove(derivation=one_step(root, lambda dy, y: -dy / 2 * y**3, both))
    assert (failing(proof), proof.rows[0].scope) == ([], "every m")


@pytest.mark.parametrize(
    ("function", "wrong", "shapes"),
    [
        (lambda a: relu(a), [lambda dy: dy, lambda dy: dy * 0], {"a": ()}),
        (lambda a: relu(a), [lambda dy: dy, lambda dy: dy * 0], {"a": ("m",)}),
        (lambda a: np.clip(a, -1, 1), [lambda dy: dy, lambda dy: dy * 0], {"a": ()}),
        (lambda a, b: np.maximum(a, b), [lambda dy: dy, lambda dy: dy * 0], {"a": (), "b": ()}),
        (lambda a: abs(a), [lambda dy: dy, lambda dy: -dy], {"a": ("m",)}),
        (lambda a: np.where(a > 0, a, 2 * a), [lambda dy: dy, lambda dy: 2 * dy], {"a": ()}),
        (lambda a: relu(a), [lambda dy, y: dy * (y >= 0), lambda dy, a: dy * (a < 0)], {"a": ("m",)}),
        (sigmoid, [lambda dy, y: dy * y], {"a": ("m",)}),
        (
            lambda a, b: (np.minimum(a, b) ** 2).mean(),
            [lambda dy, a, b: 0 * a + dy * np.minimum(a, b)],
            {"a": ("m", "k"), "b": ("k",)},
        ),
    ],
)
def test_where_numbers_are_compared_each_case_is_gone_through(function, wrong, shapes):
    proof = prove(derivation=one_step(function, None, shapes))
    assert failing(proof) == []
    every = {(): "all numbers", ("m",): "every m", ("m", "k"): "every m and k"}[shapes["a"]]
    assert {row.scope for row in proof.rows} == {f"{every}, where numbers that are compared differ"}
    near = prove(2, derivation=proof.derivation)
    assert (
        near.ok
        and near.points == (4 if shapes["a"] else 0)
        and ("that are compared differ" in near.rows[0].scope) == (not near.points)
    )
    for formula in wrong:
        for m in (None, 2):
            assert failing(prove(m, derivation=one_step(function, formula, shapes))) == ["(2)", "(2)"]


def test_for_sizes_that_are_numbers_all_axes_have_several_elements():
    @equation(1, "mu")
    def averaged(x, axis=0):
        return x.mean(axis=axis, keepdims=True)

    @equation(2, "y")
    def rectified(x, mu, gamma):
        return gamma * np.maximum(x - mu, 0)

    wrong = Edge(3, "y", "gamma", function=lambda dy, x, mu, gamma: gamma * 0 + (dy * np.maximum(x - mu, 0)).sum())
    proof = prove(derivation=Derivation("d", [averaged, rectified], [wrong]))
    assert failing(proof) == ["(3)", "(3)"]
    assert proof.seen(proof.rows[2]).startswith("at m = 2, k = 3, ")
    proof = prove(3, derivation=proof.derivation)
    assert failing(proof) == ["(3)", "(3)"] and proof.rows[0].scope == "m = 3, k = 2, near 4 points"


def test_the_scope_names_every_size_and_what_is_taken_for_granted():
    proof = prove(3, derivation=derivations.LAYER_NORM)
    assert proof.rows[0].scope == "m = 2, k = 3" and "for m = 2, k = 3, with ε > 0 and axis = -1: true of all" in " ".join(
        str(proof).split()
    )
    power = one_step(lambda a, b, p=2, c=0.0: a**p + b * c, None, {"b": ("m",)}, domains={"b": "positive"})
    assert prove(derivation=power).conditions == ("b > 0", "p = 2")
    assert prove(derivation=derivations.SOFTMAX_CROSS_ENTROPY).conditions == ("Σ t = 1",)
    assert ", with" not in str(prove(derivation=one_step(lambda a: 2 * a)))


def test_a_difference_that_nobody_would_read_is_cut_and_is_refuted_before_it_is_simplified(monkeypatch):
    monkeypatch.setattr("sympy.simplify", lambda rest: pytest.fail("which takes a minute for less"))
    (right,) = [edge for edge in derivations.ATTENTION.edges if edge.number == 6]
    with formula(right, lambda dp, p: p * (dp - (dp * p).sum(axis=0, keepdims=True))):
        proof = prove(2, derivation=derivations.ATTENTION)
    assert failing(proof) == ["(6)", "(6)", "(7)", "(8)"]
    longest = max((row.difference or "" for row in proof.rows), key=len)
    assert 200 < len(longest) < 303 and longest.endswith(" …")
    (right,) = [edge for edge in derivations.GROUP_NORM.edges if edge.number == 8]
    with formula(right, SLIPS[8]):  # whose batches of two and three are of 72 numbers
        proof = prove(derivation=derivations.GROUP_NORM)
    assert failing(proof) == REACH[8] and proof.rows[0].scope.startswith("every n and g")


@pytest.mark.parametrize(
    ("function", "formula", "shapes", "scope"),
    [
        (lambda a, w: a @ w.T, lambda dy, w: dy @ w, {"a": ("m", "k"), "w": ("n", "k")}, "every m and k and n"),
        (lambda a: a.sum() / a.size * a.ndim, None, {}, "every m"),
        (lambda a: relu(a).sum(), lambda dy, a: dy * (a > 0), {}, "every m, where numbers that are compared differ"),
        (lambda a: sigmoid(sigmoid(a)), None, {}, "m = 2, 3, near 2 points each"),
        (lambda a: a.reshape(-1) * 2, lambda dy: dy.ravel() * 2, {}, "m = 2, 3"),
        (lambda a: relu(a), lambda dy, a: dy * (a > 0), {}, "every m, where numbers that are compared differ"),
        (
            lambda a: relu(a),
            lambda dy, a: dy * (a > 0).astype(float),
            {"a": ()},
            "all numbers, where numbers that are compared differ",
        ),
    ],
)
def test_a_formula_may_call_a_numbers_methods_and_multiply_by_a_comparison(function, formula, shapes, scope):
    d = one_step(function, formula, shapes)
    proof = prove(derivation=d)
    assert (failing(proof), proof.rows[0].scope) == ([], scope)
    assert failing(prove(2, derivation=d)) == []


def test_the_comparisons_of_another_proof_are_not_its_own():
    rectifier = one_step(lambda a: relu(a))

    def doubled(a):
        assert prove(2, derivation=rectifier).points == 4  # in the midst of it, as in another thread
        return 2 * a

    proof = prove(2, derivation=one_step(doubled))
    assert (proof.ok, proof.points, proof.rows[0].scope) == (True, 0, "m = 2")


@pytest.mark.parametrize(
    ("function", "more"),
    [
        (lambda a: a.sum(axis=-1), {"domains": {"a": "probabilities"}}),  # they add up to 1, and change one by one
        (lambda a, b: (b * a * np.log(a)).sum(axis=-1), {"domains": {"a": "probabilities"}, "shapes": {"b": ("m",)}}),
        (lambda a, b: ((a * b) ** 2).mean(), {"shapes": {"a": ("49", "k"), "b": ("49", "1")}}),
        (lambda a: (a**2).mean(), {"shapes": {"a": ("49",)}}),
        (lambda a: np.sqrt(a**2), {}),
        (lambda a, b: (a + b) ** b, {"domains": {"a": "positive", "b": "positive"}, "shapes": {"a": (), "b": ()}}),
        (lambda a: a[np.array([1, 0])], {}),
        (lambda a: stop_gradient(a) * a.sum(), {"no_gradient": ["a"]}),
    ],
)
def test_what_is_right_is_not_refused(function, more):
    proof = prove(derivation=one_step(function, **more))
    assert failing(proof) == [] and (proof.reason == "") == ("picked by its place" not in proof.reason)
    if "49" not in str(more):
        assert failing(prove(2, derivation=one_step(function, **more))) == []


def test_two_sides_that_have_no_one_form_for_a_generic_element_are_compared_for_sizes_that_are_numbers():
    shapes = {"a": ("n", "1"), "w": ("n", "m")}
    root = lambda a, w: ((a + w) ** -2) ** 0.5  # noqa: E731
    proof = prove(derivation=one_step(root, lambda dy, y, a, w: -dy * y / (a + w), shapes))
    assert failing(proof) == [] and {row.scope for row in proof.rows} == {"(n, m) = (2, 3), (3, 2)"}
    assert proof.reason == "the two sides of ∂y/∂a, da have no one form for a generic element"
    proof = prove(derivation=one_step(root, lambda dy, y, a, w: dy * y / (a + w), shapes))
    assert failing(proof) == ["(2)", "(2)"] and {row.scope for row in proof.rows} == {"every m"}


def test_a_further_form_is_of_the_shape_of_its_variable():
    d = Derivation(
        "d",
        [equation(1, "mu")(lambda x: x.mean(axis=0, keepdims=True)), equation(2, "y")(lambda x, mu: x - mu)],
        condensed=[Gradient((4,), "mu", function=lambda dy: -dy.sum(axis=0))],
    )
    for m, given in ((None, r"\(k,\), and \(1, k\)"), (2, r"\(2,\), and \(1, 2\)")):
        with pytest.raises(ValueError, match=rf"dμ: the formula gives shape {given} is due"):
            prove(m, derivation=d)


def test_a_rectifier_between_two_steps_is_proved():
    @equation(1, "y")
    def rectified(x):
        return np.maximum(x, 0)  # on symbols, the number 0 where they are negative

    @equation(2, "z")
    def scaled(y, w):
        return w * y

    assert failing(prove(derivation=Derivation("r", [rectified, scaled]))) == []


def test_the_command_line(capsys, monkeypatch):
    assert cli.main(["prove", "--m", "2"]) == 0
    assert "20 of 20 rows are identities" in capsys.readouterr().out
    assert cli.main(["prove", "--derivation", "layer_norm"]) == 0
    out = capsys.readouterr().out
    assert "layer norm" in out and "identities for every m and k, with" in out
    assert cli.main(["prove", "--derivation", "no_norm"]) == 2
    assert "these are there" in capsys.readouterr().err
    assert cli.main(["prove", "--m", "0"]) == 2
    assert "m is 0" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sympy", None)
    assert cli.main(["prove"]) == 2
    assert "pip install 'micrograd-bn[prove]'" in capsys.readouterr().err


def test_fifty_digits_on_the_command_line(capsys):
    assert cli.main(["verify", "--digits", "50", "--columns", "petal_width_cm"]) == 0
    assert "Decimal with 50 digits" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["verify", "--digits", "1"])
    assert np.sqrt(2) == 2**0.5  # and the context of decimals outside is as it was


def test_a_derivation_in_ms_place_is_told_where_it_goes():
    with pytest.raises(TypeError, match=r"prove\(derivation=…\)"):
        prove(derivations.BATCH_NORM)
