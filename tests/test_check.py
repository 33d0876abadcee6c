"""check_backward: what is right passes, however it is written; what it may return and do; and the report."""

import html
import json
import pickle

import numpy as np
import pytest

from micrograd_bn import Derivation, Tensor, equation, mistakes
from micrograd_bn.check import Check, CheckRow, FunctionRaised, check_backward
from micrograd_bn.derivations import BATCH_NORM, LINEAR
from micrograd_bn.draw import RED
from micrograd_bn.mistakes import Why
from tests.backward_passes import STYLES, derived, edited, on_paper, random_batches, staged

SIX = ["x_hat", "gamma", "beta", "var", "mu", "x"]
RETURNED = {derived: SIX, on_paper: SIX, staged: SIX[1:]}


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


# ---- What f may return and do


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned NoneType"),
        (1.0, "returned float"),
        ((1, 2), "a tuple of 2: return a dict"),
        ({"dz": 1.0}, "named 'dz'"),
        ({"dx": None}, "none of the six gradients yet: each is None. Replace one, and ask again"),
        ({}, r"none of the six gradients but \{\}: is something missing"),
        ({"dx": "text"}, "dx is an array of real numbers, and the function returned str"),
        ({"dx": [[1.0], [1.0, 2.0]]}, "dx is an array of real numbers, and the function returned list"),
        ({"dx": [Tensor(1.0)]}, "dx is an array of real numbers, and the function returned list: a Tensor does not turn into"),
    ],
)
def test_what_is_no_gradient_is_refused_with_what_to_return(returned, message):
    with pytest.raises(TypeError, match=message):
        check_backward(lambda dy, x, gamma, beta, eps: returned)


def test_a_gradient_that_is_none_is_not_returned():
    check = check_backward(lambda *a: on_paper(*a)._replace(mu=None, var=...))
    assert [row.verdict for row in check.rows] == ["exact", "exact", "exact", "not returned", "not returned", "exact"]
    assert check.ok


def test_what_is_no_array_of_numbers_costs_no_other_gradient():
    check = check_backward(lambda *a: on_paper(*a)._replace(x="todo", mu=[[1.0], []]))
    assert [row.verdict for row in check.rows] == [*["exact"] * 4, *["wrong type"] * 2]
    assert not check.ok and check.summary.startswith("2 of 6 gradients returned are wrong")
    assert check.rows[5].why == "dx is an array of real numbers, and the function returned str: its dtype is <U4"
    assert "wrong type" in str(check) and "not finite" not in str(check)
    check.draw()


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
    with pytest.raises(
        RuntimeError,
        match=r"raised ZeroDivisionError on a batch of float64, dy of shape \(5, 3\), x of shape \(5, 3\), gamma of shape \(3,\)",
    ) as caught:
        check_backward(lambda *a: 1 / 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("f", "derivation", "message"),
    [
        (lambda dy, x, gamma: {}, BATCH_NORM, r"is called as f\(dy, x, gamma, beta, eps\): .*takes 3 .* but 5 were given"),
        (lambda dy, x, w, b, eps: {}, LINEAR, r"is called as f\(dy, x, w, b\): .*missing 1 required positional argument: 'eps'"),
        (lambda *a: len(*a), BATCH_NORM, r"raised TypeError on a batch of float64, dy of shape \(5, 3\), x"),
    ],
)
def test_a_function_of_other_arguments_is_told_which_it_is_called_with(f, derivation, message):
    with pytest.raises(FunctionRaised, match=f"^the function {message}"):
        check_backward(f, derivation=derivation)


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
    rows = [CheckRow(name, name, verdict, 0.0) for verdict, names in (("wrong", wrong), ("exact", right)) for name in names]
    missing = CheckRow("mu", "dμ", "not returned", None)
    assert Check((*rows, missing), (), batches).summary.startswith(words)


def test_a_verdict_has_its_colour():
    verdicts = check_backward(lambda dy, *_: {"dbeta": dy.sum(axis=0), "dgamma": dy.sum(axis=0)}).__rich__().columns[1].cells
    assert {cell.plain: cell.style for cell in verdicts} == {"exact": "green", "wrong": "bold red", "not returned": "dim"}


def test_the_number_of_gradients_is_a_word_up_to_twelve():
    for n, word in ((1, "one"), (12, "twelve"), (13, "13")):
        chain = [equation(i, f"a{i}")(eval(f"lambda a{i - 1}: 2 * a{i - 1}")) for i in range(1, n + 1)]
        with pytest.raises(TypeError, match=f"none of the {word} gradients"):
            check_backward(lambda *_: {}, derivation=Derivation("a chain", chain, shapes={"a0": ("k",)}))


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
    assert str(check).count("not finite") == 1
    assert '<td style="text-align: left">not finite</td>' in check._repr_html_()


