"""PyTorch's layers as an oracle: the same numbers forward, backward, after many steps, and through each other's state dicts."""

import inspect
import itertools

import numpy as np
import pytest

from micrograd_bn import Tensor, nn
from tests.conftest import optional

torch = optional("torch")
torch.set_num_threads(1)  # on arrays this small, threads only wait for each other

# What the two may differ by, in proportion to the largest number of an array: float32 has 1.2e-7, float64 2.2e-16.
TOLERANCES = {"float32": 1e-6, "float64": 1e-12}


def assert_close(got, expected, dtype):
    got, expected = np.asarray(got), expected.detach().numpy()
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    assert np.abs(got - expected).max() <= TOLERANCES[dtype] * max(1, np.abs(expected).max())


def arrays(torch_module):
    """A state dict of PyTorch's as arrays, which is how it would be saved for others."""
    return {key: value.numpy().copy() for key, value in torch_module.state_dict().items()}


def tensors(state):
    return {key: torch.from_numpy(value) for key, value in state.items()}


def assert_same_state(ours, theirs, dtype):
    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    for key, value in ours.state_dict().items():
        assert_close(value, expected[key], dtype)


def batches(shape, dtype, n):
    """n batches with their upstream gradients; the channels have means and deviations of their own."""
    random = np.random.default_rng(0)
    column = (shape[1], *[1] * (len(shape) - 2))
    center, spread = random.normal(size=column), random.uniform(0.5, 2, size=column)
    for _ in range(n):
        yield (center + spread * random.normal(size=shape)).astype(dtype), random.normal(size=shape).astype(dtype)


def run_both(ours, theirs, x, dy, dtype):
    """Forward and backward through both, held against each other."""
    a, b = Tensor(x), torch.tensor(x, requires_grad=True)
    ours.zero_grad(), theirs.zero_grad()
    y, expected = ours(a), theirs(b)
    y.backward(dy), expected.backward(torch.from_numpy(dy))
    assert_close(y.data, expected, dtype)
    assert_close(a.grad, b.grad, dtype)
    for (name, parameter), (their_name, their_parameter) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == their_name
        assert_close(parameter.grad, their_parameter.grad, dtype)


OPTIONS = [
    {"affine": affine, "track_running_stats": track, "momentum": momentum, "eps": eps}
    for affine, track, momentum, eps in itertools.product((True, False), (True, False), (0.1, None, 0.0, 1.0), (1e-5, 0.1))
]
LAYERS = [("BatchNorm1d", (32, 5)), ("BatchNorm1d", (8, 5, 6)), ("BatchNorm2d", (8, 3, 5, 4))]
CASES = [(*case, dtype) for case in LAYERS for dtype in TOLERANCES]
# Of two values a channel the terms of dx cancel to eps's share: float32 has no digits left there, in neither of the two.
CASES.append(("BatchNorm1d", (2, 3), "float64"))


@pytest.mark.parametrize(("layer", "shape", "dtype"), CASES)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_batch_norm_through_20_steps_of_training_then_eval_then_training_again(layer, shape, options, dtype):
    theirs = getattr(torch.nn, layer)(shape[1], **options, dtype=getattr(torch, dtype))
    ours = getattr(nn, layer)(shape[1], **options, dtype=dtype)
    assert_same_state(ours, theirs, dtype)
    if options["affine"]:
        random = np.random.default_rng(1)
        with torch.no_grad():
            theirs.weight.copy_(torch.tensor(random.uniform(0.5, 1.5, shape[1])))
            theirs.bias.copy_(torch.tensor(random.normal(size=shape[1])))
        ours.load_state_dict(arrays(theirs))

    *training, held_out = batches(shape, dtype, 21)
    for x, dy in training:
        run_both(ours, theirs, x, dy, dtype)
        assert_same_state(ours, theirs, dtype)
    ours.eval(), theirs.eval()
    run_both(ours, theirs, *held_out, dtype)
    assert_same_state(ours, theirs, dtype)
    ours.train(), theirs.train()
    run_both(ours, theirs, *held_out, dtype)
    assert_same_state(ours, theirs, dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_without_a_bias(affine, dtype):
    theirs = torch.nn.BatchNorm1d(5, affine=affine, bias=False, dtype=getattr(torch, dtype))
    ours = nn.BatchNorm1d(5, affine=affine, bias=False, dtype=dtype)
    for x, dy in batches((16, 5), dtype, 3):
        run_both(ours, theirs, x, dy, dtype)
        assert_same_state(ours, theirs, dtype)
    ours.eval(), theirs.eval()
    run_both(ours, theirs, x, dy, dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"elementwise_affine": False}, {"eps": 0.1}], ids=str)
