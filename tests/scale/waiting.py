"""What tests of remote streams do with a receiver."""

import anyio


def texts(parts):
    return [part.to_json() for part in parts]


async def taken(receiver):
    async with receiver:
        return [part async for part in receiver]


async def until(holds):
    while not holds():  # noqa: ASYNC110 - it comes about in another thread
        await anyio.sleep(0.01)
