#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Drives a Bridge with a WebSocket client and an HTTP client that are not ours: python3-websockets and curl.

conformance.py URL EXPIRED_TOKEN VERSION   URL is ws://HOST:PORT; the accounts are those of conformance_bridge.lua

It holds the conversations that the protocol gives as worked transcripts, frame by frame, and goes through what the
protocol asks of a server so that existing clients run against it: of a server of VERSION, what differs by version
included. Ids and times differ from run to run; every field, its type, and the order of the frames may not. Prints a
line for each part: "ok NAME", or "FAIL NAME", a tab and the reason.
"""
import asyncio
import base64
import json
import os
import re
import sys
import tempfile
import time

from websockets.legacy.client import WebSocketClientProtocol, connect

from shapes import (ArrayOf, BOOLEAN, CHAT_ID, INTEGER, MILLISECONDS, Mismatch, NullOr, Optional, SECONDS, TEXT, UUID,
                    check, demand, is_number, matching)

PATIENCE = 10  # seconds for anything
REQUEST, RESPONSE = 1, 2
P2P, GROUP, CHANNEL = 1, 2, 6
PLAIN, ATTACHMENT = 200, 202
NO_ROUTE, WRONG_FORMAT = 104, 399
DAY = 86400
SLASH_PATH, BARE_PATH = "/websocket/chat_bot/", "/websocket/chat_bot"
HERALD, SORA, MIRA, NOAH = (login + "@chat.acme.test" for login in ("herald", "sora", "mira", "noah"))
LIMITS = {"maxSize": 50000000, "extensions": {"mode": "block", "list": ["exe", "bat"]}}

url, expired_token, version = sys.argv[1:]
base = url.replace("ws://", "http://", 1)
parts = []


def numbers(text):
    return [int(number) for number in text.split(".")]


def has(since):
    """Whether the server has what came with a version."""
    return numbers(version) >= numbers(since)


def newer(since, **fields):
    """Fields that came with a version, if the server has them."""
    return fields if has(since) else {}


def part(name):
    """A part that stands for itself: reported by this name."""
    def add(function):
        parts.append((name, function))
        return function
    return add


# HTTP ----------------------------------------------------------------------------------------

class Answer:
    def __init__(self, output):
        head, _, self.body = output.partition(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head, _, self.body = self.body.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()

    def json(self, shape, path):
        kind = self.headers.get("content-type", "").partition(";")[0]
        demand(kind == "application/json", f"{path}: Content-Type is {kind!r}")
        value = json.loads(self.body)
        check(value, shape, path)
        return value


async def curl(path, *arguments, data=None):
    command = ["curl", "-sS", "-i", "--noproxy", "*", "--max-time", str(PATIENCE), *arguments,
               path if path.startswith("http") else base + path]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    output, errors = await process.communicate(data)
    demand(process.returncode == 0, f"{' '.join(command)}: {errors.decode()}")
    return Answer(output)


async def post(path, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await curl(path, "-H", "Content-Type: application/json", "--data-binary", "@-", data=data)


async def post_token(body):
    return await post("/bridge/api/client/v1/oauth/token", body)


def login(username, password, **more):
    return {"client_id": "chat_bot", "grant_type": "password", "username": username, "password": password, **more}


TOKEN = {"access_token": TEXT, "token_type": "JWT", "expires_in": 31536000, "expires_at": SECONDS}


async def ask_token(username, password):
    answer = await post_token(login(username, password))
    demand(answer.status == 201, f"token: status {answer.status}")
    demand(answer.headers.get("access-control-allow-origin") == "*", "token: Access-Control-Allow-Origin is not *")
    return answer.json(TOKEN, "token")


# The socket ----------------------------------------------------------------------------------

class Protocol(WebSocketClientProtocol):
    """Notes the PINGs of the server; the library answers them."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.pings_seen = asyncio.Queue()

    async def pong(self, data=b""):
        self.pings_seen.put_nowait(data)
        await super().pong(data)


async def open_socket(path=SLASH_PATH, subprotocols=("json.v1",)):
    return await connect(url + path, subprotocols=subprotocols or None, create_protocol=Protocol, ping_interval=None)


