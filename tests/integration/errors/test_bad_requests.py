"""Bad input: none of it answers 5xx, all of it answers a problem, and none leaves anything stored."""

import http.client
import json
import socket
import time

import mongoengine as me
import pytest
from bson import ObjectId

from hive import ModelHive, flatten
from hive.testing import serve

JSON = {"Content-Type": "application/json"}
STORED = "65a000000000000000000001"
ABSENT = "65a0000000000000000000ff"
PATH = f"/gadget/{STORED}"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ARRAY = JSON | {"Prefer": "transaction=no"}
"""For an array of documents; mongomock has no transactions."""


class Part(me.EmbeddedDocument):
    name = me.StringField()
    size = me.IntField()


class Maker(me.Document):
    name = me.StringField()


class Gadget(me.Document):
    name = me.StringField(max_length=2000)
    count = me.IntField()
    weight = me.FloatField()
    price = me.DecimalField()
    exact = me.Decimal128Field()
    on = me.BooleanField()
    at = me.DateTimeField()
    day = me.DateField()
    uid = me.UUIDField(binary=False)
    raw = me.BinaryField()
    link = me.URLField()
    other = me.ObjectIdField()
    place = me.PointField()
    maker = me.ReferenceField(Maker)
    makers = me.ListField(me.ReferenceField(Maker))
    anything = me.GenericReferenceField(choices=[Maker])
    part = me.EmbeddedDocumentField(Part)
    parts = me.EmbeddedDocumentListField(Part)
    tags = me.ListField(me.StringField())
    sizes = me.MapField(me.IntField())
    details = me.DictField()
    free = me.DynamicField()
    mixed = me.ListField()


class Loose(me.DynamicDocument):
    name = me.StringField()


ROUTES = flatten([ModelHive.routes_for(model) for model in (Gadget, Maker, Loose)])


@pytest.fixture
def api(database):
    """A client; no test that takes it leaves anything changed."""
    Gadget(id=STORED, name="phone", count=1, details={"a": 1}, part=Part(name="lid"), tags=["x"]).save()
    Loose(id=STORED, name="loose", more=1).save()
    before = contents(database)
    with serve(ROUTES) as client:
        yield client
    assert contents(database) == before


@pytest.fixture
def free(database):
    """A client for what is stored after all."""
    with serve(ROUTES) as client:
        yield client


def contents(database):
    return {name: list(database[name].find()) for name in ("gadget", "maker", "loose")}


def refused(reply, status=400):
    assert reply.status == status, (reply.status, reply.body[:500])
    assert reply.headers["Content-Type"] == "application/problem+json"
    problem = reply.json
    assert problem["type"] == "about:blank"
    assert problem["status"] == status
    assert problem["title"] == http.client.responses[status]
    assert isinstance(problem["detail"], str)
    assert all(error.keys() == {"field", "message"} for error in problem.get("errors", []))
    for word in (b"Traceback", b"mongo", b"bson", b"<html", b'File "', b"int_max", b"object at 0x"):
        assert word not in reply.body
    return problem


def fields(problem):
    return [error["field"] for error in problem["errors"]]


def talk(api, *chunks):
    """All that the server answers to these bytes until it closes the connection."""
    answer = b""
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        for chunk in chunks:
            connection.sendall(chunk)
        while received := connection.recv(65536):
            answer += received
    return answer


