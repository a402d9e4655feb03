-- SPDX-License-Identifier: MIT
-- The servers that the scripts of spec/oom talk to, with all the memory they want: a Bridge, another one with TLS, and
-- a proxy.
-- Mira answers "ping 17" with "pong 17": what a script has not fetched comes to the next one.
-- Prints assignments for a shell, and runs until its parent is gone.

local bridge = require "trueconf.bridge"
local certificates = require "spec.support.certificates"
local core = require "trueconf.core"
local faulty = require "spec.support.faulty"

local JOBS = math.tointeger(os.getenv "JOBS") or 1

-- Scripts that run at the same time have an account each: what one has acknowledged does not come to another one.
local ACCOUNTS = { herald = "4711", mira = "x" }
for job = 1, JOBS do ACCOUNTS["herald" .. job] = "4711" end
local certs = certificates.make()
local server = assert(bridge.start {
  accounts = ACCOUNTS, password_cost = 1, log = "off", max_connections = 10000, login_failures = 0,
  address_failures = 0,
})
local with_tls = assert(bridge.start { accounts = ACCOUNTS, password_cost = 1, log = "off", tls = certs:server "good" })
local proxies = {}

-- A faulty server lasts for two minutes.
local function new_proxy()
  proxies[#proxies + 1] = faulty.start()
  return proxies[#proxies].proxy
end

local mira = server:person "mira"
local chats, ids = {}, {}
for job = 1, JOBS do
  local chat = mira:chat_with("herald" .. job)
  ids[job], chats[chat.id] = chat.id, chat
end
core.spawn(function()
  while true do
    local message = mira:wait_message(3600)
    if message then chats[message.chat_id]:say("pong" .. message.text:sub(5)) end
  end
end)

core.spawn(function()
  io.stdout:setvbuf "line"
  local variables = {
    OOM_URL = server:url(), OOM_TLS_URL = with_tls:url():gsub("127%.0%.0%.1", "localhost"),
    OOM_CHATS = table.concat(ids, " "), OOM_TOKEN = server:mint_token "herald", OOM_CA = certs.ca_file,
    OOM_PROXY_FILE = certs:file "proxy",
  }
  for name, value in pairs(variables) do print(("export %s='%s'"):format(name, value)) end
  print "# complete"
  while true do
    local file = assert(io.open(certs:file "proxy.new", "w"))
    file:write(new_proxy())
    file:close()
    os.rename(certs:file "proxy.new", certs:file "proxy")
    core.sleep(60)
    if #proxies > 2 then table.remove(proxies, 1):stop() end
  end
end)
core.run()
