-- SPDX-License-Identifier: MIT
-- Builds and checks the request for a text message, for replies and posts alike.

local methods = require "trueconf.api.invoke"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"

local SEND = protocol.methods.sendMessage
local LONGEST_TEXT = protocol.limits.TEXT

local message_request = {}

-- The options of a text message; posts have them, too.
message_request.OPTIONS = {
  parse_mode = { type = "string", enum = protocol.PARSE_MODES },
  reply_to = { type = "string" },
  buttons = { type = "table" },
}

local SCHEMA = { timeout = { type = "number", min = 0.001 } }
for name, option in pairs(message_request.OPTIONS) do SCHEMA[name] = option end

---Make the payload of sendMessage from the arguments of send_message(), for the usual arguments without the schema.
---@param level integer stack level to blame for a mistake: 2 is the caller of this function
---@param chat_id string|table all arguments, if it is a table
---@param text string|number
---@param opts? trueconf.SendOptions
---@param reply_to? string
---@return table? payload
---@return any timeout_or_err the caller's timeout in seconds, or nil; without a payload LIMIT: text empty or too long
function message_request.build(level, chat_id, text, opts, reply_to)
  if type(chat_id) == "table" then return methods.prepare(SEND, level, chat_id) end
  local parse_mode, timeout, buttons = "text", nil, nil
  if opts then
    opts = options.check(SCHEMA, opts, level, "send_message")
    parse_mode, timeout, buttons = opts.parse_mode or "text", opts.timeout, opts.buttons
    reply_to = opts.reply_to or reply_to
  end
  if buttons or type(chat_id) ~= "string" or type(text) ~= "string" or reply_to and type(reply_to) ~= "string" then
    return methods.prepare(SEND, level, {
      chat_id = chat_id, text = text, parse_mode = parse_mode, reply_to = reply_to, buttons = buttons,
      timeout = timeout,
    })
  end
  local payload = { chatId = chat_id, replyMessageId = reply_to, content = { text = text, parseMode = parse_mode } }
  local bytes = #text
  if bytes == 0 or bytes > LONGEST_TEXT then -- no text has more characters than bytes: few need to be counted
    local ok, err = methods.check(SEND, payload, level)
    if not ok then return nil, err end
  end
  return payload, timeout
end

return message_request
