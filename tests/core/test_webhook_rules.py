"""What an address may be, and signatures as the specification and its library have them."""

from __future__ import annotations

import base64
import time

import pytest
from standardwebhooks import Webhook as Receiver
from standardwebhooks import WebhookVerificationError

from rollout.core.webhooks import BOTH_SIGN_SECONDS, Webhook, secret_text, signed_headers, webhook_json
from rollout.errors import InvalidRequest

KEY = b"a secret of at least 32 characters"


def webhook(url: str = "https://example.com/hook", **fields: object) -> Webhook:
    return Webhook("acme", "wh_1", url, **{"types": (), "created_at": 0, **fields})  # type: ignore[arg-type]


def test_a_signature_is_the_one_of_the_published_vector() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signed_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signed == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_after_a_rotation_both_secrets_sign_for_a_day() -> None:
    now = int(time.time())
    before, after = webhook(), webhook(secret_version=2, rotated_at=now)
    old, new = before.secrets(KEY, now)[0], after.secrets(KEY, now)[0]
    body = b'{"type":"webhook.test"}'
    both = signed_headers(after.secrets(KEY, now), "job_1", now, body)
    for secret in (old, new):
        assert Receiver(secret_text(secret)).verify(body, both) == {"type": "webhook.test"}
    later = after.secrets(KEY, now + BOTH_SIGN_SECONDS)
    assert later == [new]
    with pytest.raises(WebhookVerificationError):
        Receiver(secret_text(old)).verify(body, signed_headers(later, "job_1", now, body))


def test_secrets_differ_between_webhooks_and_keys_of_the_house() -> None:
    other = Webhook("acme", "wh_2", "https://example.com", (), 0)
    secrets = {webhook().secrets(KEY, 0)[0], other.secrets(KEY, 0)[0], webhook().secrets(KEY + b"!", 0)[0]}
    assert len(secrets) == 3
    assert all(len(secret) == 32 for secret in secrets)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com/hook", "ftp://example.com", "https://", "https:///hook", "file:///etc/passwd", "https://a b.example",
        "https://example.com:port/", "https://example.com:99999/", "https://example.com/\r\nX: y", "https://b\u00fccher.example/",
        "https://example.com/" + "a" * 2000, "https://[::1/",
    ],
)  # fmt: skip
def test_an_address_that_nothing_can_be_posted_to_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        webhook(url)
    assert refused.value.members["param"] == "url"


def test_an_address_holds_no_password() -> None:
    with pytest.raises(InvalidRequest, match="no user name or password"):
        webhook("https://ana:secret@example.com/hook")


def test_an_event_that_there_is_not_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"There is no event 'quota.gone'") as refused:
        webhook(types=("quota.threshold", "quota.gone"))
    assert refused.value.members["param"] == "types"


def test_a_webhook_wants_what_it_named_or_everything_unless_it_is_disabled() -> None:
    assert webhook().wants("quota.threshold")
    assert webhook(types=("quota.threshold",)).wants("quota.threshold")
    assert not webhook(types=("quota.exhausted",)).wants("quota.threshold")
    assert not webhook(state="disabled").wants("quota.threshold")


def test_the_json_of_a_webhook_holds_no_secret() -> None:
    assert "secret" not in " ".join(webhook_json(webhook()))
