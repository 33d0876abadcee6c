"""Layers that train: what train and eval do, running statistics by hand, state dicts, and files that are whole or not there."""

import gc
import os
import subprocess
import sys

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, nn


@pytest.fixture
def random():
    nn.manual_seed(0)
    return np.random.default_rng(0)


class Block(nn.Module):
    """Modules in a module, a parameter of its own, and one layer that is used twice."""

    def __init__(self):
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Tanh())
        self.again = self.inner[0]
        self.scale = nn.Parameter(np.float32([2]))
        self.register_buffer("steps", np.array(0))

    def forward(self, x):
        return self.again(self.inner(x)) * self.scale


def assert_same(state, expected):
    assert list(state) == list(expected)
    for key, value in state.items():
        np.testing.assert_array_equal(value, expected[key])
        assert value.dtype == expected[key].dtype


# ---- modules


def test_parameters_of_nested_modules_have_dotted_names_and_shared_ones_come_once():
    net = nn.Sequential(Block(), nn.ReLU(), nn.Linear(3, 1, bias=False))
    assert [name for name, _ in net.named_parameters()] == [
        "0.scale", "0.inner.0.weight", "0.inner.0.bias", "0.inner.1.weight", "0.inner.1.bias", "2.weight",
    ]  # fmt: skip
    assert [p for _, p in net.named_parameters()] == list(net.parameters())
    assert net[0].again is net[0].inner[0]
    assert net[-1].weight is list(net.parameters())[-1]
    assert {"0.steps", "0.inner.1.running_mean", "0.again.weight"} < set(net.state_dict())


def test_train_and_eval_reach_every_module_and_return_the_net():
    net = nn.Sequential(Block(), nn.Sequential(nn.BatchNorm1d(3)))
    assert all(module.training for _, module in net.named_modules())
    assert net.eval() is net
    assert not any(module.training for _, module in net.named_modules())
    net.train()
    assert all(module.training for _, module in net.named_modules())


def test_gradients_add_up_until_they_are_zeroed():
    layer = nn.Linear(2, 1)
    layer([[1.0, 2.0]]).sum().backward()
    layer([[1.0, 2.0]]).sum().backward()
    assert layer.weight.grad.tolist() == [[2, 4]]
    layer.zero_grad()
    assert [parameter.grad for parameter in layer.parameters()] == [None, None]


def test_the_same_seed_gives_the_same_weights_within_their_bound():
    nn.manual_seed(7)
    first, second = nn.Linear(16, 100), nn.Linear(16, 100)
    nn.manual_seed(7)
    assert_same(nn.Linear(16, 100).state_dict(), first.state_dict())
    assert (first.weight.data != second.weight.data).all()
    assert 0.24 < np.abs(first.weight.data).max() <= 0.25
    assert -0.25 <= first.bias.data.min() < -0.2 < 0.2 < first.bias.data.max() <= 0.25


def test_a_script_begins_with_seed_0():
    script = "from micrograd_bn import nn; print(nn.Linear(1, 1).weight.item())"
    begun = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    nn.manual_seed(0)
    assert float(begun.stdout) == nn.Linear(1, 1).weight.item()


def test_the_dtype_is_float32_or_what_was_asked_for_through_training(random):
    for dtype, options in ((np.float32, {}), (np.float64, {"dtype": np.float64})):
        net = nn.Sequential(nn.Linear(3, 4, **options), nn.BatchNorm1d(4, **options), nn.Tanh())
        optimizer = nn.SGD(net.parameters(), lr=0.1, momentum=0.9)
        for _ in range(2):
            y = net([[1, 2, 3], [4, 5, 7]])
            nn.mse_loss(y, random.normal(size=(2, 4))).backward()
            (y * np.float64(2.0) * np.ones((2, 4))).sum().backward()  # a loss in float64
            optimizer.step()
        assert y.data.dtype == dtype
        assert {value.dtype for value in net.state_dict().values()} == {np.dtype(dtype), np.dtype(np.int64)}


