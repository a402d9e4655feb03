-- SPDX-License-Identifier: MIT
-- A message for handlers: the fields of the wire under short names, and methods to answer, edit and remove.

local chats = require "trueconf.bot.chat_handle"
local clients = require "trueconf.client"
local command = require "trueconf.bot.command"
local face = require "trueconf.base.face"
local misuse = require "trueconf.base.misuse"
local objects = require "trueconf.api.objects"
local protocol = require "trueconf.protocol"
local text = require "trueconf.text"

local INSIDE = face.INSIDE

local plain = text.plain
local types = protocol.enums.EnvelopeType
local GROUP, PERSONAL = protocol.enums.ChatType.GROUP, protocol.enums.ChatType.P2P
local PARSE_MODES = protocol.enums.ParseMode.set

---A file in a message.
---@class trueconf.File
---@field file_id string for bot:get_file_info()
---@field name string? file name; a voice message has none
---@field size integer bytes
---@field mime_type string?
---@field ready_state integer? 2: it can be downloaded
---@field duration integer? length of a voice message, probably in seconds

---A contact that was sent.
---@class trueconf.Contact
---@field user_id string? TrueConf ID
---@field name string? as it was written
---@field file trueconf.File? the card, if it came as a file

---@class trueconf.Message
---@field id string
---@field chat_id string
---@field author string TrueConf ID of its author
---@field text string as a person sees it; "" for a message without text
---@field content table as it came (protocol 8.5)
---@field envelope table the whole payload in one shape for all servers (protocol 8.1)
---@field type integer envelope type; 200 is a plain message
---@field timestamp integer milliseconds
---@field chat trueconf.ChatHandle its chat; from servers of 5.5.6 with title, type and kind
---@field in_group boolean? it is in a group; nil: the server is older than 5.5.6 and does not say
---@field parse_mode string?
---@field reply_to string? id of the message this one answers
---@field reply_message trueconf.Message? the message this one answers, from servers of 5.5.6
---@field is_edited boolean
---@field is_system boolean it is a system message: somebody joined, the title was changed
---@field mentions string[] TrueConf IDs of the mentioned users, at the end "@all" if it addresses everybody
---@field mentions_me boolean this account is mentioned; "@all" does not count
---@field file trueconf.File? a file of any kind
---@field photo trueconf.File? the file, if it is a picture
---@field video trueconf.File?
---@field audio trueconf.File? sound; from servers older than 5.5.6 also a voice message
---@field voice trueconf.File? a voice message
---@field sticker trueconf.File?
---@field document trueconf.File? a file of any other kind, but no contact
---@field location { latitude: number, longitude: number, title: string? }?
---@field survey trueconf.SurveyContent?
---@field contact trueconf.Contact?
---@field forwarded trueconf.Message? the original of a forwarded message
---@field command trueconf.Command|false its command; false: none, or a command for another bot
---@field state table notes of middleware and handlers about this message for later handlers
---@field user_session table stored table of the author, in the bot's store; only while a handler runs
---@field chat_session table the same of the chat
---@field box { id: integer, position: string }? place in the chat
local Message = {}

-- The kind of a file, by the first part of its MIME type.
local FILE_KINDS = { image = "photo", video = "video", audio = "audio" }
local FILE_TYPES = { ["sticker/webp"] = "sticker", ["text/vcard"] = "contact", ["text/x-vcard"] = "contact" }

local function kind_of_file(self)
  local content = self.content
  if self.type == types.VOICE_MESSAGE then return "voice" end
  if self.type ~= types.ATTACHMENT then return nil end
  local mime = type(content.mimeType) == "string" and content.mimeType:lower():match "^[^;%s]*" or ""
  return FILE_TYPES[mime] or FILE_KINDS[mime:match "^[^/]*"] or "document"
end

local function file_of(self, kind)
  if kind_of_file(self) == kind then return self.file end
end

-- The content of an envelope of one type under Lua's names.
local function content_as(self, envelope_type, kind)
  if self.type ~= envelope_type then return nil end
  local content = self.envelope.content
  return type(content) == "table" and objects.from_wire(self[INSIDE].client, kind, content) or nil
end

-- The text with its marks, of a message that has one; a forwarded one is the original's, not its own.
local function marked_text(payload)
  local content = payload.content
  if type(content) ~= "table" or payload.type == types.FORWARDED_MESSAGE then return nil end
  local marked = content.text
  if type(marked) == "string" then return marked, content.parseMode end
end

-- A value of the wire, if it has the type it should have.
local function of_type(name, value)
  if type(value) == name or math.type(value) == name then return value end
end

