"""The registry of devices: which key may speak for a site, and since when it was not heard.

A record of kind `device` for each TLS key (its id is the pin, the key's SPKI hash). A gateway that
renews has another pin and the same `device_id`: the old pin is good until the new one has been used
once. One gateway a site: a newly enrolled one switches the others off.

The registry is asked at each connection and each request; what a certificate says of its own dates
is no answer.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from sync.errors import TheirsInvalid
from sync.hub.clock import Clock
from sync.hub.storage import Moved, Record, Storage

KIND: Final = "device"
BACKEND: Final = "backend"
CHANGES: Final = "changes"
"""A record of the hub's own: its version says that somebody's right to connect has changed."""
SEEN_MS: Final = 600_000
"""`last_seen_ms` is as old as this at most while a device is heard."""
RETIRED_MAX: Final = 4
"""Retired keys that are remembered for a site."""
_TRIES: Final = 5


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One key of one gateway. Times are UTC ms, `ends_s` POSIX s (its certificate's).

    `retired`: when the key that takes its place was used first, 0 while it is good. `vkey` is the
    log key that the gateway enrolled with. `why` says what switched it off.
    """

    site_id: str
    device_id: str
    pin: str
    enabled: bool
    vkey: str
    issued_ms: int
    ends_s: int
    last_seen_ms: int = 0
    retired: int = 0
    why: str = ""

    @property
    def good(self) -> bool:
        """Whether it may connect."""
        return self.enabled and not self.retired


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """A backend that pulls: reads the logs of these sites, writes nothing."""

    name: str
    pin: str
    sites: tuple[str, ...]
    issued_ms: int
    ends_s: int
    last_seen_ms: int = 0


