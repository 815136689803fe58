"""Signed envelopes: which ones are opened, and why the others are refused."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drone_orchestrator.security.envelope import MAX_PAYLOAD_BYTES, Envelope, Opener, Refusal, Refused, sign
from drone_orchestrator.security.keys import InvalidKeys, KeyRing, parse_keys, read_keys
from drone_orchestrator.security.replay import ReplayWindow

NOW_S = 1_800_000_000.0
KEY, OTHER = b"k" * 32, b"o" * 32
RING = KeyRing({"shop-1": KEY, "shop-2": OTHER})


def envelope(payload: object = None, at_s: float = NOW_S, **changes: object) -> Envelope:
    text = payload if isinstance(payload, str) else json.dumps({"order_id": "A"} if payload is None else payload)
    made = Envelope(str(uuid.uuid4()), "order.submit", text, round(at_s * 1e9))
    return replace(made, **changes)  # type: ignore[arg-type]


def signed(*args: object, **changes: object) -> Envelope:
    return sign(envelope(*args, **changes), "shop-1", KEY)  # type: ignore[arg-type]


def refusal(found: Envelope, opener: Opener | None = None, now_s: float = NOW_S) -> Refusal:
    with pytest.raises(Refused) as caught:
        (opener or Opener(RING)).open(found, now_s)
    assert "\n" not in str(caught.value)
    return caught.value.refusal


def test_a_correctly_signed_envelope_is_opened() -> None:
    assert Opener(RING).open(signed({"order_id": "Å", "n": [1.5]}), NOW_S) == {"order_id": "Å", "n": [1.5]}


def test_the_canonical_form_is_the_documented_one() -> None:
    made = Envelope("m1", "order.submit", '{"a":"ä"}', 1_500_000_000_000_000_001)
    canonical = (
        b"30:drone_orchestrator.envelope.v1,6:shop-1,2:m1,12:order.submit,19:1500000000000000001,"
        + b"10:"
        + '{"a":"ä"}'.encode()
        + b","
    )
    assert sign(made, "shop-1", KEY).canonical() == canonical
    assert sign(made, "shop-1", KEY).signature == hmac.new(KEY, canonical, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"message_id": "another"},
        {"type": "order.cancel"},
        {"payload": '{"order_id": "B"}'},
        {"timestamp_ns": round(NOW_S * 1e9) + 1},
        {"key_id": "shop-2"},
        {"signature": ""},
        {"signature": "0" * 64},
        {"signature": "ü" * 64},
        {"signature": "\ud800"},
    ],
)
def test_any_change_after_signing_is_a_forgery(change: dict[str, object]) -> None:
    assert refusal(replace(signed(), **change)) is Refusal.FORGED  # type: ignore[arg-type]


def test_an_upper_case_or_truncated_signature_is_refused() -> None:
    good = signed()
    assert refusal(replace(good, signature=good.signature.upper())) is Refusal.FORGED
    assert refusal(replace(good, signature=good.signature[:-1])) is Refusal.FORGED


def test_an_unknown_key_is_named() -> None:
    assert refusal(sign(envelope(), "nobody", KEY)) is Refusal.UNKNOWN_KEY


@pytest.mark.parametrize("age_s", [30.5, 3600.0, -30.5, -1e6])
def test_an_envelope_outside_the_time_window_is_stale(age_s: float) -> None:
    assert refusal(signed(at_s=NOW_S - age_s)) is Refusal.STALE


@pytest.mark.parametrize("age_s", [29.5, 0.0, -29.5])
def test_an_envelope_is_accepted_once_within_the_window(age_s: float) -> None:
    opener, sent = Opener(RING), signed(at_s=NOW_S - age_s)
    opener.open(sent, NOW_S)
    assert refusal(sent, opener) is Refusal.REPLAYED
    again = sign(replace(sent, timestamp_ns=sent.timestamp_ns + 1), "shop-1", KEY)
    opener.open(again, NOW_S)  # as the protocol requires: the same content, signed again


def test_a_replay_is_refused_until_it_is_stale() -> None:
    opener, sent = Opener(RING), signed(at_s=NOW_S + 29.0)  # the sender's clock is ahead
    opener.open(sent, NOW_S)
    assert refusal(sent, opener, NOW_S + 58.9) is Refusal.REPLAYED
    assert refusal(sent, opener, NOW_S + 59.1) is Refusal.STALE


def test_a_forged_copy_does_not_block_the_original() -> None:
    opener, sent = Opener(RING), signed()
    assert refusal(replace(sent, payload="{}"), opener) is Refusal.FORGED
    opener.open(sent, NOW_S)


def test_an_unsigned_envelope_is_refused_unless_allowed() -> None:
    assert refusal(envelope()) is Refusal.UNSIGNED
    opener = Opener(KeyRing({}), allow_unsigned=True)
    assert opener.open(envelope(), NOW_S) == {"order_id": "A"}
    assert refusal(envelope(at_s=NOW_S - 31.0), opener) is Refusal.STALE
    assert refusal(signed(), opener) is Refusal.UNKNOWN_KEY  # a signed envelope needs a known key


@pytest.mark.parametrize(
    "payload",
    [
        "[]",
        "1",
        "null",
        "{",
        "{}}",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1, "a": 2}',
        "[" * 60_000,
        '{"a": ' * 9_000,
    ],
    ids=lambda text: text[:20],
)
def test_a_payload_that_is_not_a_plain_object_is_malformed(payload: str) -> None:
    assert refusal(signed(payload)) is Refusal.MALFORMED


@pytest.mark.parametrize("change", [{"message_id": ""}, {"type": ""}, {"payload": ""}, {"timestamp_ns": 0}])
def test_an_unset_field_is_malformed(change: dict[str, object]) -> None:
    assert refusal(sign(envelope(**change), "shop-1", KEY)) is Refusal.MALFORMED  # type: ignore[arg-type]


def test_sizes_are_bounded_in_bytes() -> None:
    fitting = json.dumps({"a": "x" * (MAX_PAYLOAD_BYTES - len('{"a": ""}'))})
    assert Opener(RING).open(signed(fitting), NOW_S)
    assert refusal(signed(fitting + " ")) is Refusal.OVERSIZED
    assert refusal(signed('{"a": "' + "ä" * (MAX_PAYLOAD_BYTES // 2) + '"}')) is Refusal.OVERSIZED
    for name in ("message_id", "type", "key_id"):
        assert refusal(replace(signed(), **{name: "x" * 129})) is Refusal.OVERSIZED


@pytest.mark.parametrize("jump_s", [31.0, 3600.0])
def test_a_clock_that_jumps_and_comes_back_lets_no_replay_through(jump_s: float) -> None:
    window = ReplayWindow(30.0)
    assert window.covers(NOW_S, NOW_S) and window.first_time("a", NOW_S, NOW_S)
    assert not window.covers(NOW_S, NOW_S + jump_s)
    assert not window.covers(NOW_S, NOW_S + 1.0)
    assert window.covers(NOW_S + 0.5, NOW_S + 1.0) and window.first_time("b", NOW_S + 0.5, NOW_S + 1.0)


def test_a_clock_that_is_set_back_lets_no_forgotten_envelope_through() -> None:
    window = ReplayWindow(30.0)
    for at_s in (NOW_S, NOW_S + 100.0):
        assert window.covers(at_s, at_s) and window.first_time(f"{at_s}", at_s, at_s)
    assert not window.covers(NOW_S, NOW_S + 5.0)


def test_a_full_replay_memory_refuses_rather_than_forgets() -> None:
    window = ReplayWindow(30.0, max_remembered=2)
    assert window.first_time("a", NOW_S, NOW_S) and window.first_time("b", NOW_S + 1.0, NOW_S)
    assert window.is_full(NOW_S) and not window.first_time("a", NOW_S, NOW_S)
    assert not window.is_full(NOW_S + 30.5)


TEXT = st.text(max_size=12)


@given(st.tuples(TEXT, TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT, TEXT))
def test_no_two_envelopes_share_a_canonical_form(a: tuple[str, ...], b: tuple[str, ...]) -> None:
    one, other = (Envelope(m, t, p, 1, k) for m, t, p, k in (a, b))
    assert (one.canonical() == other.canonical()) == (a == b)


@given(st.text(), st.text(), st.text(), st.integers(-(2**63), 2**63 - 1), st.text(), st.text())
def test_junk_is_refused_without_an_exception(
    message_id: str, type_: str, payload: str, timestamp_ns: int, key_id: str, signature: str
) -> None:
    with pytest.raises(Refused):
        Opener(RING).open(Envelope(message_id, type_, payload, timestamp_ns, key_id, signature), NOW_S)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# of the shops\nshop-1:{KEY.hex()}\n\nshop-2:{OTHER.hex()}  # the new one\n")
    ring = read_keys(path)
    assert (ring.get("shop-1"), ring.get("shop-2"), ring.get("shop-3"), len(ring)) == (KEY, OTHER, None, 2)
    assert KEY.hex() not in repr(ring) and "shop-1" in repr(ring)


def test_an_empty_key_file_path_gives_an_empty_ring() -> None:
    assert len(parse_keys("", "nowhere")) == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shop-1", "the file:1: must be id:hex"),
        ("shop-1:xyz", "the file:1: must be id:hex, with two hexadecimal digits"),
        ("shop-1:00ff", "must have at least 16 bytes, got 2"),
        (f"a b:{KEY.hex()}", "the id of a key must be"),
        (f"{KEY.hex()}:shop-1", "must be id:hex"),
        (f"# keys\n\na:{KEY.hex()[:-2]} {KEY.hex()[-2:]}", "the file:3: must be id:hex"),
        (f"a:{KEY.hex()}\n,a:{OTHER.hex()}", "the file:2: the id of a key must be unique, is in line 1 already"),
    ],
)
def test_invalid_keys_are_reported_without_revealing_them(text: str, says: str) -> None:
    with pytest.raises(InvalidKeys, match=says) as caught:
        parse_keys(text, "the file")
    assert "the file" in str(caught.value) and KEY.hex() not in str(caught.value)


def test_a_file_without_a_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    for text, says in ((b"# none yet\n", "at least one key"), (b"a\n\xff", f"{path}:2: must be UTF-8")):
        path.write_bytes(text)
        with pytest.raises(InvalidKeys, match=says):
            read_keys(path)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidKeys, match="missing"):
        read_keys(tmp_path / "missing")


def test_the_documented_example_gives_the_same_signature() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "signed_orders.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {"hmac": hmac, "hashlib": hashlib}
    exec(code, names)
    made = signed({"order_id": "Å"})
    example = names["signature"]
    assert callable(example)
    sent = (made.key_id, made.message_id, made.type, made.timestamp_ns, made.payload)
    assert example(KEY, *sent) == made.signature
