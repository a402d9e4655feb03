-- SPDX-License-Identifier: MIT
-- The control endpoint of a Bridge: people and faults over HTTP and JSON, under /control/, for whoever is on
-- the same machine and has the key. It calls what a Lua program calls and knows no rules of its own.

local core = require "trueconf.core"
local json = require "trueconf.json"
local accounts = require "trueconf.bridge.accounts"
local faults = require "trueconf.bridge.faults"

local PREFIX = "/control/"
local MAX_WAIT = 60                     -- seconds of a long poll
local DEFAULT_WAIT = 20
local PARSE_MODES = { text = true, markdown = true, html = true }

---@class trueconf.bridge.Refusal what is wrong with a field
---@field field string
---@field expected string
---@field got string

---@class trueconf.bridge.Control
---@field key string
---@field private bridge trueconf.bridge.Server
---@field private polls table<trueconf.bridge.Person, table<trueconf.core.Waiter, true>> those who wait for events
local Control = {}
Control.__index = Control

---@param bridge trueconf.bridge.Server
---@param key string|true true: one is made
---@return trueconf.bridge.Control
local function new(bridge, key)
  if key == true then key = core.base64url_encode(core.random(24)) end
  return setmetatable({ bridge = bridge, key = key, polls = {} }, Control)
end

-- Fields -----------------------------------------------------------------------------------

local function refusal(field, expected, got)
  return { field = field, expected = expected, got = got }
end

local function is_text(value)
  return type(value) == "string" and value ~= "" and utf8.len(value) ~= nil
end

local function is_wait(value)
  return type(value) == "number" and value >= 0 and value <= MAX_WAIT
end

local KINDS = {
  text = { expected = "text that is not empty", fits = is_text },
  string = { expected = "text", fits = function(value) return type(value) == "string" end },
  boolean = { expected = "true or false", fits = function(value) return type(value) == "boolean" end },
  parse_mode = { expected = "one of text, markdown, html", fits = function(value) return PARSE_MODES[value] end },
  wait = { expected = ("seconds from 0 to %d"):format(MAX_WAIT), fits = is_wait },
}

-- What came, as far as it may be shown: a field may hold a password.
local function shown(value)
  if value == nil then return "nothing" end
  if value == "" then return "an empty string" end
  if type(value) == "number" then return tostring(value) end
  return type(value) == "table" and "an object or array" or "a " .. type(value)
end