class Talk:
    """A connection whose every frame is foreseen."""

    def __init__(self, socket):
        self.socket = socket
        self.last_id = 0        # of our requests
        self.last_server_id = 0

    async def frame(self):
        text = await asyncio.wait_for(self.socket.recv(), PATIENCE)
        demand(isinstance(text, str), f"a frame is not text: {text!r}")
        return json.loads(text)

    async def send(self, frame):
        await self.socket.send(json.dumps(frame))

    async def request(self, method, payload, shape):
        """Send a request; the next frame must be its response."""
        self.last_id += 1
        await self.send({"type": REQUEST, "id": self.last_id, "method": method, "payload": payload})
        frame = await self.frame()
        check(frame, {"type": RESPONSE, "id": self.last_id, "payload": shape}, f"response to {method}")
        return frame["payload"]

    async def refused(self, method, payload, code):
        await self.request(method, payload, {"errorCode": code, "errorDescription": Optional(TEXT)})

    async def notified(self, method, shape, ack=True):
        """The next frame must be this notification, under the server's next id."""
        frame = await self.frame()
        self.last_server_id += 1
        check(frame, {"method": method, "type": REQUEST, "id": self.last_server_id, "payload": shape},
              f"notification {method}")
        if ack:
            await self.ack(self.last_server_id)
        return frame["payload"]

    async def ack(self, number, **more):
        await self.send({"type": RESPONSE, "id": number, **more})

    async def limits(self):
        """What comes after auth."""
        if has("5.5.3"):
            await self.notified("getFileUploadLimits", LIMITS)

    async def quiet(self):
        """Nothing has come but what was foreseen: the answer to a question is next."""
        await self.request("getUserDisplayName", {"userId": MIRA}, {"displayName": TEXT})

    async def auth(self, user, token, **more):
        return await self.request("auth", {"token": token, "tokenType": "JWT", **more}, {
            "userId": matching(f"{user}/instance", user.replace(".", r"\.") + "/.+"), "connectionId": TEXT})

    async def close(self):
        await self.socket.close()
        demand(self.socket.close_code == 1000, f"closed with {self.socket.close_code}")


class Peer(Talk):
    """A connection of somebody whose notifications are not looked at."""

    async def frame(self):
        while True:
            frame = await super().frame()
            if frame["type"] == RESPONSE:
                return frame
            await self.ack(frame["id"])

    async def chat_with(self, user):
        return (await self.request("createP2PChat", {"userId": user}, {"chatId": CHAT_ID}))["chatId"]

    async def say(self, chat_id, text, mode="text", **more):
        return await self.request(
            "sendMessage", {"chatId": chat_id, "content": {"text": text, "parseMode": mode}, **more}, sent(chat_id))


async def enter(kind, username, password, **more):
    """Token, connection and auth of an account."""
    token = await ask_token(username, password)
    talk = kind(await open_socket())
    await talk.auth(username + "@chat.acme.test", token["access_token"], **more)
    if kind is Talk and not more.get("receiveUnread"):
        await talk.limits()
    return talk


# Shapes --------------------------------------------------------------------------------------

def sent(chat_id, **more):
    return {"chatId": chat_id, "messageId": UUID, "timestamp": MILLISECONDS, **more}


def author(user):
    return {"id": user, "type": 1}


def chat_part(chat_id):
    return newer("5.5.6", chat={"chatId": chat_id, "chatTitle": None, "chatType": P2P})


def last_message(chat_id, user, kind, content):
    return {"messageId": UUID, "chatId": chat_id, **chat_part(chat_id), "timestamp": MILLISECONDS,
            "author": author(user), "type": kind, "content": content}


def envelope(chat_id, user, content, kind=PLAIN, **more):
    return {**last_message(chat_id, user, kind, content), "box": {"id": INTEGER, "position": TEXT},
            "isEdited": False, **more}


def created(chat_id, title, kind):
    return {"chatId": chat_id, "title": title, "chatType": kind, "lastMessage": None, "unreadMessages": 0}


