"""Our own members of a request, taken out before a vendor sees it."""

import msgspec
import pytest

from rollout.core.extensions import Extensions, split_extensions
from rollout.errors import InvalidRequest

Raw = msgspec.Raw


def test_a_request_without_extensions_asks_for_nothing() -> None:
    members = {"prompt": Raw(b'"a"')}
    assert split_extensions(members) == (members, Extensions())
    assert split_extensions({**members, "rollout": Raw(b"null")}) == (members, Extensions())


@pytest.mark.parametrize(
    "extension",
    [
        {"rollout": Raw(b'{"evaluate": true, "refine_prompt": false}')},
        {"rollout[evaluate]": b"true", "rollout[refine_prompt]": b"false"},
        {"rollout": b'{"evaluate":true}'},
    ],
)
def test_extensions_are_read_and_taken_out(extension: dict[str, msgspec.Raw | bytes]) -> None:
    assert split_extensions({"n": b"1", **extension}) == ({"n": b"1"}, Extensions(evaluate=True))


@pytest.mark.parametrize(
    ("extension", "param"),
    [
        ({"rollout": Raw(b'{"evaluate": 1}')}, "rollout.evaluate"),
        ({"rollout": Raw(b'{"watermark": true}')}, "rollout.watermark"),
        ({"rollout[judge]": b"true"}, "rollout.judge"),
        ({"rollout": Raw(b"[]")}, "rollout"),
    ],
)
def test_what_is_no_extension_is_refused_by_name(extension: dict[str, msgspec.Raw], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        split_extensions(extension)
    assert refused.value.members["param"] == param
