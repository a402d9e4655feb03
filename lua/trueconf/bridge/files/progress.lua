-- SPDX-License-Identifier: MIT
-- Sends the progress of files to the connections that have subscribed (protocol: uploadFileProgress).

local core = require "trueconf.core"
local json = require "trueconf.base.json"

local PROGRESS = "uploadFileProgress"
local STEPS = 4                         -- progress notifications of a file with the fault `file_delay`

---@class trueconf.bridge.FileProgress
---@field private bridge trueconf.bridge.Server
---@field private subscribers table<string, table<trueconf.bridge.Connection, true>> by file id
---@field private timers table<trueconf.core.Timer, true>
local FileProgress = {}
FileProgress.__index = FileProgress

---@param bridge trueconf.bridge.Server
---@return trueconf.bridge.FileProgress
local function new(bridge)
  return setmetatable({ bridge = bridge, subscribers = {}, timers = {} }, FileProgress)
end

---Release everything.
function FileProgress:close()
  for timer in pairs(self.timers) do timer:cancel() end
  self.timers, self.subscribers = {}, {}
end

local function tell(file, connection, progress)
  local text = json.encode { fileId = file.id, progress = progress }
  connection:notify {
    method = PROGRESS, head = '{"method":"' .. PROGRESS .. '","type":1,"id":', system = false,
    payload = function() return text end,
  }
end

function FileProgress:tell_all(file, progress)
  for connection in pairs(self.subscribers[file.id] or {}) do tell(file, connection, progress) end
end

function FileProgress:after(seconds, fn)
  local timer
  timer = core.timer(seconds, function()
    self.timers[timer] = nil
    fn()
  end)
  self.timers[timer] = true
end

---With the fault `file_delay` a file takes this long to arrive, as a file from another server may; it is ready some
---time after the last progress.
---@param file trueconf.bridge.FileRecord
function FileProgress:slow_down(file)
  local delay = self.bridge.faults.file_delay
  if not delay then return end
  file.ready = false
  for step = 1, STEPS do
    self:after(delay * step / (STEPS + 1), function() self:tell_all(file, file.size * step // STEPS) end)
  end
  self:after(delay, function() file.ready = true end)
end

---Subscribe a connection to the progress of a file.
---@param connection trueconf.bridge.Connection
---@param id string
---@return boolean known
---@return fun()? follow_up to be called after the response
function FileProgress:subscribe(connection, id)
  local file = self.bridge.store:file(id)
  if not file then return false end
  if file.ready then return true, function() tell(file, connection, file.size) end end
  self.subscribers[id] = self.subscribers[id] or {}
  self.subscribers[id][connection] = true
  return true
end

local function unsubscribe(self, connection, id)
  local list = self.subscribers[id]
  if not list then return end
  list[connection] = nil
  if not next(list) then self.subscribers[id] = nil end
end

---@param connection trueconf.bridge.Connection
---@param id string
---@return boolean known
function FileProgress:unsubscribe(connection, id)
  unsubscribe(self, connection, id)
  return self.bridge.store:file(id) ~= nil
end

---A connection is gone.
---@param connection trueconf.bridge.Connection
function FileProgress:forget(connection)
  for id in pairs(self.subscribers) do unsubscribe(self, connection, id) end
end

return { new = new }
