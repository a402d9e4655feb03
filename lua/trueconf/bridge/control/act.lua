-- SPDX-License-Identifier: MIT
-- Shared parts of acts: finding the account and the chat of an act, and making its answer.

local json = require "trueconf.base.json"
local fields = require "trueconf.bridge.control.fields"

local refusal = fields.refusal

---@class trueconf.bridge.Act
---@field http string|false|nil method and path of HTTP; nil: "POST" and the name of the act; false: only by WebSocket
---@field fields? table<string, string> kinds by name; nil: perform() checks
---@field lua string[] the Lua functions that do the same
---@field takes_file? boolean a file may come in place of `data`
---@field perform fun(control: trueconf.bridge.Control, input: table, more: table): table?, any the answer, or nil and a
---refusal or an error; `more` as of Control:perform()

local act = {}

-- Account and chat of an act ------------------------------------------------------------------

---@param bridge trueconf.bridge.Server
---@param field string that has the login
---@param login string
---@return trueconf.bridge.Account? account
---@return trueconf.bridge.Refusal? wrong
function act.account_of(bridge, field, login)
  local account = bridge.accounts:by_login(login)
  if account then return account end
  return nil, refusal(field, "the login of an account", ("'%s'"):format(login:sub(1, 64)))
end

local function person_of(bridge, input)
  local account, wrong = act.account_of(bridge, "person", input.person)
  if not account then return nil, wrong end
  return bridge:person(account.login)
end

---The personal chat with `with`, or the chat `chat_id`.
---@param bridge trueconf.bridge.Server
---@param input { person: string, with: string?, chat_id: string? }
---@return trueconf.bridge.PersonChat? chat
---@return any? wrong
function act.chat_of(bridge, input)
  local person, wrong = person_of(bridge, input)
  if not person then return nil, wrong end
  if (input.chat_id == nil) == (input.with == nil) then
    return nil, refusal("chat_id", "either chat_id or with", input.with and "both" or "neither")
  end
  if input.chat_id then return person:chat(input.chat_id) end
  local other
  other, wrong = act.account_of(bridge, "with", input.with)
  if not other then return nil, wrong end
  if other.key == person.key then return nil, refusal("with", "somebody else", "the person") end
  return person:chat_with(input.with)
end

---Fields together with others.
---@param more table<string, string>?
---@param common table<string, string>
---@return table<string, string>
function act.with(more, common)
  local all = {}
  for name, kind in pairs(common) do all[name] = kind end
  for name, kind in pairs(more or {}) do all[name] = kind end
  return all
end

---An act of a person; its perform() gets the person first.
---@param described table
---@return trueconf.bridge.Act
function act.of_person(described)
  described.fields = act.with(described.fields, { person = "text" })
  local perform = described.perform
  function described.perform(control, input)
    local person, wrong = person_of(control.bridge, input)
    if not person then return nil, wrong end
    return perform(person, input, control)
  end
  return described
end

---An act of a person in a chat; its perform() gets the chat first.
---@param described table
---@return trueconf.bridge.Act
function act.of_chat(described)
  described.fields = act.with(described.fields, { person = "text", chat_id = "text?", with = "text?" })
  local perform = described.perform
  function described.perform(control, input, more)
    local chat, wrong = act.chat_of(control.bridge, input)
    if not chat then return nil, wrong end
    return perform(chat, input, control, more)
  end
  return described
end

-- Answers ---------------------------------------------------------------------------------------

---The answer of an act without a result.
---@param ok any
---@param err any
---@return table? answer
---@return any? err
function act.done(ok, err)
  if not ok then return nil, err end
  return { done = true }
end

local function message_json(message)
  return {
    message_id = message.id, chat_id = message.chat_id, author = message.author, type = message.type,
    text = message.text, parse_mode = message.parse_mode, content = message.content, buttons = message.buttons,
    edited = message.edited, timestamp = message.timestamp, reply_to = message.reply_to, from_me = message.from_me,
  }
end

---@param message trueconf.bridge.PersonMessage?
---@param err any
---@return table? answer
---@return any? err
function act.message(message, err)
  if not message then return nil, err end
  return message_json(message)
end

---@param messages trueconf.bridge.PersonMessage[]?
---@param err any
---@return table? answer
---@return any? err
function act.messages(messages, err)
  if not messages then return nil, err end
  local list = json.array()
  for index, message in ipairs(messages) do list[index] = message_json(message) end
  return { messages = list }
end

---@param account trueconf.bridge.Account
---@return table
function act.account(account)
  return { login = account.login, id = account.id, display_name = account.display_name, disabled = account.disabled }
end

return act
