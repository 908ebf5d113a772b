"""A real Kafka broker on loopback, its data in a temporary folder; ended by pid.

Not part of ``make test``: these run if this folder is named, as ``make test-scale`` does, which has Maven
fetch Kafka. ``OTEL_STREAM_KAFKA`` (host:port) names a broker that is there already: then tests that kill one,
or have it stand still, are left out.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scale.broker import LIBRARIES, Broker

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = [Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args]
    return None if any(path == HERE or HERE in path.parents for path in named) else True


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """Of all tests that leave it as it is."""
    if "OTEL_STREAM_KAFKA" in os.environ:
        pytest.skip("OTEL_STREAM_KAFKA names a broker that is not ours")
    assert any(LIBRARIES.glob("kafka_2.13-*.jar")), f"there is no Kafka in {LIBRARIES}: run make test-scale"
    broker = Broker()
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> str:
    """Where there is a broker."""
    given = os.environ.get("OTEL_STREAM_KAFKA")
    return given or str(request.getfixturevalue("broker").address)


@pytest.fixture
def topic() -> str:
    """One that nobody uses."""
    return f"runs-{uuid.uuid4().hex}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
