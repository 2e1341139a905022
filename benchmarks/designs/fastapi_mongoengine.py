"""FastAPI and mongoengine: functions that are no coroutines, which FastAPI runs in its threads."""

import sys
from datetime import datetime
from typing import Annotated, Any

import mongoengine as me
import uvicorn
from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from benchmarks.models import Person
from benchmarks.people import DATABASE

# What mongoengine's EmailField checks; see beanie.py.
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]


class Address(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    street: str | None = None
    city: str | None = None


class Fields(BaseModel):
    name: str | None = None
    email: Email | None = None
    age: int | None = None
    score: float | None = None
    born: datetime | None = None
    tags: list[str] = []
    address: Address | None = None


class PersonIn(Fields):
    name: str


class PersonOut(PersonIn):
    model_config = ConfigDict(from_attributes=True)
    id: Annotated[str, BeforeValidator(str)]


app = FastAPI()


def found(key: str) -> Any:
    try:
        return Person.objects.get(id=key)
    except (me.DoesNotExist, me.ValidationError):
        raise HTTPException(404) from None


@app.get("/person", response_model=list[PersonOut])
def read_many(per_page: Annotated[int, Query(ge=1, le=100)] = 20) -> Any:
    return list(Person.objects.order_by("id")[:per_page])


@app.post("/person", status_code=201, response_model=PersonOut)
def create(values: PersonIn) -> Any:
    return Person(**values.model_dump()).save()


@app.get("/person/{key}", response_model=PersonOut)
def read_one(key: str) -> Any:
    return found(key)


@app.patch("/person/{key}", response_model=PersonOut)
def update(key: str, values: Fields) -> Any:
    person = found(key)
    for name, value in values.model_dump(exclude_unset=True).items():
        setattr(person, name, value)
    return person.save()


@app.delete("/person/{key}", status_code=204)
def delete(key: str) -> None:
    found(key).delete()


if __name__ == "__main__":
    me.connect(DATABASE, host=sys.argv[2], uuidRepresentation="standard")
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
