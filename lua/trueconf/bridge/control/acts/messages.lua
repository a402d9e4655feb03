-- SPDX-License-Identifier: MIT
-- Acts on messages.

local act = require "trueconf.bridge.control.act"

local account_of, done, of_chat, of_person, with = act.account_of, act.done, act.of_chat, act.of_person, act.with
local DEFAULT_COUNT = 100

---@type table<string, trueconf.bridge.Act>
local acts = {}

acts.say = of_chat {
  fields = { text = "text", parse_mode = "parse_mode?", reply_to = "text?" },
  lua = { "PersonChat:say" },
  perform = function(chat, input)
    return act.message(chat:say(input.text, { parse_mode = input.parse_mode, reply_to = input.reply_to }))
  end,
}

acts.edit = of_chat {
  fields = { message_id = "text", text = "text", parse_mode = "parse_mode?" },
  lua = { "PersonChat:edit" },
  perform = function(chat, input)
    return act.message(chat:edit(input.message_id, input.text, { parse_mode = input.parse_mode }))
  end,
}

acts.send_location = of_chat {
  fields = { latitude = "latitude", longitude = "longitude", title = "text?", reply_to = "text?" },
  lua = { "PersonChat:send_location" },
  perform = function(chat, input)
    local opts = { title = input.title, reply_to = input.reply_to }
    return act.message(chat:send_location(input.latitude, input.longitude, opts))
  end,
}

acts.forward = of_chat {
  fields = { message_id = "text" },
  lua = { "PersonChat:forward" },
  perform = function(chat, input) return act.message(chat:forward(input.message_id)) end,
}

acts.remove = of_chat {
  fields = { message_id = "text", only_for_me = "boolean?" },
  lua = { "PersonChat:remove" },
  perform = function(chat, input)
    return done(chat:remove(input.message_id, { only_for_me = input.only_for_me }))
  end,
}

acts.clear = of_chat {
  fields = { only_for_me = "boolean?" },
  lua = { "PersonChat:clear" },
  perform = function(chat, input) return done(chat:clear { only_for_me = input.only_for_me }) end,
}

acts.history = of_chat {
  http = "GET history",
  fields = { count = "count?" },
  lua = { "PersonChat:history", "Server:history" },
  perform = function(chat, input)
    return act.messages(chat:history(input.count or DEFAULT_COUNT))
  end,
}

local SURVEY = { title = "text", path = "text", anonymous = "boolean?", url = "text?" }

acts.survey = of_chat {
  fields = with(SURVEY, { reply_to = "text?" }),
  lua = { "PersonChat:survey" },
  perform = function(chat, input) return act.message(chat:survey(input, { reply_to = input.reply_to })) end,
}

acts.edit_survey = of_chat {
  fields = with(SURVEY, { message_id = "text" }),
  lua = { "PersonChat:edit_survey" },
  perform = function(chat, input) return act.message(chat:edit_survey(input.message_id, input)) end,
}

acts.read = of_person {
  fields = { timeout = "wait?" },
  lua = { "Person:wait_message" },
  perform = function(person, input)
    local list = {}
    local message, err = person:wait_message(input.timeout or 0)
    while message do
      list[#list + 1] = message
      message, err = person:wait_message(0)
    end
    if not list[1] and err.name ~= "TIMEOUT" then return nil, err end
    return act.messages(list)
  end,
}

acts.mark_read = of_chat {
  fields = { message_id = "text?" },
  lua = { "PersonChat:mark_read" },
  perform = function(chat, input) return { marked = chat:mark_read(input.message_id) } end,
}

acts.message = of_person {
  http = "GET message",
  fields = { message_id = "text" },
  lua = { "Person:message" },
  perform = function(person, input) return act.message(person:message(input.message_id)) end,
}

acts.read_by = of_person {
  http = "GET read_by",
  fields = { message_id = "text", login = "text", timeout = "wait?" },
  lua = { "PersonMessage:is_read_by", "PersonMessage:wait_read_by" },
  perform = function(person, input, control)
    local account, wrong = account_of(control.bridge, "login", input.login)
    if not account then return nil, wrong end
    local message, err = person:message(input.message_id)
    if not message then return nil, err end
    if (input.timeout or 0) > 0 then message:wait_read_by(account.login, input.timeout) end
    return { read = message:is_read_by(account.login) }
  end,
}

acts.click = of_person {
  fields = { message_id = "text", button = "text" },
  lua = { "Person:click" },
  perform = function(person, input)
    local ok, err = person:click(input.message_id, input.button)
    if not ok then return nil, err end
    return { clicked = true }
  end,
}

return acts
