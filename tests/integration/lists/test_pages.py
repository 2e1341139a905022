"""Lists: by cursor and by number, while others write; counted; nested; and who hears of them."""

import random
import re
import time
import uuid
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlsplit

import mongoengine as me
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hive import ModelHive, flatten, signals
from hive.permissions import concealed, regardless
from hive.testing import connected, recorded, serve
from tests.support.commands import Commands


class ListPart(me.EmbeddedDocument):
    title = me.StringField(db_field="t")
    size = me.IntField()
    pin = me.StringField()
    maker = me.ReferenceField("ListPerson")


class ListShelf(me.EmbeddedDocument):
    name = me.StringField()
    parts = me.EmbeddedDocumentListField(ListPart)
    people = me.ListField(me.ReferenceField("ListPerson"))


class ListPerson(me.Document):
    name = me.StringField()
    age = me.IntField()
    mail = me.StringField()
    note = me.StringField()
    shelf = me.EmbeddedDocumentField(ListShelf)
    shelves = me.EmbeddedDocumentListField(ListShelf)
    friends = me.ListField(me.ReferenceField("self"))
    things = me.ListField(me.GenericReferenceField())


class ListKind(me.Document):
    name = me.StringField()
    meta = {"allow_inheritance": True}


class ListCircle(ListKind):
    radius = me.IntField()


class ListCoin(me.Document):
    code = me.StringField(primary_key=True)


def public(handler, instance):
    return instance is None or instance.mail != "secret"


@regardless
def anyone(handler, instance):
    return True


PEOPLE = "/list_person"
HIDDEN = ["shelf.parts.pin", "shelves.parts.pin", "mail"]
ROUTES = flatten(
    [
        ModelHive.routes_for(ListPerson, hidden=HIDDEN),
        ModelHive.routes_for(ListPerson, prefix="/some", hidden=HIDDEN[:2], allow={"get": public}),
        ModelHive.routes_for(
            ListPerson, prefix="/concealed", hidden=HIDDEN[:2], allow={"get": concealed(public)}
        ),
        ModelHive.routes_for(ListPerson, prefix="/any", hidden=HIDDEN, allow={"get": anyone}),
        ModelHive.routes_for(
            ListPerson, prefix="/young", hidden=HIDDEN, scope=lambda queryset, _: queryset.filter(age__lt=5)
        ),
        ModelHive.routes_for(ListPerson, prefix="/all", hidden=HIDDEN, stream=True),
        ModelHive.routes_for(ListKind),
        ModelHive.routes_for(ListCoin),
    ]
)


@pytest.fixture
def api(mongodb_database):
    with serve(ROUTES, cookie_secret="s" * 32) as client:
        yield client


@pytest.fixture
def quick(mongomock_database):
    """For claims that have nothing to do with the database."""
    with serve(ROUTES, cookie_secret="s" * 32) as client:
        yield client


@pytest.fixture
def commands(mongodb_server):
    watch = Commands()
    name = f"hive-{uuid.uuid4().hex[:12]}"
    with connected(name, host=mongodb_server, event_listeners=[watch]) as database:
        yield watch
        database.client.drop_database(name)


def links(reply):
    assert reply.status == 200, reply.body
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', reply.headers["Link"])}


def names(reply, key="name"):
    assert reply.status == 200, reply.body
    return [item[key] for item in reply.json]


def refused(reply, status=400):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    return reply.json["detail"]


def follow(api, path, rel="next", between=lambda: None):
    """The names in all pages from a path on; others are busy between them."""
    found = []
    while path is not None:
        reply = api.get(path)
        page = names(reply)
        found += page if rel == "next" else page[::-1]
        path = links(reply).get(rel)
        between()
    return found


def crowd(number=10, **more):
    return ListPerson.objects.insert([ListPerson(name=f"n{n:03}", age=n % 3, **more) for n in range(number)])


# Links


