"""An application in the style of bzz, which its users test with pytest-tornado."""

import asyncio
from urllib.parse import urlencode

import pytest
from mongoengine import Document, StringField
from tornado.httpclient import HTTPClientError
from tornado.web import Application

from hive import ModelHive, NotFoundHandler, flatten
from hive.signals import post_create_instance, post_update_instance, pre_delete_instance

FORM = {
    "Content-Type": "application/x-www-form-urlencoded"
}  # which Tornado sends of its own accord with POST only


class BzzUser(Document):
    __collection__ = "GettingStartedUser"
    name = StringField()


@pytest.fixture(autouse=True)
def loop_before():
    """The event loop that pytest-tornado finds and sets again: it would make one, and not close it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def app(mongomock_database):
    routes = flatten([ModelHive.routes_for("mongoengine", BzzUser, resource_name="user")])
    return Application(routes, default_handler_class=NotFoundHandler)


@pytest.mark.gen_test
def test_a_posted_form_reaches_the_receiver_as_an_instance(http_client, base_url):
    called = []

    def handle_post_instance_created(sender, instance, handler):
        called.append((sender, instance.name, handler.request.method))

    with post_create_instance.connected_to(handle_post_instance_created):
        response = yield http_client.fetch(
            f"{base_url}/user/", method="POST", body="name=Bernardo%20Heynemann"
        )
    assert response.code == 201
    assert called == [(BzzUser, "Bernardo Heynemann", "POST")]
    assert BzzUser.objects.get().name == "Bernardo Heynemann"


@pytest.mark.gen_test
async def test_a_coroutine_may_be_a_receiver_and_a_test(http_client, base_url):
    called = []

    async def receiver(sender, updated_fields):
        called.append(updated_fields)

    user = BzzUser(name="Bernardo").save()
    with post_update_instance.connected_to(receiver, BzzUser):
        body = urlencode({"name": "Heynemann"})
        await http_client.fetch(f"{base_url}/user/{user.pk}", method="PUT", body=body, headers=FORM)
    assert called == [{"name": {"from": "Bernardo", "to": "Heynemann"}}]


@pytest.mark.gen_test
async def test_a_receiver_in_the_style_of_django_may_refuse(http_client, base_url):
    class Allowed(Exception):
        pass

    def receiver(sender, **kwargs):
        assert kwargs["arguments"] == [f"user/{user.pk}"]
        kwargs["handler"].send_error(410)
        raise Allowed

    user = BzzUser(name="Bernardo").save()
    with pre_delete_instance.connected_to(receiver, BzzUser), pytest.raises(HTTPClientError) as refusal:
        await http_client.fetch(f"{base_url}/user/{user.pk}", method="DELETE")
    assert refusal.value.code == 410
    assert BzzUser.objects.count() == 1


@pytest.mark.gen_test
async def test_an_unknown_user_is_a_problem(http_client, base_url):
    response = await http_client.fetch(f"{base_url}/user/nobody", raise_error=False)
    assert response.code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
