"""Compiled programs: the engine's bits, or within the bound of a running error analysis."""

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import reject
from hypothesis import strategies as st

from micrograd_bn import Tensor, batch_norm, trace
from micrograd_bn import functions as F
from micrograd_bn import primitives as P
from micrograd_bn.numbers import loops, threads
from micrograd_bn.numbers.compile import folder
from tests.conftest import optional
from tests.running import assert_within, running
from tests.strategies import programs, prop
from tests.test_program import batch, by_engine
from tests.test_program_properties import engine
from tests.test_properties import analysed, draw_leaves

optional("numba")


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def layer_norm(x, gamma, beta):
    centered = x - x.mean(axis=-1, keepdims=True)
    return gamma * (centered / F.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-5)) + beta


def rms_norm(x, gamma, beta):
    return gamma * (x / F.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5)) + beta


def softmax_cross_entropy(x, gamma, beta):
    return -((F.log_softmax(x * gamma + beta)) * 0.1).sum(axis=-1).mean()


def relu_network(x, gamma, beta):
    return ((x @ (gamma * x[:10, :10])).relu() * beta).tanh() @ beta


def images(x, gamma, beta):
    pixels = F.reshape(x, (4, 10, 2, 4))
    return batch_norm(pixels, F.reshape(gamma, (10, 1, 1)), F.reshape(beta, (10, 1, 1)), axis=(0, 2, 3)).tanh() * pixels


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_batch_norm_has_the_engines_bits(dtype):
    *values, dy = batch(dtype=dtype)
    compiled = trace(batch_norm, *values).compile()
    y, gradients = by_engine(batch_norm, values, dy)
    found, of_inputs = compiled.gradients(*values, dy)
    for a, b in zip((compiled(*values), found, *of_inputs), (y, y, *gradients)):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("function", [layer_norm, rms_norm, softmax_cross_entropy, relu_network, images])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_layers_are_within_the_rounding_of_their_sums(function, dtype):
    *values, _ = batch(1, dtype)
    p = trace(function, *values)
    dy = [] if p.upstream is None else [np.cos(np.arange(p.result.value.size)).reshape(p.result.shape).astype(dtype)]
    y, gradients = by_engine(function, values, *dy)
    compiled = p.compile()
    found, of_inputs = compiled.gradients(*values, *dy)
    np.testing.assert_array_equal(compiled(*values), found)
    for a, b in zip((found, *of_inputs), (y, *gradients)):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=200 * np.finfo(dtype).eps, atol=200 * np.finfo(dtype).eps * np.abs(b).max())


def test_loops_store_nothing_as_large_as_the_batch_but_results():
    *values, _ = batch()
    source = trace(batch_norm, *values).compile().source
    backward = source[source.index("def gradients_1") :]
    assert backward.count("for r in range(32):") == 5
    assert backward.count("[r, c] = ") == 2
    assert "x_hat = t1 / t4[c]" in backward
    rows = trace(layer_norm, *values).compile().source
    assert rows[rows.index("def gradients_1") :].count("for r in range(32):") == 1


def test_what_is_repeated_or_reduced_is_in_the_loops_too():
    """A number for each row, whether its axis is left or not; what is repeated; and of rows, those of the first axis."""
    x = np.ones((4, 3))
    for f, given, within in (
        (lambda x, v: (x.sum(axis=1) * v).exp(), (x, np.ones(4)), "v = v_rows[r]"),
        (lambda x, b: np.where(x > 0, np.broadcast_to(b, (4, 3)), x), (x, np.ones(3)), "t2 = b[c]"),
        (lambda x: (x * x).exp(), (np.ones((4, 8, 6), np.float32),), "for r in range(4):\n        for c in range(48):"),
        (lambda x: x.exp(), (x.astype(np.float32),), " = exp32(x[r, c])"),
    ):
        source = loops.source(trace(f, *given))
        assert within in source, source
        forward = source[source.index("def forward(") : source.index("def gradients(")]
        assert "np." not in forward.replace("np.empty(", "").replace("np.ascontiguousarray(", "").replace("np.float", "")


def test_a_large_batch_has_a_tile_for_so_many_numbers_and_no_narrow_ones():
    for f, sizes, tiles in (
        (layer_norm, (1024, 4096), "16, 1024"),
        (layer_norm, (256, 4096), "4, 256"),
        (layer_norm, (3, 2**18), "3, 3"),
        (batch_norm, (2000, 4096), "8, 4096"),
        (batch_norm, (20_000, 800), None),
        (batch_norm, (128, 2048), None),
    ):
        source = loops.source(trace(f, *[np.ones(n, np.float32) for n in (sizes, sizes[1], sizes[1])]))
        assert (f"    tiled(gradients_1, {tiles}, " in source) == (tiles is not None)
        assert "tiled(" not in source or tiles


