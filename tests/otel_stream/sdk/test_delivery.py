"""Every item is booked as the receiver took it, and none costs another its place."""

import os
import random
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypedDict

import grpc
import pytest
from opentelemetry import trace

from engine import START, StateGraph
from otel_stream.sdk import Counts, configure
from otel_stream.sdk.export.answers import Answer
from otel_stream.sdk.export.delivery import Delivery
from otel_stream.sdk.export.encoding import ENCODINGS, MAX_LOG_ATTRIBUTES
from tests.otlp_servers import REQUESTS, attributes, grpc_server

BAD = "caf\udce9"


class State(TypedDict, total=False):
    x: int


def graph(node, name="g", **options):
    return StateGraph(State).add_node("n", node).add_edge(START, "n").compile(name=name, **options)


@contextmanager
def receiver(answer, on_headers=lambda headers: None):
    """An endpoint whose ``answer(path, request)`` returns status, headers and body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            on_headers(self.headers)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            said = answer(self.path, REQUESTS[self.path].FromString(body))
            if said is None:
                self.connection.close()
                return
            status, headers, body = said
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

        def handle(self):
            try:
                super().handle()
            except (OSError, ValueError):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


FIELDS = {
    "/v1/traces": ("traces", "rejected_spans"),
    "/v1/logs": ("logs", "rejected_log_records"),
    "/v1/metrics": ("metrics", "rejected_data_points"),
}
PROTO = {"Content-Type": "application/x-protobuf"}


def size_of(path, request):
    return sum(1 for _ in ENCODINGS[FIELDS[path][0]].entries(request))


def partial(path, rejected, message="out of quota"):
    signal, field = FIELDS[path]
    said = ENCODINGS[signal].answer()
    setattr(said.partial_success, field, rejected)
    said.partial_success.error_message = message
    return 200, PROTO, said.SerializeToString()


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (lambda path, _: partial(path, 2), 2),
        (
            lambda path, _: (
                200,
                {"Content-Type": "application/json"},
                b'{"partialSuccess":{"rejectedSpans":"1"}}',
            ),
            1,
        ),
        (lambda path, _: (200, {"Content-Type": "text/html"}, b"<html>Sign in</html>"), 3),
        (lambda path, _: (200, {}, b"x" * 1_000_000), 3),
        (lambda path, _: (200, PROTO, b"\xff\xff\xff"), 3),
        (lambda path, _: (302, {"Location": "/login"}, b""), 3),
        (lambda path, _: (400, {}, b"no"), 3),
        (lambda path, _: (204, {}, b""), 0),
    ],
    ids=["partial", "partial json", "web page", "endless", "garbage", "redirect", "refused", "no content"],
)
def test_what_the_answer_says_is_what_counts(answer, lost, run_something, caplog):
    with receiver(answer) as url:
        handle = configure(endpoint=url)
        run_something()
        assert handle.flush() is (lost == 0)
        assert handle.counts()["spans"] == Counts(3, 3 - lost, lost, 0)
        assert handle.shutdown() is (lost == 0)
    assert any("Telemetry does not arrive" in one.getMessage() for one in caplog.records) is bool(lost)


def test_a_warning_of_the_receiver_is_told_and_nothing_is_lost(run_something, caplog):
    with receiver(lambda path, _: partial(path, 0, "use a shorter name")) as url:
        handle = configure(endpoint=url)
        run_something()
        assert handle.shutdown() is True
    assert any("use a shorter name" in one.getMessage() for one in caplog.records)


def test_what_a_receiver_says_ends_no_line_of_the_log_and_has_an_end_itself(run_something, caplog):
    said = "no\nERROR root: all is lost\x1b[2J" + "x" * 10_000
    with receiver(lambda path, _: partial(path, 1, said)) as url:
        handle = configure(endpoint=url)
        run_something()
        assert handle.shutdown() is False
    ours = [record.getMessage() for record in caplog.records if "all is lost" in record.getMessage()]
    assert ours
    assert [one for one in ours if len(one) > 600 or not one.isprintable()] == []


@pytest.mark.parametrize("place", ["name", "attribute", "key", "event", "link", "status", "big", "body"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_item_that_is_no_unicode_arrives_repaired_with_all_its_neighbours(
    http_and_grpc, protocol, place, run_something
):
    endpoint = http_and_grpc[protocol]
    handle = configure(endpoint=endpoint.url, protocol=protocol)
    run_something()
    tracer = trace.get_tracer("app")
    span = tracer.start_span(BAD if place == "name" else "odd")
    if place in ("attribute", "big"):
        span.set_attribute("k", BAD if place == "attribute" else 1 << 70)
    if place == "key":
        span.set_attribute(BAD, 1)
    if place == "event":
        span.add_event(BAD, {"k": BAD})
    if place == "link":
        span.add_link(span.get_span_context(), {"k": (BAD, "b")})
    if place == "status":
        span.set_status(trace.StatusCode.ERROR, BAD)
    span.end()
    handle.shutdown()
    assert handle.counts()["spans"] == Counts(4, 4, 0, 0)
    odd = next(one for one in endpoint.spans() if not one.name.startswith(("invoke", "superstep")))
    told = {"name": odd.name, "status": odd.status.message, **attributes(odd)}
    expected = {"name": "name", "attribute": "k", "status": "status"}.get(place)
    if expected:
        assert told[expected] == "caf\ufffd"
    if place == "big":
        assert told["k"] == str(1 << 70)


class Receiver:
    """A sender that takes requests of ``most`` items, or bytes, and keeps what it took."""

    def __init__(self, encoding, most=None, longest=None):
        self.encoding, self.most, self.longest = encoding, most, longest
        self.took = []

    def send(self, request):
        entries = list(self.encoding.entries(request))
        if (self.most and len(entries) > self.most) or (self.longest and request.ByteSize() > self.longest):
            return Answer(False, too_large=True, reason="413")
        self.took.append((request.ByteSize(), entries))
        return Answer(True)

    def close(self):
        pass


def spans(*sizes):
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("app")
    made = []
    for number, size in enumerate(sizes):
        made.append(tracer.start_span(f"s{number}", attributes={"prompt": "漢" * (size // 3)}))
        made[-1].end()
    return made


def delivered(items, sender, limit, encoding=ENCODINGS["traces"]):
    booked = []
    delivery = Delivery(encoding, sender, limit)
    delivery.book = lambda *what: booked.append(what)
    done = delivery.deliver(items)
    return done, sum(one[0] for one in booked), sum(one[1] for one in booked)


def test_a_batch_is_sent_in_requests_below_the_limit_in_bytes():
    sender = Receiver(ENCODINGS["traces"])
    assert delivered(spans(*[30_000] * 10), sender, 100_000) == (True, 10, 0)
    assert max(size for size, _ in sender.took) <= 100_000
    assert [one.name for _, entries in sender.took for one in entries] == [f"s{n}" for n in range(10)]


def test_an_item_too_long_by_itself_arrives_cut_with_a_marker_and_its_neighbours_whole():
    sender = Receiver(ENCODINGS["traces"])
    assert delivered(spans(100, 500_000, 100), sender, 100_000) == (True, 3, 0)
    texts = [one.attributes[0].value.string_value for _, entries in sender.took for one in entries]
    assert (texts[0], texts[2]) == ("漢" * 33, "漢" * 33)
    assert texts[1].endswith("… [cut: 499998 bytes]")
    assert max(size for size, _ in sender.took) <= 100_000


def test_a_span_with_too_many_links_arrives_with_fewer_and_says_how_many_are_left_out():
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.trace import Link, SpanContext

    tracer = TracerProvider(shutdown_on_exit=False, span_limits=SpanLimits(max_links=50_000)).get_tracer("a")
    links = [Link(SpanContext(1, number, is_remote=False), {"k": "v" * 100}) for number in range(1, 30_001)]
    join = tracer.start_span("join", links=links)
    join.end()
    sender = Receiver(ENCODINGS["traces"])
    assert delivered([join], sender, 1_000_000) == (True, 1, 0)
    ((size, (one,)),) = sender.took
    assert size <= 1_000_000
    assert len(one.links) + one.dropped_links_count == 30_000


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (5000000 vs. 4194304)"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "gRPC message exceeds maximum size 4194304: 5000000"),
        (grpc.StatusCode.OUT_OF_RANGE, "Error, decoded message length too large: found 5000000 bytes"),
    ],
    ids=["Go", "Java", "Rust"],
)
def test_what_servers_over_grpc_say_of_a_long_request_is_understood(code, details, run_something):
    def answer(path, request, context):
        if size_of(path, request) > 1:
            context.abort(code, details)

    with grpc_server(answer) as server:
        handle = configure(endpoint=server.url, protocol="grpc")
        run_something()
        handle.shutdown()
        assert handle.counts()["spans"] == Counts(3, 3, 0, 0)


def test_what_netrc_says_does_not_take_the_place_of_a_header(tmp_path, monkeypatch, run_something):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20theirs")
    seen = set()
    with receiver(
        lambda path, _: (200, PROTO, b""), lambda headers: seen.add(headers["authorization"])
    ) as url:
        handle = configure(endpoint=url)
        run_something()
        assert handle.shutdown() is True
    assert seen == {"Bearer theirs"}


@pytest.mark.parametrize("about", [{"most": 1}, {"longest": 60_000}])
def test_a_receiver_that_finds_a_request_too_large_gets_shorter_ones(about):
    sender = Receiver(ENCODINGS["traces"], **about)
    assert delivered(spans(*[20_000] * 8), sender, 10_000_000) == (True, 8, 0)


def test_what_cannot_be_encoded_at_all_is_lost_alone_and_named():
    items = spans(1, 1, 1)
    items[1]._kind = "no kind"
    sender, booked = Receiver(ENCODINGS["traces"]), []
    delivery = Delivery(ENCODINGS["traces"], sender)
    delivery.book = lambda *what: booked.append(what)
    assert delivery.deliver(items) is False
    assert [one for one in booked if one[1]] == [
        (0, 1, "It was the span 's1'. It can't be encoded: KeyError.")
    ]
    assert [one.name for _, entries in sender.took for one in entries] == ["s0", "s2"]


def test_attributes_of_a_log_record_stay_below_what_log_stores_take(http_endpoint):
    from engine import InMemorySaver, interrupt

    handle = configure(endpoint=http_endpoint.url, capture_content=True)
    asking = graph(lambda s: {"x": interrupt({"document": "d" * 500_000})}, checkpointer=InMemorySaver())
    asking.invoke({"x": 0}, {"configurable": {"thread_id": "1"}, "tags": ["t" * 100_000] * 3})
    assert handle.shutdown() is True
    sizes = [sum(one.ByteSize() for one in record.attributes) for record in http_endpoint.records()]
    assert max(sizes) <= MAX_LOG_ATTRIBUTES


class Moody:
    """Refuses at random, and knows what it took; both are decided for each request by itself."""

    def __init__(self):
        self.chance, self.lock = random.Random(7), threading.Lock()
        self.took = {"traces": 0, "logs": 0, "metrics": 0}

    def mood(self, path, request):
        """Return a number from 0 to 1, and how many items a partial success rejects."""
        with self.lock:
            return self.chance.random(), self.chance.randrange(size_of(path, request) + 1)

    def take(self, path, request, rejected=0):
        with self.lock:
            self.took[FIELDS[path][0]] += size_of(path, request) - rejected

    def over_http(self, path, request):
        mood, rejected = self.mood(path, request)
        refusals = {
            0.1: (413, {}, b""),
            0.2: (429, {"Retry-After": "0.001"}, b"slow down"),
            0.3: (503, {}, b""),
            0.35: None,  # a reset
            0.4: (307, {"Location": "/elsewhere"}, b""),
        }
        for most, refusal in refusals.items():
            if mood < most:
                return refusal
        rejected = rejected if mood < 0.55 else 0
        self.take(path, request, rejected)
        return partial(path, rejected) if rejected else (200, PROTO, b"")

    def over_grpc(self, path, request, context):
        mood, rejected = self.mood(path, request)
        refusals = {
            0.1: (grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (5 vs. 4)"),
            0.2: (grpc.StatusCode.UNAVAILABLE, "slow down"),
            0.3: (grpc.StatusCode.ABORTED, ""),
            0.35: (grpc.StatusCode.PERMISSION_DENIED, "not you"),
            0.4: (grpc.StatusCode.UNKNOWN, "what?"),
        }
        for most, refusal in refusals.items():
            if mood < most:
                context.abort(*refusal)
        rejected = rejected if mood < 0.55 else 0
        self.take(path, request, rejected)
        said = ENCODINGS[FIELDS[path][0]].answer()
        setattr(said.partial_success, FIELDS[path][1], rejected)
        return said

    def serve(self, protocol):
        return grpc_server(self.over_grpc) if protocol == "grpc" else receiver(self.over_http)


#: As many runs as are asked for, ``OTEL_STREAM_EXAMPLES=10000`` for example.
RUNS = int(os.environ.get("OTEL_STREAM_EXAMPLES", "500"))


@pytest.mark.timeout(120 + RUNS // 10)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_counts_are_what_a_receiver_took_that_refuses_at_random(monkeypatch, protocol):
    """Partial success, too long, later please (and when), resets, redirects, refusals: item for item."""
    monkeypatch.setattr("otel_stream.sdk.export.answers.FIRST_PAUSE", 0.001)
    # Of ten thousand runs, too, none finds the queue full: that is another test's.
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1000000")
    monkeypatch.setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "1000000")
    moody = Moody()
    with moody.serve(protocol) as server:
        handle = configure(endpoint=getattr(server, "url", server), protocol=protocol)
        one = graph(lambda state: {"x": 1})
        for _ in range(RUNS):
            one.invoke({"x": 0})
        handle.flush(60)
        handle.shutdown(60)
        counts = handle.counts()
    assert counts["spans"].emitted == 3 * RUNS
    assert {name: count.exported for name, count in counts.items()} == {
        "spans": moody.took["traces"],
        "logs": moody.took["logs"],
        "metrics": moody.took["metrics"],
    }
    assert all(one.emitted == one.exported + one.lost for one in counts.values())
    assert counts["spans"].lost > 0
