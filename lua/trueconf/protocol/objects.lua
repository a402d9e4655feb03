-- SPDX-License-Identifier: MIT
-- Objects inside payloads (protocol: objects and enums; files; surveys; buttons). The notation
-- of fields is told in field.lua. An object whose fields depend on its own `type` has variants;
-- a union is one object or another depending on a field beside it.

local field = require "trueconf.protocol.field"
local limits = require "trueconf.protocol.limits"
local link = require "trueconf.text.link"

---@class trueconf.protocol.Object
---@field name string
---@field doc string
---@field fields trueconf.protocol.Field[]
---@field variants? table<string, trueconf.protocol.Field[]> further fields by the value of `type`
---@field since? string

---@class trueconf.protocol.Union
---@field name string
---@field doc string
---@field by string the field beside it that decides
---@field of table<any, string> name of the object, by the value of that field; others are any object

---@type table<string, trueconf.protocol.Object>
local objects = {}

---@type table<string, trueconf.protocol.Union>
local unions = {}

local function object(name, doc, fields, more)
  local made = more or {}
  made.name, made.doc, made.fields = name, doc, field.list(fields)
  objects[name] = made
  for kind, list in pairs(made.variants or {}) do made.variants[kind] = field.list(list) end
end

local function union(name, doc, by, of)
  unions[name] = { name = name, doc = doc, by = by, of = of }
end

-- People and chats ------------------------------------------------------------------------

object("Empty", "Nothing.", {})

object("Author", "The author of a message or an act.", {
  { "id", "string", "TrueConf ID; of the system the name of the server" },
  { "type", "AuthorType", "a user or the system", spare = true },
})

object("ChatInfo", "The chat that a message is in.", {
  { "chatId", "string", "the chat" },
  { "chatTitle", "string|null", "its title; a personal chat has none" },
  { "chatType", "ChatType?", "what it is" },
}, { since = "5.5.6" })

object("Box", "The place of a message in its chat.", {
  { "id", "integer", "grows by message", spare = true },
  { "position", "string", "place among messages of one id", spare = true },
})

object("Chat", "A chat as it is listed.", {
  { "chatId", "string", "the chat", echo = true },
  { "title", "string|null", "its title; of a personal chat the TrueConf ID of the other side" },
  { "chatType", "ChatType", "what it is", spare = true },
  { "avatarUrl", "string|null?", "address of its picture" },
  { "lastMessage", "LastMessage|null?", "its newest message; none in an empty chat" },
  { "unreadMessages", "integer", "how many messages the bot has not read", absent = 0, spare = true },
})

object("ChatCreated", "A new chat.", {
  { "chatId", "string", "the chat" },
  { "title", "string|null", "its title; of a personal chat the TrueConf ID of the other side" },
  { "chatType", "ChatType", "what it is", spare = true },
  { "lastMessage", "LastMessage|null?", "its newest message" },
  { "unreadMessages", "integer", "how many messages the bot has not read", absent = 0, spare = true },
})

object("Participant", "A participant of a chat.", {
  { "userId", "string", "TrueConf ID", alias = "id" },
  { "role", "Role", "what the participant may do" },
})

object("ParticipantInfo", "A participant of a chat, asked for alone.", {
  { "userId", "string", "TrueConf ID", alias = "id", echo = true },
  { "role", "Role", "what the participant may do" },
  { "type", "AuthorType", "a user or the system", spare = true },
}, { since = "5.5.4" })

-- Messages --------------------------------------------------------------------------------

object("Envelope", "A message with all that is known of it.", {
  { "messageId", "string", "the message", echo = true },
  { "chatId", "string?", "the chat; always there once it was normalised" },
  { "chat", "ChatInfo?", "the chat; always there once it was normalised", since = "5.5.6" },
  { "timestamp", "integer", "time of the server, milliseconds", spare = true },
  { "type", "EnvelopeType", "decides what `content` is", spare = true },
  { "author", "Author", "who wrote it", spare = true },
  { "box", "Box", "its place in the chat", spare = true },
  { "content", "Content", "what it says", spare = true },
  { "isEdited", "boolean?", "whether it was changed since", absent = false },
  { "replyMessageId", "string|null?", "the message it answers" },
  { "replyMessage", "AnsweredMessage|null?", "the message it answers, one level deep", since = "5.5.6" },
})

