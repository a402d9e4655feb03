-- SPDX-License-Identifier: MIT
-- A chat for handlers: its methods write, ask and wait there.

local client = require "trueconf.client"
local core = require "trueconf.core"
local face = require "trueconf.base.face"
local misuse = require "trueconf.base.misuse"

local INSIDE = face.INSIDE

---A chat of a bot: msg.chat, or bot:chat(id).
---@class trueconf.ChatHandle
---@field id string
---@field title string? of a message's chat, from servers of 5.5.6
---@field type integer? of a message's chat, from servers of 5.5.6
---@field kind trueconf.ChatKind? of a message's chat, from servers of 5.5.6
---@field bot trueconf.Bot
local Chat = {}

local function engine_of(chat)
  return chat[INSIDE]
end

---Send a text to the chat.
---@async
---@param text string|number
---@param opts? trueconf.SendOptions
---@return trueconf.SentMessage? sent
---@return trueconf.Error? err
function Chat:send(text, opts)
  local sent, err = client.send_message_at(engine_of(self).client, 3, self.id, text, opts)
  return sent, err
end

---Send a question and wait for an answer, by default of anyone (option `from`); see msg:ask().
---@async
---@param question string|number
---@param opts? trueconf.AskOptions|number options, or only the seconds to wait
---@return any answer
---@return trueconf.Message|trueconf.CommandEvent|trueconf.Error|nil message_or_err
function Chat:ask(question, opts)
  local answer, more = engine_of(self).dialogs:ask_in(self, question, opts, nil, 2)
  return answer, more
end

---Wait for the next message in the chat that passes a filter. Other messages go to the ordinary handlers. In a handler,
---its own message or event counts as handled from here on.
---@async
---@param filter? trueconf.Filter|trueconf.Predicate default: any message of a person
---@param opts? trueconf.WaitOptions|number options, or only the seconds to wait
---@return trueconf.Message? msg
---@return trueconf.Error? err TIMEOUT, CLOSED when the bot stops, and the other errors that end a dialog
function Chat:wait(filter, opts)
  local msg, err = engine_of(self).dialogs:wait_in(self, filter, opts, 2)
  return msg, err
end

-- Refuses a method when the chat is unknown, as servers need not name the chat of a forwarded message. A tail call
-- calls the method, so that levels of the stack stay the same.
local function need(class, field, what, names)
  for _, name in ipairs(names) do
    local method = class[name]
    class[name] = function(self, ...)
      if self[field] then return method(self, ...) end
      return nil, core.error("PROTOCOL", ("%s: the server does not say %s; use the message that came with it, or "
        .. "bot:send_message()"):format(name, what), { outcome = "not_sent" })
    end
  end
end

need(Chat, "id", "which chat this is", { "send", "ask", "wait" })
misuse.guard(Chat, "chat")

-- The metatable of a bot's chats, made for the first one. It holds the bot, so that a chat can be printed and compared
-- without it.
local function meta_of(engine)
  local meta = engine.chat_meta
  if meta then return meta end
  local class = { bot = engine.face, [INSIDE] = engine }
  for name, method in pairs(Chat) do class[name] = method end
  engine.chat_meta = { __index = class, __name = "trueconf.ChatHandle" }
  return engine.chat_meta
end

---@param engine trueconf.Engine? nil: a mere client's chats have no methods
---@param fields table of the chat
---@return trueconf.ChatHandle
local function new(engine, fields)
  return engine and setmetatable(fields, meta_of(engine)) or fields
end

return { new = new, need = need }
