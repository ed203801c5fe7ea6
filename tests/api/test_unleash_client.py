"""/api/client and /edge: what SDKs fetch and tell, byte by byte; whom each door lets in; what hostile callers come to."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from rollout.app import create_app
from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION
from rollout.core.flag_tokens import Kind, NewFlagToken
from rollout.db.engine import Tx
from rollout.db.tables import flag, segment
from rollout.errors import LedgerUnavailable
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

SEED = Actor("system:seed")
HOSTILE = "../../admin"
ANN = {"contextName": "userId", "operator": "IN", "values": ["ann"], "unheard": [1]}


@pytest.fixture
def services(new_database: Callable[..., str], tmp_path: Path) -> Iterator[Services]:
    """Beside the plan: `cart` in project shop, with a segment, and a flag with a hostile name; in development `draft`."""
    yield from wire(new_database("sqlite"), tmp_path)


@pytest.fixture(scope="module")
def lasting(new_database: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The same for tests that change nothing."""
    yield from wire(new_database("sqlite"), tmp_path_factory.mktemp("home"))


def wire(database_url: str, home: Path) -> Iterator[Services]:
    built = build(Settings(home=str(home), database_url=database_url, secret_key="s" * 40))
    with built.changes.begin(SEED, "seed") as change:
        built.plans.ensure_plan(change)
        add_segment(change.tx, {"id": 7, "name": "people", "constraints": [ANN]})
        add_flag(change.tx, "production", "cart", project="shop", segments=[7])
        add_flag(change.tx, "production", HOSTILE)
        add_flag(change.tx, "development", "draft")
    built.state.refresh()
    yield built
    built.close()


def add_flag(tx: Tx, environment: str, name: str, *, project: str = "default", **strategy: Any) -> None:
    document = {
        "name": name,
        "type": "release",
        "enabled": True,
        "project": project,
        "strategies": [{"name": "default", "parameters": {}, "constraints": [], **strategy}],
        "unheard": {"of": "it"},
    }
    row = {"environment": environment, "name": name, "project": project, "document": document}
    tx.execute(flag.insert().values(**row, version=1, created_at=1, updated_at=1))


def add_segment(tx: Tx, document: dict[str, Any]) -> None:
    row = {"id": document["id"], "name": document["name"], "document": document}
    tx.execute(segment.insert().values(**row, version=1, created_at=1, updated_at=1))


class Sdk:
    """Calls with a token as SDKs do."""

    def __init__(self, services: Services, kind: Kind = "client", **wishes: Any) -> None:
        self.services = services
        self.token = str(services.flag_tokens.add(SEED, NewFlagToken("sdk", kind, **wishes), "test").secret)
        services.state.refresh()
        self.client: FlaskClient = create_app(services).test_client()

    def call(self, method: str, path: str, body: Any = None, **headers: str | None) -> TestResponse:
        """Header names with `_` for `-`; None leaves one out."""
        sent = {"Authorization": self.token, "Unleash-Client-Spec": "5.2.0"}
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**sent, **changed}.items() if value is not None}
        return self.client.open(path, method=method, json=body, headers=sent)

    def get(self, path: str, **headers: str | None) -> TestResponse:
        return self.call("GET", f"/api/client{path}", **headers)

    def post(self, path: str, body: Any) -> TestResponse:
        return self.call("POST", f"/api/client{path}", body)

    def names(self, path: str = "/features") -> list[str]:
        return [feature["name"] for feature in self.get(path).get_json()["features"]]


@pytest.fixture
def sdk(services: Services) -> Sdk:
    return Sdk(services)


@pytest.fixture(scope="module")
def visitor(lasting: Services) -> Sdk:
    """For tests that change nothing."""
    return Sdk(lasting)


@pytest.fixture(scope="module")
def frontend(lasting: Services) -> Sdk:
    return Sdk(lasting, "frontend")


def test_the_flags_of_the_tokens_environment_are_served_as_they_are(sdk: Sdk) -> None:
    answer = sdk.get("/features")
    served = answer.get_json()
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["ETag"] == served["meta"]["etag"]
    assert served["meta"]["etag"] == f'"{served["meta"]["queryHash"]}:{served["meta"]["revisionId"]}:v1"'
    assert [feature["name"] for feature in served["features"]] == [GENERATION, HOSTILE, "cart"]
    assert served["features"][2]["unheard"] == {"of": "it"}
    assert served["features"][2]["strategies"][0]["segments"] == [7]
    assert served["segments"] == [{"id": 7, "name": "people", "constraints": [ANN]}]


