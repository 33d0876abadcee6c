"""Assignment: the backward pass of batch normalisation.

Replace each None in ``backward`` by what you derived on paper, in any order, and ask as often as you like:

    micrograd-bn check student.py:backward

A None is a gradient that you have not returned yet; the others are judged.
"""

import numpy as np


def backward(dy, x, gamma, beta, eps):
    """The gradients of the loss l for y = gamma x_hat + beta; ``da`` is short for ∂l/∂a.

    dy, x          shape (m, k): what flows in from above, and the batch, m rows of k features.
    gamma, beta    shape (k,).
    eps            a number greater than 0.

    dx_hat and dx have x's shape (m, k), the other four have shape (k,).
    """
    # The forward pass, equations (1) to (3): this much is given.
    m = x.shape[0]
    mu = x.sum(axis=0) / m
    var = ((x - mu) ** 2).sum(axis=0) / m
    x_hat = (x - mu) / np.sqrt(var + eps)

    dx_hat = None  # TODO: through (4)
    dgamma = None  # TODO: through (4); a whole batch uses the one gamma
    dbeta = None  # TODO: through (4)
    dvar = None  # TODO: through (3)
    dmu = None  # TODO: through (2) and (3); a term that adds up to 0 may be left out
    dx = None  # TODO: through (1), (2) and (3): three terms

    return {"dx_hat": dx_hat, "dgamma": dgamma, "dbeta": dbeta, "dvar": dvar, "dmu": dmu, "dx": dx}
