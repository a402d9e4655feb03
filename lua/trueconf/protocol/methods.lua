-- SPDX-License-Identifier: MIT
-- Methods a client may call (protocol: client methods). field.lua explains the notation of fields. Errors are those of
-- the method itself; `ANY_METHOD` adds the errors that any method may return.
-- Where the protocol names none for a method with a chat or a message, those of its id are added,
-- and UNKNOWN_MESSAGE where a message may be of a kind that will not do.

local field = require "trueconf.protocol.field"
local limits = require "trueconf.protocol.limits"
local names = require "trueconf.protocol.names"

---@class trueconf.protocol.Method
---@field name string on the wire
---@field lua_name string
---@field doc string
---@field section string of the protocol
---@field since string
---@field read boolean changes nothing, so that it may be repeated
---@field before_auth boolean may be called before `auth`
---@field request trueconf.protocol.Field[]
---@field response string type of the response's payload
---@field returns? string the one field of the response that matters
---@field params string[] Lua names, in the order of the positional form
---@field errors string[] names of its errors
---@field note? string
---@field deprecated? string what to call instead

---@type table<string, trueconf.protocol.Method>
local methods = {}

---@type string[] names in the order of the protocol
local order = {}

local function method(name, definition)
  definition.name, definition.lua_name = name, names.lua_name(name)
  definition.request = field.list(definition.request or {})
  definition.since = definition.since or "5.5.0"
  definition.read, definition.before_auth = definition.read or false, definition.before_auth or false
  definition.errors, definition.params = definition.errors or {}, definition.params or {}
  methods[name], order[#order + 1] = definition, name
end

local RIGHTS, CHAT, MEMBER, MESSAGE = "NOT_ENOUGH_RIGHTS", "CHAT_NOT_FOUND", "USER_IS_NOT_CHAT_PARTICIPANT",
  "MESSAGE_NOT_FOUND"
local FILE, UPLOAD, OTHER_KIND = "FILE_NOT_FOUND", "FILE_UPLOAD_FAILED", "UNKNOWN_MESSAGE"

local CHAT_ID = { "chatId", "string", "the chat" }
local MESSAGE_ID = { "messageId", "string", "the message" }
local USER_ID = { "userId", "string", "TrueConf ID, login@server" }
local FILE_ID = { "fileId", "string", "the file" }
local REPLY_ID = { "replyMessageId", "string|null?", "the message being answered", also = "reply_to" }
local TEXT = { "content", "TextContent", "the text", inline = true }
local TITLE = { "title", "string", "its title; up to 255 characters", alias = "name",
  min = 1, max = limits.TITLE, at_server = { max = limits.TITLE_AT_SERVER } }

-- Connection ------------------------------------------------------------------------------

method("auth", {
  doc = "Authorize the connection.", section = "4.6", before_auth = true,
  request = {
    { "token", "string", "access token" },
    { "tokenType", "TokenType", "JWT", default = "JWT", at_server = { type = "string" } },
    { "receiveUnread", "boolean|null?", "deliver what came while offline, oldest first", absent = false },
    { "receiveSystemMessageEnvelopes", "boolean|null?", "deliver messages of the system too", absent = false,
      since = "5.5.4" },
  },
  response = "Authorized",
  errors = { "INVALID_CREDENTIALS", "USER_DISABLED", "CREDENTIALS_EXPIRED", "UNSUPPORTED_CREDENTIALS" },
})

-- Messages --------------------------------------------------------------------------------

method("sendMessage", {
  doc = "Send a text, maybe as the answer to a message.", section = "6.1",
  request = { CHAT_ID, REPLY_ID, TEXT },
  response = "SentMessage", params = { "chat_id", "text" },
  errors = { RIGHTS, CHAT, MEMBER, MESSAGE },
})

method("editMessage", {
  doc = "Replace an own text, or the caption of an own file; buttons not given again are removed.", section = "6.1",
  request = { MESSAGE_ID, TEXT },
  response = "Edited", params = { "message_id", "text" },
  errors = { RIGHTS, MESSAGE, OTHER_KIND },
})

method("forwardMessage", {
  doc = "Forward a message to a chat.", section = "6.1",
  request = { CHAT_ID, { "messageId", "string", "the message to forward" } },
  response = "SentMessage", params = { "chat_id", "message_id" },
  errors = { RIGHTS, CHAT, MEMBER, MESSAGE, OTHER_KIND },
})

method("removeMessage", {
  doc = "Remove a message, for the bot or for everybody.", section = "6.1",
  request = { MESSAGE_ID, { "forAll", "boolean", "for everybody", default = false } },
  response = "Empty", params = { "message_id", "for_all" },
  errors = { RIGHTS, MESSAGE },
})

method("getMessageById", {
  doc = "One message, with its buttons.", section = "6.1", read = true,
  request = { MESSAGE_ID },
  response = "Envelope", params = { "message_id" },
  errors = { MEMBER, MESSAGE },
})

method("getChatHistory", {
  doc = "Messages of a chat, backwards from the newest or from a given one.", section = "6.1", read = true,
  request = {
    CHAT_ID,
    { "count", "integer", "how many at most", min = 1, default = limits.HISTORY_PAGE },
    { "fromMessageId", "string|null?", "where to begin" },
  },
  response = "HistoryPage", params = { "chat_id", "count", "from_message_id" },
  errors = { CHAT, MEMBER, MESSAGE },
})

method("clearHistory", {
  doc = "Clear the history of a chat, for the bot or for everybody.", section = "6.1", since = "5.5.3",
  request = { CHAT_ID, { "forAll", "boolean", "for everybody", default = false } },
  response = "Empty", params = { "chat_id", "for_all" },
  errors = { RIGHTS, CHAT, MEMBER },
})

-- Creating chats --------------------------------------------------------------------------

method("createP2PChat", {
  doc = "The personal chat with a user, the same one each time.", section = "6.2",
  note = "With the bot's own id a server may not answer at all.",
  request = { USER_ID },
  response = "ChatRef", returns = "chatId", params = { "user_id" },
})

method("createGroupChat", {
  doc = "Create a group that the bot owns; each call makes another one.", section = "6.2",
  request = { TITLE },
  response = "ChatRef", returns = "chatId", params = { "title" },
})

method("createChannel", {
  doc = "Create a channel that the bot owns; each call makes another one.", section = "6.2",
  request = { TITLE },
  response = "ChatRef", returns = "chatId", params = { "title" },
})

method("createFavoritesChat", {
  doc = "The bot's own chat of saved messages, the same one each time.", section = "6.2", since = "5.5.2",
  response = "ChatRef", returns = "chatId",
})

-- Listing and changing chats --------------------------------------------------------------

method("getChats", {
  doc = "Chats of the bot, by pages; an empty page ends the list.", section = "6.5", read = true,
  request = {
    { "count", "integer", "chats of a page", min = 1, default = limits.CHATS_PAGE },
    { "page", "integer", "which page; the first is 1", min = 1, default = 1 },
  },
  response = "[Chat]", params = { "count", "page" },
})

method("getChatByID", {
  doc = "One chat.", section = "6.5", read = true,
  request = { CHAT_ID },
  response = "Chat", params = { "chat_id" },
  errors = { CHAT, MEMBER },
})

method("removeChat", {
  doc = "Delete a chat, or leave it.", section = "6.3",
  request = { CHAT_ID },
  response = "Empty", params = { "chat_id" },
  errors = { CHAT, MEMBER },
})

method("editChatTitle", {
  doc = "Give a chat another title.", section = "6.3", since = "5.5.3",
  request = { CHAT_ID, { "title", "string", "the new one; up to 255 characters",
    min = 1, max = limits.TITLE, at_server = { max = limits.TITLE_AT_SERVER } } },
  response = "TitleChanged", params = { "chat_id", "title" },
  errors = { RIGHTS, CHAT, MEMBER },
})

method("editChatAvatar", {
  doc = "Give a chat another picture, which was uploaded before.", section = "6.3", since = "5.5.3",
  request = { CHAT_ID, { "temporalFileId", "string", "what the upload answered" } },
  response = "Empty", params = { "chat_id", "temporal_file_id" },
  errors = { RIGHTS, CHAT, MEMBER, FILE },
})

-- Participants ----------------------------------------------------------------------------

method("addChatParticipant", {
  doc = "Add a user to a group or channel.", section = "6.4",
  request = { CHAT_ID, USER_ID, { "displayHistory", "boolean|null?", "show older messages to the newcomer",
    default = false, since = "5.5.2" } },
  response = "Empty", params = { "chat_id", "user_id", "display_history" },
  errors = { RIGHTS, CHAT, MEMBER, "USER_IS_ALREADY_CHAT_PARTICIPANT" },
})

method("removeChatParticipant", {
  doc = "Remove a user from a group or channel.", section = "6.4",
  request = { CHAT_ID, USER_ID, { "clearHistory", "boolean", "wipe the chat from the removed person",
    default = false, required_since = "5.5.3" } },
  response = "Empty", params = { "chat_id", "user_id", "clear_history" },
  errors = { RIGHTS, CHAT, MEMBER },
})

method("changeParticipantRole", {
  doc = "Give a participant another role.", section = "6.4", since = "5.5.2",
  request = { CHAT_ID, USER_ID, { "role", "Role", "admin or user, in a channel also writer",
    at_server = { type = "string" } } },
  response = "Empty", params = { "chat_id", "user_id", "role" },
  errors = { RIGHTS, CHAT, MEMBER, "ROLE_NOT_FOUND" },
})

method("getChatParticipants", {
  doc = "Participants of a chat, by pages.", section = "6.4", read = true,
  request = {
    CHAT_ID,
    { "pageSize", "integer", "participants of a page", min = 1, default = limits.PARTICIPANTS_PAGE },
    { "pageNumber", "integer", "which page; the first is 1", min = 1, default = 1 },
  },
  response = "ParticipantPage", returns = "participants", params = { "chat_id", "page_size", "page_number" },
  errors = { CHAT, MEMBER },
})

method("getChatParticipant", {
  doc = "One participant of a chat; USER_IS_NOT_CHAT_PARTICIPANT is the answer no.", section = "6.4", read = true,
  since = "5.5.4",
  request = { CHAT_ID, USER_ID },
  response = "ParticipantInfo", params = { "chat_id", "user_id" },
  errors = { CHAT, MEMBER },
})

method("hasChatParticipant", {
  doc = "Ask if a user is a participant of a chat.", section = "6.4", read = true, deprecated = "getChatParticipant",
  request = { CHAT_ID, USER_ID },
  response = "Truth", returns = "result", params = { "chat_id", "user_id" },
  errors = { CHAT, MEMBER },
})

method("getUserDisplayName", {
  doc = "The name of a user as apps show it.", section = "6.4", read = true,
  request = { USER_ID },
  response = "DisplayName", returns = "displayName", params = { "user_id" },
})

-- Files -----------------------------------------------------------------------------------

method("uploadFile", {
  doc = "Ask for leave to upload one file over HTTP.", section = "11.1",
  request = {
    { "fileSize", "integer", "bytes", min = 1 },
    { "fileName", "string", "its name", min = 1, since = "5.5.3", at_server = { min = false } },
  },
  response = "UploadTask", returns = "uploadTaskId", params = { "file_size", "file_name" },
  errors = { UPLOAD, "NOT_ENOUGH_SPACE", "BAD_FILE_NAME", "FILE_UPLOAD_FORBIDDEN", "MAX_FILE_SIZE_EXCEEDED" },
})

method("sendFile", {
  doc = "Send an uploaded file, maybe with a caption and as the answer to a message.", section = "11.1",
  request = { CHAT_ID, REPLY_ID, { "content", "FileContent", "the file", inline = true } },
  response = "SentFile", params = { "chat_id", "temporal_file_id", "caption" },
  errors = { RIGHTS, CHAT, MEMBER, MESSAGE, FILE, UPLOAD, "FILE_NOT_READY", "FILE_ERROR", "UPLOADED_FILE_NOT_FOUND",
    "UPLOADED_FILE_NOT_READY", "INVALID_FILE" },
})

method("getFileInfo", {
  doc = "Get name, size, state and address of a file.", section = "8.7", read = true,
  request = { FILE_ID },
  response = "FileInfo", params = { "file_id" },
  errors = { FILE, "UPLOADED_FILE_NOT_FOUND" },
})

method("getFileUploadLimits", {
  doc = "Get the upload limits.", section = "8.8", read = true, since = "5.5.3",
  response = "UploadLimits",
})

method("subscribeFileProgress", {
  doc = "Ask for uploadFileProgress of a file.", section = "11.4",
  request = { FILE_ID },
  response = "Truth", returns = "result", params = { "file_id" },
  errors = { FILE, "UPLOADED_FILE_NOT_FOUND" },
})

method("unsubscribeFileProgress", {
  doc = "End uploadFileProgress of a file.", section = "11.4",
  request = { FILE_ID },
  response = "Truth", returns = "result", params = { "file_id" },
  errors = { FILE, "UPLOADED_FILE_NOT_FOUND" },
})

-- Surveys, activity, commands -------------------------------------------------------------

method("sendSurvey", {
  doc = "Post a card that leads to a survey.", section = "12",
  request = { CHAT_ID, REPLY_ID, { "content", "NewSurvey", "the survey", inline = true } },
  response = "SentMessage", params = { "chat_id" },
  errors = { RIGHTS, CHAT, MEMBER, MESSAGE },
})

method("editSurvey", {
  doc = "Replace an own survey card.", section = "12",
  request = { MESSAGE_ID, { "content", "SurveyEdit", "what replaces it", inline = true } },
  response = "Edited", params = { "message_id" },
  errors = { RIGHTS, MESSAGE, OTHER_KIND },
})

method("sendChatActivity", {
  doc = "Show the others what the bot is doing, until it fades.", section = "6.6", since = "5.5.6",
  request = { CHAT_ID, { "activityType", "ActivityType", "what they see", default = "typing" } },
  response = "Activity", params = { "chat_id", "activity_type" },
  errors = { CHAT, MEMBER },
})

method("answerCommand", {
  doc = "Tell the user what became of a command.", section = "13", since = "5.5.6",
  note = "5.5.6 leaves commandId out of its clicks, so that there is nothing to answer.",
  request = {
    { "commandId", "string", "as it came with the click" },
    { "answerType", "AnswerType", "how the command ended" },
    { "message", "CommandAnswer", "what the user is told", short = "text" },
  },
  response = "Empty", params = { "command_id", "answer_type", "message" },
})

---Errors that any method may answer besides its own (protocol: client methods, notes).
local ANY_METHOD = {
  "NOT_AUTHORIZED", "INTERNAL_ERROR", "OPERATION_TIMEOUT", "ACCESS_DENIED", "WRONG_PAYLOAD_FORMAT", "DUPLICATE_ID",
  "ROUTE_NOT_FOUND",
}

return { methods = methods, order = order, ANY_METHOD = ANY_METHOD }
