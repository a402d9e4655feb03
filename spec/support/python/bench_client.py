#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A client for the load server of the bench that breaks one rule, once, at its fifth message."""
import json
import os
import socket
import struct
import sys

FAULT = sys.argv[1]
UPGRADE = (
    "GET /websocket/chat_bot/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Client:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", int(os.environ["BENCH_PORT"])))
        self.file = self.socket.makefile("rb")
        self.last_id = 0
        self.socket.sendall(UPGRADE.encode())
        while self.file.readline() != b"\r\n":
            pass

    def send_bytes(self, data, first=0x81, masked=True):
        key = b"same" if FAULT == "one mask" else os.urandom(4)
        mask_bit = 0x80 if masked else 0
        head = bytes([first])
        if len(data) < 126:
            head += bytes([mask_bit | len(data)])
        else:
            head += bytes([mask_bit | 126]) + struct.pack(">H", len(data))
        if masked:
            data = key + bytes(byte ^ key[i % 4] for i, byte in enumerate(data))
        self.socket.sendall(head + data)

    def send(self, frame, **how):
        self.send_bytes(json.dumps(frame).encode(), **how)

    def ack(self, number):
        self.send({"type": 2, "id": number})

    def request(self, method, payload, **how):
        self.last_id += 1
        self.send({"type": 1, "id": self.last_id, "method": method, "payload": payload}, **how)

    def answer(self, chat, text, **how):
        self.request("sendMessage", {"chatId": chat, "content": {"text": text, "parseMode": "text"}}, **how)

    def receive(self):
        head = self.file.read(2)
        if len(head) < 2:
            sys.exit(0)
        length = head[1] & 127
        if length == 126:
            length = struct.unpack(">H", self.file.read(2))[0]
        data = self.file.read(length)
        return json.loads(data) if head[0] == 0x81 else self.receive()


def acknowledge(client, number):
    if FAULT != "no ack":
        client.ack(number)
    if FAULT == "second ack":
        client.ack(number)
    if FAULT == "ack of nothing":
        client.ack(number + 100000)


def reply(client, chat, text):
    if FAULT == "no answer":
        return
    if FAULT == "another text":
        text = "hi"
    if FAULT == "another chat":
        chat = chat[:-1] + "x"
    if FAULT == "same id":
        client.last_id -= 1
    client.answer(chat, text, masked=FAULT != "no mask")
    if FAULT == "second answer":
        client.answer(chat, text)


def extra(client):
    if FAULT == "no json":
        client.send_bytes(b'{"type":1,')
    if FAULT == "binary":
        client.send_bytes(b"{}", first=0x82)
    if FAULT == "ping":
        client.send_bytes(b"hello", first=0x89)
    if FAULT == "exit":
        os._exit(4)


def main():
    client = Client()
    if FAULT == "no auth":
        client.answer("chat", "text")
    token = "wrong" if FAULT == "wrong token" else os.environ["BENCH_TOKEN"]
    client.request("auth", {"token": token, "tokenType": "JWT"})
    messages = 0
    while True:
        frame = client.receive()
        if frame["type"] == 2:
            continue
        messages += 1
        chat, text = frame["payload"]["chatId"], frame["payload"]["content"]["text"]
        if messages == 5:
            acknowledge(client, frame["id"])
            reply(client, chat, text)
            extra(client)
        else:
            client.ack(frame["id"])
            client.answer(chat, text)


main()
