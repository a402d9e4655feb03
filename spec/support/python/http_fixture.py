#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The other side for spec/core/http_spec.lua: an HTTP server with odd habits, TLS servers, a proxy.

    http_fixture.py [NAME=CERT.pem ...]

Listens on free ports and prints them as one line of name=port pairs: http, silent (accepts and
says nothing), cut and reset (hang up), proxy, and one TLS port for each NAME; with that of "good" also asking12 and
asking13, which want a certificate of the client in TLS 1.2 or 1.3. Each CERT.pem holds key and certificate.
Ends when its parent does.
"""
import hashlib
import http.server
import json
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse

BLOCK = b"0123456789abcdef" * 4096


class Counters:
    """What the specs ask about, by GET /counters."""

    def __init__(self):
        self.lock = threading.Lock()
        self.values = {"connections": 0, "tunnels": 0, "forwarded": 0}

    def add(self, name):
        with self.lock:
            self.values[name] += 1


counters = Counters()
pokes = threading.Semaphore(0)


def parse_form(body, boundary):
    """The parts of a multipart body; strict about what the client has to send."""
    pieces = body.split(b"--" + boundary)
    assert pieces[0] == b"" and pieces[-1] == b"--\r\n", "bad multipart framing"
    for piece in pieces[1:-1]:
        assert piece.startswith(b"\r\n") and piece.endswith(b"\r\n")
        head, _, data = piece[2:-2].partition(b"\r\n\r\n")
        yield {
            "head": head.decode("utf-8"),
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        counters.add("connections")

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def handle_any(self):
        name, _, argument = self.path.partition("?")[0][1:].partition("/")
        method = getattr(self, "at_" + name, None)
        if method:
            method(argument)
        else:
            self.answer(404, b"no such page")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_any

    def at_echo(self, _):
        self.answer(201, {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": self.body().decode("latin-1"),
        })

    def at_counters(self, _):
        self.answer(200, counters.values)

    def at_status(self, argument):
        self.body()
        self.answer(int(argument), b"status page")

    def at_headers(self, _):
        self.send_response(200)
        for name, value in (("X-Case", "  Mixed Value "), ("X-Twice", "a"), ("X-TWICE", "b"), ("X-Empty", "")):
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def at_interim(self, _):
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nX-Interim: yes\r\n\r\n")
        self.answer(200, b"final")

    def at_bytes(self, argument):
        left = 0 if self.command == "HEAD" else int(argument)
        self.send_response(200)
        self.send_header("Content-Length", argument)
        self.end_headers()
        while left:
            left -= self.wfile.write(BLOCK[:left])

    def at_parts(self, argument):
        """A file with ranges. ?tag=ETAG, ?cut=BYTES to hang up behind, ?whole: no ranges, ?status=STATUS,
        ?says=Content-Range"""
        given = dict(urllib.parse.parse_qsl(self.path.partition("?")[2], keep_blank_values=True))
        size, tag = int(argument), f'"{given["tag"]}"' if "tag" in given else None
        if "status" in given:
            return self.answer(int(given["status"]), b"status page")
        asked = self.headers.get("Range", "bytes=").removeprefix("bytes=")
        first, status = int(asked.partition("-")[0] or 0), 206 if asked else 200
        if "whole" in given or self.headers.get("If-Range", tag) != tag:
            first, status = 0, 200
        if first >= size:
            return self.answer(416, b"no such part", Content_Range=f"bytes */{size}")
        data = (BLOCK * (size // len(BLOCK) + 1))[first:size]
        self.send_response(status)
        self.send_header("X-Range", asked)
        self.send_header("Content-Length", str(len(data)))
        if tag:
            self.send_header("ETag", tag)
        if status == 206:
            self.send_header("Content-Range", given.get("says", f"bytes {first}-{size - 1}/{size}"))
        self.end_headers()
        self.wfile.write(data[:int(given.get("cut", size))])
        self.close_connection = "cut" in given

    def at_chunked(self, argument):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(int(argument)):
            self.wfile.write(b"5\r\nhello\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def at_sink(self, _):
        left = total = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 16)))
        self.answer(200, {"received": total})

    def at_form(self, _):
        boundary = self.headers.get_param("boundary").encode()
        self.answer(200, list(parse_form(self.body(), boundary)))

    def at_redirect(self, argument):
        self.body()
        self.answer(int(argument), b"moved", Location="/echo")

    def at_silent(self, _):
        self.rfile.read(1)  # until the client goes

    def at_close(self, _):
        self.close_connection = True

    def at_half(self, argument):
        self.send_response(200)
        self.send_header("Content-Length", argument)
        self.end_headers()
        self.wfile.write(BLOCK[:int(argument) // 2])
        self.close_connection = True

    def at_garbage(self, _):
        self.wfile.write(b"this is not HTTP\r\n\r\n")
        self.close_connection = True

    def at_endless(self, _):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while True:
                self.wfile.write(b"X-Fill: " + b"x" * 8000 + b"\r\n")
        except OSError:
            self.close_connection = True

    def at_step(self, argument):
        """Each poke lets one byte of the body out."""
        self.send_response(200)
        self.send_header("Content-Length", argument)
        self.end_headers()
        for _ in range(int(argument)):
            pokes.acquire()
            self.wfile.write(b".")

    def at_poke(self, _):
        pokes.release()
        self.answer(200)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    context = None

    def finish_request(self, request, client_address):
        if not self.context:
            return super().finish_request(request, client_address)
        with self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request, client_address):
        pass  # clients that go away are what the specs are about


def serve(certificate=None, version=None):
    """With a version of TLS it wants a certificate of the client."""
    server = Server(("127.0.0.1", 0), Handler)
    if certificate:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(certificate)
        if version:
            server.context.minimum_version = server.context.maximum_version = version
            server.context.verify_mode = ssl.CERT_REQUIRED
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def pump(one, other):
    while True:
        for source in select.select([one, other], [], [])[0]:
            data = source.recv(65536)
            if not data:
                return
            (other if source is one else one).sendall(data)


class Proxy(Handler):
    """Tunnels to this machine and answers plain requests itself. Refuses the host no.test."""

    def setup(self):
        http.server.BaseHTTPRequestHandler.setup(self)

    def do_CONNECT(self):
        host, _, port = self.path.rpartition(":")
        if host == "no.test":
            return self.answer(407, b"", Proxy_Authenticate="Basic")
        counters.add("tunnels")
        with socket.create_connection(("127.0.0.1", int(port))) as target:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Proxy: yes\r\n\r\n")
            pump(self.connection, target)
        self.close_connection = True

    def handle_any(self):
        counters.add("forwarded")
        self.answer(200, {"url": self.path, "auth": self.headers.get("Proxy-Authorization")})

    do_GET = do_POST = handle_any


def serve_proxy():
    server = Server(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def serve_rudely(reset):
    """Accept, read a little and hang up: with FIN, or with RST."""
    server = socket.create_server(("127.0.0.1", 0))

    def hang_up():
        while True:
            connection, _ = server.accept()
            connection.recv(65536)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    threading.Thread(target=hang_up, daemon=True).start()
    return server.getsockname()[1]


def main():
    parent = os.getppid()
    silent = socket.create_server(("127.0.0.1", 0), backlog=64)  # the kernel accepts
    ports = {"http": serve(), "silent": silent.getsockname()[1], "proxy": serve_proxy()}
    ports["cut"] = serve_rudely(False)
    ports["reset"] = serve_rudely(True)
    for argument in sys.argv[1:]:
        name, _, certificate = argument.partition("=")
        ports[name] = serve(certificate)
        if name == "good":
            ports["asking12"] = serve(certificate, ssl.TLSVersion.TLSv1_2)
            ports["asking13"] = serve(certificate, ssl.TLSVersion.TLSv1_3)
    ports["pid"] = os.getpid()
    print(" ".join(f"{name}={value}" for name, value in ports.items()), flush=True)
    while os.getppid() == parent:
        time.sleep(0.5)


main()
