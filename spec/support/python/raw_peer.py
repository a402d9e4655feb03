#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The other side of many connections at once, byte by byte.

raw_peer.py JOB OUT: JOB is a JSON object
  port      of the server to connect to; missing: listen, and say on which port in OUT.port
  tls       true; a listener's certificate is then in cert and key
  deadline  seconds that one wait may take, and ten times as many for all that comes in on a listener
  end_deadline  seconds that the wait for the end of a connection may take
  at_once   connections, when connecting
  rows      a list of {id, steps, source: address to come from, heads: [numbers of answers without a body]}
A listener knows the row by the path that is asked for, /ID. A step is a list:
  send HEX           bytes
  chop HEX N         bytes, N at a time
  head               wait for the head of what comes
  reply HEX N        bytes in which {accept} is what the key of the request demands; N at a time, or at once
  pong HEX           wait for a PONG with this payload behind the head
  close              wait for a close frame
  answers N          wait for so many HTTP answers
  end                wait for the end of the connection
  finish             say that nothing more is sent
OUT gets an object: to each id {received, frames, answers, ended: eof, reset or open, late: the step that did not come
to its end, visits}. Bytes are in hex. The connection is closed when the steps are over.
"""
import asyncio
import base64
import hashlib
import json
import os
import re
import ssl
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PAUSE = 0.002  # seconds between the pieces of what is chopped


def frames_of(data):
    """The whole frames in data, and whether anything is left over."""
    frames, at = [], 0
    while len(data) - at >= 2:
        first, second = data[at], data[at + 1]
        length, start = second & 127, at + 2
        kind = length
        if kind >= 126:
            width = 2 if kind == 126 else 8
            length = int.from_bytes(data[start:start + width], "big")
            start += width
        key = data[start:start + 4] if second & 128 else b""
        start += len(key)
        if len(data) < start + length or (second & 128 and len(key) < 4):
            break
        payload = data[start:start + length]
        if key:
            payload = bytes(byte ^ key[place & 3] for place, byte in enumerate(payload))
        frames.append({"fin": first >> 7, "rsv": first >> 4 & 7, "opcode": first & 15, "key": key.hex(),
                       "payload": payload.hex(), "kind": kind})
        at = start + length
    return frames, data[at:]


def chunked(data):
    """The content of a chunked body and its length on the wire, or None."""
    out, at = b"", 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(data[at:end].split(b";")[0], 16)
        if size == 0:
            last = data.find(b"\r\n", end + 2)
            return (out, last + 2) if last >= 0 else None
        out += data[end + 2:end + 2 + size]
        at = end + 2 + size + 2
        if len(data) < at:
            return None


def answers_of(data, heads, over):
    """HTTP answers in data, whole ones; the last may end with the connection. And what is left."""
    answers, at = [], 0
    while True:
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            break
        lines = data[at:end].decode("latin-1").split("\r\n")
        match = re.fullmatch(r"(HTTP/\d\.\d) (\d{3}) ?.*", lines[0])
        if not match:
            break
        status, fields = int(match[2]), [line.partition(":")[::2] for line in lines[1:]]
        fields = [[name.lower(), value.strip(" \t")] for name, value in fields]
        named, rest = dict(fields), data[end + 4:]
        final = sum(1 for answer in answers if answer["status"] >= 200)
        if status < 200 or status in (204, 304) or final in heads:
            body, used = b"", 0
        elif named.get("transfer-encoding") == "chunked":
            whole = chunked(rest)
            if not whole:
                break
            body, used = whole
        elif "content-length" in named:
            used = int(named["content-length"])
            if len(rest) < used:
                break
            body = rest[:used]
        elif over:
            body, used = rest, len(rest)
        else:
            break
        answers.append({"version": match[1], "line": lines[0], "status": status, "fields": fields,
                        "body": body.hex()})
        at = end + 4 + used
        if status == 101:
            break
    return answers, data[at:]


class Row:
    def __init__(self, row, job):
        self.steps, self.heads = row["steps"], row.get("heads", [])
        self.deadline, self.end_deadline = job["deadline"], job["end_deadline"]
        self.received, self.ended, self.late, self.visits = b"", "open", None, 0

    async def read(self, enough):
        """Read until enough is there. False: it ended before."""
        while not enough():
            try:
                data = await self.reader.read(65536)
            except (ConnectionError, ssl.SSLError):
                self.ended = "reset"
                return False
            if not data:
                self.ended = "eof"
                return False
            self.received += data
        return True

    def frames(self):
        end = self.received.find(b"\r\n\r\n")
        return frames_of(self.received[end + 4:])[0] if end >= 0 else []

    def answers(self):
        return answers_of(self.received, self.heads, self.ended != "open")[0]

    def has_head(self):
        return b"\r\n\r\n" in self.received

    def has(self, opcode, payload=None):
        return any(frame["opcode"] == opcode and payload in (None, frame["payload"]) for frame in self.frames())

    async def write(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def chop(self, data, size):
        for place in range(0, len(data), size):
            await self.write(data[place:place + size])
            if size < len(data):
                await asyncio.sleep(PAUSE)

    async def step(self, name, *args):
        if name == "send":
            await self.write(bytes.fromhex(args[0]))
        elif name == "chop":
            await self.chop(bytes.fromhex(args[0]), args[1])
        elif name == "head":
            return await self.read(self.has_head)
        elif name == "reply":
            key = re.search(rb"\r\nsec-websocket-key: *(\S+)", self.received, re.I)
            accept = base64.b64encode(hashlib.sha1((key[1] if key else b"") + GUID).digest())
            data = bytes.fromhex(args[0]).replace(b"{accept}", accept)
            await self.chop(data, args[1] if len(args) > 1 else len(data))
        elif name == "pong":
            return await self.read(lambda: self.has(10, args[0]))
        elif name == "close":
            return await self.read(lambda: self.has(8))
        elif name == "answers":
            return await self.read(lambda: len(self.answers()) >= args[0])
        elif name == "end":
            return not await self.read(lambda: False)
        elif name == "finish":
            self.writer.write_eof()
        else:
            raise ValueError(name)

    async def run(self, reader, writer):
        self.reader, self.writer = reader, writer
        for step in self.steps:
            try:
                deadline = self.end_deadline if step[0] == "end" else self.deadline
                came = await asyncio.wait_for(self.step(*step), deadline)
            except asyncio.TimeoutError:
                came = False
            except (ConnectionError, ssl.SSLError):
                # It does not take what we send; what it has said before can still be read.
                self.ended = "reset"
                came = True
            if came is False and self.late is None:
                self.late = step[0]
                if self.ended == "open":
                    break
        writer.close()

    def result(self):
        answers, left = answers_of(self.received, self.heads, self.ended != "open")
        end = self.received.find(b"\r\n\r\n")
        frames, torn = frames_of(self.received[end + 4:]) if end >= 0 else ([], b"")
        return {"received": self.received.hex(), "frames": frames, "torn": len(torn), "answers": answers,
                "left": left.hex(), "ended": self.ended, "late": self.late or False, "visits": self.visits}


def trusting():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


async def connect(job, rows):
    places = asyncio.Semaphore(job.get("at_once", 32))

    async def one(entry):
        row = rows[entry["id"]]
        async with places:
            source = (entry["source"], 0) if "source" in entry else None
            try:
                streams = await asyncio.open_connection("127.0.0.1", job["port"], local_addr=source,
                                                        ssl=trusting() if job.get("tls") else None)
            except OSError as error:
                row.late = "connect: %s" % error
                return
            await row.run(*streams)

    await asyncio.gather(*map(one, job["rows"]))


async def listen(job, rows, out):
    left, over = set(rows), asyncio.Event()

    async def visit(reader, writer):
        head = b""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), job["deadline"])
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        name = re.match(rb"\S+ /([^ /?]*)", head)
        row = rows.get(name[1].decode() if name else "")
        if not row:
            return writer.close()
        row.visits += 1
        if row.visits > 1:
            return writer.close()
        row.received = head
        await row.run(reader, writer)
        left.discard(name[1].decode())
        if not left:
            over.set()

    context = None
    if job.get("tls"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(job["cert"], job["key"])
    server = await asyncio.start_server(visit, "127.0.0.1", 0, ssl=context, backlog=256)
    write(out + ".port", str(server.sockets[0].getsockname()[1]))
    try:
        await asyncio.wait_for(over.wait(), 10 * job["deadline"])
        await asyncio.sleep(0.05)  # a client that comes again does so at once
    except asyncio.TimeoutError:
        pass
    server.close()


def write(path, text):
    with open(path + ".part", "w") as file:
        file.write(text)
    os.rename(path + ".part", path)


def main():
    path, out = sys.argv[1:]
    with open(path) as file:
        job = json.load(file)
    rows = {entry["id"]: Row(entry, job) for entry in job["rows"]}
    asyncio.run(connect(job, rows) if "port" in job else listen(job, rows, out))
    write(out, json.dumps({name: row.result() for name, row in rows.items()}))


main()
