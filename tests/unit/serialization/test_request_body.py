"""A body is read strictly: what is no JSON object or form in UTF-8 is refused, with a sentence."""

import json
import time

import mongoengine as me
import pytest

from hive.errors import BadRequest, ContentTooLarge, Invalid, UnsupportedMediaType
from hive.payload import FORM, JSON, JSON_PATCH, MERGE_PATCH, array, checked_type, read
from hive.schema import Visibility
from hive.serializers import Serializer
from tests.support.bodies import decoding, made

ACCEPTED = (JSON, MERGE_PATCH, JSON_PATCH, FORM)
INTERNALS = ("Traceback", "mongo", "bson", 'File "', "int_max", "object at 0x")


class BodyPart(me.EmbeddedDocument):
    name = me.StringField()
    size = me.IntField()


class BodyGadget(me.Document):
    name = me.StringField(max_length=2000)
    count = me.IntField()
    weight = me.FloatField()
    price = me.DecimalField()
    exact = me.Decimal128Field()
    on = me.BooleanField()
    at = me.DateTimeField()
    uid = me.UUIDField(binary=False)
    other = me.ObjectIdField()
    place = me.PointField()
    maker = me.ReferenceField("self")
    makers = me.ListField(me.ReferenceField("self"))
    anything = me.GenericReferenceField(choices=["self"])
    part = me.EmbeddedDocumentField(BodyPart)
    parts = me.EmbeddedDocumentListField(BodyPart)
    tags = me.ListField(me.StringField())
    sizes = me.MapField(me.IntField())
    details = me.DictField()
    free = me.DynamicField()
    mixed = me.ListField()


GADGETS = Serializer(BodyGadget, Visibility())


def refusal(function, *arguments):
    """The error of what must be refused."""
    with pytest.raises(BadRequest) as caught:
        function(*arguments)
    told = str([caught.value.detail, caught.value.errors])
    assert not any(word in told for word in INTERNALS), told
    return caught.value


def read_json(body):
    return read(JSON, body if isinstance(body, bytes) else body.encode(), GADGETS, ACCEPTED)


def read_form(body):
    return read(FORM, body if isinstance(body, bytes) else body.encode(), GADGETS, ACCEPTED)


def read_array(body):
    return list(array(body if isinstance(body, bytes) else body.encode(), 1000))


def make_json(body):
    return made(GADGETS, read_json(body), decoding())


def make_form(body):
    return made(GADGETS, read_form(body), decoding())


# The body as a whole


@pytest.mark.parametrize("body", [b"", b" ", b"\n\t \r\n"])
@pytest.mark.parametrize("function", [read_json, read_form])
def test_an_empty_body_is_refused(function, body):
    assert "empty" in refusal(function, body).detail


NO_OBJECTS = [b"null", b"1", b'"x"', b"true", b"1.5"]
ARRAYS = [b"[]", b'[{"name": "x"}]', b' \n[{"name": "x"}]', b"[1]", b"[[]]"]


@pytest.mark.parametrize("body", NO_OBJECTS + ARRAYS)
def test_a_body_must_be_an_object(body):
    assert "object" in refusal(read_json, body).detail


@pytest.mark.parametrize("item", [*NO_OBJECTS, b"[]", b'[{"name": "x"}]'])
@pytest.mark.parametrize("around", [b"[%s]", b'[{"name": "x"}, %s]', b'[%s, {"name": "x"}]'])
def test_the_items_of_an_array_must_be_objects(around, item):
    assert "object" in refusal(read_array, around % item).detail


MALFORMED = [
    b"{", b"}", b'{"name"', b'{"name":}', b"{'name': 'x'}", b'{"name": "x",}', b'{"name": "x"} x',
    b"name=x",
    b'{"name": "x"}{"name": "y"}', b'{"name": "\n"}', b'{"name": "\\x"}', b'{"count": 01}',
    b'{"count": .5}',
    b'{"count": +1}', b'{"count": 1.}', b'{"count": 0x1}', b'{/**/"name": "x"}',
    b'\xef\xbb\xbf{"name": "x"}',
    b'{"name": "x"', b'{"name": "\\u12"}', b'\x00{"name": "x"}', b'{name: "x"}', b"undefined",
    b'{"name": "x}', b'\x00[{"name": "x"}]', b'\xef\xbb\xbf[{"name": "x"}]',
]  # fmt: skip
MALFORMED_ARRAYS = [
    b"[", b'[{"name": "x"}', b'[{"name": "x"},', b'[{"name": "x"},]', b'[,{"name": "x"}]',
    b'[{"name": "x"} {"name": "y"}]', b'[{"name": "x"}]]', b'[{"name": "x"}] x', b"[,]", b"[]]", b"[}",
    b'[{"name": "x"}}', b'[{"name": "x",}]', b"[{'name': 'x'}]", b'[{"name": "x"}];',
    b'[{"name": "x"}][{"name": "y"}]', b'[{"name": "x"}:{"name": "y"}]',
    b"[" + b" " * 100, b'[{"name": "x"}\x0b]',
]  # fmt: skip