def head_of_post(*headers):
    lines = ["POST /gadget HTTP/1.1", "Host: x", "Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


# The body as a whole


@pytest.mark.parametrize("body", [b"", b" ", b"\n\t \r\n"])
@pytest.mark.parametrize("headers", [JSON, FORM])
def test_empty_body_is_400(api, body, headers):
    assert "empty" in refused(api.post("/gadget", body=body, headers=headers))["detail"]


NO_OBJECTS = [b"null", b"1", b'"x"', b"true", b"1.5"]
ARRAYS = [b"[]", b'[{"name": "x"}]', b' \n[{"name": "x"}]', b"[1]", b"[[]]"]


@pytest.mark.parametrize("body", NO_OBJECTS + ARRAYS)
@pytest.mark.parametrize(
    ("verb", "path"),
    [("PUT", PATH), ("PATCH", PATH), ("POST", f"{PATH}/part"), ("PUT", f"{PATH}/part"),
     ("PATCH", f"{PATH}/part"), ("POST", f"{PATH}/parts"), ("POST", f"{PATH}/maker"),
     ("POST", f"{PATH}/makers"), ("PATCH", "/gadget?name=phone")],
)  # fmt: skip
def test_body_that_is_no_object_is_400(api, verb, path, body):
    assert "object" in refused(api.request(verb, path, body=body, headers=ARRAY))["detail"]


@pytest.mark.parametrize("body", NO_OBJECTS)
def test_body_that_is_neither_an_object_nor_an_array_is_400(api, body):
    assert "object" in refused(api.post("/gadget", body=body, headers=ARRAY))["detail"]


@pytest.mark.parametrize("item", [*NO_OBJECTS, b"[]", b'[{"name": "x"}]'])
def test_array_of_what_is_no_object_is_400(api, item):
    for body in (b"[%s]", b'[{"name": "x"}, %s]', b'[%s, {"name": "x"}]'):
        assert "object" in refused(api.post("/gadget", body=body % item, headers=ARRAY))["detail"]


@pytest.mark.parametrize("verb", ["PUT", "PATCH"])
def test_array_as_a_form_is_400(api, verb):
    for path in (PATH, f"{PATH}/part"):
        refused(api.request(verb, path, body=b'[{"name": "x"}]', headers=FORM))
    refused(api.post("/gadget", body=b'[{"name": "x"}]', headers=FORM))


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"}", b'{"name"', b'{"name":}', b"{'name': 'x'}", b'{"name": "x",}', b'{"name": "x"} x',
        b"name=x",
        b'{"name": "x"}{"name": "y"}', b'{"name": "\n"}', b'{"name": "\\x"}', b'{"count": 01}',
        b'{"count": .5}',
        b'{"count": +1}', b'{"count": 1.}', b'{"count": 0x1}', b'{/**/"name": "x"}',
        b'\xef\xbb\xbf{"name": "x"}',
        b'{"name": "x"', b'{"name": "\\u12"}', b'\x00{"name": "x"}', b'{name: "x"}', b"undefined",
        b'{"name": "x}',
        b"[", b'[{"name": "x"}', b'[{"name": "x"},', b'[{"name": "x"},]', b'[,{"name": "x"}]',
        b'[{"name": "x"} {"name": "y"}]', b'[{"name": "x"}]]', b'[{"name": "x"}] x', b"[,]", b"[]]", b"[}",
        b'[{"name": "x"}}', b'[{"name": "x",}]', b"[{'name': 'x'}]", b'[{"name": "x"}];',
        b'\x00[{"name": "x"}]',
        b'\xef\xbb\xbf[{"name": "x"}]', b'[{"name": "x"}][{"name": "y"}]', b'[{"name": "x"}:{"name": "y"}]',
        b"[" + b" " * 100, b'[{"name": "x"}\x0b]',
    ],
)  # fmt: skip
def test_malformed_json_is_400(api, body):
    refused(api.post("/gadget", body=body, headers=ARRAY))
    refused(api.patch(PATH, body=body, headers=JSON))


@pytest.mark.parametrize(
    "body",
    [b'{"name": "\xff"}', b'{"\xc3": 1}', b'{"name": "\xed\xa0\x80"}', b'{"name": "\xc0\xaf"}',
    b"\xff\xfe{\x00}\x00",
     '{"name": "x"}'.encode("utf-16"), '{"name": "å"}'.encode("latin-1")],
)  # fmt: skip
def test_invalid_utf8_is_400(api, body):
    refused(api.post("/gadget", body=body, headers=JSON))
    refused(api.post("/gadget", body=b'[{"name": "x"}, ' + body + b"]", headers=ARRAY))


