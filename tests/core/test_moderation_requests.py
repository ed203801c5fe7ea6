import json

import pytest
from test_chat_requests import data_url, image

from rollout.core.analyses import split_members
from rollout.core.moderations import Moderated, ModerationRequest, parse_moderation_request
from rollout.errors import InvalidRequest, ModelNotFound

LATEST = "omni-moderation-latest"


def parse(**members):
    return parse_moderation_request(split_members(json.dumps(members).encode()))


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("a fox", [Moderated("a fox")]),
        ("", [Moderated()]),
        (["a", "b"], [Moderated("a"), Moderated("b")]),
        ([{"type": "text", "text": "a"}, image(), {"type": "text", "text": "b"}], [Moderated("a b", 1)]),
        ([image("https://example.com/a.png")], [Moderated("", 1)]),
    ],
)
def test_a_text_texts_or_parts_are_looked_at(given, inputs):
    assert parse(input=given) == ModerationRequest(LATEST, tuple(inputs))


def test_the_model_may_be_named():
    assert parse(input="x", model="omni-moderation-2024-09-26").model == "omni-moderation-2024-09-26"
    assert parse(input="x", model=None).model == LATEST
    with pytest.raises(ModelNotFound) as error:
        parse(input="x", model="text-moderation-stable")
    assert error.value.members["param"] == "model"


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": {"type": "text"}}, "input"),
        ({"input": [5]}, "input.0"),
        ({"input": ["a", 5]}, "input.1"),
        ({"input": [{"type": "text", "text": "a"}, "b"]}, "input.1"),
        ({"input": [{"type": "video"}]}, "input.0.type"),
        ({"input": [{"type": "image_url"}]}, "input.0.image_url"),
        ({"input": [image(data_url(b"none"))]}, "input.0.image_url.url"),
        ({"input": "x", "model": 5}, "model"),
    ],
)
def test_a_wrong_member_is_named(members, param):
    with pytest.raises(InvalidRequest) as error:
        parse(**members)
    assert error.value.members["param"] == param
