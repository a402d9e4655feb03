-- SPDX-License-Identifier: MIT
-- Keeps an activity of the bot visible in a chat. Apps stop showing an activity after some seconds, so it is sent again
-- until it is closed (protocol 6.6).

local core = require "trueconf.core"
local misuse = require "trueconf.base.misuse"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"

local SHORTEST, LONGEST = 0.5, 60       -- seconds between two sends; the server's value is kept within these

---An activity the others see until it is closed.
---@class trueconf.Typing
---@field private over trueconf.core.Waiter
local Typing = {}
Typing.__index = Typing
Typing.__name = "trueconf.Typing"

---End the activity; apps stop showing it within some seconds.
function Typing:close()
  self.over:wake(true)
end

Typing.__close = Typing.close

local function seconds_until_next(activity)
  local milliseconds = activity.retry_after
  if math.type(milliseconds) ~= "integer" then milliseconds = protocol.limits.TYPING_REFRESH end
  return math.min(math.max(milliseconds / 1000, SHORTEST), LONGEST)
end

local function keep_alive(self, client, chat_id, kind)
  repeat
    local activity, err = client:send_chat_activity(chat_id, kind)
    if not activity then
      client.log:debug("the activity in chat %s is not shown: %s", chat_id, err)
      return
    end
    local over = self.over:wait(seconds_until_next(activity))
  until over
end

---@param client trueconf.Client
---@param chat_id string
---@param kind? string
---@param level integer stack level to blame for a mistake
---@return trueconf.Typing
local function keep(client, chat_id, kind, level)
  options.argument("keep_typing", "chat_id", chat_id, "string", level + 1)
  kind = kind or "typing"
  if not protocol.enums.ActivityType.set[kind] then
    error(("keep_typing: bad argument 'activity': one of %s expected, got '%s'"):format(
      table.concat(protocol.enums.ActivityType.values, ", "), tostring(kind)), level + 1)
  end
  local self = setmetatable({ over = core.waiter() }, Typing)
  core.spawn(keep_alive, self, client, chat_id, kind)
  return self
end

misuse.guard(Typing, "typing", { "close" })

return { keep = keep }
