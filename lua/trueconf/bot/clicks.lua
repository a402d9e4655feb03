-- SPDX-License-Identifier: MIT
-- Misleading clicks: a double click on one button, and a late click on the choice of a question that is over.
--
-- The server names neither the person nor the click (protocol 13), so a double click is recognised by message, button
-- and time. The token in the commands of its buttons identifies a question. A question that this process has closed has
-- no buttons any more; a question of an earlier process keeps them until the first late click.

local lru = require "trueconf.base.lru"
local choices = require "trueconf.bot.dialog.choices"
local core = require "trueconf.core"
local filters = require "trueconf.filter"
local protocol = require "trueconf.protocol"

local MOST_CLICKS = 1000                -- buttons whose last click is remembered
local MOST_CLOSED = 1000                -- closed questions that are remembered

local PARSE_MODES = protocol.enums.ParseMode.set

---@class trueconf.Clicks
---@field private engine trueconf.Engine
---@field private clicked trueconf.Lru? time of the last click on a button, monotonic seconds
---@field private open table<string, true>? tokens of questions with buttons
---@field private gone trueconf.Lru? tokens of questions whose buttons are removed
local Clicks = {}
Clicks.__index = Clicks

---@param engine trueconf.Engine
---@return trueconf.Clicks
local function new(engine)
  return setmetatable({ engine = engine }, Clicks)
end

---True for the second click of a double click.
---@private
---@param click trueconf.CommandEvent
---@return boolean
function Clicks:is_double(click)
  local within = self.engine.options.double_click
  if within == 0 then return false end
  self.clicked = self.clicked or lru.new(MOST_CLICKS)
  local message_id = click.message and click.message.id or ""
  local button = ("%s\0%s\0%s"):format(message_id, click.button_id or "", click.command)
  local now, last = core.monotonic(), self.clicked:get(button)
  self.clicked:put(button, now)
  return last ~= nil and now - last < within
end

---Note a new question with buttons.
---@private
---@param token string
function Clicks:opened(token)
  self.open = self.open or {}
  self.open[token] = true
end

---Note the end of a question with buttons.
---@private
---@param token string
function Clicks:closed(token)
  self.open[token] = nil
end

---Note that the buttons of a question are removed.
---@private
---@param token string
function Clicks:buttons_gone(token)
  self.gone = self.gone or lru.new(MOST_CLOSED)
  self.gone:put(token, true)
end

-- Edit the message to the same text without buttons.
local function take_buttons_away(log, message)
  local content = message.content
  if type(content.text) ~= "string" or not PARSE_MODES[content.parseMode or "text"] then return end
  local edited, err = message:edit(content.text, { parse_mode = content.parseMode })
  if not edited then log:debug("the buttons of a question could not be removed: %s", err) end
end

---Answer a late click.
---@private
---@async
---@param click trueconf.CommandEvent that no handler has taken
---@return boolean taken false: it is no click on a choice
function Clicks:take_late(click)
  local client, answer = self.engine.client, self.engine.options.late_click
  local token = answer and choices.token_of(click.command)
  if not token or not click.message then return false end
  if self.open and self.open[token] then return true end
  -- In a group others would see the answer, and the clicking person is unknown.
  if filters.kind_of(click, client) == "p2p" then
    local sent, err = client:send_message(click.chat_id, answer)
    if not sent then client.log:debug("a late click could not be answered: %s", err) end
  end
  if not (self.gone and self.gone:get(token)) then take_buttons_away(client.log, click.message) end
  return true
end

return { new = new }
