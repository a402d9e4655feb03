# SPDX-License-Identifier: MIT
"""A WebSocket client that never answers: python3 mute_client.py PORT PATH

Prints what the server sends after the handshake in hex, in one line, when the server has closed.
"""
import socket
import sys

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
print(received.split(b"\r\n\r\n", 1)[1].hex())
