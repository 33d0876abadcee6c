"""Layers that train: modules with PyTorch's names, defaults and state dicts, on the engine's primitives alone.

    net = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = nn.SGD(net.parameters(), lr=0.1, momentum=0.9)
    loss = nn.cross_entropy(net(images), digits)

A layer's ``dtype`` is float32 unless it is told otherwise. Weights are drawn from one generator, which ``manual_seed`` sets;
it starts at seed 0, so that a script gives the same numbers each time it runs.
"""

from .containers import ModuleList, Sequential
from .layers import BatchNorm1d, BatchNorm2d, LayerNorm, Linear, ReLU, Sigmoid, Tanh, manual_seed
from .losses import cross_entropy, mse_loss
from .module import Input, Module, Parameter
from .optimizers import SGD, Adam, Optimizer

__all__ = [
    "SGD",
    "Adam",
    "BatchNorm1d",
    "BatchNorm2d",
    "Input",
    "LayerNorm",
    "Linear",
    "Module",
    "ModuleList",
    "Optimizer",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "cross_entropy",
    "manual_seed",
    "mse_loss",
]
