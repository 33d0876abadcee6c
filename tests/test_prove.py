"""The proof: every row an identity, and a wrong formula not."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from micrograd_bn import Tensor, cli
from micrograd_bn.derivations.batch_norm import EQUATIONS
from micrograd_bn.primitives import NONE
from micrograd_bn.prove import prove
from tests.conftest import optional

optional("sympy")


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_every_row_is_an_identity(m):
    proof = prove(m)
    assert [row for row in proof.rows if row.difference is not None] == []
    assert len(proof.rows) == 20
    assert [row.number for row in proof.rows if row.scope == "every m"] == [f"({n})" for n in (5, 6, 7, 8, 10, 13)]


# A VJP with a mistake in it → the local derivatives whose identity fails. On symbols, (9) is not 0: its sign is seen.
MISTAKES = {
    "sqrt": (lambda g, y, a: (g / y,), {"(8)"}),
    "sub": (lambda g, y, a, b: (g, g), {"(9)", "(10)"}),
    "pow": (lambda g, y, a, exponent: (g * a,), {"(9)", "(12)"}),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_leaves_a_difference(name, monkeypatch):
    wrong, expected = MISTAKES[name]
    record = Tensor.record

    def record_wrongly(primitive, inputs, params=NONE):
        return record(replace(primitive, vjp=wrong) if primitive.name == name else primitive, inputs, params)

    monkeypatch.setattr(Tensor, "record", staticmethod(record_wrongly))
    proof = prove(2)
    assert not proof.ok
    assert {row.number for row in proof.rows[:13] if row.difference} == expected
    assert max((row.difference or "" for row in proof.rows), key=len)[:20] in str(proof)


def test_a_mistake_in_a_formula_leaves_a_difference():
    edge, right = EQUATIONS[10], EQUATIONS[10].function
    object.__setattr__(edge, "function", lambda dmu, x, axis: dmu)  # the table is frozen, for whoever does not insist
    try:
        assert [row.number for row in prove(2).rows if row.difference] == ["(11)", "(13) (12) (11)"]
    finally:
        object.__setattr__(edge, "function", right)


def test_the_command_line(capsys, monkeypatch):
    assert cli.main(["prove", "--m", "2"]) == 0
    assert "20 of 20 rows are identities" in capsys.readouterr().out
    assert cli.main(["prove", "--m", "0"]) == 2
    assert "m is 0" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sympy", None)
    assert cli.main(["prove"]) == 2
    assert "pip install 'micrograd-bn[prove]'" in capsys.readouterr().err


def test_fifty_digits_on_the_command_line(capsys):
    assert cli.main(["verify", "--digits", "50", "--columns", "petal_width_cm"]) == 0
    assert "Decimal with 50 digits" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["verify", "--digits", "1"])
    assert np.sqrt(2) == 2**0.5  # and the context of decimals outside is as it was
