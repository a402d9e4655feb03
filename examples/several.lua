-- SPDX-License-Identifier: MIT
-- Several bots in one process: a reception at each of two servers, and an office that gets the visitors' messages and
-- answers. Each reception has a router of its own. A signal stops all bots gracefully, and so does a bot that gives up.
--
--   RECEPTION_PASSWORD=... OFFICE_PASSWORD=... PARTNER_URL=https://chat.partner.example lua5.4 examples/several.lua
--
-- TRUECONF_URL names the server of office and reception, PARTNER_URL that of the other reception; the default is the
-- local Bridge.

local filter = require "trueconf.filter"
local trueconf = require "trueconf"

local MOST = 100                        -- visitors who wait for an answer

local office = trueconf.bot { username = "office", password = os.getenv "OFFICE_PASSWORD" }
local reception = trueconf.bot { username = "reception", password = os.getenv "RECEPTION_PASSWORD" }
local partner = trueconf.bot {
  url = os.getenv "PARTNER_URL", username = "reception", password = os.getenv "RECEPTION_PASSWORD",
}

local visitors = {}                     -- visitors who have rung, by number
local rung, on_duty = 0, nil            -- number of rings; the office's chat that gets them

-- The handlers of a reception.
local function door(place)
  local router = trueconf.router()
  router:on_command("ring", filter.private, function(msg, _, _, bot)
    if not on_duty then return assert(msg:reply "Nobody is in. Please come back later.") end
    rung = rung + 1
    visitors[rung], visitors[rung - MOST] = { bot = bot, chat_id = msg.chat_id }, nil
    assert(office:post(on_duty, ("%d: %s has rung at %s."):format(rung, msg.author, place)))
    assert(msg:reply "Somebody will answer soon.")
  end, { description = "call the office" })
  router:default(function(msg) assert(msg:reply(("This is %s. Write /ring to call the office."):format(place))) end)
  return router
end

reception:mount(door "the main entrance")
partner:mount(door "the partner's")

office:on_command("duty", function(msg)
  on_duty = msg.chat_id
  assert(msg:reply "Who rings is told here.")
end, { description = "be told here who rings" })

office:on_command("answer", function(msg, args)
  local visitor = visitors[args.number]
  if not visitor then return assert(msg:reply "There is no such visitor.") end
  assert(visitor.bot:post(visitor.chat_id, args.text))
end, {
  { "number", type = "integer" }, { "text", type = "text" }, description = "write to somebody who has rung",
})

-- Each bot handles SIGINT and SIGTERM by itself.
local bots, failed = { office, reception, partner }, false

local function run(bot)
  local ok, err = bot:run()
  if ok then return end
  io.stderr:write(("several: %s: %s\n"):format(bot.url, err))
  failed = true
  for _, other in ipairs(bots) do
    if other ~= bot then trueconf.spawn(other.stop, other) end
  end
end

for _, bot in ipairs(bots) do trueconf.spawn(run, bot) end
trueconf.run()
os.exit(not failed, true)