class Devices:
    """The devices and backends of one hub."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    # --- asked ----------------------------------------------------------------------------------

    async def get(self, site_id: str, pin: str) -> Device | None:
        """Return a device, or None."""
        record = await self._storage.record(site_id, KIND, pin)
        return None if record is None else _device(record)

    async def of(self, site_id: str) -> tuple[Device, ...]:
        """Return the devices of a site, the newest last."""
        found = [_device(one) for one in await self._storage.records(site_id, KIND)]
        return tuple(sorted(found, key=lambda one: (one.issued_ms, one.pin)))

    async def pins(self, site_id: str) -> frozenset[str]:
        """Return the pins of a site that may connect."""
        return frozenset(one.pin for one in await self.of(site_id) if one.good)

    async def known(self, site_id: str, pin: str) -> Device:
        """Return the device that may connect. Raises `device.unknown`, `device.revoked`."""
        device = await self.get(site_id, pin)
        if device is None:
            raise TheirsInvalid(
                "device.unknown", "Enrol this gateway with a claim.", site=site_id, pin=pin[:16]
            )
        if not device.good:
            raise TheirsInvalid(
                "device.revoked",
                "Ask the hub's operator; enrol again where it is to be let in.",
                site=site_id,
                pin=pin[:16],
                why="retired" if device.retired else device.why or "revoked",
            )
        return device

    async def backend(self, pin: str) -> Backend:
        """Return the backend that may connect. Raises `backend.unknown`."""
        record = await self._storage.record("", BACKEND, pin)
        if record is None:
            raise TheirsInvalid("backend.unknown", "Ask the hub's operator.", pin=pin[:16])
        return msgspec.json.decode(record.data, type=Backend)

    async def is_backend(self, pin: str) -> bool:
        """Say whether a backend with this key may connect."""
        return await self._storage.record("", BACKEND, pin) is not None

    async def backends(self) -> tuple[Backend, ...]:
        """Return all backends, by name."""
        found = await self._storage.records("", BACKEND)
        listed = [msgspec.json.decode(one.data, type=Backend) for one in found]
        return tuple(sorted(listed, key=lambda one: (one.name, one.pin)))

    async def changes(self) -> int:
        """Return a number that rises whenever somebody's right to connect ends."""
        record = await self._storage.record("", CHANGES, "devices")
        return 0 if record is None else record.version + 1

    # --- changed --------------------------------------------------------------------------------

    async def enrol(self, device: Device, *, again: bool = False) -> tuple[Device, ...]:
        """Add the device that a claim brought; return those of its site that are off by it.

        Done `again` by the same claim it takes the new certificate's dates, and no more: who was
        switched off meanwhile stays so (`device.revoked`).
        """
        if not await self._add(device):
            if again:
                await self.known(device.site_id, device.pin)
            news: dict[str, object] = {"vkey": device.vkey, "ends_s": device.ends_s}
            if not again:  # only another claim lets somebody in who was switched off
                news |= {"enabled": True, "retired": 0, "why": ""}
            await self._change(
                device.site_id, device.pin, lambda was: msgspec.structs.replace(was, **news)
            )
        ended = await self._switch_off(
            device.site_id, "replaced", lambda one: one.good and one.pin != device.pin
        )
        await self._trim([one for one in await self.of(device.site_id) if one.pin != device.pin])
        if ended:
            await self._changed()
        return ended

    async def renew(self, device: Device, pin: str, ends_s: int) -> Device:
        """Add another key of a device, beside the one that it renews with.

        A key that was renewed to before and never used is forgotten: at most two are good.
        Raises `device.key_known` where the key is another device's, `device.revoked` where this
        device was switched off meanwhile.
        """
        fresh = msgspec.structs.replace(
            device, pin=pin, issued_ms=self._clock.utc_ms(), ends_s=ends_s, last_seen_ms=0
        )
        if pin == device.pin:
            await self._change(
                device.site_id, pin, lambda was: msgspec.structs.replace(was, ends_s=ends_s)
            )
            return await self.known(device.site_id, pin)
        if not await self._add(fresh):
            known = await self.get(device.site_id, pin)
            if known is None or not known.good or known.device_id != device.device_id:
                raise TheirsInvalid("device.key_known", "Make another key.", site=device.site_id)
            return known
        # Who switched it off while the request was on its way has not seen this key: one of the
        # two looks again after the other's write (`_switch_off`).
        try:
            await self.known(device.site_id, device.pin)
        except TheirsInvalid:
            await self._storage.drop_record(device.site_id, KIND, pin)
            raise
        for one in await self.of(device.site_id):
            unused = one.device_id == device.device_id and one.good and not one.last_seen_ms
            if unused and one.pin not in {pin, device.pin}:
                await self._storage.drop_record(one.site_id, KIND, one.pin)
        return fresh

    async def seen(self, device: Device) -> Device:
        """Note that a device connected. With its first use a new key retires the older ones."""
        now = self._clock.utc_ms()
        first = not device.last_seen_ms
        if not first and 0 <= now - device.last_seen_ms < SEEN_MS:
            return device
        heard = await self._change(
            device.site_id,
            device.pin,
            lambda was: msgspec.structs.replace(was, last_seen_ms=max(now, 1)),
        )
        if not first:
            return heard
        others = [one for one in await self.of(device.site_id) if one.pin != device.pin]
        older = [one for one in others if one.good and one.device_id == device.device_id]
        for one in older:
            await self._change(
                one.site_id, one.pin, lambda was: msgspec.structs.replace(was, retired=max(now, 1))
            )
        await self._trim(others)
        if older:
            await self._changed()
        return heard

    async def backend_seen(self, backend: Backend) -> None:
        """Note that a backend connected."""
        now = self._clock.utc_ms()
        if 0 <= now - backend.last_seen_ms < SEEN_MS:
            return
        record = await self._storage.record("", BACKEND, backend.pin)
        if record is not None:
            heard = msgspec.structs.replace(backend, last_seen_ms=now)
            try:
                await self._storage.change_record("", record, msgspec.json.encode(heard))
            except Moved:
                return  # somebody else noted it, or ended it just now

    async def revoke(self, site_id: str, pin: str = "") -> tuple[Device, ...]:
        """Switch a device off with all its keys, or every device of the site; return which.

        `pin` may be its first digits, at least 8. Raises `device.unknown`.
        """
        chosen = {one.device_id for one in await self._chosen(site_id, pin)}
        ended = await self._switch_off(
            site_id, "revoked", lambda one: one.enabled and one.device_id in chosen
        )
        # Also where nothing changed: whoever asks again wants it to be so in every process.
        await self._changed()
        return ended

    async def enable(self, site_id: str, pin: str) -> tuple[Device, ...]:
        """Let a device in again, with those of its keys that are not retired."""
        return tuple(
            [
                await self._switch(site_id, one.pin, enabled=True, why="")
                for one in await self._chosen(site_id, pin)
                if not one.retired
            ]
        )

    async def add_backend(self, backend: Backend) -> None:
        """Register a backend; the same key again takes the new name and sites."""
        data = msgspec.json.encode(backend)
        if not await self._storage.add_record("", BACKEND, backend.pin, data):
            record = await self._storage.record("", BACKEND, backend.pin)
            if record is not None:
                await self._storage.change_record("", record, data)

    async def end_backend(self, name: str) -> tuple[Backend, ...]:
        """Forget a backend with all its keys. Raises `backend.unknown`."""
        ended = [one for one in await self.backends() if one.name == name]
        if not ended:
            raise TheirsInvalid("backend.unknown", "Take a name from locker-hub backend list.")
        for one in ended:
            await self._storage.drop_record("", BACKEND, one.pin)
        await self._changed()
        return tuple(ended)

    # --- parts ----------------------------------------------------------------------------------

    async def _chosen(self, site_id: str, pin: str) -> tuple[Device, ...]:
        devices = await self.of(site_id)
        named = {one.device_id for one in devices if not pin or one.pin.startswith(pin)}
        if not named or (pin and (len(pin) < 8 or len(named) > 1)):  # noqa: PLR2004  # told apart
            raise TheirsInvalid(
                "device.unknown", "Take a pin from locker-hub device list.", site=site_id
            )
        return tuple(one for one in devices if one.device_id in named)

    async def _add(self, device: Device) -> bool:
        data = msgspec.json.encode(device)
        return await self._storage.add_record(device.site_id, KIND, device.pin, data)

    async def _switch(self, site_id: str, pin: str, *, enabled: bool, why: str) -> Device:
        return await self._change(
            site_id, pin, lambda was: msgspec.structs.replace(was, enabled=enabled, why=why)
        )

    async def _switch_off(
        self, site_id: str, why: str, which: Callable[[Device], bool]
    ) -> tuple[Device, ...]:
        """Switch these off, and look again: a renewal under way may have added a key meanwhile."""
        ended: dict[str, Device] = {}
        for _ in range(_TRIES):
            standing = [one for one in await self.of(site_id) if which(one)]
            if not standing:
                return tuple(ended.values())
            for one in standing:
                with suppress(TheirsInvalid):  # taken back by its renewal just now
                    ended[one.pin] = await self._switch(site_id, one.pin, enabled=False, why=why)
        raise TheirsInvalid("hub.busy", "Ask again in a moment.", site=site_id)

    async def _change(self, site_id: str, pin: str, how: Callable[[Device], Device]) -> Device:
        for _ in range(_TRIES):
            record = await self._storage.record(site_id, KIND, pin)
            if record is None:
                break
            changed = how(_device(record))
            try:
                await self._storage.change_record(site_id, record, msgspec.json.encode(changed))
            except Moved:
                continue
            return changed
        raise TheirsInvalid("hub.busy", "Ask again in a moment.", site=site_id)

    async def _changed(self) -> None:
        """Tell the hub's other processes that somebody's right to connect has ended."""
        for _ in range(_TRIES):
            record = await self._storage.record("", CHANGES, "devices")
            try:
                if record is not None:
                    await self._storage.change_record("", record, b"{}")
                elif not await self._storage.add_record("", CHANGES, "devices", b"{}"):
                    continue
            except Moved:
                continue
            return

    async def _trim(self, others: list[Device]) -> None:
        """Forget the oldest keys that are good for nothing."""
        over = [one for one in others if not one.good]
        for one in sorted(over, key=lambda one: one.issued_ms)[:-RETIRED_MAX]:
            await self._storage.drop_record(one.site_id, KIND, one.pin)


def _device(record: Record) -> Device:
    return msgspec.json.decode(record.data, type=Device)
