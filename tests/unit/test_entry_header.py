"""Pins names, references and the header of an entry (FORMATS 1 and 2)."""

import base64

import pytest

from sync import canonical, entry
from sync.entry import Entry, Lane, LaneRef, Ref, Writer
from sync.errors import TheirsInvalid
from sync.moment import Moment

EPOCH = "e1-9f2c01ab"
HASH = base64.b64encode(bytes(range(32))).decode()


def data_of(**more: object) -> bytes:
    return canonical.encode({"kind": "door.opened", "at": [3, 1000], **more})


def test_reads_every_header_key() -> None:
    data = data_of(
        of=f"{EPOCH}:sc117",
        door=12,
        prev="e2-00000000:hu0",
        seen={f"{EPOCH}:hc": 41},
        private=HASH,
        other="carried",
    )
    read = entry.parse(data)
    assert read == Entry(
        kind="door.opened",
        at=Moment(3, 1000),
        body=canonical.decode(data),
        of=Ref(EPOCH, Writer.SITE, Lane.CUSTODY, 117),
        door=12,
        prev=Ref("e2-00000000", Writer.HUB, Lane.URGENT, 0),
        seen={LaneRef(EPOCH, Writer.HUB, Lane.CUSTODY): 41},
        private=bytes(range(32)),
    )
    assert read.body["other"] == "carried"


def test_absent_keys_are_none_and_unknown_kinds_are_carried() -> None:
    read = entry.parse(canonical.encode({"kind": "some.future_thing", "at": [0, 0]}))
    assert (read.of, read.door, read.prev, read.seen, read.private) == (None,) * 5
    assert read.critical == ()
    assert read.kind == "some.future_thing"


def test_names_the_critical_keys() -> None:
    read = entry.parse(data_of(**{"!hold": True, "!until": 5, "x!": 1, " ": 0}))
    assert read.critical == ("!hold", "!until")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"kind": "one"}, "kind"),
        ({"kind": "Door.opened"}, "kind"),
        ({"kind": "a." + "b" * 63}, "kind"),
        ({"kind": 7}, "kind"),
        ({"at": [1]}, "at"),
        ({"at": [1, -1]}, "at"),
        ({"at": [-1, 1]}, "at"),
        ({"at": [True, 1]}, "at"),
        ({"at": [1, "1"]}, "at"),
        ({"at": 5}, "at"),
        ({"of": 5}, "of"),
        ({"prev": ["x"]}, "prev"),
        ({"door": True}, "door"),
        ({"door": -1}, "door"),
        ({"door": "12"}, "door"),
        ({"seen": []}, "seen"),
        ({"seen": {f"{EPOCH}:hc": -1}}, "seen"),
        ({"seen": {f"{EPOCH}:hc": True}}, "seen"),
        ({"private": 5}, "private"),
        ({"private": ""}, "private"),
        ({"private": "é"}, "private"),
        ({"private": HASH[:-1]}, "private"),
        ({"private": base64.b64encode(bytes(31)).decode()}, "private"),
        # the same 32 bytes written with spare bits set
        ({"private": HASH[:-2] + "9="}, "private"),
    ],
)
def test_refuses_a_bad_header_by_its_key(change: dict[str, object], key: str) -> None:
    with pytest.raises(TheirsInvalid) as caught:
        entry.parse(data_of(**change))
    assert caught.value.code == "entry.bad_header"
    assert caught.value.evidence["key"] == key


@pytest.mark.parametrize("key", ["kind", "at"])
def test_refuses_an_entry_without_kind_or_time(key: str) -> None:
    body = canonical.decode(data_of())
    del body[key]
    with pytest.raises(TheirsInvalid) as caught:
        entry.parse(canonical.encode(body))
    assert (caught.value.code, caught.value.evidence["key"]) == ("entry.no_header", key)


REFERENCES = [
    "",
    "e1-9f2c01ab",
    "e1-9f2c01ab:sc",
    "e1-9f2c01ab:sc01",
    "e1-9f2c01ab:sc-1",
    "e1-9f2c01ab:xc1",
    "e1-9f2c01ab:sx1",
    "e0-9f2c01ab:sc1",
    "e01-9f2c01ab:sc1",
    "e1-9F2c01ab:sc1",
    "e1-9f2c01a:sc1",
    "e1-9f2c01ab:sc1\n",
    "e1-9f2c01ab:sc\u0661",
    "e1-9f2c01ab:sc1000000000000000",
]


@pytest.mark.parametrize("text", REFERENCES)
def test_refuses_a_bad_reference(text: str) -> None:
    for change in ({"of": text}, {"prev": text}, {"seen": {"x" + text: 1}}):
        if "seen" in change and not text.isascii():
            continue
        with pytest.raises(TheirsInvalid) as caught:
            entry.parse(data_of(**change))
        assert caught.value.code == "entry.bad_reference"


def test_references_read_back_and_sort_by_index_as_numbers() -> None:
    text = ["e1-9f2c01ab:sc9", "e1-9f2c01ab:sc117"]
    refs = [Ref.parse(one) for one in text]
    assert [str(ref) for ref in refs] == text
    assert sorted(refs, reverse=True) == refs[::-1]
    assert str(refs[0].log) == "e1-9f2c01ab:sc"
    assert LaneRef.parse("e1-9f2c01ab:sc") == refs[1].log


def test_lanes_have_letters() -> None:
    assert [lane.letter for lane in Lane] == ["u", "c", "t"]
    assert [Lane.of_letter(letter) for letter in "uct"] == list(Lane)
    with pytest.raises(ValueError, match="x"):
        Lane.of_letter("x")


def test_epochs() -> None:
    assert entry.is_epoch(EPOCH)
    assert not entry.is_epoch("e1")


def test_compose_adds_the_writers_keys_and_reads_back() -> None:
    prev = Ref(EPOCH, Writer.SITE, Lane.CUSTODY, 4)
    data = entry.compose(
        {"kind": "door.closed", "door": 3},
        at=Moment(1, 2),
        prev=prev,
        seen={LaneRef(EPOCH, Writer.HUB, Lane.URGENT): 0},
        private=entry.private_hash(bytes(16), b"annex"),
    )
    assert data == (
        b'{"at":[1,2],"door":3,"kind":"door.closed","prev":"e1-9f2c01ab:sc4",'
        b'"private":"EdXoscmrkt6RTU1dfPwEkAEvDI2iigdttU4vEC5Vvys=","seen":{"e1-9f2c01ab:hu":0}}'
    )
    assert entry.parse(data).prev == prev
    assert entry.compose({"kind": "a.b"}, at=Moment(0, 0)) == b'{"at":[0,0],"kind":"a.b"}'


def test_compose_refuses_what_could_not_be_read() -> None:
    with pytest.raises(TheirsInvalid, match=r"entry\.bad_header"):
        entry.compose({"kind": "a.b", "door": -1}, at=Moment(0, 0))
