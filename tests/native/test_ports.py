"""Ports: chosen by name, one for each listener, and found taken before anything is started."""

import socket

import pytest

from backends.errors import BackendsError, WrongOptionError
from backends.ports import DEFAULTS, choose, free, is_taken, require_free


def test_no_two_listeners_share_a_default() -> None:
    assert len(set(DEFAULTS.values())) == len(DEFAULTS)
    assert choose([]) == DEFAULTS


def test_a_change_moves_one_listener_and_no_other() -> None:
    assert choose(["jaeger=26686"]) == {**DEFAULTS, "jaeger": 26686}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("jaeger", "--port: 'jaeger' gives no port: use a number, such as jaeger=26686"),
        ("jaeger=0", "--port: 'jaeger=0' gives no port: use a number, such as jaeger=26686"),
        ("jaeger=65536", "--port: 'jaeger=65536' gives no port: use a number, such as jaeger=26686"),
        (
            "victorialogs=9090",
            "--port: victorialogs and prometheus share port 9090: give one of them another",
        ),
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
            BackendsError, match=rf"port {port}, which is for jaeger, is in use: .*--port jaeger=\d+$"
        ):
            require_free({"jaeger": port})
    assert not is_taken(port)