SMALL_TILES = {"TILE": 1, "NARROW": 1}


@pytest.mark.parametrize("function", [batch_norm, layer_norm, softmax_cross_entropy, images])
def test_threads_make_no_difference(function, monkeypatch):
    *values, dy = batch(2, "float32")
    p = trace(function, *values)
    values += [] if p.upstream is None else [dy.reshape(p.result.shape)]
    whole = p.compile().gradients(*values)
    monkeypatch.setattr(loops, "TILE", 16)
    monkeypatch.setattr(loops, "NARROW", 1)
    compiled = p.compile()
    assert "tiled(gradients_1, " in compiled.source
    found = []
    for n in (1, 2, 7):
        monkeypatch.setattr(threads, "THREADS", n)
        y, gradients = compiled.gradients(*values)
        found.append([y, *gradients])
    for a, b, c, one_tile in zip(*found, (whole[0], *whole[1])):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        if function is batch_norm:  # cut along the columns, so that no sum is taken in another order
            np.testing.assert_array_equal(a, one_tile)
        np.testing.assert_allclose(a, one_tile, rtol=1e-5, atol=1e-6)


def test_every_tile_is_done_once_and_what_one_raises_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(threads, "THREADS", 3)
    done = []
    threads.tiled(lambda tile, start, stop, word: done.append((tile, start, stop, word)), 7, 100, "word")
    assert sorted(done) == [(i, 100 * i // 7, 100 * (i + 1) // 7, "word") for i in range(7)]

    def full(tile, start, stop):
        if tile == 5:
            raise MemoryError("tile 5")

    for _ in range(20):
        with pytest.raises(MemoryError, match="tile 5"):
            threads.tiled(full, 7, 100)


def test_callers_at_the_same_time_and_forks_get_along(monkeypatch):
    """Another call, or a forked process, does not wait for threads that are busy, or that it does not have."""
    *values, dy = batch()
    monkeypatch.setattr(loops, "TILE", 16)
    compiled = trace(layer_norm, *values).compile()
    expected = compiled.gradients(*values, dy)[1][0]
    with ThreadPoolExecutor(4) as pool:
        for _, (dx, *_) in pool.map(lambda _: compiled.gradients(*values, dy), range(20)):
            np.testing.assert_array_equal(dx, expected)
    receiver, sender = get_context("fork").Pipe(duplex=False)
    child = get_context("fork").Process(target=lambda: sender.send(compiled.gradients(*values, dy)[1][0]))
    child.start()
    assert receiver.poll(30), "the child waits for threads that it does not have"
    np.testing.assert_array_equal(receiver.recv(), expected)
    child.join()


def test_images_are_passes_over_channels():
    source = trace(images, *batch()[:3]).compile().source
    backward = source[source.index("def gradients_1") : source.index("def forward(")]
    assert backward.count("for n in range(4):\n        for m in range(10):") == 5 and "var_channels[m] += row_sum(" in backward
    driver = source[source.index("def gradients(") :]
    assert "sum(" not in driver and " * " not in driver  # all of it is in the loops


def test_a_single_float64_takes_the_dtype_that_it_meets():
    def f(a, b):
        return F.where(a > b.mean(), a / b.sum(), b.mean()) * a.mean(axis=0)

    values = [np.random.default_rng(0).normal(size=(32, 10)).astype("float32"), np.arange(1.0, 4.0)]
    dy = np.cos(values[0])
    y, (da, _) = by_engine(f, values, dy)
    found, (of_a, _) = trace(f, *values).compile().gradients(*values, dy)
    for got, due in ((found, y), (of_a, da)):
        assert got.dtype == due.dtype == "float32"
        np.testing.assert_array_equal(got, due)


def test_names_that_the_loops_have_themselves():
    def f(r, c, m, n):
        return ((r - r.mean(axis=0)) * c + m) * n

    def g(r, r0, t3_row, tiled):
        return ((r - (r * r0).mean(axis=1, keepdims=True)).exp() * t3_row + (r * tiled).max(axis=1, keepdims=True)) * tiled

    values = [np.arange(12.0).reshape(4, 3) / 12, np.arange(3.0), np.ones((4, 3)), np.ones(3) / 2]
    for function in (f, g):
        y, gradients = by_engine(function, values, values[0])
        found, of_inputs = trace(function, *values).compile().gradients(*values, values[0])
        for a, b in zip((found, *of_inputs), (y, *gradients)):
            np.testing.assert_allclose(a, b, rtol=1e-15 * (function is g), atol=1e-15 * (function is g))


def test_names_that_a_call_of_the_loops_has_itself(monkeypatch):
    def f(forward_1, gradients_1, dgamma_tiles, gamma):
        x = forward_1 * gradients_1 + dgamma_tiles
        return (x - x.mean(axis=1, keepdims=True)) * gamma * dgamma_tiles

    monkeypatch.setattr(loops, "TILE", 1)
    monkeypatch.setattr(loops, "NARROW", 1)
    values = [np.arange(12.0).reshape(4, 3) / 12, np.ones((4, 3)), np.arange(3.0), np.array([1.0, 2.0, 4.0])]
    y, gradients = by_engine(f, values, values[0])
    compiled = trace(f, *values).compile()
    assert "dgamma_tiles = np.empty(" in compiled.source and "tiled(gradients_1, " in compiled.source
    found, of_inputs = as_python(compiled).gradients(*values, values[0])
    for a, b in zip((found, *of_inputs), (y, *gradients)):
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14)


def test_what_does_not_fit_into_loops_is_numpy_between_them():
    *values, _ = batch()
    source = trace(relu_network, *values).compile().source
    driver = source[source.index("def gradients(") :]
    assert " @ " in driver and "gradients_" in driver and "np.zeros((32, 10), np.float64)" in driver


def as_python(compiled):
    """The loops as Python runs them, uncompiled."""
    if compiled.single:  # has no loops, and is compiled at once
        return compiled
    plain = compiled.source.replace("from numba import njit", "def njit(*_, **__):\n    return lambda function: function")
    scope = {}
    exec(plain, scope)
    vars(compiled)["_module"] = SimpleNamespace(**scope)
    return compiled


def assert_within_the_bound(data, program, dtype, run):
    leaves, dy = draw_leaves(data, program, dtype)
    p = trace(lambda *tensors: program(tensors), *leaves)
    single = p.upstream is None
    dy = np.ones_like(dy) if single else dy
    with np.errstate(all="ignore"):
        try:
            expected = analysed(program, leaves, dy, running(dtype))
            exact = engine(program, leaves, dy)
            y, found = run(p.compile()).gradients(*leaves, *([] if single else [dy]))
        except (ZeroDivisionError, OverflowError):
            reject()
    for got, bound, own in zip((y, *found), expected, exact):
        assert np.shape(got) == np.shape(own)
        assert np.asarray(got).dtype == np.asarray(own).dtype
        assert_within(got, bound)


@prop(30, data=st.data(), program=programs(), dtype=st.sampled_from(("float32", "float64")), tiles=st.booleans())
def test_loops_are_within_the_bound(data, program, dtype, tiles):
    """As Python: compiling takes a second or two each."""
    with patch.dict(vars(loops), SMALL_TILES if tiles else {}):
        assert_within_the_bound(data, program, dtype, as_python)


@prop(2, data=st.data(), program=programs(), dtype=st.sampled_from(("float32", "float64")))
def test_compiled_programs_are_within_the_bound(data, program, dtype):
    assert_within_the_bound(data, program, dtype, lambda compiled: compiled)


def test_single_numbers_come_as_numbers_or_as_an_array():
    def f(*v):
        total = sum(a * b for a, b in zip(v[:20], v[20:]))
        return (
            (total.tanh() + v[0].relu()) ** 2 - F.where(v[1] > 0, v[1], total**3) / v[2] + v[3].exp() + F.maximum(total, v[4]).sin()
        )

    values = np.random.default_rng(0).normal(size=40).tolist()
    y, gradients = by_engine(f, values)
    compiled = trace(f, *[1.0] * 40).compile()
    found, of_inputs = compiled.gradients(*values)
    assert isinstance(found, float) and isinstance(of_inputs, tuple)
    np.testing.assert_allclose((found, *of_inputs), (y, *gradients), rtol=1e-12)
    again, array = compiled.gradients(np.array(values))
    assert again == found == compiled(*values) == compiled(np.array(values))
    assert array.tolist() == list(of_inputs)
    with pytest.raises(TypeError, match="takes 40 values"):
        compiled.gradients(1.0, 2.0)
    with pytest.raises(ValueError, match=r"one array of them, and this is \(39,\)"):
        compiled(np.ones(39))
    assert trace(lambda a: a / 0.0, 1.0).compile()(1.0) == np.inf
    assert trace(lambda a: a * 2, 1.0).compile().gradients(4.0) == (8.0, (2.0,))
    assert [trace(lambda a, n=n: a**n, 1.0).compile()(3.0) for n in (1, 2, 3, 0, -1)] == [3, 9, 27, 1, 1 / 3]
    assert trace(lambda a: F.where(True, a, 2.0) * 3, 1.0).compile().gradients(4.0) == (12.0, (3.0,))
    cast = trace(lambda a: a * P.astype(a > 0, dtype=np.dtype(float)) + P.astype(a, dtype=np.dtype(float)), 1.0).compile()
    assert [cast.gradients(a) for a in (3.0, -3.0)] == [(6.0, (2.0,)), (-3.0, (1.0,))]


def test_bad_input_is_refused_as_the_program_does():
    *values, dy = batch()
    compiled = trace(batch_norm, *values).compile()
    with pytest.raises(ValueError, match=r"dy: .* \(32, 10\), and this has \(10,\)"):
        compiled.gradients(*values, dy[0])
    with pytest.raises(TypeError, match="takes 3 values"):
        compiled(values[0])
    from decimal import Decimal

    with pytest.raises(TypeError, match=r"compile.. is for floats, and .* is of object"):
        trace(lambda a: a * 2, Decimal(1)).compile()
    with pytest.raises(TypeError, match=r"compile.. is for floats, and .* is of (longdouble|float128|float96)"):
        trace(lambda a: a * 2, np.ones(2, np.longdouble)).compile()


def test_a_layout_does_not_matter():
    *values, dy = batch()
    compiled = trace(batch_norm, *values).compile()
    expected = compiled.gradients(*values, dy)
    found = compiled.gradients(np.asfortranarray(values[0]), *values[1:], np.repeat(dy, 2, axis=1)[:, ::2])
    for a, b in zip((expected[0], *expected[1]), (found[0], *found[1])):
        np.testing.assert_array_equal(a, b)


def test_the_second_process_does_not_compile(tmp_path):
    run = (
        "import time, numpy as np; from micrograd_bn import trace, batch_norm; "
        "c = trace(batch_norm, np.ones((5, 3)), np.ones(3), np.ones(3)).compile(); "
        "start = time.perf_counter(); c(np.ones((5, 3)), np.ones(3), np.ones(3)); "
        "import numba; print(c._module.forward_1.stats.cache_hits and 'from the cache' or 'compiled')"
    )
    for found in ("compiled", "from the cache"):
        done = subprocess.run(
            [sys.executable, "-c", run],
            check=True,
            capture_output=True,
            text=True,
            env={"XDG_CACHE_HOME": str(tmp_path), "HOME": "/"},
        )
        assert done.stdout.strip() == found


def test_the_cache_is_the_users_or_temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no" / "such"))
    assert folder() == tmp_path / "no" / "such" / "micrograd_bn" and folder().is_dir()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert folder().parent == tmp_path and folder().is_dir()


def test_without_numba_compile_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    p = trace(lambda a: a * 2, 1.0)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'micrograd-bn\[fast\]'"):
        p.compile()
    assert p(2.0) == 4.0


def test_the_package_does_not_import_numba():
    run = "import sys, micrograd_bn; assert not {'numba', 'llvmlite'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", run], check=True)


def test_a_tensor_is_for_the_program_not_for_what_is_compiled():
    with pytest.raises(TypeError, match="this is a Tensor already"):
        trace(lambda a: (a * 2).sum(), np.ones(2)).compile()(Tensor([1.0, 2.0]))


def test_exp_of_a_float32_is_within_two_units_in_the_last_place():
    random = np.random.default_rng(0)
    inputs = np.concatenate(
        [
            np.linspace(-104, 89, 200_000),
            random.normal(size=90_000),
            [np.inf, -np.inf, np.nan, 0.0, 88.8, -105.0, 1e30, -1e30, 0.5, -0.5],
        ]
    )
    x = inputs.astype(np.float32).reshape(10, -1)
    found = trace(lambda x, w: x.exp() * w, x, x[:1]).compile()(x, np.ones_like(x[:1]))
    with np.errstate(all="ignore"):
        truth = np.exp(x.astype(np.float64))
        rounded = truth.astype(np.float32)
        assert np.array_equal(np.isfinite(found), np.isfinite(rounded)) and np.array_equal(np.isnan(found), np.isnan(x))
        off = np.abs(found - truth) / np.spacing(rounded)
    assert off[np.isfinite(rounded)].max() < 2
