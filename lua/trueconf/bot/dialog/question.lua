-- SPDX-License-Identifier: MIT
-- A question: checks the options of msg:ask, shows the question, and reads answers.

local choices = require "trueconf.bot.dialog.choices"
local core = require "trueconf.core"
local chat_cache = require "trueconf.api.chat_cache"
local filters = require "trueconf.filter"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"
local random_hex = require "trueconf.base.random_hex"
local router = require "trueconf.bot.router"
local text = require "trueconf.text"
local values = require "trueconf.bot.command.values"

local BUTTONS_SINCE = protocol.objects.Button.since
local RETRIES = 3
local CANCEL = "cancel"                 -- behind the prefix of commands
local TOKEN_BYTES = 8

---The reaction when no answer will come: a text to send, or a function whose results ask returns.
---@alias trueconf.DialogEnd string|fun(err: trueconf.Error, chat: trueconf.ChatHandle): any

---Options of msg:ask and chat:ask.
---@class (exact) trueconf.AskOptions
---@field timeout? number seconds to wait for each answer; default the bot's option ask_timeout
---@field choices? (string|trueconf.Choice)[] allowed answers: buttons where the server has them, else a list
---@field show? "buttons"|"list"|"both" form of the choices; default: by server and chat
---@field type? string type of the answer, as for the arguments of commands: "integer", "number", "date", "duration",
---"boolean", "user", "string"
---@field min? number the least value, of the types integer, number and duration
---@field max? number the greatest
---@field validate? fun(answer: trueconf.Message|trueconf.CommandEvent, value: any): any, string? returns the result of
---ask, or true to keep the value; or nil and a text for the person that says why not
---@field retries? integer wrong answers that may be corrected; default 3
---@field retry? string|fun(why: string, left: integer): string text after a wrong answer; default: what is wrong
---@field from? string|string[] people whose answer counts: TrueConf IDs, or logins, which match on any server, or
---"anyone"; default the author of the message, for chat:ask "anyone"
---@field filter? trueconf.Filter|trueconf.Predicate for answers; other messages go to the ordinary handlers
---@field cancel? string|string[]|false words that end the dialog; default "/cancel"
---@field commands? boolean|string[] commands of the bot that go to their handlers meanwhile: all, or the named ones;
---other commands are answers like any text; default false
---@field on_timeout? trueconf.DialogEnd nobody has answered: a text to send, or a function of the error and the chat,
---whose results ask returns
---@field on_cancel? trueconf.DialogEnd the same for a word that ends the dialog
---@field on_invalid? trueconf.DialogEnd the same after the last wrong answer
---@field on_stop? trueconf.DialogEnd the same when the bot stops
---@field parse_mode? "text"|"markdown"|"html" of the question; default "text"
---@field reply_to? string id of the message that the question answers
---@field edit? trueconf.SentMessage|trueconf.Message|string a message of the bot that the question replaces

---Options of chat:wait.
---@class (exact) trueconf.WaitOptions
---@field timeout? number seconds; default the bot's option ask_timeout
---@field from? string|string[] authors: TrueConf IDs, or logins, which match on any server; default "anyone"
---@field commands? boolean|string[] commands of the bot that go to their handlers meanwhile: all, or the named ones

local function is_end(value)
  return type(value) == "string" and value ~= "" or type(value) == "function", "must be a text or a function"
end

local function is_list_of_strings(value)
  local ok, expected = options.is_list_of_strings(value)
  if not ok then return false, expected end
  return type(value) ~= "table" or value[1] ~= nil, "must name at least one"
end

-- Options that ask_defaults of the bot may have, too.
local COMMON = {
  timeout = { type = "number", min = 0.001, max = 1e9 },
  show = { type = "string", enum = { "buttons", "list", "both" } },
  retries = { type = "integer", min = 0 },
  retry = { type = "string|function" },
  cancel = { type = "string|table|boolean", check = function(value)
    if value == true then return false, "must be words, or false" end
    return is_list_of_strings(value)
  end },
  commands = { type = "boolean|table", check = is_list_of_strings },
  on_timeout = { check = is_end },
  on_cancel = { check = is_end },
  on_invalid = { check = is_end },
  on_stop = { check = is_end },
  parse_mode = { type = "string", enum = protocol.PARSE_MODES },
}

local ASK = {
  choices = { type = "table" },
  type = { type = "string", enum = values.TYPES },
  min = { type = "number", max = math.huge },
  max = { type = "number", max = math.huge },
  validate = { type = "function" },
  from = { type = "string|table", check = is_list_of_strings },
  filter = { check = function(value) return filters.is_callable(value), "must be a filter or a function" end },
  reply_to = { type = "string" },
  edit = { type = "string|table", check = function(value)
    return type(value) == "string" or type(value.id) == "string", "must be a message or its id"
  end },
}