object("AnsweredMessage", "A message that another one answers.", {
  { "messageId", "string", "the message" },
  { "chatId", "string?", "the chat; always there once it was normalised" },
  { "chat", "ChatInfo?", "the chat; always there once it was normalised", since = "5.5.6" },
  { "timestamp", "integer", "time of the server, milliseconds", spare = true },
  { "type", "EnvelopeType", "decides what `content` is", spare = true },
  { "author", "Author", "who wrote it", spare = true },
  { "box", "Box?", "its place in the chat" },
  { "content", "Content", "what it says", spare = true },
  { "isEdited", "boolean?", "whether it was changed since", absent = false },
  { "replyMessageId", "string|null?", "the message it answers" },
}, { since = "5.5.6" })

object("LastMessage", "The newest message of a chat.", {
  { "messageId", "string", "the message" },
  { "chatId", "string?", "the chat; always there once it was normalised" },
  { "chat", "ChatInfo?", "the chat; always there once it was normalised", since = "5.5.6" },
  { "timestamp", "integer", "time of the server, milliseconds", spare = true },
  { "author", "Author", "who wrote it", spare = true },
  { "type", "EnvelopeType", "decides what `content` is", spare = true },
  { "content", "Content", "what it says", spare = true },
})

object("CommandMessage", "The message whose button was clicked; its buttons are not in it.", {
  { "messageId", "string", "the message" },
  { "chatId", "string?", "the chat; always there once it was normalised" },
  { "chat", "ChatInfo?", "the chat; always there once it was normalised" },
  { "timestamp", "integer", "time of the server, milliseconds", spare = true },
  { "type", "EnvelopeType", "decides what `content` is", spare = true },
  { "author", "Author", "who wrote it: the bot, not who clicked", spare = true },
  { "box", "Box?", "its place in the chat" },
  { "content", "Content", "what it says", spare = true },
  { "isEdited", "boolean?", "whether it was changed since", absent = false },
  { "replyMessageId", "string|null?", "the message it answers" },
  { "replyMessage", "AnsweredMessage|null?", "the message it answers, one level deep" },
}, { since = "5.5.6" })

-- Contents --------------------------------------------------------------------------------

union("Content", "The content of a message, by its type (8.5).", "type", {
  [1] = "ParticipantContent", [2] = "RemovedContent", [21] = "TitleContent", [22] = "AvatarContent",
  [23] = "ClearedContent", [110] = "ParticipantContent", [200] = "TextContent", [201] = "ForwardedContent",
  [202] = "AttachmentContent", [203] = "LocationContent", [204] = "SurveyContent", [205] = "VoiceContent",
})

object("ParticipantContent", "Somebody joined, or has another role now.", {
  { "userId", "string", "TrueConf ID" },
  { "role", "Role", "what the participant may do" },
})

object("RemovedContent", "Somebody is no participant any more.", {
  { "userId", "string", "TrueConf ID" },
})

object("TitleContent", "The chat has another title.", {
  { "title", "string", "the new one" },
})

object("AvatarContent", "The chat has another picture.", {
  { "avatarUrl", "string|null?", "its address" },
})

object("ClearedContent", "The history was cleared.", {
  { "forAll", "boolean", "for everybody" },
})

object("TextContent", "A text.", {
  { "text", "string", "with its marks; 1 to 4096 visible characters",
    min = 1, max = limits.TEXT, measure = "visible characters", at_server = { max = false } },
  { "parseMode", "ParseMode", "how it is marked up", default = "text" },
  { "buttons", "[[Button]]?", "rows of buttons below it",
    min = 0, max = limits.BUTTON_ROWS, measure = "rows", row_max = limits.BUTTONS_IN_ROW, since = "5.5.6" },
})

object("CaptionContent", "The text above a file.", {
  { "text", "string", "with its marks; 1 to 4096 visible characters",
    min = 1, max = limits.TEXT, measure = "visible characters",
    at_server = { min = false, max = false, nullable = true } },
  { "parseMode", "ParseMode", "how it is marked up", default = "text" },
})

object("ForwardedContent", "The original of a forwarded message.", {
  { "messageId", "string?", "the original" },
  { "chatId", "string?", "the chat it came from" },
  { "timestamp", "integer?", "when it was written, milliseconds" },
  { "author", "Author?", "who wrote it" },
  { "type", "EnvelopeType", "decides what `content` is", spare = true },
  { "content", "Content", "what it says", spare = true },
  { "isEdited", "boolean?", "whether it was changed since" },
  { "box", "Box?", "its place in the chat it came from" },
})

