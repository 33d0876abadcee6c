"""check_backward of every packaged derivation, and of one that a user writes: right ones pass, wrong ones are told why."""

import re

import numpy as np
import pytest

from micrograd_bn import Derivation, Tensor, derivations, equation
from micrograd_bn.check import check_backward
from micrograd_bn.derivation import Edge
from micrograd_bn.formulas import mistakes_in
from tests.backward_passes import edited

# ---- A backward pass of each derivation, edge by edge, and in another form


def layer_norm(dy, x, gamma, beta, eps):
    m = x.shape[1]
    mu = x.sum(axis=1, keepdims=True) / m
    var = ((x - mu) ** 2).sum(axis=1, keepdims=True) / m
    x_hat = (x - mu) / np.sqrt(var + eps)
    dx_hat = dy * gamma
    dgamma = (dy * x_hat).sum(axis=0)
    dbeta = dy.sum(axis=0)
    dvar = (dx_hat * -0.5 * (x - mu) * (var + eps) ** -1.5).sum(axis=1)
    dmu = (dx_hat * -1 / np.sqrt(var + eps)).sum(axis=1, keepdims=True)
    dx = dx_hat / np.sqrt(var + eps) + dvar[:, None] * 2 * (x - mu) / m + dmu / m
    return {"dx_hat": dx_hat, "dgamma": dgamma, "dbeta": dbeta, "dvar": dvar, "dmu": dmu, "dx": dx}


def layer_norm_condensed(dy, x, gamma, beta, eps):
    x_hat = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    g = dy * gamma
    dx = (g - g.mean(-1, keepdims=True) - x_hat * (g * x_hat).mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return dx, (dy * x_hat).sum(0), dy.sum(0)


def rms_norm(dy, x, gamma, eps):
    m = x.shape[1]
    ms = (x**2).sum(axis=1) / m
    root = np.sqrt(ms + eps)[:, None]
    x_hat = x / root
    dx_hat = dy * gamma
    dgamma = (dy * x_hat).sum(axis=0)
    dms = (dx_hat * -0.5 * x / root**3).sum(axis=1)
    dx = dx_hat / root + dms[:, None] * 2 * x / m
    return {"x_hat": dx_hat, "gamma": dgamma, "ms": dms, "x": dx}


def rms_norm_condensed(dy, x, gamma, eps):
    rms = (np.mean(x * x, axis=-1, keepdims=True) + eps) ** 0.5
    x_hat, g = x / rms, dy * gamma
    return (g - x_hat * np.mean(g * x_hat, axis=-1, keepdims=True)) / rms, np.einsum("mk,mk->k", dy, x_hat)


def group_norm(dy, x, gamma, beta, eps):
    over = (2, 3, 4)
    m = x[0, 0].size
    mu = x.sum(axis=over, keepdims=True) / m
    var = ((x - mu) ** 2).sum(axis=over, keepdims=True) / m
    x_hat = (x - mu) / np.sqrt(var + eps)
    dx_hat = dy * gamma
    dgamma = (dy * x_hat).sum(axis=(0, 3, 4))[..., None, None]
    dbeta = dy.sum(axis=(0, 3, 4))[..., None, None]
    dvar = (dx_hat * -0.5 * (x - mu) * (var + eps) ** -1.5).sum(axis=over, keepdims=True)
    dmu = (dx_hat * -1 / np.sqrt(var + eps)).sum(axis=over, keepdims=True)
    dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / m + dmu / m
    return {"dx_hat": dx_hat, "dgamma": dgamma, "dbeta": dbeta, "dvar": dvar, "dmu": dmu, "dx": dx}


def group_norm_condensed(dy, x, gamma, beta, eps):
    rows = x.reshape(*x.shape[:2], -1)
    rstd = 1 / np.sqrt(rows.var(-1) + eps)[..., None, None, None]
    x_hat = (x - rows.mean(-1)[..., None, None, None]) * rstd
    g = dy * gamma
    dx = rstd * (g - g.mean((2, 3, 4), keepdims=True) - x_hat * (g * x_hat).mean((2, 3, 4), keepdims=True))
    return dx, (dy * x_hat).sum((0, 3, 4)).reshape(gamma.shape), dy.sum((0, 3, 4)).reshape(gamma.shape)


def softmax_cross_entropy(dl, z, t):
    m = len(z)
    s = np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)) + z.max(axis=1, keepdims=True)
    dlog_p = dl * -t / m
    ds = (dlog_p * -1).sum(axis=1)
    dz = dlog_p + ds[:, None] * np.exp(z - s)
    return {"log_p": dlog_p, "s": ds, "z": dz}