# ---- The picture


def red(source):
    """What is red in a picture: edges, boxes, and the note."""
    lines = [line.strip().replace('"', "") for line in source.splitlines() if f'color="{RED}"' in line]
    return {line.partition(" [")[0] for line in lines}


@pytest.mark.parametrize(
    ("old", "new", "marked"),
    [
        ("** -1.5", "** -0.5", {"σ²", "σ² -> x̂", "wrong"}),  # (8), and dx, which is right given it, is not marked
        ("dmu / m", "dmu", {"x", "x -> μ", "wrong"}),  # (11)
        ("* gamma", "/ gamma", {"x̂", "x̂ -> y", "wrong"}),  # (5)
        ("dmu / m", "dmu / m + dy ** 2", {"x", "wrong"}),  # unexplained: x has three edges, and nobody knows which it is
        ("dy, axis=0)", "dy**2, axis=0)", {"β", "β -> y", "wrong"}),  # unexplained, but β has one edge only
        ("", "", set()),
    ],
)
def test_the_picture_marks_the_first_gradient_that_is_wrong_and_the_edge_to_blame(old, new, marked):
    assert red(check_backward(edited(derived, old, new)).draw().source) == marked


def test_the_edges_to_blame_are_those_of_the_reason_and_not_of_its_words(monkeypatch):
    monkeypatch.setattr(mistakes, "STRATEGIES", [lambda case: Why("in equations (8) and (11)", edges=(12,))])
    check = check_backward(edited(derived, "dmu / m", "dmu"))
    assert (check.rows[5].edges, check.to_dict()["rows"][5]["edges"]) == ((12,), (12,))
    assert red(check.draw().source) == {"x", "x -> σ²", "wrong"}


def test_the_reasons_are_data_too():
    rows = {row.variable: row for row in check_backward(edited(derived, "-0.5 *", "-1 *")).rows}
    assert (rows["var"].edges, rows["var"].given) == ((8,), ())
    assert (rows["x"].edges, rows["x"].given) == ((), ("var",))
    assert not any(row.zero for row in rows.values())
    alone = check_backward(edited(derived, " + eps", "", "return {", 'return {"x": dx} or {')).rows[5]
    assert "wherever √(σ² + ε) stands" in alone.why and alone.edges == (8, 10, 13)
    assert check_backward(lambda dy, x, gamma, beta, eps: {"x": x * 0}).rows[5].zero


@pytest.mark.parametrize("factor", [1 + 1e-7, 1 - 1e-7])
def test_the_picture_has_both_numbers_of_the_first_batch_on_which_a_gradient_is_wrong_and_the_reason(factor):
    random = np.random.default_rng(0)
    constant = np.ones((3, 1)), np.ones((3, 1)), np.ones(1), np.ones(1), 1e-5  # x̂ is 0, and so is any multiple of dγ
    other = random.normal(size=(3, 1)), random.normal(size=(3, 1)), np.ones(1), np.ones(1), 1e-5
    right = derived(*other)["dgamma"][0]
    check = check_backward(lambda *a: {"dgamma": derived(*a)["dgamma"] * factor}, batches=[constant, other])
    shown = " ".join(check.draw().source.replace("\\l", " ").replace("\\", "").split())
    assert f"grad {right:.4g}|yours {right:.4g}" in shown
    assert f"dγ is the first gradient on the way back that is wrong: {check.rows[1].why}" in shown
    assert f"is {right * factor:.7g} instead of {right:.7g}" in shown  # as many digits as it takes to tell them apart


def test_any_derivations_picture_crosses_a_process_border_and_is_no_part_of_the_json():
    check = check_backward(lambda dy, x, w, b: {"dw": dy.T @ x, "db": dy.mean(axis=0)}, derivation=LINEAR)
    assert red(pickle.loads(pickle.dumps(check)).draw().source) == {"b", "b -> y", "wrong"}
    assert "picture" not in check.to_dict()


def test_where_all_is_right_the_picture_is_of_the_first_batch():
    first, second = [(np.full((2, 1), n), np.array([[1.0], [3.0]]), np.ones(1), np.ones(1), 1e-5) for n in (3.0, 4.0)]
    shown, both, other = [check_backward(on_paper, batches=some).draw().source for some in ([first], [first, second], [second])]
    assert shown == both != other
