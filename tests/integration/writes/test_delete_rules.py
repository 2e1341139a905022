"""mongoengine's delete rules, under every way to delete."""

import asyncio

import mongoengine as me
import pytest

import hive
from hive import ModelHive, signals
from hive.errors import Conflict, NotFound
from hive.testing import recorded, serve


class RuledUser(me.Document):
    meta = {"allow_inheritance": True}
    name = me.StringField()


class RuledAdmin(RuledUser):
    level = me.IntField()


class RuledInvoice(me.Document):
    """Keeps its users."""

    meta = {"allow_inheritance": True}
    user = me.ReferenceField(RuledUser, reverse_delete_rule=me.DENY)


class RuledReceipt(RuledInvoice):
    pass


class RuledContract(me.Document):
    parties = me.ListField(me.ReferenceField(RuledUser, reverse_delete_rule=me.DENY), db_field="pp")


class RuledPost(me.Document):
    """Goes with its author."""

    author = me.ReferenceField(RuledUser, reverse_delete_rule=me.CASCADE)
    reviewer = me.ReferenceField(RuledUser, reverse_delete_rule=me.NULLIFY)
    readers = me.ListField(me.ReferenceField(RuledUser, reverse_delete_rule=me.PULL))
    title = me.StringField()


class RuledComment(me.Document):
    post = me.ReferenceField(RuledPost, reverse_delete_rule=me.CASCADE)


class RuledCitation(me.Document):
    """Keeps the comments that it cites, and so the posts, and so their authors."""

    comment = me.ReferenceField(RuledComment, reverse_delete_rule=me.DENY)


class RuledNode(me.Document):
    name = me.StringField()
    parent = me.ReferenceField("self", reverse_delete_rule=me.CASCADE)
    guard = me.ReferenceField("self", reverse_delete_rule=me.DENY)


MODELS = (RuledUser, RuledInvoice, RuledContract, RuledPost, RuledComment, RuledCitation, RuledNode)


def routes(**options):
    return [route for model in MODELS for route in ModelHive.routes_for(model, **options)]


def dump():
    return {model: list(model._get_collection().find(sort=[("_id", 1)])) for model in MODELS}


@pytest.fixture
def client(mongodb_database):
    with serve(routes()) as client:
        yield client


@pytest.fixture
def transacting(mongodb_database):
    with serve(routes(transaction=True)) as client:
        yield client


@pytest.fixture(params=["mongomock", "mongodb", "transaction"])
def either(request):
    """A client of routes with and without transactions."""
    mocked = request.param == "mongomock"
    request.getfixturevalue("mongomock_database" if mocked else "mongodb_database")
    with serve(routes(transaction=request.param == "transaction")) as client:
        yield client


def users(*names):
    return [RuledUser(name=name).save() for name in names]


def by_request(client, document):
    return client.delete(f"/{type(document)._get_collection_name()}/{document.pk}")


# DENY


def test_a_rule_that_denies_is_409_with_the_number_and_kind_of_the_referrers(either):
    ann, bob = users("Ann", "Bob")
    for user in (ann, ann, bob):
        RuledInvoice(user=user).save()
    RuledContract(parties=[bob, ann]).save()
    before = dump()
    with recorded(signals.post_delete_instance) as heard:
        reply = by_request(either, ann)
    assert reply.status == 409
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert sorted(reply.json["referrers"], key=lambda told: told["kind"]) == [
        {"kind": "RuledContract", "field": "parties", "count": 1},
        {"kind": "RuledInvoice", "field": "user", "count": 2},
    ]
    assert "2 RuledInvoice by user" in reply.json["detail"]
    assert not heard
    assert dump() == before


@pytest.mark.parametrize("heard_by_somebody", [True, False], ids=["heard", "unheard"])
def test_what_is_referred_to_no_more_is_deleted(either, heard_by_somebody):
    [ann] = users("Ann")
    invoice = RuledInvoice(user=ann).save()
    signal = signals.post_delete_instance if heard_by_somebody else signals.receiver_failed
    with recorded(signal) as heard:
        assert by_request(either, ann).status == 409
        assert by_request(either, invoice).status == 204
        assert by_request(either, ann).status == 204
    assert [told.sender for told in heard] == ([RuledInvoice, RuledUser] if heard_by_somebody else [])
    assert RuledUser.objects.count() == 0


def test_a_referrer_of_a_subclass_counts_once(client):
    [ann] = users("Ann")
    RuledReceipt(user=ann).save()
    reply = by_request(client, ann)
    assert reply.status == 409
    assert sum(told["count"] for told in reply.json["referrers"]) == 1


def test_a_rule_for_a_class_holds_for_its_subclasses(either):
    admin = RuledAdmin(name="Ann", level=1).save()
    RuledInvoice(user=admin).save()
    reply = by_request(either, admin)
    assert reply.status == 409
    assert {"kind": "RuledInvoice", "field": "user", "count": 1} in reply.json["referrers"]
    assert RuledAdmin.objects.count() == 1


def test_a_document_that_refers_to_itself_is_one_of_its_referrers(client):
    node = RuledNode(name="n").save()
    node.guard = node
    node.save()
    reply = by_request(client, node)
    assert (reply.status, reply.json["referrers"]) == (
        409,
        [{"kind": "RuledNode", "field": "guard", "count": 1}],
    )
    assert RuledNode.objects.count() == 1


