-- SPDX-License-Identifier: MIT
-- The files of a new bot. @NAME@ stands for its name, @STORE@ for the variable that names its store.

local templates = {}

templates["bot.lua"] = [==[
-- @NAME@: a bot for TrueConf Server.
--
--   trueconf run --watch --env .env bot.lua
--
-- Server and account come from the environment; see .env.example.

local trueconf = require "trueconf"

-- The store keeps sessions, posts and the ids of handled messages over restarts.
local bot = trueconf.bot { store = os.getenv "@STORE@" }

bot:on_command("hello", function(msg)
  local answer, err = msg:ask "Hello! What is your name?"
  if answer then
    assert(msg:answer(("Nice to meet you, %s."):format(answer.text)))
  elseif err.name == "TIMEOUT" then
    assert(msg:answer "I have waited and heard nothing. Write /hello to begin again.")
  end
end, { description = "get to know each other" })

bot:default(function(msg)
  assert(msg:reply(("You said: %s. Write /help to see what I can do."):format(msg.text)))
end)

assert(bot:run())
]==]

templates["bot_test.lua"] = [==[
-- lua5.4 bot_test.lua
--
-- The test needs no server: the Bridge, people and a virtual clock are in this process.

local testing = require "trueconf.testing"

local t = testing.start { bot = "bot.lua" }
local anna = t:user "anna"

anna:says "good morning"
t:expect(anna):hears { contains = "good morning" }

anna:says "/hello"
t:expect(anna):hears "Hello! What is your name?"
anna:says "Anna"
t:expect(anna):hears "Nice to meet you, Anna."

anna:says "/hello"
t:expect(anna):hears "Hello! What is your name?"
t:advance "2h"
t:expect(anna):hears { contains = "heard nothing" }

t:stop()
print "passed"
]==]

templates[".env.example"] = [==[
# Copy this to .env, readable for its owner alone:
#   install -m 600 .env.example .env
TRUECONF_URL=wss://chat.example.com
TRUECONF_USERNAME=@NAME@
TRUECONF_PASSWORD=
# debug, info, warn, error or off
TRUECONF_LOG=info
]==]

templates["@NAME@.service"] = [==[
# A systemd service; README.md tells how to install it.
[Unit]
Description=@NAME@, a bot for TrueConf Server
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/env trueconf run /opt/@NAME@/bot.lua
WorkingDirectory=/opt/@NAME@
# Holds the password: owned by root, mode 0600.
EnvironmentFile=/etc/@NAME@.env
Environment=@STORE@=/var/lib/@NAME@/@NAME@.db
StateDirectory=@NAME@
StateDirectoryMode=0700
UMask=0077
DynamicUser=yes
Restart=on-failure
RestartSec=5
# The bot gives its handlers ten seconds (stop_timeout).
TimeoutStopSec=20

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
# Not ProcSubset=pid: it would hide /proc/loadavg and /proc/meminfo, which a bot may report.
ProtectProc=invisible
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
]==]

templates["README.md"] = [==[
# @NAME@

A bot for TrueConf Server.

## Try it

Without any server:

```
trueconf chat --bridge bot.lua
```

At a real one:

```
install -m 600 .env.example .env      # then fill in address and password
trueconf run --watch --env .env bot.lua
```

With `--watch` the running bot loads your changes of `bot.lua` (hot reload). When there is no connection,
`trueconf doctor` finds the reason.

## Test it

```
lua5.4 bot_test.lua
```

## Install it as a service

```
sudo mkdir -p /opt/@NAME@
sudo cp bot.lua /opt/@NAME@/
sudo install -m 600 .env /etc/@NAME@.env
sudo install -m 644 @NAME@.service /etc/systemd/system/
sudo systemctl daemon-reload
sudo systemctl enable --now @NAME@
journalctl -fu @NAME@
```
]==]

templates[".gitignore"] = [==[
# Secrets, and the data of the bot.
.env
trueconf.conf
*.db
*.db-*
*.token
]==]

-- For the language server of editors: completion and doc comments of the module.
templates[".luarc.json"] = [==[
{
  "runtime.version": "Lua 5.4",
  "workspace.library": [@LIBRARY@],
  "workspace.checkThirdParty": false
}
]==]

return templates
