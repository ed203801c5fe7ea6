"""What goes into a log line, and what never does."""

from __future__ import annotations

from rollout.core.tenants import key_text
from rollout.log import redact


def test_secrets_are_redacted_by_name_and_by_shape_however_deep() -> None:
    key = key_text("live", bytes(32))
    line = redact(
        None,
        "info",
        {
            "event": f"called with {key}",
            "authorization": "Bearer x",
            "nested": {"api_key": "abc", "list": [f"token ra_{'a' * 43}"]},
            "tenant": "acme",
            "input_tokens": 5,
        },
    )
    assert key not in str(line)
    assert line["authorization"] == "[redacted]"
    assert line["nested"] == {"api_key": "[redacted]", "list": ["token ra_[redacted]"]}
    assert line["event"] == "called with rk_live_[redacted]"
    assert line["tenant"] == "acme"
    assert line["input_tokens"] == 5