local WAIT = {}
for name, option in pairs(COMMON) do ASK[name] = option end
for _, name in ipairs { "timeout", "from", "commands" } do WAIT[name] = ASK[name] end

---@class trueconf.Question
---@field engine trueconf.Engine
---@field client trueconf.Client
---@field chat trueconf.ChatHandle
---@field text string
---@field opts trueconf.AskOptions checked, with the bot's defaults
---@field author string?
---@field from table<string, true>?
---@field choices trueconf.dialog.Choices?
---@field clicks table<string, trueconf.dialog.Choice>? of its buttons
---@field token string? of its buttons
---@field sent string? id of the message that it is
---@field since integer
local Question = {}
Question.__index = Question

-- Options ------------------------------------------------------------------------------------

---Check the option ask_defaults of a bot.
---@param given any
---@param level integer whom to blame for a mistake
---@return table
local function check_defaults(given, level)
  return (options.check(COMMON, given, level + 1, "trueconf.bot: ask_defaults"))
end

-- The people whose messages count; nil: everybody.
local function people(given, author)
  if given == "anyone" or given == nil and not author then return nil end
  local set = {}
  for _, id in ipairs(type(given) == "table" and given or { given or author }) do set[protocol.plain_id(id)] = true end
  return set
end

-- The options, with the bot's defaults.
local function with_defaults(engine, given)
  local opts = {}
  for name, value in pairs(engine.options.ask_defaults) do opts[name] = value end
  for name, value in pairs(given) do opts[name] = value end
  opts.timeout = opts.timeout or engine.options.ask_timeout
  return opts
end

-- A number of seconds stands for all options.
local function as_table(given)
  return type(given) == "number" and { timeout = given } or given
end

---@param engine trueconf.Engine
---@param chat trueconf.ChatHandle
---@param words string
---@param given trueconf.AskOptions|number|nil
---@param author string? of the answer, by default
---@param level integer whom to blame for a mistake
---@return trueconf.Question
local function new(engine, chat, words, given, author, level)
  words = options.text("ask", "question", words, level + 1)
  local checked = options.check(ASK, as_table(given), level + 1, "ask")
  local declared = checked.choices and choices.declare(checked.choices, level + 1)
  if declared and checked.type then error("ask: either choices or a type", level + 1) end
  return setmetatable({
    engine = engine, client = engine.client, chat = chat, text = words, opts = with_defaults(engine, checked),
    author = author, from = people(checked.from, author), choices = declared, since = core.now(),
  }, Question)
end

---@param given table|number|nil options of chat:wait
---@param level integer
---@return { timeout: number, from: table<string, true>?, commands: any }
local function read_wait(engine, given, level)
  local opts = options.check(WAIT, as_table(given), level + 1, "wait")
  return { timeout = opts.timeout or engine.options.ask_timeout, from = people(opts.from), commands = opts.commands }
end

-- Messages that are no answer -------------------------------------------------------------------

---A test for messages that cancel the question; nil: none does.
---@return (fun(msg: trueconf.Message): any)?
function Question:cancel_test()
  local words, prefix = self.opts.cancel, self.engine.options.command_prefix
  if words == false then return nil end
  if words == nil then words = prefix .. CANCEL end
  local set = {}
  for _, word in ipairs(type(words) == "table" and words or { words }) do set[choices.word_of(word)] = true end
  return function(msg)
    local command = msg.command
    return set[choices.word_of(msg.text)] or command and command.text == "" and set[core.fold(prefix) .. command.key]
  end
end

---A test for commands that go to their handlers during a question; nil: none does.
---@param engine trueconf.Engine
---@param commands boolean|string[]|nil
---@return (fun(msg: trueconf.Message): any)?
local function command_test(engine, commands)
  if not commands then return nil end
  local named = type(commands) == "table" and {} or nil
  for _, name in ipairs(named and commands or {}) do named[choices.word_of(name)] = true end
  return function(msg)
    local name = msg.command and msg.command.key
    if not name then return false end
    if named then return named[name] end
    return router.has_command(engine.router, name) or engine.options.help and name == "help"
  end
end

-- Showing --------------------------------------------------------------------------------------

-- Servers from 5.5.6 on have buttons; they also tell the kind of a message's chat.
local function has_buttons(self)
  local version = self.client:server_version()
  if version then return protocol.since(version, BUTTONS_SINCE) end
  return self.chat.kind ~= nil
end

