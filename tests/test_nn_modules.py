"""Modules that hold others: nothing that could be learned is left out in silence, and a module shows its layers."""

import numpy as np
import pytest

from micrograd_bn import Tensor, nn


class Net(nn.Module):
    """A layer, and one attribute more, of the test's choice."""

    def __init__(self, **attributes):
        self.first = nn.Linear(2, 2)
        for name, value in attributes.items():
            setattr(self, name, value)


def learned():
    return nn.Parameter([1.0])


# ---- what would not be found


@pytest.mark.parametrize(
    ("attribute", "error"),
    [
        ([nn.ReLU()], r"Net\.it is a list that holds modules: parameters\(\) would not find them; make it an nn\.ModuleList"),
        ((1, nn.ReLU()), r"Net\.it is a tuple that holds modules: .* make it an nn\.ModuleList"),
        ({"a": nn.ReLU()}, r"Net\.it is a dict that holds modules: .* make it an nn\.ModuleList"),
        ([[nn.ReLU()], []], r"Net\.it is a list that holds modules"),
        ([{"a": [nn.ReLU()]}], r"Net\.it is a list that holds modules"),
        ([learned()], r"Net\.it is a list that holds Parameters: .* give each an attribute of its own"),
        ({"a": learned()}, r"Net\.it is a dict that holds Parameters: .* give each an attribute of its own"),
        (Tensor([1.0]), r"Net\.it is a Tensor that is not learned: make it an nn\.Parameter, or register_buffer\(…\) its \.data"),
    ],
)  # fmt: skip
def test_what_could_be_learned_and_would_not_be_found_is_an_error_that_names_it(attribute, error):
    outer = nn.Sequential(nn.ReLU(), Net(it=attribute))
    for use in (
        lambda: list(outer.named_modules()),
        lambda: list(outer.parameters()),
        outer.state_dict,
        outer.zero_grad,
        outer.eval,
        lambda: nn.SGD(outer.parameters()),
    ):
        with pytest.raises(TypeError, match=error):
            use()


def test_what_is_not_learned_may_be_kept_in_any_attribute():
    net = Net(sizes=[1, 2], names={"a": "b"}, empty=[], table=np.ones(3), nothing=None)
    net.hidden = net.first([[1.0, 2.0]])  # a result, with its history
    assert list(net.state_dict()) == ["first.weight", "first.bias"]


# ---- ModuleList


def test_a_module_list_gives_its_modules_numbers_for_names():
    class Deep(nn.Module):
        def __init__(self):
            self.blocks = nn.ModuleList([nn.Linear(2, 3), nn.Linear(3, 1, bias=False)])

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    net = Deep()
    assert list(net.state_dict()) == ["blocks.0.weight", "blocks.0.bias", "blocks.1.weight"]
    assert net([[1.0, 2.0]]).shape == (1, 1)
    last = nn.BatchNorm1d(1)
    assert net.blocks.append(last) is net.blocks
    assert len(net.blocks) == 3
    assert net.blocks[2] is net.blocks[-1] is last
    assert "blocks.2.running_mean" in net.state_dict()
    assert not net.eval().blocks[2].training


def test_a_module_list_takes_any_iterable_or_nothing():
    assert len(nn.ModuleList()) == 0
    assert [type(module) for module in nn.ModuleList(layer() for layer in (nn.ReLU, nn.Tanh))] == [nn.ReLU, nn.Tanh]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.ModuleList([nn.ReLU(), nn.Tanh]), TypeError, "takes an iterable of modules, and element 1 is <class"),
        (lambda: nn.ModuleList([[nn.ReLU()]]), TypeError, "element 0 is "),
        (lambda: nn.ModuleList().append(learned()), TypeError, "element 0 is "),
        (lambda: nn.ModuleList([nn.ReLU()])[1], IndexError, "out of range"),
        (lambda: nn.ModuleList([nn.ReLU()])(1.0), NotImplementedError, "ModuleList has no forward"),
    ],
)  # fmt: skip
def test_errors_of_module_lists_teach(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_sequence_is_as_long_as_it_has_modules_and_grows_by_one():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    assert len(net) == 2
    assert net.append(nn.Linear(3, 1)) is net
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert net([[1.0, 2.0]]).shape == (1, 1)


# ---- what a module shows


def test_a_module_shows_its_layers():
    net = nn.Sequential(
        nn.Linear(3, 2),
        nn.BatchNorm1d(2, momentum=None, bias=False),
        Net(blocks=nn.ModuleList([nn.Sigmoid(), nn.Tanh(), nn.Tanh(), nn.ReLU()])),
        nn.LayerNorm((4, 2)),
    )
    assert (
        repr(net)
        == """Sequential(
  (0): Linear(in_features=3, out_features=2, bias=True)
  (1): BatchNorm1d(2, eps=1e-05, momentum=None, affine=True, bias=False, track_running_stats=True)
  (2): Net(
    (first): Linear(in_features=2, out_features=2, bias=True)
    (blocks): ModuleList(
      (0): Sigmoid()
      (1-2): 2 x Tanh()
      (3): ReLU()
    )
  )
  (3): LayerNorm((4, 2), eps=1e-05, elementwise_affine=True, bias=True)
)"""
    )
    assert repr(nn.Sequential()) == "Sequential()"


def test_a_module_may_say_more_of_itself():
    class Scale(nn.Module):
        def __init__(self):
            self.inner = nn.ReLU()

        def extra_repr(self):
            return "factor=2"

    assert repr(Scale()) == "Scale(\n  factor=2\n  (inner): ReLU()\n)"
