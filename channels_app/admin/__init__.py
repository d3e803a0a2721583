"""The admin: Django's own, limited for everybody but a superuser to the instances they own.

site.py            the site, and "Messages" on its index
scope.py           who sees and changes what
secret.py          secrets that are shown once
messages.py        the read-only history of a channel
the other modules  one ModelAdmin each, all changes through `core.tenancy`
"""

from . import administrator_keys, administrators, api_keys, channels, instances, people

__all__ = ["administrator_keys", "administrators", "api_keys", "channels", "instances", "people"]
