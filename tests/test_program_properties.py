"""Programs of random graphs give what the engine gives, to the bit, on numbers that they were not traced with."""

import subprocess
import sys

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from micrograd_bn import Tensor, grad
from micrograd_bn.numbers.program import trace
from tests.strategies import DTYPES, layouts, programs, prop
from tests.test_properties import draw_leaves


def same_bits(a, b) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=")
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a) & (a == 0), np.signbit(b) & (b == 0))  # -0.0 is not 0.0


def engine(program, leaves, dy):
    tensors = [Tensor(a) for a in leaves]
    y = program(tensors)
    y.backward(dy)
    return y.data, *(np.zeros_like(t.data) if t.grad is None else t.grad for t in tensors)


def traced(program, data, dtype="float64", reuse=False):
    leaves, _ = draw_leaves(data, program, dtype)
    return trace(lambda *tensors: program(tensors), *leaves, reuse=reuse)


@prop(40, data=st.data(), program=programs(), dtype=st.sampled_from(DTYPES), layout=layouts)
def test_a_program_gives_the_bits_of_the_engine(data, program, dtype, layout):
    p = traced(program, data, dtype, reuse=data.draw(st.booleans()))
    leaves, dy = draw_leaves(data, program, dtype)
    with np.errstate(all="ignore"):
        given = [layout(a) for a in (*leaves, dy)]
        if p.upstream is None:
            dy, given = np.ones(program.shape, dtype), given[:-1]
        expected = engine(program, [layout(a) for a in leaves], layout(dy))
        before = [a.tobytes() for a in given]
        y, found = p.gradients(*given)
        alone = p(*given[: len(leaves)])
    same_bits(alone, expected[0])
    for a, b in zip((y, *found), expected):
        same_bits(a, b)
    assert [a.tobytes() for a in given] == before


@prop(10, data=st.data(), program=programs(moves=3))
def test_a_program_on_tensors_is_a_node_whose_derivatives_are_the_engines(data, program):
    p = traced(program, data)
    leaves, dy = draw_leaves(data, program)
    direction = data.draw(st.integers(0, 99))
    found = []
    with np.errstate(all="ignore"):
        for function in (lambda t: p(*t), program):
            tensors = [Tensor(a) for a in leaves]
            y = function(tensors)
            first = grad(y, tensors, dy)
            random = np.random.default_rng(direction)
            slope = sum((g * random.normal(size=g.shape)).sum() for g in first)
            second = grad(slope, tensors) if isinstance(slope, Tensor) else ()
            found.append([y, *first, *second])
    for a, b in zip(*found):
        np.testing.assert_array_equal(a.data, b.data)


RUN = """
import importlib.util, sys
import numpy as np
sys.modules["micrograd_bn"] = None  # as where it is not installed
spec = importlib.util.spec_from_file_location("backward", sys.argv[1] + "/backward.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
given = np.load(sys.argv[1] + "/given.npz")
with np.errstate(all="ignore"):
    y, found = module.gradients(*given.values())
np.savez(sys.argv[1] + "/found.npz", y, *found)
"""


@prop(3, data=st.data(), program=programs(), dtype=st.sampled_from(DTYPES))
def test_what_is_saved_gives_the_bits_of_the_engine_where_the_package_is_not(data, program, dtype, tmp_path_factory):
    p = traced(program, data, dtype)
    leaves, dy = draw_leaves(data, program, dtype)
    folder = tmp_path_factory.mktemp("saved")
    p.save(folder / "backward.py")
    given = [*leaves, *([dy] if p.upstream is not None else []), *[name.value for name in p.constants]]
    np.savez(folder / "given.npz", *given)
    subprocess.run([sys.executable, "-I", "-c", RUN, folder], check=True)
    with np.errstate(all="ignore"):
        try:
            expected = engine(program, leaves, np.ones(program.shape, dtype) if p.upstream is None else dy)
        except (ZeroDivisionError, OverflowError):
            reject()
    for a, b in zip(np.load(folder / "found.npz").values(), expected):
        same_bits(a, b)
