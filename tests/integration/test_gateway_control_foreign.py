"""Something that is no gateway listens at the control socket: one clear refusal, no traceback."""

from pathlib import Path

import pytest
from aiohttp import web

from gateway import control
from gateway.core.inputs import Now, SupportOpens
from gateway.errors import GatewayError

ASKED = SupportOpens(now=Now(0, 0, 0), token="t", by="test", door=1, reason="r", case="c")


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("body", ['{"hello": 1}', "[]", "<html>"])
async def test_a_foreign_answer_is_told_apart(tmp_path: Path, status: int, body: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, tmp_path / control.SOCKET).start()
    try:
        with pytest.raises(GatewayError) as refused:
            await control.send(tmp_path / control.SOCKET, ASKED)
    finally:
        await runner.cleanup()
    assert refused.value.code == "control.unanswered"