@pytest.mark.parametrize(
    "text",
    ['{"details":' * 10_000, '{"details":' * 10_000 + "1" + "}" * 10_000,
    '{"tags": ' + "[" * 10_000 + "]" * 10_000 + "}",
     '{"details": {"a": ' + '{"a":' * 100 + "1" + "}" * 102, "[" * 10_000, "[" * 10_000 + "]" * 10_000],
)  # fmt: skip
def test_deep_json_is_400(api, text):
    refused(api.post("/gadget", body=text, headers=ARRAY))
    refused(api.post("/gadget", body=f'[{{"name": "x"}}, {text}]', headers=ARRAY))
    refused(api.patch(PATH, body=text, headers=JSON))


def test_brackets_in_strings_are_not_deep(free):
    text = '[{\\"' * 500
    reply = free.post("/gadget", json={"name": text, "tags": ["}" * 500, "[" * 500]})
    assert (reply.status, reply.json["name"]) == (201, text)


def test_json_as_deep_as_allowed_is_stored_and_read(free):
    value = 1
    for _ in range(62):
        value = {"a": value}
    reply = free.post("/gadget", json={"details": value})
    assert reply.status == 201, reply.body
    assert free.get(reply.headers["Location"]).json["details"] == value


@pytest.mark.parametrize(
    "number",
    ["9223372036854775808", "-9223372036854775809", "1" + "0" * 300, "9" * 5000, "-" + "9" * 100_000],
)
@pytest.mark.parametrize("field", ["count", "details", "free", "mixed", "sizes", "at"])
def test_integer_out_of_64_bits_is_400(api, number, field):
    value = {"details": '{"x": #}', "sizes": '{"x": #}', "mixed": "[#]"}.get(field, "#").replace("#", number)
    refused(api.post("/gadget", body=f'{{"{field}": {value}}}', headers=JSON))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "nan", "inf"])
@pytest.mark.parametrize("field", ["count", "weight", "price", "exact", "details", "free", "name"])
def test_number_that_is_no_json_number_is_400(api, number, field):
    value = f'{{"x": {number}}}' if field == "details" else number
    refused(api.post("/gadget", body=f'{{"{field}": {value}}}', headers=JSON))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-inf", "1e400", "nan", "sNaN"])
@pytest.mark.parametrize("field", ["count", "weight", "price"])
def test_text_that_is_no_finite_number_is_400(api, text, field):
    assert fields(refused(api.post("/gadget", form={field: text}))) == [field]
    refused(api.post("/gadget", json={field: text}))


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "a", "name": "b"}', '{"name": "a", "name": "a"}', '{"part": {"name": "a", "name": "b"}}',
        '{"parts": [{"name": "a", "name": "b"}]}', '{"details": {"a": {"b": 1, "b": 2}}}',
        '{"name": "a", "\\u006eame": "b"}', '{"x": 1, "x": 2}',
    ],
)  # fmt: skip
def test_duplicate_key_is_400(api, body):
    assert "twice" in refused(api.post("/gadget", body=body, headers=JSON))["detail"]
    array = f'[{{"name": "x"}}, {body}]'
    assert "twice" in refused(api.post("/gadget", body=array, headers=ARRAY))["detail"]


def test_many_keys_with_one_of_them_twice_are_refused_at_once(api):
    body = "{" + ",".join(f'"{number}":1' for number in range(80_000)) + ',"79999":1}'
    started = time.monotonic()
    refused(api.post("/gadget", body=body, headers=JSON))
    assert time.monotonic() - started < 3


# Fields