def test_linear_by_hand():
    layer = nn.Linear(2, 1, dtype=np.float64)
    layer.weight.data, layer.bias.data = np.array([[2.0, 3.0]]), np.array([0.5])
    assert layer([[1.0, 10.0], [0.0, 1.0]]).data.tolist() == [[32.5], [3.5]]
    assert layer([1.0, 10.0]).data.tolist() == [32.5]
    assert nn.Linear(2, 1, bias=False).bias is None


# ---- batch norm


@pytest.mark.parametrize(("layer", "shape", "axis"), [
    (nn.BatchNorm1d, (6, 3), (0,)),
    (nn.BatchNorm1d, (4, 3, 5), (0, 2)),
    (nn.BatchNorm2d, (4, 3, 2, 5), (0, 2, 3)),
])  # fmt: skip
def test_running_statistics_by_hand(random, layer, shape, axis):
    bn = layer(3, momentum=0.25, dtype=np.float64)
    cumulative = layer(3, momentum=None, dtype=np.float64)
    batches = random.normal(3, 2, size=(5, *shape))
    mean, var = np.zeros(3), np.ones(3)
    for x in batches:
        bn(x), cumulative(x)
        mean = 0.75 * mean + 0.25 * x.mean(axis=axis)
        var = 0.75 * var + 0.25 * x.var(axis=axis, ddof=1)  # unbiased, though the batch is normalised with the biased one
    np.testing.assert_allclose(bn.running_mean, mean, rtol=1e-13)
    np.testing.assert_allclose(bn.running_var, var, rtol=1e-13)
    np.testing.assert_allclose(cumulative.running_mean, np.mean([x.mean(axis=axis) for x in batches], axis=0), rtol=1e-13)
    np.testing.assert_allclose(cumulative.running_var, np.mean([x.var(axis=axis, ddof=1) for x in batches], axis=0), rtol=1e-13)
    assert bn.num_batches_tracked == 5


def test_training_normalises_with_the_batch_and_eval_with_running_statistics_as_constants(random):
    bn = nn.BatchNorm1d(2, dtype=np.float64)
    x, dy = Tensor(random.normal(3, 2, size=(8, 2))), random.normal(size=(8, 2))
    np.testing.assert_array_equal(bn(x).data, batch_norm(x.data, 1.0, 0.0))

    before = bn.eval().state_dict()
    y = bn(x)
    y.backward(dy)
    scale = 1 / np.sqrt(bn.running_var + bn.eps)
    np.testing.assert_allclose(y.data, (x.data - bn.running_mean) * scale, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(x.grad, dy * scale, rtol=1e-13)
    assert_same(bn.state_dict(), before)
    assert bn(x.data[:1]).shape == (1, 2)


def test_without_running_statistics_eval_too_uses_the_batchs(random):
    bn = nn.BatchNorm1d(2, track_running_stats=False, affine=False)
    x = random.normal(3, 2, size=(8, 2)).astype(np.float32)
    training = bn(x).data
    np.testing.assert_array_equal(bn.eval()(x).data, training)
    np.testing.assert_allclose(training.std(axis=0), 1, atol=1e-5)
    assert bn.state_dict() == {}
    assert list(bn.parameters()) == []


def test_the_layers_graph_is_the_derivations_and_its_statistics_are_computed_once(random):
    bn = nn.BatchNorm1d(2, dtype=np.float64, momentum=1.0)
    y = bn(random.normal(size=(4, 2)))
    variables = y.equation.inputs["x_hat"].equation.inputs
    assert (y.equation.number, y.equation.inputs["gamma"], y.equation.inputs["beta"]) == (4, bn.weight, bn.bias)
    np.testing.assert_array_equal(bn.running_mean, variables["mu"].data[0])
    np.testing.assert_allclose(bn.running_var, variables["var"].data[0] * 4 / 3)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.BatchNorm1d, (8, 3)), (nn.BatchNorm1d, (4, 3, 5)), (nn.BatchNorm2d, (4, 3, 5, 5))]
)
def test_fused_layers_give_the_same_in_one_primitive(random, layer, shape, affine):
    composed, fused = (layer(3, affine=affine, dtype=np.float64, fused=fused) for fused in (False, True))
    for _ in range(3):
        data, dy = random.normal(2, 3, size=shape), random.normal(size=shape)
        results = []
        for net in (composed, fused):
            net.zero_grad()
            x = Tensor(data)
            y = net(x)
            y.backward(dy)
            results.append((y.data, x.grad, *(p.grad for p in net.parameters()), net.running_mean, net.running_var))
        assert y.primitive.name == "fused_batch_norm"
        for a, b in zip(*results):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(composed.eval()(data).data, fused.eval()(data).data)


