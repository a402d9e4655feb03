-- SPDX-License-Identifier: MIT
-- Notifications of a server to a client (protocol: server notifications). Some have the name of a method; the direction
-- tells them apart. field.lua explains the notation of fields.

local field = require "trueconf.protocol.field"
local names = require "trueconf.protocol.names"

---@class trueconf.protocol.Notification
---@field name string on the wire
---@field lua_name string
---@field doc string
---@field since string
---@field payload string|trueconf.protocol.Field[] an object's name, or fields
---@field receivers string accounts that get it (recommended)

---@type table<string, trueconf.protocol.Notification>
local notifications = {}

---@type string[] names in the order of the protocol
local order = {}

local function notification(name, definition)
  definition.name, definition.lua_name = name, names.lua_name(name)
  definition.since = definition.since or "5.5.0"
  if type(definition.payload) == "table" then definition.payload = field.list(definition.payload) end
  notifications[name], order[#order + 1] = definition, name
end

local MEMBERS = "every participant of the chat, who caused it included"
local CREATOR = "the account that created the chat"

local CHAT_ID = { "chatId", "string", "the chat" }
local USER_ID = { "userId", "string", "TrueConf ID" }
local TIMESTAMP = { "timestamp", "integer", "time of the server, milliseconds", spare = true }

notification("sendMessage", {
  doc = "A new message; of the system only if `auth` asked for those.", receivers = MEMBERS,
  payload = "Envelope",
})

notification("editMessage", {
  doc = "Somebody changed a message.", receivers = MEMBERS,
  payload = {
    CHAT_ID, TIMESTAMP,
    { "content", "EditedContent", "the new text" },
    { "messageId", "string?", "the message; no server is known to send it" },
  },
})

notification("removeMessage", {
  doc = "A message was removed.", receivers = MEMBERS,
  payload = {
    CHAT_ID, { "messageId", "string", "the message" },
    { "removedBy", "Author|null?", "who did it" },
  },
})

notification("createP2PChat", {
  doc = "A user opened a personal chat with the bot, or the bot did.", receivers = "both sides of the chat",
  payload = "ChatCreated",
})

notification("createGroupChat", {
  doc = "The bot created a group; one that it was added to comes as addChatParticipant.", receivers = CREATOR,
  payload = "ChatCreated",
})

notification("createChannel", {
  doc = "The bot created a channel; one that it was added to comes as addChatParticipant.", receivers = CREATOR,
  payload = "ChatCreated",
})

notification("createFavoritesChat", {
  doc = "The bot's chat of saved messages was created.", receivers = CREATOR, since = "5.5.2",
  payload = "ChatCreated",
})

notification("addChatParticipant", {
  doc = "Somebody was added to a chat, maybe the bot.", receivers = MEMBERS,
  payload = { CHAT_ID, USER_ID, TIMESTAMP, { "addedBy", "Author|null?", "who did it" } },
})

notification("removeChatParticipant", {
  doc = "Somebody was removed from a chat or left it, maybe the bot.", receivers = MEMBERS .. ", and who was removed",
  payload = { CHAT_ID, USER_ID, TIMESTAMP, { "removedBy", "Author|null?", "who did it" } },
})

notification("changeParticipantRole", {
  doc = "A participant has another role.", receivers = MEMBERS, since = "5.5.2",
  payload = { CHAT_ID, USER_ID, { "role", "Role", "the new one" }, TIMESTAMP },
})

notification("removeChat", {
  doc = "A chat was deleted.", receivers = MEMBERS,
  payload = { CHAT_ID },
})

notification("clearHistory", {
  doc = "The history of a chat was cleared.", receivers = MEMBERS .. " if for everybody, else who did it",
  since = "5.5.3",
  payload = { CHAT_ID, { "forAll", "boolean", "for everybody" } },
})

notification("editChatTitle", {
  doc = "A chat has another title.", receivers = MEMBERS, since = "5.5.3",
  payload = { CHAT_ID, { "title", "string", "the new one" } },
})

notification("editChatAvatar", {
  doc = "A chat has another picture.", receivers = MEMBERS, since = "5.5.3",
  payload = { CHAT_ID, { "avatarUrl", "string|null?", "its address" } },
})

notification("getFileUploadLimits", {
  doc = "The upload limits: after `auth`, and when the administrator changes them.", since = "5.5.3",
  receivers = "everybody",
  payload = "UploadLimits",
})

notification("uploadFileProgress", {
  doc = "How much of a file is there.", receivers = "connections that called subscribeFileProgress",
  payload = {
    { "fileId", "string", "the file", alias = "infoHash" },
    { "progress", "integer", "bytes so far" },
  },
})

notification("command", {
  doc = "A command button was clicked; by whom it does not say.", receivers = "the bot that the button names, else "
    .. "the author of the message", since = "5.5.6",
  payload = {
    { "commandId", "string|null?", "for answerCommand; 5.5.6 leaves it out" },
    { "commandSource", "CommandSource", "where the click came from" },
    { "commandPayload", "CommandPayload", "what it carries" },
  },
})

return { notifications = notifications, order = order }
