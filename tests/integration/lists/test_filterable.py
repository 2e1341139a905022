"""Lists are filtered and sorted by what the application names, and not by what a model keeps to itself."""

import uuid

import mongoengine as me

from hive import ModelHive, flatten
from hive.testing import connected, serve
from tests.support.commands import Commands


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


class ListNote(me.EmbeddedDocument):
    text = me.StringField()

    def to_dict(self):
        return {}


class ListNoted(me.Document):
    note = me.EmbeddedDocumentField(ListNote)


class ListPart(me.EmbeddedDocument):
    name = me.StringField()
    price = me.IntField()


class ListMap(me.Document):
    things = me.MapField(me.EmbeddedDocumentField(ListPart))


class ListFree(me.DynamicDocument):
    name = me.StringField()


class ListSlug(me.Document):
    slug = me.StringField(unique=True)
    meta = {"lookup_field": "slug"}


class ListHolder(me.Document):
    slug = me.ReferenceField(ListSlug)
    anything = me.GenericReferenceField()


class ListUnserved(me.Document):
    name = me.StringField()


class ListText(me.Document):
    name = me.StringField()
    text = me.StringField()
    meta = {"auto_create_index": False, "indexes": [{"fields": ["$text"]}]}


def refused(reply):
    assert reply.status == 400, reply.body[:200]
    return reply.json["detail"]


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


def test_no_filter_asks_for_what_an_embedded_to_dict_leaves_out(mongomock_database):
    with serve(ModelHive.routes_for(ListNoted)) as api:
        refused(api.get("/list_noted?note.text__startswith=s"))
        assert api.get("/list_noted?note__exists=true").status == 200


def test_it_is_not_told_which_classes_there_are(mongomock_database):
    with serve(ModelHive.routes_for(ListHolder)) as api:
        replies = [
            api.get(f'/list_holder?anything=%7B"_cls":"{name}","id":"zz"%7D')
            for name in ("ListUnserved", "ListNowhere")
        ]
        assert replies[0].status == replies[1].status
        assert replies[0].json == replies[1].json


def test_keys_of_digits_are_hidden_too(mongomock_database):
    ListFree(name="g", extra={"1": "secret"}, deep={"5": {"secret": 7}}).save()
    with serve(ModelHive.routes_for(ListFree, hidden=["extra.1", "deep.5.secret"])) as api:
        (shown,) = api.get("/list_free").json
        assert (shown["extra"], shown["deep"]) == ({}, {"5": {}})
        refused(api.get("/list_free?extra.1=secret"))
        refused(api.get("/list_free?deep.5.secret=7"))


def test_a_key_of_a_map_is_no_name_in_an_option(mongomock_database):
    with serve(ModelHive.routes_for(ListMap, filterable=["things.name"])) as api:
        refused(api.get("/list_map?things.k.price=5"))
        refused(api.get("/list_map?things.name.price=5"))
        assert api.get("/list_map?things.k.name=x").status == 200


def test_a_query_string_does_not_make_thousands_of_queries(mongodb_server):
    commands, name = Commands(), f"hive-{uuid.uuid4().hex[:12]}"
    routes = flatten([ModelHive.routes_for(model) for model in (ListSlug, ListHolder)])
    with connected(name, host=mongodb_server, event_listeners=[commands]) as database, serve(routes) as api:
        for names, parameters in ((1000, 7), (50, 90), (1, 90)):
            commands.names.clear()
            one = f"slug__in={','.join('x' * names)}"
            refused(api.get("/list_holder?" + "&".join([one] * parameters)))
            assert len(commands.names) <= 100
        database.client.drop_database(database.name)


def test_a_search_that_the_server_cannot_do_is_400(new_mongodb_database):
    ListText(name="a", text="x").save()
    with serve(ModelHive.routes_for(ListText)) as api:
        for more in ("", "&sort=name", "&count=exact"):
            assert "no index" in refused(api.get(f"/list_text?q=x{more}"))
