"""`scope` says which documents there are for a request: in lists, paths, references and bodies."""

import mongoengine as me
import pytest

from hive import ModelHive, flatten, signals
from hive.errors import Forbidden
from hive.testing import recorded, serve


class Booth(me.EmbeddedDocument):
    city = me.StringField(required=True)


class Tenancy(me.Document):
    tenant = me.StringField()
    name = me.StringField()
    slug = me.StringField()
    parent = me.ReferenceField("self")
    rows = me.ListField(me.ReferenceField("self"))
    part = me.EmbeddedDocumentField(Booth)
    anyone = me.GenericReferenceField(choices=["Tenancy"])
    meta = {"lookup_field": "slug"}


class Holding(me.Document):
    row = me.ReferenceField(Tenancy)


def refused(reply, status):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    return reply.json


def fields(reply):
    return [error["field"] for error in refused(reply, 400)["errors"]]


def routes(**options):
    return ModelHive.routes_for(Tenancy, resource_name="row", **options)


def serving(**options):
    return serve(routes(**options))


def of_tenant(queryset, handler):
    tenant = handler.request.headers.get("X-Tenant")
    return queryset.filter(tenant=tenant) if tenant else queryset.none()


@pytest.fixture
def tenants(mongomock_database):
    other = Tenancy(tenant="b", name="theirs", slug="theirs", part=Booth(city="x")).save()
    own = Tenancy(tenant="a", name="own", slug="own").save()
    mine = Tenancy(
        tenant="a",
        name="mine",
        slug="mine",
        parent=other,
        rows=[other, own],
        part=Booth(city="y"),
        anyone=other,
    ).save()
    with serving(scope=of_tenant) as client:
        yield Scoped(client), mine, own, other


class Scoped:
    """A client of one tenant."""

    def __init__(self, client, tenant="a"):
        self.client, self.headers = client, {"X-Tenant": tenant} if tenant else {}

    def request(self, verb, path, **how):
        return self.client.request(verb, path, headers=self.headers, **how)

    def get(self, path):
        return self.request("GET", path)

    def put(self, path, body):
        return self.request("PUT", path, json=body)

    def post(self, path, body):
        return self.request("POST", path, json=body)


def test_lists_have_what_is_in_scope(tenants):
    api, *_ = tenants
    assert [item["name"] for item in api.get("/row").json] == ["own", "mine"]
    assert [item["name"] for item in api.get("/row?per_page=1&page=2").json] == ["mine"]
    assert [item["name"] for item in Scoped(api.client, "b").get("/row").json] == ["theirs"]
    assert Scoped(api.client, None).get("/row").json == []
    assert Scoped(api.client, "zzz").get("/row").json == []