@pytest.mark.parametrize("preference", [{}, {"Prefer": "transaction=no"}], ids=["all-or-none", "each"])
def test_of_several_those_are_denied_that_are_referred_to(mongodb_database, preference):
    ann, bob, cid = users("Ann", "Bob", "Cid")
    RuledInvoice(user=bob).save()
    with serve(routes()) as client, recorded(signals.post_delete_instance) as heard:
        reply = client.delete("/ruled_user?name__in=Ann,Bob,Cid", headers=preference)
    results = reply.json["results"] if not preference else reply.json
    told = {one["id"]: one for one in results}
    assert told[str(bob.pk)]["status"] == 409
    assert {"kind": "RuledInvoice", "field": "user", "count": 1} in told[str(bob.pk)]["referrers"]
    if preference:
        assert reply.status == 207
        assert [told[str(one.pk)]["status"] for one in (ann, cid)] == [204, 204]
        assert [user.name for user in RuledUser.objects] == ["Bob"]
        assert len(heard) == 2
    else:
        assert reply.status == 409
        assert [told[str(one.pk)]["status"] for one in (ann, cid)] == [424, 424]
        assert RuledUser.objects.count() == 3
        assert not heard


def test_hive_delete_raises_what_a_client_is_answered(database):
    [ann] = users("Ann")
    RuledInvoice(user=ann).save()
    with recorded() as heard, pytest.raises(Conflict) as raised:
        asyncio.run(hive.delete(ann))
    assert {"kind": "RuledInvoice", "field": "user", "count": 1} in raised.value.members["referrers"]
    assert [told.name for told in heard] == ["pre_delete_instance"]
    assert RuledUser.objects.count() == 1
    RuledInvoice.objects.delete()
    asyncio.run(hive.delete(ann))
    assert RuledUser.objects.count() == 0
    with pytest.raises(NotFound):
        asyncio.run(hive.delete(ann))


# NULLIFY, PULL, CASCADE


def test_references_are_emptied_pulled_and_followed(either):
    ann, bob = users("Ann", "Bob")
    hers = RuledPost(author=ann, title="hers").save()
    RuledComment(post=hers).save()
    his = RuledPost(author=bob, reviewer=ann, readers=[ann, bob], title="his").save()
    kept = RuledComment(post=his).save()
    with recorded(signals.post_delete_instance) as heard:
        assert by_request(either, ann).status == 204
    [post] = RuledPost.objects
    assert (post.title, post.reviewer, [reader.name for reader in post.readers]) == ("his", None, ["Bob"])
    assert [comment.pk for comment in RuledComment.objects] == [kept.pk]
    assert [told.sender for told in heard] == [RuledUser]  # one request, one document


def test_hive_delete_follows_the_rules(database):
    ann, bob = users("Ann", "Bob")
    RuledComment(post=RuledPost(author=ann).save()).save()
    RuledPost(author=bob, reviewer=ann, readers=[ann]).save()
    asyncio.run(hive.delete(ann))
    [post] = RuledPost.objects
    assert (post.reviewer, post.readers) == (None, [])
    assert RuledComment.objects.count() == 0


@pytest.mark.parametrize("preference", [{}, {"Prefer": "transaction=no"}], ids=["all-or-none", "each"])
def test_several_are_deleted_with_what_goes_with_them(mongodb_database, preference):
    ann, bob, cid = users("Ann", "Bob", "Cid")
    for author in (ann, bob, cid):
        RuledComment(post=RuledPost(author=author, readers=[ann, bob, cid]).save()).save()
    with serve(routes()) as client:
        reply = client.delete("/ruled_user?name__in=Ann,Bob", headers=preference)
    assert [one["status"] for one in reply.json] == [204, 204]
    [post] = RuledPost.objects
    assert post.readers == [cid]
    assert RuledComment.objects.count() == 1


def test_a_tree_that_refers_to_itself_goes_as_a_whole(either):
    root = RuledNode(name="root").save()
    root.parent = root
    root.save()
    child = RuledNode(name="child", parent=root).save()
    RuledNode(name="grandchild", parent=child).save()
    other = RuledNode(name="other").save()
    assert by_request(either, root).status == 204
    assert [node.pk for node in RuledNode.objects] == [other.pk]


# A DENY further down a cascade


def cited(*names):
    """An author of posts, of which the last is commented, and the comment is cited."""
    [ann] = users("Ann")
    posts = [RuledPost(author=ann, title=name).save() for name in names]
    comment = RuledComment(post=posts[-1]).save()
    RuledCitation(comment=comment).save()
    RuledCitation(comment=comment).save()
    return ann


def test_a_denial_further_down_a_cascade_tells_of_the_referrers_there(either):
    reply = by_request(either, cited("one"))
    assert reply.status == 409
    assert reply.json["referrers"] == [{"kind": "RuledCitation", "field": "comment", "count": 2}]


def test_in_a_transaction_a_denial_further_down_a_cascade_undoes_all(transacting):
    ann = cited("one", "two")
    RuledPost(reviewer=ann, readers=[ann], title="reviewed").save()
    before = dump()
    with recorded(signals.post_delete_instance) as heard:
        assert by_request(transacting, ann).status == 409
    assert dump() == before
    assert not heard


def test_of_several_in_a_transaction_a_denial_further_down_undoes_all(mongodb_database):
    cited("one")
    [bob] = users("Bob")
    RuledPost(author=bob, title="his").save()
    before = dump()
    with serve(routes()) as client:
        reply = client.delete("/ruled_user?name__in=Ann,Bob")
    assert reply.status == 409
    assert dump() == before
