-- SPDX-License-Identifier: MIT
-- Clicks that would mislead: a double click on one button, and a click on the choice of a question that is over.
--
-- The server names neither the person nor the click (protocol 13), so a double click is told by message, button and
-- time. A question is known by the token in the commands of its buttons. One that this process has closed has lost its
-- buttons by then; one of an earlier process still has them, and they go with the first click.

local lru = require "trueconf.base.lru"
local choices = require "trueconf.bot.dialog.choices"
local core = require "trueconf.core"
local filters = require "trueconf.filter"
local protocol = require "trueconf.protocol"

local MOST_CLICKS = 1000                -- buttons whose last click is known
local MOST_CLOSED = 1000                -- questions that are known to be over

local PARSE_MODES = protocol.enums.ParseMode.set

---@class trueconf.Bot
---@field double_click number seconds
---@field late_click string|false
---@field private clicked trueconf.Lru? when a button was clicked last, monotonic seconds
---@field private open_questions table<string, true>? tokens of questions with buttons
---@field private closed_questions trueconf.Lru? tokens of those that have lost them
local Clicks = {}

---Is a click the second half of a double click?
---@private
---@param click trueconf.CommandEvent
---@return boolean
function Clicks:is_double_click(click)
  if self.double_click == 0 then return false end
  self.clicked = self.clicked or lru.new(MOST_CLICKS)
  local message_id = click.message and click.message.id or ""
  local button = ("%s\0%s\0%s"):format(message_id, click.button_id or "", click.command)
  local now, last = core.monotonic(), self.clicked:get(button)
  self.clicked:put(button, now)
  return last ~= nil and now - last < self.double_click
end

---A question with buttons begins.
---@private
---@param token string
function Clicks:question_opened(token)
  self.open_questions = self.open_questions or {}
  self.open_questions[token] = true
end

---A question with buttons is over.
---@private
---@param token string
function Clicks:question_closed(token)
  self.open_questions[token] = nil
end

---The buttons of a question are gone.
---@private
---@param token string
function Clicks:buttons_gone(token)
  self.closed_questions = self.closed_questions or lru.new(MOST_CLOSED)
  self.closed_questions:put(token, true)
end

-- The same text without the buttons.
local function take_buttons_away(self, message)
  local content = message.content
  if type(content.text) ~= "string" or not PARSE_MODES[content.parseMode or "text"] then return end
  local edited, err = message:edit(content.text, { parse_mode = content.parseMode })
  if not edited then self.log:debug("the buttons of a question stay: %s", err) end
end

---Answer a click that came too late.
---@private
---@async
---@param click trueconf.CommandEvent that no handler has taken
---@return boolean taken false: it is no choice of a question
function Clicks:take_late_click(click)
  local token = self.late_click and choices.token_of(click.command)
  if not token or not click.message then return false end
  if self.open_questions and self.open_questions[token] then return true end
  -- In a group others may have seen the answer, and nobody knows who has clicked.
  if filters.kind_of(click, self) == "p2p" then
    local sent, err = self:send_message(click.chat_id, self.late_click)
    if not sent then self.log:debug("a late click got no answer: %s", err) end
  end
  if not (self.closed_questions and self.closed_questions:get(token)) then take_buttons_away(self, click.message) end
  return true
end

return Clicks