-- Fields are made on first access, because most handlers read only one or two.
local made = {
  acked = function(self)
    local inside = self[INSIDE]
    local engine = inside.client.engine
    return not engine or not engine.acks:is_expected(inside.id)
  end,
  content = function(self)
    local content = self.payload.content
    return type(content) == "table" and content or {}
  end,
  author = function(self)
    local author = self.payload.author
    local id = type(author) == "table" and author.id
    return type(id) == "string" and id or ""
  end,
  text = function(self)
    local marked, mode = marked_text(self.payload)
    return marked and plain(marked, mode) or ""
  end,
  type = function(self) return of_type("integer", self.payload.type) end,
  timestamp = function(self) return of_type("integer", self.payload.timestamp) end,
  parse_mode = function(self) return of_type("string", self.content.parseMode) end,
  reply_to = function(self) return of_type("string", self.payload.replyMessageId) end,
  is_edited = function(self) return self.envelope.isEdited == true end,
  is_system = function(self)
    local number = self.type
    return number ~= nil and number < types.PLAIN_MESSAGE
  end,
  in_group = function(self)
    local number = self.chat.type
    if number == nil then return nil end
    return number == GROUP
  end,
  mentions_me = function(self)
    local me = protocol.plain_id(self[INSIDE].client:user_id() or "")
    for _, id in ipairs(self.mentions) do
      id = protocol.plain_id(id)
      if id == me or id == me:match "^[^@]*" then return me ~= "" end
    end
    return false
  end,
  user_session = function(self)
    local engine = self[INSIDE].client.engine
    return engine and engine.persistence:session_here("user", protocol.plain_id(self.author)) or nil
  end,
  chat_session = function(self)
    local engine = self[INSIDE].client.engine
    return engine and engine.persistence:session_here("chat", self.chat_id) or nil
  end,
  photo = function(self) return file_of(self, "photo") end,
  video = function(self) return file_of(self, "video") end,
  audio = function(self) return file_of(self, "audio") end,
  voice = function(self) return file_of(self, "voice") end,
  sticker = function(self) return file_of(self, "sticker") end,
  document = function(self) return file_of(self, "document") end,
}

-- Fields that are kept after the first access, so that it is the same object each time.
local kept = {
  envelope = function(self) return protocol.normalise("Envelope", self.payload) end,
  chat = function(self)
    local chat = type(self.payload.chat) == "table" and self.payload.chat or {}
    local number = of_type("integer", chat.chatType)
    return chats.new(self[INSIDE].client.engine, {
      id = self.chat_id, title = of_type("string", chat.chatTitle), type = number, kind = objects.chat_kinds[number],
    })
  end,
  mentions = function(self)
    local marked, mode = marked_text(self.payload)
    return marked and text.mentions(marked, PARSE_MODES[mode] and mode or "text") or {}
  end,
  reply_message = function(self)
    local answered = self.envelope.replyMessage
    return type(answered) == "table" and objects.from_wire(self[INSIDE].client, "AnsweredMessage", answered) or nil
  end,
  file = function(self)
    return content_as(self, types.ATTACHMENT, "AttachmentContent")
      or content_as(self, types.VOICE_MESSAGE, "VoiceContent")
  end,
  location = function(self) return content_as(self, types.LOCATION, "LocationContent") end,
  survey = function(self) return content_as(self, types.SURVEY, "SurveyContent") end,
  forwarded = function(self) return content_as(self, types.FORWARDED_MESSAGE, "ForwardedContent") end,
  box = function(self) return of_type("table", self.envelope.box) end,
  command = function(self) return command.read(self) or false end,
  state = function() return {} end,
  contact = function(self)
    local file = file_of(self, "contact")
    if file then return { file = file } end
    local marked, mode = marked_text(self.payload)
    if not marked or self.type ~= types.PLAIN_MESSAGE then return nil end
    local user_id, name = text.contact(marked, mode == "html" and "html" or "text")
    return user_id and { user_id = user_id, name = name }
  end,
}

local meta = {
  __name = "trueconf.Message",
  __classes = { made, kept, Message },
  __index = function(self, key)
    local make = made[key]
    if make then return make(self) end
    make = kept[key]
    if not make then return Message[key] end
    local value = make(self)
    rawset(self, key, value)
    return value
  end,
  __tostring = function(self) return ("trueconf.Message (%s from %s)"):format(self.id, self.author) end,
}

---The message of a claim. It refers to the claim, in which the engine notes the client, and the dialog that began with
---the message or that it was an answer in.
---@param client trueconf.Client of the message
---@param claim trueconf.Item
---@return trueconf.Message
local function new(client, claim)
  local payload = claim.payload
  claim.client = client
  return setmetatable({
    bot = client.face, payload = payload, id = payload.messageId, chat_id = claim.chat_id, [INSIDE] = claim,
  }, meta)
end

-- A message inside another one, an answer or an event, which needs no ack.
local function part(client, payload)
  return setmetatable({
    bot = client.face, payload = payload, id = of_type("string", payload.messageId),
    chat_id = of_type("string", payload.chatId), [INSIDE] = { client = client },
  }, meta)
