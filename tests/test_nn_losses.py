"""Losses: how the examples' are brought together, and targets made smooth, by hand."""

import numpy as np
import pytest

from micrograd_bn import Tensor, nn


def test_mse_loss_reduced_by_hand():
    x, target = Tensor([1.0, 2.0]), [3.0, 5.0]
    assert nn.mse_loss(x, target, reduction="sum").item() == 13
    assert nn.mse_loss(x, target, reduction="mean").item() == 6.5
    assert nn.mse_loss(x, target, reduction="none").data.tolist() == [4, 9]


def test_cross_entropy_reduced_by_hand():
    logits, targets = Tensor([[0.0, np.log(3.0)], [0.0, 0.0]]), [1, 0]
    each = [np.log(4 / 3), np.log(2)]
    np.testing.assert_allclose(nn.cross_entropy(logits, targets, reduction="none").data, each, rtol=1e-15)
    assert nn.cross_entropy(logits, targets, reduction="sum").item() == pytest.approx(sum(each), rel=1e-15)
    assert nn.cross_entropy(logits, targets, reduction="mean").item() == pytest.approx(sum(each) / 2, rel=1e-15)


def test_label_smoothing_gives_every_class_its_share():
    """The target is (1 − s) of its own class and s spread evenly over all: the loss is what that gives, class by class."""
    logits, s = Tensor([[0.0, np.log(3.0)], [0.0, 0.0]]), 0.2
    surprise = -np.log([[1 / 4, 3 / 4], [1 / 2, 1 / 2]])
    smooth = nn.cross_entropy(logits, [0, 1], label_smoothing=s, reduction="none")
    np.testing.assert_allclose(smooth.data, (1 - s) * surprise[[0, 1], [0, 1]] + s * surprise.mean(axis=1), rtol=1e-15)
    assert nn.cross_entropy(logits, [0, 1], label_smoothing=1).item() == pytest.approx(surprise.mean(), rel=1e-15)


def test_label_smoothing_leaves_float32_alone():
    logits = Tensor(np.zeros((2, 3), np.float32))
    loss = nn.cross_entropy(logits, [0, 1], label_smoothing=np.float64(0.1), reduction="none")
    assert loss.data.dtype == np.float32


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.mse_loss([1.0], [[1.0]]), ValueError, r"input has shape \(1,\) and target \(1, 1\)"),
        (lambda: nn.mse_loss([1.0], [1.0], "sum"), TypeError, "positional"),
        (lambda: nn.cross_entropy([[1.0]], [0], "sum"), TypeError, "positional"),
        (lambda: nn.cross_entropy([[[1.0]]], [[0]]), ValueError, r"shape \(N, C\), .* and these have \(1, 1, 1\)"),
        (lambda: nn.cross_entropy([[1.0]], [[0, 1]]), ValueError, r"shape \(1,\), and these have \(1, 2\)$"),
        (lambda: nn.cross_entropy([[1.0, 2.0]] * 3, [1, 3, 5]), ValueError, r"targets\[1\] is 3: with 2 classes they are 0 to 1"),
        (lambda: nn.mse_loss([1.0], [1.0], reduction="avg"), ValueError, r'reduction is "mean", "sum" or "none", and this is .avg'),
        (lambda: nn.cross_entropy([[1.0]], [0], reduction=None), ValueError, r'"none", and this is None'),
        (lambda: nn.cross_entropy([[1.0]], [0], label_smoothing=-0.1), ValueError, r"label_smoothing is -0\.1, .* from 0 to 1"),
        (lambda: nn.cross_entropy([[1.0]], [0], label_smoothing="0.1"), TypeError, r"label_smoothing is '0\.1', .* a number"),
    ],
)  # fmt: skip
def test_errors_teach(make, error, message):
    with pytest.raises(error, match=message):
        make()