WRONG = {
    "name": [1, True, [], {}, 1.5, ["x"], "\ud800", "x" * 3000],
    "count": ["1", 1.5, True, [], {}, "x", "", 1e300],
    "weight": ["1.5", True, [], {}, "", "x"],
    "price": [True, [], {}, "x", "", "1,5", "1e999999999", "0x1", "NaN"],
    "exact": [True, [], {}, "x", "", "1e999999999", "1" * 40],
    "on": ["true", 0, 1, [], {}, "", "yes"],
    "at": [True, [], {}, "x", "", "2020-13-01", "2020-01-01T25:00:00Z", "20200101T000000Z0", 1e30,
    "0000-00-00T00:00:00Z"],
    "day": [1, True, [], {}, "x", "", "2020-02-30", "2020-1-1"],
    "uid": [1, True, [], {}, "x", "", "12345678-1234-5678-1234-56781234567"],
    "raw": [1, True, [], {}, "å", "x", "a===", "%%%%"],
    "link": [1, True, [], {}, "x", "", "javascript:alert(1)", "http://"],
    "other": [1, True, [], {}, "x", "", "65a0", "g" * 24, {"$oid": "65a000000000000000000001"}],
    "place": [1, True, "x", [1], [1, 2, 3], ["a", "b"], {"type": "Point"}, {"type": "Line", "coordinates": [1,
    2]},
              {"type": "Point", "coordinates": [[1, 2]]}, {"type": "Point", "coordinates": {}},
              {"$geometry": 1}],
    "maker": [1, True, [], {}, "x", "", ABSENT, {"id": ABSENT}, {"$ne": None},
    {"name": "x"}],
    "makers": [1, True, {}, "x", [1], ["x"], [None], [[]], [{}], [ABSENT], [{"$ne": None}]],
    "anything": [1, True, [], {}, "x", ABSENT, {"_cls": "Maker"}, {"id": "x"}, {"_cls": "Maker",
    "id": "x"},
                 {"_cls": "Maker", "id": ABSENT}, {"_cls": "Gadget", "id": "x"}, {"_cls": "Nothing",
                 "id": "x"},
                 {"_cls": 1, "id": "x"}, {"_cls": "Maker", "_ref": "x"}],
    "part": [1, True, [], "x", "", [{}], {"nothing": 1}, {"size": "x"}, {"_cls": "Part"}, {"$set": 1},
    {"_id": 1}],
    "parts": [1, True, {}, "x", [1], [None], ["x"], [[]], [{"size": "x"}], [{"nothing": 1}]],
    "tags": [1, True, {}, "x", [1], [None], [[]], [{}], ["x", 1]],
    "sizes": [1, True, [], "x", {"a": "x"}, {"a": None}, {"$a": 1}, {"a.b": 1}, {"": 1}, {"a": 2**70},
    {"a\0b": 1}],
    "details": [1, True, [], "x", {"$where": "1"}, {"a": {"$gt": 1}}, {"a.b": 1}, {"": 1},
    {"a": {"b": [{"$c": 1}]}},
                {"_cls": "Gadget"}, {"\0": 1}, {"\ud800": 1}, {"a": "\ud800"}],
    "free": [{"$where": "1"}, {"a.b": 1}, {"_cls": "Part"}, ["\udc00"], [{"$a": 1}]],
    "mixed": [1, True, {}, "x", [{"$where": 1}], [{"_cls": "Part"}], [2**64]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
def test_wrong_type_is_400_and_names_the_field(api, field, value):
    found = fields(refused(api.post("/gadget", json={"name": "x", field: value})))
    assert all(name == field or name.startswith(f"{field}.") for name in found)


@pytest.mark.parametrize(("field", "value"), [(field, values[-1]) for field, values in WRONG.items()])
def test_update_with_a_wrong_type_is_400_and_changes_nothing(api, field, value):
    for verb in (api.put, api.patch):
        refused(verb(PATH, json={"name": "other", field: value}))


def test_all_that_is_wrong_is_told_at_once(api):
    body = {
        "count": "x",
        "on": 3,
        "part": {"size": "x", "nothing": 1},
        "parts": [{"size": 1}, {"size": "x"}],
        "y": 1,
    }
    expected = ["count", "on", "part.size", "part.nothing", "parts.1.size", "y"]
    assert fields(refused(api.post("/gadget", json=body))) == expected


@pytest.mark.parametrize(
    "name",
    ["nothing", "_id", "pk", "_cls", "save", "to_json", "objects", "__class__", "_data", "_created",
    "_fields", "", " ",
     "$set", "$where", "a.b", "part.name", "id", "Name", "name ", "\0", "\ud800", "å", "constructor",
     "__proto__", "self",
     "delete", "meta", "_meta", "clean", "validate", "x" * 1000],
)  # fmt: skip
def test_unknown_field_is_400_and_named(api, name):
    for value in ("x", None, {}, 1):
        problem = refused(api.post("/gadget", json={"name": "x", name: value}))
        assert len(problem["errors"]) == 1
        refused(api.patch(PATH, json={"name": "y", name: value if name != "id" else "x"}))


@pytest.mark.parametrize(
    "name",
    ["_id", "_cls", "pk", "save", "objects", "__class__", "$set", "a.b", "", "_data", "\0", "\ud800", "self",
    "id",
     "_hidden", "to_json", "validate", "a.$b"],
)  # fmt: skip
def test_dynamic_document_refuses_names_that_are_no_fields(api, name):
    refused(api.post("/loose", json={"name": "x", name: "y"}))
    refused(api.patch(f"/loose/{STORED}", json={"name": "x", name: "y"}))
    if name not in ("a.b", "\ud800"):  # which a form spells otherwise, or not at all
        refused(api.post("/loose", form={"name": "x", name: "y"}))


def test_update_of_a_generated_primary_key_is_400(api):
    for value in (str(ObjectId()), None, "x", 1):
        refused(api.put(PATH, json={"id": value}))


# Forms


@pytest.mark.parametrize(
    ("body", "name"),
    [("name=a=b=c", "a=b=c"), ("name=a+b", "a b"), ("name=a%2Bb", "a+b"), ("name=%26%3D", "&="), ("name=",
    ""),
     ("name=a;b", "a;b"), ("&&name=a&", "a"), ("name=%", "%"), ("name=%zz", "%zz"), ("name", "")],
)  # fmt: skip
def test_odd_forms_mean_what_browsers_mean_by_them(free, body, name):
    reply = free.post("/gadget", body=body, headers=FORM)
    assert (reply.status, reply.json["name"]) == (201, name)


@pytest.mark.parametrize(
    "body",
    [
        "name=a&name=b", "count=1&count=1", "part.name=a&part.name=b", "name[]=a", "count[]=1&count[]=2",
        "part[]=x",
        "name.x=1", "part=x&part.name=a", "part.name=a&part=x", "details=x&details.a=1",
        "details.a=1&details.a.b=2",
        "details.a.b=2&details.a=1", "tags[]=a&tags=b", "tags.0=a", "parts.0.name=a", "nothing=1", "=1",
        "[]=1", ".=1",
        "..=1", "part.=1", ".name=1", "name.=1", "$set.name=1", "details.$where=1", "details..a=1", "_id=1",
        "_cls=x",
        "save=1", "part._cls=Part", "count=x", "count=1.5", "count=%D9%A1x", "on=maybe", "maker=x",
        "makers[]=x",
        "makers[]=a&makers[]=b", "at=x", "weight=x", "name%5B%5D=a", "x[y]=1", "tags[0]=a", "details[]=1",
        "place=x", "other=x", "uid=x", "details.a%00=1", "sizes.a=x", "sizes.a.b=1", "anything=x", "parts=x",
        "tags=x%5B",
        "count=9223372036854775808", "count=" + "9" * 5000, "maker.name=x",
    ],
)  # fmt: skip
def test_form_that_does_not_fit_is_400(api, body):
    assert refused(api.post("/gadget", body=body, headers=FORM))["errors"]
    refused(api.put(PATH, body=body, headers=FORM))


@pytest.mark.parametrize("body", ["name=%FF", "%FF=1", "name=\xff", "name=%ED%A0%80"])
def test_form_that_is_not_utf8_is_400(api, body):
    refused(api.post("/gadget", body=body.encode("latin-1"), headers=FORM))


@pytest.mark.parametrize("key", ["name", "x{}", "details.x{}", "tags[]", "details.x{}.y"])
def test_form_of_10_000_keys_is_400(api, key):
    body = "&".join(f"{key.format(number)}=1" for number in range(10_000))
    refused(api.post("/gadget", body=body, headers=FORM))


def test_form_with_a_deep_key_is_400(api):
    for depth in (70, 1000, 100_000):
        refused(api.post("/gadget", body="details" + ".a" * depth + "=1", headers=FORM))


def test_form_with_deep_json_in_it_is_400(api):
    for depth in (100, 900, 10_000):
        for field in ("details", "mixed", "tags", "part"):
            for text in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
                refused(api.post("/gadget", form={field: text}))


def test_brackets_in_the_text_of_a_form_are_text(free):
    reply = free.post("/gadget", form={"name": "[" * 500, "free": "[" * 500})
    assert (reply.status, reply.json["name"]) == (201, "[" * 500)


# Content types


@pytest.mark.parametrize(
    "content_type",
    [
        None, "", "text/plain", "text/json", "application/xml", "application/octet-stream", "garbage", ";",
        "/",
        "application/json, text/plain", "application/jsonx", "application", "*/*", "application/*",
        "x" * 5000,
        "multipart/form-data; boundary=x", "multipart/form-data", "application/json; charset=latin-1",
        "application/json; charset=utf-16", "application/json; charset=", "application/vnd.api+json",
        "applicatión/json",
        "application/x-www-form-urlencoded; charset=iso-8859-1", "application/json-patch+jso",
        "text/event-stream",
    ],
)  # fmt: skip
def test_other_content_types_are_415(api, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    for body in (b'{"name": "x"}', b"name=x", b""):
        refused(api.post("/gadget", body=body, headers=headers), 415)
        refused(api.put(PATH, body=body, headers=headers), 415)
        refused(api.patch(PATH, body=body, headers=headers), 415)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "APPLICATION/JSON", "application/json;charset=utf-8",
    "application/json; charset=UTF-8",
     'application/json; charset="utf-8"', "application/json ; charset=utf-8", "application/json;"],
)  # fmt: skip
def test_ways_to_say_json(free, content_type):
    reply = free.post("/gadget", body=b'{"name": "\xc3\xa5"}', headers={"Content-Type": content_type})
    assert (reply.status, reply.json["name"]) == (201, "å")


def test_multipart_body_is_415(api):
    body = '--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nAda\r\n--x--\r\n'
    refused(api.post("/gadget", body=body, headers={"Content-Type": "multipart/form-data; boundary=x"}), 415)


# Size


def test_body_over_a_mebibyte_is_413(api):
    body = json.dumps({"name": "x" * 2**20})
    refused(api.post("/gadget", body=body, headers=JSON), 413)
    refused(api.put(PATH, body=body, headers=JSON), 413)
    refused(api.patch(PATH, body=body, headers=JSON), 413)


def test_array_over_16_mebibytes_is_413(api):
    body = json.dumps([{"name": "x" * 1000}] * 17_000)
    assert len(body) > 2**24
    refused(api.post("/gadget", body=body, headers=ARRAY), 413)


def test_array_of_just_16_mebibytes_is_read(free):
    filler = '{"tags": ["' + "x" * (2**20 - 64) + '"]}'
    body = "[" + ",".join([filler] * 15) + ',{"name": "last"}'
    body += " " * (2**24 - len(body) - 1) + "]"
    reply = free.post("/gadget", body=body, headers=ARRAY)
    assert (reply.status, {one["status"] for one in reply.json}, len(reply.json)) == (201, {201}, 16)
    refused(free.post("/gadget", body=body + " ", headers=ARRAY), 413)
    assert Gadget.objects.count() == 16


@pytest.mark.parametrize("verb", ["PUT", "PATCH"])
def test_array_over_a_mebibyte_that_no_list_takes_is_refused(api, verb):
    body = json.dumps([{"name": "x" * 1000}] * 1_100)
    refused(api.request(verb, PATH, body=body, headers=JSON))
    refused(api.post(f"{PATH}/parts", body=body, headers=JSON))
    refused(api.request(verb, PATH, body=" " * 1000 + body, headers=JSON))


def test_body_of_just_a_mebibyte_is_read(free):
    head, tail = b'{"tags": ["', b'"]}'
    body = head + b"x" * (2**20 - len(head + tail)) + tail
    assert free.post("/gadget", body=body, headers=JSON).status == 201
    refused(free.post("/gadget", body=body + b" ", headers=JSON), 413)


@pytest.mark.parametrize("size", [2**21, 2**24, 2**26])
def test_client_sees_the_413_although_it_has_sent_everything_first(api, size):
    head = head_of_post(f"Content-Length: {size}")
    refused(api.post("/gadget", body=b" " * size, headers=JSON), 413)
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        connection.sendall(head + b" " * size)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("media_type", "limit"),
    [("application/json", 2**24), ("application/x-www-form-urlencoded", 2**20),
     ("application/merge-patch+json", 2**20), ("text/plain", 2**20)],
)  # fmt: skip
def test_client_that_waits_for_100_continue_sees_the_413_instead(api, media_type, limit):
    def head(size):
        text = head_of_post("Expect: 100-continue", f"Content-Length: {size}")
        return text.replace(b"application/json", media_type.encode())

    assert talk(api, head(limit + 1)).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(head(limit))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")


