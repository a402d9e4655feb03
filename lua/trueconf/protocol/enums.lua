-- SPDX-License-Identifier: MIT
-- Enumerations (protocol: small enums, envelope types, roles, buttons and commands).
-- Each value is there by name too: enums.EnvelopeType.PLAIN_MESSAGE is 200.

---@class trueconf.protocol.Enum
---@field name string
---@field doc string
---@field base "string"|"integer" what its values are on the wire
---@field values (string|integer)[] in the order of the protocol
---@field names table<string|integer, string> a value's name in capitals
---@field set table<string|integer, true>
---@field numbers? table<integer, string> numbers under which the vendor prints the same values

---@type table<string, trueconf.protocol.Enum>
local enums = {}

local function enum(name, base, doc)
  local made = { name = name, doc = doc, base = base, values = {}, names = {}, set = {} }
  enums[name] = made
  return function(values)
    for index, value in ipairs(values) do
      local wire, constant = value, nil
      if type(value) == "table" then wire, constant = value[1], value[2] end
      constant = constant or value:upper()
      made.values[index], made.names[wire], made.set[wire], made[constant] = wire, constant, true, wire
    end
    return made
  end
end

enum("FrameType", "integer", "Kinds of frames (4.1).") {
  { 0, "RESERVED" }, { 1, "REQUEST" }, { 2, "RESPONSE" },
}

enum("TokenType", "string", "Kinds of tokens for `auth` (4.6).") { "JWT" }

enum("ParseMode", "string", "How a text is marked up (10.1).") { "text", "markdown", "html" }

enum("AuthorType", "integer", "Kinds of authors of messages (8.4).") { { 0, "SYSTEM" }, { 1, "USER" } }

enum("ChatType", "integer", "Kinds of chats (8.4). Conferences are groups.") {
  { 0, "UNDEF" }, { 1, "P2P" }, { 2, "GROUP" }, { 3, "SYSTEM" }, { 5, "FAVORITES" }, { 6, "CHANNEL" },
}

enum("FileState", "integer", "States of a file: only a ready one can be downloaded (8.4).") {
  { 0, "NOT_AVAILABLE" }, { 1, "UPLOADING" }, { 2, "READY" },
}

enum("EnvelopeType", "integer", "Kinds of messages (8.5); below 200 a system message.") {
  { 1, "ADD_PARTICIPANT" }, { 2, "REMOVE_PARTICIPANT" }, { 21, "EDIT_CHAT_TITLE" }, { 22, "EDIT_CHAT_AVATAR" },
  { 23, "CLEAR_HISTORY" }, { 110, "PARTICIPANT_ROLE" }, { 200, "PLAIN_MESSAGE" }, { 201, "FORWARDED_MESSAGE" },
  { 202, "ATTACHMENT" }, { 203, "LOCATION" }, { 204, "SURVEY" }, { 205, "VOICE_MESSAGE" },
}

enum("Role", "string", "Roles of participants, which set their rights in a chat (8.6, 14).") {
  "owner", "admin", "user", "conf_owner", "conf_moderator", "favorites_owner", "writer",
}
enums.Role.numbers = {}
for index, role in ipairs(enums.Role.values) do enums.Role.numbers[index - 1] = role end

enum("ExtensionMode", "string", "Meaning of a list of file extensions (8.8).") { "allow", "block" }

enum("ActivityType", "string", "Activities of an account that others see in a chat (6.6).") {
  "typing", "choosing_sticker", "uploading_file",
}

enum("SurveyDescription", "string", "Line under a survey's title; apps translate it (8.4).") {
  { "{{Survey}}", "SURVEY" }, { "{{Anonymous survey}}", "ANONYMOUS_SURVEY" },
}

enum("ButtonType", "string", "Actions of buttons (13).") { "command", "url", "message", "copy", "share" }

enum("ButtonStyle", "string", "How a button looks (13).") { "default", "primary", "danger", "success" }

enum("CommandSourceType", "string", "Where a click came from (13).") { { "inlineKeyboard", "INLINE_KEYBOARD" } }

enum("CommandType", "string", "Kinds of commands in a click (13).") { { "userCommand", "USER_COMMAND" } }

enum("AnswerType", "string", "How a command ended (13).") { "complete", "timeout", "cancel", "message" }

enum("AnswerStatus", "string", "State of a command, as told to the user (13).") {
  "unknown", "pending", "running", "ok", "failed", "canceled", "timeout",
}

enum("AnswerVisibility", "string", "How the app shows an answer to a command (13).") {
  "default", "toast", "sticky", "alert",
}

enum("AnswerLevel", "string", "How grave an answer to a command is (13).") { "info", "warning", "error", "critical" }

enum("OAuthError", "string", "`error` of a refused token request (3.2).") {
  "invalid_request", "invalid_client", "invalid_grant", "unsupported_grant_type",
}

return enums
