-- SPDX-License-Identifier: MIT
-- What can be asked of a Bridge under control: one list for HTTP and WebSocket. Each act calls what a Lua program
-- calls, named in `lua`; none knows rules of its own.

local core = require "trueconf.core"
local json = require "trueconf.json"
local accounts = require "trueconf.bridge.accounts"
local base64 = require "trueconf.bridge.control.base64"
local faults = require "trueconf.bridge.faults"
local fields = require "trueconf.bridge.control.fields"

local refusal = fields.refusal
local DEFAULT_WAIT, DEFAULT_COUNT = 20, 100

---@class trueconf.bridge.Act
---@field http string method and path of HTTP, "POST" and the name of the act unless it says otherwise
---@field fields? table<string, string> kinds by name; nil: perform() checks
---@field lua string[] the functions of Lua that do the same
---@field takes_file? boolean a file may come in the place of `data`
---@field perform fun(control: trueconf.bridge.Control, input: table, more: table): table?, any the answer, or nil and a
---refusal or an error; `more` as of Control:perform()

---@type table<string, trueconf.bridge.Act>
local acts = {}

-- Whom and what an act is about ---------------------------------------------------------------

local function account_of(bridge, field, login)
  local account = bridge.accounts:by_login(login)
  if account then return account end
  return nil, refusal(field, "the login of an account", ("'%s'"):format(login:sub(1, 64)))
end

local function person_of(bridge, input)
  local account, wrong = account_of(bridge, "person", input.person)
  if not account then return nil, wrong end
  return bridge:person(account.login)
end

-- The personal chat with `with`, or the chat `chat_id`.
local function chat_of(bridge, input)
  local person, wrong = person_of(bridge, input)
  if not person then return nil, wrong end
  if (input.chat_id == nil) == (input.with == nil) then
    return nil, refusal("chat_id", "either chat_id or with", input.with and "both" or "neither")
  end
  if input.chat_id then return person:chat(input.chat_id) end
  local other
  other, wrong = account_of(bridge, "with", input.with)
  if not other then return nil, wrong end
  if other.key == person.key then return nil, refusal("with", "somebody else", "the person") end
  return person:chat_with(input.with)
end

local function message_json(message)
  return {
    message_id = message.id, chat_id = message.chat_id, author = message.author, type = message.type,
    text = message.text, parse_mode = message.parse_mode, content = message.content, buttons = message.buttons,
    edited = message.edited, timestamp = message.timestamp, reply_to = message.reply_to, from_me = message.from_me,
  }
end

local function messages_json(messages)
  local list = json.array()
  for place, message in ipairs(messages) do list[place] = message_json(message) end
  return { messages = list }
end

-- Defining acts ---------------------------------------------------------------------------------

local function define(name, act)
  act.http = act.http or "POST " .. name
  acts[name] = act
end

local function with(more, common)
  local all = {}
  for name, kind in pairs(common) do all[name] = kind end
  for name, kind in pairs(more) do all[name] = kind end
  return all
end

-- An act of a person.
local function of_person(name, act)
  act.fields = with(act.fields or {}, { person = "text" })
  local perform = act.perform
  function act.perform(control, input)
    local person, wrong = person_of(control.bridge, input)
    if not person then return nil, wrong end
    return perform(person, input, control)
  end
  define(name, act)
end

-- An act of a person in a chat.
local function of_chat(name, act)
  act.fields = with(act.fields or {}, { person = "text", chat_id = "text?", with = "text?" })
  local perform = act.perform
  function act.perform(control, input, more)
    local chat, wrong = chat_of(control.bridge, input)
    if not chat then return nil, wrong end
    return perform(chat, input, control, more)
  end
  define(name, act)
end

-- The answer of an act that has nothing to tell but that it was done.
local function done(ok, err)
  if not ok then return nil, err end
  return { done = true }
end

local function one_message(message, err)
  if not message then return nil, err end
  return message_json(message)
end

-- Accounts and tokens ---------------------------------------------------------------------------

local function account_refusal(login, complaint)
  local field = complaint:match "^(%w+)"
  local expected = complaint:match "must be (.-),? got" or complaint:match "must be (.*)$"
  local got = field == "login" and ("'%s'"):format(login:sub(1, 64)) or "one that will not do"
  return refusal(field, expected or "an account", got)