def test_a_batch_that_is_refused_leaves_the_running_statistics_alone():
    bn = nn.BatchNorm1d(2)
    before = bn.state_dict()
    for x in (np.ones((1, 2)), np.ones((0, 2)), np.ones((4, 3))):
        with pytest.raises(ValueError):
            bn(x)
    assert_same(bn.state_dict(), before)


# ---- losses and training


def test_cross_entropy_by_hand_and_where_exp_would_overflow():
    loss = nn.cross_entropy(Tensor([[0.0, np.log(3.0)], [0.0, 0.0]]), [1, 0])
    assert loss.item() == pytest.approx((np.log(4 / 3) + np.log(2)) / 2, rel=1e-15)
    logits = Tensor([[1e4, 0.0], [-1e4, 0.0]])
    loss = nn.cross_entropy(logits, np.array([1, 1]))
    loss.backward()
    assert loss.item() == 5000
    assert logits.grad.tolist() == [[0.5, -0.5], [0, 0]]


def test_mse_loss_by_hand():
    x, target = Tensor([1.0, 2.0]), Tensor([3.0, 5.0])
    loss = nn.mse_loss(x, target)
    loss.backward()
    assert loss.item() == 6.5
    assert (x.grad.tolist(), target.grad.tolist()) == ([-2, -3], [2, 3])


def test_momentum_by_hand_and_a_parameter_without_a_gradient_waits():
    w, idle = nn.Parameter([1.0]), nn.Parameter([5.0])
    optimizer = nn.SGD([w, idle], lr=0.5, momentum=0.5)
    for gradient, expected in ((2.0, 0.0), (0.0, -0.5), (None, -0.5), (1.0, -1.25)):
        optimizer.zero_grad()
        if gradient is not None:
            w.grad = np.array([gradient])
        optimizer.step()
        assert w.data.tolist() == [expected]
    assert idle.data.tolist() == [5]


def test_scaling_a_gradient_in_place_after_a_step_does_not_reach_the_velocity():
    w = nn.Parameter([0.0])
    optimizer = nn.SGD([w], lr=1.0, momentum=0.5)
    w.grad = np.array([1.0])
    optimizer.step()
    w.grad *= 0
    optimizer.step()
    assert w.data.tolist() == [-1.5]


def test_a_small_net_learns_what_a_line_cannot_separate(random):
    """Exclusive or, with noise: chance is one half, and so is the best line."""
    corners = random.integers(2, size=(256, 2))
    x, classes = corners + random.normal(0, 0.1, size=(256, 2)), corners[:, 0] ^ corners[:, 1]
    net = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = nn.SGD(net.parameters(), lr=0.3, momentum=0.9)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.cross_entropy(net(x), classes)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    assert (net.eval()(x).data.argmax(axis=1) == classes).mean() > 0.98


def test_no_graph_outlives_its_step(random):
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = nn.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x, classes = random.normal(size=(8, 3)), random.integers(2, size=8)

    def step():
        optimizer.zero_grad()
        nn.cross_entropy(net(x), classes).backward()
        optimizer.step()

    def tensors():
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())  # isinstance would ask other libraries' proxies

    gc.collect()
    gc.disable()  # reference counts alone have to free a graph: no cycles
    try:
        before = tensors()
        for _ in range(3):
            step()
        assert tensors() == before
    finally:
        gc.enable()


# ---- state dicts and files


