"""What the atlas holds: countries, their currencies and their cities."""

from enum import Enum

from mongoengine import (
    Document,
    EmbeddedDocument,
    EmbeddedDocumentField,
    EnumField,
    FloatField,
    IntField,
    ListField,
    PointField,
    ReferenceField,
    StringField,
)


class Continent(Enum):
    AFRICA = "AF"
    ANTARCTICA = "AN"
    ASIA = "AS"
    EUROPE = "EU"
    NORTH_AMERICA = "NA"
    OCEANIA = "OC"
    SOUTH_AMERICA = "SA"


class Currency(EmbeddedDocument):
    code = StringField(required=True, regex=r"^[A-Z]{3}$")
    name = StringField(required=True)


class Country(Document):
    code = StringField(primary_key=True, regex=r"^[A-Z]{2}$")  # ISO 3166-1 alpha-2
    name = StringField(required=True)
    continent = EnumField(Continent, required=True)
    population = IntField(min_value=0)
    area = FloatField(min_value=0)  # square kilometres
    currency = EmbeddedDocumentField(Currency)
    languages = ListField(StringField())
    neighbours = ListField(ReferenceField("self"))
    capital = ReferenceField("City")

    meta = {"indexes": [("name", "code"), ("continent", "name", "code")]}


class City(Document):
    geonameid = IntField(primary_key=True)
    name = StringField(required=True)
    country = ReferenceField(Country, required=True)
    population = IntField(min_value=0)
    timezone = StringField()
    # The embedded MongoDB takes 20 s to index the points of all cities. Without an index they are found all
    # the same; only what is to be in the order of its distance needs one.
    location = PointField(auto_index=False)
    alternate_names = ListField(StringField())

    # Each costs the embedded MongoDB a second or two when the cities are loaded. They end with the primary
    # key, as every order does.
    meta = {"indexes": [("name", "geonameid"), ("country", "-population", "geonameid")]}