@pytest.mark.parametrize("verb", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("tail", ["", "/part"])
def test_what_is_out_of_scope_is_404_for_every_verb(tenants, verb, tail):
    api, mine, _, other = tenants
    before = other.to_mongo()
    with recorded(
        signals.post_get_instance, signals.pre_update_instance, signals.pre_delete_instance
    ) as heard:
        for name in (other.id, "theirs"):
            reply = api.request(
                verb, f"/row/{name}{tail}", json={"name": "x"} if tail == "" else {"city": "z"}
            )
            assert reply.status == 404
    nobody = Scoped(api.client, None)
    assert nobody.request(verb, f"/row/{mine.id}{tail}", json={}).status == 404
    assert heard == []
    assert other.reload().to_mongo() == before


def test_references_out_of_scope_are_404_in_urls(tenants):
    api, mine, _, other = tenants
    path = f"/row/{mine.id}"
    for place in ("parent", "parent/part", "anyone", f"rows/{other.id}", "rows/theirs", "rows/theirs/part"):
        for verb in ("GET", "PUT", "PATCH"):
            assert api.request(verb, f"{path}/{place}", json={"name": "x"}).status == 404
    assert api.request("DELETE", f"{path}/rows/theirs").status == 404
    assert [item["name"] for item in api.get(f"{path}/rows").json] == ["own"]
    assert api.get(f"{path}/rows/own").json["name"] == "own"
    assert other.reload().name == "theirs"
    assert len(mine.reload().rows) == 2


@pytest.mark.parametrize("how", ["id", "slug"])
def test_references_out_of_scope_are_400_in_bodies(tenants, how):
    api, _, own, other = tenants
    name = str(other.id) if how == "id" else "theirs"
    before = own.to_mongo()
    for verb, path, body, field in (
        ("POST", "/row", {"parent": name}, "parent"), ("POST", "/row", {"rows": ["own", name]}, "rows.1"),
        ("PUT", "/row/own", {"parent": name}, "parent"), ("PATCH", "/row/own", {"rows": [name]}, "rows.0"),
        ("POST", "/row/own/parent", {"id": name}, "id"), ("POST", "/row/own/rows", {"id": name}, "id"),
        ("PUT", "/row/own", {"anyone": {"_cls": "Tenancy", "id": name}}, "anyone"),
    ):  # fmt: skip
        assert fields(api.request(verb, path, json=body)) == [field]
    assert own.reload().to_mongo() == before
    assert Tenancy.objects.count() == 3


def test_references_in_scope_are_taken(tenants):
    api, _, own, _ = tenants
    body = {"parent": "own", "rows": [str(own.id)], "anyone": {"_cls": "Tenancy", "id": "own"}}
    assert api.put("/row/mine", body).status == 200
    assert api.get("/row/mine/parent").json["name"] == "own"
    assert api.get("/row/mine/anyone").json["name"] == "own"
    assert api.request("DELETE", "/row/mine").status == 204


def test_scope_may_be_any_filter(database):
    rows = [Tenancy(name=name, slug=name).save() for name in "abc"]
    for scope in (
        lambda queryset, handler: queryset.filter(id__in=[rows[0].id]),
        lambda queryset, handler: queryset.filter(__raw__={"_id": rows[0].id}),
        lambda queryset, handler: queryset.filter(me.Q(name="a") | me.Q(name="z")),
        lambda queryset, handler: queryset.filter(slug="a"),
        lambda queryset, handler: queryset(name__ne="b")(name__ne="c"),
    ):
        with serving(scope=scope) as api:
            assert [item["name"] for item in api.get("/row").json] == ["a"]
            assert api.get(f"/row/{rows[0].id}").status == 200
            assert api.get("/row/a").status == 200
            refused(api.get(f"/row/{rows[1].id}"), 404)
            refused(api.get("/row/b"), 404)
            refused(api.put("/row/b", json={"name": "x"}), 404)
            assert fields(api.put("/row/a", json={"parent": "b"})) == ["parent"]


def test_order_of_a_scope_is_the_order_of_the_list(mongodb_database):
    for name in "bca":
        Tenancy(name=name).save()
    with serving(scope=lambda queryset, handler: queryset.order_by("-name")) as api:
        assert [item["name"] for item in api.get("/row").json] == ["c", "b", "a"]


def test_scope_may_refuse(mongomock_database):
    def scope(queryset, handler):
        raise Forbidden("Not today.")

    with serving(scope=scope) as api:
        for verb, path in (("GET", "/row"), ("GET", "/row/x"), ("DELETE", "/row/x")):
            assert refused(api.request(verb, path), 403)["detail"] == "Not today."


@pytest.mark.usefixtures("tenants")
def test_two_prefixes_have_scopes_of_their_own():
    all_routes = flatten(
        [
            routes(prefix="/all"),
            routes(prefix="/own", scope=of_tenant),
        ]
    )
    with serve(all_routes) as client:
        api = Scoped(client)
        assert len(api.get("/all/row").json) == 3
        assert api.get("/all/row/mine/parent").json["name"] == "theirs"
        assert len(api.get("/own/row").json) == 2
        assert api.get("/own/row/mine/parent").status == 404
        assert fields(api.put("/own/row/mine", {"parent": "theirs"})) == ["parent"]
        assert api.put("/all/row/own", {"parent": "theirs"}).status == 200


def test_reference_in_a_body_is_refused_where_there_is_no_telling_whose_scope_holds(tenants):
    other = tenants[3]
    all_routes = flatten([
        ModelHive.routes_for(Holding), routes(prefix="/a", scope=of_tenant),
        routes(prefix="/b", scope=of_tenant),
    ])  # fmt: skip
    with serve(all_routes) as client:
        assert fields(Scoped(client).post("/holding", {"row": str(other.id)})) == ["row"]
