"""Ports: chosen by name, one for each listener, and found taken before anything is started."""

import socket

import pytest

from otel_stream.cli.backends.errors import BackendsError, WrongOptionError
from otel_stream.cli.backends.ports import DEFAULTS, choose, free, is_taken, require_free


def test_no_two_listeners_share_a_default() -> None:
    assert len(set(DEFAULTS.values())) == len(DEFAULTS)
    assert choose([]) == DEFAULTS


def test_a_change_moves_one_listener_and_no_other() -> None:
    assert choose(["tempo=13200"]) == {**DEFAULTS, "tempo": 13200}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("tempo", "--port: 'tempo' gives no port: use a number, such as tempo=13200"),
        ("tempo=0", "--port: 'tempo=0' gives no port: use a number, such as tempo=13200"),
        ("tempo=65536", "--port: 'tempo=65536' gives no port: use a number, such as tempo=13200"),
        ("loki=3200", "--port: tempo and loki share port 3200: give one of them another"),
        ("zipkin=9411", f"--port: 'zipkin=9411' names no listener: use one of {', '.join(DEFAULTS)}"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_sentence(change: str, said: str) -> None:
    with pytest.raises(WrongOptionError) as caught:
        choose([change])
    assert str(caught.value) == said


def test_free_ports_are_all_different_and_nobody_listens_there() -> None:
    ports = free()
    assert ports.keys() == DEFAULTS.keys()
    assert len(set(ports.values())) == len(ports)
    require_free(ports)


def test_a_taken_port_is_named_with_its_listener_and_another_one_to_choose() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert is_taken(port)
        with pytest.raises(
            BackendsError, match=rf"port {port}, which is for loki, is in use: .*--port loki=\d+$"
        ):
            require_free({"loki": port})
    assert not is_taken(port)
