"""The tests that have to notice what cosmic-ray has changed: mutation.toml's test-command. Without a change, all of them."""

import subprocess
import sys

import pytest

DERIVATIONS = "equations derivation prove derive"
PROGRAMS = "program program_properties"
TESTS = {  # of each room besides its doctests, those that notice most first
    "shapes": "engine edges batchnorm primitives orders",
    "kinds": "engine exact edges faults",
    "primitives": "primitives edges exact orders engine properties program",
    "functions": "functions engine edges exact orders",
    "dispatch": "functions engine edges exact orders",
    "engine": "engine edges exact orders faults properties",
    "batchnorm": "batchnorm equations exact derivation",
    "arguments": "batchnorm equations derivation",
    "derivation": "derivation derive mistakes batchnorm",
    "validation": "derivation",
    "recorded": "recorded",
    **dict.fromkeys(("computed", "wording", "formulas", "mistakes"), "formulas mistakes check_derivations check grading"),
    "faults": "faults",
    "batches": "batches check check_derivations verify",
    "check": "check gradcheck check_derivations check_command",
    "submission": "check_command grading",
    "grading": "grading",
    "reader": "reader fuzz_reader",
    "derivations/attention": DERIVATIONS,
    "derivations/batch_norm": f"batchnorm {DERIVATIONS} mistakes check",
    "derivations/linear": DERIVATIONS,
    "derivations/rms_norm": DERIVATIONS,
    "derivations/softmax_cross_entropy": DERIVATIONS,
    "prove": "prove derive batch",
    "verify": "verify exact derivation",
    "derive": "derive",
    "writer": "derive derivation",
    "numbers/batch": "batch prove derive",
    "numbers/generic": "batch prove derive",
    "numbers/running": "running verify properties",
    "numbers/written": "derive",
    "numbers/printed": "derive prove",
    "numbers/name": PROGRAMS,
    "numbers/program": PROGRAMS,
    "numbers/python": PROGRAMS,
    "numbers/loops": "program_compiled",
    "numbers/compile": "program_compiled",
    "numbers/machine": "program_compiled",
    **dict.fromkeys(("nn/containers", "nn/module"), "nn_modules nn"),
    **dict.fromkeys(("nn/hyperparameters", "nn/optimizers"), "nn_optimizers nn nn_layers nn_losses"),
    "nn/layers": "nn_layers nn",
    "nn/losses": "nn_losses nn",
}

if __name__ == "__main__":
    changed = subprocess.run(
        ["git", "diff", "--name-only", "micrograd_bn"], capture_output=True, text=True, check=True
    ).stdout.split()
    rooms = [path.removeprefix("micrograd_bn/").removesuffix(".py") for path in changed] or list(TESTS)
    names = dict.fromkeys(name for room in rooms for name in TESTS[room].split())
    files = [*[f"micrograd_bn/{room}.py" for room in rooms], *[f"tests/test_{name}.py" for name in names]]
    sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *files]))
