"""The settings' channel layer: channels-redis, with a way for hints of its own.

Its groups are channels-redis' own, and so are its settings, its serializer and how it spreads groups over several servers.
Its `group_send` takes four round trips for each group and each hint of ours back to us besides; what is here takes one for
any number of groups, and says which of them somebody else is in.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from channels_redis.core import RedisChannelLayer
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

ANSWER_SECONDS = 2.0  # that Redis may take longer than it was told to wait
ALIVE_SECONDS = 60  # a member that has not received for so long is no member any more
# ARGV: the sender, the prefix of inboxes, how many messages one holds, the seconds it is kept; then a group and its message,
# in turns. Returns for each group whether anybody but the sender is in it.
SEND = """
local heard = {}
for i = 5, #ARGV, 2 do
    heard[#heard + 1] = 0
    for _, member in ipairs(redis.call('ZRANGE', ARGV[i], 0, -1)) do
        local inbox = ARGV[2] .. member
        if redis.call('EXISTS', inbox .. ':alive') == 0 then
            redis.call('ZREM', ARGV[i], member)
        elseif member ~= ARGV[1] then
            heard[#heard] = 1
            redis.call('XADD', inbox, 'MAXLEN', '~', ARGV[3], '*', 'm', ARGV[i + 1])
            redis.call('EXPIRE', inbox, ARGV[4])
        end
    end
end
return heard
"""


class RedisLayer(RedisChannelLayer):  # type: ignore[misc]  # untyped
    """`capacity` is that of an inbox, roughly: who is further behind loses the oldest messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._alive_until: dict[tuple[int, str], float] = {}
        self._read: dict[tuple[int, str], bytes] = {}  # the newest message of each inbox that was received

    async def _clean_receive_backup(self, index: int, channel: str) -> None:
        with contextlib.suppress(RedisError):  # it runs in a task that nobody asks for its result
            await super()._clean_receive_backup(index, channel)

    def _inbox(self, channel: str = "") -> str:
        return f"{self.prefix}:inbox:{channel}"

    async def group_add(self, group: str, channel: str) -> None:
        await self._stay_alive(self.consistent_hash(group), channel)
        await super().group_add(group, channel)

    async def _stay_alive(self, index: int, channel: str) -> None:
        await self.connection(index).set(f"{self._inbox(channel)}:alive", 1, ex=ALIVE_SECONDS)
        self._alive_until[index, channel] = time.monotonic() + ALIVE_SECONDS / 2

    async def send_to_groups(self, messages: Mapping[str, Mapping[str, Any]], sender: str) -> set[str]:
        """Send each group its message, but not to the sender; returns the groups that others are in."""
        by_server: defaultdict[int, list[str]] = defaultdict(list)
        for group in messages:
            by_server[self.consistent_hash(group)].append(group)
        sending = [self._send_to_server(index, groups, messages, sender) for index, groups in by_server.items()]
        # One is awaited here: a task for it would begin a tick later.
        return await sending[0] if len(sending) == 1 else set().union(*await asyncio.gather(*sending))

    async def _send_to_server(
        self, index: int, groups: Sequence[str], messages: Mapping[str, Mapping[str, Any]], sender: str
    ) -> set[str]:
        send = self.connection(index).register_script(SEND)
        arguments: list[Any] = [sender, self._inbox(), self.capacity, int(self.expiry)]
        for group in groups:
            arguments += [self._group_key(group), self.serialize(messages[group])]
        try:
            heard = await send(args=arguments)
        except Disconnected:  # perhaps it was closed while nothing was sent; and what had arrived may come twice
            heard = await send(args=arguments)
        return {group for group, others in zip(groups, heard, strict=True) if others}

    async def receive_many(self, channel: str, index: int) -> list[dict[str, Any]]:
        """What has come for the channel by that one of the servers, oldest first. Waits some seconds for something to come.

        Raises TimeoutError when Redis says nothing at all: the connection may have died without a word.
        """
        async with asyncio.timeout(self.brpop_timeout + ANSWER_SECONDS):
            received = await self._read_inbox(channel, index)
        return [self.deserialize(fields[b"m"]) for _, fields in received]

    async def _read_inbox(self, channel: str, index: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        place = index, channel
        if time.monotonic() > self._alive_until.get(place, 0.0):
            await self._stay_alive(*place)
        inbox = self._inbox(channel)
        found = await self.connection(index).xread({inbox: self._read.get(place, b"0")}, block=int(self.brpop_timeout * 1000))
        received = [entry for _, entries in found for entry in entries]
        if received:
            self._read[place] = received[-1][0]
        return received