def test_a_list_goes_on_by_cursor(quick):
    crowd(5)
    reply = quick.get(f"{PEOPLE}?per_page=2&sort=name&age__gte=0&fields=name")
    assert links(reply).keys() == {"first", "next"}
    asked = dict(parse_qsl(urlsplit(links(reply)["next"]).query))
    assert asked.keys() == {"after", "per_page", "sort", "age__gte", "fields"}
    assert links(reply)["first"] == f"{PEOPLE}?per_page=2&sort=name&age__gte=0&fields=name"
    middle = quick.get(links(reply)["next"])
    assert (names(middle), links(middle).keys()) == (["n002", "n003"], {"first", "prev", "next"})
    last = quick.get(links(middle)["next"])
    assert (names(last), links(last).keys()) == (["n004"], {"first", "prev"})
    assert names(quick.get(links(middle)["prev"])) == ["n000", "n001"]
    assert links(quick.get(links(middle)["prev"])).keys() == {"first", "next"}


def test_a_list_that_was_asked_for_by_number_goes_on_by_number(quick):
    crowd(5)
    reply = quick.get(f"{PEOPLE}?per_page=2&page=2&sort=-name")
    assert names(reply) == ["n002", "n001"]
    assert links(reply) == {
        rel: f"{PEOPLE}?page={page}&per_page=2&sort=-name"
        for rel, page in (("first", 1), ("prev", 1), ("next", 3))
    }


def test_a_page_that_is_whole_is_the_last(quick):
    crowd(4)
    for path in (f"{PEOPLE}?per_page=4", f"{PEOPLE}?per_page=4&page=1", f"{PEOPLE}?per_page=5"):
        assert links(quick.get(path)).keys() == {"first"}


def test_an_empty_list_has_a_first_page(quick):
    for query in ("", "?sort=name", "?page=1", "?per_page=1"):
        reply = quick.get(f"{PEOPLE}{query}")
        assert (reply.json, links(reply).keys()) == ([], {"first"})


def test_what_is_after_the_last_and_before_the_first_is_nothing(quick):
    crowd(3)
    reply = quick.get(f"{PEOPLE}?per_page=2")
    forward = links(reply)["next"]
    back = links(quick.get(forward))["prev"]
    ListPerson.objects.delete()
    assert quick.get(forward).json == quick.get(back).json == []


def test_values_in_links_are_encoded(quick):
    ListPerson.objects.insert([ListPerson(name='a&b=c>;é,"') for _ in range(3)])
    path = f"{PEOPLE}?per_page=1&name=a%26b%3Dc%3E;%C3%A9,%22&sort=-age"
    assert len(follow(quick, path.replace(";", "%3B"))) == 3


def test_per_page_holds_for_the_links(quick):
    crowd(120)
    reply = quick.get(f"{PEOPLE}?per_page=1000")
    assert len(reply.json) == 100
    assert "per_page=100" in links(reply)["next"]
    assert len(quick.get(PEOPLE).json) == 20


NO_NUMBERS = [
    *(
        "0",
        "-1",
        "1e9",
        str(10**30),
        "",
        "+1",
        "%201",
        "1.0",
        "0x1",
        "%D9%A1",
        "one",
        "NaN",
        "9" * 5000,
        "1,2",
    ),
    *("1_0", "%00", "null", "true", "-0", "00"),
]


@pytest.mark.parametrize("name", ["page", "per_page"])
@pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: text[:20])
def test_what_is_no_number_of_a_page_is_400(quick, name, text):
    crowd(1)
    for path in (PEOPLE, f"{PEOPLE}/{ListPerson.objects.get().id}/friends"):
        refused(quick.get(f"{path}?{name}={text}"))


@pytest.mark.parametrize("page", [10**9, 2**31, 2**62, 10**18])
def test_a_page_far_out_is_empty(api, page):
    crowd(2)
    person = ListPerson.objects.first()
    for path in (PEOPLE, f"{PEOPLE}/{person.id}/friends", f"{PEOPLE}/{person.id}/shelves"):
        assert api.get(f"{path}?page={page}&per_page=100").json == []


def test_the_whole_list_is_for_models_that_stream(quick):
    crowd(25)
    refused(quick.get(f"{PEOPLE}?per_page=all"))
    assert len(quick.get(f"/all{PEOPLE}?per_page=all").json) == 25
    for more in ("page=1", "after=x", "before=x"):
        refused(quick.get(f"/all{PEOPLE}?per_page=all&{more}"))