end

local function account_json(account)
  return { login = account.login, id = account.id, display_name = account.display_name, disabled = account.disabled }
end

define("accounts", {
  fields = { login = "text", password = "text?", display_name = "text?", disabled = "boolean?" },
  lua = { "Server:add_account", "Server:disable" },
  perform = function(control, input)
    local spec = { password = input.password, display_name = input.display_name, disabled = input.disabled }
    local wrong = accounts.complaint(input.login, spec)
    if wrong then return nil, account_refusal(input.login, wrong) end
    control.bridge:add_account(input.login, spec)
    return account_json(control.bridge.accounts:by_login(input.login))
  end,
})

define("mint_token", {
  fields = { login = "text", expires_in = "seconds?" },
  lua = { "Server:mint_token" },
  perform = function(control, input)
    local account, wrong = account_of(control.bridge, "login", input.login)
    if not account then return nil, wrong end
    local token, expires_at = control.bridge:mint_token(account.login, { expires_in = input.expires_in })
    return { token = token, expires_at = expires_at }
  end,
})

-- An act on one account, or on all.
local function of_accounts(name, lua, perform)
  define(name, {
    fields = { login = "text?" },
    lua = { lua },
    perform = function(control, input)
      if input.login then
        local account, wrong = account_of(control.bridge, "login", input.login)
        if not account then return nil, wrong end
      end
      perform(control.bridge, input.login)
      return { done = true }
    end,
  })
end

of_accounts("expire_tokens", "Server:expire_tokens", function(bridge, login) bridge:expire_tokens(login) end)
of_accounts("drop", "Server:drop", function(bridge, login) bridge:drop(login) end)

define("upload_limits", {
  fields = { max_size = "bytes?", mode = "extension_mode?", extensions = "texts?" },
  lua = { "Server:set_upload_limits", "Server:upload_limits" },
  perform = function(control, input)
    if (input.mode == nil) ~= (input.extensions == nil) then
      return nil, refusal("extensions", "mode and extensions, or neither", "one of them")
    end
    control.bridge:set_upload_limits {
      max_size = input.max_size,
      extensions = input.mode and { mode = input.mode, list = input.extensions },
    }
    return control.bridge:upload_limits()
  end,
})

define("unread", {
  http = "GET unread",
  fields = { login = "text" },
  lua = { "Server:unread" },
  perform = function(control, input)
    local account, wrong = account_of(control.bridge, "login", input.login)
    if not account then return nil, wrong end
    return messages_json(control.bridge:unread(account.login))
  end,
})

-- Chats -----------------------------------------------------------------------------------------

-- Which kind of chat is to be opened.
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

of_person("chats", {
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
})

of_person("list_chats", {
  http = "GET chats",
  lua = { "Person:chats", "Person:chat", "PersonChat:info" },
  perform = function(person)
    local list = json.array()
    for place, chat in ipairs(person:chats()) do list[place] = chat:info() end
    return { chats = list }
  end,
})

of_chat("participants", {
  http = "GET participants",
  lua = { "PersonChat:participants" },
  perform = function(chat)
    local list, err = chat:participants()
    if not list then return nil, err end
    return { participants = json.array(list) }
  end,
})

-- An act on somebody else in a chat.
local function of_member(name, act)
  act.fields = with(act.fields or {}, { login = "text" })
  local perform = act.perform
  function act.perform(chat, input, control)
    local account, wrong = account_of(control.bridge, "login", input.login)
    if not account then return nil, wrong end
    return perform(chat, account.login, input)
  end
  of_chat(name, act)
end

of_member("add", {
  fields = { show_history = "boolean?" },
  lua = { "PersonChat:add" },
  perform = function(chat, login, input) return done(chat:add(login, { show_history = input.show_history })) end,
})

of_member("expel", {
  fields = { clear_history = "boolean?" },
  lua = { "PersonChat:expel" },
  perform = function(chat, login, input) return done(chat:expel(login, { clear_history = input.clear_history })) end,
})

of_member("role", {
  fields = { role = "role" },
  lua = { "PersonChat:set_role" },
  perform = function(chat, login, input) return done(chat:set_role(login, input.role)) end,
})

of_member("activity", {
  http = "GET activity",
  lua = { "PersonChat:activity" },
  perform = function(chat, login) return { activity = chat:activity(login) or json.null } end,
})