end

local function listed(client, payload)
  if type(payload.chatId) == "string" then return part(client, payload) end
  return nil, "the message names no chat"
end

for _, kind in ipairs { "Envelope", "AnsweredMessage", "LastMessage", "CommandMessage" } do
  objects.register(kind, listed)
end
objects.register("ForwardedContent", part)

-- The engine of a bot's message, for a method that clients' messages do not have.
local function engine_of(self, method)
  local engine = self[INSIDE].client.engine
  if not engine then error(method .. "() is for the messages of bots", 3) end
  return engine
end

-- Opens a removed personal chat again, once.
local function send(self, reply, opts, reply_to)
  local account = self[INSIDE].client
  local sent, err = clients.send_message_at(account, 3, self.chat_id, reply, opts, reply_to)
  if sent or err.name ~= "CHAT_NOT_FOUND" or self.chat.type ~= PERSONAL then return sent, err end
  local chat_id = account:create_p2p_chat(self.author)
  if not chat_id then return nil, err end
  return account:send_message(chat_id, reply, opts, chat_id == self.chat_id and reply_to or nil)
end

---Send a text to the chat of this message. A removed personal chat is opened again.
---@async
---@param reply string|number
---@param opts? trueconf.SendOptions
---@return trueconf.SentMessage? sent
---@return trueconf.Error? err
function Message:answer(reply, opts)
  return send(self, reply, opts)
end

---Send a text as a reply to this message: apps show it with the message it answers.
---@async
---@param reply string|number
---@param opts? trueconf.SendOptions
---@return trueconf.SentMessage? sent
---@return trueconf.Error? err
function Message:reply(reply, opts)
  return send(self, reply, opts, self.id)
end

---Post a text to this chat, for messages that must arrive; see bot:post(). Only in bots.
---@param content string|number
---@param opts? trueconf.PostOptions
---@return trueconf.Posted? posted
---@return trueconf.Error? err LIMIT, IO
function Message:post(content, opts)
  local posted, err = engine_of(self, "post").persistence:post_to_chat_of(self, 3, content, opts)
  return posted, err
end

---Send a question and wait for the answer of the same author in this chat. This message counts as handled from here on.
---Only for a message that a handler got.
---@async
---@param question string|number
---@param opts? trueconf.AskOptions|number options, or only the seconds to wait
---@return any answer the message; or with `choices`, `type` or `validate` the value
---@return trueconf.Message|trueconf.CommandEvent|trueconf.Error|nil message_or_err the message or click with the
---answer; without an answer the error: TIMEOUT, CANCELLED, LIMIT (all answers were invalid, or too many dialogs wait),
---CLOSED (the bot stops), CHAT_NOT_FOUND, USER_IS_NOT_CHAT_PARTICIPANT, all of them with the `op` "ask"; or an error of
---sending the question
function Message:ask(question, opts)
  if not self[INSIDE].key then error("ask() works only for messages that a handler got", 2) end
  local answer, more = engine_of(self, "ask").dialogs:ask_in(self.chat, question, opts, self[INSIDE], 2)
  return answer, more
end

---Release the queue of this message's chat: the message counts as handled now, and the ordinary handlers get the next
---messages while this handler works on. In a handler that owns an answer, the answer counts as handled. The handler may
---ask again.
---@return boolean left false: it had released the queue before
function Message:leave()
  if not self[INSIDE].key then error("leave() works only for messages that a handler got", 2) end
  return engine_of(self, "leave").dialogs:leave(self[INSIDE])
end

---Replace the text, if the bot wrote this message; buttons that are not given again are removed.
---@async
---@param new_text string|number
---@param opts? trueconf.EditOptions
---@return trueconf.Edited? edited
---@return trueconf.Error? err
function Message:edit(new_text, opts)
  return self[INSIDE].client:edit_message(self.id, new_text, opts or {})
end

---Forward this message to another chat.
---@async
---@param chat_id string
---@return trueconf.SentMessage? sent
---@return trueconf.Error? err
function Message:forward(chat_id)
  return self[INSIDE].client:forward_message(chat_id, self.id)
end

---Remove this message.
---@async
---@param for_all? boolean for everybody; default only for the bot
---@return true? ok
---@return trueconf.Error? err
function Message:remove(for_all)
  return self[INSIDE].client:remove_message(self.id, for_all or false)
end

---Acknowledge this message now; the server does not deliver it again, even if the handler fails.
---@return boolean sent false if it was acknowledged before, or its connection is gone
function Message:ack()
  local claim = self[INSIDE]
  return claim.id ~= nil and engine_of(self, "ack").dispatch:ack_now(claim)
end

chats.need(Message, "chat_id", "which chat this message is from", { "answer", "reply", "post" })
chats.need(Message, "id", "which message this is", { "edit", "forward", "remove" })
misuse.guard(Message, "msg")

return { new = new }
