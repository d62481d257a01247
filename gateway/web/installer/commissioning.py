"""Commissioning over the LAN: the view, acts, the signed report and the map as a file.

The bench decides (`gateway.ports.BenchPort`); here are requests and answers only. Who asks is
`installer:<name>`, the same for the page and for the command line.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import hdrs, web

from gateway.errors import GatewayError
from gateway.ports import BenchPort

WAIT_S_MAX: Final = 25
"""A long poll ends before any proxy or phone gives up; the gate cuts off at 60 s."""
_number = re.compile(r"[0-9]{1,15}").fullmatch


def whole(fields: Mapping[str, str], name: str, most: int) -> int | None:
    """Return a whole number out of a query, at most `most`; None where there is none.

    Raises GatewayError `request.number`.
    """
    text = fields.get(name)
    if text is None:
        return None
    if not _number(text):
        raise GatewayError("request.number", f"{name} is a whole number", name=name)
    return min(int(text), most)


async def view(bench: BenchPort, by: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the view, at once or when it is another than at tick `after` (`wait` seconds)."""
    after = whole(query, "after", 2**53)
    wait_s = whole(query, "wait", WAIT_S_MAX) or 0
    return dict(await bench.view(by, after=after, wait_s=wait_s))


def report(bench: BenchPort) -> web.Response:
    """Return the bytes whose hash the log states. GatewayError `report.none`."""
    return web.Response(body=bench.report(), content_type="application/json")


def report_page(bench: BenchPort, lang: str, *, download: bool) -> web.Response:
    """Return the report as one HTML file, to look at or to keep. GatewayError `report.none`."""
    answer = web.Response(text=bench.report_page(lang), content_type="text/html", charset="utf-8")
    # The report brings its style inside; it has no script, and no address of anybody.
    answer.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    if download:
        answer.headers[hdrs.CONTENT_DISPOSITION] = 'attachment; filename="commissioning.html"'
    return answer


def map_file(bench: BenchPort) -> web.Response:
    """Return the site's map as `site export` writes it. GatewayError `map.none`."""
    answer = web.Response(text=bench.map_text(), content_type="application/toml", charset="utf-8")
    answer.headers[hdrs.CONTENT_DISPOSITION] = 'attachment; filename="site.toml"'
    return answer