# While others write


@pytest.mark.parametrize("rel", ["next", "prev"])
@pytest.mark.parametrize("sort", ["name", "-name", "age", "-age,name", "id"])
def test_what_stays_is_never_skipped_nor_repeated(api, sort, rel):
    stays = [person.name for person in crowd(20)]
    chosen, rounds = random.Random(3), iter(range(15))

    def others():
        if next(rounds, None) is None:
            return
        ListPerson.objects.insert(
            [ListPerson(name=f"x{n}", age=chosen.choice([None, 0, 1, 2])) for n in range(3)]
        )
        ListPerson.objects(name__startswith="x").limit(2).delete()
        if stays and chosen.random() < 0.7:
            gone = stays.pop(chosen.randrange(len(stays)))
            ListPerson.objects(name=gone).delete()

    start = f"{PEOPLE}?sort={sort}&per_page=3"
    if rel == "prev":
        *_, last = iter_pages(api, start)
        start = links(last)["prev"]
        seen_already = set(names(last))
    else:
        seen_already = set()
    seen = follow(api, start, rel, others)
    known = [name for name in seen if name.startswith("n")]
    assert len(known) == len(set(known))
    assert set(stays) - seen_already <= set(known)
    kept = [name for name in known if name in stays]
    now = [name for name in names(api.get(f"{PEOPLE}?sort={sort}&per_page=100")) if name in kept]
    assert kept == (now if rel == "next" else now[::-1])


def iter_pages(api, path):
    while path is not None:
        reply = api.get(path)
        yield reply
        path = links(reply).get("next")


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "turn"]), st.integers(0, 30), st.none() | st.integers(0, 2)
    ),
    max_size=8,
)