@pytest.mark.parametrize(("shape", "sizes"), [((16, 6), 6), ((4, 3, 6), (6,)), ((4, 3, 6), [3, 6]), ((3, 6), (3, 6))])
def test_layer_norm(shape, sizes, options, dtype):
    theirs = torch.nn.LayerNorm(sizes, **options, dtype=getattr(torch, dtype))
    ours = nn.LayerNorm(sizes, **options, dtype=dtype)
    assert_same_state(ours, theirs, dtype)
    random = np.random.default_rng(1)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.tensor(random.normal(1, 0.5, size=tuple(parameter.shape))))
    ours.load_state_dict(arrays(theirs))
    for x, dy in batches(shape, dtype, 3):
        run_both(ours, theirs, x, dy, dtype)
    theirs.load_state_dict(tensors(ours.state_dict()), strict=True)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_element_by_element(dtype):
    """Each relative to itself: sigmoid of −80 is 2e-35, and has all its digits."""
    x = np.array([-1000, -80, -20, -1, -1e-3, 0, 1e-3, 1, 20, 80, 1000], dtype)
    for layer in ("ReLU", "Tanh", "Sigmoid"):
        a, b = Tensor(x), torch.tensor(x, requires_grad=True)
        y, expected = getattr(nn, layer)()(a), getattr(torch.nn, layer)()(b)
        y.backward(np.ones_like(x)), expected.backward(torch.ones_like(b))
        smallest = np.finfo(dtype).tiny  # what exp loses below the normal numbers is lost in both
        np.testing.assert_allclose(y.data, expected.detach(), rtol=TOLERANCES[dtype], atol=smallest)
        assert_close(a.grad, b.grad, dtype)


