"""Pins the pairing window, sessions, the roll and the page: who gets in, how often, till when."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs import lan
from certs.errors import TrustInvalid
from gateway.errors import GatewayError
from gateway.web.installer import page
from gateway.web.installer.roll import INSTALLERS_MAX, Installer, Roll
from gateway.web.installer.sessions import SESSION_MS, SESSIONS_MAX, Session, Sessions
from gateway.web.installer.window import WINDOW_MS, WRONG_MAX, Pairing, PairRefused, Window

SECRET, CODE = bytes(range(16)), bytes(range(10))
SERVER, OWN = "ab" * 32, "cd" * 32
GOOD = lan.proof(SECRET, SERVER, OWN)
TYPED = lan.proof(CODE, SERVER, OWN)


def opened(now_ms: int = 0) -> Pairing:
    pairing = Pairing()
    pairing.open(now_ms, name="anna", by="support:eva", secret=SECRET, code=CODE)
    return pairing


def refused(pairing: Pairing, proof: bytes, now_ms: int = 1) -> str:
    with pytest.raises(PairRefused) as caught:
        pairing.prove(now_ms, SERVER, OWN, proof)
    return caught.value.code


# --- the window -------------------------------------------------------------------------------


def test_each_secret_pairs_once_and_then_the_window_shuts() -> None:
    pairing = opened()
    assert pairing.prove(1, SERVER, OWN, GOOD).name == "anna"
    assert refused(pairing, GOOD) == "pair.used"
    assert pairing.type(2, CODE).by == "support:eva"
    assert pairing.current(3) is None
    assert refused(pairing, GOOD) == "pair.closed"


def test_the_typed_code_also_proves_a_computer_and_is_spent_by_it() -> None:
    pairing = opened()
    assert pairing.prove(1, SERVER, OWN, TYPED).spent == {"code"}
    with pytest.raises(PairRefused, match=r"pair\.used"):
        pairing.type(2, CODE)


def test_the_secret_of_the_qr_is_no_typed_code() -> None:
    with pytest.raises(PairRefused, match=r"pair\.wrong"):
        opened().type(1, SECRET)


@pytest.mark.parametrize("proof", [b"", GOOD[:-1], lan.proof(SECRET, OWN, SERVER), bytes(32)])
def test_a_wrong_proof_is_a_try(proof: bytes) -> None:
    assert refused(opened(), proof) == "pair.wrong"


def test_the_fifth_wrong_try_shuts_it_for_the_right_code_too() -> None:
    pairing = opened()
    for _ in range(WRONG_MAX - 1):
        assert refused(pairing, b"no") == "pair.wrong"
    assert refused(pairing, b"no") == "pair.tries"
    assert refused(pairing, GOOD) == "pair.closed"


def test_it_is_open_for_ten_minutes() -> None:
    assert opened().prove(WINDOW_MS - 1, SERVER, OWN, GOOD).name == "anna"
    assert refused(opened(), GOOD, WINDOW_MS) == "pair.closed"


def test_a_new_window_ends_the_one_before_and_close_says_whether_there_was_one() -> None:
    pairing = opened()
    second = pairing.open(5, name="ben", by="x", secret=bytes(16), code=bytes(10))
    assert (second.number, second.wrong) == (2, 0)
    assert refused(pairing, GOOD) == "pair.wrong"
    assert pairing.close() is True
    assert pairing.close() is False


def test_nobody_is_called_lan() -> None:
    with pytest.raises(TrustInvalid, match=r"pairing\.name"):
        Pairing().open(0, name="lan", by="x", secret=SECRET, code=CODE)


def test_no_repr_shows_a_secret() -> None:
    window = opened().current(1)
    assert isinstance(window, Window)
    assert "x00" not in repr(window)


@given(st.lists(st.sampled_from(["good", "typed", "wrong", "wait"]), max_size=30))
def test_at_most_one_pairing_a_secret_and_four_wrong_tries_before_it(acts: list[str]) -> None:
    pairing, now, done, wrong = opened(), 0, [], 0
    for act in acts:
        now += WINDOW_MS // 8 if act == "wait" else 1
        try:
            if act == "good":
                pairing.prove(now, SERVER, OWN, GOOD)
            elif act == "typed":
                pairing.type(now, CODE)
            elif act == "wrong":
                wrong += pairing.current(now) is not None
                pairing.prove(now, SERVER, OWN, b"no")
            else:
                continue
        except PairRefused:
            continue
        done.append(act)
        assert wrong < WRONG_MAX
        assert now < WINDOW_MS
    assert len(done) == len(set(done))


# --- sessions ---------------------------------------------------------------------------------


def test_a_session_lasts_eight_hours_and_only_its_hash_is_kept() -> None:
    sessions = Sessions()
    sessions.begin(0, name="anna", window=1, token="secret-token", csrf="c")
    found = sessions.find(SESSION_MS - 1, "secret-token")
    assert found is not None
    assert found.meant("c")
    assert not found.meant("d\ud800")
    assert sessions.find(SESSION_MS, "secret-token") is None
    assert sessions.find(0, "other") is None
    assert "secret-token" not in repr(vars(sessions))


def test_ending_an_installer_ends_all_their_browsers_and_nobody_elses() -> None:
    sessions = Sessions()
    for token, name in (("a", "anna"), ("b", "anna"), ("c", "ben")):
        sessions.begin(0, name=name, window=1, token=token, csrf="x")
    assert sessions.count(1) == {"anna": 2, "ben": 1}
    assert sessions.end_all("anna") == 2
    assert sessions.find(1, "a") is None
    sessions.end("c")
    sessions.end("c")
    assert sessions.count(1) == {}


def test_the_oldest_makes_room() -> None:
    sessions = Sessions()
    for number in range(SESSIONS_MAX + 1):
        sessions.begin(0, name="anna", window=1, token=str(number), csrf="x")
    assert sessions.find(1, "0") is None
    assert sessions.find(1, "1") is not None


# --- the roll ---------------------------------------------------------------------------------


def test_the_roll_outlives_the_process_and_a_new_key_takes_the_place_of_the_old(
    tmp_path: Path,
) -> None:
    roll = Roll(tmp_path)
    roll.add(Installer("anna", "aa", "eva", 1, 2))
    roll.add(Installer("anna", "bb", "eva", 1, 2))
    again = Roll(tmp_path)
    assert again.find("anna", "aa") is None
    assert again.find("anna", "bb") is not None
    assert again.end("anna") is True
    assert again.end("anna") is False
    assert Roll(tmp_path).all() == ()
    assert (tmp_path / "trust/installers.json").stat().st_mode & 0o777 == 0o600


def test_a_full_or_broken_roll_is_refused(tmp_path: Path) -> None:
    roll = Roll(tmp_path)
    for number in range(INSTALLERS_MAX):
        roll.add(Installer(f"i{number}", "aa", "eva", 1, 2))
    with pytest.raises(GatewayError, match=r"pairing\.full"):
        roll.add(Installer("one-more", "aa", "eva", 1, 2))
    (tmp_path / "trust/installers.json").write_bytes(b"[{]")
    with pytest.raises(GatewayError, match=r"pairing\.invalid"):
        Roll(tmp_path)


# --- the page ---------------------------------------------------------------------------------


def test_both_languages_say_everything() -> None:
    assert page.TEXTS["en"].keys() == page.TEXTS["de"].keys()
    for name in page.LANGUAGES:
        assert all(page.TEXTS[name].values())
    for why in ("pair.closed", "pair.used", "pair.wrong", "pair.tries", "pairing.typed"):
        assert why in page.TEXTS["en"]


@pytest.mark.parametrize(
    ("accepted", "lang"),
    [("", "en"), ("de-CH,en;q=0.9", "de"), ("fr,de", "de"), ("fr", "en"), ("x" * 900, "en")],
)
def test_the_language_is_the_first_that_we_have(accepted: str, lang: str) -> None:
    assert page.language(accepted) == lang


def test_what_is_put_into_the_page_is_escaped() -> None:
    bad = '<script>"&'
    row = {"door": 1, "size": bad, "custody": "doubt", "open": None, "occupied": None}
    status = {"site": bad, "health": {"ok": False}, "doors": [row | {"disabled": bad}]}
    made = page.home("en", Session(bad, 1, 2, bad), status, bad, bad=True)
    assert "<script>" not in made.replace('<script src="/static/', "")
    assert "<script>" not in page.pairing("de", [bad], bad)
    assert page.TEXTS["en"]["home.nodoors"] in page.home(
        "en", Session("a", 1, 2, "c"), {"site": "s", "health": {}}
    )
    assert page.tested("en", 3, "") == "Door 3 has opened. Close it when you are done."