@pytest.mark.parametrize("body", MALFORMED + MALFORMED_ARRAYS)
def test_malformed_json_is_refused(body):
    assert "is not valid JSON" in refusal(read_json, body).detail


@pytest.mark.parametrize("body", MALFORMED_ARRAYS)
def test_a_malformed_array_is_refused(body):
    assert "JSON" in refusal(read_array, body).detail


@pytest.mark.parametrize(
    "body",
    [b'{"name": "\xff"}', b'{"\xc3": 1}', b'{"name": "\xed\xa0\x80"}', b'{"name": "\xc0\xaf"}',
    b"\xff\xfe{\x00}\x00",
     '{"name": "x"}'.encode("utf-16"), '{"name": "å"}'.encode("latin-1")],
)  # fmt: skip
def test_json_that_is_not_utf8_is_refused(body):
    assert "UTF-8" in refusal(read_json, body).detail
    assert "UTF-8" in refusal(read_array, b'[{"name": "x"}, ' + body + b"]").detail


@pytest.mark.parametrize(
    "text",
    ['{"details":' * 10_000, '{"details":' * 10_000 + "1" + "}" * 10_000,
    '{"tags": ' + "[" * 10_000 + "]" * 10_000 + "}",
     '{"details": {"a": ' + '{"a":' * 100 + "1" + "}" * 102, "[" * 10_000, "[" * 10_000 + "]" * 10_000],
)  # fmt: skip
def test_deep_json_is_refused(text):
    assert "deep" in refusal(read_json, text).detail
    refusal(read_array, f'[{{"name": "x"}}, {text}]')


def test_an_array_of_a_deep_object_is_refused():
    assert "deep" in refusal(read_array, '[{"a":' + "[" * 100 + "]" * 100 + "}]").detail


def test_brackets_in_strings_are_not_deep():
    body = {"name": '[{\\"' * 500, "tags": ["}" * 500, "[" * 500]}
    assert read_json(json.dumps(body)) == body
    assert read_array(json.dumps([body])) == [body]


@pytest.mark.parametrize(
    ("field", "value"),
    [("count", "#"), ("details", '{"x": #}'), ("free", "#"), ("mixed", "[#]"), ("sizes", '{"x": #}'),
     ("at", "#")],
)  # fmt: skip
@pytest.mark.parametrize(
    "number",
    ["9223372036854775808", "-9223372036854775809", "1" + "0" * 300, "9" * 5000, "-" + "9" * 100_000],
)
def test_an_integer_out_of_64_bits_is_refused(number, field, value):
    refusal(make_json, f'{{"{field}": {value.replace("#", number)}}}')


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "nan", "inf"])
def test_a_number_that_is_no_json_number_is_refused(number):
    for text in ('{"weight": %s}', '{"details": {"x": %s}}', '{"nothing": %s}'):
        assert "is not valid JSON" in refusal(read_json, text % number).detail


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-inf", "1e400", "nan", "sNaN"])
@pytest.mark.parametrize("field", ["count", "weight", "price"])
def test_a_text_that_is_no_finite_number_is_refused(text, field):
    assert [error["field"] for error in refusal(make_form, f"{field}={text}").errors] == [field]
    refusal(make_json, f'{{"{field}": "{text}"}}')


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "a", "name": "b"}', '{"name": "a", "name": "a"}', '{"part": {"name": "a", "name": "b"}}',
        '{"parts": [{"name": "a", "name": "b"}]}', '{"details": {"a": {"b": 1, "b": 2}}}',
        '{"name": "a", "\\u006eame": "b"}', '{"x": 1, "x": 2}',
    ],
)  # fmt: skip
def test_a_key_that_is_there_twice_is_refused(body):
    assert "twice" in refusal(read_json, body).detail
    assert "twice" in refusal(read_array, f'[{{"name": "x"}}, {body}]').detail


def test_one_of_many_keys_is_found_twice_without_a_search_through_all():
    body = "{" + ",".join(f'"{number}":1' for number in range(80_000)) + ',"79999":1}'
    start = time.thread_time()
    assert "twice" in refusal(read_json, body).detail
    assert time.thread_time() - start < 20  # CPU seconds: it takes 0.1, a search for each key minutes


