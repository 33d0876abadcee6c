"""Properties, not examples: of any graph, any batch, any dtype, any layout in memory, and numbers from 1e-30 to 1e30.

``make test`` holds a few hundred examples against them, the same ones every time; ``make nightly`` more than 10,000 new ones.
No tolerance is tuned: floats are held against the running error analysis of their own computation (see ``tests.running``), and
what holds in exact arithmetic is held in 60 digits, to a fraction of what rounding would do in floats.
"""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import assume, event, reject
from hypothesis import strategies as st

from micrograd_bn import Tensor, batch_norm, batch_norm_backward, fused, fused_batch_norm, grad
from micrograd_bn.batchnorm import mean, normalize, variance
from micrograd_bn.derivations.batch_norm import d_x_condensed
from micrograd_bn.numbers import threads
from micrograd_bn.shapes import axes, unbroadcast
from tests.running import EXACT, Running, assert_negligible, assert_within, errors, exact, fine, running
from tests.strategies import DTYPES, EPS, MOVES, Batch, batches, exponents, layouts, programs, prop, relatives, shapes, values


@contextmanager
def only_where_numbers_are_lost(numbers: type[Running]):
    """NumPy may complain of infinities and NaNs only where the error analysis has seen a number leave the dtype's range."""
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            yield
    except (FloatingPointError, OverflowError, ZeroDivisionError):  # the latter two from Python's own floats
        assert numbers.outside
        event("a number leaves the range")


def native(dtype) -> np.dtype:
    return np.dtype(dtype).newbyteorder("=")


def draw_leaves(data, program, dtype="float64", scale=0):
    """Values for a program's leaves, and an upstream gradient."""
    leaves = [data.draw(values(shape, dtype, scale)) for shape in program.leaves]
    return leaves, data.draw(values(program.shape, dtype))


def gradients(function, leaves, dy):
    """The result and the gradients of the leaves, by a backward pass."""
    tensors = [Tensor(leaf) for leaf in leaves]
    y = function(tensors)
    y.backward(dy)
    return y.data, *(np.zeros(t.shape) if t.grad is None else t.grad for t in tensors)


def analysed(function, leaves, dy, numbers=None):
    """The same in exact numbers, each with the bound on its rounding error in floats of the leaves' dtype."""
    numbers = numbers or running(leaves[0].dtype)
    with np.errstate(all="ignore"):  # the bounds are floats too, and may be infinite
        return gradients(function, [numbers.of(leaf) for leaf in leaves], numbers.of(dy))


# ---- Every primitive, and graphs of them


def differences(program, leaves, directions, dy, order=1):
    """A derivative of Σ dy · program along a direction, as a central difference in 100 digits: right to about 50."""

    def f(t):
        return np.sum(dy * program([x + t * v for x, v in zip(leaves, directions)]))

    h = EXACT.mpf(10) ** -25
    return (f(h) - f(-h)) / (2 * h) if order == 1 else (f(h) - 2 * f(0) + f(-h)) / h**2


def exact_inputs(data, program):
    """Leaves, upstream gradient and a direction in exact numbers, where the program has a derivative."""
    leaves, dy = draw_leaves(data, program)
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    leaves, dy = [exact(leaf) for leaf in leaves], exact(dy)
    directions = [exact(random.normal(size=leaf.shape)) for leaf in leaves]
    try:
        nodes = program.nodes(leaves)
    except ZeroDivisionError:
        reject()
    for step in program.steps:
        for near in distances([nodes[a] if isinstance(a, int) else a for a in step.inputs], step):
            assume(np.all(np.abs(near) > 1e-6))
    return leaves, dy, directions


def distances(inputs, step):
    """How far the inputs of a step are from where it has a kink, a jump or a pole."""
    name = step.primitive.name if step.primitive else "leaf"
    if name in ("relu", "abs"):
        yield inputs[0]
    elif name == "div":
        yield inputs[1]
    elif name in ("maximum", "minimum", "less", "less_equal", "greater", "greater_equal", "not_equal"):
        yield inputs[0] - inputs[1]
    elif name in ("max", "min"):  # from the second largest: the largest alone is at 0
        x = np.asarray(inputs[0])
        best = step.primitive(x, axis=step.params["axis"], keepdims=True)
        alone = (x == best).sum(axis=step.params["axis"]) == 1
        yield np.where(x == best, 1, x - best)
        yield np.where(alone, 1, 0)


