"""What a problem tells of an error."""

import json
from http.client import responses

import pytest
from tornado.web import HTTPError

from hive import Problem, errors

INNER = "inner detail of the server"


class Teapot(Problem):
    status = 418
    sentence = "I am a teapot."


class Gone(Problem):
    status = 404
    sentence = "It was here once."


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (errors.Forbidden(), 403, "This is not allowed."),
        (errors.Forbidden("Not you."), 403, "Not you."),
        (errors.Conflict("Too late."), 409, "Too late."),
        (errors.BadRequest(), 400, "The request cannot be understood."),
        (Teapot(), 418, "I am a teapot."),
        (Gone(), 404, "It was here once."),
        (HTTPError(403), 403, "This is not allowed."),
        (HTTPError(404), 404, "There is nothing at this address."),
        (HTTPError(402, reason="Pay first"), 402, "Pay first"),
        (HTTPError(403, INNER), 403, "This is not allowed."),
        (HTTPError(403, INNER + " %s", "x"), 403, "This is not allowed."),
        (HTTPError(429), 429, "These are too many requests."),
        (HTTPError(410), 410, "Gone"),
        (HTTPError(599), 599, "The server failed to answer this request."),
    ],
)
def test_a_problem_tells_the_status_its_phrase_and_a_sentence(error, status, detail):
    assert errors.described(status, error) == {
        "type": "about:blank",
        "title": responses.get(status, "Unknown"),
        "status": status,
        "detail": detail,
    }
    assert INNER.encode() not in errors.body(status, error)


def test_a_status_without_an_error_has_the_sentence_of_hive():
    assert errors.described(404)["detail"] == "There is nothing at this address."
    assert errors.described(410)["detail"] == "Gone"
    assert errors.described(599)["detail"] == "The server failed to answer this request."


def test_a_problem_names_fields_and_has_members_of_its_own():
    fields = [{"field": "name", "message": "is rude"}]
    told = errors.described(400, errors.Invalid("Not so.", fields, done=False))
    assert (told["detail"], told["errors"], told["done"]) == ("Not so.", fields, False)


def test_broken_unicode_is_escaped():
    told = errors.body(400, errors.Invalid(errors=[{"field": "\ud800", "message": "\u2028"}]))
    assert told.decode("ascii")
    assert json.loads(told)["errors"] == [{"field": "\ud800", "message": "\u2028"}]


def test_errors_can_be_told_as_seen_from_what_holds_the_object_or_from_a_part_of_it():
    error = errors.Invalid(errors=[{"field": "street", "message": "m"}, {"field": "", "message": "n"}])
    assert [one["field"] for one in error.under("address")] == ["address.street", "address"]
    error = errors.Invalid(errors=[{"field": name, "message": "m"} for name in ("a.3.b", "a.b", "c")])
    error.move(["a", "*"])
    assert [one["field"] for one in error.errors] == ["b", "", "c"]


def test_every_problem_of_hive_has_a_status_and_a_sentence_of_its_own():
    classes = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Problem)
    ]
    statuses = {cls.status for cls in classes}
    assert {400, 403, 404, 405, 409, 413, 415, 500, 503} <= statuses
    assert all(cls.sentence.endswith(".") and cls.__doc__ != "" for cls in classes)
