-- SPDX-License-Identifier: MIT
-- Acts on chats and their participants.

local json = require "trueconf.base.json"
local act = require "trueconf.bridge.control.act"
local refusal = require("trueconf.bridge.control.fields").refusal

local account_of, chat_of, done, with = act.account_of, act.chat_of, act.done, act.with
local of_chat, of_person = act.of_chat, act.of_person

---@type table<string, trueconf.bridge.Act>
local acts = {}

-- The kind of chat that the input names.
local function wanted_chat(input)
  local found
  for _, name in ipairs { "with", "group", "channel", "favorites" } do
    if input[name] then
      if found then return nil end
      found = name
    end
  end
  return found
end

local openers = {}
function openers.with(person, input, control)
  return chat_of(control.bridge, { person = person.login, with = input.with })
end
function openers.group(person, input) return person:create_group(input.group, input.participants) end
function openers.channel(person, input) return person:create_channel(input.channel, input.participants) end
function openers.favorites(person) return person:favorites() end

local function strangers(bridge, participants)
  for login in pairs(participants or {}) do
    local account, wrong = account_of(bridge, "participants", login)
    if not account then return wrong end
  end
end

acts.chats = of_person {
  fields = { with = "text?", group = "text?", channel = "text?", favorites = "boolean?", participants = "roles?" },
  lua = { "Person:chat_with", "Person:create_group", "Person:create_channel", "Person:favorites" },
  perform = function(person, input, control)
    local wanted = wanted_chat(input)
    if not wanted then
      return nil, refusal("with", "one of with, group, channel, favorites", "none or several of them")
    end
    if input.participants and wanted ~= "group" and wanted ~= "channel" then
      return nil, refusal("participants", "nothing but for a group or channel", "some")
    end
    local wrong = strangers(control.bridge, input.participants)
    if wrong then return nil, wrong end
    local chat, err = openers[wanted](person, input, control)
    if not chat then return nil, err end
    return { chat_id = chat.id }
  end,
}

acts.list_chats = of_person {
  http = "GET chats",
  lua = { "Person:chats", "Person:chat", "PersonChat:info" },
  perform = function(person)
    local list = json.array()
    for index, chat in ipairs(person:chats()) do list[index] = chat:info() end
    return { chats = list }
  end,
}

acts.participants = of_chat {
  http = "GET participants",
  lua = { "PersonChat:participants" },
  perform = function(chat)
    local list, err = chat:participants()
    if not list then return nil, err end
    return { participants = json.array(list) }
  end,
}

-- An act on somebody else in a chat.
local function of_member(described)
  described.fields = with(described.fields or {}, { login = "text" })
  local perform = described.perform
  function described.perform(chat, input, control)
    local account, wrong = account_of(control.bridge, "login", input.login)
    if not account then return nil, wrong end
    return perform(chat, account.login, input)
  end
  return of_chat(described)
end

acts.add = of_member {
  fields = { show_history = "boolean?" },
  lua = { "PersonChat:add" },
  perform = function(chat, login, input) return done(chat:add(login, { show_history = input.show_history })) end,
}

acts.expel = of_member {
  fields = { clear_history = "boolean?" },
  lua = { "PersonChat:expel" },
  perform = function(chat, login, input) return done(chat:expel(login, { clear_history = input.clear_history })) end,
}

acts.role = of_member {
  fields = { role = "role" },
  lua = { "PersonChat:set_role" },
  perform = function(chat, login, input) return done(chat:set_role(login, input.role)) end,
}

acts.activity = of_member {
  http = "GET activity",
  lua = { "PersonChat:activity" },
  perform = function(chat, login) return { activity = chat:activity(login) or json.null } end,
}

acts.show_activity = of_chat {
  http = "POST activity",
  fields = { activity = "activity" },
  lua = { "PersonChat:show_activity" },
  perform = function(chat, input) return done(chat:show_activity(input.activity)) end,
}

acts.rename = of_chat {
  fields = { title = "text" },
  lua = { "PersonChat:rename" },
  perform = function(chat, input) return done(chat:rename(input.title)) end,
}

acts.leave = of_chat {
  lua = { "PersonChat:leave" },
  perform = function(chat) return done(chat:leave()) end,
}

return acts
