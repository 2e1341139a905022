"""Documents made of bodies as requests make them, and as MongoDB and clients have them; without a server."""

from functools import partial

import pytest
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions

from hive.changes import image_of
from hive.decoding import Decoding
from hive.errors import Invalid
from hive.plain import as_json
from hive.refusals import answering

STANDARD = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)


def decoding(*resources, **how):
    """How a body is read that may name documents of these resources, where a field does not say so."""
    return Decoding(None, {resource.model: resource for resource in resources}.get, **how)


def made(serializer, body, how):
    """A new document as a body describes it, checked as before it is stored. Raises `Invalid`."""
    with answering(serializer.model):
        document = serializer.decode(body, how).build()
        document.validate()
    return document


def change(serializer, document, body, how):
    """Change a document as a body says, and check it as before it is stored. Raises `Invalid`."""
    with answering(serializer.model):
        serializer.decode(body, how, document).apply(document)
        document.validate()


def errors_of(serializer, body, how, document=None):
    """What is told of a body that is refused, for a new document or for one that there is."""
    apply = partial(made, serializer) if document is None else partial(change, serializer, document)
    with pytest.raises(Invalid) as caught:
        apply(body, how)
    return caught.value.errors


def stored(document):
    """The document as MongoDB gives it back."""
    return image_of(document, STANDARD)


def shown(serializer, raw):
    """What a client reads of a stored document."""
    return as_json(serializer.encode({"_id": None, **raw}))
