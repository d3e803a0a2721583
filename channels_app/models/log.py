"""The tables of the log. Only `core.log` writes them (and the admin reads them).

Keys start with the channel, so that the tables can be partitioned or distributed by it. There are no foreign keys to
Channel: a deleted channel is gone for every reader at once, and its rows go in batches afterwards (`Purge`).
Times are integers: microseconds since 1970-01-01 UTC.
"""

from django.db import models


class Counter(models.Model):
    """Where a channel's ids stand. Its row lock orders publishes: whoever holds it until commit has the next ids.

    A row of its own, never columns of Channel: saving a Channel must not be able to write an old number back.
    """

    channel_id = models.BigIntegerField(primary_key=True)
    epoch = models.CharField(max_length=16)  # another one means: ids from before say nothing here
    last_id = models.BigIntegerField(default=0)
    trimmed_id = models.BigIntegerField(default=0)  # ids up to here are gone; retention removes only from the front


class RoomHead(models.Model):
    """The newest id of one room. A default channel's only room ("") has none: there it is the counter's."""

    pk = models.CompositePrimaryKey("channel_id", "room")
    channel_id = models.BigIntegerField()
    room = models.CharField(max_length=128)
    last_id = models.BigIntegerField()


class Message(models.Model):
    """One immutable message. `payload`, `author` and `metadata` are the JSON text that readers get."""

    pk = models.CompositePrimaryKey("channel_id", "id")
    channel_id = models.BigIntegerField()
    id = models.BigIntegerField()
    previous_id = models.BigIntegerField()  # the id before it in its own room; 0: none
    room = models.CharField(max_length=128)
    created_at = models.BigIntegerField()
    action = models.CharField(max_length=16)
    author = models.TextField()
    metadata = models.TextField()
    payload = models.TextField()

    class Meta:
        indexes = [models.Index(fields=["channel_id", "room", "id"], name="message_by_room")]


class IdempotencyKey(models.Model):
    """Remembers which id a publish got, so that the same publish sent again gets the same answer."""

    pk = models.CompositePrimaryKey("channel_id", "digest")
    channel_id = models.BigIntegerField()
    digest = models.CharField(max_length=64)  # of author and key: two clients may use the same words
    content = models.CharField(max_length=64)  # of what was published: the same key for something else is an error
    message_id = models.BigIntegerField()
    previous_id = models.BigIntegerField()
    created_at = models.BigIntegerField(db_index=True)


class Purge(models.Model):
    """A deleted channel whose rows still have to go."""

    channel_id = models.BigIntegerField(primary_key=True)


class Lease(models.Model):
    """Lets one process at a time do a piece of housekeeping."""

    name = models.CharField(max_length=32, primary_key=True)
    until = models.BigIntegerField(default=0)