def test_a_state_goes_from_net_to_net_in_memory_and_by_file(random, tmp_path):
    net, in_memory, by_file = Block(), Block(), Block()
    for _ in range(3):
        net(random.normal(size=(8, 3)))
    net.save(tmp_path / "net.npz")
    in_memory.load_state_dict(net.state_dict())
    by_file.load(tmp_path / "net.npz")
    x = random.normal(size=(8, 3))
    expected = net.eval()(x).data
    for other in (in_memory, by_file):
        assert_same(other.state_dict(), net.state_dict())
        np.testing.assert_array_equal(other.eval()(x).data, expected)
    assert net.inner[1].num_batches_tracked == by_file.inner[1].num_batches_tracked == 3


def test_a_state_dict_is_a_copy_both_ways(random):
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    given, kept = net.state_dict(), [value.copy() for value in net.state_dict().values()]
    taken = net.state_dict()
    net.load_state_dict(given)
    for state in (given, taken, net.state_dict()):
        for value in state.values():
            value += 1
    for value, expected in zip(net.state_dict().values(), kept):
        np.testing.assert_array_equal(value, expected)


def test_a_state_of_another_precision_takes_the_nets():
    net, double = nn.Linear(3, 2), nn.Linear(3, 2, dtype=np.float64)
    net.load_state_dict(double.state_dict())
    assert net.weight.data.dtype == np.float32
    np.testing.assert_array_equal(net.weight.data, double.weight.data.astype(np.float32))


def test_a_single_number_stays_a_float_which_leaves_float32_alone():
    """A float64 of NumPy's, or an array without axes, would widen it."""
    net, x = Block(), np.float32([1, 2])
    net.scale = nn.Parameter(2.0)
    (net.scale * x).sum().backward()
    for optimizer in (nn.SGD([net.scale], lr=0.5), nn.Adam([net.scale], weight_decay=0.5)):
        optimizer.step()
        assert type(net.scale.data) is float
    net.load_state_dict(net.state_dict())
    assert type(net.scale.data) is float
    assert (net.scale * x).dtype == np.float32


def test_an_optimizer_goes_on_with_parameters_that_were_loaded():
    layer = nn.Linear(1, 1, bias=False)
    optimizer = nn.SGD(layer.parameters(), lr=1.0)
    layer.load_state_dict({"weight": [[5.0]]})
    layer([[1.0]]).backward()
    optimizer.step()
    assert layer.weight.data.tolist() == [[4]]


def test_a_state_that_does_not_fit_is_refused_with_all_that_is_wrong_and_changes_nothing(tmp_path):
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before, parameters = net.state_dict(), list(net.parameters())
    state = net.state_dict() | {"0.weight": np.ones((4, 2)), "2.bias": np.ones(4), "1.bias": np.array(["a"] * 4)}
    state["0.bias"] += 1
    del state["1.running_mean"], state["1.num_batches_tracked"]
    np.savez(tmp_path / "other.npz", **state)
    for load, name in ((lambda: net.load_state_dict(state), ""), (lambda: net.load(tmp_path / "other.npz"), "other.npz: ")):
        with pytest.raises(ValueError) as raised:
            load()
        first, *lines = str(raised.value).splitlines()
        assert first.endswith(f"{name}this state does not fit the Sequential, which is left as it was:")
        assert sorted(lines) == [
            "  0.weight has shape (4, 2), and should have (4, 3)",
            "  1.bias has dtype <U1, and should hold real numbers",
            "  1.num_batches_tracked is missing",
            "  1.running_mean is missing",
            "  2.bias is not a key of this module",
        ]
        assert_same(net.state_dict(), before)
        assert list(net.parameters()) == parameters


