"""Every part offered is delivered, dropped, sampled out, filtered or held: at any time, under any policy."""

import contextlib
import dataclasses
import threading
from collections import Counter
from itertools import count

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from otel_stream.config import OverflowPolicy
from otel_stream.stream.buffer import Buffer
from otel_stream.stream.modes import AggregateOf, StreamPart

POLICIES = list(OverflowPolicy)


@dataclasses.dataclass(frozen=True)
class Chunk:
    id: str | None
    text: str

    def __add__(self, other):
        return Chunk(self.id, self.text + other.text)


class Whole(Chunk):
    def __add__(self, other):
        return [self, other]


class Unjoinable(Chunk):
    def __add__(self, other):
        raise ValueError("no")


def custom(seq, node="n", **fields):
    return StreamPart("custom", (), seq, seq=seq, run_id="r", node=node, **fields)


def message(seq, chunk):
    return StreamPart("messages", (), (chunk, {"seq": seq}), seq=seq, run_id="r", node="n")


def everything(buffer):
    return list(iter(buffer.take, None))


def outcome(part):
    return (part.type, part.data if part.type == "gap" else part.seq)


def gap(dropped, first, last, reason, mode="custom"):
    modes, reasons = {mode: dropped}, {reason: dropped}
    data = {"dropped": dropped, "modes": modes, "reasons": reasons, "first_seq": first, "last_seq": last}
    return "gap", data


class Account(RuleBasedStateMachine):
    """A plain model of a buffer: lists and the rules of the policy, compared after every step."""

    @initialize(capacity=st.integers(1, 4), policy=st.sampled_from(POLICIES))
    def start(self, capacity, policy):
        self.capacity, self.policy = capacity, policy
        self.buffer = Buffer(capacity, policy)
        self.seq = 0
        self.held, self.lost = [], []
        #: The part behind a marker that was taken.
        self.next = []
        self.counts = Counter()
        self.sealed = False

    def new_part(self, node):
        self.seq += 1
        return custom(self.seq, node)

    @rule(node=st.sampled_from("ab"))
    def offer(self, node):
        part = self.new_part(node)
        accepted = self.buffer.offer(part)
        if self.sealed:
            assert accepted
            return
        self.counts["offered"] += 1
        if len(self.held) < self.capacity or self.policy is OverflowPolicy.BLOCK:
            self.held.append(part)
        else:
            self.overflow(part)
        assert accepted == (self.policy is not OverflowPolicy.ERROR or part in self.held)

    def overflow(self, part):
        match self.policy:
            case OverflowPolicy.DROP_OLDEST:
                self.lose(self.held.pop(0), "drop_oldest")
                self.held.append(part)
            case OverflowPolicy.DROP_NEWEST:
                self.lose(part, "drop_newest")
            case OverflowPolicy.ERROR:
                self.counts["dropped"] += 1
            case OverflowPolicy.COALESCE:
                same = [n for n, one in enumerate(self.held) if one.node == part.node]
                if same:
                    self.lose(self.held.pop(same[-1]), "coalesced")
                else:
                    self.lose(self.held.pop(0), "drop_oldest")
                self.held.append(part)

    def lose(self, part, reason):
        self.counts["dropped"] += 1
        self.lost.append((part.seq, reason))

    @rule()
    def take(self):
        part = self.buffer.take()
        if self.next:
            assert part == self.next.pop()
            self.counts["delivered"] += 1
        elif self.lost:
            seqs = [seq for seq, _ in self.lost]
            assert part.type == "gap"
            assert part.data == {
                "dropped": len(seqs),
                "modes": {"custom": len(seqs)},
                "reasons": Counter(reason for _, reason in self.lost),
                "first_seq": min(seqs),
                "last_seq": max(seqs),
            }
            self.lost = []
            self.next, self.held = self.held[:1], self.held[1:]
        elif self.held:
            assert part == self.held.pop(0)
            self.counts["delivered"] += 1
        else:
            assert part is None

    @rule(why=st.sampled_from(["filtered", "sampled_out", "failed"]))
    def refuse(self, why):
        self.buffer.refuse(self.new_part("a"), why)
        if not self.sealed:
            self.counts["offered"] += 1
            self.counts["dropped" if why == "failed" else why] += 1

    @rule()
    def seal(self):
        self.buffer.seal()
        self.sealed = True

    @rule()
    def close(self):
        self.buffer.close()
        self.sealed = True
        self.counts["dropped"] += len(self.held + self.next)
        self.held, self.lost, self.next = [], [], []

    @invariant()
    def the_account_is_exact(self):
        if not hasattr(self, "buffer"):
            return
        now = self.buffer.statistics()
        for name in ("offered", "delivered", "dropped", "sampled_out", "filtered"):
            assert getattr(now, name) == self.counts[name]
        assert now.held == len(self.held + self.next)
        assert now.offered == now.delivered + now.dropped + now.sampled_out + now.filtered + now.held
        assert sum(now.reasons.values()) == now.dropped
        assert [mode.held for mode in now.by_mode.values()] == [now.held][: len(now.by_mode)]
        assert self.buffer.idle == (not self.held and not self.lost and not self.next)
        if self.policy is not OverflowPolicy.BLOCK:
            assert now.high_water <= self.capacity


