"""Pins what makes a note, a checkpoint or a cosignature believed, and each way it is refused."""

import pytest

from certs.errors import KeyInvalid, NoteInvalid
from certs.keys import KIND_COSIGNATURE, TIME_S_MAX, SigningKey, Verifier
from certs.note import (
    NOTE_BYTES_MAX,
    Checkpoint,
    cosign,
    open_checkpoint,
    open_cosignatures,
    open_note,
    parse_note,
    sign_checkpoint,
    sign_note,
)

ORIGIN = "lockers.example/site/0042/e1-9f2c01ab/custody"
LOG = SigningKey.from_seed(ORIGIN, bytes(range(32)))
NEXT = SigningKey.from_seed(ORIGIN, bytes(range(1, 33)))
OTHER = SigningKey.from_seed("lockers.example/other", bytes(range(2, 34)))
HUB = SigningKey.from_seed("lockers.example/hub/1/cosigner", bytes(32), KIND_COSIGNATURE)
HEAD = Checkpoint(ORIGIN, 117, bytes(range(32)))


def code_of(caught: pytest.ExceptionInfo[NoteInvalid]) -> str:
    return caught.value.code


def test_note_opens_for_each_signer_and_names_each_once() -> None:
    note = sign_note("a text\n", LOG, OTHER, LOG)
    assert note.count("\u2014") == 2
    known = [OTHER.verifier, LOG.verifier, OTHER.verifier]
    assert open_note(note, known).signed_by == (LOG.verifier, OTHER.verifier)
    assert open_note(note.encode(), [OTHER.verifier]).text == "a text\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "note.ending"),
        ("no newline", "note.ending"),
        ("\n", "note.empty_line"),
        ("\na\n", "note.empty_line"),
        ("a\n\nb\n", "note.empty_line"),
        ("a\n\n", "note.empty_line"),
        ("a\tb\n", "note.control"),
        ("a\r\n", "note.control"),
        ("\ud800\n", "note.utf8"),
        ("x" * NOTE_BYTES_MAX + "\n", "note.size"),
        ("x" * (NOTE_BYTES_MAX - 10) + "\n", "note.size"),
    ],
)
def test_text_no_reader_accepts_is_not_signed(text: str, code: str) -> None:
    with pytest.raises(NoteInvalid) as caught:
        sign_note(text, LOG)
    assert code_of(caught) == code


def test_text_with_an_empty_line_is_refused_on_reading_too() -> None:
    line = sign_note("a\n", LOG).split("\n\n")[1]
    for text in ("a\n\nb\n", "\n", ""):
        with pytest.raises(NoteInvalid) as caught:
            open_note(f"{text}\n{line}", [LOG.verifier])
        assert code_of(caught) in {"note.empty_line", "note.no_signatures"}


def test_note_needs_a_key_and_a_log_key() -> None:
    with pytest.raises(KeyInvalid) as caught:
        sign_note("a\n")
    assert caught.value.code == "key.none"
    with pytest.raises(KeyInvalid) as caught:
        sign_note("a\n", HUB)
    assert caught.value.code == "key.kind"


def test_same_name_with_another_id_is_a_stranger() -> None:
    note = sign_note("a\n", LOG, NEXT)
    assert open_note(note, [NEXT.verifier]).signed_by == (NEXT.verifier,)
    with pytest.raises(NoteInvalid) as caught:
        open_note(sign_note("a\n", LOG), [NEXT.verifier])
    assert code_of(caught) == "note.unverified"


def test_bad_signature_of_a_known_key_fails_the_note_even_beside_good_ones() -> None:
    good = sign_note("a\n", LOG, OTHER)
    bad = sign_note("b\n", LOG).split("\n\n")[1]
    assert open_note(good + good.split("\n\n")[1], [LOG.verifier]).signed_by == (LOG.verifier,)
    with pytest.raises(NoteInvalid) as caught:
        open_note(good + bad, [LOG.verifier])
    assert code_of(caught) == "note.bad_signature"
    assert caught.value.evidence["name"] == ORIGIN
    # Nobody asked for that key: its line says nothing.
    assert open_note(good + bad, [OTHER.verifier]).signed_by == (OTHER.verifier,)


