#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A bad network between a bot and a server: cuts, stalls, tears and half-closes connections at random.

    proxy.py LISTEN_PORT SERVER_PORT SEED [MOST_STALL]

SIGUSR1: from now on nothing happens to connections, old or new. Bytes that were taken from a sender reach the other
side even when the sender is dead, after a stall of up to MOST_STALL seconds, as in a real network.
"""
import asyncio
import random
import signal
import sys

CALM = False
KINDS = ("none", "cut", "reset", "stall", "tear", "half-close", "refuse")
WEIGHTS = (4, 3, 2, 3, 3, 1, 1)
MOST_BYTES = 20000  # after so many a fault sets in
counts = dict.fromkeys(KINDS, 0)


class Fault:
    """What happens to one connection, and in which of its directions."""

    def __init__(self, rng, most_stall):
        self.kind = rng.choices(KINDS, WEIGHTS)[0]
        self.direction = rng.randrange(2)
        self.after = rng.randrange(rng.choice((200, 2000, MOST_BYTES)))
        self.stall = rng.uniform(0.05, most_stall)
        self.rng = rng
        counts[self.kind] += 1

    def sets_in(self, direction, passed):
        return not CALM and direction == self.direction and passed >= self.after


async def write_torn(writer, data, rng):
    while data:
        size = rng.randrange(1, 1 + min(len(data), rng.choice((1, 7, 100))))
        writer.write(data[:size])
        await writer.drain()
        await asyncio.sleep(rng.choice((0, 0, 0.001)))
        data = data[size:]


async def pump(reader, writer, fault, direction, abort):
    """Until the sender ends; then the other side learns of it in the same direction alone."""
    passed, stalled = 0, False
    while data := await reader.read(65536):
        if fault.sets_in(direction, passed + len(data)):
            if fault.kind in ("cut", "reset"):
                writer.write(data[: max(0, fault.after - passed)])
                return abort(fault.kind == "reset")
            if fault.kind == "half-close":
                break
            if fault.kind == "stall" and not stalled:
                stalled = True
                await asyncio.sleep(fault.stall)
            elif fault.kind == "tear":
                await write_torn(writer, data, fault.rng)
                data = b""
        passed += len(data)
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def close(writer, hard):
    if hard:
        writer.transport.abort()
    else:
        writer.close()


async def serve(reader, writer, port, fault):
    if fault.kind == "refuse" and not CALM:
        return close(writer, True)
    try:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return close(writer, True)

    def abort(hard):
        close(writer, hard)
        close(other_writer, hard)

    await asyncio.gather(
        pump(reader, other_writer, fault, 0, abort),
        pump(other_reader, writer, fault, 1, abort),
        return_exceptions=True,
    )
    abort(False)


def calm():
    global CALM
    CALM = True
    print("calm", counts, flush=True)


async def main(listen_port, server_port, seed, most_stall):
    rng = random.Random(seed)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, calm)

    async def take(reader, writer):
        # A random source of its own for each connection: what happens on one does not change the next.
        await serve(reader, writer, server_port, Fault(random.Random(rng.random()), most_stall))

    server = await asyncio.start_server(take, "127.0.0.1", listen_port)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


most = float(sys.argv[4]) if len(sys.argv) > 4 else 1.5
asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), most))
