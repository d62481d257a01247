"""Errors planted between sites and hub: each must be found by some seed, and stays as a test."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from certs import capability
from gateway.core import access, clocks, fence, promises
from sync import terms
from sync.frontier import Verdict
from sync.join import Register
from sync.rights import Rights
from tests.simulation.cloud import Plan

SOUND = Plan()


@dataclass(frozen=True, slots=True)
class CloudPlanted:
    """One planted error, and the checkers that may find it first."""

    name: str
    caught_by: tuple[str, ...]
    plan: Plan = SOUND
    patches: tuple[tuple[object, str, Any], ...] = ()

    @contextmanager
    def growing(self) -> Iterator[Plan]:
        """Let the error stand while the block runs."""
        with ExitStack() as stack:
            for where, name, wrong in self.patches:
                stack.enter_context(patch.object(where, name, wrong))
            yield self.plan


def _numbers_only(mine: Any, theirs: Any, _: Any, *, own: bool = False, **__: bool) -> Verdict:
    if theirs.size == mine.size:
        return Verdict.SAME
    if theirs.size > mine.size:
        return Verdict.ROLLED_BACK if own else Verdict.I_LACK
    return Verdict.THEY_LACK


def _cancel_returns_it(self: Rights, of: str, *, known: bool) -> None:
    if self.escrow.promises.pop(of, None) is None and not known:
        self._wait("cancelled", of)


def _a_cancelled_one_is_none(self: Rights, ref: str, fact: Any) -> None:
    _PROMISE(self, ref, fact)
    if ref in self.escrow.promises and self.escrow.promises[ref].cancelled:
        del self.escrow.promises[ref]


_PROMISE = Rights.promise


def _last_writer_wins(self: Register[Any]) -> dict[str, Any]:
    last = max(self.latest.values(), key=lambda write: (write.index, write.log))
    return {"s": last.value}


def _stops_every_lane(self: terms.Terms, code: str, origin: str, evidence: Any) -> Any:
    for name in list(self._sender.logs):
        self._sender.stop(name)
    for one in self.theirs:
        self._receiver.stop(one)
    return _STOP(self, code, origin, evidence)


_STOP = terms.Terms.stop


def _holds_nothing(_state: Any, _door: int) -> bool:
    return False


def _is_used_never(_self: Rights, _grant: Any) -> bool:
    return False


def _for_any_site(data: bytes, signers: Any, _audience: str) -> Any:
    _, payload, _ = capability._opened(data)
    found = capability._read_claims(capability._load(payload))
    return _VERIFY(data, signers, found.audience)


_VERIFY = capability.verify


def _trust_without_denials(state: Any, told: Any) -> None:
    state.signers = told.signers


def _not_charged(state: Any, ref: str, parcel: str, told: Any = None) -> None:
    _USED(state, ref, parcel)


_USED = promises.used


PLANTED: tuple[CloudPlanted, ...] = (
    CloudPlanted(
        "a frontier of numbers only",
        ("10_first_contact", "09_all_came", "10_fork_known", "09_same_book"),
        patches=((terms, "compare", _numbers_only),),
    ),
    CloudPlanted(
        "a cancelled promise gives its right back to the hub",
        ("11_fits", "09_same_book"),
        patches=(
            (Rights, "cancel", _cancel_returns_it),
            (Rights, "promise", _a_cancelled_one_is_none),
        ),
    ),
    CloudPlanted(
        "shipped before it is durable",
        ("10_one_history", "10_new_epoch", "08_ack_lasts"),
        plan=Plan(ships_early=True),
    ),
    CloudPlanted(
        "acknowledged before it is durable", ("08_ack_lasts",), plan=Plan(hub_forgets=True)
    ),
    CloudPlanted("no fence", ("10_new_epoch",), plan=Plan(fences=False)),
    CloudPlanted(
        "flags by the last writer",
        ("06_out_of_service",),
        patches=((Register, "standing", _last_writer_wins),),
    ),
    CloudPlanted(
        "one lane waits for another",
        ("09_all_came", "09_same_book"),
        patches=((terms.Terms, "stop", _stops_every_lane),),
    ),
    CloudPlanted(
        "a fenced site opens a reused door for an old code",
        ("04_only_its_own",),
        patches=((fence, "bars", lambda *_: ""), (fence, "holds", _holds_nothing)),
    ),
    CloudPlanted(
        "two processes of the hub append the same number",
        ("10_one_history",),
        plan=Plan(compares=False),
    ),
    CloudPlanted(
        "a capability works twice",
        ("07_refused",),
        patches=((Rights, "is_used", _is_used_never),),
    ),
    CloudPlanted(
        "a capability of another site works",
        ("07_refused",),
        patches=((capability, "verify", _for_any_site),),
    ),
    CloudPlanted(
        "a capability that is over works",
        ("07_refused",),
        patches=(
            (clocks, "perhaps_over", lambda *_: False),
            (clocks, "surely_over", lambda *_: False),
        ),
    ),
    CloudPlanted(
        "a denied capability works",
        ("07_refused",),
        patches=((access, "trust_told", _trust_without_denials),),
    ),
    CloudPlanted(
        "a promise that was never heard of is kept for nothing",
        ("11_charged",),
        patches=((promises, "used", _not_charged),),
    ),
)