def test_an_array_of_too_many_items_is_refused():
    with pytest.raises(ContentTooLarge, match="more than 2 items"):
        list(array(b"[{}, {}, {}]", 2))


# Forms


@pytest.mark.parametrize(
    ("body", "name"),
    [("name=a=b=c", "a=b=c"), ("name=a+b", "a b"), ("name=a%2Bb", "a+b"), ("name=%26%3D", "&="), ("name=",
    ""),
     ("name=a;b", "a;b"), ("&&name=a&", "a"), ("name=%", "%"), ("name=%zz", "%zz"), ("name", "")],
)  # fmt: skip
def test_odd_forms_mean_what_browsers_mean_by_them(body, name):
    assert read_form(body) == {"name": name}


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
        "save=1", "part._cls=BodyPart", "count=x", "count=1.5", "count=%D9%A1x", "on=maybe", "maker=x",
        "makers[]=x",
        "makers[]=a&makers[]=b", "at=x", "weight=x", "name%5B%5D=a", "x[y]=1", "tags[0]=a", "details[]=1",
        "place=x", "other=x", "uid=x", "details.a%00=1", "sizes.a=x", "sizes.a.b=1", "anything=x", "parts=x",
        "tags=x%5B",
        "count=9223372036854775808", "count=" + "9" * 5000, "maker.name=x", '[{"name": "x"}]',
    ],
)  # fmt: skip
def test_a_form_that_does_not_fit_is_refused(mongomock_database, body):
    assert refusal(make_form, body).errors


@pytest.mark.parametrize("body", ["name=%FF", "%FF=1", "name=\xff", "name=%ED%A0%80"])
def test_a_form_that_is_not_utf8_is_refused(body):
    assert "UTF-8" in refusal(read_form, body.encode("latin-1")).detail


@pytest.mark.parametrize("key", ["name", "x{}", "details.x{}", "tags[]", "details.x{}.y"])
def test_a_form_of_10_000_keys_is_refused(key):
    body = "&".join(f"{key.format(number)}=1" for number in range(10_000))
    assert "more than 1000 fields" in refusal(read_form, body).detail


@pytest.mark.parametrize("depth", [70, 1000, 100_000])
def test_a_form_with_a_deep_key_is_refused(depth):
    assert refusal(read_form, "details" + ".a" * depth + "=1").errors[0]["message"].endswith("64 deep")


@pytest.mark.parametrize("depth", [100, 900, 10_000])
@pytest.mark.parametrize("field", ["details", "mixed", "tags", "part"])
def test_a_form_with_deep_json_in_it_is_refused(field, depth):
    for text in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        refusal(make_form, f"{field}={text}")


def test_brackets_in_the_text_of_a_form_are_text():
    form = read_form(f"name={'[' * 500}&free={'[' * 500}")
    assert form == {"name": "[" * 500, "free": "[" * 500}


# Content types


@pytest.mark.parametrize(
    "content_type",
    [
        "", "text/plain", "text/json", "application/xml", "application/octet-stream", "garbage", ";", "/",
        "application/json, text/plain", "application/jsonx", "application", "*/*", "application/*",
        "x" * 5000,
        "multipart/form-data; boundary=x", "multipart/form-data", "application/json; charset=latin-1",
        "application/json; charset=utf-16", "application/json; charset=", "application/vnd.api+json",
        "applicatión/json",
        "application/x-www-form-urlencoded; charset=iso-8859-1", "application/json-patch+jso",
        "text/event-stream",
    ],
)  # fmt: skip
def test_other_content_types_are_refused_whatever_the_body_is(content_type):
    for body in (b'{"name": "x"}', b"name=x", b""):
        with pytest.raises(UnsupportedMediaType):
            read(content_type, body, GADGETS, ACCEPTED)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "APPLICATION/JSON", "application/json;charset=utf-8",
    "application/json; charset=UTF-8",
     'application/json; charset="utf-8"', "application/json ; charset=utf-8", "application/json;"],
)  # fmt: skip
def test_json_has_many_names(content_type):
    assert checked_type(content_type, ACCEPTED) == JSON


def test_only_what_is_accepted_is_read():
    with pytest.raises(UnsupportedMediaType, match=JSON):
        read(MERGE_PATCH, b"{}", GADGETS, (JSON,))


def test_a_form_error_is_told_as_one_of_a_field():
    with pytest.raises(Invalid) as caught:
        read_form("part.name=a&part.name=b")
    assert caught.value.errors == [{"field": "part.name", "message": "is given more than once"}]
