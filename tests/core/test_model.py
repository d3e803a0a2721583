"""The live path against a model: whatever is published, trimmed, restored to an earlier state, hinted (or not), read slowly,
cut and resumed, every reader gets each message of its room after its position once and in order, or one notice that covers
what is gone."""

import asyncio
import base64
import itertools
import pickle
from dataclasses import dataclass, field
from unittest import mock

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as Bounds
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, multiple, rule, run_state_machine_as_test

from channels_app.core import hub, log, notifier, tenancy
from channels_app.core.log import Entry
from channels_app.core.types import ALL_ROOMS, Draft, Gap, GapReason, Message, Position
from channels_app.models import Channel, Counter, Instance
from channels_app.models.log import Message as MessageRow
from channels_app.models.log import RoomHead

ROOMS = ["a", "b"]
_names = (f"model{n}" for n in itertools.count())


@dataclass
class Life:
    """What the channel had in one epoch."""

    rooms: list[str] = field(default_factory=list)  # of message id = index + 1
    trimmed: int = 0

    def ids_of(self, room):
        return [id_ for id_, its in enumerate(self.rooms, 1) if room is ALL_ROOMS or its == room]


class Reader:
    """A client: joins at a position, keeps what it was told, and can be cut and come back.

    One that is `wired` is a sink and a connection as well: between two reads, what comes is written to it, unless it is stuck.
    """

    backlog = 0

    def __init__(self, machine, room, after, wired):
        self.machine = machine
        self.room = room
        self.wired = wired
        self.takes_frames = True
        self.connection = self.transport = self
        self.told: list[Message | Gap] = []
        self.join(None if after is None else Position(after))
        self.start, self.epoch = self.subscriber.joined_at, self.subscriber.epoch  # from where on it was `told`
        self.gone = 0  # up to here a notice of another epoch has told of what is

    def join(self, position):
        self.context = hub.subscribe(self.machine.channel_id, self.room, after=position, sink=self if self.wired else None)
        self.subscriber = self.machine.run(self.context.__aenter__())

    def leave(self):
        self.machine.run(self.context.__aexit__(None, None, None))

    def resume(self):
        self.leave()
        last = self.told[-1] if self.told else None
        self.join(Position(self.start if last is None else last.to_id if isinstance(last, Gap) else last.id, self.epoch))

    async def read(self, *, patience):
        """Take what comes until nothing has come for a moment."""
        try:
            while True:
                async with asyncio.timeout(patience):
                    events = await self.subscriber.next()
                self.take(events)
        except TimeoutError:
            pass
        if self.wired:
            self.subscriber.rest(lambda: None)  # not where its page of the log came too late: it reads that next time

    def take(self, events):
        for event in events:
            if isinstance(event, Gap) and event.reason is GapReason.EPOCH:
                self.check()
                self.told, self.start, self.epoch = [], event.to_id, self.subscriber.epoch
                self.gone = self.machine.lives[self.epoch].trimmed
            else:
                self.told.append(event)

    @staticmethod
    def encode(event):
        return base64.b64encode(pickle.dumps(event)) + b"\n"

    def write(self, frames):
        assert self.takes_frames
        self.told += [pickle.loads(base64.b64decode(line)) for line in frames.splitlines()]

    def check(self):
        """What it was told so far is right as far as it goes; returns the id up to which it knows all."""
        reached = self.start
        life = self.machine.lives[self.epoch]
        of_its_room = life.ids_of(self.room)
        for event in self.told:
            if isinstance(event, Gap):
                assert event.from_id > reached, "a gap behind what was told already"
                skipped = [id_ for id_ in of_its_room if reached < id_ <= event.to_id]
                assert all(id_ <= life.trimmed for id_ in skipped), "a gap over what was still there"
                reached = event.to_id
            else:
                assert event.id in of_its_room, "a message of another room"
                skipped = [id_ for id_ in of_its_room if max(reached, self.gone) < id_ < event.id]
                assert not skipped, f"silently skipped {skipped}"
                assert event.id > reached, "a repeat"
                reached = event.id
        return reached


