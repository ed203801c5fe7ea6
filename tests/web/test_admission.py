"""Places, and that each is given back whatever becomes of the response."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from rollout.errors import AtCapacity
from rollout.services.admission import Admission
from rollout.web import admission, problems
from rollout.web.admission import admitted


def test_there_are_as_many_places_as_said_and_each_kind_has_its_own() -> None:
    places = Admission({"generation": 2, "analysis": 1})
    taken = [places.take("generation"), places.take("generation"), places.take("analysis")]

    with pytest.raises(AtCapacity) as full:
        places.take("generation")
    assert full.value.retry_after == 1

    taken[0].leave()
    taken[0].leave()
    places.take("generation")
    with pytest.raises(AtCapacity):
        places.take("analysis")


def test_a_place_that_is_forgotten_is_free() -> None:
    places = Admission({"generation": 1})

    places.take("generation")

    places.take("generation").leave()


def client(view: Callable[[], Response]) -> FlaskClient:
    app = Flask("test", static_folder=None)
    problems.install(app)
    admission.install(app, Admission({"generation": 1}))
    app.add_url_rule("/", view_func=admitted("generation")(view))
    return app.test_client()


def test_a_plain_response_keeps_its_length_and_frees_its_place_when_it_was_sent() -> None:
    door = client(lambda: Response(b"12345"))

    for _ in range(3):
        answer = door.get("/")
        assert (answer.status_code, answer.headers["Content-Length"]) == (200, "5")
        answer.close()


def test_a_stream_keeps_its_place_until_it_is_closed_even_if_closing_fails() -> None:
    class Bad:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"1", b"2"])

        def close(self) -> None:
            raise RuntimeError("a bug")

    door = client(lambda: Response(Bad()))

    first = door.get("/")
    assert door.get("/").status_code == 503
    with pytest.raises(RuntimeError):
        first.close()
    assert door.get("/").status_code == 200


def test_a_view_that_raises_frees_its_place() -> None:
    def view() -> Response:
        raise RuntimeError("a bug")

    door = client(view)

    assert [door.get("/").status_code for _ in range(3)] == [500, 500, 500]
