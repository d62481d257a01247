"""Log lines of the hub: `key=value` or JSON, each with an `action`, none with a secret.

The last processor before the words replaces whatever stands under a name that could hold a secret
or a person (as `gateway.logs` does at the site). It is a net, not a licence.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog
from typing_extensions import override

REDACTED: Final = "[redacted]"
SECRET_NAMES: Final = frozenset(
    {
        "digits", "secret", "seed", "salt", "annex", "tracking", "identity", "password", "claim",
        "parcel", "tag", "url", "long", "short",
    }
)  # fmt: skip
"""Names, or parts of names between underscores, whose values never appear."""
VALUE_CHARACTERS_MAX: Final = 512
TROUBLE_MAX: Final = 60
"""Lines of a minute about requests that are none."""

_PLAIN_CODE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
"""What an error's `code` looks like; a pick-up code does not."""
_PLAIN_KEY: Final = re.compile(r"[a-z][a-z0-9_.]*")
_CODE_LIKE: Final = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){8,15}(?![\w.-])")
"""Nine to sixteen digits on their own, in a text: a pick-up code or a typed secret."""

Levels = Literal["debug", "info", "warning", "error"]


def redact(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what must not be seen, shorten what is too long, drop what is None."""
    for name in [name for name, value in event.items() if value is None]:
        del event[name]
    for name, value in event.items():
        if name in {"time", "action", "level", "room"}:
            continue
        parts = set(name.lower().split("_"))
        if (
            parts & SECRET_NAMES
            or ("code" in parts and not _PLAIN_CODE.fullmatch(str(value)))
            or ("key" in parts and not _PLAIN_KEY.fullmatch(str(value)))
            or isinstance(value, bytes)
        ):
            event[name] = REDACTED
        elif isinstance(value, str):
            event[name] = _CODE_LIKE.sub(REDACTED, value[:VALUE_CHARACTERS_MAX])
    return event


def _name_action(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The first argument of a log call is its `action`."""
    event["action"] = event.pop("event")
    return event


class _ServerTrouble(logging.Handler):
    """What the HTTP server complains of, without what was sent to it: so many lines a minute."""

    _minute, _lines = 0, 0

    @override
    def emit(self, record: logging.LogRecord) -> None:
        minute = int(record.created) // 60
        self._lines = self._lines + 1 if minute == self._minute else 1
        self._minute = minute
        if self._lines > TROUBLE_MAX:  # anybody may send nonsense as fast as they like
            return
        error = (record.exc_info or (None, None, None))[1]
        get("http").warning("http.malformed", error=type(error).__name__)


def configure(form: Literal["text", "json"], level: Levels, stream: TextIO | None = None) -> None:
    """Set up all log lines of this process, on stderr unless `stream` says where."""
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(sort_keys=False)
        if form == "json"
        else structlog.processors.KeyValueRenderer(key_order=["time", "level", "action"])
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _name_action,
            redact,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    server = logging.getLogger("aiohttp.server")
    server.handlers = [one for one in server.handlers if not isinstance(one, _ServerTrouble)]
    server.addHandler(_ServerTrouble(logging.ERROR))


def get(room: str) -> Any:
    """Return the logger of a room; lines carry `room`."""
    return structlog.get_logger(room=room)