def test_altered_text_is_refused() -> None:
    note = sign_note("open door 12\n", LOG)
    with pytest.raises(NoteInvalid) as caught:
        open_note(note.replace("12", "13"), [LOG.verifier])
    assert code_of(caught) == "note.bad_signature"


def test_two_keys_of_one_name_and_id_are_refused() -> None:
    twin = Verifier(OTHER.name, OTHER.verifier.public)
    object.__setattr__(twin, "key_id", LOG.verifier.key_id)
    object.__setattr__(twin, "name", ORIGIN)
    with pytest.raises(KeyInvalid) as caught:
        open_note(sign_note("a\n", LOG), [LOG.verifier, twin])
    assert caught.value.code == "key.ambiguous"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\u2014",
        "\u2014 a",
        "\u2014 a ",
        "\u2014 a AAAAAA==",  # an id and nothing else
        "- a AAAAAAA=",
        "\u2014  AAAAAAA=",
        "\u2014 a+b AAAAAAA=",
        "\u2014 a AAAAAAB=",  # not canonical
        "\u2014 a AAAAAAA= ",
        "\u2014 a b AAAAAAA=",
        " \u2014 a AAAAAAA=",
    ],
)
def test_line_that_is_no_signature_fails_the_note(line: str) -> None:
    with pytest.raises(NoteInvalid) as caught:
        open_note(sign_note("a\n", LOG) + line + "\n", [LOG.verifier])
    assert code_of(caught) in {"note.signature_line", "note.no_signatures", "note.empty_line"}


def test_bounds_of_a_note_are_met_exactly() -> None:
    note = sign_note("a\n", LOG)
    stranger = "\u2014 s AAAAAAA=\n"
    assert len(parse_note(note + stranger * 99)[1]) == 100
    with pytest.raises(NoteInvalid) as caught:
        parse_note(note + stranger * 100)
    assert code_of(caught) == "note.too_many_signatures"
    room = NOTE_BYTES_MAX - len(note.encode())
    full = sign_note("a" * (1 + room) + "\n", LOG)
    assert len(full.encode()) == NOTE_BYTES_MAX
    assert open_note(full, [LOG.verifier]).text == "a" * (1 + room) + "\n"
    with pytest.raises(NoteInvalid) as caught:
        sign_note("a" * (2 + room) + "\n", LOG)
    assert code_of(caught) == "note.size"


def test_checkpoint_goes_out_and_comes_back() -> None:
    note = sign_checkpoint(HEAD, LOG)
    assert open_checkpoint(note, LOG.verifier) == HEAD
    assert note.startswith(
        f"{ORIGIN}\n117\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n\u2014 "
    )


def test_checkpoint_is_accepted_during_the_overlap_of_a_key_change() -> None:
    note = sign_note(HEAD.text(), LOG, NEXT)
    for known in ((LOG,), (NEXT,), (LOG, NEXT)):
        assert open_checkpoint(note, *(key.verifier for key in known)) == HEAD


def test_checkpoint_of_another_log_is_refused() -> None:
    with pytest.raises(NoteInvalid) as caught:
        sign_checkpoint(HEAD, OTHER)
    assert code_of(caught) == "checkpoint.signer"
    with pytest.raises(NoteInvalid) as caught:
        open_checkpoint(sign_note(HEAD.text(), OTHER), OTHER.verifier)
    assert code_of(caught) == "checkpoint.signer"
    both = sign_note(HEAD.text(), OTHER, LOG)
    assert open_checkpoint(both, OTHER.verifier, LOG.verifier) == HEAD
    with pytest.raises(NoteInvalid) as caught:
        open_checkpoint(sign_note("a\n", LOG), LOG.verifier)
    assert code_of(caught) == "checkpoint.lines"