def test_client_that_was_told_to_continue_sees_the_413_of_an_object(api):
    """For only what an array begins with tells it from an object, and it may be larger."""
    head = head_of_post("Expect: 100-continue", "Content-Length: 2000000", "Connection: close")
    answer = talk(api, head, b'{"name": "' + b"x" * 1_999_988 + b'"}')
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert answer.split(b"\r\n\r\n", 1)[1].startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("length", [10**8 + 1, 10**12, 10**30])
def test_huge_content_length_is_413(api, length):
    answer = talk(api, head_of_post(f"Content-Length: {length}") + b"{}")
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "length", ["x", "-1", "²", "1_0", "0x10", "", "9" * 5000, "1.5", "+5", "2, 3", "5 5"]
)
def test_content_length_that_is_no_number_is_4xx(api, length):
    answer = talk(api, head_of_post(f"Content-Length: {length}") + b"{}")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


def chunked(size, chunk=65536):
    yield head_of_post("Transfer-Encoding: chunked", "Connection: close", "Prefer: transaction=no")
    for _ in range(0, size, chunk):
        yield b"%x\r\n" % chunk + b" " * chunk + b"\r\n"
    yield b"0\r\n\r\n"


def test_chunked_body_over_the_limit_is_413(api):
    assert talk(api, *chunked(2**21)).startswith(b"HTTP/1.1 413 ")