def test_an_environment_without_flags_is_an_empty_list(services: Services) -> None:
    assert Sdk(services, environment="development").names() == ["draft"]
    assert Sdk(services, environment="nowhere").names() == []


def test_who_has_the_flags_of_this_revision_gets_no_body(sdk: Sdk) -> None:
    tag = sdk.get("/features").headers["ETag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}'):
        answer = sdk.get("/features", If_None_Match=sent)
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", tag)
        assert answer.headers["Vary"] == "Accept-Encoding"
    sdk.services.tenants.add(SEED, tenant(), "a revision")
    sdk.services.state.refresh()
    answer = sdk.get("/features", If_None_Match=tag)
    assert (answer.status_code, answer.headers["ETag"] != tag) == (200, True)


def tenant() -> Any:
    from rollout.core.tenants import Tenant

    return Tenant("acme", "Acme")


def test_who_takes_gzip_gets_the_same_bytes_packed(sdk: Sdk) -> None:
    plain, packed = sdk.get("/features"), sdk.get("/features", Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert int(packed.headers["Content-Length"]) == len(packed.data) < len(plain.data)


@pytest.mark.parametrize("spec", [None, "3.0.0", "4.1.9"])
def test_an_older_sdk_gets_constraints_in_place_of_segments(visitor: Sdk, spec: str | None) -> None:
    new = visitor.get("/features").get_json()
    old = visitor.get("/features", Unleash_Client_Spec=spec).get_json()
    assert "segments" not in old
    assert old["features"][2]["strategies"][0]["constraints"] == [ANN]
    assert old["query"]["inlineSegmentConstraints"] is True
    assert old["meta"]["queryHash"] != new["meta"]["queryHash"]


@pytest.mark.parametrize("path", ["/features", "/features/cart", "/delta", "/streaming"])
@pytest.mark.parametrize("spec", ["five", "5", "5.2.0\x7f", "9" * 100])
def test_a_malformed_version_is_refused_by_name(visitor: Sdk, path: str, spec: str) -> None:
    answer = visitor.get(path, Unleash_Client_Spec=spec)
    assert answer.status_code == (200 if path == "/features/cart" else 400)
    if answer.status_code == 400:
        assert answer.get_json()["param"] == "Unleash-Client-Spec"


def test_a_query_narrows_and_a_token_narrows_more(services: Services) -> None:
    all_projects, shop = Sdk(services), Sdk(services, projects=("shop", "none"))
    assert all_projects.names("/features?project=shop") == ["cart"]
    assert all_projects.names("/features?project=shop&project=default&namePrefix=c") == ["cart"]
    assert shop.names() == ["cart"]
    assert shop.names("/features?project=default") == []
    assert shop.get("/features").get_json()["query"]["project"] == ["shop", "none"]
    assert shop.get("/features/cart").status_code == 200
    assert shop.get(f"/features/{GENERATION}").status_code == 404


@pytest.mark.parametrize(
    ("query", "param"),
    [("tag=simple", "tag"), ("namePrefix=" + "x" * 101, "namePrefix"), ("project=a&" * 101, "project")],
)
def test_a_query_without_bounds_is_refused_by_name(visitor: Sdk, query: str, param: str) -> None:
    answer = visitor.get(f"/features?{query}")
    assert (answer.status_code, answer.get_json()["param"]) == (400, param)


def test_one_flag_comes_with_its_segments_in_place_and_an_unknown_one_is_404(sdk: Sdk) -> None:
    found = sdk.get("/features/cart").get_json()
    assert found["strategies"][0]["constraints"] == [ANN]
    missing = sdk.get("/features/nobody")
    assert (missing.status_code, missing.content_type) == (404, "application/json")
    assert "nobody" in missing.get_json()["message"]
    assert sdk.get("/features/" + "x" * 5000).status_code == 404


def test_a_delta_is_one_hydration_and_nothing_where_nothing_is_new(sdk: Sdk) -> None:
    answer = sdk.get("/delta")
    (event,) = answer.get_json()["events"]
    assert (event["type"], answer.headers["ETag"]) == ("hydration", f'"{event["eventId"]}"')
    assert [feature["name"] for feature in event["features"]] == [GENERATION, HOSTILE, "cart"]
    assert event["segments"][0]["id"] == 7
    assert sdk.get("/delta", If_None_Match=answer.headers["ETag"]).status_code == 304
    for spec in (None, "5.1.9"):
        refused = sdk.get("/delta", Unleash_Client_Spec=spec)
        assert (refused.status_code, refused.get_json()["param"]) == (400, "Unleash-Client-Spec")


@contextmanager
def away() -> Iterator[Tx]:
    raise LedgerUnavailable(retry_after=2)
    yield


def test_a_known_sdk_is_served_without_the_database(sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    tag = sdk.get("/features").headers["ETag"]
    monkeypatch.setattr(sdk.services.database, "read", away)
    monkeypatch.setattr(sdk.services.database, "write", away)
    assert sdk.get("/features").status_code == 200
    assert sdk.get("/features", If_None_Match=tag).status_code == 304
    assert sdk.post("/register", {"appName": "web"}).status_code == 202
    assert sdk.post("/metrics", {"appName": "web", "bucket": bucket(cart={"yes": 1})}).status_code == 202
    sdk.token = "*:production." + "0" * 64
    stranger = sdk.get("/features")
    assert (stranger.status_code, stranger.headers["Retry-After"]) == (503, "2")


def test_before_there_are_flags_nobody_is_told_that_there_are_none(
    sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = build(sdk.services.settings)
    answer = create_app(fresh).test_client().get("/api/client/features", headers={"Authorization": sdk.token})
    fresh.close()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "message" in answer.get_json()


ROUTES = [
    ("GET", "/api/client/features"),
    ("GET", "/api/client/features/cart"),
    ("GET", "/api/client/delta"),
    ("GET", "/api/client/streaming"),
    ("POST", "/api/client/register"),
    ("POST", "/api/client/metrics"),
    ("POST", "/api/client/metrics/bulk"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_each_door_lets_in_client_tokens_alone(frontend: Sdk, method: str, path: str) -> None:
    refused = frontend.call(method, path, {} if method == "POST" else None)
    assert refused.status_code == 403
    assert "frontend token" in refused.get_json()["message"]
    for wrong in ("", "x", "*:production." + "0" * 64, "Bearer ", "rk_live_" + "a" * 49, "ra_" + "a" * 43):
        answer = frontend.call(method, path, {} if method == "POST" else None, Authorization=wrong)
        assert (answer.status_code, answer.content_type) == (401, "application/json"), wrong
        assert answer.get_json()["message"]


def test_a_token_may_come_as_bearer_and_headers_in_any_case(sdk: Sdk) -> None:
    sdk.token = f"bearer {sdk.token}"
    headers = {"UNLEASH_APPNAME": "undefined", "unleash_InstanceId": "undefined", "unleash-sdk": "undefined"}
    assert sdk.get("/features", **headers).status_code == 200


def bucket(**toggles: Any) -> dict[str, Any]:
    return {"start": "2026-11-22T12:00:00.123456789Z", "stop": 1_795_348_860_000, "toggles": toggles}


def counted(
    sdk: Sdk, name: str, environment: str = "production"
) -> list[tuple[str, int, int, dict[str, int]]]:
    rows = sdk.services.flag_metrics.page(environment, name, hours=48, limit=99)
    return [(row.app_name, row.yes, row.no, dict(row.variants)) for row in rows]


def test_what_an_sdk_tells_is_taken_with_202_and_no_body(sdk: Sdk) -> None:
    registered = sdk.post(
        "/register",
        {"appName": "web", "instanceId": "i1", "sdkVersion": "unleash-x:1", "strategies": ["default"],
         "started": "2026-11-22T12:00:00Z", "interval": 15000, "platformName": "node", "yggdrasilVersion": None},
    )  # fmt: skip
    assert (registered.status_code, registered.data) == (202, b"")
    assert registered.headers["X-Unleash-Version"]
    told = sdk.post(
        "/metrics",
        {"appName": "web", "instanceId": "i1", "impactMetrics": [{"samples": [{"value": 0}]}],
         "bucket": bucket(cart={"yes": 2, "no": 1, "variants": {"blue": 2, "red": 0}}, zero={"yes": 0, "no": 0})},
    )  # fmt: skip
    assert (told.status_code, told.data) == (202, b"")
    assert sdk.post("/metrics", {"appName": "web", "bucket": None}).status_code == 202
    assert counted(sdk, "cart") == [("web", 2, 1, {"blue": 2})]
    assert counted(sdk, "zero") == []
    found = {one.instance_id: one for one in sdk.services.flag_metrics.clients(limit=9)}
    assert (found["i1"].sdk, found["i1"].interval, found["i1"].strategies) == (
        "unleash-x:1",
        15_000,
        ("default",),
    )


def test_a_proxys_bulk_counts_for_the_tokens_environment_whatever_it_says(services: Services) -> None:
    sdk = Sdk(services, environment="development")
    row = {
        "featureName": "draft",
        "appName": "web",
        "environment": "production",
        "timestamp": 1_795_348_860_000,
    }
    answer = sdk.post(
        "/metrics/bulk",
        {"applications": [{"appName": "web", "instanceId": "i", "environment": "production"}],
         "metrics": [{**row, "yes": 1, "no": 2, "variants": {}}, {**row, "appName": "app", "yes": 3}]},
    )  # fmt: skip
    assert (answer.status_code, answer.data) == (202, b"")
    assert counted(sdk, "draft") == []
    assert counted(sdk, "draft", "development") == [("app", 3, 0, {}), ("web", 1, 2, {})]
    (client,) = sdk.services.flag_metrics.clients(limit=9)
    assert client.environment == "development"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/register", {}, "appName"),
        ("/register", {"appName": ""}, "appName"),
        ("/register", {"appName": "a" * 201}, "appName"),
        ("/register", {"appName": 7}, "appName"),
        ("/register", {"appName": "web", "instanceId": "i" * 201}, "instanceId"),
        ("/register", {"appName": "web", "strategies": ["s"] * 201}, "strategies"),
        ("/register", {"appName": "web", "interval": -1}, "interval"),
        ("/register", {"appName": "we\x00b"}, "body"),
        ("/register", [], "body"),
        ("/metrics", {"appName": "web"}, "bucket"),
        ("/metrics", {"appName": "web", "bucket": {"toggles": {}}}, "bucket.start"),
        ("/metrics", {"appName": "web", "bucket": {**bucket(), "start": "soon"}}, "bucket.start"),
        ("/metrics", {"appName": "web", "bucket": {**bucket(), "stop": 1e300}}, "bucket.stop"),
        ("/metrics", {"appName": "web", "bucket": bucket(cart={"yes": -1})}, "bucket.toggles.cart.yes"),
        ("/metrics", {"appName": "web", "bucket": bucket(cart={"yes": 10**12})}, "bucket.toggles.cart.yes"),
        ("/metrics", {"appName": "web", "bucket": bucket(cart={"yes": "many"})}, "bucket.toggles.cart.yes"),
        ("/metrics", {"appName": "web", "bucket": bucket(cart={"variants": {"v": 1.5}})}, "bucket.toggles.cart.variants.v"),
        ("/metrics/bulk", {"metrics": [{"featureName": "cart"}]}, "metrics.0.appName"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name_and_counts_nothing(
    visitor: Sdk, path: str, body: Any, param: str
) -> None:
    answer = visitor.post(path, body)
    assert (answer.status_code, answer.get_json()["param"]) == (400, param)
    assert visitor.services.flag_metrics.flush() == 0


def test_a_body_of_the_wrong_kind_or_size_is_refused(sdk: Sdk) -> None:
    huge = {"appName": "web", "bucket": bucket(**{f"flag-{n}": {"yes": 1} for n in range(60_000)})}
    assert len(orjson.dumps(huge)) > 1 << 20
    assert sdk.post("/metrics", huge).status_code == 413
    sent = {"Authorization": sdk.token, "Content-Type": "text/plain"}
    assert sdk.client.post("/api/client/register", data=b"{}", headers=sent).status_code == 415
    sent["Content-Type"] = "application/json"
    for body in (b"{", b'{"appName": "\\ud800"}', b"\xff", b"[" * 100_000):
        assert sdk.client.post("/api/client/register", data=body, headers=sent).status_code == 400


def test_ten_thousand_made_up_names_leave_a_few_rows(sdk: Sdk) -> None:
    names = {f"{HOSTILE}/{n}": {"yes": 1} for n in range(10_000)}
    assert (
        sdk.post("/metrics", {"appName": "web", "bucket": bucket(**names, cart={"yes": 1})}).status_code
        == 202
    )
    assert sdk.services.flag_metrics.flush() == 101
    assert counted(sdk, "cart") == [("web", 1, 0, {})]


def test_edge_learns_which_tokens_are_good(services: Services) -> None:
    client, frontend = (
        Sdk(services, projects=("a", "b")),
        Sdk(services, "frontend", environment="development"),
    )
    asked = {"tokens": [client.token, "x", frontend.token, "*:production." + "0" * 64]}
    answer = client.client.post("/edge/validate", json=asked)
    assert answer.status_code == 200
    assert answer.get_json() == {
        "tokens": [
            {"token": client.token, "type": "client", "projects": ["a", "b"], "environment": "production"},
            {"token": frontend.token, "type": "frontend", "projects": ["*"], "environment": "development"},
        ]
    }
    for wrong in ({}, {"tokens": "x"}, {"tokens": ["x"] * 101}, {"tokens": ["x" * 301]}, {"tokens": [1]}):
        assert client.client.post("/edge/validate", json=wrong).status_code == 400
