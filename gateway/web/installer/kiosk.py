"""What a kiosk shows of a pairing that was opened at it: the QR, the typed code, the six words.

Two more paths of the kiosk's application, on loopback, behind its guard. They answer only while
that very kiosk shows `service.pairing`, and while the window stands that its visitor opened.

| Request              | Answer                                                        |
| -------------------- | ------------------------------------------------------------- |
| GET /api/pairing     | `{"url", "words", "typed", "ends_in_s"}`                      |
| GET /api/pairing.svg | the QR as a picture                                           |
"""

import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
import segno
from aiohttp import web

from gateway.errors import GatewayError
from gateway.web.kiosk import KioskPort, KioskRefused

SCREEN: Final = "service.pairing"
_SVG_SCALE: Final = 4

Shown = Callable[[str], Mapping[str, Any]]
"""Returns what a kiosk may show of the open window; raises GatewayError."""


def add_to(app: web.Application, port: KioskPort, shown: Shown) -> web.Application:
    """Add the two paths to the kiosk's application, and return it."""

    async def window(request: web.Request) -> Mapping[str, Any]:
        kiosk = request.query.get("kiosk", "main")
        screens = port.watch(kiosk)
        if (await anext(screens)).name == SCREEN:
            with suppress(GatewayError):
                return shown(kiosk)
        raise KioskRefused("kiosk.pairing", "Open pairing at this kiosk first", status=404)

    async def tell(request: web.Request) -> web.StreamResponse:
        shown = await window(request)
        told = {key: shown[key] for key in ("words", "typed", "ends_in_s")}
        told["url"] = f"https://{shown['address']}/"
        return web.Response(body=msgspec.json.encode(told), content_type="application/json")

    async def picture(request: web.Request) -> web.StreamResponse:
        text = (await window(request))["qr"]
        if not text:
            raise KioskRefused("kiosk.pairing", "This QR was used already", status=404)
        made = io.BytesIO()
        segno.make(text, error="m").save(made, kind="svg", scale=_SVG_SCALE, light="#ffffff")
        return web.Response(body=made.getvalue(), content_type="image/svg+xml")

    app.add_routes([web.get("/api/pairing", tell), web.get("/api/pairing.svg", picture)])
    return app