def test_chunked_array_over_its_limit_is_413(api):
    head, *chunks = chunked(2**24)
    assert talk(api, head, b"1\r\n[\r\n", *chunks).startswith(b"HTTP/1.1 413 ")


def test_chunked_body_is_read(free):
    body = b'{"name": "x"}'
    head, end = chunked(0)
    assert talk(free, head, b"%x\r\n" % len(body), body, b"\r\n", end).startswith(b"HTTP/1.1 201 ")


def test_setting_limits_the_body(database):
    with serve(ROUTES, hive_body_limit=100) as client:
        assert client.post("/gadget", json={"name": "x"}).status == 201
        assert "100" in refused(client.post("/gadget", json={"name": "x" * 100}), 413)["detail"]
        assert Gadget.objects.count() == 1


def test_setting_limits_arrays_on_their_own(database):
    one = {"name": "x" * 60}
    with serve(ROUTES, hive_body_limit=100, hive_bulk_limit=200) as client:
        assert client.post("/gadget", json=[one, one], headers=ARRAY).status == 201
        refusal = refused(client.post("/gadget", json=[one, one, one], headers=ARRAY), 413)
        assert "200" in refusal["detail"]
        assert "100" in refused(client.post("/gadget", json={"name": "x" * 100}), 413)["detail"]
        assert Gadget.objects.count() == 2