def softmax_cross_entropy_condensed(dl, z, t):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return {"dz": dl * (p - t) / len(z)}


def linear(dy, x, w, b):
    return {"dx": dy @ w, "dw": dy.T @ x, "db": dy.sum(axis=0)}


def linear_by_einsum(dy, x, w, b):
    return np.einsum("mn,nk->mk", dy, w), np.einsum("mn,mk->nk", dy, x), np.ones(len(dy), dtype=dy.dtype) @ dy


def attention(dy, q, k, v):
    root = np.sqrt(q.dtype.type(q.shape[1]))
    s = q @ k.T / root
    p = np.exp(s - s.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    dv = p.T @ dy
    dp = dy @ v.T
    ds = p * (dp - (dp * p).sum(axis=1, keepdims=True))
    dq = ds @ k / root
    dk = ds.T @ q / root
    return {"dp": dp, "dv": dv, "ds": ds, "dq": dq, "dk": dk}


def attention_row_by_row(dy, q, k, v):
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for i in range(len(q)):
        s = k @ q[i] / q.shape[1] ** 0.5
        p = np.exp(s - s.max())
        p /= p.sum()
        jacobian = np.diag(p) - np.outer(p, p)
        ds = jacobian @ (v @ dy[i])
        dv += np.outer(p, dy[i])
        dq[i] = ds @ k / q.shape[1] ** 0.5
        dk += np.outer(ds, q[i]) / q.shape[1] ** 0.5
    return dq, dk, dv


PASSES = {
    "LAYER_NORM": (layer_norm, layer_norm_condensed),
    "RMS_NORM": (rms_norm, rms_norm_condensed),
    "GROUP_NORM": (group_norm, group_norm_condensed),
    "SOFTMAX_CROSS_ENTROPY": (softmax_cross_entropy, softmax_cross_entropy_condensed),
    "LINEAR": (linear, linear_by_einsum),
    "ATTENTION": (attention, attention_row_by_row),
}


def by_engine(d):
    def f(upstream, *arguments):
        inputs = {a: Tensor(value) for a, value in zip(d.inputs, arguments)}
        constants = dict(zip([a for a in d.constants if a != "axis"], arguments[len(inputs) :]))
        d(**inputs, **constants).backward(upstream)
        return {a: t.grad for a, t in inputs.items() if a not in d.no_gradient}

    return f


def on_paper(d):
    names = [*d.inputs, *[a for a in d.constants if a != "axis"]]
    return lambda upstream, *arguments: d.backward(upstream, **dict(zip(names, arguments)))


STYLES = [(name, style) for name in PASSES for style in range(4)]


def style_of(name, i):
    d = getattr(derivations, name)
    return d, (*PASSES[name], by_engine(d), on_paper(d))[i]


@pytest.mark.parametrize(("name", "i"), STYLES)
def test_what_is_right_passes_in_four_styles(name, i):
    d, f = style_of(name, i)
    check = check_backward(f, derivation=d)
    check.raise_if_wrong()
    if i == 3:
        assert {row.verdict for row in check.rows} == {"exact"}


def random_batches(d, n, seed):
    """Any sizes, both dtypes, any scale and offset of the first input, some of it constant."""
    random = np.random.default_rng(seed)
    names = {dim for dims in d.shapes.values() for dim in dims if not dim.isdigit()}
    for _ in range(n):
        to = d.shapes_for({name: int(random.integers(1, 12 if len(names) < 5 else 4)) for name in sorted(names)})
        first = d.inputs[0]
        scales = 10.0 ** random.uniform(-6, 3, to[first][-1]) * (random.random(to[first][-1]) < 0.9)
        offset = 10.0 ** random.uniform(-3, 5) * random.choice([-1, 0, 0, 1])
        inputs = {a: random.normal(size=shape) * 10.0 ** random.uniform(-2, 2) for a, shape in to.items()}
        inputs[first] = random.normal(size=to[first]) * scales + offset
        if "t" in inputs:
            inputs["t"] = random.dirichlet(np.ones(to["t"][1]), to["t"][0])
        constants = [10.0 ** random.uniform(-8, -1) for a in d.constants if a != "axis"]
        upstream = random.normal(size=np.shape(d.forward(**inputs)[d.result]))
        dtype = random.choice(["float32", "float64"])
        yield *[np.asarray(a).astype(dtype) for a in (upstream, *inputs.values())], *constants


@pytest.mark.parametrize("name", PASSES)
def test_no_false_alarm_on_a_thousand_random_batches(name):
    for i in range(4):
        d, f = style_of(name, i)
        check_backward(f, random_batches(d, 250, seed=i), d).raise_if_wrong()


# ---- Mistakes, planted by changing the text of the code


# The derivation, what stands there, what is put in its place, the gradient that is to blame, and what must be said of it.
NORMS = [
    ("dx_hat = dy * gamma", "dx_hat = dy", "x_hat", "γ is forgotten in ∂y/∂x̂, equation (5)"),
    ("dx_hat = dy * gamma", "dx_hat = dy * gamma * gamma", "x_hat", "there is a γ too many in ∂y/∂x̂, equation (5)"),
    ("-0.5", "0.5", "var", "the sign is wrong in ∂x̂/∂σ², equation (8)"),
    ("-0.5", "-1", "var", "the ½ is missing in ∂x̂/∂σ², equation (8)"),
    ("-1.5", "-0.5", "var", "the power is −½, not −3/2, in ∂x̂/∂σ², equation (8)"),
    ("-0.5 * (x - mu)", "-0.5 * x", "var", "x stands for x − μ in ∂x̂/∂σ², equation (8)"),
    (
        "dx_hat * -1 / np.sqrt(var + eps)",
        "dx_hat * -1 * np.sqrt(var + eps)",
        "mu",
        "it is multiplied by √(σ² + ε), not divided, in ∂x̂/∂μ, equation (10)",
    ),
    ("dx_hat * -1 /", "dy * -1 /", "mu", "γ is forgotten (dy stands for dx̂) in ∂x̂/∂μ, equation (10)"),
    ("dmu / m", "dmu", "x", "is missing in ∂μ/∂x, equation (11)"),
    (" + dmu / m", "", "x", "dx lacks the path through μ, equation (11)"),
    ("dmu / m", "dmu / (m - 1)", "x", "there is {m} − 1 for {m} in ∂μ/∂x, equation (11)"),
    (
        ".sum(axis=1, keepdims=True) / m\n    x_hat",
        ".sum(axis=1, keepdims=True) / (m - 1)\n    x_hat",
        "gamma",
        "the variance divides by {m} − 1, not by {m}, in equation (2)",
    ),
    (
        "np.sqrt(var + eps)\n    dx_hat",
        "(np.sqrt(var) + eps)\n    dx_hat",
        "gamma",
        "ε is added to σ, after the root, in x̂, equation (3)",
    ),
]
PLANTED = {
    "LAYER_NORM": [
        *[(*rest, words.replace("{m}", "k")) for *rest, words in NORMS],
        ("x.sum(axis=1, keepdims=True) / m", "x.mean(axis=0)", "gamma", "μ is taken over the batch (axis 0), not over the"),
        ("x.sum(axis=1, keepdims=True) / m", "x.mean(axis=0)", "mu", "μ is taken over the batch (axis 0), not over the"),
        ("(dy * x_hat).sum(axis=0)", "(dy * x_hat).sum(axis=1)", "gamma", "the sum is over the features (axis 1)"),
        ("dy.sum(axis=0)", "dy.mean(axis=0)", "beta", "(a mean for the sum over the batch) in ∂y/∂β, equation (6)"),
        ('"dbeta": dbeta', '"dbeta": dy.sum()', "beta", "the sum is over everything, not only over the batch (axis 0), in ∂y/∂β"),
    ],
    "GROUP_NORM": [
        *[
            (old.replace("axis=1", "axis=over"), new.replace("axis=1", "axis=over"), name, words.replace("{m}", "c h w"))
            for old, new, name, words in NORMS
        ],
        ("dy.sum(axis=(0, 3, 4))[..., None, None]", "dy", "beta", "there is no sum over the axes 0, 3 and 4 in ∂y/∂β"),
    ],
    "RMS_NORM": [
        ("dx_hat = dy * gamma", "dx_hat = dy", "x_hat", "γ is forgotten in ∂y/∂x̂, equation (4)"),
        ("(dy * x_hat).sum(axis=0)", "(dx_hat * x_hat).sum(axis=0)", "gamma", "there is a γ too many in ∂y/∂γ, equation (5)"),
        ("(dy * x_hat).sum(axis=0)", "(dy * x).sum(axis=0)", "gamma", "x stands for x̂ in ∂y/∂γ, equation (5)"),
        ("(dy * x_hat).sum(axis=0)", "dy * x_hat", "gamma", "there is no sum over the batch in ∂y/∂γ, equation (5)"),
        ("-0.5", "0.5", "ms", "the sign is wrong in ∂x̂/∂s, equation (7)"),
        ("-0.5", "-1", "ms", "the ½ is missing in ∂x̂/∂s, equation (7)"),
        ("dx_hat * -0.5", "dy * -0.5", "ms", "dy stands for dx̂ in ∂x̂/∂s, equation (7)"),
        ("root**3", "root", "ms", "the division by s + ε is missing in ∂x̂/∂s, equation (7)"),
        ("dx_hat / root", "dx_hat * root", "x", "it is multiplied by √(s + ε), not divided, in ∂x̂/∂x, equation (6)"),
        ("* 2 * x / m", "* x / m", "x", "the 2 is missing in ∂s/∂x, equation (8)"),
        ("* 2 * x / m", "* 2 * x", "x", "the 1/k is missing in ∂s/∂x, equation (8)"),
        (" + dms[:, None] * 2 * x / m", "", "x", "dx lacks the path through s, equation (8)"),
    ],
    "SOFTMAX_CROSS_ENTROPY": [
        ("dl * -t / m", "dl * -t", "log_p", "the 1/m is missing in ∂l/∂log p, equation (4)"),
        ("dl * -t / m", "dl * -t / z.shape[1]", "log_p", "there is k for m in ∂l/∂log p, equation (4)"),
        ("dl * -t / m", "dl * -t / (m - 1)", "log_p", "there is m − 1 for m in ∂l/∂log p, equation (4)"),
        ("dl * -t / m", "dl * -t / z.size", "log_p", "there is a 1/k too many in ∂l/∂log p, equation (4)"),
        ("dl * -t / m", "dl * t / m", "log_p", "the sign is wrong in ∂l/∂log p, equation (4)"),
        ("dl * -t / m", "-t / m", "log_p", "dl is forgotten in ∂l/∂log p, equation (4)"),
        ("(dlog_p * -1).sum(axis=1)", "dlog_p.sum(axis=1)", "s", "the sign is wrong in ∂log p/∂s, equation (6)"),
        ("(dlog_p * -1).sum(axis=1)", "-dlog_p", "s", "there is no sum over the classes in ∂log p/∂s, equation (6)"),
        ("(dlog_p * -1).sum(axis=1)", "-dlog_p.mean(axis=1)", "s", "there is a 1/k too many (a mean for the sum over the classes)"),
        ("np.exp(z - s)", "np.exp(z)", "z", "z stands for z − s in ∂s/∂z, equation (7)"),
        ("np.exp(z - s)", "(z - s)", "z", "exp is forgotten in ∂s/∂z, equation (7)"),
        ("dlog_p + ds", "ds", "z", "dz lacks the path through log p, equation (5)"),
        (" + ds[:, None] * np.exp(z - s)", "", "z", "this is dlog p"),
        ("dlog_p + ds", "dlog_p - ds", "z", "the sign is wrong in ∂s/∂z, equation (7)"),
        ("ds[:, None] * np.exp(z - s)", "np.exp(z - s)", "z", "there is no ds in ∂s/∂z, equation (7)"),
        ("np.exp(z - s)", "np.exp(s - z)", "z", "the sign under exp is wrong in ∂s/∂z, equation (7)"),
    ],
    "LINEAR": [
        ("dy @ w", "-dy @ w", "x", "the sign is wrong in ∂y/∂x, equation (2)"),
        ("dy @ w", "dy @ w / len(x)", "x", "there is a 1/m too many in ∂y/∂x, equation (2)"),
        ("dy.T @ x", "-dy.T @ x", "w", "the sign is wrong in ∂y/∂w, equation (3)"),
        ("dy.T @ x", "dy.T @ x / len(x)", "w", "there is a 1/m too many in ∂y/∂w, equation (3)"),
        ("dy.T @ x", "(dy.T @ x).T", "w", "shape (3, 2) and not (2, 3)"),
        ("dy.T @ x", "dy.T @ x * w", "w", "there is a w too many in ∂y/∂w, equation (3)"),
        ("dy.sum(axis=0)", "dy", "b", "there is no sum over the batch in ∂y/∂b, equation (4)"),
        ("dy.sum(axis=0)", "dy.mean(axis=0)", "b", "(a mean for the sum over the batch) in ∂y/∂b, equation (4)"),
        ("dy.sum(axis=0)", "dy.sum(axis=1)", "b", "the sum is over axis 1, not over the batch (axis 0), in ∂y/∂b, equation (4)"),
        ("dy.sum(axis=0)", "dy.sum()", "b", "the sum is over everything, not only over the batch (axis 0), in ∂y/∂b"),
        ("dy.sum(axis=0)", "-dy.sum(axis=0)", "b", "the sign is wrong in ∂y/∂b, equation (4)"),
    ],
    "ATTENTION": [
        ("p.T @ dy", "p @ dy", "v", "p is not transposed in ∂y/∂v, equation (5)"),
        ("dy @ v.T", "-dy @ v.T", "p", "the sign is wrong in ∂y/∂p, equation (4)"),
        ("dy @ v.T", "dy @ k.T", "p", "k stands for v in ∂y/∂p, equation (4)"),
        ("(dp * p).sum(axis=1, keepdims=True)", "(dp * p).sum(axis=0, keepdims=True)", "s", "the sum is over axis 0"),
        ("(dp * p).sum(axis=1, keepdims=True)", "(dp * p).sum()", "s", "the sum is over everything"),
        ("(dp * p).sum(axis=1, keepdims=True)", "dp * p", "s", "there is no sum over axis 1 in ∂p/∂s, equation (6)"),
        ("p * (dp - (dp * p).sum(axis=1, keepdims=True))", "p * dp", "s", "dp stands for dp − Σ dp p"),
        ("p * (dp - (", "(dp - (", "s", "p is forgotten, in p (dp − Σ dp p), in ∂p/∂s, equation (6)"),
        ("ds = p * (dp - ", "ds = p * (dp + ", "s", "there is a + for the − in dp − Σ dp p"),
        ("ds @ k / root", "ds @ k", "q", "the 1/√d is missing in ∂s/∂q, equation (7)"),
        ("ds @ k / root", "ds @ k * root", "q", "it is multiplied by √d, not divided, in ∂s/∂q, equation (7)"),
        ("ds @ k / root", "ds.T @ k / root", "q", "ds is transposed in ∂s/∂q, equation (7)"),
        ("ds @ k / root", "ds @ v / root", "q", "v stands for k in ∂s/∂q, equation (7)"),
        ("ds.T @ q / root", "ds @ q / root", "k", "ds is not transposed in ∂s/∂k, equation (8)"),
    ],
}  # fmt: skip
CASES = [(name, *case) for name, cases in PLANTED.items() for case in cases]


@pytest.mark.parametrize(("name", "old", "new", "variable", "words"), CASES)
def test_a_planted_mistake_is_explained_by_its_own_cause(name, old, new, variable, words):
    d = getattr(derivations, name)
    check = check_backward(edited(PASSES[name][0], old, new), derivation=d)
    row = next(row for row in check.rows if row.variable == variable)
    assert row.verdict in ("wrong", "wrong shape")
    assert words in row.why
    assert "with the same numbers" not in row.why


LAYER, CLASSES = "the batch (axis 0), not over the features (axis 1)", "the batch (axis 0), not over the classes (axis 1)"
MEAN_DX_HAT, MEAN_X_HAT = ("g.mean(-1", "g.mean(0"), ("(g * x_hat).mean(-1", "(g * x_hat).mean(0")
MEAN_X, VAR_X = ("x.mean(-1", "x.mean(0"), ("x.var(-1", "x.var(0")
MAX_Z, IN_DZ = "z.max(axis=1, keepdims=True)", "in the condensed form of dz"
FACTOR, DIVISION = "there is a factor", "there is a division by"
IN_FLOATS = "right while exp stays in the range of floats: the largest number"
CONDENSED = [
    ("LAYER_NORM", MEAN_X, f"μ is taken over {LAYER}, equation (1)"),
    ("LAYER_NORM", VAR_X, f"σ² is taken over {LAYER}, equation (2)"),
    ("LAYER_NORM", (*MEAN_X, *VAR_X), f"μ and σ² are taken over {LAYER}, equations (1) and (2)"),
    ("LAYER_NORM", (*MEAN_X, *VAR_X, *MEAN_DX_HAT, *MEAN_X_HAT), f"μ and σ² are taken over {LAYER}, equations (1) and (2)"),
    ("LAYER_NORM", MEAN_DX_HAT, f"the mean of dx̂ is over {LAYER}, in the condensed form of dx"),
    ("LAYER_NORM", MEAN_X_HAT, f"the mean of dx̂ x̂ is over {LAYER}, in the condensed form of dx"),
    ("LAYER_NORM", (*MEAN_DX_HAT, *MEAN_X_HAT), f"all means are over {LAYER}, in the condensed form of dx"),
    ("LAYER_NORM", ("g.mean(-1, keepdims=True)", "g.mean()"), "the mean of dx̂ is over everything, not only over the features"),
    ("LAYER_NORM", ("x.var(-1, keepdims=True) + eps", "x.var(-1, keepdims=True)"), "ε is forgotten"),
    ("SOFTMAX_CROSS_ENTROPY", ("(p - t) / len(z)", "(p - t)"), "the 1/m is missing"),
    ("SOFTMAX_CROSS_ENTROPY", ("(p - t) / len(z)", "p / len(z)"), "dz lacks the path through log p"),
    ("SOFTMAX_CROSS_ENTROPY", ("axis=1", "axis=0"), f"everything is taken over {CLASSES}, in the softmax form of dz"),
    ("SOFTMAX_CROSS_ENTROPY", ("e.sum(axis=1", "e.sum(axis=0"), f"the sum is over {CLASSES}, in the softmax form of dz"),
    ("SOFTMAX_CROSS_ENTROPY", ("z - z.max(axis=1, keepdims=True)", "z"), f"{IN_FLOATS} is not subtracted before it"),
    (
        "SOFTMAX_CROSS_ENTROPY",
        ("z.max(axis=1, keepdims=True)", "z.max()"),
        f"{IN_FLOATS} that is subtracted before it is the largest of all",
    ),
    ("SOFTMAX_CROSS_ENTROPY", ("z.max(axis=1", "z.max(axis=0"), f"the largest is over {CLASSES}, in the softmax form of dz"),
    ("SOFTMAX_CROSS_ENTROPY", ("(p - t)", "(p - 1)"), "1 stands for t in the softmax form of dz"),
    ("SOFTMAX_CROSS_ENTROPY", ("p = e /", "p = 1 /"), "the factor exp(z) is missing in the softmax form of dz"),
    ("SOFTMAX_CROSS_ENTROPY", (f"np.exp(z - {MAX_Z})", "z"), "exp is forgotten in the softmax form of dz"),
    ("SOFTMAX_CROSS_ENTROPY", (f"np.exp(z - {MAX_Z})", "np.exp(z.min(axis=1, keepdims=True) - z)"), "the sign under exp is wrong"),
    ("SOFTMAX_CROSS_ENTROPY", ("(p - t)", "p * (p - t)"), f"{FACTOR} exp(z − s) too many in all of dz"),
    ("SOFTMAX_CROSS_ENTROPY", ("(p - t)", "(p - t) * t"), f"{FACTOR} t too many in all of dz"),
    ("SOFTMAX_CROSS_ENTROPY", ("(p - t)", "p * (1 - p) * (p - t)"), f"{FACTOR} exp(z − s) (1 − exp(z − s)) too many in all of dz"),
    ("SOFTMAX_CROSS_ENTROPY", ("(p - t)", "(-t / p)"), f"this is dlog p; and {DIVISION} exp(z − s) too many in all of dz"),
    (
        "SOFTMAX_CROSS_ENTROPY",
        ("dl * (p - t) / len(z)", "p * (p - t)"),
        f"dl and the 1/m are forgotten {IN_DZ}; and {FACTOR} exp(z − s)",
    ),
    ("SOFTMAX_CROSS_ENTROPY", ("dl * (p - t)", "(p - 1)"), "1 stands for t in the softmax form of dz; and dl is forgotten in the"),
    (
        "SOFTMAX_CROSS_ENTROPY",
        (f"z - {MAX_Z}", "z", "(p - t)", "(p - 1)"),
        "1 stands for t in the softmax form of dz; and right while exp stays",
    ),
]


@pytest.mark.parametrize(("name", "changes", "words"), CONDENSED)
def test_what_is_wrong_in_the_condensed_form_is_named_an_axis_a_factor_and_an_overflow(name, changes, words):
    check = check_backward(edited(PASSES[name][1], *changes), derivation=getattr(derivations, name))
    why = [row.why for row in check.rows if not row.ok]
    assert why
    assert all(words in text and "with the same numbers" not in text for text in why)


@pytest.mark.parametrize("wrong", ["(p - t) ** 2", "np.sin(p - t)", "(p ** 2 - t)", "(p - t + 1e-3)", "(p - t) * m"])
def test_what_is_no_known_mistake_is_given_no_reason(wrong):
    m = "np.arange(1, 1 + z.shape[1])"
    check = check_backward(
        edited(PASSES["SOFTMAX_CROSS_ENTROPY"][1], "(p - t)", wrong.replace("m", m) if wrong.endswith("m") else wrong),
        derivation=derivations.SOFTMAX_CROSS_ENTROPY,
    )
    assert check.rows[2].why.startswith("none of the known mistakes explains it")


# ---- A derivation as a user writes it: forward equations alone


@equation(1, "n")
def squared_length(v):
    return (v**2).sum()


@equation(2, "w")
def weight(v, g, n, eps=1e-5):
    return g * v / (n + eps) ** 0.5


WEIGHT_NORM = Derivation("weight norm", [squared_length, weight], shapes={"v": ("k",), "g": ()})


def weight_norm(dw, v, g, eps):
    n = np.sum(v**2)
    dg = np.sum(dw * v) / np.sqrt(n + eps)
    dn = np.sum(dw * g * v * -0.5 * (n + eps) ** -1.5)
    dv = dw * g / np.sqrt(n + eps) + dn * 2 * v
    return {"dg": dg, "dn": dn, "dv": dv}


def test_a_users_own_derivation_is_checked_as_well():
    check = check_backward(weight_norm, derivation=WEIGHT_NORM)
    check.raise_if_wrong()
    assert "A backward pass of weight normalisation, gradient by gradient" in str(check)


OWN = [
    (" + dn * 2 * v", "", "v", "dv lacks the path through n, equation"),
    ("dn * 2 * v", "dn * v", "v", "the 2 is missing in ∂n/∂v, equation"),
    ("dw * g / np", "dw / np", "v", "g is forgotten in ∂w/∂v, equation"),
    ("/ np.sqrt(n + eps)\n    dn", "/ np.sqrt(n)\n    dn", "g", "ε is forgotten in ∂w/∂g, equation"),
    ("np.sum(dw * v)", "dw * v", "g", "there is no sum over the features in ∂w/∂g, equation"),
    ("* -0.5", "* 0.5", "n", "the sign is wrong in ∂w/∂n, equation"),
    ("-1.5", "-0.5", "n", "√(n + ε) is missing in ∂w/∂n, equation"),
    ("* -0.5 *", "*", "n", "two mistakes together: the sign is wrong in ∂w/∂n, equation (5); and the ½ is missing in ∂w/∂n"),
    ("* -0.5 *", "* -1 *", "n", "the ½ is missing in ∂w/∂n, equation"),
]


@pytest.mark.parametrize(("old", "new", "variable", "words"), OWN)
def test_a_mistake_in_a_users_own_derivation_is_explained(old, new, variable, words):
    check = check_backward(edited(weight_norm, old, new), derivation=WEIGHT_NORM)
    row = next(row for row in check.rows if row.variable == variable)
    assert words in row.why


def test_a_gradient_that_is_the_same_for_all_of_a_batch_has_the_batchs_shape():
    mean = equation(1, "y")(lambda x: x.sum(axis=0) / x.shape[0])
    d = Derivation("mean", [mean], [Edge(2, "y", "x", function=lambda dy, x: dy / x.shape[0])])
    assert check_backward(lambda dy, x: {"dx": np.ones_like(x) * dy / len(x)}, derivation=d).ok
    assert check_backward(lambda dy, x: {"dx": dy / len(x)}, derivation=d).rows[0].verdict == "wrong shape"
    row = check_backward(lambda dy, x: {"dx": -np.ones_like(x) * dy / len(x)}, derivation=d).rows[0]
    assert row.why == "the sign is wrong in ∂y/∂x, equation (2)"


def test_a_formula_that_asks_for_an_axis_is_not_gone_on_with_from_a_gradient_that_lacks_it():
    equations = equation(1, "s")(lambda x: x.sum(axis=1, keepdims=True)), equation(2, "y")(lambda s: s * s)
    d = Derivation("square", equations, [Edge(4, "s", "x", function=lambda ds, x: (x * 0 + 1) * ds / ds.shape[1])])
    right = by_engine(d)
    rows = check_backward(lambda dy, x: {"ds": 3.0, "dx": -right(dy, x)["x"]}, derivation=d).rows
    assert rows[0].verdict == "wrong shape"
    assert rows[1].why.startswith("the sign is wrong in ∂y/∂s, equation (3); or, with the same numbers, the sign is wrong in ∂s/∂x")


def test_numbers_that_are_all_rounding_are_evidence_of_nothing():
    equations = equation(1, "s")(lambda x: 3 * x), equation(2, "y")(lambda s, w: (s + w) ** 2)
    edge = Edge(3, "y", "s", function=lambda dy, s, w: 2 * dy * (s + w))
    d, x = Derivation("sum", equations, [edge], shapes={"w": ("m", "k")}), np.full((4, 3), 0.25)

    def subtracted(dy, x, w):
        return {"ds": 2 * dy * (3 * x - w)}

    assert check_backward(subtracted, derivation=d).rows[0].why == "there is a − for the + in s + w in ∂y/∂s, equation (3)"
    (row, *_) = check_backward(subtracted, [(np.ones((4, 3)), x, np.nextafter(3 * x, 1))], d).rows
    assert row.why.startswith("none of the known mistakes explains it")


# ---- Bad input


@equation(1, "y")
def logarithm(x, w):
    return np.log(x) * w


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, r"no batch can be drawn for log: y is not finite .* domains=\{'x': …\}.* positive"),
        ({"shapes": {"x": ("m", "k"), "w": ("n", "k")}}, "no batch can be drawn for log: .*broadcast"),
    ],
)
def test_a_derivation_whose_inputs_are_not_known_says_how_to_say_them(how, message):
    with pytest.raises(ValueError, match=message):
        check_backward(lambda dy, x, w: {"dx": dy * w / x}, derivation=Derivation("log", [logarithm], **how))