@given(ages=st.lists(st.none() | st.integers(0, 2), max_size=10), actions=ACTIONS, descending=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_walk_to_and_fro_while_others_write_loses_nothing(api, ages, actions, descending):
    """At each step, a page has what is stored next to the place where the one before it ended."""
    ListPerson.objects.delete()
    ListPerson.objects.insert(
        [ListPerson(name=f"n{n}", age=age) for n, age in enumerate(ages)]
    ) if ages else None
    sort = f"sort={'-' if descending else ''}age"
    reply, rel = api.get(f"{PEOPLE}?{sort}&per_page=2"), "next"
    for number, (action, which, age) in enumerate(actions):
        page = [item["id"] for item in reply.json]
        path = links(reply).get(rel)
        others = [str(person.id) for person in ListPerson.objects.only("id") if str(person.id) not in page]
        if action == "insert":
            ListPerson(name=f"i{number}", age=age).save()
        elif action == "delete" and others:
            ListPerson.objects(id=others[which % len(others)]).delete()
        elif action == "turn":
            rel = "prev" if rel == "next" else "next"
            continue
        if path is None:
            continue
        every = [item["id"] for item in api.get(f"{PEOPLE}?{sort}&per_page=100").json]
        reply = api.get(path)
        if page:
            expected = (
                every[every.index(page[-1]) + 1 :][:2]
                if rel == "next"
                else every[: every.index(page[0])][-2:]
            )
            assert [item["id"] for item in reply.json] == expected


# Counts


def test_nothing_is_counted_unasked(commands):
    people = crowd(5)
    people[0].update(friends=people, shelves=[ListShelf(name="a")])
    with serve(ROUTES) as api:
        first = follow(api, f"{PEOPLE}?per_page=2&sort=name&age__gte=0")
        assert len(first) == 5
        for path in (
            "?page=1",
            "?page=2&per_page=2",
            f"/{people[0].id}/friends",
            f"/{people[0].id}/friends?sort=name",
        ):
            reply = api.get(f"{PEOPLE}{path}")
            assert (reply.status, reply.headers["X-Total-Count"], reply.headers["Preference-Applied"]) == (
                200,
                None,
                None,
            )
    assert not {"count", "aggregate", "distinct"} & set(commands.names)


@pytest.mark.parametrize("how", ["exact", "estimated"])
def test_a_list_is_counted_by_parameter_or_preference(commands, how):
    crowd(7)
    with serve(ROUTES) as api:
        for path, headers, total in (
            (f"{PEOPLE}?count={how}", {}, 7),
            (f"{PEOPLE}?count={how}&per_page=2&sort=-name&page=2", {}, 7),
            (f"{PEOPLE}?age=0&count={how}", {}, 3),
            (f"{PEOPLE}?age=0&fields=name", {"Prefer": f"count={how}"}, 3),
            (PEOPLE, {"Prefer": f"respond-async, count={how}; x=1, wait=5"}, 7),
            (f"/young{PEOPLE}?name=n003", {"Prefer": f"count={how}"}, 1),
            (f"{PEOPLE}?name=nobody&count={how}", {}, 0),
        ):
            commands.names.clear()
            reply = api.get(path, headers=headers)
            assert (reply.status, reply.headers["X-Total-Count"]) == (200, str(total)), path
            assert reply.headers["Preference-Applied"] == (f"count={how}" if headers else None)
            assert len({"count", "aggregate"} & set(commands.names)) == 1
        head = api.request("HEAD", f"{PEOPLE}?count={how}")
        assert (head.headers["X-Total-Count"], head.body) == ("7", b"")


def test_the_count_stays_the_same_by_cursor(api):
    crowd(7)
    reply = api.get(f"{PEOPLE}?per_page=3&count=exact")
    reply = api.get(links(reply)["next"])
    assert (reply.headers["X-Total-Count"], len(reply.json)) == ("7", 3)


def test_a_count_of_one_class_among_several(api):
    ListKind(name="a").save()
    ListCircle(name="b").save()
    with serve(ModelHive.routes_for(ListCircle)) as circles:
        for how in ("exact", "estimated"):
            assert circles.get(f"/list_circle?count={how}").headers["X-Total-Count"] == "1"
            assert api.get(f"/list_kind?count={how}").headers["X-Total-Count"] == "2"


@pytest.mark.parametrize(
    "text", ["", "true", "1", "Exact", "exact ", "exact,estimated", "none", "EXACT", "exact&count=exact"]
)
def test_what_is_no_way_to_count_is_400(quick, text):
    refused(quick.get(f"{PEOPLE}?count={text.replace(' ', '%20')}"))


@pytest.mark.parametrize(
    "text", ["", "count", "count=", "count=none", "=", ";;,,", "counter=exact", "\xe9", "a" * 3000]
)
def test_a_preference_that_is_not_understood_is_ignored(quick, text):
    reply = quick.get(PEOPLE, headers={"Prefer": text})
    assert (reply.status, reply.headers["X-Total-Count"]) == (200, None)


@pytest.mark.parametrize("how", ["exact", "estimated"])
def test_a_list_whose_documents_decide_who_reads_them_is_not_counted(quick, how):
    person = ListPerson(name="a", friends=[ListPerson(name="b", mail="secret").save()]).save()
    for prefix in ("/some", "/concealed"):
        for path in ("", f"/{person.id}/friends"):
            reply = quick.get(f"{prefix}{PEOPLE}{path}?count={how}")
            refused(reply)
            assert "X-Total-Count" not in reply.headers
    assert quick.get(f"/any{PEOPLE}?count={how}").headers["X-Total-Count"] == "2"


def test_the_answer_varies_by_preference(quick):
    assert "Prefer" in quick.get(PEOPLE).headers["Vary"]


# Documents of which the client must not know


@pytest.mark.parametrize("prefix", ["/some", "/concealed"])
def test_pages_have_what_may_be_read_each_once(quick, prefix):
    ListPerson.objects.insert([ListPerson(name=f"n{n}", mail="secret" if n % 3 else "") for n in range(12)])
    assert follow(quick, f"{prefix}{PEOPLE}?per_page=2&sort=name") == ["n0", "n3", "n6", "n9"]
    assert follow(quick, f"{prefix}{PEOPLE}?per_page=2&page=1") == ["n0", "n3", "n6", "n9"]


# Nested lists


@pytest.fixture
def nested(mongodb_database):
    people = [
        ListPerson(name=name, age=age, mail="m").save()
        for name, age in (("b", 1), ("c", 2), ("a", 1), ("d", None))
    ]
    parts = [
        ListPart(title=title, size=size, pin="p", maker=people[0])
        for title, size in (("y", 2), ("x", 1), ("z", 2))
    ]
    shelf = ListShelf(name="s", parts=parts, people=people)
    things = [people[1], ListCoin(code="k").save(), people[0]]
    person = ListPerson(name="P", shelf=shelf, shelves=[shelf], friends=people, things=things).save()
    with serve(ROUTES, cookie_secret="s" * 32) as api:
        yield api, f"{PEOPLE}/{person.id}"


REFERENCES = ["friends", "shelf/people", "shelves/0/people"]
PARTS = ["shelf/parts", "shelves/0/parts"]


@pytest.mark.parametrize("path", REFERENCES)
def test_a_list_of_references_keeps_its_order_and_has_page_numbers(nested, path):
    api, person = nested
    assert names(api.get(f"{person}/{path}")) == ["b", "c", "a", "d"]
    reply = api.get(f"{person}/{path}?per_page=3")
    assert links(reply) == {
        "first": f"{person}/{path}?page=1&per_page=3", "next": f"{person}/{path}?page=2&per_page=3"
    }  # fmt: skip
    assert names(api.get(links(reply)["next"])) == ["d"]
    assert follow(api, f"{person}/{path}?per_page=1&age=1") == ["b", "a"]


@pytest.mark.parametrize("path", REFERENCES)
def test_a_sorted_list_of_references_has_cursors(nested, path):
    api, person = nested
    for sort, expected in (("name", "abcd"), ("-name", "dcba"), ("age,name", "dabc"), ("-age,name", "cabd")):
        reply = api.get(f"{person}/{path}?sort={sort}&per_page=1")
        assert "after=" in links(reply)["next"]
        assert "".join(follow(api, f"{person}/{path}?sort={sort}&per_page=1")) == expected
        *_, last = iter_pages(api, f"{person}/{path}?sort={sort}&per_page=3")
        assert "".join(follow(api, links(last)["prev"], "prev")) == expected[2::-1]
    assert names(api.get(f"{person}/{path}?sort=name&page=2&per_page=1&age=1")) == ["b"]


@pytest.mark.parametrize("path", REFERENCES)
def test_a_list_of_references_takes_all_that_a_list_does(nested, path):
    api, person = nested
    reply = api.get(f"{person}/{path}?fields=name&age=1&count=exact&expand=friends")
    assert (reply.json, reply.headers["X-Total-Count"]) == ([{"name": "b"}, {"name": "a"}], "2")
    reply = api.get(f"{person}/{path}?fields=name&age=1&count=exact&sort=-name&per_page=1")
    assert (reply.json, reply.headers["X-Total-Count"]) == ([{"name": "b"}], "2")
    for query in (
        "sort=mail",
        "fields=mail",
        "mail=m",
        "sort=x",
        "expand=name",
        "after=x",
        "sort=name&after=x",
    ):
        refused(api.get(f"{person}/{path}?{query}"))


@pytest.mark.parametrize("path", PARTS)
def test_a_list_in_an_embedded_document_is_filtered_sorted_and_shaped(nested, path):
    api, person = nested
    assert names(api.get(f"{person}/{path}"), "title") == ["y", "x", "z"]
    assert names(api.get(f"{person}/{path}?sort=title"), "title") == ["x", "y", "z"]
    assert names(api.get(f"{person}/{path}?sort=-size"), "title") == ["y", "z", "x"]
    assert names(api.get(f"{person}/{path}?sort=-size,-title"), "title") == ["z", "y", "x"]
    reply = api.get(
        f"{person}/{path}?size=2&sort=-title&fields=title,maker.name&expand=maker&count=exact&per_page=1"
    )
    assert (reply.json, reply.headers["X-Total-Count"]) == ([{"title": "z", "maker": {"name": "b"}}], "2")
    assert "page=2" in links(reply)["next"]
    assert names(api.get(links(reply)["next"]), "title") == ["y"]
    assert "pin" not in api.get(f"{person}/{path}").json[0]
    unknown = (
        "sort=pin",
        "fields=pin",
        "pin=p",
        "sort=t",
        "fields=maker.name",
        "expand=title",
        "after=x",
        "q=x",
    )
    for query in (*unknown, "sort=maker.name", "fields=maker.mail&expand=maker"):
        refused(api.get(f"{person}/{path}?{query}"))


def test_a_list_of_references_of_any_class_has_pages_only(nested):
    api, person = nested
    reply = api.get(f"{person}/things?per_page=2")
    assert [item.get("code", item.get("name")) for item in reply.json] == ["c", "k"]
    assert links(reply)["next"] == f"{person}/things?page=2&per_page=2"
    for query in (
        "sort=name",
        "fields=name",
        "expand=friends",
        "name=a",
        "count=exact",
        "after=x",
        "before=x",
        "x=1",
    ):
        refused(api.get(f"{person}/things?{query}"))


def test_embedded_lists_may_be_counted_by_those_who_may_read_the_document(quick):
    person = ListPerson(name="a", shelves=[ListShelf(name="s")]).save()
    reply = quick.get(f"/any{PEOPLE}/{person.id}/shelves?count=exact")
    assert reply.headers["X-Total-Count"] == "1"


# Who hears of it


@pytest.mark.parametrize(
    "query", ["", "?fields=name", "?fields=name&sort=-name&per_page=2", "?count=exact", "?page=2&per_page=2",
    "?expand=friends&fields=name", "?name=nobody"],
)  # fmt: skip
def test_a_list_is_told_of_once_with_whole_documents(api, query):
    crowd(5, mail="m", note="whole")
    with recorded() as heard:
        reply = api.get(f"{PEOPLE}{query}")
    assert [(one.name, one.sender) for one in heard] == [
        ("pre_get_list", ListPerson),
        ("post_get_list", ListPerson),
    ]
    assert heard[0].arguments["arguments"] == ["list_person"]
    items = heard[1].arguments["items"]
    assert [(type(item), item.mail, item.note) for item in items] == [(ListPerson, "m", "whole")] * len(
        reply.json
    )
    assert [item.name for item in items] == names(reply)


@pytest.mark.parametrize(
    ("path", "sender"), [("friends", ListPerson), ("shelf/people", ListPerson), ("shelf/parts", ListPart)]
)
def test_a_nested_list_is_told_of_once_with_whole_documents(nested, path, sender):
    api, person = nested
    name = "title" if sender is ListPart else "name"
    for query in (f"fields={name}", f"fields={name}&sort={name}&per_page=2"):
        with recorded() as heard:
            reply = api.get(f"{person}/{path}?{query}")
        assert [(one.name, one.sender) for one in heard] == [
            ("pre_get_list", sender),
            ("post_get_list", sender),
        ]
        items = heard[1].arguments["items"]
        assert [getattr(item, name) for item in items] == names(reply, name)
        assert all(item.pin == "p" if sender is ListPart else item.mail == "m" for item in items)


def test_a_document_in_a_shape_is_told_of_whole(api):
    [person] = crowd(1, mail="m")
    with recorded() as heard:
        assert api.get(f"{PEOPLE}/{person.id}?fields=name&expand=friends").json == {"name": "n000"}
    assert [one.name for one in heard] == ["pre_get_instance", "post_get_instance"]
    assert heard[1].arguments["instance"].mail == "m"


@pytest.mark.parametrize(
    "query", ["sort=x", "fields=x", "expand=x", "after=x", "per_page=0", "x=1", "count=x"]
)
def test_nobody_hears_of_a_list_that_is_refused(quick, query):
    with recorded() as heard:
        refused(quick.get(f"{PEOPLE}?{query}"))
    assert heard == []


def test_who_may_not_be_read_is_not_told_of(quick):
    ListPerson.objects.insert([ListPerson(name=f"n{n}", mail="secret" if n % 2 else "") for n in range(4)])
    with recorded(signals.post_get_list) as heard:
        quick.get(f"/concealed{PEOPLE}")
    assert [item.name for item in heard[0].arguments["items"]] == ["n0", "n2"]


# At once


@contextmanager
def at_most(seconds):
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def test_a_query_of_many_parameters_is_refused_at_once(quick):
    with at_most(2):
        for count in (201, 900):
            refused(quick.get(f"{PEOPLE}?" + "&".join(f"a{n}=1" for n in range(count))))
        refused(quick.get(f"{PEOPLE}?sort={'name,' * 3000}name"))


@pytest.mark.parametrize("parameter", ["sort", "fields", "expand"])
def test_unknown_names_of_any_length_are_refused_at_once(quick, parameter):
    with at_most(3):
        for text in ("a" * 16_000, "a." * 7_000, "name." * 3_000, "__" * 7_000, "friends." * 1_900):
            assert len(refused(quick.get(f"{PEOPLE}?{parameter}={text}"))) < 1000


# Models that say themselves what clients read


class ListAddress(me.EmbeddedDocument):
    city = me.StringField()
    code = me.StringField()
    name = me.StringField()

    def to_dict(self):
        return {"city": self.city}


class ListHome(me.EmbeddedDocument):
    name = me.StringField()


class ListOwner(me.Document):
    name = me.StringField()
    address = me.EmbeddedDocumentField(ListAddress)
    addresses = me.EmbeddedDocumentListField(ListAddress)
    homes = me.EmbeddedDocumentListField(ListHome)


class ListShy(me.Document):
    name = me.StringField()
    note = me.StringField()

    def to_dict(self):
        return {"name": self.name}


class ListBold(me.Document):
    meta = {"allow_inheritance": True}
    name = me.StringField()


class ListBashful(ListBold):
    note = me.StringField()

    def to_dict(self):
        return {"name": self.name}


def test_what_a_to_dict_may_leave_out_cannot_be_probed(mongomock_database):
    address = ListAddress(city="Rio", code="42")
    owner = ListOwner(name="Ann", address=address, addresses=[address]).save()
    shy, bold = ListShy(name="Ann", note="secret").save(), ListBashful(name="Bob", note="secret").save()
    routes = [ModelHive.routes_for(model) for model in (ListOwner, ListShy, ListBold)]
    with serve(flatten([routes, ModelHive.routes_for(ListShy, prefix="/f", filterable=["name"])])) as api:
        for query in ("address.code=42", "address.city=Rio", "sort=address.code", "addresses.code=42"):
            assert api.get(f"/list_owner?{query}").status == 400, query
        assert api.get(f"/list_owner/{owner.id}/addresses?code=42").status == 400
        for query in ("note=secret", "name=Ann", "note__exists=true", "sort=note", "any_of=note=secret"):
            reply = api.get(f"/list_shy?{query}")
            assert reply.status == 400, query
            assert "mean 'n" not in reply.json["detail"]
        assert api.get("/list_bold?note=secret").status == api.get("/list_bold?name=Bob").status == 400
        assert [item["name"] for item in api.get(f"/list_bold?id={bold.id}&sort=-id").json] == ["Bob"]
        assert [item["name"] for item in api.get(f"/list_shy?id__in={shy.id}").json] == ["Ann"]
        assert [item["name"] for item in api.get("/f/list_shy?name=Ann").json] == ["Ann"]
        assert api.get("/f/list_shy?note=secret").status == 400
        assert api.get("/list_owner?name=Ann").json[0]["address"] == {"city": "Rio"}


def test_filterable_names_fields_from_the_document_on(mongomock_database):
    owner = ListOwner(name="Ann", homes=[ListHome(name="h")]).save()
    with serve(ModelHive.routes_for(ListOwner, filterable=["name"])) as api:
        assert len(api.get("/list_owner?name=Ann").json) == 1
        assert api.get(f"/list_owner/{owner.id}/homes?name=h").status == 400
    with serve(ModelHive.routes_for(ListOwner, filterable=["homes"])) as api:
        assert len(api.get(f"/list_owner/{owner.id}/homes?name=h").json) == 1
        assert api.get("/list_owner?name=Ann").status == 400


def test_nothing_is_filterable_where_nothing_is_named(mongomock_database):
    ListOwner(name="Ann").save()
    with serve(ModelHive.routes_for(ListOwner, filterable=[])) as api:
        assert api.get("/list_owner?name=Ann").status == api.get("/list_owner?sort=name").status == 400
        assert len(api.get("/list_owner?fields=name").json) == 1
