-- SPDX-License-Identifier: MIT
-- A bot that takes orders for T-shirts. It asks each person in a dialog of their own, with buttons where the server has
-- them; "/order large red" orders in one line.
--
--   TRUECONF_USERNAME=herald TRUECONF_PASSWORD=... lua5.4 examples/order.lua
--
-- TRUECONF_URL names the server; the default is the local Bridge.

local trueconf = require "trueconf"

local SIZES = { "small", "medium", "large" }

-- When a dialog ends early, the person gets one of these texts, and assert() ends the handler without an error.
local bot = trueconf.bot {
  ask_defaults = {
    timeout = 600,
    on_timeout = "I have waited and heard nothing, so I put the order aside. Write /order to begin again.",
    on_cancel = "All right, no T-shirt.",
    on_invalid = "Let us leave it at that. Write /order to begin again.",
    on_stop = "I have to stop for a while. Please write /order again later.",
  },
}

-- Log a message that cannot be sent, and let the handler go on.
local function noted(sent, err)
  if not sent then bot.log:error("a message was not sent: %s", err) end
end

local function ask_size(msg)
  return assert(msg:ask("Which size: small, medium or large?", {
    choices = SIZES, retry = "There is small, medium and large. Which shall it be?",
  }))
end

local function colour_of(msg)
  local colour = msg.text:match "^%s*(%a+)%s*$"
  return colour and colour:lower(), "One word, please, such as red."
end

local function ask_colour(msg)
  return assert(msg:ask("And the colour?", { validate = colour_of }))
end

-- Stands for the shop's own slow system. Only this handler waits.
local function book()
  trueconf.sleep(1)
end

local function name_of(msg)
  local name, err = bot:get_user_display_name(msg.author)
  if not name then bot.log:warn("no name for %s: %s", msg.author, err) end
  return name or "friend"
end

bot:on_command("order", function(msg, args)
  local size = args.size or ask_size(msg)
  local colour = args.colour or ask_colour(msg)
  noted(msg:answer "One moment, please.")
  book()
  noted(msg:reply(("One %s %s T-shirt is on its way, %s."):format(size, colour, name_of(msg))))
end, {
  { "size", one_of = SIZES, optional = true },
  { "colour", optional = true },
  description = "order a T-shirt",
})

bot:default(function(msg)
  noted(msg:reply(("Hello %s. Write /order to order a T-shirt."):format(name_of(msg))))
end)

local ok, err = bot:run()
if not ok then
  io.stderr:write(("order: %s\n"):format(err))
  os.exit(1, true)
end