@equation(1, "s")
def gate(x, b):
    return 1 / (1 + np.exp(-b * x))


@equation(2, "y")
def gated(x, s):
    return x * s


def test_a_batch_is_not_so_large_that_a_gradient_overflows_where_the_result_does_not():
    swish = Derivation("swish", [gate, gated], shapes={"b": ()})

    def backward(dy, x, b):
        s = 1 / (1 + np.exp(-b * x))
        ds = dy * x
        return {"ds": ds, "dx": dy * s + ds * s * (1 - s) * b, "db": (ds * s * (1 - s) * x).sum()}

    check = check_backward(backward, derivation=swish)
    assert check.ok and check.batches == 7
    assert "1.0" not in str(check) and "error" in str(check)  # beside what is right there is none


def test_a_derivation_may_have_as_many_sizes_as_it_likes():
    d = Derivation("square", [equation(1, "y")(lambda x: x * x)], shapes={"x": tuple("abcdef")})
    assert check_backward(lambda dy, x: {"dx": 2 * dy * x}, derivation=d).ok
    assert "is forgotten, in dy x + dy x" in check_backward(lambda dy, x: {"dx": dy * x}, derivation=d).rows[0].why


def test_with_their_domain_they_are_known():
    d = Derivation("log", [logarithm], domains={"x": "positive"})
    check_backward(lambda dy, x, w: (dy * w / x, (dy * np.log(x)).sum(axis=0)), derivation=d).raise_if_wrong()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones(3)}, r"x is a batch of shape \(m, k\) of float32 or float64, and this is of shape \(3,\)"),
        ({"w": np.ones((2, 4))}, r"w is of shape \(2, 3\) and finite"),
        ({"b": np.ones(3)}, r"b is of shape \(2,\) and finite"),
        ({"dy": np.ones((5, 3))}, r"dy is of shape \(5, 2\) and finite, and this is of shape \(5, 3\)"),
        ({"b": np.full(2, np.inf)}, "b is of shape .* and finite"),
    ],
)
def test_a_batch_that_does_not_fit_its_derivation_is_refused(change, message):
    batch = {"dy": np.ones((5, 2)), "x": np.ones((5, 3)), "w": np.ones((2, 3)), "b": np.ones(2)} | change
    with pytest.raises(ValueError, match=message):
        check_backward(linear, [tuple(batch.values())], derivations.LINEAR)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"dq": 1.0}, "named 'dq': the three are dx, dw, db"),
        ((1, 2), r"a tuple of 2: return a dict such as \{'dx': …, 'dw': …\}, the tuple \(dx, dw, db\)"),
        ({"dx": 1.0, "x": 1.0}, "both 'x' and 'dx'"),
        ({}, "none of the three gradients but"),
    ],
)
def test_what_is_no_gradient_of_a_derivation_is_refused(returned, message):
    with pytest.raises(TypeError, match=message):
        check_backward(lambda *arguments: returned, derivation=derivations.LINEAR)


def test_an_inputs_gradient_has_its_shape_and_an_intermediates_may_drop_what_a_sum_has_left():
    """Layer norm's γ is of shape (k,); dσ² may be (m, 1) or (m,); what is right only by broadcasting is a wrong shape."""

    def f(dy, x, gamma, beta, eps):
        right = layer_norm(dy, x, gamma, beta, eps)
        return {"dvar": right["dvar"], "dmu": right["dmu"], "dgamma": right["dgamma"][None], "dbeta": right["dbeta"]}

    rows = {row.variable: row for row in check_backward(f, derivation=derivations.LAYER_NORM).rows}
    assert [rows[name].ok for name in ("var", "mu", "beta")] == [True] * 3
    assert (rows["gamma"].verdict, rows["gamma"].why) == ("wrong shape", "shape (1, 3) and not (3,) for a batch of shape (5, 3)")


@pytest.mark.parametrize("name", derivations.__all__)
def test_a_mistake_in_words_is_a_sentence(name):
    words = [mistake.why for mistakes in mistakes_in(getattr(derivations, name)) for mistake in mistakes]
    assert [why for why in words if re.search(r",,|  |[ ,]$", why)] == []
