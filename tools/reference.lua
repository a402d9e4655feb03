-- SPDX-License-Identifier: MIT
-- Writes docs/reference.md from the doc comments of the public Lua files. Fails if something public has none.
local trueconf = require "trueconf"
local client = require "trueconf.client"
local core = require "trueconf.core"
local events = require "trueconf.api.events"
local protocol = require "trueconf.protocol"

-- Reading doc comments ----------------------------------------------------------------------

---Split a text into the type it begins with and the rest. A type may hold spaces inside brackets, and after a
---comma or a colon.
local function take_type(text)
  local depth, quoted = 0, false
  for place = 1, #text do
    local sign = text:sub(place, place)
    if sign == '"' then quoted = not quoted end
    if not quoted and sign:find "[%(<{]" then depth = depth + 1 end
    if not quoted and sign:find "[%)>}]" then depth = depth - 1 end
    if sign == " " and depth == 0 and not quoted and not text:sub(place - 1, place - 1):find "[,:]" then
      return text:sub(1, place - 1), text:sub(place + 1)
    end
  end
  return text, ""
end

local function named(text)
  local name, rest = text:match "^(%S+)%s*(.*)$"
  local kind, meaning = take_type(rest)
  return { name = name:gsub("%?$", ""), optional = name:find "%?$" ~= nil, kind = kind, meaning = meaning }
end

local readers = {}
function readers.param(block, text) table.insert(block.params, named(text)) end

function readers.field(block, text)
  if not text:find "^private " then table.insert(block.fields, named(text)) end
end

readers["return"] = function(block, text)
  local kind, rest = take_type(text)
  local name, meaning = rest:match "^(%S+)%s*(.*)$"
  table.insert(block.returns, { kind = kind, name = name, meaning = meaning or "" })
end

function readers.class(block, text)
  block.class, block.summary = text:gsub("^%(exact%) ", ""):match "^([^%s:]+):?%s*(.*)$"
end

function readers.async(block) block.async = true end

function readers.private(block) block.private = true end

