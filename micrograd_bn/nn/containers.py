"""Modules that hold other modules in order: a list of them, and one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from ..kinds import Value
from .module import Module


class _Modules(Module):
    """Modules whose names are their positions, in a constructor that ``takes`` them as these words say."""

    takes: str

    def append(self, module: Module) -> _Modules:
        """Add a module at the end; returns what it was added to."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} takes {self.takes}, and element {len(self)} is {module!r}")
        setattr(self, str(len(self)), module)
        return self

    def __iter__(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


class ModuleList(_Modules):
    """A list of modules, which a module can have as an attribute: in a plain list they would not be found.

    Their names are their positions: "0", "1", … TypeError for what is no module.

    >>> from micrograd_bn import nn
    >>> blocks = ModuleList(nn.Linear(4, 4, bias=False) for _ in range(3))
    >>> list(blocks.state_dict())
    ['0.weight', '1.weight', '2.weight']
    >>> blocks.append(nn.ReLU())
    ModuleList(
      (0-2): 3 x Linear(in_features=4, out_features=4, bias=False)
      (3): ReLU()
    )
    """

    takes = "an iterable of modules"

    def __init__(self, modules: Iterable[Module] = ()):
        for module in modules:
            self.append(module)

    def __repr__(self) -> str:
        lines, first = [], 0
        for shown, alike in groupby(map(repr, self)):
            n = len(list(alike))
            lines.append(f"({first}): {shown}" if n == 1 else f"({first}-{first + n - 1}): {n} x {shown}")
            first += n
        return self._shown(lines)


class Sequential(_Modules):
    """Modules one after the other; their names are their positions: "0", "1", … TypeError for what is no module.

    >>> from micrograd_bn import nn
    >>> net = Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> list(net.state_dict())
    ['0.weight', '0.bias', '2.weight', '2.bias']
    >>> net([[1.0, 2.0, 3.0, 4.0]]).shape
    (1, 1)
    """

    takes = "modules, one an argument"

    def __init__(self, *modules: Module):
        for module in modules:
            self.append(module)

    def forward(self, x: Value) -> Value:
        for module in self:
            x = module(x)
        return x