@pytest.mark.clause("S-OVF-6")
@pytest.mark.parametrize(
    ("policy", "taken"),
    [
        ("drop_oldest", [("gap", None), ("custom", 2), ("gap", None), ("custom", 8), ("gap", None)]),
        ("drop_newest", [("gap", None), ("custom", 1), ("gap", None), ("custom", 2), ("gap", None)]),
        ("coalesce", [("gap", None), ("custom", 1), ("gap", None), ("custom", 3), ("gap", None)]),
    ],
)
def test_however_slow_a_consumer_is_a_part_comes_behind_each_marker(policy, taken):
    buffer = Buffer(2, OverflowPolicy(policy))
    seqs = count(1)
    seen = []
    for _ in taken:
        for _ in range(3):  # more than there is room for, before each take
            buffer.offer(custom(next(seqs), "a"))
        part = buffer.take()
        seen.append((part.type, part.seq if part.type == "custom" else None))
    assert seen == taken


TestAccount = Account.TestCase
TestAccount.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.clause("S-OVF-4", "S-OVF-6")
@pytest.mark.parametrize(
    ("policy", "taken"),
    [
        ("block", [("custom", n) for n in range(5)]),
        ("drop_oldest", [gap(3, 0, 2, "drop_oldest"), ("custom", 3), ("custom", 4)]),
        ("drop_newest", [gap(3, 2, 4, "drop_newest"), ("custom", 0), ("custom", 1)]),
        ("coalesce", [gap(3, 1, 3, "coalesced"), ("custom", 0), ("custom", 4)]),
        ("error", [("custom", 0), ("custom", 1)]),
    ],
)
def test_a_full_buffer_does_what_its_policy_says(policy, taken):
    buffer = Buffer(2, OverflowPolicy(policy))
    accepted = [buffer.offer(custom(n)) for n in range(5)]
    assert accepted == [True, True, *[policy != "error"] * 3]
    assert [outcome(part) for part in everything(buffer)] == taken


def test_block_holds_more_than_its_capacity_and_says_so():
    buffer = Buffer(2, OverflowPolicy.BLOCK)
    crowded = [buffer.over_capacity for n in range(4) if buffer.offer(custom(n))]
    assert crowded == [False, False, True, True]
    everything(buffer)
    assert not buffer.over_capacity
    assert buffer.statistics().high_water == 4


def test_a_gap_over_several_runs_names_no_seq():
    buffer = Buffer(1, OverflowPolicy.DROP_OLDEST)
    for seq, run in enumerate(["r1", "r2", "r2"]):
        buffer.offer(StreamPart("custom", (), None, seq=seq, run_id=run))
    part = buffer.take()
    assert (part.data["first_seq"], part.data["last_seq"], part.run_id) == (None, None, None)


@pytest.mark.clause("S-OVF-4")
def test_coalescing_joins_the_chunks_of_one_message():
    buffer = Buffer(2, OverflowPolicy.COALESCE)
    for seq, chunk in enumerate(
        [Chunk("m1", "He"), Chunk("m2", "wor"), Chunk("m1", "llo"), Chunk("m2", "ld")]
    ):
        buffer.offer(message(seq, chunk))
    told, *rest = everything(buffer)
    assert outcome(told) == gap(2, 0, 1, "coalesced", mode="messages")
    assert [part.data for part in rest] == [
        (Chunk("m1", "Hello"), {"seq": 2}),
        (Chunk("m2", "world"), {"seq": 3}),
    ]


@pytest.mark.parametrize(
    ("older", "newer", "kept"),
    [
        (Whole("m1", "a"), Whole("m1", "b"), [(1, Whole("m1", "b"))]),
        (Unjoinable("m1", "a"), Unjoinable("m1", "b"), [(1, Unjoinable("m1", "b"))]),
        (Chunk("m1", "a"), Whole("m1", "b"), [(1, Whole("m1", "b"))]),
        (Chunk(None, "a"), Chunk(None, "b"), [(1, Chunk(None, "b"))]),
    ],
)
def test_what_can_not_be_joined_is_replaced(older, newer, kept):
    buffer = Buffer(1, OverflowPolicy.COALESCE)
    buffer.offer(message(0, older))
    buffer.offer(message(1, newer))
    assert [(part.seq, part.data[0]) for part in everything(buffer)[1:]] == kept