of_chat("show_activity", {
  http = "POST activity",
  fields = { activity = "activity" },
  lua = { "PersonChat:show_activity" },
  perform = function(chat, input) return done(chat:show_activity(input.activity)) end,
})

of_chat("rename", {
  fields = { title = "text" },
  lua = { "PersonChat:rename" },
  perform = function(chat, input) return done(chat:rename(input.title)) end,
})

of_chat("leave", {
  lua = { "PersonChat:leave" },
  perform = function(chat) return done(chat:leave()) end,
})

-- Messages --------------------------------------------------------------------------------------

of_chat("say", {
  fields = { text = "text", parse_mode = "parse_mode?", reply_to = "text?" },
  lua = { "PersonChat:say" },
  perform = function(chat, input)
    return one_message(chat:say(input.text, { parse_mode = input.parse_mode, reply_to = input.reply_to }))
  end,
})

of_chat("edit", {
  fields = { message_id = "text", text = "text", parse_mode = "parse_mode?" },
  lua = { "PersonChat:edit" },
  perform = function(chat, input)
    return one_message(chat:edit(input.message_id, input.text, { parse_mode = input.parse_mode }))
  end,
})

of_chat("forward", {
  fields = { message_id = "text" },
  lua = { "PersonChat:forward" },
  perform = function(chat, input) return one_message(chat:forward(input.message_id)) end,
})

of_chat("remove", {
  fields = { message_id = "text", only_for_me = "boolean?" },
  lua = { "PersonChat:remove" },
  perform = function(chat, input)
    return done(chat:remove(input.message_id, { only_for_me = input.only_for_me }))
  end,
})

of_chat("clear", {
  fields = { only_for_me = "boolean?" },
  lua = { "PersonChat:clear" },
  perform = function(chat, input) return done(chat:clear { only_for_me = input.only_for_me }) end,
})

of_chat("history", {
  http = "GET history",
  fields = { count = "count?" },
  lua = { "PersonChat:history", "Server:history" },
  perform = function(chat, input)
    local messages, err = chat:history(input.count or DEFAULT_COUNT)
    if not messages then return nil, err end
    return messages_json(messages)
  end,
})

local SURVEY = { title = "text", path = "text", anonymous = "boolean?", url = "text?" }

of_chat("survey", {
  fields = with(SURVEY, { reply_to = "text?" }),
  lua = { "PersonChat:survey" },
  perform = function(chat, input) return one_message(chat:survey(input, { reply_to = input.reply_to })) end,
})

of_chat("edit_survey", {
  fields = with(SURVEY, { message_id = "text" }),
  lua = { "PersonChat:edit_survey" },
  perform = function(chat, input) return one_message(chat:edit_survey(input.message_id, input)) end,
})

of_person("read", {
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
    return messages_json(list)
  end,
})

of_chat("mark_read", {
  fields = { message_id = "text?" },
  lua = { "PersonChat:mark_read" },
  perform = function(chat, input) return { marked = chat:mark_read(input.message_id) } end,
})

of_person("message", {
  http = "GET message",
  fields = { message_id = "text" },
  lua = { "Person:message" },
  perform = function(person, input) return one_message(person:message(input.message_id)) end,
})

of_person("read_by", {
  http = "GET read_by",
  fields = { message_id = "text", login = "text", timeout = "wait?" },
  lua = { "SeenMessage:is_read_by", "SeenMessage:wait_read_by" },
  perform = function(person, input, control)
    local account, wrong = account_of(control.bridge, "login", input.login)
    if not account then return nil, wrong end
    local message, err = person:message(input.message_id)
    if not message then return nil, err end
    if (input.timeout or 0) > 0 then message:wait_read_by(account.login, input.timeout) end
    return { read = message:is_read_by(account.login) }
  end,
})

of_person("click", {
  fields = { message_id = "text", button = "text" },
  lua = { "Person:click" },
  perform = function(person, input)
    local ok, err = person:click(input.message_id, input.button)
    if not ok then return nil, err end
    return { clicked = true }
  end,
})

-- Files -----------------------------------------------------------------------------------------

