"""What admins see of named tasks and product tables: by the admin API and by commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from tasking import encoded, label_png

from rollout.app import create_app
from rollout.cli.main import main
from rollout.core.audit import Actor
from rollout.core.tenants import NewKey, Tenant
from rollout.core.tokens import NewToken
from rollout.db import migrate
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

SEED = Actor("cli:seed")
CSV = b"id,name\nA,Oat drink\nB,Milk\n"


@dataclass
class Seeded:
    services: Services
    client: FlaskClient
    keys: dict[str, str]
    token: str

    def admin(self, path: str) -> Any:
        answer = self.client.get(f"/admin/api/v1/{path}", headers={"Authorization": f"Bearer {self.token}"})
        return answer.status_code, answer.get_json()

    def upload(self, tenant: str, table: str) -> None:
        headers = {"x-api-key": self.keys[tenant], "Content-Type": "text/csv"}
        answer = self.client.put(f"/api/v1/product-tables/{table}", data=CSV, headers=headers)
        assert answer.status_code == 201

    def match(self, tenant: str) -> dict[str, Any]:
        body = {
            "task": "match_product",
            "images": [{"data": encoded(label_png("Oat drink"))}],
            "product_table": "shelf",
        }
        answer = self.client.post("/api/v1/analyses", json=body, headers={"x-api-key": self.keys[tenant]})
        assert answer.status_code == 200, answer.data
        found: dict[str, Any] = answer.get_json()
        return found


@pytest.fixture
def seeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seeded]:
    given = {"ROLLOUT_HOME": str(tmp_path), "ROLLOUT_SANDBOX": "on"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_env(given)
    migrate.upgrade(settings.database)
    services = build(settings, connect=True)
    keys = {}
    for tenant in ("acme", "globex"):
        services.tenants.add(SEED, Tenant(tenant, tenant.title()), "seed")
        keys[tenant] = services.keys.add(SEED, tenant, NewKey("server"), "seed").secret
    token = services.tokens.add(SEED, NewToken("vera", "viewer"), "seed").secret
    services.state.refresh()
    yield Seeded(services, create_app(services).test_client(), keys, token)
    services.close()


def printed(*arguments: str) -> Any:
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_answers_are_shown_by_the_api_and_by_the_command(seeded: Seeded) -> None:
    seeded.upload("acme", "shelf")
    answered = seeded.match("acme")

    status, listed = seeded.admin("analyses?tenant=acme&task=match_product")
    (one,) = listed["data"]
    assert (status, one["id"], one["result"]["best"]) == (200, answered["id"], "A")
    assert seeded.admin(f"analyses/{one['id']}") == (200, one)
    assert printed("analyses", "list", "--tenant", "acme") == [one]
    assert printed("analyses", "show", one["id"]) == one
    assert printed("analyses", "list", "--tenant", "globex") == []
    assert seeded.admin("analyses?tenant=acme&task=describe")[1]["data"] == []


def test_what_is_not_there_is_said(seeded: Seeded) -> None:
    assert seeded.admin("analyses/anl_none")[0] == 404
    assert seeded.admin("analyses")[1]["param"] == "tenant"
    refused = CliRunner().invoke(main, ["analyses", "show", "anl_none"])
    assert (refused.exit_code, "There is no analysis 'anl_none'" in refused.stderr) == (3, True)


def test_tables_are_listed_page_by_page_of_one_tenant_or_all(seeded: Seeded) -> None:
    for tenant, table in (("acme", "shelf"), ("acme", "attic"), ("globex", "shelf")):
        seeded.upload(tenant, table)

    _, first = seeded.admin("product-tables?limit=2")
    _, rest = seeded.admin(f"product-tables?limit=2&cursor={first['next_cursor']}")
    found = [(one["tenant"], one["id"], one["rows"]) for one in (*first["data"], *rest["data"])]

    assert found == [("acme", "attic", 2), ("acme", "shelf", 2), ("globex", "shelf", 2)]
    assert rest["next_cursor"] is None
    _, of_acme = seeded.admin("product-tables?tenant=acme&limit=1")
    _, more = seeded.admin(f"product-tables?tenant=acme&limit=1&cursor={of_acme['next_cursor']}")
    assert [one["id"] for one in (*of_acme["data"], *more["data"])] == ["attic", "shelf"]
    assert [one["tenant"] for one in printed("product-tables", "list", "--tenant", "globex")] == ["globex"]


def test_the_story_of_a_request_with_two_calls_is_that_of_its_answer(seeded: Seeded) -> None:
    seeded.upload("acme", "shelf")
    answered = seeded.match("acme")

    status, story = seeded.admin(f"requests/{answered['id']}")

    assert status == 200
    _, by_request = seeded.admin(f"requests/{story['request_id']}")
    assert by_request == story