def test_setting_may_raise_the_limit(database):
    with serve(ROUTES, hive_body_limit=2**22) as client:
        assert client.post("/gadget", json={"tags": ["x" * 2**21]}).status == 201


def test_document_over_16_mib_is_413(mongodb_database):
    with serve(ROUTES, hive_body_limit=2**26) as client:
        refused(client.post("/gadget", json={"tags": ["x" * (17 * 2**20)]}), 413)
        assert Gadget.objects.count() == 0


# The connection

CLOSE = "Connection: close\r\n"


def request(method, path, body=b"", headers=""):
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def statuses(answer):
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def test_connection_goes_on_after_an_error(api):
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=5)
    for body, status in ((b"{", 400), (b"", 400), (b'{"x": 1}', 400), (b"[" * 10_000, 400)):
        connection.request("POST", "/gadget", body=body, headers=ARRAY)
        response = connection.getresponse()
        assert (response.status, response.read() != b"") == (status, True)
    connection.request("GET", "/gadget/x")
    assert connection.getresponse().read()
    connection.request("GET", "/gadget")
    assert connection.getresponse().status == 200
    connection.close()


def test_pipelined_requests_are_answered_in_order(api):
    json_type = "Content-Type: application/json\r\n"
    sent = [
        request("GET", "/gadget"), request("POST", "/gadget", b"{", json_type), request("GET", "/gadget/x"),
        request("PUT", "/gadget"), request("POST", "/gadget", b'{"y": 1}', json_type),
        request("DELETE", "/gadget", headers="Prefer: transaction=no\r\n"),
        request("GET", "/gadget", headers=CLOSE),
    ]  # fmt: skip
    assert statuses(talk(api, b"".join(sent))) == [200, 400, 404, 405, 400, 400, 200]