class LiveDelivery(RuleBasedStateMachine):
    readers = Bundle("readers")
    hints = Bundle("hints")

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.lives: dict[str, Life] = {}  # by epoch
        self.all_readers: list[Reader] = []
        self.announced: list = []
        self.announcing = mock.patch.object(notifier, "announce", self.announced.extend)
        self.announcing.start()

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    @property
    def life(self):
        """The one that lasts."""
        return list(self.lives.values())[-1]

    @initialize()
    def make_channel(self):
        instance = Instance.objects.get(name="rivia")
        row = tenancy.create_channel(instance, name=next(_names), type=Channel.Type.SEPARATE_ROOMS)
        self.channel_id = row.pk
        self.lives[Counter.objects.get(channel_id=row.pk).epoch] = Life()

    @rule(target=hints, rooms=st.lists(st.sampled_from(ROOMS), min_size=1, max_size=8))
    def publish(self, rooms):
        log.append([Entry(self.channel_id, Draft("{}", "{}", room)) for room in rooms])
        self.life.rooms += rooms
        return multiple(self.announced.pop())

    @rule(keep=st.integers(0, 5))
    def trim(self, keep):
        log.trim(self.channel_id, older_than=None, keep=keep, limit=1000)
        self.life.trimmed = max(self.life.trimmed, len(self.life.rooms) - keep)

    @rule(lost=st.integers(0, 5))
    def restore(self, lost):
        """To a backup that lacks the newest messages; what hints told of them may still be on its way."""
        life = Life(self.life.rooms[: max(self.life.trimmed, len(self.life.rooms) - lost)], self.life.trimmed)
        MessageRow.objects.filter(channel_id=self.channel_id, id__gt=len(life.rooms)).delete()
        RoomHead.objects.filter(channel_id=self.channel_id).delete()
        newest = {room: id_ for id_, room in enumerate(life.rooms, 1)}
        RoomHead.objects.bulk_create(RoomHead(channel_id=self.channel_id, room=room, last_id=newest[room]) for room in newest)
        epoch = f"restored {len(self.lives)}"
        Counter.objects.filter(channel_id=self.channel_id).update(last_id=len(life.rooms), epoch=epoch)
        self.lives[epoch] = life

    @rule(hint=hints)
    def hint_arrives(self, hint):
        """Perhaps late, out of order, or again; those that never come here are the lost ones."""
        hub_of(self).advanced(hint)
        self.run(asyncio.sleep(0))

    @rule(target=readers, room=st.sampled_from([*ROOMS, ALL_ROOMS]), after=st.none() | st.integers(0, 30), wired=st.booleans())
    def join(self, room, after, wired):
        reader = Reader(self, room, after, wired)
        self.all_readers.append(reader)
        return reader

    @rule(reader=readers)
    def read(self, reader):
        self.run(reader.read(patience=0.005))
        reader.check()

    @rule(reader=readers)
    def get_stuck_or_free(self, reader):
        reader.takes_frames = not reader.takes_frames

    @rule(reader=readers)
    def cut_and_resume(self, reader):
        reader.resume()

    @rule(reader=consumes(readers))
    def leave_for_good(self, reader):
        reader.leave()
        self.all_readers.remove(reader)
        reader.check()

    def teardown(self):
        try:
            self.settle()
        finally:
            self.announcing.stop()
            self.run(close_hub())
            self.run(self.loop.shutdown_default_executor())
            self.loop.close()

    def settle(self):
        """The safety poll finds what no hint told; then everybody knows everything."""
        self.run(hub_of(self)._poll_heads())
        for reader in self.all_readers:
            for patience in (0.02, 0.2, 2):  # the log is read in a thread, which may have to wait on a busy machine
                self.run(reader.read(patience=patience))
                reached = reader.check()
                is_current = self.lives[reader.epoch] is self.life
                missed = [id_ for id_ in self.life.ids_of(reader.room) if id_ > max(reached, reader.gone)]
                if is_current and not missed:
                    break
            assert is_current, "never told that the log was replaced"
            assert not missed, f"never told of {missed}"


def hub_of(machine):
    async def current():
        return hub.current()

    return machine.run(current())


async def close_hub():
    await hub.current().close()


@pytest.mark.parametrize("buffer", [1_000_000, 900], ids=["ordinary buffers", "buffers of four messages"])
def test_no_sequence_of_events_makes_a_reader_miss_repeat_or_reorder(owner, settings, buffer):
    settings.PUBSUB = {"SAFETY_POLL": 3600, "SUBSCRIBER_BYTES": buffer}
    tenancy.create_instance(owner=owner, name="rivia")
    bounds = Bounds(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(LiveDelivery, settings=bounds)