def assert_slope(found, directions, measured, digits=25):
    """What is measured along a direction is what gradients say of it.

    The difference is off by h² = 1e-50 times the next derivative but one (and for the second derivative, rounded at 1e-100/h²),
    so this leaves a factor of 1e25 or more for how much larger that is, and would see a mistake in the 25th digit.
    """
    terms = np.concatenate([np.reshape(g * v, -1) for g, v in zip(found, directions)])
    assert abs(terms.sum() - measured) <= EXACT.mpf(10) ** -digits * (1 + np.abs(terms).sum())


def assert_is_the_derivative(program, data):
    with EXACT.workdps(100):
        leaves, dy, directions = exact_inputs(data, program)
        _, *found = gradients(program, leaves, dy)
        assert_slope(found, directions, differences(program, leaves, directions, dy))


@pytest.mark.parametrize("name", MOVES)
@prop(6, data=st.data())
def test_every_vjp_is_the_derivative_to_25_digits(name, data):
    assert_is_the_derivative(data.draw(programs(names=(name,), moves=1)), data)


@prop(16, data=st.data(), program=programs())
def test_the_gradient_of_a_graph_is_its_derivative_to_25_digits(data, program):
    assert_is_the_derivative(program, data)


@prop(8, data=st.data(), program=programs(moves=3))
def test_the_gradient_of_the_gradient_is_the_second_derivative_to_20_digits(data, program):
    with EXACT.workdps(100):
        leaves, dy, directions = exact_inputs(data, program)
        tensors = [Tensor(leaf) for leaf in leaves]
        slope = sum((g * v).sum() for g, v in zip(grad(program(tensors), tensors, dy), directions))
        found = [g.data for g in grad(slope, tensors)]
        assert_slope(found, directions, differences(program, leaves, directions, dy, order=2), digits=20)


@prop(16, data=st.data(), program=programs(), dtype=st.sampled_from(DTYPES), layout=layouts)
def test_floats_stay_within_their_running_error(data, program, dtype, layout):
    leaves, dy = draw_leaves(data, program, dtype, data.draw(exponents(dtype)))
    numbers = running(dtype)
    expected = analysed(program, leaves, dy, numbers)
    with only_where_numbers_are_lost(numbers):
        for got, bounds in zip(gradients(program, [layout(leaf) for leaf in leaves], layout(dy)), expected):
            assert_within(got, bounds)


@prop(16, data=st.data(), program=programs(), dtype=st.sampled_from(DTYPES), layout=layouts)
def test_gradients_have_the_shape_and_dtype_of_their_data_and_inputs_stay_as_they_are(data, program, dtype, layout):
    leaves, dy = draw_leaves(data, program, dtype)
    given = [layout(a) for a in (*leaves, dy)]
    before = [a.tobytes() for a in given]
    tensors = [Tensor(a) for a in given[:-1]]
    with np.errstate(all="ignore"):
        try:
            y = program(tensors)
            y.backward(given[-1])
            derived = grad(y, tensors, given[-1])
        except (OverflowError, ZeroDivisionError):  # Python's own floats raise what NumPy's arrays warn of
            reject()
    assert [a.tobytes() for a in given] == before
    assert y.shape == program.shape
    for t, d in zip(tensors, derived):
        if t.grad is not None:
            assert np.shape(t.grad) == t.shape == d.shape
            assert native(np.asarray(t.grad).dtype) == native(dtype) == native(np.asarray(d.data).dtype)
            # grad() is the same lines of the table, on the same numbers in the same order: the same bits.
            np.testing.assert_array_equal(t.grad, d.data)


@prop(10, data=st.data(), program=programs())
def test_a_backward_pass_is_linear_in_its_upstream_gradient(data, program):
    leaves, u = draw_leaves(data, program)
    v = data.draw(values(program.shape))
    power = 2.0 ** data.draw(st.integers(-20, 20))
    with np.errstate(all="ignore"):
        try:
            once, times = (gradients(program, leaves, dy)[1:] for dy in (u, u * power))
        except (OverflowError, ZeroDivisionError):
            reject()
    for a, b in zip(once, times):
        if np.isfinite(a).all() and np.isfinite(b).all():
            # A power of two rounds nothing, but for numbers that are subnormal.
            np.testing.assert_allclose(b, a * power, rtol=0, atol=1e-300)

    numbers = fine()
    for a, b, both in zip(*(analysed(program, leaves, dy, numbers)[1:] for dy in (u, v, numbers.of(u) + numbers.of(v)))):
        assert_negligible(a + b - both)