def test_a_file_damaged_anywhere_is_refused_or_harmless(tmp_path):
    """Cut short at any length, it is refused. A flipped byte is refused too, unless it is one that no reader looks at."""
    net, path = nn.Linear(3, 2), tmp_path / "net.npz"
    net.save(path)
    before, whole = net.state_dict(), path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"net\.npz is damaged or not an \.npz file"):
            net.load(path)
    refused = 0
    for i in range(0, len(whole), 3):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :])
        try:
            net.load(path)
        except ValueError as error:
            refused += 1
            assert "net.npz" in str(error)
        assert_same(net.state_dict(), before)
    assert refused > len(whole) / 3 / 2


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    trap = np.empty((2, 3), dtype=object)
    trap[0, 0] = Trap()
    np.savez(tmp_path / "trap.npz", weight=trap, bias=np.ones(2))
    with pytest.raises(ValueError, match=r"trap\.npz is damaged or not an \.npz file of arrays: Object arrays"):
        nn.Linear(3, 2).load(tmp_path / "trap.npz")
    assert not (tmp_path / "sprung").exists()


def test_other_files_are_named_in_the_error(tmp_path):
    (tmp_path / "notes.txt").write_text("weights of Tuesday")
    np.save(tmp_path / "array.npy", np.ones(3))
    for name in ("notes.txt", "array.npy"):
        with pytest.raises(ValueError, match=rf"{name} is damaged or not an \.npz file"):
            nn.Linear(3, 2).load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        nn.Linear(3, 2).load(tmp_path / "nowhere.npz")


def cut_short(file, **arrays):
    file.write(b"PK\x03\x04 and then")
    raise OSError(28, "No space left on device")


def interrupted(*arguments):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("module", "function", "replacement"), [(np, "savez", cut_short), (os, "fsync", interrupted), (os, "replace", interrupted)]
)
def test_a_save_that_is_cut_short_leaves_the_earlier_file_whole_and_no_other(tmp_path, monkeypatch, module, function, replacement):
    path = tmp_path / "net.npz"
    earlier, later, read = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)
    earlier.save(path)
    with monkeypatch.context() as patch, pytest.raises((OSError, KeyboardInterrupt)):
        patch.setattr(module, function, replacement)
        later.save(path)
    assert os.listdir(tmp_path) == ["net.npz"]
    read.load(path)
    assert_same(read.state_dict(), earlier.state_dict())

    later.save(path)
    assert os.listdir(tmp_path) == ["net.npz"]
    read.load(path)
    assert_same(read.state_dict(), later.state_dict())


def test_the_new_file_is_whole_and_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    net, synced, replace = nn.Linear(3, 2), [], os.replace

    def checked_replace(source, target):
        assert os.path.dirname(source) == os.path.dirname(target)
        assert synced == [os.path.getsize(source)]
        nn.Linear(3, 2).load(source)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    monkeypatch.setattr(os, "replace", checked_replace)
    net.save(tmp_path / "net.npz")
    assert os.listdir(tmp_path) == ["net.npz"]


def test_a_link_keeps_pointing_to_the_file_that_is_saved(tmp_path):
    (tmp_path / "runs").mkdir()
    link = tmp_path / "latest.npz"
    link.symlink_to(tmp_path / "runs" / "1.npz")
    nn.Linear(3, 2).save(link)
    assert link.is_symlink()
    nn.Linear(3, 2).load(tmp_path / "runs" / "1.npz")