def chat(chat_id, title, kind, last):
    return {"chatId": chat_id, "title": title, "chatType": kind, "avatarUrl": None, "unreadMessages": INTEGER,
            "lastMessage": last}


def text(words, mode="text"):
    return {"text": words, "parseMode": mode}


# 20.1 to 20.4 and 20.7 to 20.9: one conversation ---------------------------------------------------

class Conversation:
    """What one transcript leaves for the next."""

    async def enter(self):
        token = await ask_token("herald", "4711")
        socket = await open_socket()
        demand(socket.subprotocol == "json.v1", f"the subprotocol is {socket.subprotocol!r}")
        self.talk = Talk(socket)
        await self.talk.auth(HERALD, token["access_token"], receiveUnread=False, receiveSystemMessageEnvelopes=False)
        await self.talk.limits()
        await self.talk.quiet()
        self.mira = await enter(Peer, "mira", "x")

    async def send_and_edit(self):
        talk = self.talk
        response = await talk.request("createP2PChat", {"userId": MIRA}, {"chatId": CHAT_ID})
        self.chat = response["chatId"]
        await talk.notified("createP2PChat", created(self.chat, MIRA, P2P))
        build = {"text": "Build **ok**", "parseMode": "markdown"}
        first = await talk.request("sendMessage", {"chatId": self.chat, "content": build}, sent(self.chat))
        await talk.notified("sendMessage", envelope(self.chat, HERALD, build, **first))
        content = text("Build ok, 42 tests")
        edit = await talk.request("editMessage", {"messageId": first["messageId"], "content": content},
                                  {"messageId": first["messageId"], "timestamp": MILLISECONDS})
        await talk.notified("editMessage", {
            "chatId": self.chat, "timestamp": edit["timestamp"], "content": content,
            "messageId": Optional(first["messageId"])})
        again = await talk.request("createP2PChat", {"userId": MIRA}, {"chatId": self.chat})
        demand(again == response, "a second createP2PChat gave another chat")
        await talk.quiet()

    async def answer(self):
        talk = self.talk
        question = {"text": "<b>status</b>?", "parseMode": "html"}
        asked = await self.mira.say(self.chat, question["text"], "html")
        came = await talk.notified("sendMessage", envelope(self.chat, MIRA, question, **asked))
        response = await talk.request("sendMessage", {
            "chatId": self.chat, "replyMessageId": asked["messageId"], "content": text("All green")}, sent(self.chat))
        echo = await talk.notified("sendMessage", envelope(
            self.chat, HERALD, text("All green"), replyMessageId=asked["messageId"],
            **newer("5.5.6", replyMessage=Optional(envelope(self.chat, MIRA, question, **asked))), **response))
        demand(echo["box"]["id"] > came["box"]["id"], "box.id does not grow by message")
        await talk.quiet()

    async def file(self):
        talk = self.talk
        task = await talk.request("uploadFile", {"fileSize": 2048, "fileName": "plan.pdf"}, {"uploadTaskId": UUID})
        answer = await upload(task["uploadTaskId"], b"p" * 2048, "plan.pdf", "application/pdf")
        demand(answer.status == 200, f"upload: status {answer.status}, {answer.body!r}")
        temporal = answer.json({"temporalFileId": TEXT}, "upload")["temporalFileId"]
        response = await talk.request(
            "sendFile", {"chatId": self.chat, "content": {"temporalFileId": temporal, "caption": text("Plan")}},
            sent(self.chat, fileId=TEXT, **newer("5.5.6", captionMessageId=UUID)))
        self.file_message, self.caption_message = response["messageId"], response.get("captionMessageId", UUID)
        self.file_content = {"name": "plan.pdf", "size": 2048, "mimeType": "application/pdf",
                             "fileId": response["fileId"], "readyState": 2}
        await talk.notified("sendMessage", {**envelope(self.chat, HERALD, text("Plan")),
                                            "messageId": self.caption_message})
        await talk.notified("sendMessage", {**envelope(self.chat, HERALD, self.file_content, ATTACHMENT),
                                            "messageId": self.file_message, "timestamp": response["timestamp"]})
        await self.wrong_task(task["uploadTaskId"])
        await self.download(response["fileId"])
        await talk.quiet()

    async def wrong_task(self, task):
        answer = await upload(task, b"p" * 2048, "plan.pdf", "application/pdf")
        demand(answer.status == 400, f"a task used twice: status {answer.status}")
        answer.json({"error": 407 if has("5.5.6") else 310,
                     "error_description": f"No task found for request_id: {task}"}, "a task used twice")

    async def download(self, file_id):
        info = await self.talk.request("getFileInfo", {"fileId": file_id}, {
            "fileId" if has("5.5.4") else "infoHash": file_id, "name": "plan.pdf", "size": 2048,
            "mimeType": "application/pdf", "readyState": 2, "downloadUrl": TEXT, "previews": None})
        answer = await curl(info["downloadUrl"])
        demand(answer.status == 200 and answer.body == b"p" * 2048, f"download: {answer.status} {answer.body[:80]!r}")

    async def list(self):
        talk = self.talk
        ops = (await talk.request("createGroupChat", {"title": "Ops"}, {"chatId": CHAT_ID}))["chatId"]
        await talk.notified("createGroupChat", created(ops, "Ops", GROUP))
        chats = await talk.request("getChats", {"count": 2, "page": 1}, ArrayOf({
            **chat(CHAT_ID, TEXT, INTEGER, NullOr(last_message(CHAT_ID, TEXT, INTEGER, self.file_content)))}))
        chats.sort(key=lambda item: item["chatType"])
        last = last_message(self.chat, HERALD, ATTACHMENT, self.file_content)
        check(chats, [chat(self.chat, MIRA, P2P, {**last, "messageId": self.file_message}),
                      chat(ops, "Ops", GROUP, None)], "chats")
        await talk.request("getChats", {"count": 2, "page": 2}, [])
        await talk.request("getChatHistory", {"chatId": self.chat, "count": 2, "fromMessageId": None}, {
            "chatId": self.chat, "count": 2, "messages": [
                {**envelope(self.chat, HERALD, self.file_content, ATTACHMENT), "messageId": self.file_message},
                {**envelope(self.chat, HERALD, text("Plan")), "messageId": self.caption_message}]})
        await talk.refused("sendMessage", {"chatId": "gone", "content": text("x")}, 304)
        await talk.quiet()

    async def click(self):
        talk = self.talk
        buttons = [[{"type": "command", "label": "Yes", "command": "deploy", "customData": "r17", "id": "y",
                     "style": "success"}, {"type": "url", "label": "Log", "url": "https://ci.acme.test/17"}]]
        response = await talk.request(
            "sendMessage", {"chatId": self.chat, "content": {**text("Deploy?"), "buttons": buttons}}, sent(self.chat))
        shape = envelope(self.chat, HERALD, text("Deploy?"), **response)
        await talk.notified("sendMessage", shape)
        if has("5.5.6"):
            await talk.notified("command", {
                "commandSource": {"type": "inlineKeyboard", "buttonId": "y", "message": shape},
                "commandPayload": {"type": "userCommand", "command": "deploy", "customData": "r17"}})
        await talk.request("getMessageById", {"messageId": response["messageId"]},
                           {**shape, "content": {**text("Deploy?"), **newer("5.5.6", buttons=buttons)}})
        await talk.quiet()

    async def group(self):
        talk = self.talk
        group = (await talk.request("createGroupChat", {"title": "Release 17"}, {"chatId": CHAT_ID}))["chatId"]
        await talk.notified("createGroupChat", created(group, "Release 17", GROUP))
        await talk.request("addChatParticipant", {"chatId": group, "userId": MIRA, "displayHistory": True}, {})
        await talk.notified("addChatParticipant", {
            "chatId": group, "userId": MIRA, "timestamp": MILLISECONDS, "addedBy": author(HERALD)})
        await talk.refused("getChatParticipant", {"chatId": group, "userId": "nobody@chat.acme.test"},
                           305 if has("5.5.4") else NO_ROUTE)
        await talk.quiet()
        await talk.close()
        await self.mira.close()


