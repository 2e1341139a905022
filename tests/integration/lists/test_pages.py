"""A list has pages, by cursor and by number, while others write; it is counted where that is asked for."""

import random
import re
import uuid
from urllib.parse import parse_qsl, urlsplit

import mongoengine as me
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hive import ModelHive, flatten
from hive.permissions import concealed, regardless
from hive.testing import connected, serve
from tests.support.commands import Commands


class PagesShelf(me.EmbeddedDocument):
    name = me.StringField()


class PagesPerson(me.Document):
    name = me.StringField()
    age = me.IntField()
    mail = me.StringField()
    shelves = me.EmbeddedDocumentListField(PagesShelf)
    friends = me.ListField(me.ReferenceField("self"))


class PagesKey(me.Document):
    key = me.StringField(primary_key=True)
    friends = me.ListField(me.ReferenceField(PagesPerson))


class PagesKind(me.Document):
    name = me.StringField()
    meta = {"allow_inheritance": True}


class PagesCircle(PagesKind):
    radius = me.IntField()


def public(handler, instance):
    return instance is None or instance.mail != "secret"


def young(queryset, handler):
    return queryset.filter(age__lt=5)


@regardless
def anyone(handler, instance):
    return True


PEOPLE = "/pages_person"
ROUTES = flatten(
    [
        ModelHive.routes_for(PagesPerson, hidden=["mail"]),
        ModelHive.routes_for(PagesPerson, prefix="/some", allow={"get": public}),
        ModelHive.routes_for(PagesPerson, prefix="/concealed", allow={"get": concealed(public)}),
        ModelHive.routes_for(PagesPerson, prefix="/any", hidden=["mail"], allow={"get": anyone}),
        ModelHive.routes_for(PagesPerson, prefix="/young", scope=young),
        ModelHive.routes_for(PagesPerson, prefix="/all", stream=True),
        [ModelHive.routes_for(model) for model in (PagesKey, PagesKind, PagesCircle)],
    ]
)


@pytest.fixture(scope="module")
def server():
    with serve(ROUTES, cookie_secret="s" * 32) as client:
        yield client


@pytest.fixture
def api(server, mongodb_database):
    return server


@pytest.fixture
def quick(server, mongomock_database):
    """For claims that have nothing to do with the database."""
    return server


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
    people = [PagesPerson(name=f"n{n:03}", age=n % 3, **more) for n in range(number)]
    return PagesPerson.objects.insert(people)


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
    PagesPerson.objects.delete()
    assert quick.get(forward).json == quick.get(back).json == []


def test_values_in_links_are_encoded(quick):
    PagesPerson.objects.insert([PagesPerson(name='a&b=c>;é,"') for _ in range(3)])
    path = f"{PEOPLE}?per_page=1&name=a%26b%3Dc%3E;%C3%A9,%22&sort=-age"
    assert len(follow(quick, path.replace(";", "%3B"))) == 3


def test_what_is_no_uri_in_a_target_is_one_in_link(quick):
    PagesKey(key="a>b").save()
    assert links(quick.get("/pages_key/a>b/friends"))["first"].startswith("/pages_key/a%3Eb/friends?")


def test_per_page_holds_for_the_links(quick):
    crowd(120)
    reply = quick.get(f"{PEOPLE}?per_page=1000")
    assert len(reply.json) == 100
    assert "per_page=100" in links(reply)["next"]
    assert len(quick.get(PEOPLE).json) == 20


def test_what_is_no_number_of_a_page_is_400(quick):
    [person] = crowd(1)
    for path in (PEOPLE, f"{PEOPLE}/{person.id}/friends"):
        for query in ("page=0", "per_page=x"):
            refused(quick.get(f"{path}?{query}"))


def test_a_page_far_out_is_empty(api):
    person, _ = crowd(2)
    for path in (PEOPLE, f"{PEOPLE}/{person.id}/friends", f"{PEOPLE}/{person.id}/shelves"):
        for page in (2**31, 10**18):
            assert api.get(f"{path}?page={page}&per_page=100").json == []


def test_the_whole_list_is_for_models_that_stream(quick):
    crowd(25)
    refused(quick.get(f"{PEOPLE}?per_page=all"))
    assert len(quick.get(f"/all{PEOPLE}?per_page=all").json) == 25
    refused(quick.get(f"/all{PEOPLE}?per_page=all&page=1"))


