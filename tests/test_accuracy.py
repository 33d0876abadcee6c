"""Float32 batches against their exact result: what rounding costs, and that it is what theory says."""

import numpy as np
import pytest

from benchmarks.contenders import EPS, FUSED
from benchmarks.timing import MEANS, batch, errors, exact
from micrograd_bn import batch_norm, batch_norm_backward

UNIT = float(np.finfo(np.float32).eps)


@pytest.mark.parametrize("center", MEANS)
def test_the_composed_graph_loses_what_the_rounding_of_the_mean_costs(center):
    """The error grows with mean / standard deviation, and no faster: x − mu has the rounding of mu in it."""
    for found in errors(*batch(center), ["this project, engine", "NumPy, condensed"]).values():
        assert max(found) <= 100 * UNIT * max(1, center)


@pytest.mark.parametrize("center", MEANS)
def test_the_fused_primitive_loses_nothing_that_the_batch_still_has(center):
    """Its statistics are float64's and it subtracts them in two parts: a few roundings of float32, wherever the mean is."""
    assert max(errors(*batch(center), [FUSED])[FUSED]) <= 1e-6


def test_the_exact_result_is_float64s_to_its_last_digits():
    x, dy = batch(0.0)
    y, dx = exact(x, dy)
    np.testing.assert_allclose(batch_norm(x.astype(float), 1.0, 0.0, EPS), y, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(batch_norm_backward(dy.astype(float), x.astype(float), 1.0, EPS).x, dx, rtol=1e-12, atol=1e-14)