object("AttachmentContent", "A file. A sticker has the MIME type sticker/webp.", {
  { "name", "string", "file name", spare = true },
  { "size", "integer", "bytes", spare = true },
  { "fileId", "string", "for getFileInfo", alias = "infoHash" },
  { "mimeType", "string?", "what it holds" },
  { "readyState", "FileState", "whether it can be fetched", spare = true },
})

object("LocationContent", "A place.", {
  { "latitude", "number", "degrees" },
  { "longitude", "number", "degrees" },
  { "title", "string|null?", "its name", alias = "description" },
})

object("SurveyContent", "A card that leads to a survey.", {
  { "url", "string", "where the server's surveys are" },
  { "title", "string", "shown title" },
  { "path", "string?", "the campaign" },
  { "description", "string?", "line under the title" },
  { "buttonText", "string?", "what the button says" },
  { "appVersion", "integer?", "1" },
  { "secret", "string?", "made by the sender" },
  { "alt", "string?", "html for apps without surveys" },
})

object("VoiceContent", "A voice message.", {
  { "fileId", "string", "for getFileInfo" },
  { "size", "integer", "bytes", spare = true },
  { "mimeType", "string?", "what it holds" },
  { "duration", "integer?", "its length, probably in seconds" },
}, { since = "5.5.6" })

-- Buttons and commands --------------------------------------------------------------------

local LABEL = { min = 1, max = limits.BUTTON_LABEL }

local function label(kind)
  return { "label", kind, "what it says; 1 to 32 characters, no marks", min = LABEL.min, max = LABEL.max }
end

object("Button", "A button below a text.", {
  { "type", "ButtonType", "what it does" },
  { "id", "string?", "comes back as buttonId" },
  { "style", "ButtonStyle?", "how it looks" },
}, {
  since = "5.5.6",
  variants = {
    command = {
      label "string",
      { "command", "string", "what the bot gets; 1 to 255 ASCII characters",
        min = 1, max = limits.BUTTON_COMMAND, measure = "ASCII characters" },
      { "customData", "string?", "comes back with the click; up to 4096 ASCII characters",
        max = limits.BUTTON_CUSTOM_DATA, measure = "ASCII characters" },
      { "waitReply", "boolean?", "no app supports it yet" },
      { "to", "string?", "TrueConf ID of the bot that gets the click" },
    },
    url = {
      label "string?",
      { "url", "string", "where it leads; 8 to 8095 ASCII characters",
        min = limits.BUTTON_URL_MIN, max = limits.BUTTON_URL, measure = "ASCII characters",
        schemes = link.SCHEMES },
    },
    message = {
      label "string",
      { "message", "string", "text that is sent as the user" },
      { "draft", "boolean?", "only fill the input field" },
    },
    copy = {
      label "string",
      { "data", "string", "what is copied; 1 to 4095 characters", min = 1, max = limits.BUTTON_COPY_DATA },
    },
    share = { label "string" },
  },
})

object("CommandSource", "Where a click came from.", {
  { "type", "CommandSourceType", "a button below a message", spare = true },
  { "buttonId", "string|null?", "id of the button" },
  { "waitReply", "boolean|null?", "as set at the button" },
  { "message", "CommandMessage", "the message with the button" },
}, { since = "5.5.6" })

object("CommandPayload", "The content of a click.", {
  { "type", "CommandType", "a command of a user", spare = true },
  { "command", "string", "as set at the button" },
  { "customData", "string|null?", "as set at the button" },
}, { since = "5.5.6" })

object("CommandAnswer", "The answer to a command, shown to the user.", {
  { "text", "string", "1 to 255 ASCII characters", min = 1, max = limits.ANSWER_TEXT, measure = "ASCII characters" },
  { "status", "AnswerStatus?", "state of the command" },
  { "visibility", "AnswerVisibility?", "how it is shown" },
  { "level", "AnswerLevel?", "how grave it is" },
}, { since = "5.5.6" })

-- Files -----------------------------------------------------------------------------------

object("FileContent", "A file to send.", {
  { "temporalFileId", "string", "what the upload answered" },
  { "caption", "CaptionContent|null?", "a text above the file, sent as a message of its own", short = "text" },
})

object("FilePreview", "A small picture of a file.", {
  { "name", "string?", "file name" },
  { "size", "integer?", "bytes" },
  { "mimeType", "string?", "what it holds" },
  { "downloadUrl", "string|null?", "where it can be fetched; holds a secret" },
})