@prop(10, data=st.data(), program=programs())
def test_every_pass_adds_the_same_again_and_the_terms_on_the_edges_add_up(data, program):
    leaves, dy = draw_leaves(data, program)
    tensors = [Tensor(leaf) for leaf in leaves]
    with np.errstate(all="ignore"):
        try:
            nodes = program.nodes(tensors)
            y = nodes[-1]
            y.backward(dy)
            reached = [node for node in nodes if node.grad is not None]
            once = [np.copy(node.grad) for node in reached]
            terms = {id(node): [] for node in reached}
            for node in reached:
                for parent, term in zip(node.parents, node.contributions()):
                    if term is not None:
                        terms[id(parent)].append(term)
            y.backward(dy)
        except (OverflowError, ZeroDivisionError):
            reject()
    for node, g in zip(reached, once):
        np.testing.assert_array_equal(node.grad, 2 * g)
        if node is not y and np.isfinite(g).all():
            # The same terms, added in another order: each addition rounds by no more than half an eps of their sizes.
            size = sum(np.abs(term) for term in terms[id(node)])
            assert np.all(np.abs(sum(terms[id(node)]) - g) <= len(terms[id(node)]) * np.finfo(float).eps * size)


@prop(10, data=st.data(), to=shapes())
def test_unbroadcasting_is_the_transpose_of_broadcasting(data, to):
    """⟨broadcast(x), g⟩ = ⟨x, unbroadcast(g)⟩, in integers: exactly."""
    shape = np.broadcast_shapes(to, data.draw(relatives(to)))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, g = random.integers(-9, 10, to).astype(float), random.integers(-9, 10, shape).astype(float)
    back = unbroadcast(g, to)
    assert np.shape(back) == to
    assert np.sum(np.broadcast_to(x, shape) * g) == np.sum(x * back)


# ---- Batch norm: y and the gradients of x, gamma and beta


def through(function, batch):
    return gradients(lambda tensors: function(*tensors, batch.eps, batch.axis), [batch.x, batch.gamma, batch.beta], batch.dy)


def composed(batch):
    return through(batch_norm, batch)


def on_paper(batch):
    y = batch_norm(batch.x, batch.gamma, batch.beta, batch.eps, batch.axis)
    found = batch_norm_backward(batch.dy, batch.x, batch.gamma, batch.eps, batch.axis)
    return y, found.x, found.gamma, found.beta


def whole(batch):
    return through(fused_batch_norm, batch)


def in_tiles(batch):
    """Fused, cut as if the batch were large, and on two threads."""
    with pytest.MonkeyPatch.context() as patch:
        for where, name, value in ((fused, "TILE", (2, 1)), (fused, "LARGE", 0), (threads, "THREADS", 2)):
            patch.setattr(where, name, value)
        return whole(batch)


def without_loops(batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "_loops", lambda: None)
        return whole(batch)


FUSED = (whole, in_tiles, without_loops)
methods = pytest.mark.parametrize("method", [composed, on_paper, *FUSED])


def as_streamed(batch):
    """The closed form as fused_batch_norm orders it: dy (x − mu) is added up before it is divided by the deviation.

    That saves a pass over the batch, and has its price in range: where dy (x − mu) is beyond 1e±38, float32 loses it.
    """
    over = {"axis": batch.axis, "keepdims": True}
    centered = batch.x - batch.x.mean(**over)
    deviation = np.sqrt((centered**2).mean(**over) + batch.eps)
    sums, products = batch.dy.sum(**over), (batch.dy * centered).sum(**over) / deviation
    m = batch.x.size // max(1, sums.size)
    scale = batch.gamma / deviation
    y = centered * scale + batch.beta
    dx = centered * (-scale * products / m / deviation) - scale * sums / m + batch.dy * scale
    return y, dx, unbroadcast(products, np.shape(batch.gamma)), unbroadcast(sums, np.shape(batch.gamma))


def is_streamed(batch) -> bool:
    y = fused_batch_norm(Tensor(batch.x), batch.gamma, batch.beta, batch.eps, batch.axis)
    return y.primitive.name == "fused_batch_norm"


# They round as often as that, but not all in the same places: a part of mu is subtracted with the shift.
OTHER_PLACES = 4


