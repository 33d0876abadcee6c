"""Somebody's code in a file: run in a process of its own, so that a crash or an endless loop is theirs alone. It is no sandbox."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from multiprocessing import get_context
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal
from threading import current_thread, main_thread
from types import ModuleType
from typing import TYPE_CHECKING

from . import derivations
from .check import Check, FunctionRaised, check_backward
from .derivation import Derivation

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


THEIRS: set[str] = set()  # the files that ``module`` was asked for
PACKAGE = str(Path(__file__).parent)


class DidNotRun(RuntimeError):
    """Why there is nothing to judge: an error with its line in their file, no such function, nothing returned, not done in time."""


def check_file(target: str, timeout: float = 60, seed: int = 0, derivation: str = "batch_norm") -> Check:
    """``check_backward`` of a function in a file, stopped after ``timeout`` seconds: "student.py:backward", or "student.py" alone.

    ``derivation`` is as for ``derivation_named``; one in a file is code, and left to the other process.
    Raises DidNotRun; ValueError for a folder, and FileNotFoundError where ``target`` names no file.
    """
    path, name = _parts(target)
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder: name a file in it, FILE.py or FILE.py:FUNCTION")
    _check_is_there(path)
    if ":" not in derivation:
        derivation_named(derivation)
    receiver, sender = get_context("spawn").Pipe(duplex=False)
    arguments = (str(Path(path).absolute()), name, seed, derivation, sender)
    child = get_context("spawn").Process(target=_check_in_child, args=arguments)
    with _without_interrupts():
        child.start()
    sender.close()  # so that the child holds the only one, and its end is seen here
    try:
        result = receiver.recv() if receiver.poll(timeout) else f"not done after {timeout:g} seconds, so stopped"
    except EOFError:
        child.join()
        result = f"ended without a result (exit code {child.exitcode})"
    finally:
        child.kill()
    if not isinstance(result, Check):
        raise DidNotRun(result)
    return result


def submissions(targets: Iterable[str]) -> list[str]:
    """What ``check_file`` takes, of files and folders with or without a function: a folder is every file in it that ends with .py.

    Raises FileNotFoundError for what is not there, and for a folder without such a file.
    """
    found: list[str] = []
    for path, name in map(_parts, targets):
        files = sorted(map(str, Path(path).glob("*.py"))) if Path(path).is_dir() else [path]
        if not files:
            raise FileNotFoundError(
                f"{path}: there is no .py file in this folder; in its folders, name the files: {path}/*/student.py"
            )
        for file in files:
            _check_is_there(file)
        found += [f"{file}:{name}" for file in files]
    return list(dict.fromkeys(found))


def _parts(target: str) -> tuple[str, str]:
    """The file and the function, which is "backward" where none is named; the colon of C:\\student.py names none."""
    path, _, name = target.rpartition(":")
    return (path, name) if path and name.isidentifier() else (target, "backward")


def _check_is_there(path: str) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file")


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """What is started here never hears Ctrl-C, which a terminal sends to all: whoever started it does, and ends it."""
    if current_thread() is not main_thread():  # where it is not heard anyway
        yield
        return
    before = signal(SIGINT, SIG_IGN)
    try:
        yield
    finally:
        signal(SIGINT, before)


def module(path: str) -> ModuleType:
    """A file of Python, imported: under a name of its own, for one called random.py is not to be everybody's ``random``.

    Raises FileNotFoundError, ImportError for a file with another ending, and DidNotRun for whatever it raises.
    """
    _check_is_there(path)
    spec = importlib.util.spec_from_file_location(f"micrograd_bn_file_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not named as a Python file is: its name ends with .py")
    found = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    THEIRS.add(str(spec.origin))
    try:
        spec.loader.exec_module(found)
    except (Exception, SystemExit) as error:
        raise DidNotRun(crash(error, str(spec.origin))) from error
    return found


def derivation_named(name: str) -> Derivation:
    """The package's derivation of this name, "layer_norm", or one in a file, "my_layer.py:MY_LAYER". Raises ValueError."""
    path, _, own = name.rpartition(":")
    if path:
        found = getattr(module(path), own, None)
        if not isinstance(found, Derivation):
            raise ValueError(f"{name}: {path} has no Derivation named {own!r}")
        return found
    if name.upper() not in derivations.__all__:
        known = ", ".join(each.lower() for each in derivations.__all__)
        raise ValueError(f"{name}: these are there: {known}; one of your own is FILE.py:NAME")
    derivation: Derivation = getattr(derivations, name.upper())
    return derivation


def in_their_code(error: BaseException) -> str | None:
    """An error in a file that ``module`` was asked for: in its own words if they name the file, or ``crash``; None if elsewhere."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__) if frame.filename in THEIRS]
    if not files:
        return None
    return " ".join(str(error).split()) if files[0] in str(error) else crash(error, files[0])


def crash(error: BaseException, path: str = "") -> str:
    """An error as whoever wrote the code needs it: what it is, on which batch, and the traceback's last lines, from their code on.

    That is the function that raised it, or the first line in the file ``path``; lines of this package are none of theirs.
    """
    if isinstance(error, FunctionRaised) and error.__cause__:
        text, frames = str(error), traceback.extract_tb(error.__cause__.__traceback__)[1:]
    else:
        text, frames = "".join(traceback.format_exception_only(error)), traceback.extract_tb(error.__traceback__)
        frames = frames[next((i for i, frame in enumerate(frames) if frame.filename == path), len(frames)) :]
    frames = [frame for frame in frames if not frame.filename.startswith(PACKAGE)]
    if not frames and isinstance(error, (TypeError, ValueError)):  # not raised by their code, but said of it
        text = str(error)
    if isinstance(error, SyntaxError) and path not in text:
        text = f"{path}: {text}"
    return "".join([text.strip(), "\n", *traceback.format_list(frames[-5:])]).rstrip()


def _check_in_child(path: str, name: str, seed: int, derivation: str, sender: Connection) -> None:
    """Send what became of the function: a Check, or a text that says why there is none."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(Path(path).parent))
    try:
        with redirect_stdout(sys.stderr):
            function = getattr(module(path), name, None)
            result: Check | str = f"there is no function {name!r} in it"
            if callable(function):
                result = check_backward(function, derivation=derivation_named(derivation), seed=seed)
    except DidNotRun as error:
        result = str(error)
    except BaseException as error:  # SystemExit is a crash here, too
        result = crash(error, path)
    sender.send(result)