def test_cosigner_is_no_log_key() -> None:
    with pytest.raises(KeyInvalid) as caught:
        open_checkpoint(sign_checkpoint(HEAD, LOG), HUB.verifier)
    assert caught.value.code == "key.kind"
    with pytest.raises(KeyInvalid):
        open_cosignatures(sign_checkpoint(HEAD, LOG), [LOG.verifier])


ROOT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "lines"),
        (f"a\n1\n{ROOT}", "lines"),
        (f"a\n1\n{ROOT}\nextension\n", "lines"),
        (f"a\n{ROOT}\n", "lines"),
        (f"\n1\n{ROOT}\n", "origin"),
        (f"a b\n1\n{ROOT}\n", "origin"),
        (f"a\n\n{ROOT}\n", "size"),
        (f"a\n01\n{ROOT}\n", "size"),
        (f"a\n00\n{ROOT}\n", "size"),
        (f"a\n+1\n{ROOT}\n", "size"),
        (f"a\n-1\n{ROOT}\n", "size"),
        (f"a\n1 \n{ROOT}\n", "size"),
        (f"a\n1_0\n{ROOT}\n", "size"),
        (f"a\n\u0661\n{ROOT}\n", "size"),
        (f"a\n\u00b2\n{ROOT}\n", "size"),
        (f"a\n{2**63}\n{ROOT}\n", "size"),
        (f"a\n{'9' * 5000}\n{ROOT}\n", "size"),
        ("a\n1\n\n", "root"),
        ("a\n1\nAAAA\n", "root"),
        (f"a\n1\n{ROOT[:-2]}9=\n", "root"),
        (f"a\n1\n{ROOT}=\n", "root"),
    ],
)
def test_text_that_is_no_checkpoint_is_refused(text: str, part: str) -> None:
    with pytest.raises(NoteInvalid) as caught:
        Checkpoint.parse(text)
    assert code_of(caught) == f"checkpoint.{part}"


def test_checkpoint_sizes_reach_from_0_to_2_to_the_63() -> None:
    for size in (0, 1, 10, 2**63 - 1):
        assert Checkpoint.parse(Checkpoint("a", size, bytes(32)).text()).size == size
    with pytest.raises(NoteInvalid):
        Checkpoint("a", -1, bytes(32))


def test_cosignature_is_verified_with_its_time() -> None:
    note = sign_checkpoint(HEAD, LOG)
    cosigned = note + cosign(note, HUB, 1_790_000_000)
    assert open_checkpoint(cosigned, LOG.verifier) == HEAD
    (found,) = open_cosignatures(cosigned, [HUB.verifier])
    assert (found.verifier, found.time_s) == (HUB.verifier, 1_790_000_000)
    assert open_cosignatures(note, [HUB.verifier]) == ()
    assert open_note(cosigned, [HUB.verifier]).text == HEAD.text()


def test_latest_of_two_cosignatures_counts() -> None:
    note = sign_checkpoint(HEAD, LOG)
    note += cosign(note, HUB, 30) + cosign(note, HUB, 20)
    assert [one.time_s for one in open_cosignatures(note, [HUB.verifier])] == [30]


def test_cosignature_of_another_checkpoint_fails_the_note() -> None:
    note = sign_checkpoint(HEAD, LOG)
    other = sign_checkpoint(Checkpoint(ORIGIN, 118, HEAD.root), LOG)
    with pytest.raises(NoteInvalid) as caught:
        open_cosignatures(note + cosign(other, HUB, 1), [HUB.verifier])
    assert code_of(caught) == "note.bad_signature"


def test_cosigner_refuses_what_it_should_not_sign() -> None:
    note = sign_checkpoint(HEAD, LOG)
    with pytest.raises(KeyInvalid):
        cosign(note, LOG, 1)
    for time_s in (-1, TIME_S_MAX + 1):
        with pytest.raises(NoteInvalid) as caught:
            cosign(note, HUB, time_s)
        assert code_of(caught) == "cosignature.time"
    with pytest.raises(NoteInvalid):
        cosign(sign_note("a\n", LOG), HUB, 1)