def analysis(batch, method=composed, numbers=None):
    """The same in exact numbers, each with the bound on its rounding error in floats of x's dtype."""
    numbers = numbers or running(batch.x.dtype)
    lifted = Batch(*map(numbers.of, batch[:4]), batch.eps, batch.axis)
    with np.errstate(all="ignore"):
        if method is on_paper:
            return on_paper(lifted)
        bounds = composed(lifted)
        if method in FUSED and is_streamed(batch):
            bounds = [np.where(errors(b) > errors(a), b, a) for a, b in zip(bounds, as_streamed(lifted))]
        return bounds


def straight(batch):
    """The closed form in 60 digits, one group of numbers at a time: no engine, and none of the package's formulas."""
    x, dy, gamma, beta = (exact(a) for a in batch[:4])
    y, dx, dgamma, dbeta = (np.full(a.shape, EXACT.mpf(0), dtype=object) for a in (x, x, gamma, gamma))
    place = np.broadcast_to(np.arange(gamma.size).reshape(gamma.shape), x.shape)  # of each element's gamma and beta
    groups = {}
    for index in np.ndindex(x.shape):
        groups.setdefault(tuple(i for k, i in enumerate(index) if k not in axes(x.ndim, batch.axis)), []).append(index)
    for group in groups.values():
        m = len(group)
        mu = EXACT.fsum(x[i] for i in group) / m
        deviation = EXACT.sqrt(EXACT.fsum((x[i] - mu) ** 2 for i in group) / m + batch.eps)
        x_hat = {i: (x[i] - mu) / deviation for i in group}
        dx_hat = {i: dy[i] * gamma.flat[place[i]] for i in group}
        a, b = EXACT.fsum(dx_hat.values()) / m, EXACT.fsum(dx_hat[i] * x_hat[i] for i in group) / m
        for i in group:
            y[i] = gamma.flat[place[i]] * x_hat[i] + beta.flat[place[i]]
            dx[i] = (dx_hat[i] - a - x_hat[i] * b) / deviation
            dgamma.flat[place[i]] += dy[i] * x_hat[i]
            dbeta.flat[place[i]] += dy[i]
    return y, dx, dgamma, dbeta


@prop(16, batch=batches())
def test_composed_and_derived_are_the_closed_form_in_40_digits(batch):
    numbers = fine()
    for truth, a, b in zip(straight(batch), analysis(batch, composed, numbers), analysis(batch, on_paper, numbers)):
        assert_negligible(a - truth)
        assert_negligible(b - truth)
    assert not numbers.outside  # none is lost, so each has been claimed


@methods
@prop(12, batch=batches(eps=(0.0, *EPS)), layout=layouts)
def test_every_way_to_compute_it_is_as_exact_as_its_dtype(method, batch, layout):
    bounds = analysis(batch, method)
    laid_out = [layout(a) for a in batch[:4]]
    before = [a.tobytes() for a in laid_out]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        found = method(Batch(*laid_out, batch.eps, batch.axis))
    assert [a.tobytes() for a in laid_out] == before
    for got, bound in zip(found, bounds):
        assert native(np.asarray(got).dtype) == native(batch.x.dtype)
        assert_within(got, bound, OTHER_PLACES if method in FUSED else 1)


@prop(6, batch=batches(scaled=False), data=st.data())
def test_the_gradient_of_batch_norm_is_its_derivative_to_25_digits(batch, data):
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    leaves, dy = [exact(a) for a in (batch.x, batch.gamma, batch.beta)], exact(batch.dy)
    directions = [exact(random.normal(size=leaf.shape)) for leaf in leaves]
    with EXACT.workdps(100):
        _, *found = composed(Batch(leaves[0], dy, *leaves[1:], batch.eps, batch.axis))
        assert_slope(
            found, directions, differences(lambda given: batch_norm(*given, batch.eps, batch.axis), leaves, directions, dy)
        )


