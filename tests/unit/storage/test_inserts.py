"""What one command says of several insertions is told to each; what a model does itself is left to it."""

import mongoengine as me
import pytest
from mongoengine.signals import post_save, pre_save
from pymongo.errors import BulkWriteError

from hive.insertions import Insertion, is_only_inserted


class InsertsNote(me.Document):
    text = me.StringField()
    code = me.IntField()


class InsertsKey(me.Document):
    name = me.StringField(primary_key=True)


class InsertsSaved(me.Document):
    def save(self, *args, **kwargs):
        return super().save(*args, **kwargs)


class InsertsCascading(me.Document):
    meta = {"cascade": True}


def test_receivers_that_are_gone_have_no_say():
    with post_save.connected_to(print), post_save.connected_to(print, sender=InsertsNote):
        assert not is_only_inserted(InsertsNote)
        assert not is_only_inserted(InsertsKey)
    with post_save.connected_to(print, sender=InsertsNote):
        assert not is_only_inserted(InsertsNote)
        assert is_only_inserted(InsertsKey)
    with post_save.connected_to(print, sender=InsertsKey):
        assert is_only_inserted(InsertsNote)


@pytest.mark.parametrize("signal", [pre_save, post_save], ids=["pre_save", "post_save"])
def test_a_document_of_which_somebody_hears_is_not_only_inserted(signal):
    with signal.connected_to(print, sender=InsertsNote):
        assert not is_only_inserted(InsertsNote)
    assert is_only_inserted(InsertsNote)


def test_what_a_model_does_when_it_is_saved_is_left_to_it():
    assert not is_only_inserted(InsertsSaved)
    assert not is_only_inserted(InsertsCascading)


# What the command says of each of several


class Refusing:
    """A collection whose server says this of an insertion."""

    codec_options = None

    def __init__(self, details):
        self.details = details

    def insert_many(self, documents, ordered):
        raise BulkWriteError(self.details)


@pytest.fixture
def works(mongomock_database):
    return [Insertion(InsertsNote(text=f"note {number}")) for number in range(3)]


def refused(works, monkeypatch, **details):
    monkeypatch.setattr(
        works[0], "collection", Refusing({"writeErrors": [], "writeConcernErrors": [], **details})
    )
    works[0].do(works)
    return [type(work.error).__name__ for work in works]


def test_only_those_that_are_refused_have_an_error(works, monkeypatch):
    told = [
        {"index": 0, "code": 11000, "errmsg": "E11000", "keyPattern": {"code": 1}},
        {"index": 2, "code": 121, "errmsg": "does not fit"},
    ]
    assert refused(works, monkeypatch, writeErrors=told) == ["DuplicateKeyError", "NoneType", "WriteError"]
    works[1].check()
    works[1].done()
    assert works[1].document.pk == works[1].image["_id"]
    for work, said in ((works[0], "E11000"), (works[2], "does not fit")):
        with pytest.raises(type(work.error), match=said):
            work.check()


def test_a_write_concern_that_is_not_met_is_told_to_all(works, monkeypatch):
    told = [{"code": 64, "errmsg": "waiting for replication timed out", "errInfo": {"wtimeout": True}}]
    assert refused(works, monkeypatch, writeConcernErrors=told) == ["WTimeoutError"] * 3
    assert works[0].error.timeout  # so that the answer is 503
    told = [{"code": 100, "errmsg": "not enough data-bearing nodes"}]
    assert refused(works, monkeypatch, writeConcernErrors=told) == ["WriteConcernError"] * 3