async def upload(task, data, name, kind):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "bytes")
        with open(path, "wb") as file:
            file.write(data)
        return await curl("/bridge/api/client/v1/files", "-H", f"Upload-Task-Id: {task}",
                          "-F", f"file=@{path};filename={name};type={kind}")


TRANSCRIPTS = (
    ("20.1 token, connect, auth", Conversation.enter),
    ("20.2 personal chat, send, edit", Conversation.send_and_edit),
    ("20.3 incoming message, ack, reply", Conversation.answer),
    ("20.4 file with caption", Conversation.file),
    ("20.7 list, history, stale chat", Conversation.list),
    ("20.8 button click", Conversation.click),
    ("20.9 group events", Conversation.group),
)


# 20.5 and 20.6 -----------------------------------------------------------------------------------

@part("20.5 unread delivery")
async def unread():
    mira = await enter(Peer, "mira", "x")
    chat_id = await mira.chat_with(SORA)
    first, second = await mira.say(chat_id, "one"), await mira.say(chat_id, "two")
    talk = await enter(Talk, "sora", "0815", receiveUnread=True)
    await talk.notified("sendMessage", envelope(chat_id, MIRA, text("one"), **first))
    await talk.notified("sendMessage", envelope(chat_id, MIRA, text("two"), **second))
    await talk.limits()
    await talk.quiet()
    await talk.close()
    talk = await enter(Talk, "sora", "0815", receiveUnread=True)
    await talk.limits()
    await talk.quiet()
    await talk.close()
    await mira.close()


