"""Pins accounts: tokens, roles' reach, the second factor (each step once), what is said of them."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import TheirsInvalid
from sync.hub import accounts
from sync.hub.accounts import Account, Barred, Budget, Caller
from tests.hubs import NOW_MS

SECRET = accounts.secret_of(bytes(range(24)))
KEY = bytes(range(32))
STEP_MS = accounts.STEP_S * 1_000


def made(role: str = "operator", **more: object) -> Account:
    given: dict[str, object] = {"secret": SECRET, "by": "local:x", "now_ms": NOW_MS} | more
    return accounts.new("ops", role, **given)  # type: ignore[arg-type]  # as a test wants it


def digits(account: Account, at_ms: int) -> str:
    """RFC 6238 by hand: SHA-1, 30 seconds, six digits."""
    counter = (at_ms // STEP_MS).to_bytes(8, "big")
    told = hmac.digest(accounts.totp_key(account, KEY), counter, hashlib.sha1)
    place = told[-1] & 15
    return f"{(int.from_bytes(told[place : place + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def wrong(account: Account, at_ms: int) -> str:
    right = {digits(account, at_ms + step * STEP_MS) for step in (-1, 0, 1)}
    return next(f"{n:06}" for n in range(9) if f"{n:06}" not in right)


# --- making -------------------------------------------------------------------------------------


def test_an_account_holds_a_hash_and_an_end() -> None:
    account = made()
    assert account.secret == hashlib.sha256(SECRET.encode()).hexdigest()
    assert account.ends_ms - NOW_MS == 90 * 86_400_000
    assert SECRET not in repr(account) + account.encoded().decode()
    assert account.secret not in repr(account)
    assert accounts.read(account.encoded()) == account
    assert made(sites=["2", "1", "2"]).sites == ("1", "2")


@pytest.mark.parametrize(
    ("name", "role", "more", "code"),
    [
        ("", "support", {}, "account.name"),
        ("A", "support", {}, "account.name"),
        ("a" * 33, "support", {}, "account.name"),
        ("desk.anna", "support", {}, "account.name"),
        ("local", "support", {}, "account.name"),
        ("development", "support", {}, "account.name"),
        ("a", "local", {}, "account.role"),
        ("a", "root", {}, "account.role"),
        ("a", "support", {"days": 0}, "account.days"),
        ("a", "support", {"days": 401}, "account.days"),
        ("a", "support", {"sites": ["A"]}, "account.sites"),
        ("a", "support", {"sites": ["1"] * 1_001}, "account.sites"),
        ("a", "support", {"tenant": "acme"}, "account.tenant"),
        ("a", "dispatch", {}, "account.tenant"),
        ("a", "dispatch", {"tenant": "A"}, "account.tenant"),
    ],
)
def test_what_no_account_may_be(name: str, role: str, more: dict[str, object], code: str) -> None:
    with pytest.raises(TheirsInvalid) as refusal:
        accounts.new(name, role, secret=SECRET, by="x", now_ms=0, **more)  # type: ignore[arg-type]
    assert refusal.value.code == code


# --- tokens -------------------------------------------------------------------------------------


def test_a_token_is_a_name_a_dot_and_a_secret() -> None:
    token = accounts.token_in([f"Bearer ops.{SECRET}"])
    assert token is not None
    assert (token.name, token.secret) == ("ops", SECRET)
    assert repr(token) == "Token()"
    local = accounts.token_in([f"bearer {accounts.local_name('a.b')}.{SECRET}"])
    assert local is not None
    assert (local.name, local.secret) == ("local:a.b", SECRET)


@pytest.mark.parametrize(
    "headers",
    [
        [], [""], ["Bearer"], [f"Basic ops.{SECRET}"], [f"Bearer {SECRET}"], ["Bearer ops.short"],
        [f"Bearer OPS.{SECRET}"], [f"Bearer ops.{SECRET}", f"Bearer ops.{SECRET}"],
        [f"Bearer ops.{SECRET}\n"[:-1] + "é"], [f"Bearer other:x.{SECRET}"],
    ],
)  # fmt: skip
def test_what_is_no_token(headers: list[str]) -> None:
    assert accounts.token_in(headers) is None


def test_a_secret_fits_its_hash_alone() -> None:
    kept = accounts.hash_of(SECRET)
    assert accounts.fits(kept, SECRET)
    assert not accounts.fits(kept, SECRET[:-1])
    assert not accounts.fits(None, SECRET)
    assert not accounts.fits(None, "no account has this secret")


@given(user=st.text(max_size=50))
def test_whatever_a_user_is_called_the_local_token_is_read_again(user: str) -> None:
    name = accounts.local_name(user)
    token = accounts.token_in([f"Bearer {name}.{accounts.local_secret(KEY)}"])
    assert token is not None
    assert (token.name, token.secret) == (name, accounts.local_secret(KEY))


# --- what a caller may --------------------------------------------------------------------------


def code_of(refusal: pytest.ExceptionInfo[Barred]) -> str:
    return refusal.value.code


def test_a_caller_has_its_role_its_sites_and_its_tenant() -> None:
    caller = accounts.caller_of(made("dispatch", tenant="acme", sites=["0042"]))
    caller.need("dispatch", "support")
    caller.need_site("0042")
    caller.need_tenant("acme")
    refusals: list[tuple[Callable[[], None], str]] = [
        (lambda: caller.need("support"), "access.role"),
        (caller.need, "access.role"),
        (lambda: caller.need_site("0043"), "access.scope"),
        (caller.need_all_sites, "access.scope"),
        (lambda: caller.need_tenant("other"), "access.scope"),
        (lambda: caller.need_tenant(None), "access.scope"),
        (lambda: caller.need_tenant(""), "access.scope"),
    ]
    for refused, code in refusals:
        with pytest.raises(Barred) as refusal:
            refused()
        assert code_of(refusal) == code
    of_all = accounts.caller_of(made())
    of_all.need_all_sites()
    of_all.need_site("anything")
    of_all.need_tenant(None)


def test_names_are_for_support_and_for_their_own_tenant() -> None:
    told = {
        role: [
            accounts.caller_of(made(role, **({"tenant": "acme"} if role == "dispatch" else {})))
            .names(tenant)
            for tenant in ("acme", "other", "")
        ]
        for role in accounts.ROLES
    }  # fmt: skip
    assert told == {
        "operator": [False, False, False],
        "support": [True, True, True],
        "auditor": [False, False, False],
        "dispatch": [True, False, False],
    }


def test_who_is_on_record_is_the_account_or_somebody_it_names() -> None:
    desk = Caller("desk", frozenset({"support"}), "desk")
    assert desk.signs("desk")
    assert desk.signs("desk.anna")
    assert not desk.signs("desk2")
    assert not desk.signs("ops")
    assert not desk.signs("")
    assert Caller("development", frozenset(), anybody=True).signs("ops")
    local = accounts.local_caller("local:x")
    assert (local.account, sorted(local.roles)) == ("local", ["operator", "support"])


def test_time_and_people_end_accounts() -> None:
    account = made(days=1)
    accounts.check_alive(account, account.ends_ms - 1)
    for ended, now_ms in ((account, account.ends_ms), (accounts.ended(account, 1), NOW_MS)):
        with pytest.raises(Barred) as refusal:
            accounts.check_alive(ended, now_ms)
        assert code_of(refusal) == "access.expired"


# --- the second factor --------------------------------------------------------------------------


def test_the_uri_carries_the_key_that_the_digits_are_made_of() -> None:
    account = made()
    uri = accounts.otpauth(account, KEY, "lockers.example")
    found = re.fullmatch(
        r"otpauth://totp/lockers\.example%3Aops\?secret=([A-Z2-7]{32})&issuer=lockers\.example", uri
    )
    assert found
    assert base64.b32decode(found[1]) == accounts.totp_key(account, KEY)
    again = made(secret=SECRET[::-1])
    assert accounts.totp_key(again, KEY) != accounts.totp_key(account, KEY)


@pytest.mark.parametrize("aside", [-1, 0, 1])
def test_a_step_is_right_once(aside: int) -> None:
    account = made()
    code = [digits(account, NOW_MS + aside * STEP_MS)]
    after, right = accounts.second_factor(account, KEY, code, NOW_MS)
    assert right
    again, right = accounts.second_factor(after, KEY, code, NOW_MS)
    assert not right
    assert again == after, "it costs no try"
    earlier = [digits(account, NOW_MS + (aside - 1) * STEP_MS)]
    assert not accounts.second_factor(after, KEY, earlier, NOW_MS)[1]


@pytest.mark.parametrize("aside", [-2, 2])
def test_other_steps_are_wrong(aside: int) -> None:
    account = made()
    assert not accounts.second_factor(
        account, KEY, [digits(account, NOW_MS + aside * STEP_MS)], NOW_MS
    )[1]


@pytest.mark.parametrize("given", [[], [""], ["12345"], ["1234567"], ["12345é"], ["000000"] * 2])
def test_none_is_no_try(given: list[str]) -> None:
    account = made()
    assert accounts.second_factor(account, KEY, given, NOW_MS) == (account, False)


def test_wrong_ones_are_few_and_come_back_one_a_day() -> None:
    account, now_ms = made(), NOW_MS
    for _ in range(accounts.WRONG_MAX):
        account, right = accounts.second_factor(account, KEY, [wrong(account, now_ms)], now_ms)
        assert not right
    for given_ in ([wrong(account, now_ms)], [digits(account, now_ms)], []):
        with pytest.raises(Barred) as refusal:
            accounts.second_factor(account, KEY, given_, now_ms)
        assert code_of(refusal) == "access.second_factor"
    now_ms += accounts.DAY_MS
    assert accounts.second_factor(account, KEY, [digits(account, now_ms)], now_ms)[1]
    account, _ = accounts.second_factor(account, KEY, [wrong(account, now_ms)], now_ms)
    with pytest.raises(Barred):
        accounts.second_factor(account, KEY, [wrong(account, now_ms)], now_ms)


@given(tries=st.lists(st.tuples(st.integers(0, 40 * 86_400_000), st.booleans()), max_size=60))
def test_no_order_of_tries_gives_more_wrong_ones_than_the_store_and_one_a_day(
    tries: list[tuple[int, bool]],
) -> None:
    account, now_ms, took = made(), NOW_MS, 0
    for gap_ms, is_right in sorted(tries):
        now_ms = NOW_MS + gap_ms
        code = digits(account, now_ms) if is_right else wrong(account, now_ms)
        try:
            after, right = accounts.second_factor(account, KEY, [code], now_ms)
        except Barred:
            continue
        took += not is_right
        assert not right or is_right
        account = after
    assert took <= accounts.WRONG_MAX + (now_ms - NOW_MS) // accounts.DAY_MS


def test_before_the_first_step_of_time_there_is_none() -> None:
    account = made()
    assert accounts.second_factor(account, KEY, [digits(account, STEP_MS)], 0)[1]
    assert not accounts.second_factor(
        msgspec.structs.replace(account, step=1), KEY, [digits(account, 0)], 0
    )[1]


# --- how much is said ---------------------------------------------------------------------------


def test_a_budget_is_so_many_each_and_so_many_of_all() -> None:
    budget = Budget(2, 3, 1_000)
    assert [budget.take("a", 0) for _ in range(3)] == [True, True, False]
    assert [budget.take("b", 999) for _ in range(2)] == [True, False]
    assert budget.take("a", 1_000)
    assert budget.take("a", 5), "a clock that steps back begins anew"


def test_a_budget_remembers_so_many_names() -> None:
    budget = Budget(1, 10_000, 1_000)
    for name in range(Budget.NAMES_MAX + 1):
        assert budget.take(str(name), 0)
    assert len(budget._counts) == Budget.NAMES_MAX