@pytest.mark.parametrize("function", [batch_norm, fused_batch_norm])
@prop(6, batch=batches(("float64",), scaled=False), data=st.data())
def test_the_second_derivative_stays_within_its_running_error(function, batch, data):
    """Fused, dx is recorded as the condensed formula, so it is this one whose rounding counts."""
    direction = data.draw(values(batch.x.shape))
    eps, axis = batch.eps, batch.axis

    def slope(function, dy):
        return lambda tensors: grad(function(*tensors, eps, axis), tensors[0], dy)[0]

    def condensed(dy):
        def dx(tensors):
            x, gamma, _ = tensors
            mu = mean(x, axis)
            var = variance(x, mu, axis)
            return d_x_condensed(dy * gamma, x, normalize(x, mu, var, eps), var, eps, axis)

        return dx

    numbers = running("float64")
    streamed = function is fused_batch_norm and is_streamed(batch)
    expected = condensed(numbers.of(batch.dy)) if streamed else slope(batch_norm, numbers.of(batch.dy))
    leaves = [batch.x, batch.gamma, batch.beta]
    got, bounds = gradients(slope(function, batch.dy), leaves, direction), analysed(expected, leaves, direction, numbers)
    for a, bound in zip(got[:3], bounds):  # dx and its derivatives; beta has no part in it
        assert_within(a, bound)


@methods
@prop(6, batch=batches(), data=st.data())
def test_permuting_the_batch_permutes_y_and_dx(method, batch, data):
    """Along a reduced axis; gamma and beta stay where they are if they are the same along it."""
    along = data.draw(st.sampled_from(axes(batch.x.ndim, batch.axis)))
    order = data.draw(st.permutations(range(batch.x.shape[along])))

    def permuted(a, ndim=batch.x.ndim):
        k = along - ndim + a.ndim
        return np.take(a, order, axis=k) if k >= 0 and a.shape[k] > 1 else a

    other = Batch(*map(permuted, batch[:4]), batch.eps, batch.axis)
    with np.errstate(all="ignore"):
        found = method(other)
    for got, bound in zip(found, analysis(batch, method)):
        assert_within(got, permuted(np.asarray(bound)), OTHER_PLACES)  # the sums are the same ones in another order


@methods
@prop(6, batch=batches(scaled=False), data=st.data())
def test_shifting_x_leaves_y_and_every_gradient(method, batch, data):
    """By a number for each statistic that rounds nothing: x is made of eighths, and the sum has few enough digits."""
    bits = np.finfo(batch.x.dtype).nmant - 1
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = random.integers(-9, 10, batch.x.shape).astype(batch.x.dtype) / 8
    kept = [1 if i in axes(x.ndim, batch.axis) else n for i, n in enumerate(x.shape)]
    shift = random.integers(-(2 ** (bits - 4)), 2 ** (bits - 4), kept).astype(x.dtype)
    assert np.all((x + shift) - shift == x)
    batch, shifted = batch._replace(x=x), batch._replace(x=x + shift)
    for a, b in zip(analysis(batch, method, fine()), analysis(shifted, method, fine())):
        assert_negligible(a - b)
    with np.errstate(all="ignore"):
        found = method(shifted)
    for got, bound in zip(found, analysis(shifted, method)):
        assert_within(got, bound, OTHER_PLACES)


@methods
@prop(6, batch=batches(("float64",), eps=(0.0, *EPS), scaled=False), power=st.integers(-40, 40))
def test_scaling_x_by_a_power_of_two_and_eps_by_its_square_leaves_every_bit_of_y(method, batch, power):
    with np.errstate(divide="ignore", invalid="ignore"):  # a constant batch and an eps of 0
        y, dx, dgamma, dbeta = method(batch)
        scaled_y, scaled_dx, *others = method(batch._replace(x=batch.x * 2.0**power, eps=batch.eps * 4.0**power))
    for a, b in zip((y, dx, dgamma, dbeta), (scaled_y, scaled_dx * 2.0**power, *others)):
        np.testing.assert_array_equal(a, b)


@prop(10, batch=batches(("float64",), scaled=False), scale=st.floats(1e-3, 1e3))
def test_scaling_x_leaves_y_as_eps_goes_to_0(batch, scale):
    """x_hat is off by the factor √(1 + eps/var) against eps = 0, so the difference shrinks with eps / var."""
    x, gamma, beta, factor = *(exact(a) for a in (batch.x, batch.gamma, batch.beta)), EXACT.mpf(scale)
    var = x.var(axis=batch.axis, keepdims=True)
    assume(np.all(var > 1e-6))  # a constant batch is 0/√eps: it has no scale
    for eps in (EXACT.mpf("1e-10"), EXACT.mpf("1e-20"), EXACT.mpf("1e-30")):
        y, scaled = (batch_norm(a, gamma, beta, eps, batch.axis) for a in (x, x * factor))
        # (1 + t)^−½ is between 1 − t/2 and 1; 60 digits leave 1e-45 of numbers below 1e5, whose var is above 1e-6.
        off = np.abs(gamma * (x - x.mean(axis=batch.axis, keepdims=True))) / var**0.5 * eps / (2 * var)
        assert np.all(np.abs(y - scaled) <= off * max(1, 1 / factor**2) + EXACT.mpf("1e-45"))