@part("20.6 too early, wrong, expired")
async def expired():
    talk = Talk(await open_socket())
    await talk.refused("getChats", {"count": 10, "page": 1}, 200)
    await talk.refused("auth", {"token": expired_token, "tokenType": "JWT"}, 203)
    await talk.close()
    talk = await enter(Talk, "noah", "y", receiveUnread=True)
    await talk.limits()
    await talk.close()


# Duties of a faithful server ---------------------------------------------------------------------

INVALID_GRANT = {"error": "invalid_grant", "error_description": "Invalid username or password"}


@part("seed: 400 with its bodies and the CORS header")
async def token_errors():
    described = {"error_description": Optional(TEXT)}
    for body, shape in (
        (login("herald", "wrong"), INVALID_GRANT),
        (login("nobody", "4711"), INVALID_GRANT),
        (login("herald", 4711), {"error": "invalid_request", **described}),
        (login("herald", "4711", client_id="app"), {"error": "invalid_client", **described}),
        (login("herald", "4711", grant_type="code"), {"error": "unsupported_grant_type", **described}),
        (b"username=herald", {"error": "invalid_request", **described}),
    ):
        answer = await post_token(body)
        demand(answer.status == 400, f"{body}: status {answer.status}")
        demand(answer.headers.get("access-control-allow-origin") == "*", f"{body}: no Access-Control-Allow-Origin")
        answer.json(shape, f"answer to {body}")


@part("seed: code 200 before auth, and the connection stays")
async def before_auth():
    talk = Talk(await open_socket())
    for method, payload in (("getChats", {"count": 1, "page": 1}), ("getFileUploadLimits", {}), ("sendMessage", {})):
        await talk.refused(method, payload, 200)
    await talk.auth(HERALD, (await ask_token("herald", "4711"))["access_token"])
    await talk.close()


def decoded(token_part):
    return json.loads(base64.urlsafe_b64decode(token_part + "=" * (-len(token_part) % 4)))


@part("py: a token of three parts with exp, a month ahead")
async def token_parts():
    token = await ask_token("herald", "4711")
    pieces = token["access_token"].split(".")
    demand(len(pieces) == 3 and all(pieces), f"the token has {len(pieces)} parts")
    demand(not any(letter.isspace() for letter in token["access_token"]), "white space in the token")
    demand(isinstance(decoded(pieces[0]), dict), "the first part is no JSON object")
    exp = decoded(pieces[1])["exp"]
    demand(is_number(exp), f"exp is {exp!r}")
    demand(abs(exp - time.time() - 30 * DAY) < 120, f"exp is {exp - time.time()} s ahead")
    demand(abs(token["expires_at"] - exp) <= 1, "expires_at is not exp")