def test_coalescing_never_crosses_mode_namespace_node_or_run():
    buffer = Buffer(1, OverflowPolicy.COALESCE)
    parts = [
        StreamPart("custom", (), 0, seq=0, node="a", run_id="r"),
        StreamPart("updates", (), 0, seq=1, node="a", run_id="r"),
        StreamPart("updates", ("x:1",), 0, seq=2, node="a", run_id="r"),
        StreamPart("updates", ("x:1",), 0, seq=3, node="b", run_id="r"),
        StreamPart("updates", ("x:1",), 0, seq=4, node="b", run_id="s"),
    ]
    for part in parts:
        buffer.offer(part)
    assert buffer.statistics().reasons == {"drop_oldest": 4}


@pytest.mark.clause("S-ACC-1")
@pytest.mark.parametrize("policy", POLICIES)
def test_the_account_is_exact_while_threads_offer_and_take(policy):
    buffer = Buffer(16, policy)
    taken, lost = [], []
    done = threading.Event()

    def produce(name):
        for seq in range(2000):
            buffer.offer(custom(seq, name))

    def consume():
        while not (done.is_set() and buffer.idle):
            part = buffer.take()
            if part is not None:
                (lost if part.type == "gap" else taken).append(part)

    def look():
        while not done.is_set():
            now = buffer.statistics()
            assert now.offered == now.delivered + now.dropped + now.held
            assert min(now.delivered, now.dropped, now.held) >= 0

    producers = [threading.Thread(target=produce, args=(f"p{n}",)) for n in range(3)]
    others = [threading.Thread(target=consume), threading.Thread(target=look)]
    everybody = contextlib.ExitStack()
    for thread in producers + others:
        thread.start()
        everybody.callback(thread.join)
    for thread in producers:
        thread.join()
    done.set()
    everybody.close()
    now = buffer.statistics()
    assert (now.offered, now.delivered, now.held) == (6000, len(taken), 0)
    assert now.dropped == 6000 - len(taken)
    if policy is not OverflowPolicy.ERROR:
        assert sum(part.data["dropped"] for part in lost) == now.dropped
    for name in ("p0", "p1", "p2"):
        seqs = [part.seq for part in taken if part.node == name]
        assert seqs == sorted(set(seqs))


# --- Time to live -------------------------------------------------------------------------------------------


class Clock:
    now = 1000

    def __call__(self):
        return self.now * 1_000_000_000


def dated(seq, clock):
    return custom(seq, time_unix_nano=clock())


@pytest.mark.clause("S-TTL-1", "S-OVF-6")
@pytest.mark.clause("S-TTL-1")
@pytest.mark.parametrize("policy", POLICIES)
def test_what_nobody_takes_in_time_is_dropped_and_told(policy):
    clock = Clock()
    buffer = Buffer(4, policy, 10, clock)
    for seq in range(3):
        buffer.offer(dated(seq, clock))
        clock.now += 4
    assert buffer.statistics().reasons == {"expired": 1}
    assert buffer.expires_in() == 2
    assert [outcome(part) for part in everything(buffer)] == [
        gap(1, 0, 0, "expired"),
        ("custom", 1),
        ("custom", 2),
    ]
    clock.now += 100
    assert buffer.statistics().held == 0
    assert buffer.expires_in() is None


@pytest.mark.clause("S-TTL-1")
def test_a_consumer_never_gets_what_is_too_old():
    clock = Clock()
    buffer = Buffer(4, OverflowPolicy.COALESCE, 10, clock)
    for seq, node in enumerate("abcd"):
        buffer.offer(custom(seq, node))
    clock.now += 8
    buffer.offer(custom(4, "a"))
    clock.now += 4
    # What was refreshed has the others before it, and does not hide that they are too old.
    assert buffer.statistics().reasons == {"coalesced": 1, "expired": 3}
    told, *rest = everything(buffer)
    assert (told.data["reasons"], [part.seq for part in rest]) == ({"coalesced": 1, "expired": 3}, [4])


@pytest.mark.clause("S-TTL-1")
def test_an_old_aggregate_behind_a_younger_part_is_found_too():
    clock = Clock()
    buffer = Buffer(4, OverflowPolicy.BLOCK, 10, clock)
    came = clock()
    assert buffer.absorb(custom(0))
    clock.now += 8
    buffer.offer(custom(1))
    buffer.release(custom(0), came)
    assert buffer.expires_in() == 2
    clock.now += 4
    assert [outcome(part) for part in everything(buffer)] == [gap(1, 0, 0, "expired"), ("custom", 1)]


