"""CONTRIBUTING.md: its recipes work as they are written, its links lead somewhere, and its commands are there."""

import ast
import re
from configparser import ConfigParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from micrograd_bn import Tensor, dispatch, grad, primitives, verify
from micrograd_bn.check import gradcheck

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?ms)^```python\n(.*?)^```", TEXT)


def names(block, given):
    """What a block defines, where these names are given."""
    namespace = dict(given)
    exec(compile(block, "CONTRIBUTING.md", "exec"), namespace)
    return namespace


def test_the_recipe_for_a_primitive():
    entry, method, ufunc, test = BLOCKS[:4]
    arctan = names(entry, vars(primitives))["arctan"]
    known = {"np": np, "P": SimpleNamespace(arctan=arctan), "Tensor": Tensor, "_method": dispatch._method}
    learned = names(f"class Learned(Tensor):\n    __slots__ = ()\n\n{method}", known)["Learned"]
    names(test, {"Tensor": learned, "np": np, "grad": grad})["test_arctan_is_half_a_right_angle_at_1_where_it_rises_by_a_half"]()
    assert gradcheck(arctan, [-1.5, 0.5])
    assert gradcheck(lambda a: grad(arctan(a), [a])[0], 0.5)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in names(f"ADDED = {{{ufunc}}}", known)["ADDED"].items():
            patch.setitem(dispatch.UFUNCS, key, value)
        assert np.arctan(Tensor(1.0)).item() == np.pi / 4
    wrong = names(entry.replace("1 + a", "1 - a"), vars(primitives))["arctan"]
    with pytest.raises(AssertionError, match="central differences"):
        gradcheck(wrong, [-1.5, 0.5])


def test_the_recipe_for_a_derivation():
    table, claim, test = BLOCKS[-3:]
    made = names(table + claim, {})
    report = verify([3.0, 4.0], derivation=made["WEIGHT_NORM"])
    assert report.ok
    assert all(row.by_engine for row in report.rows if "∂" in row.name)
    names(test, made | {"np": np, "verify": verify})["test_the_gradient_of_a_length_by_hand"]()
    wrong = names(table + claim.replace("v / n**0.5", "v / n"), {})["WITH_A_CLAIM"]
    assert [row.name for row in verify([3.0, 4.0], derivation=wrong).rows if not row.ok] == ["∂w/∂g", "dg"]


def test_imports_run_one_way_in_the_order_that_is_said():
    (order,) = re.findall(r"(?s)Imports run one way: (.*?)\.", TEXT)
    place = {room: i for i, rooms in enumerate(order.split("→")) for room in re.findall(r"\w+", rooms)}
    package = ROOT / "micrograd_bn"
    files = {path: path.relative_to(package).with_suffix("").parts[0] for path in package.rglob("*.py")}
    assert set(files.values()) - {"__init__", "__main__"} == set(place)
    for path, room in files.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.level == len(path.relative_to(package).parts) and room in place:
                above = [node.module.partition(".")[0]] if node.module else [alias.name for alias in node.names]
                assert all(place[other] < place[room] for other in above), f"{path}: {above}"


def test_the_commands_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([a-z-]+)|^    make ([a-z-]+)", TEXT, re.MULTILINE))
    assert len(targets) > 8
    for target in map("".join, targets):
        assert re.search(rf"(?m)^{target}:", makefile), target


def test_the_links_and_the_files_that_are_named_are_there():
    named = re.findall(r"\]\(([^)#:]+)", TEXT) + re.findall(r"`((?:docs|tests|micrograd_bn|notebooks)/[\w/.]+\w)`", TEXT)
    assert len(named) > 8
    for name in named:
        assert (ROOT / name).exists(), name


def test_the_version_stands_in_one_place():
    """What names it elsewhere names the same."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    version = config["metadata"]["version"]
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert set(re.findall(r"micrograd_bn-([\d.]+)-py3", path.read_text(encoding="utf-8"))) <= {version}, path
