-- SPDX-License-Identifier: MIT
-- Writes docs/conversations.md: for each method of the schema a conversation between a bot and a Bridge, played here
-- and recorded. The scripts are in conversations/scripts/. Fails if a method has no conversation, or one without a
-- request, an error or the notification of its name.
--
--   lua5.4 tools/conversations.lua [FILE]     default: docs/conversations.md
package.path = (arg[0]:match "^.*/" or "") .. "?.lua;" .. package.path

local protocol = require "trueconf.protocol"
local layout = require "conversations.layout"
local stages = require "conversations.stage"

local SUBJECTS = { "connection", "messages", "chats", "participants", "files", "surveys" }

---@class conversations.Conversation
---@field title string? of a conversation that is about no method
---@field text string? introduction
---@field bridge table? options of the Bridge
---@field bot table? options of the bot
---@field offline boolean? the bot is not started
---@field before conversations.Step[]? preparation; only the script is shown
---@field [integer] conversations.Step steps; the last one of a method ends with an error

local out = {}

local function write(text, ...)
  out[#out + 1] = select("#", ...) > 0 and text:format(...) or text
end

local function write_block(language, text)
  write("```%s\n%s\n```\n", language, text)
end

-- Recorded frames ---------------------------------------------------------------------------

-- The sections that show a request of a method, an error of a method, or a notification, by name. The section of a
-- method of this name takes precedence.
local asked, refused, told = {}, {}, {}
local section

local function remember(seen, name)
  if name == section or not seen[name] then seen[name] = section end
end

local LABELS = {
  out = { "→ request", "→ ack" },
  ["in"] = { "← notification", "← response" },
}

local function frame_text(record)
  local kind = tonumber(record.text:match '"type":%s*(%d)')
  local seen = record.direction == "in" and told or asked
  if kind == protocol.enums.FrameType.REQUEST then remember(seen, record.text:match '"method":%s*"([^"]*)"') end
  return ("// %s\n%s"):format(LABELS[record.direction][kind], layout.json(record.text, true))
end

-- Frames that follow each other are one block.
local function write_records(records, only)
  local blocks = {}
  for _, record in ipairs(records) do
    local last, is_frame = blocks[#blocks], record.kind == "frame"
    local text = (not only or record.kind == only) and (is_frame and frame_text(record) or record.text)
    if text and is_frame and last and last.language == "jsonc" then
      last.text = last.text .. "\n" .. text
    elseif text then
      blocks[#blocks + 1] = { language = is_frame and "jsonc" or "http", text = text }
    end
  end
  for _, block in ipairs(blocks) do write_block(block.language, block.text) end
end

-- Lua values --------------------------------------------------------------------------------

-- A click also holds the objects it was read from; these are the useful fields.
local SHOWN_OF = { command = { "command", "custom_data", "button_id", "chat_id", "message", "command_id" } }

local function write_results(stage, step, result, err, events)
  local lines = {}
  local function show(name, value, fields)
    lines[#lines + 1] = layout.assignment(name, value, fields, function(text) return stage:clean(text) end)
  end
  if step.as and step.lua then show(step.as, result) end
  if err then show("err", err) end
  for _, event in ipairs(step.only ~= "http" and events or {}) do
    lines[#lines + 1] = ("-- bot:on(%q, function(%s) ... end)"):format(event.name, event.variable)
    show(event.variable, event.value, SHOWN_OF[event.name])
  end
  if lines[1] then write_block("lua", table.concat(lines, "\n")) end
end

local function code_of(step)
  if not step.as then return step.lua end
  return ("local %s%s = %s"):format(step.as, step.fails and ", err" or "", step.lua)
end

-- Conversations -----------------------------------------------------------------------------

local function write_before(stage, steps)
  local lines = {}
  for _, step in ipairs(steps) do
    stage:perform(step)
    stage:take()
    if step[1] then lines[#lines + 1] = "-- " .. step[1] end
    if step.lua then lines[#lines + 1] = code_of(step) end
  end
  if lines[1] then write("Before:\n") write_block("lua", table.concat(lines, "\n")) end
end

local function write_step(stage, step)
  if step[1] then write("%s\n", step[1]) end
  if step.lua then write_block("lua", code_of(step)) end
  local result, err = stage:perform(step)
  local happened, events = stage:take()
  write_records(happened, step.only)
  write_results(stage, step, result, err, events)
  if err and err.method then remember(refused, err.method) end
end

---@param name string
---@param conversation conversations.Conversation
local function write_conversation(name, conversation)
  section = name
  if conversation.text then write("%s\n", conversation.text) end
  local stage = stages.open(name, conversation)
  write_before(stage, conversation.before or {})
  for _, step in ipairs(conversation) do write_step(stage, step) end
  stage:close()
end

local function must_show(seen, name, what)
  if seen[name] ~= name then error(("the conversation for %s does not show %s"):format(name, what), 0) end
end

local function write_method(name, conversation)
  local method = protocol.methods[name]
  write("## %s\n", name)
  write("%s Fields and errors: [%s](protocol.md#%s).\n", method.doc, name, name:lower())
  write_conversation(name, conversation)
  must_show(asked, name, "a request of it")
  if not method.before_auth then must_show(refused, name, "an error of it") end
  if protocol.notifications[name] then must_show(told, name, "the notification of this name") end
end

-- The page ----------------------------------------------------------------------------------

local function load_scripts()
  local scripts = {}
  for _, subject in ipairs(SUBJECTS) do
    for name, conversation in pairs(require("conversations.scripts." .. subject)) do
      assert(not scripts[name], name .. " has two conversations")
      scripts[name] = conversation
    end
  end
  return scripts
end

local function take(scripts, name)
  local conversation = scripts[name] or error("there is no conversation for " .. name, 0)
  scripts[name] = nil
  return conversation
end

local function write_page(scripts)
  for _, name in ipairs { "tokens", "version" } do
    local conversation = take(scripts, name)
    write("## %s\n", conversation.title)
    write_conversation(name, conversation)
  end
  for _, name in ipairs(protocol.method_order) do write_method(name, take(scripts, name)) end
  assert(not next(scripts), "no method is called " .. tostring(next(scripts)))
end

-- The head of the page, known only when the rest is.
local function write_contents()
  local methods, notifications = {}, {}
  for place, name in ipairs(protocol.method_order) do methods[place] = ("[%s](#%s)"):format(name, name:lower()) end
  for place, name in ipairs(protocol.notification_order) do
    local where = told[name] or error("no conversation shows the notification " .. name, 0)
    notifications[place] = ("[%s](#%s)"):format(name, where:lower())
  end
  write "Over HTTP: [tokens](#tokens), [the version of the server](#the-version-of-the-server); [uploads](#uploadfile),"
  write "[downloads](#getfileinfo).\n"
  write("Methods: %s.\n", table.concat(methods, ", "))
  write("Notifications, each where a method causes it: %s.\n", table.concat(notifications, ", "))
end

write_page(load_scripts())
local body = out
out = {}
write [[
# Conversations

Generated by `make doc`: the recorded frames between a bot and a Bridge, in their order, for authors of clients in any
language. The meaning of the fields is in [protocol](protocol.md).

- `→` goes to the server, `←` comes from it. Either side numbers its own requests. Each notification, a request of the
  server, gets an ack.
- A connection begins with a [token](#tokens) over HTTP, a WebSocket at `/websocket/chat_bot/` with the subprotocol
  `json.v1`, and [auth](#auth) on it; in the sections after that one this has been done.
- One frame is one text message. JSON is laid out with ordered keys for reading; on the wire neither matters. `***`
  stands for a secret. Only HTTP headers with a meaning are shown.
- Lua shows the code of a script and its results; a variable that is shown again holds the result of the call.
- Frames of the steps under "Before" are not shown, but count in the numbers of requests.
- The bot is `herald`, the people are `mira` and `john`, the server is `chat.acme.test`, of version 5.5.6.
]]
write_contents()
table.move(body, 1, #body, #out + 1, out)

local file <close> = assert(io.open(arg[1] or "docs/conversations.md", "w"))
assert(file:write((table.concat(out, "\n"):gsub("\n\n\n+", "\n\n"):gsub("\n*$", "\n"))))
