"""PyTorch as the oracle of the packaged derivations: the same result and the same gradients."""

import numpy as np
import pytest

from tests.conftest import optional
from tests.test_derivation import ALL, values_of

torch = optional("torch")

TORCH = {
    "LAYER_NORM": lambda t, F: F.layer_norm(t["x"], (4,), t["gamma"], t["beta"], 1e-5),
    "RMS_NORM": lambda t, F: F.rms_norm(t["x"], (4,), t["gamma"], 1e-5),
    "GROUP_NORM": lambda t, F: F.group_norm(
        t["x"].reshape(2, 6, 2, 2), 2, t["gamma"].reshape(6), t["beta"].reshape(6), 1e-5
    ).reshape(2, 2, 3, 2, 2),
    "BATCH_NORM": lambda t, F: F.batch_norm(t["x"], None, None, t["gamma"][0], t["beta"][0], training=True, eps=1e-5),
    "LINEAR": lambda t, F: F.linear(t["x"], t["w"], t["b"]),
    "ATTENTION": lambda t, F: F.scaled_dot_product_attention(t["q"][None], t["k"][None], t["v"][None])[0],
    "SOFTMAX_CROSS_ENTROPY": lambda t, F: F.cross_entropy(t["z"], t["t"]),
}


@pytest.mark.parametrize("name", ALL)
def test_the_same_result_and_gradients_as_pytorchs(name):
    d, values = values_of(name)
    tensors = {a: torch.tensor(values[a], requires_grad=a not in d.no_gradient) for a in d.inputs}
    y = TORCH[name](tensors, torch.nn.functional)
    y.backward(torch.tensor(values[d.upstream]))
    np.testing.assert_allclose(values[d.result], y.detach().numpy(), rtol=1e-12, atol=1e-12)
    for a in d.inputs:
        if a not in d.no_gradient:
            np.testing.assert_allclose(values[f"d{a}"], tensors[a].grad.numpy(), rtol=1e-12, atol=1e-12)
