"""Headless Chromium by its DevTools protocol, over the websocket library that Dagster's webserver brings along."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self._socket = socket
        self._session = session
        self._id = 0
        self.requested: set[str] = set()
        """Every URL that the page asked for."""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one DevTools command and return its result."""
        self._id += 1
        message = {"id": self._id, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=30))
            if answer.get("method") == "Network.requestWillBeSent":
                self.requested.add(answer["params"]["request"]["url"])
            if answer.get("id") == self._id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def text(self) -> str:
        """What a person can read on the page."""
        return self.evaluate("document.body ? document.body.innerText : ''")

    def visit(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def wait(self, script: str, *, timeout: float = 30) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + timeout
        while not self.evaluate(script):
            assert time.monotonic() < end, f"never true: {script}; the page reads:\n{self.text()[:2000]}"
            time.sleep(0.2)

    def wait_for(self, *words: str, timeout: float = 30) -> None:
        """Wait until the page shows all of `words`."""
        for word in words:
            self.wait(f"document.body && document.body.innerText.includes({json.dumps(word)})", timeout=timeout)

    def click(self, text: str) -> None:
        """Click the first button or link whose text or label is `text`."""
        found = self.evaluate(
            f"""(() => {{ const wanted = {json.dumps(text)};
            const all = [...document.querySelectorAll("button, a, [role=button]")];
            const hit = all.find(e => e.innerText.trim() === wanted || e.getAttribute("aria-label") === wanted);
            if (hit) hit.click(); return !!hit; }})()"""
        )
        assert found, f"nothing to click: {text}"

    def settle(self, seconds: float = 2) -> None:
        """Let animations end: layouts fly to their place, and nothing on the page says when they have."""
        time.sleep(seconds)

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(*, width: int = 1600, height: int = 1000, scale: float = 1) -> Iterator[Page]:
    """Start Chromium without a window and yield a blank page of `width` x `height` CSS pixels."""
    assert CHROMIUM is not None, "Chromium is not installed: apt-get install chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            with connect(_endpoint(process), max_size=None) as socket:
                target = Page(socket, "").call("Target.createTarget", url="about:blank")["targetId"]
                attached = Page(socket, "").call("Target.attachToTarget", targetId=target, flatten=True)
                page = Page(socket, attached["sessionId"])
                page.call("Network.enable")
                page.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=height,
                    deviceScaleFactor=scale,
                    mobile=False,
                )
                yield page
        finally:
            process.terminate()
            process.wait(10)
            if process.stderr is not None:
                process.stderr.close()


def _endpoint(process: subprocess.Popen[str]) -> str:
    """The address that Chromium prints when it listens."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"DevTools listening on (ws://\S+)", line):
            return found[1]
    raise AssertionError("Chromium ended before it listened")
