#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A TCP client that sends what no HTTP library would.

raw_client.py PORT STEPS OUT: STEPS is a file of lines, each a step:
  send TEXT      with \\r, \\n and \\xNN as in a Python string
  repeat N TEXT  the same N times
  read           until the other side closes
  until TEXT     read until this has come
  shutdown       say that nothing more is sent
  pause SECONDS
What was received is written to OUT when all is done.
"""
import codecs
import os
import socket
import sys
import time


def unescaped(text):
    return codecs.decode(text.encode("latin-1"), "unicode_escape").encode("latin-1")


def receive(connection, received, enough):
    while not enough(received):
        try:
            data = connection.recv(65536)
        except ConnectionResetError:
            received += b"<reset>"
            return
        if not data:
            return
        received += data


def run(connection, step, received):
    name, _, rest = step.partition(" ")
    if name == "send":
        connection.sendall(unescaped(rest))
    elif name == "repeat":
        times, _, text = rest.partition(" ")
        connection.sendall(unescaped(text) * int(times))
    elif name == "read":
        receive(connection, received, lambda data: False)
    elif name == "until":
        receive(connection, received, lambda data: unescaped(rest) in data)
    elif name == "shutdown":
        connection.shutdown(socket.SHUT_WR)
    elif name == "pause":
        time.sleep(float(rest))
    else:
        raise ValueError(step)


def main():
    port, steps, out = sys.argv[1:]
    received = bytearray()
    with socket.create_connection(("127.0.0.1", int(port)), 60) as connection:
        with open(steps, encoding="latin-1", newline="\n") as lines:
            for line in lines:
                try:
                    run(connection, line.rstrip("\n"), received)
                except (BrokenPipeError, ConnectionResetError):
                    received += b"<broken>"
    with open(out + ".part", "wb") as file:
        file.write(received)
    os.rename(out + ".part", out)


main()
