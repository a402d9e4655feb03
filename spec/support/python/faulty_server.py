# SPDX-License-Identifier: MIT
"""A server that goes wrong on purpose: python3 faulty_server.py

Prints its ports and its process id in one line, and ends when its parent is gone or after two minutes.

  main    runs scripts: POST /script {"name": [[step, ...], ...]} gives the n-th visitor of /name the
          n-th list of steps, and the last list to all later ones. GET /log?name tells what visitors did.
  mute    accepts and says nothing        slam    closes right after accept
  half    closes after half of a request  reset   resets the connection after the request
  proxy   an HTTP proxy for CONNECT; every host name leads to this machine
  proxy6  the same at ::1

A step is a list: its name, then its arguments; see the methods of Visit that begin with do_.
"""
import base64
import hashlib
import json
import os
import socket
import struct
import threading
import time

LIFETIME = 600  # seconds
PATIENCE = 30   # seconds a connection may stay
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

scripts, visits, log = {}, {}, {}
lock = threading.Lock()


def note(name, what, **more):
    with lock:
        log.setdefault(name, []).append({"what": what, **more})


class Gone(Exception):
    """The client has closed the connection."""


class Stream:
    """A TCP connection read in exact pieces."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""
        sock.settimeout(PATIENCE)

    def more(self):
        chunk = self.sock.recv(65536)
        if not chunk:
            raise Gone
        self.buffer += chunk

    def take(self, length):
        while len(self.buffer) < length:
            self.more()
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        return taken

    def take_until(self, mark):
        while mark not in self.buffer:
            self.more()
        return self.take(self.buffer.index(mark) + len(mark))

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Request:
    def __init__(self, stream):
        lines = stream.take_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ")
        self.headers = {}
        for line in lines[1:-2]:
            key, value = line.split(":", 1)
            self.headers[key.lower()] = value.strip()
        self.body = stream.take(int(self.headers.get("content-length", 0)))


class Visit:
    """One connection that runs a script."""

    def __init__(self, stream, request, name):
        self.stream, self.request, self.name = stream, request, name
        self.taken = []  # requests of the client that wait for an answer
        self.pongs = True

    # HTTP

    def send(self, data):
        self.stream.sock.sendall(data)

    def head(self, status, fields):
        lines = [f"HTTP/1.1 {status} Whatever"] + [f"{key}: {value}" for key, value in fields.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def do_respond(self, status, body="", kind="application/json", more=None):
        data = body.encode()
        fields = {"Content-Type": kind, "Content-Length": len(data), "Connection": "close", **(more or {})}
        self.send(self.head(status, fields) + data)

    def do_token(self, token="t", **fields):
        self.do_respond(201, json.dumps({"access_token": token, "token_type": "JWT", **fields}))

    def do_cut_headers(self):
        self.send(b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Len")

    def do_headers_only(self):
        self.send(self.head(201, {"Content-Type": "application/json", "Content-Length": 60}))

    def do_cut_body(self):
        self.do_headers_only()
        self.send(b'{"access_token":"t","to')

    # The WebSocket handshake

    def proof(self, key=None):
        key = key or self.request.headers.get("sec-websocket-key", "")
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        return base64.b64encode(digest).decode()

    def switching(self, protocol="json.v1", key=None):
        fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": self.proof(key)}
        if protocol:
            fields["Sec-WebSocket-Protocol"] = protocol
        return self.head(101, fields)

    def do_accept(self, protocol="json.v1"):
        self.send(self.switching(protocol))

    def do_accept_with(self, *texts):
        """The 101 response and the first frames in one piece."""
        self.send(self.switching() + b"".join(self.frame(text.encode()) for text in texts))

    def do_accept_wrongly(self):
        self.send(self.switching(key="not the client's"))

    def do_lines(self, *lines):
        """An answer to the handshake, line by line; PROOF stands for what belongs to the client's key."""
        text = "".join(line.replace("PROOF", self.proof()) + "\r\n" for line in lines)
        self.send(text.encode() + b"\r\n")

    def do_cut_accept(self):
        self.send(self.switching()[:60])

    # Frames

    def frame(self, data, opcode=TEXT, fin=True):
        head = bytes([(0x80 if fin else 0) | opcode])
        if len(data) < 126:
            head += bytes([len(data)])
        elif len(data) < 65536:
            head += struct.pack("!BH", 126, len(data))
        else:
            head += struct.pack("!BQ", 127, len(data))
        return head + data

    def do_text(self, text):
        self.send(self.frame(text.encode()))

    def do_raw(self, digits):
        self.send(bytes.fromhex(digits))

    def do_binary(self, text):
        self.send(self.frame(text.encode(), BINARY))

    def do_fragments(self, *texts):
        for index, text in enumerate(texts):
            self.send(self.frame(text.encode(), TEXT if index == 0 else 0, index == len(texts) - 1))
            if index == 0:
                self.send(self.frame(b"between", PING))

    def do_pings(self, count):
        """Pings that are numbered and as long as may be, in one go."""
        self.send(b"".join(self.frame(f"{number:0125d}".encode(), PING) for number in range(1, count + 1)))

    def do_pongs(self, count):
        """Read the answers up to that of the last of so many pings, and note how many there were."""
        pongs, data = 0, b""
        while data != f"{count:0125d}".encode():
            opcode, data = self.read_frame()
            pongs += opcode == PONG
        note(self.name, "pongs", count=pongs)

    def do_big(self, length):
        self.send(self.frame(b'"' + b"x" * (length - 2) + b'"'))

    def read_frame(self):
        first, second = self.stream.take(2)
        length = second & 0x7F
        if length == 126:
            length, = struct.unpack("!H", self.stream.take(2))
        elif length == 127:
            length, = struct.unpack("!Q", self.stream.take(8))
        mask = self.stream.take(4) if second & 0x80 else b"\0\0\0\0"
        data = self.stream.take(length)
        key = (mask * (length // 4 + 1))[:length]
        return first & 0x0F, (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")

    def read_message(self):
        """The next text message, decoded; control frames are seen to on the way."""
        while True:
            opcode, data = self.read_frame()
            length = len(data)
            if opcode == PING:
                note(self.name, "ping", data=data.decode())
                if self.pongs:
                    self.send(self.frame(data, PONG))
            elif opcode == PONG:
                note(self.name, "pong", data=data.decode())
            elif opcode == CLOSE:
                note(self.name, "close", code=int.from_bytes(data[:2], "big"), reason=data[2:].decode())
                self.send(self.frame(data, CLOSE))
                raise Gone
            else:
                message = json.loads(data)
                note(self.name, "frame", frame={**message, "payload": "large"} if length > 10000 else message)
                return message

    def reply(self, request, payload):
        answer = {"type": 2, "id": request["id"]}
        if payload is not None:
            answer["payload"] = payload
        self.do_text(json.dumps(answer))

    def do_auth(self, **payload):
        """Take the request `auth` and answer it; without arguments it succeeds."""
        self.reply(self.read_message(), payload or {"userId": "herald@test/1"})

    def do_read(self, count=1):
        for _ in range(count):
            self.read_message()

    def do_take(self, count=1):
        self.taken += [self.read_message() for _ in range(count)]

    def do_answer(self, index=1, payload=None):
        """Answer the n-th request taken; more than once if asked to."""
        self.reply(self.taken[index - 1], payload)

    def do_answer_bytes(self, index, digits):
        """Answer the n-th request taken with a payload that need be neither UTF-8 nor JSON."""
        head = b'{"type":2,"id":%d,"payload":' % self.taken[index - 1]["id"]
        self.send(self.frame(head + bytes.fromhex(digits) + b"}"))

    def do_push_bytes(self, digits):
        """Send a text frame that need be neither UTF-8 nor JSON."""
        self.send(self.frame(bytes.fromhex(digits)))

    def do_answer_all(self):
        """Answer all requests taken with their method, the last one first."""
        for request in reversed(self.taken):
            self.reply(request, {"method": request["method"]})

    def do_echo(self):
        """Answer every request with its method and payload, until the client goes."""
        while True:
            message = self.read_message()
            if message["type"] == 1:
                self.reply(message, {"method": message["method"], "payload": message["payload"]})

    def do_no_pongs(self):
        self.pongs = False

    def do_silent(self):
        """Read and never answer, until the client goes."""
        while True:
            self.read_message()

    def do_chunk(self):
        """Note how much one read brings."""
        self.stream.more()
        note(self.name, "chunk", length=len(self.stream.buffer))

    def do_deaf(self, seconds=PATIENCE):
        """Read nothing."""
        time.sleep(seconds)

    def do_mute(self):
        """Send nothing, and wait for the client to go."""
        while True:
            self.stream.more()

    def do_bye(self, code=None, reason=""):
        """Say goodbye, and note what the client answers."""
        self.send(self.frame(b"" if code is None else struct.pack("!H", code) + reason.encode(), CLOSE))
        while True:
            opcode, data = self.read_frame()
            if opcode == CLOSE:
                note(self.name, "answer", code=int.from_bytes(data[:2], "big"))

    def do_wait(self, flag):
        """Until a script of this name is set."""
        while flag not in scripts:
            time.sleep(0.002)

    def do_sleep(self, seconds):
        time.sleep(seconds)

    def do_close(self):
        raise Gone

    def do_reset(self):
        self.stream.reset()
        raise Gone

    def run(self, script):
        for step in script:
            arguments, fields = step[1:], {}
            if arguments and isinstance(arguments[-1], dict) and step[0] in ("auth", "token"):
                arguments, fields = arguments[:-1], arguments[-1]
            getattr(self, "do_" + step[0])(*arguments, **fields)


def next_script(name):
    with lock:
        lists = scripts.get(name, [[["respond", 404]]])
        visit = visits[name] = visits.get(name, 0) + 1
        return lists[min(visit, len(lists)) - 1]


def control(visit, request):
    if request.target == "/script":
        with lock:
            scripts.update(json.loads(request.body))
        visit.do_respond(200, "{}")
    else:
        with lock:
            entries = json.dumps({"entries": log.get(request.target.partition("?")[2], [])})
        visit.do_respond(200, entries)


def serve_main(stream):
    request = Request(stream)
    name = request.target[1:].partition("?")[0]
    visit = Visit(stream, request, name)
    if name in ("script", "log"):
        control(visit, request)
        return
    note(name, "visit", body=request.body.decode(), headers=request.headers)
    try:
        visit.run(next_script(name))
    finally:
        note(name, "over")


def serve_mute(stream):
    while True:
        stream.more()


def serve_slam(stream):
    stream.sock.close()


def serve_half(stream):
    stream.take(20)
    stream.reset()


def serve_reset(stream):
    Request(stream)
    stream.reset()


def pump(source, target):
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve_proxy(stream):
    request = Request(stream)
    note("proxy", request.method, target=request.target, headers=request.headers)
    with lock:
        status = scripts.get("proxy", 200)
    if request.method != "CONNECT" or status != 200:
        status = 405 if status == 200 else status
        stream.sock.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        return
    with socket.create_connection(("127.0.0.1", int(request.target.rpartition(":")[2]))) as server:
        stream.sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        server.sendall(stream.buffer)
        threading.Thread(target=pump, args=(server, stream.sock), daemon=True).start()
        pump(stream.sock, server)


def handle(serve, sock):
    try:
        with sock:
            serve(Stream(sock))
    except (Gone, OSError):
        pass


def listen(serve, address="127.0.0.1"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family, backlog=64)

    def accept():
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=handle, args=(serve, sock), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main():
    parent, end = os.getppid(), time.monotonic() + LIFETIME
    servers = {"main": serve_main, "mute": serve_mute, "slam": serve_slam, "half": serve_half,
               "reset": serve_reset, "proxy": serve_proxy}
    ports = " ".join(f"{name}={listen(serve)}" for name, serve in servers.items())
    ports += f" proxy6={listen(serve_proxy, '::1')}"
    print(f"pid={os.getpid()} {ports}", flush=True)
    while os.getppid() == parent and time.monotonic() < end:
        time.sleep(0.5)


main()
