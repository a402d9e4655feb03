-- SPDX-License-Identifier: MIT
-- The conversation as readable text with authors, times and chats. It is written from the notifications of the Bridge,
-- so no message that reaches somebody is missing.

local core = require "trueconf.core"
local fifo = require "trueconf.base.fifo"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local text = require "trueconf.text"

local GROUPS = { [protocol.enums.ChatType.GROUP] = true, [protocol.enums.ChatType.CHANNEL] = true }
local MOST_LINES = 100000               -- then the oldest are forgotten
local INDENT = (" "):rep(21)            -- as wide as the time

---@class trueconf.testing.Transcript
---@field private bridge trueconf.bridge.Server
---@field private lines trueconf.Fifo
local Transcript = {}
Transcript.__index = Transcript

---@param bridge trueconf.bridge.Server
---@return trueconf.testing.Transcript
local function new(bridge)
  return setmetatable({ bridge = bridge, lines = fifo.new(MOST_LINES) }, Transcript)
end

---Add an entry under the present time; its further lines are indented.
---@param entry string
---@param ... any values for a format
function Transcript:add(entry, ...)
  if select("#", ...) > 0 then entry = entry:format(...) end
  local time = os.date("!%Y-%m-%d %H:%M:%S  ", core.now() // 1000)
  self.lines:push(time .. entry:gsub("\n", "\n" .. INDENT))
end

---@param most? integer entries; default all
---@return string text
function Transcript:text(most)
  local first, last = self.lines.first, self.lines.last
  local from = math.max(first, most and last - most + 1 or first)
  return table.concat(self.lines, "\n", from, last) .. (last >= from and "\n" or "")
end

-- Words for events ------------------------------------------------------------------------

local function login_of(user_id)
  return (user_id:gsub("@.*$", ""))
end

-- "anna", in groups "anna in Ops".
function Transcript:speaker(login, chat_id)
  local chat = self.bridge.store:chat(chat_id)
  return chat and GROUPS[chat.type] and ("%s in %s"):format(login, chat.title) or login
end

local function button_lines(content)
  local lines = {}
  for index, row in ipairs(content.buttons or {}) do
    local labels = {}
    for column, button in ipairs(row) do labels[column] = ("[%s]"):format(button.label) end
    lines[index] = "\n" .. table.concat(labels, " ")
  end
  return table.concat(lines)
end

---A message as a person sees it, in words.
---@param content table as on the wire
---@return string
local function words_of(content)
  if content.text then return text.plain(content.text, content.parseMode) end
  if content.content then return "(forwarded) " .. words_of(content.content) end
  if content.fileId or content.name then
    return ("(file %s, %s bytes)"):format(content.name or "without a name", content.size or "?")
  end
  if content.title then return ("(survey %s)"):format(content.title) end
  return "(something without words)"
end

function Transcript:message(message)
  local answers = message.reply_to and " (in reply)" or ""
  self:add("%s%s: %s%s", self:speaker(login_of(message.author), message.chat_id), answers,
    words_of(message.content), button_lines(message.content))
end

local told = {}

function told.editMessage(self, payload, login)
  local words = text.plain(payload.content.text, payload.content.parseMode)
  self:add("%s changes a message: %s", self:speaker(login, payload.chatId), words)
end

function told.removeMessage(self, payload, login)
  self:add("%s removes a message", self:speaker(login, payload.chatId))
end

---Add an entry for a notification.
---@param notification trueconf.bridge.Notification
---@param acting? trueconf.bridge.Receiver that caused it
function Transcript:observe(notification, acting)
  if notification.message then return self:message(notification.message) end
  local entry = told[notification.method]
  local recipient = notification.recipients[1]
  if entry and recipient and acting then entry(self, json.decode(notification:payload(recipient)), acting.key) end
end

return { new = new, words_of = words_of }
