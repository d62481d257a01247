"""Pins the one way of writing an object, and the code of each refusal (FORMATS 2, RFC 8785)."""

import pytest

from sync import canonical
from sync.errors import TheirsInvalid


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    return b'{"a":' + opening * depth + b"1" + closing * depth + b"}"


def test_writes_sorted_keys_raw_utf8_and_short_escapes() -> None:
    obj = {"b": [1, True, {}], "a": 'é\u2028\x7f"\\/\x00\x1f\b\t\n\f\r😀', "B": -(2**53) + 1}
    data = canonical.encode(obj)
    assert (
        data
        == (
            '{"B":-9007199254740991,"a":"é\u2028\x7f\\"\\\\/\\u0000\\u001f\\b\\t\\n\\f\\r😀",'
            '"b":[1,true,{}]}'
        ).encode()
    )
    assert canonical.decode(data) == obj


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "malformed"),
        (b"{", "malformed"),
        (b'{"a":"\xff"}', "malformed"),
        (b'{"a":"\xed\xa0\x80"}', "malformed"),
        (b'{"a":"\\ud800"}', "malformed"),
        (b'{"a":1}{"b":2}', "malformed"),
        (b'{"a":NaN}', "malformed"),
        (b"[]", "not_object"),
        (b"1", "not_object"),
        (b'"a"', "not_object"),
        (b'{"a":null}', "bad_type"),
        (b'{"a":1.5}', "bad_type"),
        (b'{"a":1.0}', "bad_type"),
        (b'{"a":1e2}', "bad_type"),
        (b'{"a":[{"b":null}]}', "bad_type"),
        (b'{"a":9007199254740992}', "bad_number"),
        (b'{"a":-9007199254740992}', "bad_number"),
        (b'{"a":123456789012345678901234567890}', "bad_number"),
        ('{"é":1}'.encode(), "bad_key"),
        (b'{"\\u00e9":1}', "bad_key"),
        (b'{"a":{"\xc3\xa9":1}}', "bad_key"),
        (b'{"a":1,"a":2}', "differs"),
        (b'{"a":1,"a":1}', "differs"),
        (b'{"b":1,"a":1}', "differs"),
        (b'{"a": 1}', "differs"),
        (b'{"a":1} ', "differs"),
        (b' {"a":1}', "differs"),
        (b'{"a":-0}', "differs"),
        (b'{"a":"\\u0061"}', "differs"),
        (b'{"a":"\\/"}', "differs"),
        (b'{"a":"\\u001F"}', "differs"),
        (nested(8, b"[", b"]"), "too_deep"),
        (nested(8, b'{"a":', b"}"), "too_deep"),
        (b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", "too_deep"),
        (b'{"a":"' + b"x" * 4089 + b'"}', "too_long"),
    ],
)
def test_refuses_with_its_code(data: bytes, code: str) -> None:
    with pytest.raises(TheirsInvalid) as caught:
        canonical.decode(data)
    assert caught.value.code == f"canonical.{code}"
    assert caught.value.remedy


def test_takes_the_largest_number_depth_and_length() -> None:
    for data in (
        b'{"a":9007199254740991}',
        nested(7, b"[", b"]"),
        nested(7, b'{"a":', b"}"),
        b'{"a":"' + b"x" * 4088 + b'"}',
    ):
        assert canonical.encode(canonical.decode(data)) == data


@pytest.mark.parametrize(
    ("obj", "code"),
    [
        ({"a": None}, "bad_type"),
        ({"a": 1.0}, "bad_type"),
        ({"a": b"x"}, "bad_type"),
        ({"a": (1,)}, "bad_type"),
        ({"a": 2**53}, "bad_number"),
        ({1: 1}, "bad_key"),
        ({"é": 1}, "bad_key"),
        ({"a": "\ud800"}, "bad_text"),
        ({"\ud800": 1}, "bad_key"),
        ({"a": "x" * 4089}, "too_long"),
        ({"a": [[[[[[[[1]]]]]]]]}, "too_deep"),
        ([], "not_object"),
    ],
)
def test_refuses_to_write_what_the_format_cannot_hold(obj: object, code: str) -> None:
    with pytest.raises(TheirsInvalid) as caught:
        canonical.encode(obj)  # type: ignore[arg-type]  # that is the point
    assert caught.value.code == f"canonical.{code}"


def test_a_type_that_only_looks_like_text_is_refused() -> None:
    class Loud(str):
        __slots__ = ()

    with pytest.raises(TheirsInvalid, match="bad_type"):
        canonical.encode({"a": Loud("x")})


def test_lines_end_at_0a_only() -> None:
    data = '{"a":"x\u2028y"}\n{"a":"\x85"}\n'.encode()
    assert canonical.decode_lines(data) == [{"a": "x\u2028y"}, {"a": "\x85"}]
    assert canonical.decode_lines(b"") == []


@pytest.mark.parametrize("data", [b'{"a":1}', b'{"a":1}\r\n', b"\n", b'{"a":1}\n\n'])
def test_lines_that_end_otherwise_are_refused(data: bytes) -> None:
    with pytest.raises(TheirsInvalid):
        canonical.decode_lines(data)


def test_many_at_one_go_are_read_alike_or_not_at_all() -> None:
    good = [b'{"a":1}', '{"b":"é"}'.encode(), b"{}"]
    assert canonical.decode_many(good) == [canonical.decode(one) for one in good]
    assert canonical.decode_many([]) == []
    for bad in (
        b'{"a":1}\n{"a":2}',
        b'{"a": 1}',
        b"null",
        b'{"a":null}',
        b'{"a":"' + b"x" * 4089 + b'"}',
        '{"é":1}'.encode(),
        b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}",
        b"",
    ):
        assert canonical.decode_many([*good, bad]) is None
    # Two halves that make a whole only together.
    assert canonical.decode_many([b'{"a":[1', b"2]}"]) is None
    assert canonical.decode_many([b'{"a":1}\n{"b":2}', b'{"a":', b"1}"]) is None
