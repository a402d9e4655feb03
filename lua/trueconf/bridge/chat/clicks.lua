-- SPDX-License-Identifier: MIT
-- Clicks on command buttons and the answers to them (protocol: buttons and commands).

local core = require "trueconf.core"
local fifo = require "trueconf.base.fifo"
local protocol = require "trueconf.protocol"

local codes = protocol.codes
local COMMAND = protocol.enums.ButtonType.COMMAND
-- Clicks that wait for an answer; above this limit the oldest is forgotten.
local MAX_WAITING = 1000

---@class trueconf.bridge.Clicks
---@field private accounts trueconf.bridge.Accounts
---@field private notifications trueconf.bridge.Notifications
---@field private messages trueconf.bridge.Messages
---@field private with_ids boolean clicks can be answered
---@field private waiting table<string, { bot: string, person: string }> keys by command id
---@field private order trueconf.Fifo command ids
local Clicks = {}
Clicks.__index = Clicks

---@param accounts trueconf.bridge.Accounts
---@param notifications trueconf.bridge.Notifications
---@param messages trueconf.bridge.Messages
---@param options { command_ids: boolean }
---@return trueconf.bridge.Clicks
local function new(accounts, notifications, messages, options)
  return setmetatable({
    accounts = accounts,
    notifications = notifications,
    messages = messages,
    with_ids = options.command_ids,
    waiting = {},
    order = fifo.new(MAX_WAITING),
  }, Clicks)
end

-- The button with this id, or the button without an id and with this label.
local function find(message, id_or_label)
  local labelled
  for _, row in ipairs(message.content.buttons or {}) do
    for _, button in ipairs(row) do
      if button.id == id_or_label then return button end
      if not button.id and button.label == id_or_label then labelled = labelled or button end
    end
  end
  return labelled
end

-- A server of version 5.5.6 gives clicks no id, so that no click can be answered.
function Clicks:remember(bot, account)
  if not self.with_ids then return nil end
  local id = core.uuid()
  self.waiting[id] = { bot = bot.key, person = account.key }
  local oldest = self.order:push(id)
  if oldest then self.waiting[oldest] = nil end
  return id
end

---Click a command button.
---@param account trueconf.bridge.Account who clicks
---@param message_id string
---@param id_or_label string of the button
---@return true? ok
---@return any notifications or code
---@return string? description
function Clicks:click(account, message_id, id_or_label)
  local message, chat = self.messages:message_of(message_id, account)
  if not message then return nil, chat end
  local button = find(message, id_or_label)
  if not button or button.type ~= COMMAND then
    return nil, codes.ACCESS_DENIED, ("there is no command button '%s'"):format(tostring(id_or_label))
  end
  local bot = self.accounts:by_id(button.to or message.author)
  if not bot then return nil, codes.ACCESS_DENIED, ("to: no account '%s' on this server"):format(button.to) end
  return true, { self.notifications:command(chat, message, button, bot.key, self:remember(bot, account)) }
end

---Take the answer of a bot.
---@param account trueconf.bridge.Account the bot
---@param command_id string
---@return string? key who clicked
---@return integer? code
---@return string? description
function Clicks:answer(account, command_id)
  local command = self.waiting[command_id]
  if not command or command.bot ~= account.key then
    return nil, codes.ACCESS_DENIED, "commandId: no such command waits for an answer"
  end
  self.waiting[command_id] = nil
  return command.person
end

return { new = new }
