"""Named tasks at the native door: what goes to Claude, what comes back, what is kept, what it costs, and all that can go wrong."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import doors
import orjson
import pytest
import sqlalchemy as sa
from clocks import Clock
from gateway import MESSAGE_MODEL, RETENTION_DAYS, Gateway, away, on_sqlite
from PIL import Image
from tasking import TaskDoor, Tasking, ask, encoded, label_png, replied

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.tasks import TASKS
from rollout.db.engine import Database
from rollout.db.tables import analysis, analysis_result, guardrail_event
from rollout.providers.base import Fault, NotSent, Throttled
from rollout.services.product_tables import MAX_TABLES
from rollout.services.tasks import load

SEEN = {"summary": "A label.", "details": [], "objects": ["label"], "has_text": True}
COST = 4_000
"""1,000 tokens in and 200 out at the prices of claude-sonnet-5-5, in micro-dollars."""

ROWS = [{"id": "A", "brand": "Northlight", "name": "Oat drink", "price": 1.99}, {"id": "B", "name": "Milk"}]
MATCH = {"product_id": "A", "score": 0.9, "agrees": ["brand: Northlight"], "differs": []}
READ = {
    "labels": ["NORTHLIGHT", "Oat drink 1 l"],
    "features": [{"name": "article number", "value": "4006381333931"}],
}


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Tasking:
    return Tasking(database, clock, tmp_path)


def shelf(door: TaskDoor, rows: int = 3, **headers: str) -> Any:
    lines = [f"SKU-{number},Brand{number},Drink,{4006381333000 + number}" for number in range(rows)]
    body = "\n".join(["id,brand,name,ean", *lines, "SKU-T,Northlight,Oat drink 1 l,4006381333931"])
    return door.send("PUT", "/api/v1/product-tables/shelf", body.encode(), content_type="text/csv", **headers)


def compared(best: str | None, *found: str) -> dict[str, Any]:
    return {
        "labels": [],
        "features": [],
        "matches": [{**MATCH, "product_id": one} for one in found],
        "best": best,
    }


def test_an_answer_has_the_shape_of_its_task_and_is_charged_by_its_usage(gateway: Tasking) -> None:
    gateway.vendor.answers = [replied(SEEN)]

    answer = ask(gateway.door(), "describe")

    assert answer.status_code == 200, answer.data
    assert answer.json == {
        "id": answer.json["id"],
        "task": "describe",
        "version": load("describe").version,
        "model": MESSAGE_MODEL,
        "result": SEEN,
        "usage": {"input_tokens": 1_000, "output_tokens": 200},
        "cost_usd_micro": COST,
    }
    assert answer.headers["x-rollout-model"] == MESSAGE_MODEL
    hold = gateway.the_hold()
    assert (hold.state, hold.feature, hold.cost_usd_micro) == ("settled", ANALYSIS, COST)
    with gateway.database.read() as tx:
        row = tx.execute(sa.select(analysis)).mappings().one()
    assert (row["id"], row["hold_id"]) == (answer.json["id"], hold.id)


@on_sqlite
def test_what_is_sent_is_one_messages_request_field_by_field(gateway: Tasking) -> None:
    gateway.vendor.answers = [replied(SEEN)]
    pictures = [{"data": encoded(label_png())}, {"url": "https://pictures.test/a.png"}]

    ask(
        gateway.door(),
        images=pictures,
        question="Is it food?",
        options={"language": "id", "model": "claude-haiku-5-5"},
        X_Rollout_End_User="rosa",
    )

    (call,) = gateway.vendor.calls
    (body,) = gateway.sent()
    assert call.headers == {"anthropic-version": "2026-10-21"}
    assert not call.stream
    assert set(body) == {"model", "max_tokens", "system", "messages", "output_config", "metadata"}
    assert (body["model"], body["max_tokens"]) == ("claude-haiku-5-5", 4_096)
    assert body["system"].startswith(load("describe").prompt)
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": load("describe").schema}}
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", **pictures[0]}},
                {"type": "image", "source": {"type": "url", "url": "https://pictures.test/a.png"}},
                {"type": "text", "text": "Is it food?"},
            ],
        }
    ]
    assert "rosa" not in body["metadata"]["user_id"]


def test_the_answer_is_kept_for_its_owner_until_its_time_is_over(gateway: Tasking) -> None:
    door, other = gateway.door(), gateway.door("globex")
    ids = []
    for task in ("describe", "describe", "extract_text"):
        gateway.vendor.answers = [replied(SEEN if task == "describe" else {"full_text": "", "blocks": []})]
        ids.append(ask(door, task).json["id"])
        gateway.wait(1)

    kept = door.get(f"/api/v1/analyses/{ids[0]}").json
    page = door.get("/api/v1/analyses?limit=2").json
    rest = door.get(f"/api/v1/analyses?limit=2&cursor={page['next_cursor']}").json
    of_task = door.get("/api/v1/analyses?task=extract_text").json

    assert (kept["result"], kept["created_at"]) == (SEEN, "2026-11-22T12:00:00Z")
    assert [one["id"] for one in (*page["data"], *rest["data"])] == ids[::-1]
    assert rest["next_cursor"] is None
    assert [one["id"] for one in of_task["data"]] == ids[2:]
    assert other.get(f"/api/v1/analyses/{ids[0]}").status_code == 404
    assert other.get("/api/v1/analyses").json["data"] == []

    gateway.wait(RETENTION_DAYS * 86_400)
    gone = door.get(f"/api/v1/analyses/{ids[0]}")
    assert (gone.status_code, gone.json["code"]) == (410, "result_purged")
    gateway.services.analysis_results.purge()
    with gateway.database.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(analysis_result)).scalar() == 0
    assert door.get(f"/api/v1/analyses/{ids[0]}").status_code == 410
    assert door.get("/api/v1/analyses/anl_none").status_code == 404


def test_a_key_fetches_the_same_answer_again_and_nothing_is_asked_twice(gateway: Tasking) -> None:
    gateway.vendor.answers = [replied(SEEN)]
    door = gateway.door()

    first, again = (ask(door, Idempotency_Key="order-1") for _ in range(2))
    other = ask(door, Idempotency_Key="order-1", question="And now?")

    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(gateway.vendor.calls) == len(gateway.holds()) == 1
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


@on_sqlite
def test_generations_quota_does_not_concern_it_its_own_does(gateway: Tasking) -> None:
    gateway.limit("usd_micro", "life", 0)
    gateway.services.features.kill(doors.ALICE, GENERATION, "incident")
    gateway.limit("request", "minute", 2, ANALYSIS)
    gateway.vendor.answers = [replied(SEEN), replied(SEEN)]
    door = gateway.door()

    answers = [ask(door) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["RateLimit"]
    assert answers[2].json["code"] == "rate_limit_exceeded"


@on_sqlite
def test_while_the_books_are_away_it_goes_on_and_keeps_nothing(
    gateway: Tasking, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.vendor.answers = [replied(SEEN)]
    door = gateway.door()
    assert door.get("/api/v1/analyses").status_code == 200
    monkeypatch.setattr(gateway.database, "write", away)

    assert ask(door).json["result"] == SEEN


@on_sqlite
@pytest.mark.parametrize("task", TASKS)
def test_every_task_runs_on_the_sandbox_and_fits_its_schema(gateway: Tasking, task: str) -> None:
    more: dict[str, Any] = {"match_product": {"products": ROWS}, "answer_chart": {"question": "Which?"}}.get(
        task, {}
    )
    picture = label_png("Brand: Northlight", "Oat drink", "Net weight: 400 g")

    answer = ask(gateway.door(mode="test"), task, images=[{"data": encoded(picture)}] * 2, **more)

    assert answer.status_code == 200, answer.data
    assert answer.headers["x-rollout-model"] == f"sandbox/{MESSAGE_MODEL}"
    assert answer.headers["x-rollout-mode"] == "test"
    assert set(answer.json["result"]) == set(load(task).schema["properties"])
    assert gateway.vendor.calls == []


@on_sqlite
def test_the_sandbox_tells_what_stands_on_a_label(gateway: Tasking) -> None:
    door, image = gateway.door(mode="test"), {"data": encoded(label_png("Net weight: 400 g", "Fragile"))}

    text = ask(door, "extract_text", images=[image]).json["result"]
    labels = ask(door, "extract_labels", images=[image]).json["result"]["labels"]
    (found,) = ask(door, "detect_objects", images=[image]).json["result"]["objects"]

    assert text["full_text"] == "Net weight: 400 g\nFragile"
    assert [block["text"] for block in text["blocks"]] == ["Net weight: 400 g", "Fragile"]
    assert [(one["name"], one["value"], one["unit"]) for one in labels] == [
        ("Net weight", "400", "g"),
        ("text", "Fragile", None),
    ]
    assert (found["picture"], found["box"]) == (1, [0, 0, 320, 200])


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_a_picture_of_ones_own_goes_by_its_id_or_its_generations(gateway: Tasking) -> None:
    door, other = gateway.door(), gateway.door("globex")
    assert door.generate().status_code == 200
    with gateway.database.read() as tx:
        row = tx.execute(sa.text("select id, generation_id from image")).one()
    gateway.vendor.answers = [replied(SEEN), replied(SEEN)]
    gateway.vendor.calls.clear()

    for name in row:
        assert ask(door, images=[{"generation": name}]).status_code == 200
        theirs = ask(other, images=[{"generation": name}])
        assert (theirs.status_code, theirs.json["param"]) == (404, "images.0.generation")
    sources = [body["messages"][0]["content"][0]["source"] for body in gateway.sent()]
    assert sources[0] == sources[1]
    assert sources[0]["media_type"] == "image/png"

    gateway.wait(RETENTION_DAYS * 86_400)
    expired = [ask(door, images=[{"generation": name}]) for name in row]
    gateway.services.images.purge()
    purged = ask(door, images=[{"generation": row[1]}])
    assert {(one.status_code, one.json["code"]) for one in (*expired, purged)} == {(410, "result_purged")}
    assert ask(door, images=[{"generation": "gen_none"}]).status_code == 404


@on_sqlite
def test_a_large_picture_is_made_smaller_for_boxes_and_they_are_scaled_back(gateway: Tasking) -> None:
    out = io.BytesIO()
    Image.new("RGB", (3_136, 1_568), "teal").save(out, "JPEG")
    found = {"label": "wall", "picture": 1, "count": 1, "attributes": [], "certainty": "high"}
    gateway.vendor.answers = [
        replied({"objects": [{**found, "box": {"x0": 0, "y0": 75, "x1": 1_000, "y1": 300}}]})
    ]

    answer = ask(gateway.door(), "detect_objects", images=[{"data": encoded(out.getvalue())}])

    (image,) = gateway.sent()[0]["messages"][0]["content"]
    sent = Image.open(io.BytesIO(base64.b64decode(image["source"]["data"])))
    assert image["transformations"] == {"oversized_image": "error"}
    assert sent.size[0] * sent.size[1] <= 1_150_000
    scale = 3_136 / sent.size[0]
    assert answer.json["result"]["objects"][0]["box"] == pytest.approx(
        [0, 75 * scale, 1_000 * scale, 300 * scale], abs=2
    )


@on_sqlite
@pytest.mark.parametrize(
    ("members", "status", "param"),
    [
        ({"task": "guess"}, 400, "task"),
        ({"images": None}, 400, "images"),
        ({"images": []}, 400, "images"),
        ({"images": [{"url": "https://a.test/b"}] * 21}, 400, "images"),
        ({"images": [{}]}, 400, "images.0"),
        ({"images": [{"path": "x"}]}, 400, "images.0.path"),
        ({"images": [{"data": "!"}]}, 400, "images.0.data"),
        (
            {"images": [{"data": encoded(label_png()), "media_type": "image/webp"}]},
            400,
            "images.0.media_type",
        ),
        ({"images": [{"url": "ftp://a.test/b"}]}, 400, "images.0.url"),
        ({"images": [{"generation": "img_none"}]}, 404, "images.0.generation"),
        ({"task": "answer_chart"}, 400, "question"),
        ({"task": "match_product"}, 400, "products"),
        ({"task": "match_product", "products": []}, 400, "products"),
        ({"task": "match_product", "products": [{"name": "x"}]}, 400, "products.0.id"),
        ({"task": "match_product", "product_table": "none"}, 404, "product_table"),
        ({"options": {"language": "not a tag"}}, 400, "options.language"),
        ({"options": {"model": "claude-0"}}, 404, "options.model"),
        ({"options": {"model": "gpt-image-2"}}, 404, "options.model"),
        ({"options": {"model": "llama-3.2-90b-vision"}}, 404, "options.model"),
        ({"options": {"thinking": {"type": "maybe"}}}, 400, "options.thinking.type"),
        ({"options": {"thinking": {"type": "enabled"}}}, 400, "options.thinking.budget_tokens"),
        (
            {"options": {"thinking": {"type": "enabled", "budget_tokens": 1_000}}},
            400,
            "options.thinking.budget_tokens",
        ),
        (
            {"options": {"thinking": {"type": "enabled", "budget_tokens": 128_000}}},
            400,
            "options.thinking.budget_tokens",
        ),
        (
            {"options": {"thinking": {"type": "enabled", "budget_tokens": 125_000}}},
            400,
            "options.thinking.budget_tokens",
        ),
        (
            {"options": {"model": "claude-sonnet-4-5", "thinking": {"type": "adaptive"}}},
            400,
            "options.thinking.type",
        ),
        ({"options": {"temperature": 1}}, 400, "options.temperature"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_asked_or_held(
    gateway: Tasking, members: dict[str, Any], status: int, param: str
) -> None:
    answer = ask(gateway.door(), **{"task": "describe", **members})

    assert (answer.status_code, answer.json["param"]) == (status, param), answer.data
    assert answer.content_type == "application/problem+json"
    assert gateway.vendor.calls == []
    assert all(hold.state == "void" for hold in gateway.holds())


@on_sqlite
def test_a_body_of_60_megabytes_is_too_large(gateway: Tasking) -> None:
    answer = ask(gateway.door(), images=[{"data": "A" * 60_000_000}])

    assert (answer.status_code, answer.json["code"]) == (413, "payload_too_large")


@on_sqlite
def test_a_key_without_the_scope_may_not_ask_or_look(gateway: Tasking) -> None:
    door = gateway.door(scopes=("generate", "read"))

    assert ask(door).status_code == 403
    assert door.get("/api/v1/analyses").status_code == 403
    assert door.get("/api/v1/product-tables").status_code == 403


# -- thinking ----------------------------------------------------------------------------------------------------------


@on_sqlite
def test_a_budget_is_mapped_and_room_is_made_for_it(gateway: Tasking) -> None:
    gateway.vendor.answers = [replied(SEEN)]

    answer = ask(gateway.door(), options={"thinking": {"type": "enabled", "budget_tokens": 9_000}})

    (body,) = gateway.sent()
    assert body["thinking"] == {"type": "adaptive"}
    assert body["output_config"]["effort"] == "high"
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert body["max_tokens"] == load("describe").max_tokens + 9_000
    assert answer.headers["x-rollout-thinking"] == "adaptive; effort=high; cap=9000"


@on_sqlite
def test_a_model_that_takes_budgets_gets_it(gateway: Tasking) -> None:
    gateway.vendor.answers = [replied(SEEN)]
    thinking = {"type": "enabled", "budget_tokens": 2_000}

    answer = ask(gateway.door(), options={"model": "claude-sonnet-4-5", "thinking": thinking})

    (body,) = gateway.sent()
    assert (body["thinking"], body["max_tokens"]) == (thinking, load("describe").max_tokens + 2_000)
    assert answer.headers["x-rollout-thinking"] == "enabled; budget=2000"


@on_sqlite
def test_a_strict_tenant_is_refused_a_budget_here_and_in_messages(gateway: Tasking) -> None:
    gateway.services.tenants.change(doors.ALICE, "acme", {"thinking_budgets": "strict"}, "they ask for it")
    gateway.services.state.refresh()
    door, thinking = gateway.door(), {"type": "enabled", "budget_tokens": 2_000}

    named = ask(door, options={"thinking": thinking})
    passed = door.analyze(thinking=thinking, max_tokens=4_000)

    assert (named.status_code, named.json["param"]) == (400, "options.thinking.budget_tokens")
    assert passed.status_code == 400
    assert passed.json["error"]["details"]["param"] == "thinking.budget_tokens"
    assert gateway.vendor.calls == []


@on_sqlite
def test_in_messages_only_what_a_budget_touches_changes(gateway: Tasking) -> None:
    body = (
        b'{"model":"claude-sonnet-5-5", "max_tokens": 5000,"thinking":{"type":"enabled","budget_tokens":3000},'
        b'"messages":[ {"role":"user", "content":"hi"} ], "stop_sequences" : []}'
    )

    answer = gateway.door().post("/v1/messages", body)

    assert gateway.vendor.calls[0].body == (
        b'{"model":"claude-sonnet-5-5","max_tokens":5000,"thinking":{"type":"adaptive"},'
        b'"messages":[ {"role":"user", "content":"hi"} ],"stop_sequences":[],"output_config":{"effort":"medium"}}'
    )
    assert answer.headers["x-rollout-thinking"] == "adaptive; effort=medium; cap=3000"


# -- answers that cannot be used ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (replied('{"summary": "A la', stop_reason="max_tokens"), "cut"),
        (replied("I see a label."), "not JSON"),
        (replied({"summary": 3}), "schema"),
    ],
)
def test_an_answer_that_cannot_be_used_is_one_clear_error_and_charged(
    gateway: Tasking, body: bytes, says: str
) -> None:
    gateway.vendor.answers = [body]
    door = gateway.door()

    first, again = (ask(door, Idempotency_Key="k") for _ in range(2))

    assert (first.status_code, first.json["code"]) == (502, "upstream_unavailable")
    assert says in first.json["detail"]
    assert first.headers["x-should-retry"] == "false"
    assert (again.status_code, again.json["detail"]) == (502, first.json["detail"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(gateway.vendor.calls) == 1
    assert (gateway.the_hold().state, gateway.the_hold().cost_usd_micro) == ("settled", COST)
    assert door.get("/api/v1/analyses").json["data"] == []


def test_a_refusal_is_charged_and_told_with_its_category(gateway: Tasking) -> None:
    refused = replied("", stop_reason="refusal", stop_details={"type": "refusal", "category": "bio"})
    gateway.vendor.answers = [refused]
    door = gateway.door()

    first, again = (ask(door, Idempotency_Key="k") for _ in range(2))

    for answer in (first, again):
        assert (answer.status_code, answer.json["code"], answer.json["category"]) == (
            400,
            "content_refused",
            "bio",
        )
    assert gateway.the_hold().state == "settled"
    with gateway.database.read() as tx:
        events = tx.execute(sa.select(guardrail_event)).mappings().all()
    assert [(one["category"], one["hold_id"]) for one in events] == [("bio", gateway.the_hold().id)]


@on_sqlite
@pytest.mark.parametrize(
    ("error", "status", "state"),
    [
        (Throttled("busy"), 503, "void"),
        (NotSent("no route"), 503, "void"),
        (Fault("500", status=500), 502, "unknown"),
    ],
)
def test_a_vendors_failure_is_told_as_everywhere(
    gateway: Tasking, error: Exception, status: int, state: str
) -> None:
    gateway.vendor.answers = [error, error]

    assert ask(gateway.door()).status_code == status
    assert gateway.the_hold().state == state


@on_sqlite
def test_an_answer_without_usage_is_charged_as_it_was_reserved(gateway: Tasking) -> None:
    gateway.vendor.answers = [replied(SEEN, usage=None)]

    answer = ask(gateway.door())

    assert answer.json["cost_usd_micro"] == gateway.the_hold().cost_usd_micro > 0
    assert gateway.the_hold().settled_from == "estimate"


@on_sqlite
def test_a_question_may_steer_the_sandbox_and_rehearse_errors(gateway: Tasking) -> None:
    door = gateway.door(mode="test")

    assert ask(door, question="sandbox:error=529 hello").status_code == 503
    assert ask(door, question="sandbox:deny=insufficient_quota hello").json["code"] == "insufficient_quota"


# -- comparing with products -------------------------------------------------------------------------------------------


@on_sqlite
def test_rows_of_the_request_are_compared_in_one_call(gateway: Tasking) -> None:
    gateway.vendor.answers = [replied(compared("A", "A"))]

    answer = ask(gateway.door(), "match_product", products=ROWS)

    assert answer.json["result"]["best"] == "A"
    (body,) = gateway.sent()
    text = body["messages"][0]["content"][-1]["text"]
    assert orjson.loads(text.removeprefix("Products:\n")) == [{**ROWS[0], "price": "1.99"}, ROWS[1]]
    schema = body["output_config"]["format"]["schema"]["properties"]
    assert schema["matches"]["items"]["properties"]["product_id"]["enum"] == ["A", "B"]
    assert schema["best"]["anyOf"] == [{"type": "string", "enum": ["A", "B"]}, {"type": "null"}]


@on_sqlite
@pytest.mark.parametrize("value", [compared("C"), compared(None, "A", "C")])
def test_an_id_outside_of_the_list_never_comes_back(gateway: Tasking, value: dict[str, Any]) -> None:
    gateway.vendor.answers = [replied(value)]

    answer = ask(gateway.door(), "match_product", products=ROWS)

    assert answer.status_code == 502
    assert b'"C"' not in answer.data


@on_sqlite
def test_no_match_is_an_answer(gateway: Tasking) -> None:
    gateway.vendor.answers = [replied(compared(None))]

    answer = ask(gateway.door(), "match_product", products=ROWS)

    assert (answer.status_code, answer.json["result"]["best"], answer.json["result"]["matches"]) == (
        200,
        None,
        [],
    )


def test_a_label_finds_its_row_in_a_table_of_ten_thousand_and_says_why(gateway: Tasking) -> None:
    door = gateway.door(mode="test")
    assert shelf(door, 10_000).json["rows"] == 10_001
    picture = label_png("Brand: Northlight", "Oat drink 1 l", "EAN 4006381333931")

    answer = ask(door, "match_product", images=[{"data": encoded(picture)}], product_table="shelf")

    result = answer.json["result"]
    assert result["best"] == "SKU-T"
    assert result["matches"][0]["agrees"] == [
        "brand: Northlight",
        "name: Oat drink 1 l",
        "ean: 4006381333931",
    ]
    assert all(match["product_id"].startswith("SKU-") for match in result["matches"])


def test_a_stored_table_takes_two_calls_each_held_and_settled_in_one_analysis(gateway: Tasking) -> None:
    door = gateway.door()
    shelf(door)
    gateway.limit("request", "day", 1, ANALYSIS)
    gateway.limit("slot", "concurrent", 1, ANALYSIS)
    gateway.vendor.answers = [replied(READ, usage=(500, 100)), replied(compared("SKU-T", "SKU-T"))]

    answer, again = (ask(door, "match_product", product_table="shelf", Idempotency_Key="k") for _ in range(2))

    assert answer.status_code == 200, answer.data
    assert answer.json["usage"] == {"input_tokens": 1_500, "output_tokens": 300}
    assert answer.json["cost_usd_micro"] == COST + 2_000
    assert again.data == answer.data
    reading, matching = gateway.sent()
    assert reading["system"].startswith(load("read_product").prompt)
    assert reading["output_config"]["format"]["schema"] == load("read_product").schema
    rows = orjson.loads(matching["messages"][0]["content"][-1]["text"].removeprefix("Products:\n"))
    assert rows[0] == {"id": "SKU-T", "brand": "Northlight", "name": "Oat drink 1 l", "ean": "4006381333931"}
    assert {row["id"] for row in rows} == set(
        matching["output_config"]["format"]["schema"]["properties"]["best"]["anyOf"][0]["enum"]
    )
    held, read = gateway.holds()
    assert (held.state, held.cost_usd_micro, held.idem_key) == ("settled", COST, "k")
    assert (read.state, read.cost_usd_micro, read.idem_key) == ("settled", 2_000, None)
    assert held.request_id == read.request_id
    assert len(door.get("/api/v1/analyses").json["data"]) == 1
    assert gateway.ledger.verify() == []


def test_only_the_likeliest_rows_go_along(gateway: Tasking) -> None:
    door = gateway.door()
    shelf(door, 200)
    read = {"labels": ["a drink"], "features": [{"name": "article", "value": "4006381333150"}]}
    gateway.vendor.answers = [replied(read), replied(compared(None))]

    ask(door, "match_product", product_table="shelf")

    rows = orjson.loads(gateway.sent()[1]["messages"][0]["content"][-1]["text"].removeprefix("Products:\n"))
    assert len(rows) == 50
    assert rows[0]["id"] == "SKU-150"


@on_sqlite
def test_what_is_reserved_covers_the_largest_rows_that_may_go_along(gateway: Tasking) -> None:
    door, quotes = gateway.door(), '"' * 1_900
    lines = [f'SKU-{number},drink,"{quotes}","{quotes}"' for number in range(60)]
    put = door.send(
        "PUT",
        "/api/v1/product-tables/shelf",
        "\n".join(["id,name,a,b", *lines]).encode(),
        content_type="text/csv",
    )
    assert put.status_code == 201, put.data
    gateway.limit("usd_micro", "day", 10**9, ANALYSIS)
    gateway.vendor.answers = [replied({"labels": ["drink"], "features": []}), replied(compared(None))]

    ask(door, "match_product", product_table="shelf")

    sent, held = gateway.vendor.calls[1].body, gateway.holds()[0]
    (line,) = held.lines
    text_bytes = len(sent) - len(encoded(label_png()))
    assert text_bytes > 20_000
    assert line.amount >= 2 * text_bytes + 10 * load("match_product").max_tokens


@on_sqlite
def test_where_no_row_shares_a_word_nothing_more_is_asked(gateway: Tasking) -> None:
    door = gateway.door()
    shelf(door)
    read = {"labels": ["Zzyzx"], "features": []}
    gateway.vendor.answers = [replied(read)]

    answer = ask(door, "match_product", product_table="shelf", Idempotency_Key="k")
    again = ask(door, "match_product", product_table="shelf", Idempotency_Key="k")

    assert answer.json["result"] == {**read, "matches": [], "best": None}
    assert answer.json["cost_usd_micro"] == COST
    assert again.data == answer.data
    assert len(gateway.vendor.calls) == 1
    assert [(hold.state, hold.cost_usd_micro) for hold in gateway.holds()] == [
        ("settled", 0),
        ("settled", COST),
    ]


@pytest.mark.parametrize(
    ("answers", "states"),
    [
        ([Throttled("busy")], ["void", "void"]),
        ([replied("no JSON")], ["void", "settled"]),
        ([replied(READ), Throttled("busy")], ["void", "settled"]),
        ([replied(READ), Fault("500", status=500)], ["unknown", "settled"]),
        ([replied(READ), replied("no JSON")], ["settled", "settled"]),
    ],
)
def test_each_of_the_two_calls_ends_as_it_went(
    gateway: Tasking, answers: list[Any], states: list[str]
) -> None:
    door = gateway.door()
    shelf(door)
    gateway.vendor.answers = [*answers]

    answer = ask(door, "match_product", product_table="shelf")

    assert answer.status_code in (502, 503)
    assert [hold.state for hold in gateway.holds()] == states
    assert gateway.ledger.verify() == []


@on_sqlite
def test_a_kill_between_the_two_calls_stops_the_second(gateway: Tasking) -> None:
    door = gateway.door()
    shelf(door)

    def killed() -> bytes:
        gateway.services.features.kill(doors.ALICE, ANALYSIS, "incident")
        return replied(READ)

    gateway.vendor.answers = [killed]

    answer = ask(door, "match_product", product_table="shelf")

    assert (answer.status_code, answer.json["code"]) == (403, "feature_killed")
    assert [hold.state for hold in gateway.holds()] == ["void", "settled"]
    assert len(gateway.vendor.calls) == 1


# -- product tables ----------------------------------------------------------------------------------------------------


def test_a_table_is_uploaded_shown_replaced_and_removed(gateway: Tasking) -> None:
    door, path = gateway.door(), "/api/v1/product-tables/shelf"

    added, shown = shelf(door, 2), door.get(path)
    replaced = shelf(door, 3, If_Match=added.headers["ETag"])
    stale = shelf(door, 4, If_Match=added.headers["ETag"])
    listed = door.get("/api/v1/product-tables").json["data"]
    removed = door.send("DELETE", path, If_Match=replaced.headers["ETag"])

    assert (added.status_code, added.headers["ETag"]) == (201, '"1"')
    assert shown.json == added.json
    assert (shown.json["columns"], shown.json["rows"]) == (["id", "brand", "name", "ean"], 3)
    assert (replaced.status_code, replaced.json["rows"], replaced.json["version"]) == (200, 4, 2)
    assert (stale.status_code, stale.json["code"]) == (409, "stale_version")
    assert stale.json["current"]["rows"] == 4
    assert [one["id"] for one in listed] == ["shelf"]
    assert removed.status_code == 200
    assert door.get(path).status_code == 404
    assert product_ids(gateway) == []
    told = [entry["action"] for entry in gateway.services.audit.page(tenant="acme", limit=3, before=None)]
    assert told[::-1] == ["product_table.added", "product_table.replaced", "product_table.removed"]


def product_ids(gateway: Gateway) -> list[str]:
    with gateway.database.read() as tx:
        return list(tx.execute(sa.text("select product_id from product order by product_id")).scalars())


def test_a_table_that_is_refused_leaves_the_former_as_it_was(gateway: Tasking) -> None:
    door = gateway.door()
    shelf(door, 1)

    refused = door.send(
        "PUT", "/api/v1/product-tables/shelf", b"id,name\nA\nA,b,c\n", content_type="text/csv"
    )
    stale = shelf(door, 5, If_Match='"7"')

    assert (refused.status_code, refused.json["param"]) == (400, "line 2")
    assert [error["param"] for error in refused.json["errors"]] == ["line 2", "line 3"]
    assert stale.status_code == 409
    assert product_ids(gateway) == ["SKU-0", "SKU-T"]


def test_a_write_that_fails_half_way_leaves_the_former_as_it_was(
    gateway: Tasking, monkeypatch: pytest.MonkeyPatch
) -> None:
    door, tables = gateway.door(), gateway.services.product_tables
    shelf(door, 1)
    monkeypatch.setattr("rollout.services.product_tables.WRITTEN_AT_ONCE", 2)
    monkeypatch.setattr("rollout.db.products.get", fails_once(gateway))

    broken = shelf(door, 9)

    assert broken.status_code == 500
    assert product_ids(gateway) == ["SKU-0", "SKU-T"]
    assert tables.get("acme", "shelf").rows == 2


def fails_once(gateway: Tasking) -> Any:
    from rollout.db import products

    real, failures = products.get, [RuntimeError("the disk is gone")]

    def get(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*arguments)

    return get


def test_rows_that_a_crash_left_behind_are_removed_when_nobody_can_be_writing_them(gateway: Tasking) -> None:
    door, tables = gateway.door(), gateway.services.product_tables
    shelf(door, 1)
    tables._write("acme", gateway.new_id("rows"), list(tables.likely("acme", "shelf", ["Drink"])))
    assert len(product_ids(gateway)) == 4

    tables.purge()
    assert len(product_ids(gateway)) == 4, "they may be on their way in"
    gateway.wait(7_200)
    tables.purge()

    assert product_ids(gateway) == ["SKU-0", "SKU-T"]


@on_sqlite
def test_tables_of_others_are_not_there(gateway: Tasking) -> None:
    shelf(gateway.door())
    other = gateway.door("globex")

    assert other.get("/api/v1/product-tables/shelf").status_code == 404
    assert other.send("DELETE", "/api/v1/product-tables/shelf").status_code == 404
    assert other.get("/api/v1/product-tables").json["data"] == []
    assert ask(other, "match_product", product_table="shelf").status_code == 404


@on_sqlite
@pytest.mark.parametrize(
    ("path", "body", "content_type", "status", "param"),
    [
        ("Shelf", b"id\nA\n", "text/csv", 400, "table_id"),
        ("shelf", b"id\nA\n", "application/json", 415, None),
        ("shelf?id_column=sku", b"id\nA\n", "text/csv", 400, "line 1"),
        ("shelf?colum=sku", b"id\nA\n", "text/csv", 400, "colum"),
        ("shelf", b"x" * (32 * 1024 * 1024 + 1), "text/csv", 413, None),
    ],
)
def test_an_upload_that_cannot_be_is_refused(
    gateway: Tasking, path: str, body: bytes, content_type: str, status: int, param: str | None
) -> None:
    answer = gateway.door().send("PUT", f"/api/v1/product-tables/{path}", body, content_type=content_type)

    assert (answer.status_code, answer.json.get("param")) == (status, param)
    assert product_ids(gateway) == []


@on_sqlite
def test_there_are_at_most_twenty_tables(gateway: Tasking) -> None:
    door = gateway.door()

    def put(name: str) -> int:
        return int(
            door.send(
                "PUT", f"/api/v1/product-tables/{name}", b"id\nA\n", content_type="text/csv"
            ).status_code
        )

    assert {put(f"t{number}") for number in range(MAX_TABLES)} == {201}
    assert put("one-more") == 409
    assert put("t3") == 200
    assert len(product_ids(gateway)) == MAX_TABLES
