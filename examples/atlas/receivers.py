"""What else happens when somebody changes the atlas."""

from hive.errors import Forbidden
from hive.signals import post_update_instance, pre_delete_instance

from .models import City, Country


@post_update_instance.connect_via(City)
@post_update_instance.connect_via(Country)
def audit(sender, instance, updated_fields):
    """Say what was changed, from what and to what."""
    for field, change in updated_fields.items():
        print(f"{sender.__name__} {instance.pk}: {field} was {change['from']!r}, is now {change['to']!r}")


@pre_delete_instance.connect_via(Country)
async def keep_countries(sender, arguments):
    """Refuse: cities lie in countries."""
    raise Forbidden("A country stays in the atlas.")
