"""A model, a receiver, a route and a request: python examples/quickstart.py"""

from mongoengine import Document, StringField, connect
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application

from hive import HTTPServer, ModelHive, run
from hive.embedded import mongodb
from hive.signals import post_create_instance


class User(Document):
    name = StringField(required=True)


@post_create_instance.connect_via(User)
def welcome(sender, instance, handler):
    print(f"{sender.__name__} {instance.id} was created, the name is {instance.name}")


async def main():
    server = HTTPServer(Application(ModelHive.routes_for(User)))
    server.listen(8889, "127.0.0.1")
    answer = await AsyncHTTPClient().fetch(
        "http://127.0.0.1:8889/user/", method="POST", body="name=Bernardo%20Heynemann"
    )
    print(f"{answer.code} at {answer.headers['Location']}: {answer.body.decode()}")
    server.stop()


if __name__ == "__main__":
    # Nothing is kept, unless MONGODB_URI names another MongoDB.
    with mongodb(directory=None) as uri, connect("quickstart", host=uri):
        run(main())
