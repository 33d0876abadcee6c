"""Backward passes of batch normalisation as different people write them, to check, and what plants a mistake in one."""

import inspect
from typing import NamedTuple

import numpy as np

from micrograd_bn import Tensor, batch_norm, batch_norm_backward


def derived(dy, x, gamma, beta, eps):
    """As in the derivation, gradient by gradient."""
    m = len(x)
    mu = np.sum(x, axis=0) / m
    var = np.sum((x - mu) ** 2, axis=0) / m
    x_hat = (x - mu) / np.sqrt(var + eps)
    dx_hat = dy * gamma
    dgamma = np.sum(dy * x_hat, axis=0)
    dbeta = np.sum(dy, axis=0)
    dvar = np.sum(dx_hat * -0.5 * (x - mu) * (var + eps) ** -1.5, axis=0)
    dmu = np.sum(dx_hat * -1 / np.sqrt(var + eps), axis=0) + dvar * np.mean(-2 * (x - mu), axis=0)
    dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / m + dmu / m
    return {"dx_hat": dx_hat, "dgamma": dgamma, "dbeta": dbeta, "dvar": dvar, "dmu": dmu, "dx": dx}


def condensed(dy, x, gamma, beta, eps):
    """The three terms of dx collected, as frameworks have it."""
    m, deviation = x.shape[0], np.std(x, axis=0)
    root = np.hypot(deviation, np.sqrt(eps)).astype(x.dtype)
    x_hat = (x - np.mean(x, axis=0)) / root
    dbeta, dgamma = dy.sum(0), (dy * x_hat).sum(0)
    return gamma / (m * root) * (m * dy - dbeta - x_hat * dgamma), dgamma, dbeta


def staged(dy, x, gamma, beta, eps):
    """A node at a time, twelve forward and twelve back, as in F. Kratzert's post on batch normalisation (2016)."""
    m, k = x.shape
    mu = 1.0 / m * x.sum(axis=0)
    centered = x - mu
    square = centered**2
    var = 1.0 / m * square.sum(axis=0)
    root = np.sqrt(var + eps)
    inverse = 1.0 / root
    x_hat = centered * inverse
    # out = gamma * x_hat + beta; from here on backwards
    dbeta = dy.sum(axis=0)
    dscaled = dy
    dgamma = (dscaled * x_hat).sum(axis=0)
    dx_hat = dscaled * gamma
    dinverse = (dx_hat * centered).sum(axis=0)
    dcentered = dx_hat * inverse
    droot = -1.0 / root**2 * dinverse
    dvar = 0.5 / np.sqrt(var + eps) * droot
    dsquare = 1.0 / m * np.ones((m, k), dtype=x.dtype) * dvar
    dcentered = dcentered + 2 * centered * dsquare
    dmu = -1 * dcentered.sum(axis=0)
    dx = dcentered + 1.0 / m * np.ones((m, k), dtype=x.dtype) * dmu
    return {"x": dx, "mu": dmu, "var": dvar, "gamma": dgamma, "beta": dbeta}


def with_keepdims(dy, x, gamma, beta, eps):
    """As a user of torch writes it; centred in two steps, and a variance that is spelled out."""
    mean = x.mean(0, keepdims=True)
    rstd = (((x - mean) ** 2).mean(0, keepdims=True) + eps) ** -0.5
    x_hat = (x - mean) * rstd
    grad_x_hat = dy * gamma
    grad_weight, grad_bias = (dy * x_hat).sum(0, keepdims=True), dy.sum(0, keepdims=True)
    grad_input = rstd * (grad_x_hat - grad_x_hat.mean(0, keepdims=True) - x_hat * (grad_x_hat * x_hat).mean(0, keepdims=True))
    return Named(grad_input, grad_weight, grad_bias)


class Named(NamedTuple):
    x: object
    dgamma: object
    dbeta: object


def by_engine(dy, x, gamma, beta, eps):
    """No derivation at all."""
    x, gamma, beta = Tensor(x), Tensor(gamma), Tensor(beta)
    batch_norm(x, gamma, beta, eps).backward(dy)
    return x.grad, gamma.grad, beta.grad


def on_paper(dy, x, gamma, beta, eps):
    return batch_norm_backward(dy, x, gamma, eps)


STYLES = (derived, condensed, staged, with_keepdims, by_engine, on_paper)


def random_batches(n, seed):
    """Any m and k, both dtypes, any scale and offset a column; some columns constant, or nearly."""
    random = np.random.default_rng(seed)
    for _ in range(n):
        m, k = int(random.integers(1, 40)), int(random.integers(1, 9))
        dtype = random.choice(["float32", "float64"])
        scale = 10.0 ** random.uniform(-8, 6, k) * (random.random(k) < 0.9)
        offset = 10.0 ** random.uniform(-3, 6, k) * random.choice([-1, 0, 0, 1], k)
        x = random.normal(size=(m, k)) * scale + offset
        dy, gamma = (
            random.normal(size=(m, k)) * 10.0 ** random.uniform(-4, 4),
            random.normal(size=k) * 10.0 ** random.uniform(-2, 2),
        )
        eps = 10.0 ** random.uniform(-8, -1)
        yield *(a.astype(dtype) for a in (dy, x, gamma, random.normal(size=k))), eps


def edited(function, *changes):
    """The function with pieces of its text replaced, (old, new, old, new …)."""
    source = inspect.getsource(function)
    for old, new in zip(changes[::2], changes[1::2]):
        assert old in source, old
        source = source.replace(old, new)
    namespace = dict(function.__globals__)
    exec(source, namespace)
    return namespace[function.__name__]


# What stands there, what is put in its place, the gradient that is to blame, and what must be said of it.
