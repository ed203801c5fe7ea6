from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.core import wire
from rollout.core.catalogue import Usage
from rollout.core.wire import EventTooLarge, image_usage, read_message, read_message_event, split_events

STREAM = b'event: one\ndata: {"a":1}\n\n: keep-alive\n\nevent: two\r\ndata: x\r\ndata:y\r\n\r\ndata: nameless\n\nid: 5\n\nevent: cut'


def seen(chunks):
    return [(event.name, event.data) for event in split_events(chunks)]


def test_events_are_split_with_their_names_and_joined_data():
    assert seen([STREAM]) == [("one", b'{"a":1}'), ("two", b"x\ny"), ("", b"nameless")]


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_where_the_network_cuts_the_bytes_does_not_matter(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in pairwise(edges)]
    assert seen(chunks) == seen([STREAM])


def test_an_event_is_kept_byte_for_byte():
    raw = b"event: a\r\ndata: {}\r\n\r\n"
    assert [event.raw for event in split_events([raw[:9], raw[9:]])] == [raw]


def test_an_event_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(wire, "MAX_EVENT_BYTES", 10)
    with pytest.raises(EventTooLarge):
        list(split_events([b"data: 0123456789"]))


def test_image_usage_is_read_or_is_none():
    raw = b'{"input_tokens":5,"output_tokens":7,"input_tokens_details":{"text_tokens":2,"image_tokens":3},"new":1}'
    assert image_usage(msgspec.Raw(raw)) == Usage(input=5, output=7, text_in=2, image_in=3)
    assert image_usage(msgspec.Raw(b"null")) is None
    assert image_usage(msgspec.Raw(b"{}")) is None


def test_a_messages_usage_and_stop_reason_are_read():
    body = (
        b'{"type":"message","stop_reason":"refusal","usage":{"input_tokens":1,"output_tokens":2,'
        b'"cache_creation_input_tokens":5,"cache_read_input_tokens":4,"cache_creation":{"ephemeral_1h_input_tokens":3}}}'
    )
    usage = Usage(input=1, output=2, cache_write=5, cache_write_1h=3, cache_read=4)
    assert read_message(body) == (usage, "refusal")
    assert read_message(b'{"type":"message"}') == (None, None)
    with pytest.raises(msgspec.ValidationError):
        read_message(b'{"type":"error"}')


def test_a_streams_usage_is_cumulative_and_deltas_name_only_what_they_know():
    start = (
        b'{"type":"message_start","message":{"type":"message","usage":{"input_tokens":9,"output_tokens":1}}}'
    )
    delta = b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":20}}'
    usage, stop_reason = read_message_event(start, None)
    assert (usage, stop_reason) == (Usage(input=9, output=1), None)
    assert read_message_event(delta, usage) == (Usage(input=9, output=20), "end_turn")
