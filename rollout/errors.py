"""The tree of all that can go wrong, as callers see it.

    RolloutError
    ├── InvalidRequest            400 invalid_request        a field is wrong: `param` names it
    ├── ContentRefused            400 content_refused        a guardrail or the vendor refused the content
    ├── ModelRetired              400 model_retired          the model is gone: `successor` names the next one
    ├── InvalidApiKey             401 invalid_api_key
    ├── PermissionDenied          403 permission_denied      scope or role
    ├── FeatureNotEnabled         403 feature_not_enabled
    ├── FeatureKilled             403 feature_killed
    ├── NotFound                  404 not_found              another tenant's things too
    │   └── ModelNotFound         404 model_not_found
    ├── MethodNotAllowed          405 method_not_allowed
    ├── Conflict                  409 conflict
    │   ├── StaleVersion          409 stale_version
    │   └── RequestInProgress     409 request_in_progress
    ├── ResultPurged              410 result_purged
    ├── PayloadTooLarge           413 payload_too_large
    ├── UnsupportedMediaType      415 unsupported_media_type
    ├── IdempotencyKeyReused      422 idempotency_key_reused
    ├── PriceUnknown              422 price_unknown
    ├── PreconditionRequired      428 precondition_required
    ├── QuotaExceeded
    │   ├── InsufficientQuota     429 insufficient_quota     day, month, life, money: waiting seconds will not help
    │   └── RateLimitExceeded     429 rate_limit_exceeded    speed and slots
    ├── InternalError             500 internal_error
    ├── UpstreamUnavailable       503 upstream_unavailable   nothing was billed: safe to call again
    │   └── UpstreamFailed        502 upstream_unavailable   the vendor failed after it had the call
    ├── AtCapacity                503 at_capacity
    ├── LedgerUnavailable         503 ledger_unavailable     the database is away, read-only or full
    ├── OutcomeUnknown            504 outcome_unknown        the vendor may have done (and billed) the work
    └── StillRunning              504 still_running          the work goes on: its generation is looked at later

`status`, `code`, `retryable` and `remedy` stand on the class; the docstring's first line is the default message. Members for machines
(`param`, `limit`, `resets_at`, `hold_id`, ...) are keyword arguments. Rendered in one place, `rollout.web.problems`, in three envelopes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar


class RolloutError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False
    remedy: ClassVar[str] = "Tell the operator and quote the request id."
    should_retry: bool | None = None
    """What `x-should-retry` tells the vendors' SDKs; None sends none. An instance may say otherwise."""

    def __init__(
        self,
        message: str | None = None,
        *,
        remedy: str | None = None,
        retry_after: int | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        """Args: `retry_after` in whole seconds; `headers` of the answer; `members` that are None are dropped."""
        self.message = message or self.default_message()
        self.remedy_text = remedy or self.remedy
        self.retry_after = retry_after
        self.http_status = status or self.status
        self.headers = dict(headers or {})
        self.members = {name: value for name, value in members.items() if value is not None}
        super().__init__(self.message)

    @classmethod
    def default_message(cls) -> str:
        return (cls.__doc__ or "").strip().splitlines()[0]


class InvalidRequest(RolloutError):
    """The request is not valid."""

    status, code = 400, "invalid_request"
    remedy = "Correct the field that `param` names and send the request again."


class ContentRefused(RolloutError):
    """The content was refused by a safety check."""

    status, code = 400, "content_refused"
    remedy = "Change the prompt or the picture; `category` says what was found."


class ModelRetired(RolloutError):
    """This model has been retired."""

    status, code = 400, "model_retired"
    remedy = "Name the model in `successor`, or choose one from GET /v1/models."


class InvalidApiKey(RolloutError):
    """The API key is missing, malformed, unknown, expired or revoked."""

    status, code = 401, "invalid_api_key"
    remedy = "Send `Authorization: Bearer rk_live_...` (or `x-api-key`) with a key of your tenant."


class PermissionDenied(RolloutError):
    """This key or role may not do that."""

    status, code = 403, "permission_denied"
    remedy = "Use a key with the scope, or a token with the role, that the message names."


class FeatureNotEnabled(RolloutError):
    """This feature is not enabled for your organisation."""

    status, code = 403, "feature_not_enabled"
    remedy = "Ask for access: POST /api/v1/access-requests."


class FeatureKilled(RolloutError):
    """This feature is switched off for everyone at the moment."""

    status, code = 403, "feature_killed"
    remedy = "Nothing is wrong with your request; wait for the operator to revive the feature."


class NotFound(RolloutError):
    """There is no such thing here."""

    status, code = 404, "not_found"
    remedy = "Check the path and the id; ids of other tenants are not visible."


class ModelNotFound(NotFound):
    """There is no such model for this tenant."""

    code = "model_not_found"
    remedy = "Choose a model from GET /v1/models."


class MethodNotAllowed(RolloutError):
    """This path does not take that method."""

    status, code = 405, "method_not_allowed"
    remedy = "Use one of the methods in the Allow header."


class Conflict(RolloutError):
    """The thing is not in a state that allows this."""

    status, code = 409, "conflict"
    remedy = "Read the thing again and decide anew."


class StaleVersion(Conflict):
    """Somebody changed this since you read it; nothing was written."""

    code = "stale_version"
    remedy = "Read it again and send If-Match with the new ETag; `current` shows the value as it is now."


class RequestInProgress(Conflict):
    """A request with this Idempotency-Key is still running."""

    code = "request_in_progress"
    retryable = True
    remedy = "Send the same request again after Retry-After to fetch its result."


class ResultPurged(RolloutError):
    """The result is no longer kept."""

    status, code = 410, "result_purged"
    remedy = "Make a new request with a new Idempotency-Key."


class PayloadTooLarge(RolloutError):
    """The request body is too large."""

    status, code = 413, "payload_too_large"
    remedy = "Send fewer or smaller pictures."


class UnsupportedMediaType(RolloutError):
    """This content type is not understood here."""

    status, code = 415, "unsupported_media_type"
    remedy = "Send the content type that the message names."


class IdempotencyKeyReused(RolloutError):
    """This Idempotency-Key was used with another request."""

    status, code = 422, "idempotency_key_reused"
    remedy = "Use a new Idempotency-Key for each new request."


class PriceUnknown(RolloutError):
    """There is no price for this combination, so it cannot be metered."""

    status, code = 422, "price_unknown"
    remedy = "Choose another model, size or quality, or ask the operator to add the price."


class PreconditionRequired(RolloutError):
    """This change needs an If-Match header."""

    status, code = 428, "precondition_required"
    remedy = "GET the resource and send its ETag as If-Match."


class QuotaExceeded(RolloutError):
    """A limit is reached."""

    status = 429
    limits: tuple[Any, ...] = ()
    """The caller's limits (`core.meters.Limit`) as they stood at `at`, UTC epoch seconds: what rate headers tell."""
    at: int = 0
    full: tuple[tuple[Any, int], ...] = ()
    """Those of them that refused, each with the amount that did not fit."""


class InsufficientQuota(QuotaExceeded):
    """The quota is used up."""

    code = "insufficient_quota"
    remedy = "Wait for the reset in `resets_at`, or ask the operator for a larger quota."
    should_retry = False


class RateLimitExceeded(QuotaExceeded):
    """Too many requests at once."""

    code = "rate_limit_exceeded"
    retryable = True
    remedy = "Slow down; Retry-After says when the next request fits."


class InternalError(RolloutError):
    """Something went wrong on our side."""


class UpstreamUnavailable(RolloutError):
    """The vendor cannot take the call right now; nothing was billed."""

    status, code = 503, "upstream_unavailable"
    retryable = True
    remedy = "Call again after Retry-After."


class UpstreamFailed(UpstreamUnavailable):
    """The vendor failed while it had the call."""

    status = 502
    retryable = False
    remedy = "Do not repeat a generation blindly: GET /api/v1/usage shows whether it was charged."


class AtCapacity(RolloutError):
    """All places for this kind of work are taken."""

    status, code = 503, "at_capacity"
    retryable = True
    remedy = "Call again after Retry-After."


class LedgerUnavailable(RolloutError):
    """The books cannot be written right now, so nothing was started."""

    status, code = 503, "ledger_unavailable"
    retryable = True
    remedy = "Call again after Retry-After; operators: see `rollout check`."


class OutcomeUnknown(RolloutError):
    """The vendor did not answer; the work may have been done and may be charged."""

    status, code = 504, "outcome_unknown"
    remedy = "Do not repeat it blindly: send the same Idempotency-Key, or look at the hold in `hold_id` with the operator."
    should_retry = False


class StillRunning(RolloutError):
    """This takes longer than a call may wait; the work goes on."""

    status, code = 504, "still_running"
    remedy = (
        "GET /api/v1/generations/{id} with the id in `generation`, or send the same Idempotency-Key again."
    )
    should_retry = False


def all_errors(base: type[RolloutError] = RolloutError) -> Iterator[type[RolloutError]]:
    """Every class of the tree that has a code of its own or an own status, parents first."""
    for child in base.__subclasses__():
        yield child
        yield from all_errors(child)


def by_code(code: str) -> type[RolloutError]:
    """The class that stands for `code`; raises KeyError for a code that is not in the tree."""
    for error in all_errors():
        if error.code == code and error is not QuotaExceeded:
            return error
    raise KeyError(code)
