-- SPDX-License-Identifier: MIT
-- trueconf send: one message or file from the shell.

local connection = require "trueconf.cli.connection"
local core = require "trueconf.core"
local exit_codes = require "trueconf.cli.exit_codes"
local json = require "trueconf.base.json"
local limits = require "trueconf.protocol.limits"
local printable = require "trueconf.base.printable"
local terminal = require "trueconf.cli.terminal"
local text = require "trueconf.text"

local NAME = "send"
local MOST = 1 << 20                    -- bytes of a text; split, it would be some hundred messages
local STDIN = 0

local USAGE = [==[
Usage: trueconf send [OPTION...] TO [TEXT]
       trueconf send [OPTION...] --chat ID [TEXT]
       trueconf send [OPTION...] TO --file PATH]==]
local HELP = "Send a message or a file to a user, or to a chat. The text is an argument or comes from the standard "
  .. "input; a text that is too long for one message is sent as several. Put -- before a text that begins with "
  .. "a hyphen. The command prints the ids of the messages."

local EXAMPLES = [[
Examples:
  trueconf send mira "The backup is done."
  df -h | trueconf send mira@chat.acme.test
  trueconf send mira -- "-12 degrees"
  trueconf send --chat 3f0c9a2e --html "<b>Disk full</b> on db1"
  trueconf send mira --file report.pdf --caption "As promised"
  pg_dump shop | gzip | trueconf send mira --file - --name shop.sql.gz

]]

local function fail(message)
  return nil, message
end

-- The message -------------------------------------------------------------------------------

local function read_input(given)
  if terminal.input() then return fail "the text is missing: give it after the user, or pipe it in" end
  local read = io.read(MOST + 1) or ""
  if #read > MOST then return fail(("the text is over %d bytes; send it as a file, with --file -"):format(MOST)) end
  if read:find "^%s*$" then
    return fail(("%s is missing, and the standard input is empty"):format(given.to and "TO or TEXT" or "TEXT"))
  end
  return (read:gsub("\r?\n$", ""))
end

local function parse_mode(given)
  return given.html and "html" or given.markdown and "markdown" or "text"
end

-- The text as one message, if it fits.
local function whole(content, mode)
  local most = limits.TEXT
  local length = text.visible_length(content, mode)
  if length <= most then return { content } end
  return fail(("the text has %d visible characters, %d are allowed"):format(length, most))
end

-- The texts of the messages, one after the other.
local function read_parts(given)
  local content, complaint = given.text, nil
  if not content or content == "-" then content, complaint = read_input(given) end
  if not content then return nil, complaint end
  if content:find "^%s*$" then return fail "the text is empty" end
  if not utf8.len(content) then return fail "the text is not UTF-8" end
  if given.no_split then return whole(content, parse_mode(given)) end
  return text.split(content, { parse_mode = parse_mode(given) })
end

-- The standard input as a reader; other work goes on meanwhile.
local function read_stdin()
  local ok, err = core.readable(STDIN)
  if not ok then return nil, err end
  return core.read(STDIN)
end

-- A pipe can be read only once, so it is opened here and passed on as a reader.
local function open_file(given, file)
  local source, err = core.source(given.file)
  if not source then return fail("--file: " .. err.message) end
  local size = source:size()
  if size == 0 then return fail(("--file: '%s' is an empty file"):format(given.file)) end
  if size then
    source:close()
    file.path = given.file
    return file
  end
  local is_numbered = given.file:find "^/dev/" or given.file:find "^/proc/.*/fd/"
  if is_numbered and not given.name then
    return fail(("--file %s: the file needs a name that others see, give one with --name"):format(given.file))
  end
  file.name, file.reader = given.name or given.file:match "[^/]*$", function() return source:read() end
  return file
end

-- A file as send_file() takes it.
local function read_file(given)
  local file = {
    name = given.name, caption = given.caption, parse_mode = given.caption and parse_mode(given),
    reply_to = given.reply_to,
  }
  if given.file ~= "-" then return open_file(given, file) end
  if not given.name then return fail "--file -: the file needs a name that others see, give one with --name" end
  file.reader = read_stdin
  return file
end

