-- SPDX-License-Identifier: MIT
-- A bot that takes orders for T-shirts. It asks for what it has to know, each person in a
-- dialog of their own; "/order large red" orders in one line.
--
--   TRUECONF_USERNAME=herald TRUECONF_PASSWORD=... lua5.4 examples/order.lua
--
-- TRUECONF_URL names the server; without it the bot looks for the local Bridge.

local trueconf = require "trueconf"

local SIZES = { "small", "medium", "large" }

-- What a person hears when a dialog ends early, by the name of the error.
local EXCUSES = {
  TIMEOUT = "I have waited and heard nothing, so I put the order aside. Write /order to begin again.",
  CLOSED = "I have to stop for a while. Please write /order again later.",
}

local bot = trueconf.bot { ask_timeout = 600 }

-- A message that cannot be sent must not pass unnoticed, nor end the dialogs of others.
local function noted(sent, err)
  if not sent then bot.log:error("a message was not sent: %s", err) end
  return sent
end

-- The text of the answer, or nil when there will be none; the person has been told why.
local function ask(msg, question)
  local answer, err = msg:ask(question)
  if answer then return answer.text end
  local excuse = not err.method and EXCUSES[err.name]
  if excuse then noted(msg:answer(excuse)) else noted(nil, err) end
end

local function size_in(answer)
  for _, size in ipairs(SIZES) do
    if answer:lower() == size then return size end
  end
end

local function ask_size(msg)
  local answer = ask(msg, "Which size: small, medium or large?")
  while answer and not size_in(answer) do
    answer = ask(msg, "There is small, medium and large. Which shall it be?")
  end
  return answer and size_in(answer)
end

-- Stands for the shop's own system, which takes its time. Only this handler waits.
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
  local colour = args.colour or size and ask(msg, "And the colour?")
  if not colour then return end
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
