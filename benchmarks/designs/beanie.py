"""FastAPI and Beanie, as both document it: its documents are the models of the answers."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import uvicorn
from beanie import Document, PydanticObjectId, init_beanie
from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, Field
from pymongo import AsyncMongoClient

from benchmarks.people import COLLECTION, DATABASE

# A pattern is what mongoengine's EmailField checks. Pydantic's EmailStr checks each document that is
# read with a library, which makes the lists several times as slow.
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]


class Address(BaseModel):
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


class Person(Document, PersonIn):
    class Settings:
        name = COLLECTION


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with AsyncMongoClient[Any](os.environ["MONGODB_URI"]) as client:
        await init_beanie(database=client[DATABASE], document_models=[Person])
        yield


app = FastAPI(lifespan=lifespan)


async def found(key: PydanticObjectId) -> Person:
    person = await Person.get(key)
    if person is None:
        raise HTTPException(404)
    return person


@app.get("/person")
async def read_many(per_page: Annotated[int, Query(ge=1, le=100)] = 20) -> list[Person]:
    return await Person.find_all().sort("+_id").limit(per_page).to_list()


@app.post("/person", status_code=201)
async def create(values: PersonIn) -> Person:
    return await Person(**values.model_dump()).insert()


@app.get("/person/{key}")
async def read_one(key: PydanticObjectId) -> Person:
    return await found(key)


@app.patch("/person/{key}")
async def update(key: PydanticObjectId, values: Fields) -> Person:
    return await (await found(key)).set(values.model_dump(exclude_unset=True))


@app.delete("/person/{key}", status_code=204)
async def delete(key: PydanticObjectId) -> None:
    await (await found(key)).delete()


if __name__ == "__main__":
    os.environ["MONGODB_URI"] = sys.argv[2]
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