-- The bytes that came, or the file that they were saved in, and the name that they go by.
local function source_of(input, file)
  local name = input.name or file and file.name
  if not name or name == "" then return nil, refusal("name", "text that is not empty", "nothing") end
  if file then return { path = file.path }, name, input.type or file.type end
  if not input.data then return nil, refusal("data", "the file in base64, or a body of bytes", "nothing") end
  local bytes = base64.decode(input.data)
  if not bytes then return nil, refusal("data", "base64", "something else") end
  return bytes, name, input.type
end

of_chat("send_file", {
  fields = {
    name = "text?", data = "string?", type = "text?", caption = "text?", reply_to = "text?",
  },
  takes_file = true,
  lua = { "PersonChat:send_file" },
  perform = function(chat, input, _, more)
    local source, name, kind = source_of(input, more.file)
    if not source then return nil, name end
    local opts = { type = kind, caption = input.caption, reply_to = input.reply_to }
    return one_message(chat:send_file(name, source, opts))
  end,
})

of_chat("avatar", {
  fields = { name = "text?", data = "string?", type = "text?" },
  takes_file = true,
  lua = { "PersonChat:set_avatar" },
  perform = function(chat, input, _, more)
    local source, name, kind = source_of(input, more.file)
    if not source then return nil, name end
    return done(chat:set_avatar(name, source, { type = kind }))
  end,
})

local function file_of(person, input)
  local message, err = person:message(input.message_id)
  if not message then return nil, err end
  local file = message:file_info()
  if not file then return nil, refusal("message_id", "a message with a file", "one without") end
  return file, message
end

of_person("file", {
  http = "GET file",
  fields = { message_id = "text" },
  lua = { "SeenMessage:file_info" },
  perform = file_of,
})

-- The answer over HTTP is the file itself, over a WebSocket its bytes in base64.
of_person("download", {
  http = "GET download",
  fields = { message_id = "text" },
  lua = { "SeenMessage:file" },
  perform = function(person, input, control)
    local file, message = file_of(person, input)
    if not file then return nil, message end
    if not file.ready then return nil, core.error("TIMEOUT", "the file is still on its way") end
    return { serve = control.bridge.files:path(file.file_id), file = file }
  end,
})

-- Faults, state, events ---------------------------------------------------------------------------

local function faults_answer(bridge)
  return { faults = bridge.faults, struck = bridge.mischief.struck }
end

define("faults", {
  lua = { "Server:fault" },
  perform = function(control, input)
    local wrong = faults.complaint(input)
    if wrong then return nil, wrong end
    control.bridge:fault(input)
    return faults_answer(control.bridge)
  end,
})

define("clear_faults", {
  http = "DELETE faults",
  fields = {},
  lua = { "Server:fault" },
  perform = function(control)
    control.bridge:fault()
    return faults_answer(control.bridge)
  end,
})

local function account_state(bridge, account)
  local state = account_json(account)
  state.connections, state.unread = bridge:connections(account.login), #bridge:unread(account.login)
  return state
end

define("state", {
  http = "GET state",
  fields = {},
  lua = { "Server:connections", "Server:url", "Server:port" },
  perform = function(control)
    local bridge, list = control.bridge, json.array()
    for place, account in ipairs(bridge.store:account_list()) do list[place] = account_state(bridge, account) end
    local state = faults_answer(bridge)
    state.url, state.version, state.server_name = bridge:url(), bridge.options.version, bridge.store.server_name
    state.accounts, state.connections, state.upload_limits = list, bridge:connections(), bridge:upload_limits()
    return state
  end,
})

of_person("events", {
  http = "GET events",
  fields = { timeout = "wait?" },
  lua = { "Person:events", "Person:on_event" },
  perform = function(person, input, control)
    local events, dropped = control:events(person, input.timeout or DEFAULT_WAIT)
    local list = json.array()
    for place, event in ipairs(events) do list[place] = { method = event.method, payload = event.payload } end
    return { events = list, dropped = dropped }
  end,
})

-- Over a WebSocket alone: control/socket.lua carries it out.
acts.watch = {
  fields = { people = "texts?", frames = "boolean?", connections = "boolean?", faults = "boolean?" },
  lua = { "Server:watch", "Person:on_message" },
  perform = function(control, input, more)
    for _, login in ipairs(input.people or {}) do
      local account, wrong = account_of(control.bridge, "people", login)
      if not account then return nil, wrong end
    end
    return more.client:watch(input)
  end,
}

return acts
