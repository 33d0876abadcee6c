"""The proof against the report, on tables at random: what is proved is true of numbers, and what is true of numbers is proved."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from micrograd_bn import Derivation, equation, verify
from micrograd_bn.derivation import Edge, parameters, with_parameters
from tests.conftest import optional

optional("sympy")

from micrograd_bn.prove import prove  # noqa: E402

SIZES = {"n": 4, "m": 5, "1": 1}  # another one is drawn as 3
SHAPES = [("n", "n"), ("n", "m"), ("m", "n"), ("1", "n"), ("n", "1"), ("n",), ()]

# A step of x and w, and of its local derivative by x formulas: some are right for some shapes, and some for none.
STEPS = {
    "times": (lambda x, w: x * w, [lambda dy, w: dy * w, lambda dy, x: dy * x, lambda dy, w: dy * np.transpose(w)]),
    "transposed": (
        lambda x, w: np.transpose(x) * w,
        [lambda dy, w: np.transpose(dy * w), lambda dy, w: dy * w, lambda dy, w: np.transpose(dy) * w],
    ),
    "product": (
        lambda x, w: x @ w,
        [lambda dy, w: dy @ np.transpose(w), lambda dy, w: dy @ w, lambda dy, w: np.transpose(w @ np.transpose(dy))],
    ),
    "sums": (
        lambda x, w: x.sum(axis=0, keepdims=True) * w,
        [
            lambda dy, x, w: x * 0 + (dy * w).sum(axis=0, keepdims=True),
            lambda dy, x, w: x * 0 + (dy * w).sum(axis=-1, keepdims=True),
            lambda dy, x, w: x * 0 + dy * w,
        ],
    ),
    "spread": (
        lambda x, w: (x - x.mean(axis=-1, keepdims=True)) * w,
        [
            lambda dy, w: dy * w - (dy * w).mean(axis=-1, keepdims=True),
            lambda dy, w: dy * w - (dy * w).mean(axis=0, keepdims=True),
            lambda dy, w: dy * w,
        ],
    ),
    "ratio": (
        lambda x, w: x / (w * w + 1),
        [lambda dy, w: dy / (w * w + 1), lambda dy, x, y: dy * y / x, lambda dy, w: dy / (w * w + 1) ** 2],
    ),
    "root": (
        lambda x, w: ((x + w) ** -2) ** 0.5,
        [lambda dy, x, y, w: -dy * y / (x + w), lambda dy, x, w: -dy * (x + w) ** -2, lambda dy, x, y, w: dy * y / (x + w)],
    ),
    "larger": (
        np.maximum,
        [
            lambda dy, x, w: np.where(x > w, dy, dy * 0),
            lambda dy, x, w: np.where(w > x, dy, dy * 0),
            lambda dy: dy,
            lambda dy: dy * 0,
        ],
    ),
}


SECOND = ["times", "transposed", "sums", "spread", "larger"]  # the others' differences take long to simplify


def on_numbers(d, seeds=3):
    """Whether the report agrees, on several batches; a formula whose shape does not fit is as wrong."""
    for seed in range(seeds):
        x = np.random.default_rng(seed + 100).normal(size=[SIZES[n] for n in d.shapes["x"]])
        try:
            if not verify(x, derivation=d, seed=seed).ok:
                return False
        except ValueError:
            return False
    return True


def tables(steps, formulas, shapes):
    """A table of one or two steps, with the engine's local derivatives by their first inputs, and with these formulas."""
    names = [("x", "y")] if len(steps) == 1 else [("x", "s"), ("s", "y")]
    equations, edges = [], []
    for i, ((a, y), step, formula) in enumerate(zip(names, steps, formulas)):
        called = {"x": a, "y": y, "dy": f"d{y}"}
        equations.append(equation(i + 1, y)(with_parameters([a, "w"], lambda *arguments, step=step: step(*arguments))))
        own = with_parameters([called.get(n, n) for n in parameters(formula)], lambda *arguments, f=formula: f(*arguments))
        edges.append(Edge(i + 3, y, a, function=own))
    return Derivation("right", equations, shapes=shapes), Derivation("claimed", equations, edges, shapes=shapes)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_formula_is_proved_if_and_only_if_the_report_agrees(data):
    names = [data.draw(st.sampled_from([*STEPS])), *data.draw(st.lists(st.sampled_from(SECOND), max_size=1))]
    assume(names != ["larger", "larger"])  # equals, of which each might be the larger
    steps, formulas = zip(*[(STEPS[name][0], data.draw(st.sampled_from(STEPS[name][1]))) for name in names])
    shapes = {a: data.draw(st.sampled_from(SHAPES)) for a in "xw"}
    right, claimed = tables(steps, formulas, shapes)
    assume(on_numbers(right, seeds=1))  # the steps fit
    assert prove(derivation=right).ok
    try:
        proved = prove(derivation=claimed).ok
    except ValueError:  # a formula's shape does not fit
        proved = False
    assert proved == on_numbers(claimed)
