"""The account is exact under every policy, with filter, sampler, windows and a time to live, in any order.

A plain model of what stands between a stream and its consumer, compared with the real one after every step.
"""

from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from otel_stream.aggregate import Aggregate
from otel_stream.config import OverflowPolicy, StreamConfig
from otel_stream.events import Run, SuperstepEnded
from otel_stream.filters import Node
from otel_stream.stream.admission import Admission
from otel_stream.stream.buffer import Buffer
from otel_stream.stream.modes import StreamPart

SECOND = 1_000_000_000


class Thirds:
    """A sampler in all but name: it drops every third superstep."""

    def should_sample(self, context, trace_id, name, kind=None, attributes=None, links=()):
        return SimpleNamespace(decision=SimpleNamespace(is_sampled=lambda: attributes["graph.superstep"] % 3))


def reduce(numbers):
    if 13 in numbers:
        raise ValueError("13")
    return numbers


@dataclass
class Held:
    """A part that waits, or a window: the parts in it, as (seq, time)."""

    type: str
    node: str
    parts: list
    step: int
    deadline: float = 0

    @property
    def last(self):
        return self.parts[-1]


EVERY = [None, 1, 2, 3, 1.0, 2.0, "superstep"]


class Account(RuleBasedStateMachine):
    @initialize(
        capacity=st.integers(3, 5),
        policy=st.sampled_from(list(OverflowPolicy)),
        every=st.sampled_from(EVERY),
        ttl=st.sampled_from([None, 2.0]),
        filtered=st.booleans(),
        sampled=st.booleans(),
    )
    def start(self, capacity, policy, every, ttl, filtered, sampled):
        config = StreamConfig(
            modes="custom",
            buffer_size=capacity,
            overflow=policy,
            ttl=ttl,
            filter=~Node("unwanted") if filtered else None,
            sampler=Thirds() if sampled else None,
            aggregate=None if every is None else Aggregate(every, by="node", reduce=reduce),
        )
        self.config, self.every, self.now = config, every, 100 * SECOND
        self.errors, self.refused = [], []
        self.buffer = Buffer(capacity, policy, ttl, lambda: self.now)
        self.admission = Admission(
            config,
            self.buffer,
            failed=self.errors.append,
            refused=lambda: self.refused.append(1),
            changed=lambda: None,
            clock=lambda: self.now,
        )
        self.windows = self.admission.windows
        self.run = Run("r", "g", context=None)
        self.seq, self.step = 0, 1
        self.counts = {"custom": Counter(), "end": Counter()}
        self.reasons = Counter()
        self.open, self.held, self.lost = [], [], []
        #: The part behind a marker that was taken.
        self.next = []
        self.sealed = False

    # --- What can happen -----------------------------------------------------------------------------

    @rule(node=st.sampled_from(["a", "b", "unwanted"]), type=st.sampled_from(["custom"] * 6 + ["end"]))
    def offer(self, node, type):
        self.seq += 1
        part = StreamPart(type, (), self.seq, self.seq, self.now, "r", "g", self.step, node)
        self.admission.put(part, None)
        self.admission.inbox.settle()
        if self.sealed:
            return
        count = self.counts[type]
        count["offered"] += 1
        if self.config.filter and node == "unwanted":
            count["filtered"] += 1
        elif self.config.sampler and type != "end" and self.step % 3 == 0:
            count["sampled_out"] += 1
        else:
            self.let_in(Held(type, node, [(self.seq, self.now)], self.step))

    @rule(by=st.sampled_from([SECOND // 2, SECOND, 3 * SECOND]))
    def time_passes(self, by):
        self.now += by

    @rule()
    def a_superstep_ends(self):
        if self.windows:
            self.admission.passed(SuperstepEnded(self.run, self.step, None, frozenset(), self.now))
            if self.every == "superstep":
                self.close_windows(self.open)
            self.close_windows([one for one in self.open if one.deadline <= self.now])
        self.step += 1

    @rule()
    def take(self):
        if self.windows:
            self.admission.tick()
            self.close_windows([one for one in self.open if one.deadline <= self.now])
        self.expire()
        part = self.buffer.take()
        if self.next:
            self.delivers(self.next.pop(), part)
        elif self.lost:
            assert part.type == "gap"
            assert part.data == {
                "dropped": sum(len(one.parts) for one, _ in self.lost),
                "modes": total((one.type, len(one.parts)) for one, _ in self.lost),
                "reasons": total((reason, len(one.parts)) for one, reason in self.lost),
                "first_seq": min(one.parts[0][0] for one, _ in self.lost),
                "last_seq": max(one.last[0] for one, _ in self.lost),
            }
            self.lost = []
            self.next, self.held = self.held[:1], self.held[1:]
        elif self.held:
            self.delivers(self.held.pop(0), part)
        else:
            assert part is None

    def delivers(self, one, part):
        assert (part.type, part.seq, part.time_unix_nano) == (one.type, *one.last)
        assert part.weight == len(one.parts)
        self.counts[one.type]["delivered"] += len(one.parts)
        if part.aggregate is not None:
            assert part.data == [seq for seq, _ in one.parts]
            about = part.aggregate
            assert (about.first_seq, about.first_time_unix_nano) == one.parts[0]
            assert (about.last_seq, about.last_time_unix_nano) == one.last

    @rule()
    def the_run_ends(self):
        self.admission.finish(self.buffer.seal)
        self.sealed = True
        self.close_windows(self.open)

    @rule()
    def the_consumer_leaves(self):
        self.expire()
        self.buffer.close()
        self.admission.finish(self.buffer.seal)
        self.sealed = True
        for one in self.open + self.held + self.next:
            self.drop(one, "closed")
        self.open, self.held, self.lost, self.next = [], [], [], []

    # --- What should come of it ----------------------------------------------------------------------

    def let_in(self, one):
        if not self.every:
            self.hold(one)
            return
        if one.type == "end":
            self.close_windows(self.open)
            self.hold(one)
            return
        if isinstance(self.every, float):
            self.close_windows([w for w in self.open if w.parts[0][1] + self.every * SECOND <= self.now])
        if sum(len(w.parts) for w in self.open) >= self.config.buffer_size:
            self.close_windows(self.open[:1])
        if self.every == "superstep":
            self.close_windows([w for w in self.open if w.node == one.node and w.step != one.step])
        for window in self.open:
            if window.node == one.node:
                window.parts += one.parts
                break
        else:
            window = one
            window.deadline = (
                self.now + self.every * SECOND if isinstance(self.every, float) else float("inf")
            )
            self.open.append(window)
        if isinstance(self.every, int) and len(window.parts) == self.every:
            self.close_windows([window])

    def close_windows(self, windows):
        for window in sorted(windows, key=lambda one: one.last):
            self.open.remove(window)
            if any(seq == 13 for seq, _ in window.parts):
                self.drop(window, "failed")
            else:
                self.hold(window)

    def hold(self, one):
        self.expire()
        if len(self.held) < self.config.buffer_size or self.config.overflow is OverflowPolicy.BLOCK:
            self.held.append(one)
            return
        match self.config.overflow:
            case OverflowPolicy.DROP_OLDEST:
                self.lose(self.held.pop(0), "drop_oldest")
                self.held.append(one)
            case OverflowPolicy.DROP_NEWEST:
                self.lose(one, "drop_newest")
            case OverflowPolicy.ERROR:
                self.drop(one, "error")
            case OverflowPolicy.COALESCE:
                same = [n for n, old in enumerate(self.held) if (old.type, old.node) == (one.type, one.node)]
                if same:
                    self.lose(self.held.pop(same[-1]), "coalesced")
                else:
                    self.lose(self.held.pop(0), "drop_oldest")
                self.held.append(one)

    def expire(self):
        if self.config.ttl is not None:
            for one in [one for one in self.held if one.last[1] < self.now - self.config.ttl * SECOND]:
                self.held.remove(one)
                self.lose(one, "expired")

    def lose(self, one, reason):
        self.drop(one, reason)
        self.lost.append((one, reason))

    def drop(self, one, reason):
        self.counts[one.type]["dropped"] += len(one.parts)
        self.reasons[reason] += len(one.parts)

    @invariant()
    def the_account_is_exact(self):
        if not hasattr(self, "buffer"):
            return
        self.expire()
        now = self.buffer.statistics()
        waiting = total((one.type, len(one.parts)) for one in self.held + self.open + self.next)
        for mode, shown in {**dict.fromkeys(self.counts), **now.by_mode}.items():
            count = self.counts[mode]
            if shown is None:
                assert not count
                continue
            assert shown.held == waiting.get(mode, 0)
            for name in ("offered", "delivered", "dropped", "sampled_out", "filtered"):
                assert getattr(shown, name) == count[name]
            assert shown.offered == (
                shown.delivered + shown.dropped + shown.sampled_out + shown.filtered + shown.held
            )
        for name in ("offered", "delivered", "dropped", "sampled_out", "filtered", "held"):
            assert getattr(now, name) == sum(getattr(mode, name) for mode in now.by_mode.values())
        assert now.reasons == self.reasons
        assert self.buffer.idle == (not self.held and not self.lost and not self.next)
        assert [str(error) for error in self.errors] == ["13"] * len(self.errors)
        assert bool(self.errors) == bool(self.reasons["failed"])
        if self.config.overflow is not OverflowPolicy.BLOCK:
            assert now.high_water <= self.config.buffer_size


def total(pairs):
    counts = Counter()
    for name, count in pairs:
        counts[name] += count
    return counts


TestAccount = Account.TestCase
TestAccount.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