@part("py: the path without slash, no subprotocol, connectionId")
async def bare_path():
    for path, subprotocols, chosen in (
        (BARE_PATH, (), None), (SLASH_PATH, (), None), (BARE_PATH, ("json.v1",), "json.v1"),
        (SLASH_PATH, ("json.v2", "json.v1"), "json.v1"),
    ):
        socket = await open_socket(path, subprotocols)
        demand(socket.subprotocol == chosen, f"{path} {subprotocols}: got {socket.subprotocol!r}")
        demand(socket.extensions == [], f"{path}: extensions {socket.extensions}")
        talk = Talk(socket)
        response = await talk.auth(HERALD, (await ask_token("herald", "4711"))["access_token"])
        demand(response["connectionId"] != "", "connectionId is empty")
        await talk.close()


@part("py: GET /api/v4/server")
async def server_info():
    answer = await curl("/api/v4/server")
    demand(answer.status == 200, f"status {answer.status}")
    shape = matching(f"{version}.N", re.escape(version) + r"\.\d+")
    answer.json({"product": {"display_name": "chat.acme.test", "version": shape}}, "/api/v4/server")


async def somebody_writes(talk, user, mira):
    """A message of Mira to the user of `talk`, as it came."""
    chat_id = await mira.chat_with(user)
    written = await mira.say(chat_id, "hello", replyMessageId=None)
    frame = await talk.frame()
    while frame["method"] != "sendMessage":
        talk.last_server_id = frame["id"]
        frame = await talk.frame()
    talk.last_server_id = frame["id"]
    return chat_id, written, frame


@part("py: the OAuth2 exchange from 5.5.3 on")
async def oauth():
    first = {"client_id": "app", "grant_type": "password", "username": "herald", "password": "4711"}
    path = "/api/v4/oauth2/token"
    answer = await post(path, first)
    if not has("5.5.3"):
        demand(answer.status == 404, f"{path}: status {answer.status}")
        return
    access = answer.json({"access_token": TEXT, "token_type": TEXT, "expires_in": 3600}, path)
    refused = await post(path, {**first, "password": "0000"})
    demand(refused.status == 401, f"a wrong password: status {refused.status}")
    refused = await post(path, {**first, "client_id": "bare"})
    demand(refused.status == 400, f"no scope: status {refused.status}")
    refused.json({"error": {"code": 400, "message": TEXT, "trace_id": TEXT,
                            "errors": [{"reason": "invalidScope", "location": "scope"}]}}, path)
    path = "/bridge/api/client/v1/auth/web_rest_api_token"
    answer = await post(path, {"client_id": "herald", "token": access["access_token"]})
    code = answer.json({"authorization_code": TEXT, "expires_in": MILLISECONDS}, path)
    path = "/bridge/api/client/v1/auth/token"
    answer = await post(path, {"client_id": "user", "grant_type": "authorization_code",
                               "code": code["authorization_code"]})
    token = answer.json({"access_token": TEXT, "token_type": "JWT", "expires_in": MILLISECONDS}, path)
    ahead = token["expires_in"] / 1000 - time.time()
    demand(abs(ahead - 30 * DAY) < 120, f"expires_in is {ahead} s ahead")
    talk = Talk(await open_socket())
    await talk.auth(HERALD, token["access_token"])
    await talk.close()


@part("py: chatId, chat, isEdited and box in every envelope")
async def envelopes():
    talk, mira = await enter(Talk, "sora", "0815"), await enter(Peer, "mira", "x")
    chat_id, written, frame = await somebody_writes(talk, SORA, mira)
    shape = envelope(chat_id, MIRA, text("hello"), **written)
    check(frame["payload"], shape, "notification sendMessage")
    await talk.request("getMessageById", {"messageId": written["messageId"]}, shape)
    await talk.request("getChatHistory", {"chatId": chat_id, "count": 1},
                       {"chatId": chat_id, "count": 1, "messages": [shape]})
    await talk.request("getChatByID", {"chatId": chat_id},
                       chat(chat_id, MIRA, P2P, last_message(chat_id, MIRA, PLAIN, text("hello"))))
    await talk.close()
    await mira.close()


