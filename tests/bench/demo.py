"""The figure demo.start: `make demo` from a set-up checkout to the first served page."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

Figure = dict[str, object]

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5
IMPORTS = "import aiohttp.web, aiosqlite, click, cryptography.hazmat.primitives.asymmetric.ed25519"
IMPORTS += ", msgspec, pymodbus.client, structlog"


def import_s() -> float:
    """Return how long a new interpreter takes to import what the site depends on."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.perf_counter() - began


def start_s(data: Path) -> tuple[float, float]:
    """Return seconds from `make demo` to the first page, and to all doors seen and told."""
    began = time.perf_counter()
    demo = subprocess.Popen(
        ["make", "-s", "demo", f"ARGS=--stay --json --data {data}"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        page = _page(data / "demo" / "gateway.toml", began + 120)
        first = page - began
        assert demo.stdout is not None
        assert json.loads(demo.stdout.readline())["kiosk"]
        return first, time.perf_counter() - began
    finally:
        os.killpg(demo.pid, signal.SIGTERM)
        demo.communicate(timeout=60)


def _page(config: Path, until: float) -> float:
    """Ask again and again until the kiosk's page is served; return when that was."""
    while time.perf_counter() < until:
        try:
            text = config.read_text()
            [listen] = [row for row in text.splitlines() if row.startswith("listen")]
            with urllib.request.urlopen(f"http://{json.loads(listen.split('=')[1])}/") as page:
                assert b"<html" in page.read().lower()
                return time.perf_counter()
        except (OSError, ValueError):
            time.sleep(0.01)
    msg = "no page within 120 s"
    raise TimeoutError(msg)


def start() -> Iterator[Figure]:
    """Take both in turn, and compare medians."""
    subprocess.run(["make", "-s", "setup"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    starts, imports, ready = [], [], []
    for _ in range(ROUNDS):
        imports.append(import_s())
        with TemporaryDirectory(prefix="bench-demo-") as folder:
            page_s, ready_s = start_s(Path(folder) / "site")
        starts.append(page_s)
        ready.append(ready_s)
    ours, limit = statistics.median(starts), statistics.median(imports)
    yield {
        "name": "demo.start",
        "ours": round(ours, 3),
        "limit": round(limit, 3),
        "ratio": round(ours / limit, 2),
        "unit": "s",
        "goal": "<= 5",
        "how": f"make demo to the first served page, new site, median of {ROUNDS}; limit: a new "
        f"interpreter imports the dependencies; all 32 doors seen after "
        f"{statistics.median(ready):.2f} s",
    }


FIGURES: dict[str, Callable[[], Iterator[Figure]]] = {"demo.start": start}
