"""An audit trail: who created, updated and deleted which document, kept in MongoDB."""

import asyncio
import re
from datetime import UTC, datetime

from mongoengine import (
    DateTimeField,
    Document,
    EmbeddedDocument,
    EmbeddedDocumentListField,
    StringField,
)

import hive
from hive.signals import ext, post_create_instance, post_delete_instance, post_update_instance

audit_recorded = ext.signal(
    "audit_recorded", "An entry was stored; sender: the model that it is about.", ("entry",)
)
LONGEST = 1000
"""Characters of a value that are kept."""
SECRET = re.compile("password|passwd|secret|token|hash", re.IGNORECASE)
"""Fields of which the trail says that they changed, but not from what and to what."""


class Change(EmbeddedDocument):
    """One changed field; names inside embedded documents are dotted."""

    field = StringField(required=True)
    before = StringField()
    after = StringField()


class AuditEntry(Document):
    """What was done to one document; `user` and `request_id` are empty where no request did it."""

    meta = {"collection": "audit", "indexes": [("model", "document", "-when"), "-when"]}
    when = DateTimeField(required=True, default=lambda: datetime.now(UTC))
    what = StringField(required=True, choices=["created", "updated", "deleted"])
    model = StringField(required=True)
    document = StringField(required=True)
    changes = EmbeddedDocumentListField(Change)
    user = StringField()
    request_id = StringField()


class AuditTrail:
    """Keeps the trail of every application, or where it is installed as `limited` of one.

    A change inside an embedded document is a change of the document that holds it. Where an entry cannot be
    stored, the client has its answer all the same; hive logs it and sends `receiver_failed`.
    """

    name = "audit"

    def get_signal_subscriptions(self):
        return {
            post_create_instance: [{"receiver": self.created, "sender": Document}],
            post_update_instance: [{"receiver": self.updated, "sender": Document}],
            post_delete_instance: [{"receiver": self.deleted, "sender": Document}],
        }

    def bootstrap(self, application):
        """Serve the trail at ``/audit_entry``, read-only, if the setting `audit_scope` says who reads what.

        That is a scope as in `ModelHive.routes_for`: ``(queryset, handler) -> queryset``.
        """
        if scope := application.settings.get("audit_scope"):
            routes = hive.ModelHive.routes_for(AuditEntry, methods=["GET"], scope=scope)
            application.add_handlers(".*", routes)

    async def created(self, sender, instance):
        await record("created", sender, instance)

    async def updated(self, sender, instance, updated_fields):
        changes = [change(field, values) for field, values in updated_fields.items()]
        await record("updated", sender, instance, changes)

    async def deleted(self, sender, instance):
        await record("deleted", sender, instance)


async def record(what, sender, instance, changes=()):
    """Store an entry, in a thread because receivers run on the event loop; then send `audit_recorded`."""
    entry = AuditEntry(what=what, model=sender.__name__, document=str(instance.pk), changes=list(changes))
    if current := hive.context.get():
        entry.user, entry.request_id = text(current.current_user), current.request_id
    await asyncio.to_thread(entry.save)
    await audit_recorded.send_robust_async(sender, entry=entry)


def change(field, values):
    before, after = ("***" if SECRET.search(field) else text(values[when]) for when in ("from", "to"))
    return Change(field=field, before=before, after=after)


def text(value):
    return None if value is None else str(value)[:LONGEST]