@part("py: an array from getChats, an object from getChatParticipants")
async def lists():
    peer = await enter(Peer, "sora", "0815")
    chat_id = await peer.chat_with(MIRA)
    chats = await peer.request("getChats", {"count": 50, "page": 1}, ArrayOf(
        {**chat(CHAT_ID, NullOr(TEXT), INTEGER, NullOr(Fields(messageId=UUID))), "avatarUrl": NullOr(TEXT)}))
    demand(chat_id in [item["chatId"] for item in chats], "getChats leaves out a chat")
    people = await peer.request("getChatParticipants", {"chatId": chat_id, "pageSize": 100, "pageNumber": 1},
                                {"participants": ArrayOf({"userId": TEXT, "role": TEXT})})
    demand({item["userId"] for item in people["participants"]} == {SORA, MIRA}, f"participants: {people}")
    if has("5.5.4"):
        await peer.request("getChatParticipant", {"chatId": chat_id, "userId": MIRA},
                           {"userId": MIRA, "role": TEXT, "type": INTEGER})
    await peer.close()


class Fields:
    """An object with these fields, whatever else it has."""

    def __init__(self, **shapes):
        self.shapes = shapes

    def check(self, value, path):
        demand(isinstance(value, dict), f"{path}: expected an object, got {value!r}")
        for name, shape in self.shapes.items():
            check(value.get(name), shape, f"{path}.{name}")


@part("ts: numeric expires_at, client_secret ignored")
async def ts_token():
    answer = await post_token(login("herald", "4711", client_secret=""))
    demand(answer.status == 201, f"status {answer.status}")
    token = answer.json(TOKEN, "token")
    demand(abs(token["expires_at"] - time.time() - 30 * DAY) < 120, "expires_at is not a month ahead")


@part("ts: chatType 1, 2 and 6 from getChatByID")
async def chat_types():
    peer = await enter(Peer, "noah", "y")
    personal = await peer.chat_with(MIRA)
    group = await peer.request("createGroupChat", {"title": "Group"}, {"chatId": CHAT_ID})
    channel = await peer.request("createChannel", {"title": "Channel"}, {"chatId": CHAT_ID})
    for chat_id, title, kind in ((personal, MIRA, P2P), (group["chatId"], "Group", GROUP),
                                 (channel["chatId"], "Channel", CHANNEL)):
        await peer.request("getChatByID", {"chatId": chat_id}, chat(chat_id, title, kind, None))
    await peer.close()


@part("ts: uploadFileProgress after subscribeFileProgress")
async def progress():
    mira = await enter(Peer, "mira", "x")
    chat_id = await mira.chat_with(SORA)
    task = await mira.request("uploadFile", {"fileSize": 5, "fileName": "a.txt"}, {"uploadTaskId": UUID})
    answer = await upload(task["uploadTaskId"], b"hello", "a.txt", "text/plain")
    temporal = answer.json({"temporalFileId": TEXT}, "upload")["temporalFileId"]
    file = await mira.request("sendFile", {"chatId": chat_id, "content": {"temporalFileId": temporal}},
                              sent(chat_id, fileId=TEXT))
    await mira.close()
    talk = await enter(Talk, "sora", "0815")
    await talk.request("subscribeFileProgress", {"fileId": file["fileId"]}, {"result": True})
    await talk.notified("uploadFileProgress", {"fileId": file["fileId"], "progress": 5})
    await talk.request("unsubscribeFileProgress", {"fileId": file["fileId"]}, {"result": True})
    await talk.close()


@part("all: PING from the server, PONG to the client's")
async def pings():
    socket = await open_socket()
    for _ in range(2):      # its interval, and that the first one was answered
        await asyncio.wait_for(socket.pings_seen.get(), PATIENCE)
    await asyncio.wait_for(await socket.ping(b"hello"), PATIENCE)
    demand(socket.open, "the connection was closed")
    await socket.close()


