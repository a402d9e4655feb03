-- SPDX-License-Identifier: MIT
-- client.lua - the bot that is measured: an ordinary on_message handler that replies. The load server starts it and
-- says by BENCH_* in the environment where it listens and what to do.

local trueconf = require "trueconf"

local CHAT = "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678"

local function number(name, default)
  return tonumber(os.getenv(name)) or default
end

local port = assert(number "BENCH_PORT", "started by the load server only: BENCH_PORT is missing")
local secure = os.getenv "BENCH_TLS" == "1" and "s" or ""
local ca_file = os.getenv "BENCH_CERT"

-- A load server without a certificate to trust is still worth measuring.
local function tls()
  if secure == "" then return nil end
  return ca_file and { ca_file = ca_file } or { verify = false }
end

-- A load server that pushes one message id again and again, always in one chat, measures
-- nothing with a bot that handles each message once and a chat's messages one by one.
local function new_bot()
  local unique = os.getenv "BENCH_UNIQUE" == "1"
  return trueconf.bot {
    url = ("ws%s://127.0.0.1:%d"):format(secure, port),
    username = "bot", password = "pw", log = "warn",
    tls = tls(),
    order = unique and "chat" or "none",
    remember = not unique and 0 or nil,
  }
end

local modes = {}

function modes.echo()
  local bot = new_bot()
  bot:on_message(function(msg)
    msg:reply(msg.text)
  end)
  bot:run()
end

modes.rate = modes.echo

---Keep BENCH_WINDOW requests in flight, each from a coroutine of its own.
function modes.req()
  local bot = new_bot()
  local payload = { chatId = CHAT, content = { text = "ping", parseMode = "text" } }
  for _ = 1, number("BENCH_WINDOW", 64) do
    trueconf.spawn(function()
      while true do assert(bot:call("sendMessage", payload)) end
    end)
  end
  bot:run()
end

---Open BENCH_CONNS sessions one after the other and keep them.
function modes.idle()
  local bots = {}
  for i = 1, number("BENCH_CONNS", 1) do
    bots[i] = new_bot()
    bots[i]:start()
  end
  bots[1]:run()
end

local function transfer(path, request)
  request.url = ("http%s://127.0.0.1:%d%s"):format(secure, port, path)
  request.tls = tls()
  local response = assert(require "trueconf.core".http(request))
  assert(response.status == 200, response.status)
end

---Send BENCH_FILE as one part of a form.
function modes.up()
  transfer("/bridge/api/client/v1/files", { form = { { name = "file", path = assert(os.getenv "BENCH_FILE") } } })
end

---Fetch BENCH_SIZE bytes into BENCH_DEST.
function modes.down()
  local directory = assert(os.getenv "BENCH_DEST")
  transfer(("/download/%d"):format(number "BENCH_SIZE"), { save_to = directory .. "/big.bin" })
end

local mode = os.getenv "BENCH_MODE"
assert(modes[mode], ("BENCH_MODE: no mode %q"):format(mode))()
