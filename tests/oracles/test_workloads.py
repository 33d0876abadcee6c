"""Whole nets, written with NumPy's names and no workaround, against the same lines in PyTorch: every gradient in them, to 1e-12."""

import numpy as np

from micrograd_bn import Tensor, batch_norm
from tests.conftest import optional

torch = optional("torch")


def assert_the_same_gradients(ours, theirs):
    """Of whatever has a name in both, which is everything."""
    assert ours.keys() == theirs.keys()
    for name, t in theirs.items():
        expected = t.grad.numpy()
        np.testing.assert_allclose(
            ours[name].data, t.detach().numpy(), rtol=0, atol=1e-12 * max(1, t.abs().max().item()), err_msg=name
        )
        assert np.shape(ours[name].grad) == expected.shape, name
        np.testing.assert_allclose(ours[name].grad, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max()), err_msg=name)


def leaves(arrays):
    return {name: Tensor(a, name) for name, a in arrays.items()}, {
        name: torch.tensor(a, requires_grad=True) for name, a in arrays.items()
    }


def test_the_fourth_part_of_makemore():
    """A. Karpathy, "Building makemore, part 4: becoming a backprop ninja": a net whose every step has a name, and a gradient."""
    random = np.random.default_rng(0)
    n, block, vocabulary, embedding, hidden = 32, 3, 27, 10, 64
    x, y = random.integers(0, vocabulary, (n, block)), random.integers(0, vocabulary, n)
    arrays = {
        "C": random.normal(size=(vocabulary, embedding)),
        "W1": random.normal(size=(block * embedding, hidden)) * (5 / 3) / (block * embedding) ** 0.5,
        "b1": random.normal(size=hidden) * 0.1,
        "W2": random.normal(size=(hidden, vocabulary)) * 0.1,
        "b2": random.normal(size=vocabulary) * 0.1,
        "bngain": random.normal(size=(1, hidden)) * 0.1 + 1.0,
        "bnbias": random.normal(size=(1, hidden)) * 0.1,
    }
    our_leaves, their_leaves = leaves(arrays)

    def ours(C, W1, b1, W2, b2, bngain, bnbias):
        emb = C[x]
        embcat = emb.reshape(emb.shape[0], -1)
        hprebn = embcat @ W1 + b1
        bnmeani = 1 / n * hprebn.sum(axis=0, keepdims=True)
        bndiff = hprebn - bnmeani
        bndiff2 = bndiff**2
        bnvar = 1 / (n - 1) * bndiff2.sum(axis=0, keepdims=True)
        bnvar_inv = (bnvar + 1e-5) ** -0.5
        bnraw = bndiff * bnvar_inv
        hpreact = bngain * bnraw + bnbias
        h = np.tanh(hpreact)
        logits = h @ W2 + b2
        logit_maxes = logits.max(axis=1, keepdims=True)
        norm_logits = logits - logit_maxes
        counts = np.exp(norm_logits)
        counts_sum = counts.sum(axis=1, keepdims=True)
        counts_sum_inv = counts_sum**-1
        probs = counts * counts_sum_inv
        logprobs = np.log(probs)
        loss = -logprobs[range(n), y].mean()
        return locals()

    def theirs(C, W1, b1, W2, b2, bngain, bnbias):
        emb = C[torch.tensor(x)]
        embcat = emb.view(emb.shape[0], -1)
        hprebn = embcat @ W1 + b1
        bnmeani = 1 / n * hprebn.sum(0, keepdim=True)
        bndiff = hprebn - bnmeani
        bndiff2 = bndiff**2
        bnvar = 1 / (n - 1) * bndiff2.sum(0, keepdim=True)
        bnvar_inv = (bnvar + 1e-5) ** -0.5
        bnraw = bndiff * bnvar_inv
        hpreact = bngain * bnraw + bnbias
        h = torch.tanh(hpreact)
        logits = h @ W2 + b2
        logit_maxes = logits.max(1, keepdim=True).values
        norm_logits = logits - logit_maxes
        counts = norm_logits.exp()
        counts_sum = counts.sum(1, keepdims=True)
        counts_sum_inv = counts_sum**-1
        probs = counts * counts_sum_inv
        logprobs = probs.log()
        loss = -logprobs[range(n), y].mean()
        return locals()

    our_nodes, their_nodes = ours(**our_leaves), theirs(**their_leaves)
    their_nodes = {name: t for name, t in their_nodes.items() if isinstance(t, torch.Tensor)}
    our_nodes = {name: t for name, t in our_nodes.items() if isinstance(t, Tensor)}
    assert len(our_nodes) == 27
    for t in their_nodes.values():
        t.retain_grad()
    our_nodes["loss"].backward()
    their_nodes["loss"].backward()
    assert_the_same_gradients(our_nodes, their_nodes)


