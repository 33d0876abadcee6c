"""Optimizers: steps by hand, and hyperparameters, which are plain numbers and in their range whenever they are set."""

import numpy as np
import pytest

from micrograd_bn import Tensor, nn

OPTIONS = [
    (nn.SGD, {"lr": 0.1}),
    (nn.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    (nn.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    (nn.Adam, {"lr": 0.1, "eps": 1e-8, "weight_decay": 0.01}),
]


def steps(optimizer, parameter, *gradients):
    """The parameter after each step with these gradients."""
    for gradient in gradients:
        parameter.grad = np.array([gradient], dtype=parameter.data.dtype)
        optimizer.step()
        yield parameter.data.item()


def linear(dtype):
    return nn.Linear(2, 1, dtype=dtype)


def train(net, optimizer, n=3):
    for _ in range(n):
        optimizer.zero_grad()
        nn.mse_loss(net([[1, 2], [3, 5]]), [[1], [2]]).backward()
        optimizer.step()


# ---- hyperparameters


@pytest.mark.parametrize(("optimizer", "options"), OPTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_keep_their_dtype_whatever_kind_of_number_a_hyperparameter_is(optimizer, options, dtype):
    """A schedule computes np.float64: it trains as Python's floats do, from the constructor and from an assignment."""
    plain, given, assigned = linear(dtype), linear(dtype), linear(dtype)
    for net in (given, assigned):
        net.load_state_dict(plain.state_dict())
    as_numpy = {name: value if value is True else np.float64(value) for name, value in options.items()}
    train(plain, optimizer(plain.parameters(), **options))
    train(given, optimizer(given.parameters(), **as_numpy))
    later = optimizer(assigned.parameters(), **options)
    for name, value in as_numpy.items():
        setattr(later, name, value)
    train(assigned, later)
    for net in (given, assigned):
        for name, parameter in net.named_parameters():
            assert parameter.data.dtype == dtype
            np.testing.assert_array_equal(parameter.data, plain.state_dict()[name])


def test_a_cosine_schedule_trains_a_float32_net():
    net = linear(np.float32)
    optimizer = nn.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for rate in 0.05 * (1 + np.cos(np.linspace(0, np.pi, 5))):
        optimizer.lr = rate
        train(net, optimizer, 1)
    assert {parameter.data.dtype for parameter in net.parameters()} == {np.dtype(np.float32)}
    assert type(optimizer.lr) is float


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.array(0.5), np.array(0.5, np.float32), 0.5])
def test_hyperparameters_are_pythons_floats(number):
    sgd = nn.SGD([nn.Parameter([1.0])], number, number, number, number)
    adam = nn.Adam([nn.Parameter([1.0])], number, (number, number), number, number)
    sgd.lr = adam.lr = sgd.momentum = adam.eps = number
    adam.betas = [number, number]
    for value in (sgd.lr, sgd.momentum, sgd.dampening, sgd.weight_decay, adam.lr, *adam.betas, adam.eps, adam.weight_decay):
        assert type(value) is float
        assert value == 0.5
    assert type(adam.betas) is tuple


def test_a_parameter_of_a_single_float32_stays_one():
    for optimizer, options in OPTIONS:
        w = nn.Parameter(np.float32(1))
        stepper = optimizer([w], **options)
        for _ in range(3):
            (w * w).backward()
            stepper.step()
        assert (w.data.dtype, w.shape) == (np.float32, ())


W = nn.Parameter([1.0])
RANGES = [
    (nn.SGD, "lr", -0.1, r"SGD's lr is -0\.1, and should be 0 or more.*: a step goes against the gradient by itself"),
    (nn.SGD, "lr", np.nan, r"SGD's lr is nan, and should be 0 or more"),
    (nn.SGD, "lr", np.inf, r"SGD's lr is inf, and should be 0 or more and finite"),
    (nn.SGD, "momentum", -0.9, r"momentum is -0\.9, and should be 0 or more"),
    (nn.SGD, "weight_decay", -1e-4, r"weight_decay is -0\.0001, and should be 0 or more"),
    (nn.SGD, "dampening", np.nan, r"dampening is nan, and should be finite"),
    (nn.Adam, "lr", -1e-3, r"Adam's lr is -0\.001, and should be 0 or more"),
    (nn.Adam, "eps", -1e-8, r"eps is -1e-08, and should be 0 or more"),
    (nn.Adam, "weight_decay", -1e-4, r"weight_decay is -0\.0001, and should be 0 or more"),
    (nn.Adam, "betas", (1.0, 0.9), r"Adam's betas\[0\] is 1\.0, and should be 0 or more and below 1"),
    (nn.Adam, "betas", (0.9, 1.5), r"Adam's betas\[1\] is 1\.5"),
    (nn.Adam, "betas", (0.9, -0.1), r"Adam's betas\[1\] is -0\.1, and should be 0 or more and below 1"),
    (nn.Adam, "betas", (0.9,), r"Adam's betas are two numbers, .* and this is \(0\.9,\)"),
    (nn.Adam, "betas", (0.9, 0.9, 0.9), r"Adam's betas are two numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("optimizer", "name", "value", "message"), RANGES)
def test_a_hyperparameter_out_of_its_range_is_refused_and_the_earlier_one_stays(optimizer, name, value, message):
    with pytest.raises(ValueError, match=message):
        optimizer([W], **{name: value})
    made = optimizer([W])
    before = getattr(made, name)
    with pytest.raises(ValueError, match=message):
        setattr(made, name, value)
    assert getattr(made, name) == before


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.SGD([W], lr="0.1"), TypeError, r"SGD's lr is '0\.1', and should be a number"),
        (lambda: nn.SGD([W], lr=None), TypeError, "lr is None"),
        (lambda: nn.SGD([W], lr=1j), TypeError, "lr is 1j"),
        (lambda: nn.SGD([W], lr=np.array([0.1, 0.2])), TypeError, r"lr is array\(\[0\.1, 0\.2\]\)"),
        (lambda: nn.SGD([W], lr=Tensor(0.1)), TypeError, r"lr is Tensor\(0\.1\), and should be a number: .*item\(\)"),
        (lambda: nn.Adam([W], betas=0.9), ValueError, r"betas are two numbers, .* and this is 0\.9"),
        (lambda: nn.Adam([W], betas=(0.9, "0.99")), TypeError, r"betas\[1\] is '0\.99', and should be a number"),
        (lambda: nn.SGD([W], nesterov=True), ValueError, r"nesterov .* momentum above 0.* 0\.0 and 0\.0"),
        (lambda: nn.SGD([W], momentum=0.9, dampening=-0.1, nesterov=True), ValueError, r"dampening of 0, .* 0\.9 and -0\.1"),
        (lambda: nn.SGD([W], momentum=0.9, dampening=0.1, nesterov=True), ValueError, r"dampening of 0, .* 0\.9 and 0\.1"),
        (lambda: nn.Adam([]), ValueError, r"Adam has no parameters to step: pass net\.parameters\(\)"),
        (lambda: nn.Adam(nn.Sequential(nn.ReLU())), TypeError, r"Adam steps Tensors.*net\.parameters\(\)"),
        (lambda: nn.SGD(nn.Linear(2, 3)), TypeError, r"SGD steps Tensors, and this is Linear.*net\.parameters\(\)"),
    ],
)  # fmt: skip
def test_errors_teach(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---- steps by hand


def test_a_single_tensor_is_stepped_as_a_whole():
    w = nn.Parameter([1.0, 2.0])
    w.grad = np.ones(2)
    nn.SGD(w, lr=0.5).step()
    assert w.data.tolist() == [0.5, 1.5]


def test_weight_decay_by_hand():
    w = nn.Parameter([2.0])
    assert list(steps(nn.SGD([w], lr=0.5, weight_decay=0.5), w, 1.0, 0.0)) == [1.0, 0.75]


def test_dampening_by_hand_which_the_first_step_is_spared():
    w = nn.Parameter([0.0])
    # velocities 1, 0.5 · 1 + 0.75 · 1, 0.5 · 1.25
    assert list(steps(nn.SGD([w], lr=1.0, momentum=0.5, dampening=0.25), w, 1.0, 1.0, 0.0)) == [-1.0, -2.25, -2.875]


def test_without_momentum_there_is_no_velocity_to_dampen():
    w = nn.Parameter([0.0])
    assert list(steps(nn.SGD([w], lr=1.0, dampening=0.5), w, 1.0, 1.0)) == [-1.0, -2.0]


def test_a_momentum_of_1_forgets_nothing():
    w = nn.Parameter([0.0])
    assert list(steps(nn.SGD([w], lr=1.0, momentum=1.0), w, 1.0, 1.0, 0.0)) == [-1.0, -3.0, -5.0]


def test_adam_may_forget_all():
    w = nn.Parameter([0.0])
    assert list(steps(nn.Adam([w], lr=1.0, betas=(0, 0), eps=0.0), w, 4.0, -9.0)) == [-1.0, 0.0]


def test_the_defaults_are_pytorchs():
    sgd, adam = nn.SGD([W]), nn.Adam([W])
    assert (sgd.lr, sgd.momentum, sgd.dampening, sgd.weight_decay, sgd.nesterov) == (1e-3, 0, 0, 0, False)
    assert (adam.lr, adam.betas, adam.eps, adam.weight_decay) == (1e-3, (0.9, 0.999), 1e-8, 0)


def test_nesterov_by_hand():
    w = nn.Parameter([0.0])
    # velocities 1, 1.5, 0.75; a step is the gradient and half the velocity
    assert list(steps(nn.SGD([w], lr=1.0, momentum=0.5, nesterov=True), w, 1.0, 1.0, 0.0)) == [-1.5, -3.25, -3.625]


def test_adams_first_step_is_the_learning_rate_whatever_the_gradient():
    for gradient in (1e-3, -1e3):
        w = nn.Parameter([0.0])
        (after,) = steps(nn.Adam([w], lr=0.25), w, gradient)
        assert after == pytest.approx(-0.25 * np.sign(gradient), rel=1e-4)


def test_adam_by_hand():
    w = nn.Parameter([0.0])
    optimizer = nn.Adam([w], lr=1.0, betas=(0.5, 0.75), eps=0.0)
    # moments 1/2 and 1/4, corrected 1 and 1; then 1/4 and 3/16, corrected 1/3 and 3/7
    assert list(steps(optimizer, w, 1.0, 0.0)) == pytest.approx([-1.0, -1.0 - (1 / 3) / np.sqrt(3 / 7)], rel=1e-15)


def test_a_parameter_without_a_gradient_waits_and_so_do_its_moments():
    w, alone = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer, other = nn.Adam([w]), nn.Adam([alone])
    first = list(steps(other, alone, 1.0, 2.0))
    assert next(steps(optimizer, w, 1.0)) == first[0]
    optimizer.zero_grad()
    optimizer.step()
    assert w.data.item() == first[0]
    assert next(steps(optimizer, w, 2.0)) == first[1]


def test_a_step_makes_a_new_array_and_leaves_the_gradient_alone():
    for optimizer, options in OPTIONS:
        w = nn.Parameter([1.0])
        earlier, w.grad = w.data, np.array([1.0])
        optimizer([w], **options).step()
        assert (earlier.tolist(), w.grad.tolist()) == ([1.0], [1.0])
        assert w.data.tolist() != [1.0]