object("FileInfo", "Name, size, state and address of a file.", {
  { "fileId", "string", "the file; before 5.5.4 called infoHash", alias = "infoHash", echo = true },
  { "name", "string", "file name", spare = true },
  { "size", "integer", "bytes", spare = true },
  { "mimeType", "string?", "what it holds" },
  { "readyState", "FileState", "whether it can be fetched" },
  { "downloadUrl", "string|null?", "where it can be fetched once it is ready; holds a secret" },
  { "previews", "[FilePreview]|null?", "small pictures of it" },
})

object("ExtensionList", "Extensions of file names that may be uploaded.", {
  { "mode", "ExtensionMode", "allow: only these; block: all but these" },
  { "list", "[string]", "extensions; without dots and in lower case once they were normalised" },
})

object("UploadLimits", "The upload limits.", {
  { "maxSize", "integer|null?", "bytes; none: no limit", min = 1 },
  { "extensions", "ExtensionList|null?", "none: any" },
}, { since = "5.5.3" })

-- Surveys ---------------------------------------------------------------------------------

local SURVEY_DESCRIPTION = { "description", "SurveyDescription", "line under the title",
  default = "{{Survey}}", at_server = { type = "string" } }
local SURVEY_BUTTON = { "buttonText", "string", "what the button says", default = "{{Go to survey}}" }

object("NewSurvey", "A survey to post.", {
  { "url", "string", "https://SERVER/webtools/survey" },
  { "appVersion", "integer", "1", default = 1 },
  { "path", "string", "the campaign, made in the server's web tools" },
  { "title", "string", "shown title" },
  SURVEY_DESCRIPTION,
  SURVEY_BUTTON,
  { "secret", "string?", "40 hex digits, a SHA-1 of the title and random digits; the client makes one" },
  { "alt", "string?", "html for apps without surveys; the client makes it" },
})

object("SurveyEdit", "The replacement of a posted survey.", {
  { "path", "string", "the campaign" },
  { "title", "string", "shown title" },
  SURVEY_DESCRIPTION,
  SURVEY_BUTTON,
  { "alt", "string?", "html for apps without surveys; the client makes it" },
})

-- Responses -------------------------------------------------------------------------------

object("Authorized", "The account of the connection.", {
  { "userId", "string", "login@server/instance" },
  { "connectionId", "string?", "the connection" },
})

object("ChatRef", "A chat.", {
  { "chatId", "string", "the chat" },
})

object("SentMessage", "A message that was sent.", {
  { "chatId", "string", "the chat", echo = true },
  { "messageId", "string", "the message" },
  { "timestamp", "integer", "time of the server, milliseconds", spare = true },
})

object("SentFile", "A file that was sent.", {
  { "chatId", "string", "the chat", echo = true },
  { "messageId", "string", "the message with the file" },
  { "timestamp", "integer", "time of the server, milliseconds", spare = true },
  { "fileId", "string?", "the file" },
  { "captionMessageId", "string|null?", "the message with the caption", since = "5.5.6" },
})

object("Edited", "A message that was changed.", {
  { "messageId", "string", "the message", echo = true },
  { "timestamp", "integer", "time of the server, milliseconds", spare = true },
})

object("TitleChanged", "A chat with another title.", {
  { "chatId", "string", "the chat", echo = true },
  { "timestamp", "integer", "time of the server, milliseconds", spare = true },
}, { since = "5.5.3" })

object("HistoryPage", "Messages of a chat, backwards in time; the anchor itself may be among them.", {
  { "chatId", "string", "the chat", echo = true },
  { "count", "integer", "how many messages", spare = true },
  { "messages", "[Envelope]", "in no promised order" },
})

object("ParticipantPage", "Participants of a chat.", {
  { "participants", "[Participant]", "one page of them" },
})

object("Truth", "Yes or no.", {
  { "result", "boolean", "yes or no" },
})

object("DisplayName", "The name of a user.", {
  { "displayName", "string", "as apps show it" },
})

object("UploadTask", "Leave to upload one file.", {
  { "uploadTaskId", "string", "header Upload-Task-Id of the upload" },
})

object("Activity", "The activity that others see now.", {
  { "chatId", "string", "the chat", echo = true },
  { "activityType", "ActivityType", "what they see", echo = true },
  { "retryAfter", "integer", "milliseconds after which it must be sent again", spare = true },
}, { since = "5.5.6" })

-- Pieces of notifications -----------------------------------------------------------------

object("EditedContent", "The new text of a message.", {
  { "text", "string", "with its marks" },
  { "parseMode", "ParseMode", "how it is marked up", spare = true },
})

return { objects = objects, unions = unions }