@methods
@prop(6, batch=batches())
def test_dx_sums_to_0_and_is_orthogonal_to_x_hat_as_eps_goes_to_0(method, batch):
    """Σ dx = 0, and Σ dx x_hat = eps / (var + eps) · Σ dx_hat x_hat / √(var + eps), for each statistic."""
    over = {"axis": batch.axis, "keepdims": True}

    def sums(batch, dx):
        """The two sums, and what the error of each dx counts in them."""
        centered = batch.x - batch.x.mean(**over)
        var = (centered**2).mean(**over)
        deviation = np.sqrt(var + batch.eps)
        x_hat = centered / deviation
        rest = (batch.dy * batch.gamma * x_hat).sum(**over) * batch.eps / (var + batch.eps) / deviation
        return (dx.sum(**over), 1), ((dx * x_hat).sum(**over) - rest, np.abs(x_hat))

    if method in (composed, on_paper):
        numbers = fine()
        lifted = Batch(*map(numbers.of, batch[:4]), batch.eps, batch.axis)
        for total, _ in sums(lifted, method(lifted)[1]):
            assert_negligible(total)

    with np.errstate(all="ignore"):
        dx = method(batch)[1]
        error = OTHER_PLACES * errors(analysis(batch, method)[1])
        claimed = np.isfinite(error).all(**over)
        dx = np.where(np.isfinite(error), dx, 0)
        for total, weight in sums(Batch(*map(exact, batch[:4]), batch.eps, batch.axis), exact(dx)):
            assert np.all((np.abs(total) <= (error * weight).sum(**over)) | ~claimed)


@methods
@pytest.mark.parametrize(("dtype", "below", "beyond"), [("float16", 100, 400), ("float32", 1e19, 1e30), ("float64", 1e153, None)])
def test_the_boundary_is_where_the_square_of_x_minus_mu_leaves_the_range(method, dtype, below, beyond):
    """Up to there all digits hold. Beyond, var is infinite: y is beta and dx is 0, in that column and in no other."""
    column, dy = np.array([[-1.0, 1.0], [1.0, 2.0], [0.5, 4.0]]), np.array([[1.0, 1.0], [2.0, -1.0], [4.0, 0.5]])

    def batch(size):
        arrays = (column * [size, 1], dy, [1.5, -0.5], [5.0, 0.25])
        return Batch(*(np.array(a, dtype) for a in arrays), EPS[0], 0)

    numbers = running(dtype)
    for got, bound in zip(method(batch(below)), analysis(batch(below), method, numbers)):
        assert_within(got, bound, OTHER_PLACES)
    assert not numbers.outside

    if beyond:
        with np.errstate(over="ignore"):
            y, dx, dgamma, _ = method(batch(beyond))
        if method in (whole, in_tiles) and dtype == "float32" and fused._loops():  # whose var is a float64
            np.testing.assert_allclose(y, method(batch(below))[0], rtol=1e-6)
            return
        assert np.all(y[:, 0] == 5) and np.all(dx[:, 0] == 0) and dgamma[0] == 0
        for got, bound in zip((y, dx), analysis(batch(1.0), method)):
            assert_within(got[:, 1], bound[:, 1], OTHER_PLACES)


@prop(10, data=st.data(), shape=shapes())
def test_a_shape_is_normalised_or_refused_with_a_reason(data, shape):
    axis = data.draw(st.lists(st.integers(-5, 4), max_size=3).map(tuple) | st.integers(-5, 4))
    x = np.ones(shape)
    reduced = axis if isinstance(axis, tuple) else (axis,)
    inside = all(-len(shape) <= i < len(shape) for i in reduced)
    usable = inside and len({i % len(shape) for i in reduced}) == len(reduced) and all(shape[i] for i in reduced)
    for function in (batch_norm, fused_batch_norm):
        if usable:
            assert function(x, 1.0, 2.0, axis=axis).shape == shape
        else:
            with pytest.raises(ValueError, match=r"out of range|same axis twice|empty"):
                function(x, 1.0, 2.0, axis=axis)