@pytest.mark.parametrize("track", [True, False])
def test_one_value_a_channel_is_refused_where_torch_refuses_it(track):
    for layer, shape in (("BatchNorm1d", (1, 3)), ("BatchNorm1d", (1, 3, 1)), ("BatchNorm2d", (1, 3, 1, 1))):
        for training in (True, False):
            theirs = getattr(torch.nn, layer)(3, track_running_stats=track).train(training)
            ours = getattr(nn, layer)(3, track_running_stats=track).train(training)
            if training or not track:
                with pytest.raises(ValueError, match="more than 1 value per channel"):
                    theirs(torch.ones(shape))
                with pytest.raises(ValueError, match="single value a channel"):
                    ours(np.ones(shape))
            else:
                assert_close(ours(np.ones(shape)).data, theirs(torch.ones(shape)), "float32")


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("bias", "shape"), [(True, (16, 6)), (False, (16, 6)), (True, (4, 5, 6)), (True, (6,))])
def test_linear(bias, shape, dtype):
    theirs, ours = torch.nn.Linear(6, 4, bias=bias, dtype=getattr(torch, dtype)), nn.Linear(6, 4, bias=bias, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    random = np.random.default_rng(0)
    run_both(ours, theirs, random.normal(size=shape).astype(dtype), random.normal(size=(*shape[:-1], 4)).astype(dtype), dtype)


def test_initial_weights_have_torchs_distribution():
    """Uniform within ±1/√fan_in, weight and bias: the extremes and the deviations of some 100,000 draws of each."""
    theirs, ours = torch.nn.Linear(100, 1000), nn.Linear(100, 1000)
    for name, draws in (("weight", 100_000), ("bias", 1000)):
        expected, got = getattr(theirs, name).detach().numpy(), getattr(ours, name).data
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        # A uniform variable's extreme lies 2/draws of the bound short of it on average, its deviation within 1/√draws.
        assert np.abs(got).max() <= 0.1
        assert np.abs(got).max() == pytest.approx(np.abs(expected).max(), abs=0.1 * 20 / draws)
        assert got.std() == pytest.approx(expected.std(), rel=5 / np.sqrt(draws))


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_losses(dtype):
    random = np.random.default_rng(0)
    x, target = (random.normal(size=(12, 5)).astype(dtype) for _ in range(2))
    classes = random.integers(5, size=12)
    extreme = np.array([[1000, -1000, 0], [-1e5, 1e5, 0], [88, 89, 90]], dtype=dtype)
    for ours, theirs, data, to in (
        (nn.mse_loss, torch.nn.functional.mse_loss, x, target),
        (nn.cross_entropy, torch.nn.functional.cross_entropy, x, classes),
        (nn.cross_entropy, torch.nn.functional.cross_entropy, extreme, np.array([0, 0, 2])),
    ):
        a, b = Tensor(data), torch.tensor(data, requires_grad=True)
        loss, expected = ours(a, to), theirs(b, torch.from_numpy(to))
        loss.backward(), expected.backward()
        assert_close(np.asarray(loss.data, dtype=dtype), expected, dtype)  # a single float64 is Python's float
        assert_close(a.grad, b.grad, dtype)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_losses_with_each_reduction_and_smooth_labels(dtype, reduction):
    random = np.random.default_rng(0)
    x, target = (random.normal(0, 3, size=(12, 5)).astype(dtype) for _ in range(2))
    classes = random.integers(5, size=12)
    F = torch.nn.functional
    cases = [(nn.mse_loss, F.mse_loss, target, {})]
    cases += [(nn.cross_entropy, F.cross_entropy, classes, {"label_smoothing": s}) for s in (0.0, 0.1, 1.0)]
    for ours, theirs, to, options in cases:
        a, b = Tensor(x), torch.tensor(x, requires_grad=True)
        loss = ours(a, to, reduction=reduction, **options)
        expected = theirs(b, torch.from_numpy(to), reduction=reduction, **options)
        dy = random.normal(size=loss.shape).astype(dtype)
        loss.backward(dy), expected.backward(torch.from_numpy(dy))
        assert_close(np.asarray(loss.data, dtype=dtype), expected, dtype)
        assert_close(a.grad, b.grad, dtype)


def networks(dtype):
    """The same net twice, its layers nested, and PyTorch's weights in both."""

    def build(library, dtype):
        block = library.Sequential(library.Linear(6, 16, dtype=dtype), library.BatchNorm1d(16, dtype=dtype), library.ReLU())
        head = [library.Linear(16, 8, bias=False, dtype=dtype), library.BatchNorm1d(8, affine=False, dtype=dtype), library.Tanh()]
        return library.Sequential(block, *head, library.Linear(8, 3, dtype=dtype))

    torch.manual_seed(0)
    theirs, ours = build(torch.nn, getattr(torch, dtype)), build(nn, dtype)
    ours.load_state_dict(arrays(theirs))
    return ours, theirs


OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_an_optimizer_goes_torchs_way(optimizer, options, dtype):
    """The same gradients, some of them missing, and a learning rate that a schedule changes: 20 steps of two parameters."""
    random = np.random.default_rng(0)
    shapes = ((4, 3), (3,))
    ours = [nn.Parameter(random.normal(size=shape).astype(dtype)) for shape in shapes]
    theirs = [torch.nn.Parameter(torch.tensor(parameter.data)) for parameter in ours]
    a, b = getattr(nn, optimizer)(ours, **options), getattr(torch.optim, optimizer)(theirs, **options)
    for step in range(20):
        for i, (mine, other) in enumerate(zip(ours, theirs)):
            mine.grad = random.normal(0.5, 1, size=shapes[i]).astype(dtype)
            other.grad = torch.tensor(mine.grad)
            if step in (0, 7) and i:
                mine.grad = other.grad = None
        a.lr = b.param_groups[0]["lr"] = a.lr * (1 + np.cos(step))
        a.step(), b.step()
        for mine, other in zip(ours, theirs):
            assert_close(mine.data, other, dtype)


def test_what_an_optimizer_refuses_is_what_torchs_refuses():
    nan = float("nan")
    for optimizer, wrong, right in (
        ("SGD", {"lr": -0.1}, {"lr": 0.0}),
        ("SGD", {"momentum": -0.1}, {"momentum": 1.5}),
        ("SGD", {"weight_decay": -0.1}, {"weight_decay": 2.0}),
        ("SGD", {"nesterov": True}, {"nesterov": True, "momentum": 0.1}),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, {"momentum": 0.9, "dampening": -0.1}),
        ("Adam", {"lr": nan}, {"lr": 0.0}),
        ("Adam", {"betas": (1.0, 0.9)}, {"betas": (0.0, 0.0)}),
        ("Adam", {"betas": (0.9, -0.1)}, {"betas": (0.99, 0.9)}),
        ("Adam", {"eps": -1e-8}, {"eps": 0.0}),
        ("Adam", {"weight_decay": -0.1}, {"weight_decay": 2.0}),
    ):
        for make in (
            lambda options, name=optimizer: getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(1))], **options),
            lambda options, name=optimizer: getattr(nn, name)([nn.Parameter([1.0])], **options),
        ):
            make(right)
            with pytest.raises(ValueError):
                make(wrong)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_net_trains_along_torchs_trajectory(momentum, dtype):
    """20 steps of SGD: parameters, running statistics and losses stay together, and what is left out of a step waits."""
    ours, theirs = networks(dtype)
    a, b = nn.SGD(ours.parameters(), lr=0.1, momentum=momentum), torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=momentum)
    random = np.random.default_rng(0)
    for step in range(20):
        x, classes = random.normal(size=(32, 6)).astype(dtype), random.integers(3, size=32)
        a.zero_grad(), b.zero_grad()
        loss = nn.cross_entropy(ours(x), classes)
        expected = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(classes))
        loss.backward(), expected.backward()
        if step == 10:
            ours[4].bias.grad = theirs[4].bias.grad = None
        a.step(), b.step()
        assert_close(np.asarray(loss.data, dtype=dtype), expected, dtype)
    assert_same_state(ours, theirs, dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_state_dicts_are_exchanged_both_ways_in_memory_and_by_file(dtype, tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(32, 6)).astype(dtype)
    ours, theirs = networks(dtype)
    theirs(torch.from_numpy(x))  # so that its running statistics are not the initial ones

    np.savez(tmp_path / "theirs.npz", **arrays(theirs))
    ours.load(tmp_path / "theirs.npz")
    assert_same_state(ours, theirs, dtype)
    assert_close(ours.eval()(x).data, theirs.eval()(torch.from_numpy(x)), dtype)

    other, empty = networks(dtype)
    other(x + 1)
    other.save(tmp_path / "ours.npz")
    with np.load(tmp_path / "ours.npz") as archive:
        empty.load_state_dict(tensors(archive), strict=True)
    assert_same_state(other, empty, dtype)
    empty.load_state_dict(tensors(ours.state_dict()), strict=True)
    assert_close(ours(x).data, empty.eval()(torch.from_numpy(x)), dtype)


def test_a_module_shows_what_torchs_shows():
    def build(library):
        norms = [library.BatchNorm1d(2), library.BatchNorm1d(2, momentum=None, affine=False, track_running_stats=False)]
        more = [library.BatchNorm2d(2, bias=False), library.LayerNorm((2, 3), bias=False), library.LayerNorm(3)]
        blocks = library.ModuleList([library.Linear(1, 2), library.Linear(1, 2), library.Tanh(), library.Linear(1, 2)])
        nested = library.Sequential(library.ReLU(), library.Sequential(library.Sigmoid(), library.ModuleList(), blocks))
        return library.Sequential(library.Linear(3, 2, bias=False), *norms, *more, nested, library.Sequential())

    assert repr(build(nn)) == repr(build(torch.nn))


def test_defaults_are_torchs():
    for ours, theirs in (
        (nn.Linear, torch.nn.Linear),
        (nn.BatchNorm1d, torch.nn.BatchNorm1d),
        (nn.BatchNorm2d, torch.nn.BatchNorm2d),
        (nn.LayerNorm, torch.nn.LayerNorm),
        (nn.SGD, torch.optim.SGD),
        (nn.Adam, torch.optim.Adam),
        (nn.mse_loss, torch.nn.functional.mse_loss),
    ):
        expected = inspect.signature(theirs).parameters
        for name, parameter in inspect.signature(ours).parameters.items():
            if name not in ("dtype", "fused"):
                assert parameter.default == expected[name].default, (ours, name)
