"""A formula that is recorded: its steps on another kind of number, some of them changed, and the size of what it adds up."""

from fractions import Fraction

import numpy as np
import pytest

from micrograd_bn.recorded import Changed, recorded, size


def weighted(x, w, axis):
    return (x * w).sum(axis=axis) / 2


VALUES = {"x": np.array([1.0, -3.0]), "w": np.array([2.0, 1.0]), "axis": 0}


def test_the_steps_run_again_on_any_number_each_to_be_seen_or_changed():
    steps = recorded(weighted, VALUES)
    assert [node.primitive and node.primitive.name for node in steps.nodes] == [None, None, "mul", "sum", "div"]
    thirds = {"x": np.array([Fraction(1, 3), Fraction(2, 3)]), "w": np.array([Fraction(1), Fraction(1, 2)]), "axis": 0}
    assert steps.run(thirds, {}) == Fraction(1, 3)
    assert steps.run(VALUES, {}, 2).tolist() == [2, -3]
    assert steps.run(VALUES, {2: lambda values, x, w: x + w + values["axis"], 4: lambda values, a, two: a}) == 1
    assert recorded(weighted, VALUES | {"x": np.zeros(2)}) is steps is not recorded(weighted, VALUES | {"axis": -1})


def test_a_size_is_what_is_added_up_without_its_signs():
    assert size(weighted, VALUES) == 2.5
    assert size(lambda x: np.mean(x), VALUES) == 2
    assert size(lambda x, w: -(x @ w), VALUES) == 5


def test_changes_of_one_formula_are_made_together_the_later_for_the_earlier():
    twice, never = {2: lambda values, x, w: 2 * x * w}, {2: lambda values, x, w: 0 * x, 4: lambda values, a, two: a + 7}
    assert (Changed(weighted, 5, twice) | Changed(weighted, 5, never))(VALUES) == 7
    assert (Changed(weighted, 5, never) | Changed(weighted, 5, twice))(VALUES) == 5


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_a_change_does_not_go_over_to_shapes_on_which_a_formula_has_other_steps(before, after):
    def by_shape(x):
        return x * 2 if x.size == 1 else (x * 2).sum()

    changed = Changed(by_shape, len(recorded(by_shape, {"x": np.ones(before)}).nodes), {})
    assert changed({"x": np.ones(before)}) == 2 * before
    with pytest.raises(ValueError, match="on these shapes, the formula has other steps"):
        changed({"x": np.ones(after)})
