"""The backward pass of layer normalisation, solved: not to be handed out."""

import numpy as np


def backward(dy, x, gamma, beta, eps):
    """The gradients of the loss l for y = gamma x_hat + beta; ``da`` is short for ∂l/∂a.

    dy, x          shape (m, k): what flows in from above, and the batch, m rows of k features.
    gamma, beta    shape (k,).
    eps            a number greater than 0.

    dx_hat and dx have x's shape (m, k), dgamma and dbeta (k,), dvar and dmu one number for each row: (m, 1), or (m,).
    """
    # The forward pass, equations (1) to (3), along each row: this much is given.
    k = x.shape[1]
    mu = x.sum(axis=1, keepdims=True) / k
    var = ((x - mu) ** 2).sum(axis=1, keepdims=True) / k
    x_hat = (x - mu) / np.sqrt(var + eps)

    dx_hat = dy * gamma
    dgamma = (dy * x_hat).sum(axis=0)
    dbeta = dy.sum(axis=0)
    dvar = (dx_hat * (x - mu) * -0.5 * (var + eps) ** -1.5).sum(axis=1, keepdims=True)
    dmu = (dx_hat * -1 / np.sqrt(var + eps)).sum(axis=1, keepdims=True)
    dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / k + dmu / k

    return {"dx_hat": dx_hat, "dgamma": dgamma, "dbeta": dbeta, "dvar": dvar, "dmu": dmu, "dx": dx}
