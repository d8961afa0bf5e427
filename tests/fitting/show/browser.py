"""A headless Chromium for tests, driven by ChromeDriver's plain HTTP protocol (W3C WebDriver): no further package."""

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
MISSING = None if CHROMIUM and CHROMEDRIVER else "chromium and chromedriver are not installed"

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that the standard gives to references to elements
_FLAGS = [
    *("--headless", "--no-sandbox", "--window-size=1000,700", "--hide-scrollbars", "--disable-dev-shm-usage"),
    *("--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),  # WebGL on the processor
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-quic",
]
KEYS = {"ArrowRight": "\ue014", "ArrowLeft": "\ue012", "Escape": "\ue00c"}


class Browser:
    """One page. `profile` is an empty folder for the browser's own files; `offline` cuts every way to the network."""

    def __init__(self, profile: Path, *, offline: bool = False):
        self._driver = subprocess.Popen([CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
        for line in self._driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                self._base = f"http://127.0.0.1:{found[1]}"
                break
        flags = [*_FLAGS, f"--user-data-dir={profile}"]
        if offline:
            flags += ["--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>"]
        options = {"binary": CHROMIUM, "args": flags}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        try:
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        except BaseException:
            self._driver.kill()
            raise
        self._base += "/session/" + answer["sessionId"]

    def close(self) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(10)

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def emptied(self) -> "Browser":
        """Leaves the page and forgets what it logged."""
        self.open("about:blank")
        self.errors(), self.requests()
        return self

    def run(self, script: str, *arguments):
        """The value that a script's `return` gives; promises are waited for."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, *arguments, seconds: float = 20.0):
        """Runs a script until it returns something true."""
        end = time.monotonic() + seconds
        while True:
            if value := self.run(script, *arguments):
                return value
            if time.monotonic() > end:
                raise AssertionError(f"still false after {seconds} s: {script}\n{self.errors()}")
            time.sleep(0.1)

    def find(self, css: str) -> str:
        return self._call("POST", "/element", {"using": "css selector", "value": css})[_ELEMENT]

    def click(self, css: str) -> None:
        self._call("POST", f"/element/{self.find(css)}/click", {})

    def press(self, css: str, *keys: str) -> None:
        """Types into an element; names in KEYS stand for keys without a character."""
        text = "".join(KEYS.get(key, key) for key in keys)
        self._call("POST", f"/element/{self.find(css)}/value", {"text": text})

    def drag(self, css: str, x: int, y: int) -> None:
        """Drags from an element's middle by so many pixels."""
        origin = {_ELEMENT: self.find(css)}
        steps = [
            {"type": "pointerMove", "origin": origin, "x": 0, "y": 0, "duration": 0},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "origin": origin, "x": x, "y": y, "duration": 100},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}
        self._call("POST", "/actions", {"actions": [mouse]})

    def screenshot(self, css: str | None = None, path: Path | None = None) -> np.ndarray:
        """The window or one element as (H, W, 3) uint8 RGB."""
        where = "/screenshot" if css is None else f"/element/{self.find(css)}/screenshot"
        png = base64.b64decode(self._call("GET", where))
        if path is not None:
            path.write_bytes(png)
        return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

    def errors(self) -> list[str]:
        """What the page complained of in its console since the last question."""
        log = self._call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        """Addresses that the page asked for since the last question."""
        log = self._call("POST", "/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in log]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        sockets = [event["params"]["url"] for event in events if event["method"] == "Network.webSocketCreated"]
        return sent + sockets

    def _call(self, method: str, path: str, body: dict | None = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the driver is on this machine
        try:
            with opener.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error
