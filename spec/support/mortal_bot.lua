-- SPDX-License-Identifier: MIT
-- A bot in a process of its own that a spec ends and starts again, the Bridge that outlives it, and people who
-- write to it.

local helper = require "spec.support.helper"
local system = require "spec.support.system"

local LIMIT = 30                        -- seconds any single step may take

---@class spec.MortalBot
---@field server trueconf.bridge.Server
---@field files table<string, string> paths by variables of the environment
---@field chats trueconf.bridge.PersonChat[] in the order of the people
---@field private script string
---@field private log string level
---@field private directory table
---@field private child table? the process, while it lives
local MortalBot = {}
MortalBot.__index = MortalBot

---@async
---@param script string its path; NUMBERS_FILE names the file it writes lines to
---@param people string[] logins
---@param files table<string, string> names by variables of the environment
---@param log string the lowest level that the bot may not reach
---@return spec.MortalBot
local function new(script, people, files, log)
  local self = setmetatable({ script = script, log = log, chats = {}, files = {} }, MortalBot)
  self.server = system.start_bridge { accounts = { herald = "4711" } }
  self.directory = system.directory()
  for variable, name in pairs(files) do self.files[variable] = self.directory:file(name) end
  for place, login in ipairs(people) do self.chats[place] = self.server:person(login):chat_with "herald" end
  return self
end

function MortalBot:__close()
  if self.child then self.child:__close() end
  self.server:stop(true)
  self.directory:__close()
end

function MortalBot:start()
  local environment = {
    TRUECONF_URL = self.server:url(), TRUECONF_USERNAME = "herald", TRUECONF_PASSWORD = "4711", TRUECONF_LOG = self.log,
  }
  for variable, path in pairs(self.files) do environment[variable] = path end
  self.child = system.launch_lua(self.script, { environment = environment })
end

---End the bot, which must have logged nothing; afterwards everything it has sent has been taken.
---@async
---@param signal string
---@return integer status
function MortalBot:stop(signal)
  local status = self.child:kill(signal)
  helper.eventually(function() return self.server:connections "herald" == 0 end, LIMIT)
  local log = self.child:log()
  if log ~= "" then error("the bot has logged: " .. log, 2) end
  self.child:__close()
  self.child = nil
  return status
end

---@return string[] lines what the bot has written down
function MortalBot:lines()
  return system.lines(self.files.NUMBERS_FILE)
end

---@async
---@param count integer
function MortalBot:wait_lines(count)
  helper.eventually(function() return #self:lines() >= count end, LIMIT)
end

---@async
function MortalBot:wait_all_read()
  helper.eventually(function() return #self.server:unread "herald" == 0 end, LIMIT)
end

return { new = new }
