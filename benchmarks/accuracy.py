"""How much of a float32 batch's precision survives: the composed graph, the closed form and torch, against the exact result.

The exact result is the same functions on the same float32 numbers taken as 50-digit decimals. Run it for the table:

    python -m benchmarks.accuracy
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np

from micrograd_bn import Tensor, batch_norm, batch_norm_backward, fused_batch_norm
from micrograd_bn.batchnorm import mean, normalize, variance
from micrograd_bn.derivations.batch_norm import d_x_condensed

MEANS = (0.0, 1e2, 1e4, 1e6)
EPS = 2.0**-17  # 7.6e-6, the same number in float32, in float64 and in decimals


def batch(center: float, shape=(256, 4), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """x with mean ``center`` and standard deviation 1, and an upstream gradient, both in float32."""
    random = np.random.default_rng(seed)
    return random.normal(center, 1, shape).astype(np.float32), random.normal(size=shape).astype(np.float32)


def exact(x: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y and dx for gamma 1 and beta 0, computed in 50 digits from exactly these numbers, then rounded to float64."""
    to_decimal = np.vectorize(lambda number: Decimal(float(number)), otypes=[object])
    with localcontext() as context:
        context.prec = 50
        x, dy, one, eps = to_decimal(x), to_decimal(dy), Decimal(1), Decimal(EPS)
        y, dx = batch_norm(x, one, one * 0, eps), batch_norm_backward(dy, x, one, eps).x
        return y.astype(np.float64), dx.astype(np.float64)


def composed(x, dy):
    x = Tensor(x)
    y = batch_norm(x, np.float32(1), np.float32(0), EPS)
    y.backward(dy)
    return y.data, x.grad


def fused(x, dy):
    x = Tensor(x)
    y = fused_batch_norm(x, np.float32(1), np.float32(0), EPS)
    y.backward(dy)
    return y.data, x.grad


def closed_form(x, dy):
    mu = mean(x)
    var = variance(x, mu)
    x_hat = normalize(x, mu, var, EPS)
    return x_hat, d_x_condensed(dy, x, x_hat, var, np.float32(1), EPS, 0)


def torch_fused(x, dy):
    import torch

    x = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.batch_norm(x, None, None, training=True, eps=EPS)
    y.backward(torch.tensor(dy))
    return y.detach().numpy(), x.grad.numpy()


METHODS = {"composed graph": composed, "closed form": closed_form, "fused": fused, "torch F.batch_norm": torch_fused}


def errors(x: np.ndarray, dy: np.ndarray) -> dict[str, tuple[float, float]]:
    """The largest error of y and of dx in proportion to their largest element, for each method that is installed."""
    truth = exact(x, dy)
    result = {}
    for name, method in METHODS.items():
        try:
            got = method(x, dy)
        except ModuleNotFoundError:
            continue
        result[name] = tuple(float(np.abs(g - t).max() / np.abs(t).max()) for g, t in zip(got, truth))
    return result


def table() -> list[str]:
    """The errors of all methods for all means, as lines of a Markdown table."""
    lines = ["| float32, 256 × 4 | " + " | ".join(f"{name}: y, dx" for name in METHODS) + " |", "|---|" + "---:|" * len(METHODS)]
    for center in MEANS:
        found = errors(*batch(center))
        cells = [f"{found[name][0]:.0e}, {found[name][1]:.0e}" if name in found else "not installed" for name in METHODS]
        lines.append(f"| mean {center:g}, std 1 | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