def test_two_layers_of_attention():
    """Heads, a causal mask, softmax, layer norm, an MLP with relu, residuals, cross-entropy: a small transformer."""
    random = np.random.default_rng(0)
    batch, length, width, heads, layers, vocabulary = 2, 5, 8, 2, 2, 11
    tokens, targets = (random.integers(0, vocabulary, (batch, length)) for _ in range(2))
    mask = np.tril(np.ones((length, length), bool))
    arrays = {"wte": random.normal(size=(vocabulary, width)), "wpe": random.normal(size=(length, width))}
    for i in range(layers):
        arrays |= {
            f"{i}.ln1": random.normal(size=width), f"{i}.ln1_b": random.normal(size=width),
            f"{i}.qkv": random.normal(size=(width, 3 * width)) * width**-0.5, f"{i}.proj": random.normal(size=(width, width)) * 0.3,
            f"{i}.ln2": random.normal(size=width), f"{i}.ln2_b": random.normal(size=width),
            f"{i}.up": random.normal(size=(width, 4 * width)) * 0.3, f"{i}.up_b": random.normal(size=4 * width) * 0.1,
            f"{i}.down": random.normal(size=(4 * width, width)) * 0.3, f"{i}.down_b": random.normal(size=width) * 0.1,
        }  # fmt: skip
    our_leaves, their_leaves = leaves(arrays)

    def ours(p):
        x = p["wte"][tokens] + p["wpe"]
        for i in range(layers):
            h = batch_norm(x, p[f"{i}.ln1"], p[f"{i}.ln1_b"], axis=-1)
            q, k, v = (
                (h @ p[f"{i}.qkv"][:, j * width : (j + 1) * width]).reshape(batch, length, heads, -1).transpose(0, 2, 1, 3)
                for j in range(3)
            )
            scores = q @ k.swapaxes(-1, -2) / (width // heads) ** 0.5
            shares = np.where(mask, scores, -np.inf).softmax(axis=-1)
            x = x + np.moveaxis(shares @ v, 1, 2).reshape(batch, length, width) @ p[f"{i}.proj"]
            h = batch_norm(x, p[f"{i}.ln2"], p[f"{i}.ln2_b"], axis=-1)
            x = x + (h @ p[f"{i}.up"] + p[f"{i}.up_b"]).relu() @ p[f"{i}.down"] + p[f"{i}.down_b"]
        logits = x @ p["wte"].T
        return -np.einsum("btv,btv->", logits.log_softmax(), np.eye(vocabulary)[targets]) / targets.size

    def theirs(p):
        F = torch.nn.functional
        x = p["wte"][torch.tensor(tokens)] + p["wpe"]
        for i in range(layers):
            h = F.layer_norm(x, (width,), p[f"{i}.ln1"], p[f"{i}.ln1_b"])
            q, k, v = (a.reshape(batch, length, heads, -1).transpose(1, 2) for a in (h @ p[f"{i}.qkv"]).split(width, dim=-1))
            x = x + F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape) @ p[f"{i}.proj"]
            h = F.layer_norm(x, (width,), p[f"{i}.ln2"], p[f"{i}.ln2_b"])
            x = x + F.relu(h @ p[f"{i}.up"] + p[f"{i}.up_b"]) @ p[f"{i}.down"] + p[f"{i}.down_b"]
        return F.cross_entropy((x @ p["wte"].T).reshape(-1, vocabulary), torch.tensor(targets).reshape(-1))

    our_loss, their_loss = ours(our_leaves), theirs(their_leaves)
    our_loss.backward()
    their_loss.backward()
    np.testing.assert_allclose(our_loss.data, their_loss.item(), rtol=1e-13)
    assert_the_same_gradients(our_leaves, their_leaves)