# While others write


WALKS = [("name", "next"), ("-name", "prev"), ("age", "prev"), ("-age,name", "next"), ("id", "next")]


@pytest.mark.parametrize(("sort", "rel"), WALKS)
def test_what_stays_is_never_skipped_nor_repeated(api, sort, rel):
    stays = [person.name for person in crowd(20)]
    chosen, rounds = random.Random(3), iter(range(15))

    def others():
        if next(rounds, None) is None:
            return
        PagesPerson.objects.insert(
            [PagesPerson(name=f"x{n}", age=chosen.choice([None, 0, 1, 2])) for n in range(3)]
        )
        PagesPerson.objects(name__startswith="x").limit(2).delete()
        if stays and chosen.random() < 0.7:
            gone = stays.pop(chosen.randrange(len(stays)))
            PagesPerson.objects(name=gone).delete()

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
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_walk_to_and_fro_while_others_write_loses_nothing(api, ages, actions, descending):
    """At each step, a page has what is stored next to the place where the one before it ended."""
    PagesPerson.objects.delete()
    if ages:
        PagesPerson.objects.insert([PagesPerson(name=f"n{n}", age=age) for n, age in enumerate(ages)])
    sort = f"sort={'-' if descending else ''}age"
    reply, rel = api.get(f"{PEOPLE}?{sort}&per_page=2"), "next"
    for number, (action, which, age) in enumerate(actions):
        page = [item["id"] for item in reply.json]
        path = links(reply).get(rel)
        others = [str(person.id) for person in PagesPerson.objects.only("id") if str(person.id) not in page]
        if action == "insert":
            PagesPerson(name=f"i{number}", age=age).save()
        elif action == "delete" and others:
            PagesPerson.objects(id=others[which % len(others)]).delete()
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
    people[0].update(friends=people, shelves=[PagesShelf(name="a")])
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
    PagesKind(name="a").save()
    PagesCircle(name="b").save()
    for how in ("exact", "estimated"):
        assert api.get(f"/pages_circle?count={how}").headers["X-Total-Count"] == "1"
        assert api.get(f"/pages_kind?count={how}").headers["X-Total-Count"] == "2"


def test_what_is_no_way_to_count_is_400_and_a_preference_of_it_is_ignored(quick):
    refused(quick.get(f"{PEOPLE}?count=true"))
    reply = quick.get(PEOPLE, headers={"Prefer": "count=true"})
    assert (reply.status, reply.headers["X-Total-Count"]) == (200, None)


@pytest.mark.parametrize("how", ["exact", "estimated"])
def test_a_list_whose_documents_decide_who_reads_them_is_not_counted(quick, how):
    person = PagesPerson(name="a", friends=[PagesPerson(name="b", mail="secret").save()]).save()
    for prefix in ("/some", "/concealed"):
        for path in ("", f"/{person.id}/friends"):
            reply = quick.get(f"{prefix}{PEOPLE}{path}?count={how}")
            refused(reply)
            assert "X-Total-Count" not in reply.headers
            preferred = quick.get(f"{prefix}{PEOPLE}{path}", headers={"Prefer": f"count={how}"})
            assert (preferred.status, preferred.headers["X-Total-Count"]) == (200, None)
    assert quick.get(f"/any{PEOPLE}?count={how}").headers["X-Total-Count"] == "2"


def test_the_answer_varies_by_preference(quick):
    assert "Prefer" in quick.get(PEOPLE).headers["Vary"]


# Documents of which the client must not know


@pytest.mark.parametrize("prefix", ["/some", "/concealed"])
def test_pages_have_what_may_be_read_each_once(quick, prefix):
    PagesPerson.objects.insert([PagesPerson(name=f"n{n}", mail="secret" if n % 3 else "") for n in range(12)])
    assert follow(quick, f"{prefix}{PEOPLE}?per_page=2&sort=name") == ["n0", "n3", "n6", "n9"]
    assert follow(quick, f"{prefix}{PEOPLE}?per_page=2&page=1") == ["n0", "n3", "n6", "n9"]


def test_embedded_lists_may_be_counted_by_those_who_may_read_the_document(quick):
    person = PagesPerson(name="a", shelves=[PagesShelf(name="s")]).save()
    reply = quick.get(f"/any{PEOPLE}/{person.id}/shelves?count=exact")
    assert reply.headers["X-Total-Count"] == "1"
