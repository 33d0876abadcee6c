"""Firefox without a driver, which Debian does not have: it speaks Marionette itself, a length, a colon and JSON, over a socket."""

import base64
import io
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.conftest import missing

# A port of its own choice; and as in a headless Chromium, no animation, and scrollbars that take no room.
PREFERENCES = {"marionette.port": 0, "ui.prefersReducedMotion": 1, "ui.useOverlayScrollbars": 1}


class Firefox:
    """A headless Firefox with a new profile in ``folder``."""

    def __init__(self, folder: Path):
        path = shutil.which("firefox-esr") or shutil.which("firefox")
        if path is None:
            missing("Firefox (firefox-esr or firefox on PATH)")
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
        (folder / "user.js").write_text("".join(lines))
        command = [path, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port, patience = folder / "MarionetteActivePort", time.monotonic() + 60
        while not (port.exists() and port.read_text()):
            assert self._process.poll() is None and time.monotonic() < patience, f"{path} does not start"
            time.sleep(0.05)
        self._socket = socket.create_connection(("127.0.0.1", int(port.read_text())), timeout=60)
        self._answers = self._socket.makefile("rb")
        self._answer()  # its greeting
        self.command("WebDriver:NewSession", capabilities={})

    def command(self, name, **parameters):
        message = json.dumps([0, 0, name, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._answer()
        assert error is None, error
        return result.get("value") if isinstance(result, dict) else result

    def _answer(self):
        length = b"".join(iter(lambda: self._answers.read(1), b":"))
        return json.loads(self._answers.read(int(length)))

    def open(self, url, width, height, scheme):
        """The page in a window whose inner size is the given one."""
        self.command("Marionette:SetContext", value="chrome")
        self.evaluate(
            """([width, height, dark]) => {
                Services.prefs.setIntPref("layout.css.prefers-color-scheme.content-override", dark ? 0 : 1);
                const { style } = gBrowser.selectedBrowser;
                style.minWidth = style.maxWidth = `${width}px`;
                style.minHeight = style.maxHeight = `${height}px`;
            }""",
            [width, height, scheme == "dark"],
        )
        self.command("Marionette:SetContext", value="content")
        self.command("WebDriver:Navigate", url="about:blank")  # else another step of the same page is no new page
        self.command("WebDriver:Navigate", url=url)
        assert self.evaluate("() => [innerWidth, innerHeight]") == [width, height]

    def evaluate(self, function, argument=None):
        """What a function of JavaScript gives, as in Playwright."""
        return self.command("WebDriver:ExecuteScript", script=f"return ({function})(arguments[0]);", args=[argument])

    def wait(self, function):
        """Until a function of JavaScript gives something true."""
        patience = time.monotonic() + 10
        while not self.evaluate(function):
            assert time.monotonic() < patience, f"{function} stays false"
            time.sleep(0.05)

    def _element(self, selector):
        return self.command("WebDriver:FindElement", using="css selector", value=selector)

    def click(self, selector):
        self.command("WebDriver:ElementClick", id=next(iter(self._element(selector).values())))

    def type(self, selector, text):
        """In place of what stands in the field."""
        self.click(selector)
        self.evaluate("() => document.activeElement.select()")
        self.press(*text)

    def press(self, *keys):
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.command("WebDriver:PerformActions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    def drag(self, selector, pixels):
        """From an element's centre to the right."""
        moves = [{"type": "pointerMove", "origin": self._element(selector), "x": x, "y": 0} for x in (0, pixels // 2, pixels)]
        actions = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        self.command("WebDriver:PerformActions", actions=[{"type": "pointer", "id": "mouse", "actions": actions}])

    def screenshot(self):
        """The whole page, as PNG."""
        return io.BytesIO(base64.b64decode(self.command("WebDriver:TakeScreenshot", full=True)))

    def close(self):
        self.command("Marionette:Quit", flags=["eForceQuit"])
        self._process.wait(30)
        self._answers.close()
        self._socket.close()