@pytest.mark.clause("S-ORD-1", "S-ORD-2", "S-OVF-4")
def test_what_is_coalesced_comes_in_the_order_of_its_newest():
    buffer = Buffer(2, OverflowPolicy.COALESCE)
    for seq, node in enumerate("abaaba"):
        buffer.offer(custom(seq, node))
    assert [part.seq for part in everything(buffer)[1:]] == [4, 5]


@pytest.mark.parametrize("id", [["x"], {}, 7, None, object()])
def test_a_message_whose_id_is_no_text_is_coalesced_with_none(id):
    buffer = Buffer(1, OverflowPolicy.COALESCE)
    for seq in range(2):
        buffer.offer(message(seq, {"id": id, "content": "x"}))
    told, last = everything(buffer)
    assert (told.data["reasons"], last.data[0]["content"]) == ({"drop_oldest": 1}, "x")


def test_a_message_that_can_not_say_its_id_is_held_like_one_without():
    class Mute:
        @property
        def id(self):
            raise Panic

    class Panic(BaseException):
        pass

    buffer = Buffer(1, OverflowPolicy.COALESCE)
    for seq in range(2):
        buffer.offer(message(seq, Mute()))
    assert [part.seq for part in everything(buffer)[1:]] == [1]


@pytest.mark.parametrize("policy", POLICIES)
def test_taking_is_enough_to_find_out_what_is_too_old(policy):
    clock = Clock()
    buffer = Buffer(4, policy, 10, clock)
    buffer.offer(dated(0, clock))
    clock.now += 11
    buffer.offer(dated(1, clock))
    assert [outcome(part) for part in everything(buffer)] == [gap(1, 0, 0, "expired"), ("custom", 1)]


def test_what_expires_makes_room():
    clock = Clock()
    buffer = Buffer(1, OverflowPolicy.ERROR, 10, clock)
    assert buffer.offer(dated(0, clock))
    clock.now += 11
    assert not buffer.idle
    assert buffer.offer(dated(1, clock))
    assert [outcome(part) for part in everything(buffer)] == [gap(1, 0, 0, "expired"), ("custom", 1)]


def test_a_run_waits_for_nobody_who_lets_parts_expire():
    clock = Clock()
    buffer = Buffer(1, OverflowPolicy.BLOCK, 10, clock)
    for seq in range(3):
        buffer.offer(dated(seq, clock))
    assert buffer.over_capacity
    clock.now += 11
    assert not buffer.over_capacity
    assert buffer.statistics().dropped == 3


@pytest.mark.clause("S-TTL-1")
def test_how_old_a_part_says_it_is_does_not_count():
    clock = Clock()
    buffer = Buffer(1, OverflowPolicy.BLOCK, 10, clock)
    for seq, born in enumerate([None, 0, clock() + 3600 * 10**9]):
        buffer.offer(custom(seq, time_unix_nano=born))
    clock.now += 9
    assert buffer.statistics().held == 3
    clock.now += 2
    assert buffer.statistics().reasons == {"expired": 3}


# --- Aggregates ---------------------------------------------------------------------------------------------


def heavy(first, last):
    count = last - first + 1
    return custom(last, aggregate=AggregateOf(count, first, last, None, None))


def test_what_an_open_window_holds_is_held_until_it_is_released():
    buffer = Buffer(1, OverflowPolicy.DROP_OLDEST)
    for seq in range(6):
        assert buffer.absorb(custom(seq))
    assert (buffer.statistics().held, buffer.idle) == (6, True)
    assert buffer.release(heavy(0, 2))
    assert buffer.release(heavy(3, 4))
    assert [outcome(part) for part in everything(buffer)] == [gap(3, 0, 2, "drop_oldest"), ("custom", 4)]
    buffer.forfeit("custom", 1, "failed")
    now = buffer.statistics()
    assert (now.offered, now.delivered, now.dropped, now.held) == (6, 2, 4, 0)
    assert now.reasons == {"drop_oldest": 3, "failed": 1}


def test_after_the_end_windows_are_still_released_but_not_after_the_consumer_has_left():
    buffer = Buffer(4, OverflowPolicy.BLOCK)
    for seq in range(4):
        buffer.absorb(custom(seq))
    buffer.seal()
    assert not buffer.absorb(custom(4))
    assert buffer.release(heavy(0, 1))
    buffer.close()
    assert buffer.release(heavy(2, 3))
    assert everything(buffer) == []
    now = buffer.statistics()
    assert (now.offered, now.dropped, now.held, now.reasons) == (4, 4, 0, {"closed": 4})