local function sorted_names(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- The first field that is wrong, by name. A "?" behind a kind means that the field may be missing.
local function wrong_field(body, fields)
  for _, name in ipairs(sorted_names(body)) do
    if not fields[name] then
      return refusal(name, "one of " .. table.concat(sorted_names(fields), ", "), "an unknown field")
    end
  end
  for _, name in ipairs(sorted_names(fields)) do
    local kind, optional = fields[name]:match "^([%w_]+)(%??)$"
    local value = body[name]
    if not (value == nil and optional == "?") and not KINDS[kind].fits(value) then
      return refusal(name, KINDS[kind].expected, shown(value))
    end
  end
end

-- Whom and what a request is about ------------------------------------------------------------

local function login_refusal(field, login)
  return refusal(field, "the login of an account", ("'%s'"):format(login:sub(1, 64)))
end

local function person_of(bridge, login)
  if not bridge.accounts:by_login(login) then return nil, login_refusal("person", login) end
  return bridge:person(login)
end

-- The personal chat with `with`, or the chat `chat_id`.
local function chat_of(bridge, body)
  local person, wrong = person_of(bridge, body.person)
  if not person then return nil, wrong end
  if (body.chat_id == nil) == (body.with == nil) then
    return nil, refusal("chat_id", "either chat_id or with", body.with and "both" or "neither")
  end
  if body.chat_id then return person:chat(body.chat_id) end
  local other = bridge.accounts:by_login(body.with)
  if not other then return nil, login_refusal("with", body.with) end
  if other.key == person.key then return nil, refusal("with", "somebody else", "the person") end
  return person:chat_with(body.with)
end

local function message_json(message)
  return {
    message_id = message.id, chat_id = message.chat_id, author = message.author, type = message.type,
    text = message.text, parse_mode = message.parse_mode, content = message.content, buttons = message.buttons,
    edited = message.edited, timestamp = message.timestamp, reply_to = message.reply_to, from_me = message.from_me,
  }
end

local function answer_message(message, err)
  if not message then return nil, err end
  return message_json(message)
end

-- Acts: each returns the answer, or nil and a refusal or an error ------------------------------

local acts = {}

acts["POST accounts"] = {
  fields = { login = "text", password = "text?", display_name = "text?", disabled = "boolean?" },
  perform = function(control, body)
    local spec = { password = body.password, display_name = body.display_name, disabled = body.disabled }
    local wrong = accounts.complaint(body.login, spec)
    if wrong then
      local field = wrong:match "^(%w+)"
      local expected = wrong:match "must be (.-),? got" or wrong:match "must be (.*)$"
      local got = field == "login" and ("'%s'"):format(body.login:sub(1, 64)) or "one that will not do"
      return nil, refusal(field, expected or "an account", got)
    end
    control.bridge:add_account(body.login, spec)
    local account = control.bridge.accounts:by_login(body.login)
    return { login = account.login, id = account.id, display_name = account.display_name, disabled = account.disabled }
  end,
}

-- Which kind of chat is to be opened.
local function wanted_chat(body)
  local found
  for _, name in ipairs { "with", "group", "channel" } do
    if body[name] then
      if found then return nil end
      found = name
    end
  end
  return found
end

acts["POST chats"] = {
  fields = { person = "text", with = "text?", group = "text?", channel = "text?" },
  perform = function(control, body)
    local wanted = wanted_chat(body)
    if not wanted then return nil, refusal("with", "one of with, group, channel", "none or several of them") end
    local chat, wrong
    if wanted == "with" then
      chat, wrong = chat_of(control.bridge, body)
    else
      local person
      person, wrong = person_of(control.bridge, body.person)
      chat = person and (body.group and person:create_group(body.group) or person:create_channel(body.channel))
    end
    if not chat then return nil, wrong end
    return { chat_id = chat.id }
  end,
}

acts["POST say"] = {
  fields = {
    person = "text", chat_id = "text?", with = "text?", text = "text", parse_mode = "parse_mode?", reply_to = "text?",
  },
  perform = function(control, body)
    local chat, wrong = chat_of(control.bridge, body)
    if not chat then return nil, wrong end
    return answer_message(chat:say(body.text, { parse_mode = body.parse_mode, reply_to = body.reply_to }))
  end,
}

acts["POST edit"] = {
  fields = {
    person = "text", chat_id = "text?", with = "text?", message_id = "text", text = "text", parse_mode = "parse_mode?",
  },
  perform = function(control, body)
    local chat, wrong = chat_of(control.bridge, body)
    if not chat then return nil, wrong end
    return answer_message(chat:edit(body.message_id, body.text, { parse_mode = body.parse_mode }))
  end,
}

acts["POST read"] = {
  fields = { person = "text", timeout = "wait?" },
  perform = function(control, body)
    local person, wrong = person_of(control.bridge, body.person)
    if not person then return nil, wrong end
    local list = json.array()
    local message, err = person:wait_message(body.timeout or 0)
    while message do
      list[#list + 1] = message_json(message)
      message, err = person:wait_message(0)
    end
    if not list[1] and err.name ~= "TIMEOUT" then return nil, err end
    return { messages = list }
  end,
}

acts["POST click"] = {
  fields = { person = "text", message_id = "text", button = "text" },
  perform = function(control, body)
    local person, wrong = person_of(control.bridge, body.person)
    if not person then return nil, wrong end
    local ok, err = person:click(body.message_id, body.button)
    if not ok then return nil, err end
    return { clicked = true }
  end,
}

local function faults_answer(bridge)
  return { faults = bridge.faults, struck = bridge.mischief.struck }
end

acts["POST faults"] = {
  perform = function(control, body)
    local wrong = faults.complaint(body)
    if wrong then return nil, wrong end
    control.bridge:fault(body)
    return faults_answer(control.bridge)
  end,
}

acts["DELETE faults"] = {
  fields = {},
  perform = function(control)
    control.bridge:fault()
    return faults_answer(control.bridge)
  end,
}

local function account_state(bridge, account)
  return {
    login = account.login, id = account.id, display_name = account.display_name, disabled = account.disabled,
    connections = bridge:connections(account.login), unread = #bridge:unread(account.login),
  }
end

acts["GET state"] = {
  fields = {},
  perform = function(control)
    local bridge, list = control.bridge, json.array()
    for place, account in ipairs(bridge.store:account_list()) do list[place] = account_state(bridge, account) end
    local state = faults_answer(bridge)
    state.url, state.version, state.server_name = bridge:url(), bridge.options.version, bridge.store.server_name
    state.accounts, state.connections = list, bridge:connections()
    return state
  end,
}

acts["GET events"] = {
  fields = { person = "text", timeout = "wait?" },
  perform = function(control, query)
    local person, wrong = person_of(control.bridge, query.person)
    if not person then return nil, wrong end
    local events = control:events(person, query.timeout or DEFAULT_WAIT)
    local list = json.array()
    for place, event in ipairs(events) do list[place] = { method = event.method, payload = event.payload } end
    return { events = list }
  end,
}

-- Long polls ---------------------------------------------------------------------------------

local function wake_all(waiters)
  for waiter in pairs(waiters) do waiter:wake(true) end
end

-- Those who wait for events of a person; it is watched from the first of them on.
function Control:polls_of(person)
  local waiters = self.polls[person]
  if not waiters then
    waiters = {}
    self.polls[person] = waiters
    person:on_event(function() wake_all(waiters) end)
  end
  return waiters
end

---What a person was told since the last call; waits until there is something.
---@async
---@param person trueconf.bridge.Person
---@param timeout number
---@return trueconf.bridge.Event[]
function Control:events(person, timeout)
  local events = person:events()
  if events[1] or timeout == 0 then return events end
  local waiters, waiter = self:polls_of(person), core.waiter()
  waiters[waiter] = true
  waiter:wait(timeout)
  waiters[waiter] = nil
  return person:events()
end

---Let those go who wait for events.
function Control:close()
  for _, waiters in pairs(self.polls) do wake_all(waiters) end
end

-- Requests -----------------------------------------------------------------------------------

local function respond(request, status, body, more)
  local headers = { ["Content-Type"] = "application/json", ["Cache-Control"] = "no-store" }
  for name, value in pairs(more or {}) do headers[name] = value end
  request:respond(status, headers, assert(json.encode(body)))
end

local function refuse(request, status, name, message, more)
  respond(request, status, { error = name, message = message }, more)
end

local function respond_refusal(request, wrong)
  if not wrong.field then                       -- an error of the API
    local status = wrong.name == "CLOSED" and 503 or 409
    return respond(request, status, { error = wrong.name, code = wrong.code, message = wrong.message })
  end
  respond(request, 400, {
    error = "INVALID", field = wrong.field, expected = wrong.expected, got = wrong.got,
    message = ("%s: expected %s, got %s"):format(wrong.field, wrong.expected, wrong.got),
  })
end

---Whether an address is one of this machine's own.
---@param peer string
---@return boolean
local function is_loopback(peer)
  local address = peer:lower():gsub("^::ffff:", "")
  return address == "::1" or address:find "^127%.%d+%.%d+%.%d+$" ~= nil
end

function Control:is_allowed(request)
  local given = (request.headers.authorization or ""):match "^[Bb]earer +(.*)$"
  return given ~= nil and core.equal(given, self.key)
end

-- The fields of a request, or nil and what is wrong.
local function input_of(request, act)
  local input
  if request.method == "POST" then
    input = json.decode(request.body)
    if type(input) ~= "table" or json.is_array(input) then
      return nil, refusal("body", "a JSON object", request.body == "" and "nothing" or "something else")
    end
  else
    input = {}
    for name, value in pairs(request.query) do input[name] = name == "timeout" and tonumber(value) or value end
  end
  local wrong = act.fields and wrong_field(input, act.fields)
  if wrong then return nil, wrong end
  return input
end

function Control:perform(request, act)
  local input, wrong = input_of(request, act)
  if not input then return respond_refusal(request, wrong) end
  local result
  result, wrong = act.perform(self, input)
  if not result then return respond_refusal(request, wrong) end
  respond(request, 200, result)
end

local function allowed_methods(name)
  local allowed = {}
  for _, method in ipairs { "DELETE", "GET", "POST" } do
    if acts[method .. " " .. name] then allowed[#allowed + 1] = method end
  end
  return allowed[1] and table.concat(allowed, ", ")
end

function Control:route(request)
  local name = request.path:sub(#PREFIX + 1)
  local act = acts[request.method .. " " .. name]
  if not act then
    local allowed = allowed_methods(name)
    if not allowed then return refuse(request, 404, "NOT_FOUND", "there is nothing under this path") end
    return refuse(request, 405, "METHOD_NOT_ALLOWED", "expected " .. allowed, { Allow = allowed })
  end
  local ok, err = xpcall(self.perform, debug.traceback, self, request, act)
  if ok then return end
  self.bridge.log:error("bridge: control: %s", err)
  refuse(request, 500, "INTERNAL_ERROR", "the Bridge has made a mistake; its log says which")
end

---Whether a path is one of the control endpoint.
---@param path string
---@return boolean
local function is_path(path)
  return path:sub(1, #PREFIX) == PREFIX
end

---Answer a request, of this machine and with the key alone.
---@async
---@param request trueconf.core.Request
function Control:handle(request)
  if not is_loopback(request.peer) then
    return refuse(request, 403, "FORBIDDEN", "only programs on the same machine are answered")
  end
  if not self:is_allowed(request) then
    return refuse(request, 401, "UNAUTHORIZED", "expected the key in Authorization: Bearer",
      { ["WWW-Authenticate"] = "Bearer" })
  end
  self:route(request)
end

return { new = new, is_path = is_path, is_loopback = is_loopback, acts = acts }