-- The server does not say who has clicked (protocol 13): in a group another person's click would count.
local function is_safe_to_click(self)
  if not self.from then return true end
  local kind = self.chat.kind or chat_cache.chat_kind(self.client, self.chat.id)
  return kind == "p2p"
end

-- How the choices are shown: by buttons, and in a list.
local function way_to_show(self)
  local show = self.opts.show
  if show == "list" or not choices.fit_buttons(self.choices) or not has_buttons(self) then return false, true end
  local safe = show ~= nil or is_safe_to_click(self)
  return safe, show == "both" or not safe
end

-- The text and buttons of the question.
local function compose(self)
  if not self.choices then return self.text end
  local by_buttons, in_list = way_to_show(self)
  local words, rows = self.text, nil
  if in_list then words = words .. text.escape("\n" .. choices.list(self.choices), self.opts.parse_mode or "text") end
  if by_buttons then
    self.token = random_hex(TOKEN_BYTES)
    rows, self.clicks = choices.buttons(self.choices, self.token)
  end
  return words, rows
end

---Prepare the question before it is sent, so that an early answer is recognised.
---@async
function Question:prepare()
  self.shown, self.rows = compose(self)
  if self.token then self.engine.clicks:opened(self.token) end
end

---Send the question, or replace a message of the bot by it.
---@async
---@return any sent
---@return trueconf.Error? err
function Question:show()
  local client, opts = self.client, self.opts
  local more = { parse_mode = opts.parse_mode, buttons = self.rows }
  local edited = opts.edit
  if edited then
    self.sent = type(edited) == "table" and edited.id or edited
    return client:edit_message(self.sent, self.shown, more)
  end
  more.reply_to = opts.reply_to
  local sent, err = client:send_message(self.chat.id, self.shown, more)
  self.sent = sent and sent.id
  return sent, err
end

-- Remove the buttons, and show the choice: a click leaves no other trace in the chat.
local function take_buttons_away(self, sent)
  local words, mode = self.shown, self.opts.parse_mode or "text"
  if self.chosen then words = words .. text.escape("\n\u{2192} " .. self.chosen.label, mode) end
  local edited, err = self.client:edit_message(sent, words, { parse_mode = mode })
  if edited then return self.engine.clicks:buttons_gone(self.token) end
  self.client.log:debug("the buttons of a question could not be removed: %s", err)
end

---End the question: remove its buttons, once. The handler does not wait for that, unless the message belongs to the
---script, which may change it next, or the bot stops and would close the connection before.
---@async
---@param in_haste boolean? do not wait
function Question:close(in_haste)
  local sent, token = self.sent, self.token
  self.sent = nil
  if token then self.engine.clicks:closed(token) end
  if not sent or not token then return end
  if (self.opts.edit or self.engine.stopping) and not in_haste then
    take_buttons_away(self, sent)
  else
    core.spawn(take_buttons_away, self, sent)
  end
end

function Question:__close()
  self:close(true)
end

-- Answers --------------------------------------------------------------------------------------

-- The value of a text, or nil and a complaint.
local function read_text(self, msg)
  if self.choices then
    local choice, why = choices.find(self.choices, msg.text)
    self.chosen = choice
    if choice then return choice.value end
    return nil, why
  end
  if not self.opts.type then return msg end
  local word = { text = msg.text:match "^%s*(.-)%s*$", user_id = msg.mentions[1] }
  if word.text == "" then return nil, "Please answer with a text." end
  local value, expected = values.read(word, self.opts, msg)
  if value ~= nil then return value end
  return nil, ("Please answer with %s."):format(expected)
end

---The value of an answer, or nil and a complaint.
---@async
---@param answer trueconf.Message|trueconf.CommandEvent
---@return any value
---@return string? why
function Question:read(answer)
  local value, why
  self.chosen = self.clicks and type(answer.command) == "string" and self.clicks[answer.command] or nil
  if self.chosen then value = self.chosen.value else value, why = read_text(self, answer) end
  local validate = self.opts.validate
  if value == nil or not validate then return value, why end
  local valid
  valid, why = validate(answer, value)
  if valid == true then return value end
  if valid then return valid end
  self.chosen = nil
  return nil, why or "That is not a valid answer."
end

---The text after a wrong answer.
---@param why string
---@param left integer number of tries left
---@return string
function Question:complaint(why, left)
  local retry = self.opts.retry
  if type(retry) == "function" then return retry(why, left) end
  return retry or why
end

---@return integer
function Question:tries()
  return (self.opts.retries or RETRIES) + 1
end

return { new = new, check_defaults = check_defaults, read_wait = read_wait, command_test = command_test }