-- With --chat the only argument is the text.
local function complaint_of(given)
  if given.chat and given.to then
    if given.text then return "a user and --chat cannot be used together" end
    given.to, given.text = nil, given.to
  end
  if not given.to and not given.chat then return "the recipient is missing: name a user, or --chat ID" end
  if given.file and given.text then return "--file: give the text as --caption" end
  if not given.file and (given.caption or given.name) then return "--caption and --name belong to --file" end
  if given.caption and not utf8.len(given.caption) then return "--caption is not UTF-8" end
end

-- Sending -----------------------------------------------------------------------------------

local function find_chat(client, given)
  if given.chat then return given.chat end
  local server = client:user_id():match "@.*$" or ""
  return client:create_p2p_chat(given.to:find "@" and given.to or given.to .. server)
end

local function send_file(client, chat_id, file, sent)
  local report, finish = terminal.progress(file.name or file.path:match "[^/]*$")
  file.on_progress = report
  local message, err = client:send_file(chat_id, file)
  finish()
  sent[1] = message
  return message ~= nil, err
end

-- The first part is the answer to --reply-to, the rest follows it.
local function send_parts(client, chat_id, parts, given, sent)
  for number, part in ipairs(parts) do
    local message, err = client:send_message(chat_id, part, {
      parse_mode = parse_mode(given), reply_to = number == 1 and given.reply_to or nil,
    })
    if not message then return false, err end
    sent[number] = message
  end
  return true
end

local function as_json(chat_id, sent, err)
  local messages = {}
  for number, message in ipairs(sent) do
    messages[number] = { message_id = message.id, timestamp = message.timestamp, file_id = message.file_id }
  end
  return json.encode {
    chat_id = chat_id, messages = json.array(messages),
    error = err and { name = err.name, code = err.code, message = err.message, outcome = err.outcome },
  }
end

-- Print the messages that were sent, even if a later one failed.
local function tell(given, chat_id, sent, err)
  if given.json then
    print(printable.json(as_json(chat_id, sent, err)))
  elseif not given.quiet then
    for _, message in ipairs(sent) do print(printable.line(message.id)) end
  end
end

local function deliver(client, given, parts, file)
  local sent, ok = {}, nil
  local chat_id, err = find_chat(client, given)
  if chat_id and file then ok, err = send_file(client, chat_id, file, sent) end
  if chat_id and parts then ok, err = send_parts(client, chat_id, parts, given, sent) end
  tell(given, chat_id, sent, err)
  if ok then return exit_codes.DONE end
  local how_far = sent[1] and ("after %d of %d parts: "):format(#sent, #parts) or ""
  return exit_codes.complain(NAME, how_far .. tostring(err), exit_codes.of(err))
end

---@type trueconf.cli.Command
return {
  describe = function(command)
    command:description(HELP):usage(USAGE):epilog(EXAMPLES .. exit_codes.HELP)
    command:argument("to", "User to write to: LOGIN@SERVER, or LOGIN on the same server."):args "?"
    command:argument("text", "Text of the message; none or -: the standard input."):args "?"
    command:option("--chat", "Send to this chat."):argname "ID"
    command:option("--file", "Send a file or the content of a pipe; -: the standard input."):argname "PATH"
    command:option("--name", "Name of the file as others see it."):argname "NAME"
    command:option("--caption", "Text above the file."):argname "TEXT"
    command:option("--reply-to", "Answer the message with this id."):argname "ID"
    command:mutex(
      command:flag("--html", "The text has marks of html: <b>, <i>, <a href=...>."),
      command:flag("--markdown", "The text has marks of markdown."))
    command:flag("--no-split", "Refuse a text that is too long for one message.")
    command:mutex(
      command:flag("-q --quiet", "Print nothing."),
      command:flag("--json", "Print an object with the chat, the messages, and the error if there is one."))
    connection.describe(command)
  end,
  run = function(given)
    local parts, file
    local complaint = complaint_of(given)
    if not complaint and given.file then file, complaint = read_file(given) end
    if not complaint and not given.file then parts, complaint = read_parts(given) end
    if complaint then return exit_codes.complain(NAME, complaint, exit_codes.MISUSE) end
    local client, code, err = connection.of_command(NAME, given)
    if not client then
      if err then tell(given, given.chat, {}, err) end
      return code
    end
    code = deliver(client, given, parts, file)
    client:stop()
    return code
  end,
}