@part("all: acks with and without payload")
async def acks():
    talk, mira = await enter(Talk, "noah", "y"), await enter(Peer, "mira", "x")
    for more in ({}, {"payload": {}}, {"payload": {"errorCode": 0}}, {"payload": None}):
        chat_id, _, frame = await somebody_writes(talk, NOAH, mira)
        for acked in (False, True):
            if acked:
                await talk.ack(frame["id"], **more)
            found = await talk.request("getChatByID", {"chatId": chat_id}, Fields(unreadMessages=INTEGER))
            demand(found["unreadMessages"] == (0 if acked else 1),
                   f"unreadMessages is {found['unreadMessages']}, acked: {acked}, {more}")
    await talk.ack(4000000000)
    await talk.quiet()
    await talk.close()
    await mira.close()


# Differences by version ------------------------------------------------------------------------

LATER = (
    ("5.5.2", "createFavoritesChat"), ("5.5.2", "changeParticipantRole"), ("5.5.3", "editChatTitle"),
    ("5.5.3", "editChatAvatar"), ("5.5.3", "clearHistory"), ("5.5.3", "getFileUploadLimits"),
    ("5.5.4", "getChatParticipant"), ("5.5.6", "sendChatActivity"), ("5.5.6", "answerCommand"),
)


@part("versions: no route to methods that came later")
async def later_methods():
    talk = await enter(Talk, "herald", "4711")
    for since, method in LATER:
        if not has(since):
            await talk.refused(method, {}, NO_ROUTE)
    await talk.refused("noSuchMethod", {}, NO_ROUTE)
    await talk.close()


@part("versions: 399 for a wrong payload, silence before 5.5.6")
async def wrong_payload():
    talk = await enter(Talk, "herald", "4711")
    for method, payload in (("sendMessage", {"chatId": "c", "content": {"text": "x", "parseMode": None}}),
                            ("getUserDisplayName", {"userId": 17}), ("getChats", {"count": "10", "page": 1})):
        if has("5.5.6"):
            await talk.refused(method, payload, WRONG_FORMAT)
        else:
            talk.last_id += 1
            await talk.send({"type": REQUEST, "id": talk.last_id, "method": method, "payload": payload})
        await talk.quiet()
    await talk.close()


@part("versions: old messages for a newcomer, messages of the system")
async def newcomers():
    herald = await enter(Peer, "herald", "4711")
    group = (await herald.request("createGroupChat", {"title": "Newcomers"}, {"chatId": CHAT_ID}))["chatId"]
    await herald.say(group, "before")
    talk = await enter(Talk, "noah", "y", receiveSystemMessageEnvelopes=True)
    await herald.request("addChatParticipant", {"chatId": group, "userId": NOAH, "displayHistory": True}, {})
    await talk.notified("addChatParticipant", {
        "chatId": group, "userId": NOAH, "timestamp": MILLISECONDS, "addedBy": author(HERALD)})
    if has("5.5.4"):
        await talk.notified("sendMessage", Fields(type=1, content={"userId": NOAH, "role": "user"}))
    page = await talk.request("getChatHistory", {"chatId": group, "count": 9},
                              {"chatId": group, "count": INTEGER, "messages": ArrayOf(Fields(messageId=UUID))})
    demand(page["count"] == (2 if has("5.5.2") else 1), f"{page['count']} messages")
    await talk.close()
    await herald.close()


# Running ---------------------------------------------------------------------------------------

async def reason_against(awaitable):
    """None, or why this part failed."""
    try:
        await awaitable
    except Mismatch as mismatch:
        return str(mismatch)
    except Exception as error:  # whatever it is, the other parts are tried
        return f"{type(error).__name__}: {error}"
    return None


def report(name, reason):
    print(f"FAIL {name}\t{' '.join(reason.split())}" if reason else f"ok {name}", flush=True)
    return reason is not None


async def main():
    conversation, reason, failed = Conversation(), None, False
    for name, function in TRANSCRIPTS:
        reason = "not reached" if reason else await reason_against(function(conversation))
        failed = report(name, reason) or failed
    for name, function in parts:
        failed = report(name, await reason_against(function())) or failed
    return 1 if failed else 0


sys.exit(asyncio.run(main()))
