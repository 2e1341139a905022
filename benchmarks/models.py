"""The documents of `benchmarks.people`, for those who serve them with mongoengine."""

import mongoengine as me

from benchmarks.people import COLLECTION


class Address(me.EmbeddedDocument):
    street = me.StringField()
    city = me.StringField()


class Person(me.Document):
    name = me.StringField(required=True)
    email = me.EmailField()
    age = me.IntField()
    score = me.FloatField()
    born = me.DateTimeField()
    tags = me.ListField(me.StringField())
    address = me.EmbeddedDocumentField(Address)
    meta = {"collection": COLLECTION}  # noqa: RUF012 - mongoengine's
