"""One flag in one environment of an Unleash server, by its Admin API over HTTP.

Each call is a connection of its own with a time limit, goes to the server that the operator named and follows no redirect: the token goes
nowhere else.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from rollout.core.flag_push import STICKINESS, Add, Call, Put, Remove, Sort, Standing, Switch, strategy_json

SECONDS = 10.0
MAX_ANSWER = 10_000_000


class UnleashFailed(Exception):
    """The server did not do it; says what it answered. `status` None: it did not answer."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class UnleashAdmin:
    """`url` ends with `/api`, as for Unleash's SDKs. Methods raise UnleashFailed."""

    def __init__(
        self, url: str, token: str, project: str, environment: str, *, seconds: float = SECONDS
    ) -> None:
        self._address, self._token, self._seconds = urlsplit(f"{url}/admin"), token, seconds
        self._features = f"/projects/{quote(project, safe='')}/features"
        self._environment = environment

    def fields(self) -> set[str]:
        """The names of the context fields that it knows."""
        return {field["name"] for field in self._send("GET", "/context")}

    def add_field(self, name: str) -> None:
        field = {"name": name, "stickiness": name == STICKINESS, "legalValues": []}
        self._send("POST", "/context", field, but=409)

    def read(self, flag: str) -> Standing | None:
        """How the flag stands; None: there is none in the project, or it is archived."""
        found = self._send("GET", self._flag(flag), but=404)
        if found is None:
            return None
        try:
            return self._standing(found)
        except (AttributeError, KeyError, TypeError) as error:
            raise UnleashFailed(f"Unleash answered what is no flag: {error!r}") from None

    def create(self, flag: str, description: str) -> None:
        """Off, without strategies."""
        body = {"name": flag, "type": "release", "description": description, "impressionData": False}
        self._send("POST", self._features, body)

    def do(self, flag: str, call: Call) -> None:
        place = f"{self._flag(flag)}/environments/{quote(self._environment, safe='')}"
        match call:
            case Switch(on):
                self._send("POST", f"{place}/{'on' if on else 'off'}", {})
            case Add(strategy):
                self._send("POST", f"{place}/strategies", strategy)
            case Put(id, strategy):
                self._send("PUT", f"{place}/strategies/{quote(id, safe='')}", strategy)
            case Remove(id):
                self._send("DELETE", f"{place}/strategies/{quote(id, safe='')}", but=404)
            case Sort(ids):
                order = [{"id": id, "sortOrder": at} for at, id in enumerate(ids)]
                self._send("POST", f"{place}/strategies/set-sort-order", order)

    def _standing(self, found: Mapping[str, Any]) -> Standing:
        for environment in found["environments"]:
            if environment["name"] == self._environment:
                strategies = tuple((item["id"], strategy_json(item)) for item in environment["strategies"])
                return Standing(environment["enabled"], strategies)
        raise UnleashFailed(f"The project has no environment {self._environment!r}.")

    def _flag(self, name: str) -> str:
        return f"{self._features}/{quote(name, safe='')}"

    def _send(self, method: str, path: str, body: Any = None, *, but: int | None = None) -> Any:
        """The answer's JSON, None without one; `but`: a status that is as good as done."""
        headers = {"Authorization": self._token, "Content-Type": "application/json", "Connection": "close"}
        data = None if body is None else orjson.dumps(body)
        try:
            status, answer = self._exchange(method, self._address.path + path, data, headers)
        except (OSError, http.client.HTTPException) as error:
            raise UnleashFailed(f"Unleash does not answer: {error!r}") from None
        if status == but:
            return None
        if not 200 <= status < 300:
            raise UnleashFailed(f"Unleash answered {status} to {method} {path}: {_message(answer)}", status)
        try:
            return orjson.loads(answer) if answer else None
        except orjson.JSONDecodeError:
            raise UnleashFailed(f"Unleash answered no JSON to {method} {path}.", status) from None

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        https = self._address.scheme == "https"
        connect = http.client.HTTPSConnection if https else http.client.HTTPConnection
        connection = connect(self._address.hostname or "", self._address.port, timeout=self._seconds)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return response.status, response.read(MAX_ANSWER)
        finally:
            connection.close()


def _message(answer: bytes) -> str:
    """What it says is wrong, in its own words."""
    try:
        said = orjson.loads(answer)
        return str((said.get("details") or [said])[0]["message"])[:500]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, IndexError):
        return answer[:200].decode(errors="replace")