def test_get_with_a_body_is_a_get(api):
    assert api.get("/gadget", json={"name": "x"}).status == 200
    assert api.get(PATH, body=b"\xff" * 100, headers={"Content-Type": "garbage"}).status == 200
    sent = request("GET", PATH, b"GET /x HTTP/1.1\r\n\r\n") + request("GET", "/gadget", headers=CLOSE)
    assert statuses(talk(api, sent)) == [200, 200]


def test_get_drops_a_body_of_any_size(api):
    assert api.get("/gadget", body=b" " * 2**21).status == 200


def test_half_a_request_leaves_nothing(api):
    head = (
        b"POST /gadget HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", api.port)) as connection:
        connection.sendall(head + b'{"name": "x"}')
    assert len(api.get("/gadget").json) == 1


@pytest.mark.parametrize("path", ["name", "count", "tags", "tags/0", "details", "details/a", "sizes/a",
"free/x", "at/year",
                                  "id", "pk", "_id", "_cls", "save", "objects", "__class__", "_data",
                                  "part/name", "part/name/x",
                                  "part/_instance", "place/coordinates", "to_json", "part/0", "nothing",
                                  "part/save/x", "%00"])  # fmt: skip
@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_path_over_what_is_no_document_is_404(api, path, verb):
    body = {} if verb in ("GET", "DELETE", "OPTIONS") else {"json": {"name": "x"}}
    refused(api.request(verb, f"{PATH}/{path}", **body), 404)
    refused(api.request(verb, f"{PATH}/{path}/x/y/z", **body), 404)


def test_a_compressed_body_is_415(api):
    headers = {**JSON, "Content-Encoding": "gzip"}
    refused(api.post("/gadget", body=b"\x1f\x8b", headers=headers), 415)


class Land(me.Document):
    code = me.StringField(primary_key=True)


def test_an_empty_primary_key_is_400_for_no_url_can_name_it(mongomock_database):
    with serve(ModelHive.routes_for(Land)) as client:
        refused(client.post("/land", json={"code": ""}))
        assert client.get("/land").json == []
