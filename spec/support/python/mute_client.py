# SPDX-License-Identifier: MIT
"""A WebSocket client that never answers: python3 mute_client.py PORT PATH

When the server has closed, it prints the kinds of frames that came, in one line.
"""
import socket
import sys

KINDS = {1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}

port, path = int(sys.argv[1]), sys.argv[2]
server = socket.create_connection(("127.0.0.1", port), timeout=30)
server.sendall((
    f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode())
received = b""
try:
    while chunk := server.recv(4096):
        received += chunk
except ConnectionResetError:
    pass
frames = received.split(b"\r\n\r\n", 1)[1]
kinds = []
while frames:                           # all are short and, coming from a server, not masked
    kinds.append(KINDS[frames[0] & 15])
    frames = frames[2 + frames[1]:]
print(" ".join(kinds))
