-- A message as a handler sees it: what came on the wire under short names, and what can
-- be done with it.
-- SPDX-License-Identifier: MIT

local text = require "trueconf.text"

---@class trueconf.Message
---@field id string
---@field chat_id string
---@field author string TrueConf ID of who wrote it
---@field text string what a person sees of it; "" for a message without text
---@field content table as it came (protocol 8.5)
---@field envelope table the whole payload as it came (protocol 8.1)
---@field type integer envelope type; 200 is a plain message
---@field timestamp integer milliseconds
---@field chat { id: string, title: string?, type: integer? }
---@field parse_mode string?
---@field reply_to string? id of the message this one answers
---@field is_edited boolean
local Message = {}

-- Fields are made when asked for: most handlers look at one or two.
local made = {
  content = function(self)
    local content = self.envelope.content
    return type(content) == "table" and content or {}
  end,
  author = function(self)
    local author = self.envelope.author
    return type(author) == "table" and author.id or ""
  end,
  text = function(self)
    local content = self.content
    return text.plain(content.text or "", content.parseMode)
  end,
  type = function(self) return self.envelope.type end,
  timestamp = function(self) return self.envelope.timestamp end,
  parse_mode = function(self) return self.content.parseMode end,
  reply_to = function(self) return self.envelope.replyMessageId end,
  is_edited = function(self) return self.envelope.isEdited or false end,
  chat = function(self)
    local chat = self.envelope.chat or {}
    return { id = self.chat_id, title = chat.chatTitle, type = chat.chatType }
  end,
}

local meta = {
  __name = "trueconf.Message",
  __index = function(self, key)
    local make = made[key]
    if make then return make(self) end
    return Message[key]
  end,
  __tostring = function(self) return ("trueconf.Message (%s from %s)"):format(self.id, self.author) end,
}

---@param bot trueconf.Bot
---@param envelope table payload of a sendMessage notification
---@param chat_id string
---@param frame_id integer number of the server's request, for the ack
---@param epoch integer connection it came on
---@param lane string|integer place in the queue: the messages of a lane are handled one after the other
---@return trueconf.Message
local function new(bot, envelope, chat_id, frame_id, epoch, lane)
  return setmetatable({
    bot = bot, envelope = envelope, id = envelope.messageId, chat_id = chat_id,
    frame_id = frame_id, epoch = epoch, lane = lane, acked = false, dialog = false,
  }, meta)
end

---Send a text to the chat this message is in.
---@async
---@param reply string
---@param opts? trueconf.SendOptions
---@return trueconf.Sent? sent
---@return trueconf.Error? err
function Message:answer(reply, opts)
  return self.bot:send_message(self.chat_id, reply, opts)
end

---Send a text as the answer to this message: apps show it with the message it answers.
---@async
---@param reply string
---@param opts? trueconf.SendOptions
---@return trueconf.Sent? sent
---@return trueconf.Error? err
function Message:reply(reply, opts)
  return self.bot:send_message(self.chat_id, reply, opts, self.id)
end

---Send a text and wait for the next message of the same author in this chat. This message
---counts as handled from here on.
---@async
---@param question string
---@param timeout? number seconds; default the bot's option ask_timeout
---@return trueconf.Message? answer
---@return trueconf.Error? err of sending, TIMEOUT, or CLOSED when the bot stops
function Message:ask(question, timeout)
  return self.bot:ask(self, question, timeout)
end

---Tell the server now that this message has been handled; it is then not delivered again,
---whatever becomes of the handler.
---@return boolean sent false if it was acknowledged before, or its connection is gone
function Message:ack()
  return self.bot:ack(self)
end

return { new = new }