-- A comment's lines, with each tag's further lines joined to it.
local function statements(lines)
  local out = {}
  for _, line in ipairs(lines) do
    if line:find "^@" or not out[1] or not out[#out]:find "^@" then
      out[#out + 1] = line
    else
      out[#out] = out[#out] .. " " .. line
    end
  end
  return out
end

-- Removes references to sections of the protocol, which are for contributors.
local function without_protocol(text)
  return (text:gsub(" %(protocol[^)]*%)", ""))
end

local function read_block(lines)
  local block = { params = {}, fields = {}, returns = {}, text = {} }
  for _, statement in ipairs(statements(lines)) do
    statement = without_protocol(statement)
    local tag, rest = statement:match "^@([%w]+)%s*(.*)$"
    if not tag then
      table.insert(block.text, statement)
    elseif readers[tag] then
      readers[tag](block, rest)
    end
  end
  block.text = table.concat(block.text, " ")
  return block
end

-- The functions, classes and constants of a file that have a doc comment, by name, and the names in order.
local function read_file(path)
  local found, order, lines = {}, {}, {}
  for line in io.lines(path) do
    local comment = line:match "^%-%-%-(.*)$"
    if comment then
      lines[#lines + 1] = comment
    elseif lines[1] then
      local block = read_block(lines)
      local name = block.class or line:match "^function ([%w_.:]+)" or line:match "^local function ([%w_]+)"
        or line:match "^(%l[%w_]*%.[%w_]+) = "
      block.is_constant = not block.class and line:find "=" ~= nil
      if name then found[name], order[#order + 1] = block, name end
      lines = {}
    end
  end
  return found, order
end

-- Writing ------------------------------------------------------------------------------------

local out = {}
local function write(text, ...)
  out[#out + 1] = select("#", ...) > 0 and text:format(...) or text
end

local function cell(text)
  return (text:gsub("|", "\\|"))
end

local function described(kind, meaning)
  return ("`%s`%s"):format(kind, meaning ~= "" and ", " .. meaning or "")
end

local function write_params(params)
  for _, param in ipairs(params) do
    write("- `%s`: %s%s", param.name, param.optional and "optional, " or "", described(param.kind, param.meaning))
  end
end

local function write_returns(returns)
  local fails = returns[2] and returns[2].kind == "trueconf.Error?"
  for place, value in ipairs(returns) do
    if place == 2 and fails then
      write("- or returns `nil` and a `trueconf.Error`%s", value.meaning ~= "" and ": " .. value.meaning or "")
    else
      local kind = fails and value.kind:gsub("%?$", "") or value.kind
      local name = value.name and ("`%s`, "):format(value.name) or ""
      write("- %s %s%s", place == 1 and "returns" or "and", name, described(kind, value.meaning))
    end
  end
end

-- A function under the name by which users call it.
local function write_function(call, block)
  local names = {}
  for place, param in ipairs(block.params) do names[place] = param.name .. (param.optional and "?" or "") end
  write("### `%s(%s)`\n", call, table.concat(names, ", "))
  local text = block.text .. (block.async and (block.text ~= "" and " " or "") .. "*Waits.*" or "")
  if text ~= "" then write("%s\n", text) end
  write_params(block.params)
  write_returns(block.returns)
  if block.params[1] or block.returns[1] then write "" end
end

local function field_type(field)
  if not field.optional then return field.kind end
  return field.kind:find("|", 1, true) and ("(%s)?"):format(field.kind) or field.kind .. "?"
end

local function write_fields(fields)
  write "| name | type | meaning |\n|---|---|---|"
  for _, field in ipairs(fields) do
    write("| `%s` | `%s` | %s |", field.name, cell(field_type(field)), cell(field.meaning))
  end
  write ""
end

local function write_class(title, block)
  write("### %s\n", title)
  if block.text ~= "" then write("%s\n", block.text) end
  write_fields(block.fields)
end

-- All documented methods of a class, except those that are for the other files of the module.
local function write_methods(path, class, call, hidden)
  local found, order = read_file(path)
  hidden = " " .. (hidden or "") .. " "
  for _, name in ipairs(order) do
    local method = name:match("^" .. class .. "[.:]([%w_]+)$")
    if method and not found[name].private and not hidden:find(" " .. method .. " ", 1, true) then
      write_function(call .. ":" .. method, found[name])
    end
  end
end

-- The page -----------------------------------------------------------------------------------

local LUA = "lua/trueconf/"
local meta = read_file(LUA .. "meta/core.lua")

local function write_module()
  write [[
## trueconf

`local trueconf = require "trueconf"`
]]
  local own, order = read_file(LUA .. "init.lua")
  for _, name in ipairs(order) do write_function(name, own[name]) end
  local names = {}
  for name, value in pairs(trueconf) do
    if type(value) == "function" and not own["trueconf." .. name] then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local block = assert(meta["core." .. name], "no doc comment for trueconf." .. name)
    block.text = block.text:gsub("the handler of core%.on_error", "the log"):gsub("core%.", "trueconf.")
    write_function("trueconf." .. name, block)
  end
  for _, method in ipairs { "Waiter:wait", "Waiter:wake", "Timer:cancel", "Signal:close" } do
    local call = method:gsub("^%u", string.lower)
    write_function(call, meta[method] or { params = {}, returns = {}, text = "End it." })
  end
end

-- Options the session takes under the same name are described at the session.
local function client_options(block)
  local fields, known = block.fields, {}
  for _, field in ipairs(fields) do known[field.name] = true end
  for _, field in ipairs(meta["trueconf.core.SessionOptions"].fields) do
    if client.SCHEMA[field.name] and not known[field.name] then
      fields[#fields + 1], known[field.name] = field, true
    end
  end
  for name in pairs(client.SCHEMA) do assert(known[name], "no doc comment for the option " .. name) end
  return block
end

-- Where the page made from the schema tells of a notification or an object.
local function protocol_link(name)
  return ("[%s](protocol.md#%s)"):format(name, name:lower():gsub(" ", "-"))
end

local function write_events()
  local found = read_file(LUA .. "api/events.lua")
  write "### Events of `bot:on`\n\n| event | when | fields |\n|---|---|---|"
  for _, name in ipairs(protocol.notification_order) do
    local notification = protocol.notifications[name]
    write("| `%s` | %s | %s |", events.name_of(name), notification.doc, protocol_link(name .. " notification"))
  end
  write ""
  write_class("A click: the event `command`", found["trueconf.CommandEvent"])
end

-- Methods that the client makes from the schema; the others have a doc comment in client.lua.
local function write_schema_methods(by_hand)
  write [[
### Methods of the API

All methods of the server, with arguments by name, `bot:get_chat_history { chat_id = id, count = 20 }`, or by position,
`bot:get_chat_history(id, 20)`, with an optional table of further ones at the end. Every method takes `timeout`, in
seconds. A mistake in the script raises an error before anything is sent. A value that is too long or out of range
returns the error `LIMIT`, a method that is newer than the server `UNSUPPORTED`. An answer without content is returned
as `true`.

| call | | since | details |
|---|---|---|---|]]
  for _, name in ipairs(protocol.method_order) do
    local method = protocol.methods[name]
    if name ~= "auth" and not by_hand["Client:" .. method.lua_name] then
      write("| `bot:%s(%s)` | %s | %s | %s |", method.lua_name, table.concat(method.params, ", "), method.doc,
        method.since, protocol_link(name))
    end
  end
  write ""
end

local function write_sent()
  local path = LUA .. "api/sent_message.lua"
  write_class("The result of `send_message` and other sending methods", read_file(path)["trueconf.SentMessage"])
  write_methods(path, "SentMessage", "sent")
end

local function write_files()
  local upload, files = read_file(LUA .. "files/upload.lua"), read_file(LUA .. "files/init.lua")
  write "## Files\n\nMethods of bots and clients. Examples: [files](files.md).\n"
  write_methods(LUA .. "files/init.lua", "Client", "client")
  write_class("Options of `send_file`", upload["trueconf.SendFileOptions"])
  write_class("A preview", read_file(LUA .. "files/preview.lua")["trueconf.PreviewSource"])
  write_class("Options of `download`", read_file(LUA .. "files/download.lua")["trueconf.DownloadOptions"])
  write_methods(LUA .. "files/cancel_token.lua", "CancelToken", "cancel_token")
  write_class("The result of `download` with `path` or `sink`", files["trueconf.Downloaded"])
end

local function write_bots()
  local bot, messages = read_file(LUA .. "bot/init.lua"), read_file(LUA .. "bot/message.lua")
  local clients, outbox = read_file(LUA .. "client/init.lua"), read_file(LUA .. "bot/outbox.lua")
  write "## Options\n\nDurations are seconds, sizes bytes. An unknown option is an error.\n"
  write_class("The connection: `trueconf.bot` and `trueconf.client`",
    client_options(clients["trueconf.ClientOptions"]))
  write_class("Only `trueconf.bot`", bot["trueconf.BotOptions"])
  write_class("`tls`", meta["trueconf.core.TlsOptions"])
  write "## Bot\n\nA bot has the methods of a [client](#client), and:\n"
  write_methods(LUA .. "bot/init.lua", "Bot", "bot")
  write_methods(LUA .. "bot/engine.lua", "Engine", "bot")
  write_methods(LUA .. "bot/persistence.lua", "Persistence", "bot")
  write_class("Options of `post`", outbox["trueconf.PostOptions"])
  write_methods(LUA .. "bot/outbox.lua", "Posted", "posted")
  write_class("The result of `bot:outbox`", outbox["trueconf.OutboxState"])
  write_class("An entry of `bot:unsent`", outbox["trueconf.UnsentMessage"])
  write_class("An entry of `bot:dead_letters`", read_file(LUA .. "bot/dead_letters.lua")["trueconf.DeadLetter"])
  write_events()
  write "## Client\n\nA bot has all of these methods too, with a `stop` of its own.\n"
  write_methods(LUA .. "client/init.lua", "Client", "client")
  write_methods(LUA .. "api/pages.lua", "Client", "client")
  write_class("Options of `send_message`, `msg:answer` and `msg:reply`", clients["trueconf.SendOptions"])
  write_class("Options of `msg:edit` and `sent:edit`", clients["trueconf.EditOptions"])
  write_class("Options of `call`", clients["trueconf.CallOptions"])
  write_schema_methods(clients)
  write_sent()
  write_files()
  write "## Message\n\nThe first argument of a handler of `on_message`.\n"
  write_class("Fields", messages["trueconf.Message"])
  write_methods(LUA .. "bot/message.lua", "Message", "msg")
end

local function write_handlers()
  local path = LUA .. "bot/router.lua"
  local commands, arguments = read_file(LUA .. "bot/command/init.lua"), read_file(LUA .. "bot/command/arguments.lua")
  write "## Handlers\n\nMethods of bots and routers. Explained with examples: [handlers](handlers.md).\n"
  write_methods(path, "Router", "bot")
  write_class("The last argument of `on_command`", commands["trueconf.CommandSpec"])
  write_class("An argument", arguments["trueconf.Argument"])
  write_class("`msg.command`", commands["trueconf.Command"])
  write_class("A mistake, the argument of `on_usage`", arguments["trueconf.UsageMistake"])
  write_class("A call, the argument of `use_call`", read_file(LUA .. "client/init.lua")["trueconf.Call"])
end

local function write_dialogs()
  local path, questions = LUA .. "bot/dialog/init.lua", read_file(LUA .. "bot/dialog/question.lua")
  write "## Dialogs\n\n`local dialog = require \"trueconf.dialog\"` has functions for the running handler.\n"
  write "Examples of `msg:ask` and of chats: [dialogs](dialogs.md).\n"
  write_class("Options of `msg:ask` and `chat:ask`", questions["trueconf.AskOptions"])
  write_class("A choice", read_file(LUA .. "bot/dialog/choices.lua")["trueconf.Choice"])
  write_methods(LUA .. "bot/chat_handle.lua", "Chat", "chat")
  local handles = read_file(LUA .. "bot/chat_handle.lua")
  write_class("A chat: `msg.chat`, or `bot:chat(chat_id)`", handles["trueconf.ChatHandle"])
  write_class("Options of `chat:wait`", questions["trueconf.WaitOptions"])
  write_methods(path, "Dialogs", "bot")
  write_class("A waiting dialog, an entry of `bot:dialogs`", read_file(path)["trueconf.WaitingDialog"])
  write_methods(path, "WaitingDialog", "dialog")
  write_function("trueconf.dialog.leave", read_file(LUA .. "dialog.lua")["dialog.leave"])
end

local HIDDEN_FILTER_FUNCTIONS = " filter.author_of filter.finder filter.kind_of filter.is_callable "

local function write_filters()
  local found, order = read_file(LUA .. "filter.lua")
  write '## Filters\n\n`local filter = require "trueconf.filter"`; filters combine with `&`, `|` and `~`.\n'
  write "| filter | passes |\n|---|---|"
  for _, name in ipairs(order) do
    if found[name].is_constant then write("| `%s` | %s |", name, cell(found[name].text)) end
  end
  write ""
  for _, name in ipairs(order) do
    local shown = name:find "^filter%." and not HIDDEN_FILTER_FUNCTIONS:find(" " .. name .. " ", 1, true)
    if shown and not found[name].is_constant then write_function(name, found[name]) end
  end
end

local function write_middleware()
  local found, order = read_file(LUA .. "middleware.lua")
  write '## Middleware\n\n`local middleware = require "trueconf.middleware"`\n'
  for _, name in ipairs(order) do
    if name:find "^middleware%." then write_function(name, found[name]) end
  end
  write_class("Options of `middleware.allow`", found["trueconf.AllowOptions"])
  write_class("Options of `middleware.roles`", found["trueconf.RolesOptions"])
  write_class("Options of `middleware.rate_limit`", found["trueconf.RateOptions"])
end

local function write_texts()
  local found, order = read_file(LUA .. "text.lua")
  write "## Texts\n\n`trueconf.text`, or `local text = require \"trueconf.text\"`. Examples: [texts](text.md).\n"
  write_class("Builders: `text.html` and `text.markdown`", found["trueconf.TextBuilder"])
  for _, name in ipairs(order) do
    if name:find "^text%." then write_function(name, found[name]) end
  end
  write_class("Options of `text.split`", found["trueconf.SplitOptions"])
end

-- Objects that are options of bots, and that scripts can also make themselves.
local function write_stores_and_logs()
  local stores, logs = read_file(LUA .. "store.lua"), read_file(LUA .. "log.lua")
  write '## Stores\n\n`local store = require "trueconf.store"`; most bots need only the path in their option `store`.\n'
  write_function("store.open", stores.open)
  write_function("store.memory", stores.memory)
  write_methods(LUA .. "store.lua", "Memory", "store", "collection")
  write_methods(LUA .. "store.lua", "Store", "store")
  write '## Logs\n\n`local log = require "trueconf.log"`; `bot.log` is the logger of a bot.\n'
  write_function("log.new", logs.new)
  write_class("Options of `log.new`", logs["trueconf.LogOptions"])
  write_methods(LUA .. "log.lua", "Log", "log")
end

local function write_errors()
  local errors = read_file(LUA .. "base/error.lua")
  write [[
## Errors

Failures of the network, the server or the disk are returned as `nil, err`; a mistake in the script is raised with
`error()`. `tostring(err)` is for people; branch on `err.name` only. No error holds a secret.
]]
  write_class("Fields", errors["trueconf.Error"])
  write [[
### Names

`class` says what helps: a retry, a fresh token (auth), another request, a person (fatal), or nothing (done: nothing had
to be changed). `code` is the server's number.

| name | code | class | meaning |
|---|---|---|---|]]
  for _, entry in ipairs(core.error_table()) do
    write("| `%s` | %s | %s | %s |", entry.name, entry.code or "", entry.class, entry.meaning)
  end
  write ""
end

local INNER_SERVER_METHODS = "listen hold on_sent on_authorized tell_person upload_limits"

local function write_bridge()
  local settings = read_file(LUA .. "bridge/settings.lua")
  local people = read_file(LUA .. "bridge/person/init.lua")
  write '## Bridge\n\n`local bridge = require "trueconf.bridge"`\n'
  write_function("bridge.start", read_file(LUA .. "bridge/init.lua").start)
  write_class("Options", settings["trueconf.bridge.Options"])
  write_methods(LUA .. "bridge/server.lua", "Server", "server", INNER_SERVER_METHODS)
  write_class("Upload limits", read_file(LUA .. "bridge/files/limits.lua")["trueconf.bridge.UploadLimits"])
  write_class("Faults", read_file(LUA .. "bridge/faults.lua")["trueconf.bridge.Faults"])
  write "## People of a Bridge\n\n`server:person(login)` gives a person, `person:chat_with(login)` a chat.\n"
  write_methods(LUA .. "bridge/person/init.lua", "Person", "person", "notify note close mark_seen forget hand_over")
  write_methods(LUA .. "bridge/person/chat.lua", "PersonChat", "chat")
  write_class("An event", people["trueconf.bridge.Event"])
  local seen = read_file(LUA .. "bridge/person/message.lua")
  write_class("A message as people see it", seen["trueconf.bridge.PersonMessage"])
  write_methods(LUA .. "bridge/person/message.lua", "PersonMessage", "message")
end

local function write_testing()
  local kit, users = read_file(LUA .. "testing.lua"), read_file(LUA .. "testing/user.lua")
  local expect = LUA .. "testing/expect.lua"
  write '## Test kit\n\n`local testing = require "trueconf.testing"`. A tutorial: [testing](testing.md).\n'
  write_function("testing.start", kit.start)
  write_class("Options of `testing.start`", kit["trueconf.testing.Options"])
  write_methods(LUA .. "testing.lua", "Kit", "t", "bot_login")
  write "## People of a test\n\n`t:user(login)` gives one.\n"
  write_methods(LUA .. "testing/user.lua", "User", "user", "receive see next_unheard mark_heard newest")
  write_class("Options of people's acts", users["trueconf.testing.SayOptions"])
  write "## Expectations of a test\n\n`t:expect(user)` begins one.\n"
  write_methods(expect, "Expectation", "expectation")
  write_class("Options of expectations", read_file(expect)["trueconf.testing.ExpectOptions"])
  write_class("A heard message", users["trueconf.testing.Heard"])
end

local function write_durations()
  local path = LUA .. "duration.lua"
  local found, order = read_file(path)
  write '## Durations\n\n`trueconf.duration`, or `local duration = require "trueconf.duration"`.\n'
  for _, name in ipairs(order) do write_function(name, found[name]) end
end

write [[
# Reference

Generated by `make doc` from the doc comments of the Lua files. A function marked *Waits* suspends the coroutine that
calls it, never the process; outside a coroutine it runs the event loop until it is done.
]]
write_module()
write_bots()
write_handlers()
write_dialogs()
write_filters()
write_middleware()
write_texts()
write_durations()
write_stores_and_logs()
write_errors()
write_bridge()
write_testing()

local file <close> = assert(io.open("docs/reference.md", "w"))
assert(file:write((table.concat(out, "\n"):gsub("\n\n\n+", "\n\n"):gsub("\n*$", "\n"))))
