"""What flags cost, beside the SDK that evaluates them and beside Unleash's own server: `python -m benchmarks.flags [--only memory ...]`.

    memory    a worker's RSS with 100,000 tenants, their grants and 500 flags, over its RSS with nothing
    live      from a change's commit until another process decides on it
    decide    a decision remembered and made anew, beside a bare `UnleashClient.is_enabled`
    serve     `GET /api/client/features` and frontend evaluations a second, beside unleash-server
    stream    from a change's commit until a streaming SDK has it
    kill      a stop's way to four workers

Databases are made for this and thrown away. Rates are those of one serving process asked by this one; its CPU says the same where the
machine is shared. Nothing is asserted: this is for people who read it.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import sqlalchemy as sa

import dev
from benchmarks.databases import made_of
from rollout import log
from rollout.app import start
from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION, TenantFacts, context_properties
from rollout.core.flag_tokens import Kind, NewFlagToken
from rollout.core.flags import PRODUCTION, Flag
from rollout.core.grants import Grant
from rollout.core.plans import compile_flag, document
from rollout.core.tenants import Tenant
from rollout.db.tables import flag, grant, tenant
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.sync.embedded import _client
from rollout.sync.lru import LRU
from rollout.wiring import build

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # whose modules call each other by bare names
from processes import Service, Starter, call
from unleash import CLIENT_TOKEN, SERVER, Unleash, unleash_server

ACTOR = Actor("system:benchmark", "admin")
TENANTS, FLAGS, SERVED = 100_000, 500, 100
WARM_UP_SECONDS = 1.0
CALLED = 25_000
"""So many tenants call before memory is measured: more than a worker remembers."""

CONNECTIONS, CHANGES, WORKERS, TURNS = 4, 20, 4, 7


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), help="only these")
    asked.add_argument("--seconds", type=float, default=3, help="how long each rate is measured")
    asked.add_argument("--weigh", help=argparse.SUPPRESS)
    options = asked.parse_args()
    log.configure("critical", "text")
    logging.disable()
    if options.weigh:
        print(_weighed(options.weigh))
        return
    load = "/".join(f"{one:.1f}" for one in os.getloadavg())
    print(
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores, load {load} before we came"
    )
    for name in options.only:
        print(f"\n{name}\n")
        MEASURES[name](options.seconds)


# -- what there is ---------------------------------------------------------------------------------------------


def _settings(url: str, folder: str) -> Settings:
    return Settings(home=folder, database_url=url, secret_key="s" * 40)


def _flag(name: str, number: int) -> dict[str, Any]:
    """A flag as people write them: a share of users, some of them by name, one variant."""
    users = [f"user-{number}-{one}" for one in range(5)]
    return {
        "name": name,
        "type": "release",
        "enabled": True,
        "stale": False,
        "impressionData": False,
        "project": "default",
        "description": f"the benchmark's flag number {number}",
        "strategies": [
            {
                "name": "flexibleRollout",
                "parameters": {"rollout": "50", "stickiness": "default", "groupId": name},
                "constraints": [],
                "variants": [],
            },
            {
                "name": "flexibleRollout",
                "parameters": {"rollout": "100", "stickiness": "default", "groupId": name},
                "constraints": [{"contextName": "userId", "operator": "IN", "values": users}],
                "variants": [
                    {
                        "name": "blue",
                        "weight": 1000,
                        "weightType": "variable",
                        "stickiness": "default",
                        "payload": {"type": "string", "value": "#00f"},
                    }
                ],
            },
        ],
        "variants": [],
    }


def _names(count: int) -> list[str]:
    return [f"flag-{number:03}" for number in range(count)]


def _fill(services: Services, tenants: int, flags: int) -> None:
    """By bulk insert; the last change makes the revision that says so."""
    now = int(time.time())
    ids = [f"tenant-{number:06}" for number in range(tenants)]
    with services.changes.begin(ACTOR, "benchmark") as change:
        services.plans.ensure_plan(change)
        rows = [
            Flag(PRODUCTION, name, "default", _flag(name, number), now, now)
            for number, name in enumerate(_names(flags))
        ]
        if rows:
            values = [{key: value for key, value in asdict(row).items() if key != "asked_at"} for row in rows]
            change.tx.execute(sa.insert(flag), values)
        for first in range(0, tenants, 20_000):
            some = ids[first : first + 20_000]
            change.tx.execute(sa.insert(tenant), [asdict(Tenant(one, one.title())) for one in some])
            granted = [Grant(f"grt_{one}", one, GENERATION, "active", now, None, "benchmark") for one in some]
            change.tx.execute(sa.insert(grant), [asdict(one) for one in granted])


def _change(services: Services, number: int) -> None:
    """Write a flag anew."""
    changed = {**_flag("flag-000", 0), "description": f"change {number}"}
    services.flags.put(ACTOR, "flag-000", changed, "benchmark", accept_warnings=True)


# -- in one process --------------------------------------------------------------------------------------------


def _memory(_: float) -> None:
    """Each state in a process of its own, which has looked and answered, and nothing else."""
    with tempfile.TemporaryDirectory() as folder, made_of("sqlite") as make:
        weights: dict[str, list[float]] = {}
        for name, tenants, flags in (("empty", 0, 0), ("full", TENANTS, FLAGS)):
            url = make(name)
            with closing(build(_settings(url, folder))) as services:
                _fill(services, tenants, flags)
            command = [sys.executable, "-m", "benchmarks.flags", "--weigh", url]
            told = subprocess.run(
                command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
            )
            weights[name] = [float(one) for one in told.stdout.split()]
    print("| RSS in MB | after the first look | after all have called |\n|---|--:|--:|")
    for name, (looked, called) in weights.items():
        print(f"| {name} | {looked:.1f} | {called:.1f} |")
    grown = [full - empty for full, empty in zip(weights["full"], weights["empty"], strict=True)]
    print(f"| grown by | {grown[0]:.1f} | {grown[1]:.1f} |")
    print(
        f"\nFull: {TENANTS:,} tenants with a grant, {FLAGS} flags; {CALLED:,} of them call, of whom 20,000 are remembered."
    )


def _weighed(url: str) -> str:
    with tempfile.TemporaryDirectory() as folder, closing(build(_settings(url, folder))) as services:
        services.state.refresh()
        looked = _rss()
        with services.database.read() as tx:
            ids = list(tx.execute(sa.select(tenant.c.id).order_by(tenant.c.id).limit(CALLED)).scalars())
        for one in ids:
            services.features.decide(services.state.facts(one), GENERATION)
        del ids
        return f"{looked} {_rss()}"


def _rss() -> float:
    gc.collect()
    text = Path("/proc/self/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", text)
    assert found
    return int(found[1]) / 1024


def _decide(_: float) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        made_of("sqlite") as make,
        closing(build(_settings(make("decide"), folder))) as services,
    ):
        _fill(services, 0, FLAGS)
        services.state.refresh()
        snapshot = services.state.snapshot
        plan = snapshot.plans[GENERATION]
        now = int(time.time())
        everybody = [
            TenantFacts(
                Tenant(name, name),
                {GENERATION: Grant(f"grt_{name}", name, GENERATION, "active", now, None, "benchmark")},
            )
            for name in (f"tenant-{number}" for number in range(4_000))
        ]
        decide, one = services.features.decide, everybody[0]
        client = _client(orjson.dumps(document([compile_flag(plan, killed=False)])).decode())
        asked = {"properties": context_properties(one, plan, now)}

        def cold() -> None:
            services.state._snapshot = replace(snapshot, decisions=LRU(20_000))
            for facts in everybody:
                decide(facts, GENERATION)

        def memoised() -> None:
            for _ in range(100_000):
                decide(one, GENERATION)

        def bare() -> None:
            for _ in range(4_000):
                client.is_enabled(GENERATION, asked)

        acts = {
            "memoised": (memoised, 100_000),
            "cold": (cold, 4_000),
            "bare `UnleashClient.is_enabled`": (bare, 4_000),
        }
        turns: dict[str, list[float]] = {name: [] for name in acts}
        for _turn in range(TURNS):
            for name, (act, count) in acts.items():
                services.state.refresh()
                began = time.process_time()
                act()
                turns[name].append((time.process_time() - began) / count * 1e6)
        print("| | us of CPU, the best of seven turns | the median |\n|---|--:|--:|")
        for name, times in turns.items():
            print(f"| {name} | {min(times):.2f} | {statistics.median(times):.2f} |")


# -- between processes -----------------------------------------------------------------------------------------


def _live(_: float) -> None:
    """A worker with its threads, and a change by other services on the same database, as a command would make it."""
    print("| database | median ms | slowest |\n|---|--:|--:|")
    for kind in ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as folder, made_of(kind) as make:
            settings = _settings(make("live"), folder)
            with closing(build(settings)) as elsewhere:
                _fill(elsewhere, TENANTS, FLAGS)
                running = start(build(settings))
                try:
                    times = [_seen_after(running.services, elsewhere, number) for number in range(CHANGES)]
                finally:
                    running.stop()
        print(f"| {kind} | {statistics.median(times):.0f} | {max(times):.0f} |")


def _seen_after(worker: Services, elsewhere: Services, number: int) -> float:
    before = worker.state.snapshot.revision
    _change(elsewhere, number)
    committed = time.perf_counter()
    worker.state.wait_beyond(before, 30)
    return (time.perf_counter() - committed) * 1000


@contextmanager
def _serving(make: Callable[[str], str], name: str, **settings: object) -> Iterator[tuple[Service, Services]]:
    """The service with one worker, and services of our own beside it."""
    with tempfile.TemporaryDirectory() as folder:
        starter = Starter(Path(folder))
        try:
            service = starter.service(make(name), **settings)
            with closing(build(Settings.from_env(service.environ))) as operator:
                yield service, operator
        finally:
            starter.stop()


def _token(operator: Services, kind: Kind) -> str:
    return str(operator.flag_tokens.add(ACTOR, NewFlagToken(f"bench-{kind}", kind), "benchmark").secret)


def _stream(_: float) -> None:
    """The SDK is in this process; the change is made by the process that streams, and by another one."""
    from UnleashClient.clients.unleash_client import UnleashClient
    from UnleashClient.utils import InstanceAllowType

    print("| database | change made | median ms | slowest |\n|---|---|--:|--:|")
    for kind in ("sqlite", "postgresql"):
        with made_of(kind) as make, _serving(make, "stream", workers=1) as (service, operator):
            operator.flags.add(ACTOR, _flag("flag-000", 0), "benchmark", accept_warnings=True)
            client = UnleashClient(
                f"{service.url}/api",
                "benchmark",
                custom_headers={"Authorization": _token(operator, "client")},
                disable_metrics=True,
                multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
                experimental_mode={"type": "streaming"},
            )
            client.initialize_client()
            try:
                for where in ("by the API", "by a command"):
                    times = [
                        _streamed(client, service, operator, f"{where} {n}", where) for n in range(CHANGES)
                    ]
                    print(f"| {kind} | {where} | {statistics.median(times):.1f} | {max(times):.1f} |")
            finally:
                client.destroy()


def _streamed(client: Any, service: Service, operator: Services, name: str, where: str) -> float:
    """Milliseconds from the commit until the SDK has a new flag of this name."""
    new = _flag(name.replace(" ", "-"), 1)
    if where == "by the API":
        service.admin("POST", "/flags", {"document": new, "reason": "benchmark", "accept_warnings": True})
    else:
        operator.flags.add(ACTOR, new, "benchmark", accept_warnings=True)
    committed = time.perf_counter()
    while new["name"] not in client.feature_definitions():
        time.sleep(0.0005)
    return (time.perf_counter() - committed) * 1000


def _kill(_: float) -> None:
    with made_of("postgresql") as make, _serving(make, "kill", workers=WORKERS) as (service, _operator):
        while len(service.admin("GET", "/workers")["data"]) < WORKERS:
            time.sleep(0.05)
        slowest, answered, complete = [], [], 0
        for number in range(CHANGES):
            began = time.perf_counter()
            verb = "revive" if number % 2 else "kill"
            told = service.admin("POST", f"/features/{GENERATION}/{verb}", {"reason": "benchmark"})
            answered.append((time.perf_counter() - began) * 1000)
            slowest.append(told["acks"]["slowest_ms"])
            complete += told["acks"]["received"] == told["acks"]["expected"] == WORKERS
    print(
        f"| {CHANGES} stops and revivals, {WORKERS} workers on PostgreSQL | median | slowest |\n|---|--:|--:|"
    )
    print(
        f"| ms until the last worker had acknowledged it | {statistics.median(slowest):.0f} | {max(slowest)} |"
    )
    print(f"| ms until the answer | {statistics.median(answered):.0f} | {max(answered):.0f} |")
    print(f"\n{complete} of {CHANGES} answers named all {WORKERS} workers.")


# -- requests a second -----------------------------------------------------------------------------------------


def _serve(seconds: float) -> None:
    has_node = dev.find_node() is not None and SERVER.exists()
    print("| | requests/s | CPU ms each |\n|---|--:|--:|")
    with (
        made_of("postgresql") as make,
        _serving(make, "ours", workers=1, log_level="warning") as (service, operator),
    ):
        for number, name in enumerate(_names(SERVED)):
            operator.flags.add(ACTOR, _flag(name, number), "benchmark", accept_warnings=True)
        client, frontend = _token(operator, "client"), _token(operator, "frontend")
        operator.state.refresh()
        while call("GET", f"{service.url}/readyz")[2]["revision"] < operator.state.snapshot.revision:
            time.sleep(0.05)
        _rates("Phasegate", service.url, service.popen.pid, client, frontend, seconds)
        if not has_node:
            print("\nWithout unleash-server: `python3 dev.py test` fetches Node and it.")
            return
        empty = _empty_database(service.environ["ROLLOUT_DATABASE_URL"].rpartition("/")[0])
        with tempfile.TemporaryDirectory() as folder, unleash_server(Path(folder), empty) as theirs:
            _copy(theirs)
            body = {"type": "frontend", "environment": PRODUCTION, "tokenName": "bench", "projects": ["*"]}
            frontend = theirs.admin("POST", "/api-tokens", body)["secret"]
            url = theirs.url.removesuffix("/api")
            asked, header = f"{theirs.url}/frontend?userId=user-1-1", {"authorization": frontend}
            while not call("GET", asked, headers=header)[2][
                "toggles"
            ]:  # it looks at its own flags now and then
                time.sleep(0.2)
            _rates("unleash-server", url, theirs.pid, CLIENT_TOKEN, frontend, seconds)


def _empty_database(server: str) -> str:
    """One without a table, for a server that makes its own."""
    engine = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("create database unleash_benchmark"))
    engine.dispose()
    return f"{server}/unleash_benchmark"


def _copy(theirs: Unleash) -> None:
    """The same flags, by their Admin API."""

    def write(number: int, name: str) -> None:
        made, at = _flag(name, number), f"/projects/default/features/{name}/environments/{PRODUCTION}"
        theirs.admin(
            "POST",
            "/projects/default/features",
            {"name": name, "type": "release", "description": made["description"]},
        )
        for strategy in made["strategies"]:
            theirs.admin("POST", f"{at}/strategies", {**strategy, "segments": []})
        theirs.admin("POST", f"{at}/on")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(SERVED), _names(SERVED)))


def _rates(who: str, url: str, pid: int, client: str, frontend: str, seconds: float) -> None:
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 0
    whole = _request("/api/client/features", client, host)
    status, headers, _ = _once(host, port, whole)
    assert status == 200, status
    cached = _request("/api/client/features", client, host, f"If-None-Match: {headers['etag']}\r\n")
    evaluated = [_request(f"/api/frontend?userId=user-{n}&appName=bench", frontend, host) for n in range(97)]
    strangers = (
        _request(f"/api/frontend?userId=stranger-{n}&appName=bench", frontend, host)
        for n in itertools.count()
    )
    for what, wanted, requests in (
        ("features 200", 200, itertools.repeat(whole)),
        ("features 304", 304, itertools.repeat(cached)),
        ("frontend, 97 users again and again", 200, itertools.cycle(evaluated)),
        ("frontend, each user once", 200, strangers),
    ):
        _load(host, port, requests, wanted, WARM_UP_SECONDS)
        rate, cpu = _measured(host, port, requests, wanted, seconds, pid)
        print(f"| {who}, {what}, {SERVED} flags | {rate:,.0f} | {cpu:.2f} |", flush=True)


def _request(path: str, token: str, host: str, more: str = "") -> bytes:
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n"
    return f"{head}Accept: application/json\r\nUnleash-Client-Spec: 5.2.0\r\n{more}\r\n".encode()


def _measured(
    host: str, port: int, requests: Iterator[bytes], wanted: int, seconds: float, pid: int
) -> tuple[float, float]:
    """Requests a second, and the server's CPU for each in ms."""
    before, began = _cpu(pid), time.perf_counter()
    count = _load(host, port, requests, wanted, seconds)
    took, worked = time.perf_counter() - began, _cpu(pid) - before
    return count / took, worked / count * 1000


