"""What is recorded of signals, and until when."""

import pytest
from mongoengine import Document, StringField

from hive import signals
from hive.testing import recorded


class Cat(Document):
    name = StringField()


def test_recorded_leaves_nothing_connected_even_if_its_block_raises():
    before = {name: len(signal.receivers) for name, signal in signals.core.items()}
    with pytest.raises(AssertionError), recorded():
        assert not signals.pre_get_list.has_receivers_for(Cat)
    assert {name: len(signal.receivers) for name, signal in signals.core.items()} == before


def test_recorders_can_be_nested():
    with recorded() as outer:
        signals.post_get_list.send(Cat, items=[1], handler=None)
        with recorded() as inner:
            signals.post_get_list.send(Cat, items=[2], handler=None)
    assert [signal.arguments["items"] for signal in outer] == [[1], [2]]
    assert [signal.arguments["items"] for signal in inner] == [[2]]


def test_what_was_recorded_can_be_read_after_the_block():
    with recorded() as heard:
        signals.post_get_list.send(Cat, items=[1], handler=None)
    signals.post_get_list.send(Cat, items=[2], handler=None)
    assert len(heard) == 1