# ---- errors


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Linear(3, 2)(np.ones((5, 4))), ValueError, r"Linear\(3, 2\) takes \(…, 3\), and this has shape \(5, 4\)"),
        (lambda: nn.Linear(3, 2)(np.ones((5, 2))), ValueError, r"takes \(…, 3\), and this has shape \(5, 2\)"),
        (lambda: nn.Linear(3, 2, dtype=float)(Tensor(np.ones((5, 3), np.float32))), TypeError, "float32 meets float64"),
        (lambda: nn.Linear(3, 2).load_state_dict({"weight": [[1.0]], "bias": [9.0] * 3}), ValueError, r"bias has shape \(3,\)"),
        (lambda: nn.Linear(3, 2)(Tensor(np.ones((5, 3)))), TypeError, r"float64 meets float32.*np\.float64.*astype"),
        (lambda: nn.Linear(3, 2)("text"), TypeError, "str 'text'"),
        (lambda: nn.BatchNorm1d(3)(np.ones((5, 4))), ValueError, r"BatchNorm1d\(3\) takes \(N, C\) or .* with C = 3.*\(5, 4\)"),
        (lambda: nn.BatchNorm1d(3)(np.ones((5, 3, 2, 2))), ValueError, r"\(N, C\) or \(N, C, L\).*\(5, 3, 2, 2\)"),
        (lambda: nn.BatchNorm1d(3)(np.ones(3)), ValueError, r"\(N, C\) or \(N, C, L\).*\(3,\)"),
        (lambda: nn.BatchNorm2d(3)(np.ones((5, 3))), ValueError, r"BatchNorm2d\(3\) takes \(N, C, H, W\) with C = 3.*\(5, 3\)"),
        (lambda: nn.BatchNorm1d(3)(np.ones((1, 3))), ValueError, r"shape \(1, 3\) has a single value a channel.*eval\(\)"),
        (lambda: nn.BatchNorm2d(3)(np.ones((1, 3, 1, 1))), ValueError, r"shape \(1, 3, 1, 1\) has a single value a channel"),
        (lambda: nn.BatchNorm1d(3)(Tensor(np.ones((5, 3)))), TypeError, "float64 meets float32"),
        (lambda: nn.Linear(0, 3), ValueError, "Linear's in_features is 0, and should be 1 or more"),
        (lambda: nn.Linear(3, -1), ValueError, "Linear's out_features is -1"),
        (lambda: nn.Linear(3.0, 2), TypeError, r"Linear's in_features is 3\.0, and should be an integer"),
        (lambda: nn.BatchNorm2d(-1), ValueError, "BatchNorm2d's num_features is -1"),
        (lambda: nn.LayerNorm((3, 0)), ValueError, "size in LayerNorm's normalized_shape is 0"),
        (lambda: nn.Sequential(nn.ReLU), TypeError, "element 0 is <class"),
        (lambda: nn.Sequential([nn.ReLU()]), TypeError, "one an argument, and element 0 is "),
        (lambda: nn.Module()(1.0), NotImplementedError, "Module has no forward"),
        (lambda: nn.mse_loss(np.ones((3, 1)), np.ones(3)), ValueError, r"input has shape \(3, 1\) and target \(3,\)"),
        (lambda: nn.cross_entropy(np.ones(3), [1]), ValueError, r"shape \(N, C\).*\(3,\)"),
        (lambda: nn.cross_entropy(np.ones((0, 3)), []), ValueError, r"shape \(N, C\).*\(0, 3\)"),
        (lambda: nn.cross_entropy(np.ones((2, 3)), [1]), ValueError, r"need 2 targets, of shape \(2,\), and these have \(1,\)$"),
        (lambda: nn.cross_entropy(np.ones((2, 3)), np.eye(3)[:2]), ValueError, r"targets\.argmax\(axis=1\)"),
        (lambda: nn.cross_entropy(np.ones((2, 3)), [[1], [2]]), ValueError, r"\(2, 1\)$"),
        (lambda: nn.cross_entropy(np.ones((2, 3)), [0, 3]), ValueError, r"targets\[1\] is 3: with 3 classes they are 0 to 2"),
        (lambda: nn.cross_entropy(np.ones((2, 3)), [-1, 0]), ValueError, r"targets\[0\] is -1"),
        (lambda: nn.cross_entropy(np.ones((2, 3)), [0.0, 1.0]), TypeError, r"integers, and these are float64.*astype\(int\)"),
        (lambda: nn.cross_entropy(np.ones((2, 3)), [True, False]), TypeError, "integers, and these are bool"),
        (lambda: nn.SGD([]), ValueError, r"net\.parameters\(\)"),
        (lambda: nn.SGD(nn.Sequential(nn.ReLU())), TypeError, r"SGD steps Tensors.*net\.parameters\(\)"),
    ],
)  # fmt: skip
def test_errors_teach(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_module_passes_keywords_on():
    class Scale(nn.Module):
        def forward(self, x, *, factor):
            return x * factor

    assert Scale()(2.0, factor=3.0) == 6