def _load(host: str, port: int, requests: Iterator[bytes], wanted: int, seconds: float) -> int:
    """How many were answered, over CONNECTIONS that are kept open; raises for another status than wanted."""
    until, drawing = time.perf_counter() + seconds, threading.Lock()

    def ask(_connection: int) -> int:
        count = 0
        with socket.create_connection((host, port)) as there:
            there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.perf_counter() < until:
                with drawing:
                    request = next(requests)
                there.sendall(request)
                status, _, _ = _answer(there)
                assert status == wanted, status
                count += 1
        return count

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return sum(pool.map(ask, range(CONNECTIONS)))


def _once(host: str, port: int, request: bytes) -> tuple[int, Mapping[str, str], bytes]:
    with socket.create_connection((host, port)) as there:
        there.sendall(request)
        return _answer(there)


def _answer(there: socket.socket) -> tuple[int, Mapping[str, str], bytes]:
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _some(there)
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = [data[end + 4 :]]
    left = int(headers.get("content-length", 0)) - len(body[0])
    while left > 0:
        body.append(_some(there))
        left -= len(body[-1])
    return int(first.split()[1]), headers, b"".join(body)


def _some(there: socket.socket) -> bytes:
    data = there.recv(262_144)
    if not data:
        raise ConnectionError("the server hung up")
    return data


def _cpu(pid: int) -> float:
    """Seconds that the process and its children have worked."""
    ticks = os.sysconf("SC_CLK_TCK")
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return (
        sum(
            sum(map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13]))
            for one in pids
        )
        / ticks
    )


MEASURES: dict[str, Callable[[float], None]] = {
    "memory": _memory,
    "live": _live,
    "decide": _decide,
    "serve": _serve,
    "stream": _stream,
    "kill": _kill,
}

if __name__ == "__main__":
    main()
