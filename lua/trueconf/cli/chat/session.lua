-- SPDX-License-Identifier: MIT
-- The chat of a person at `trueconf chat`: typed lines become acts at the Bridge, and messages of others are shown in
-- the order in which they come. You can play several people; one of them types, all of them see.

local core = require "trueconf.core"
local fifo = require "trueconf.base.fifo"
local lru = require "trueconf.base.lru"
local plain = require "trueconf.text.plain"
local terminal = require "trueconf.cli.terminal"

local MOST_EVENTS = 1000                -- waiting to be shown
local MOST_SEEN = 2000                  -- ids of shown messages that are kept; at least the newest half of them
local QUIET = 0.2                       -- seconds without a message, after which the next line of a script is read

---@class trueconf.cli.ChatSession
---@field control trueconf.cli.Control
---@field console trueconf.cli.Console
---@field person string? login of the person who types
---@field chat { chat_id: string, title: string }? the chat that lines go to
---@field failed boolean an act has failed
---@field private people table<string, true> logins of the played people
---@field private titles table<string, string> of chats
---@field private listed table[] chats, as they were listed last
---@field private buttons table? buttons of the newest message with buttons
---@field private queue trueconf.Fifo events that wait to be shown
---@field private seen trueconf.Lru ids of messages that were shown
---@field private heard string[] texts of others since the last act
---@field private said trueconf.core.Waiter woken by a message of others
---@field private patience number seconds a script waits for an answer
---@field private may_create boolean naming an account makes it
local Session = {}
Session.__index = Session

-- Showing messages ----------------------------------------------------------------------------------

local function words_of(message)
  if message.type == 204 then return "(a survey)" end
  return (plain[message.parse_mode or "text"] or plain.text)(message.text)
end

local function login_of(id)
  return (id:match "^[^@]*")
end

local function is_shown(self, id)
  if self.seen:get(id) then return true end
  self.seen:put(id, true)
  return false
end

local function title_of(self, person, chat_id)
  if not self.titles[chat_id] then
    local answer = self.control:act("list_chats", { person = person })
    for _, chat in ipairs(answer and answer.chats or {}) do self.titles[chat.chat_id] = chat.title end
  end
  return self.titles[chat_id] or "another chat"
end

local function label_of(self, message, person, note)
  local elsewhere = not self.chat or self.chat.chat_id ~= message.chat_id
  return login_of(message.author) .. (elsewhere and (" (%s)"):format(title_of(self, person, message.chat_id)) or "")
    .. (note or "") .. ": "
end

-- Buttons get numbers across the rows.
local function show_buttons(self, message, person)
  local found, words = {}, {}
  for _, row in ipairs(message.buttons or {}) do
    for _, button in ipairs(row) do
      if button.type == "command" then
        found[#found + 1] = button.id or button.label
        words[#words + 1] = ("[/%d] %s"):format(#found, button.label)
      else
        words[#words + 1] = ("%s <%s>"):format(button.label, button.url or button.type)
      end
    end
  end
  if not words[1] then return end
  self.buttons = { message_id = message.message_id, person = person, list = found }
  self.console:show("  ", "dim", table.concat(words, "  "))
end

local function file_words(self, message, person)
  local file = message.type == 202 and self.control:act("file", { person = person, message_id = message.message_id })
  if not file then return nil end
  self.file = { person = person, message_id = message.message_id, name = file.name }
  return ("(%s, %s; /save keeps it)"):format(file.name, terminal.size(file.size))
end

-- A person's own lines are on the terminal already; the output of a script shows them, too.
local function show_message(self, message, person, note)
  local own = self.people[login_of(message.author)] ~= nil
  if not own or not self.console.interactive then
    local words = file_words(self, message, person) or words_of(message)
    self.console:show(label_of(self, message, person, note), own and "dim" or "green", words)
    show_buttons(self, message, person)
    if not own then
      table.insert(self.heard, words)
      self.said:wake()
    end
  end
end

local OLD_ENOUGH = 100                  -- messages of a chat among which a changed one is looked for

local show = {}

-- Messages removed meanwhile and system messages are not shown.
function show.sendMessage(self, payload, person)
  if is_shown(self, payload.messageId) then return end
  local message = self.control:act("message", { person = person, message_id = payload.messageId })
  if message and message.type >= 200 then show_message(self, message, person) end
end

-- The server does not say which message was changed: take the newest one with this text.
function show.editMessage(self, payload, person)
  local answer = self.control:act("history", { person = person, chat_id = payload.chatId, count = OLD_ENOUGH })
  local messages = answer and answer.messages or {}
  for index = #messages, 1, -1 do
    local message = messages[index]
    if message.edited and message.text == payload.content.text then
      if is_shown(self, message.message_id .. "\0" .. payload.timestamp) then return end
      return show_message(self, message, person, " (changed)")
    end
  end
end

-- Shows one event after the other, because each may wait for the Bridge.
local function show_all(self)
  while true do
    self.came:wait()
    self.came = core.waiter()
    for event in self.queue.pop, self.queue do
      local run = show[event.method]
      if run then run(self, event.payload, event.person) end
    end
  end
end

---Take an event of the control endpoint.
---@param event table
function Session:on_event(event)
  if event.event ~= "person" or self.queue:count() >= MOST_EVENTS then return end
  self.queue:push(event)
  self.came:wake()
end

-- Waiting, for scripts ------------------------------------------------------------------------------

local function await(self, fits, seconds)
  local deadline = core.monotonic() + seconds
  while not fits() do
    local left = deadline - core.monotonic()
    if left <= 0 then return false end
    self.said = core.waiter()
    self.said:wait(left)
  end
  return true
end

-- A script goes on when an answer has come and no more messages follow it.
local function settle(self)
  if self.console.interactive then return end
  if not await(self, function() return self.heard[1] end, self.patience) then return end
  local count
  repeat
    count = #self.heard
  until not await(self, function() return #self.heard > count end, QUIET)
end

-- Acts ----------------------------------------------------------------------------------------------

function Session:complain(text)
  self.failed = true
  if self.console.interactive then return self.console:show("", "red", text) end
  io.stderr:write("trueconf chat: ", terminal.line(text), "\n")
end

-- Carry out an act, or print why it failed.
local function act(self, name, fields)
  local answer, err = self.control:act(name, fields)
  if not answer then self:complain(err.message) end
  return answer
end

-- The act of the person who types, in the chat.
local function act_here(self, name, fields)
  if not self.chat then return self:complain "you are in no chat: /with LOGIN opens one" end
  fields.person, fields.chat_id = self.person, self.chat.chat_id
  self.heard = {}
  local answer = act(self, name, fields)
  if answer then settle(self) end
  return answer
end

local function make_account(self, login)
  return not self.may_create or act(self, "accounts", { login = login }) ~= nil
end

local function watch(self)
  local list = {}
  for login in pairs(self.people) do list[#list + 1] = login end
  table.sort(list)
  return act(self, "watch", { people = list })
end

local function enter(self, chat_id, title)
  self.chat = { chat_id = chat_id, title = title }
  self.titles[chat_id] = title
end

---Play a person.
---@async
---@param login string
---@return boolean ok
function Session:be(login)
  if not make_account(self, login) then return false end
  local known = self.people[login]
  self.people[login] = true
  if not watch(self) then
    self.people[login] = known
    return false
  end
  if self.person ~= login then self.chat = nil end
  self.person = login
  return true
end

---Open the personal chat with somebody.
---@async
---@param login string
---@return boolean ok
function Session:with(login)
  local answer = act(self, "chats", { person = self.person, with = login })
  if answer then enter(self, answer.chat_id, login) end
  return answer ~= nil
end

-- Lines ---------------------------------------------------------------------------------------------

---@type table<string, { usage: string, meaning: string, run: fun(self: trueconf.cli.ChatSession, text: string) }>
local COMMANDS = {}

local ORDER = { "as", "with", "group", "chats", "open", "click", "file", "save", "wait", "?", "quit" }

local function complain_of_usage(self, name)
  self:complain(("usage: /%s %s"):format(name, COMMANDS[name].usage))
end

COMMANDS.as = { usage = "LOGIN", meaning = "go on as another person, in the same chat or with the same bot",
  run = function(self, login)
    if login == "" then return complain_of_usage(self, "as") end
    local chat = self.chat
    if not self:be(login) or self.chat or not chat then return end
    local answer = self.control:act("list_chats", { person = login })
    for _, other in ipairs(answer and answer.chats or {}) do
      if other.chat_id == chat.chat_id then return enter(self, chat.chat_id, chat.title) end
    end
    if self.other and self.other ~= login then self:with(self.other) end
  end }

COMMANDS.with = { usage = "LOGIN", meaning = "talk to somebody",
  run = function(self, login)
    if login == "" then return complain_of_usage(self, "with") end
    if self.people[login] or make_account(self, login) then self:with(login) end
  end }

COMMANDS.group = { usage = "TITLE: LOGIN ...", meaning = "make a group with others, and talk there",
  run = function(self, text)
    local title, logins = text:match "^%s*(.-)%s*:%s*(.*)$"
    if not title or title == "" then return complain_of_usage(self, "group") end
    local participants = {}
    for login in logins:gmatch "[^%s,]+" do
      if not make_account(self, login) then return end
      participants[login] = "user"
    end
    local fields = { person = self.person, group = title, participants = next(participants) and participants or nil }
    local answer = act(self, "chats", fields)
    if answer then enter(self, answer.chat_id, title) end
  end }

COMMANDS.chats = { usage = "", meaning = "list the chats",
  run = function(self)
    local answer = act(self, "list_chats", { person = self.person })
    if not answer then return end
    self.listed = answer.chats
    for number, chat in ipairs(answer.chats) do
      self.console:show(("%3d  "):format(number), "dim", chat.title)
    end
  end }

COMMANDS.open = { usage = "NUMBER", meaning = "talk in a chat of that list",
  run = function(self, text)
    local chat = self.listed[tonumber(text) or 0]
    if not chat then return self:complain "usage: /open NUMBER, the number of a chat that /chats has listed" end
    enter(self, chat.chat_id, chat.title)
  end }

COMMANDS.click = { usage = "NUMBER", meaning = "click a button; the same as /NUMBER",
  run = function(self, text)
    local buttons = self.buttons
    local button = buttons and buttons.list[math.tointeger(tonumber(text)) or 0]
    if not button then
      return self:complain(text == "" and "usage: /click NUMBER" or ("there is no button %s"):format(text))
    end
    self.heard = {}
    local fields = { person = self.person, message_id = buttons.message_id, button = button }
    if act(self, "click", fields) then settle(self) end
  end }

COMMANDS.file = { usage = "PATH [CAPTION]", meaning = "send a file; a path with spaces in quotes",
  run = function(self, text)
    local path, caption = text:match '^"([^"]+)"%s*(.*)$'
    if not path then path, caption = text:match "^(%S+)%s*(.*)$" end
    if not path then return complain_of_usage(self, "file") end
    if not self.chat then return self:complain "you are in no chat: /with LOGIN opens one" end
    self.heard = {}
    local sent, err = self.control:upload({ person = self.person, chat_id = self.chat.chat_id,
      caption = caption ~= "" and caption or nil, name = path:match "[^/]*$" }, path)
    if not sent then return self:complain(err.message) end
    settle(self)
  end }

COMMANDS.save = { usage = "[PATH]", meaning = "save the newest file",
  run = function(self, path)
    local file = self.file
    if not file then return self:complain "there is no file to save: nobody has sent one" end
    -- A name from the wire must not become a path.
    if path == "" then path = file.name:gsub("[/%c]", "_"):gsub("^%.+", "") end
    if core.file_stamp(path) then return self:complain(path .. " exists already; /save PATH names another file") end
    local ok, err = self.control:download({ person = file.person, message_id = file.message_id }, path)
    if not ok then return self:complain(err.message) end
    self.console:show("", "dim", "kept as " .. path)
  end }

COMMANDS.wait = { usage = "[TEXT]", meaning = "for scripts: wait for a message with this text since the last line",
  run = function(self, text)
    local function is_said()
      for _, words in ipairs(self.heard) do
        if words:find(text, 1, true) then return true end
      end
      return false
    end
    if not await(self, is_said, self.patience) then
      self:complain(("nobody has said '%s' within %g s"):format(text, self.patience))
    end
  end }

COMMANDS.quit = { usage = "", meaning = "end the chat; Ctrl-D does the same",
  run = function(self) self.over = true end }

COMMANDS["?"] = { usage = "", meaning = "show this list", run = function(self)
  for _, name in ipairs(ORDER) do
    local command = COMMANDS[name]
    self.console:show(("  /%-24s"):format(name .. " " .. command.usage), "bold", command.meaning)
  end
  self.console:show("", "dim", "Every other line is sent to the chat, commands of a bot too; //as sends /as.")
end }

-- Runs a line: a command of the chat itself, or a message to send.
local function run_line(self, line)
  local name, rest = line:match "^/(%S+)%s*(.-)%s*$"
  if name and name:find "^%d+$" then return COMMANDS.click.run(self, name) end
  if name and COMMANDS[name] then return COMMANDS[name].run(self, rest) end
  if line:find "%S" then act_here(self, "say", { text = line:gsub("^//", "/") }) end
end

function Session:prompt()
  return ("%s%s> "):format(self.person, self.chat and " to " .. self.chat.title or "")
end

---Read lines and run them, until there are no more.
---@async
function Session:run()
  while not self.over do
    local line = self.console:line(terminal.line(self:prompt()))
    if not line then return end
    if utf8.len(line) then run_line(self, line) else self:complain "the line is not UTF-8, and was not sent" end
  end
end

---@param console trueconf.cli.Console
---@param options { patience: number, may_create: boolean, other: string? }
---@return trueconf.cli.ChatSession
local function new(console, options)
  local self = setmetatable({
    console = console, patience = options.patience, may_create = options.may_create, other = options.other,
    people = {}, titles = {}, listed = {}, queue = fifo.new(), seen = lru.new(MOST_SEEN), heard = {},
    came = core.waiter(), said = core.waiter(), failed = false, over = false,
  }, Session)
  self.shower = core.spawn(show_all, self)
  return self
end

return { new = new }
