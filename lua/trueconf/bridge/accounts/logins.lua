-- SPDX-License-Identifier: MIT
-- Rate limit of logins: failures are limited by account and by address, and only a few checks run at a time, because
-- each needs a thread and, by design, much memory and time.

local core = require "trueconf.core"
local login_throttle = require "trueconf.bridge.accounts.login_throttle"

local AT_ONCE = 2                       -- of the four threads in libuv's pool, which has other work, too
local MAX_WAITING, PATIENCE = 1000, 15  -- checks in the queue, and seconds that each waits there

---@class trueconf.bridge.Logins
---@field private accounts trueconf.bridge.Accounts
---@field private by_login trueconf.bridge.LoginThrottle
---@field private by_address trueconf.bridge.LoginThrottle
---@field private busy integer checks being made
---@field private waiting trueconf.bridge.Turn[]
local Logins = {}
Logins.__index = Logins

---@class trueconf.bridge.Turn a `<close>` variable must hold it: the coroutine may be cancelled at any time
---@field logins trueconf.bridge.Logins
---@field over trueconf.core.Waiter?
---@field held boolean
local Turn = {}
Turn.__index = Turn

---@param accounts trueconf.bridge.Accounts
---@param options { login_failures: integer, address_failures: integer, login_window: number }
---@return trueconf.bridge.Logins
local function new(accounts, options)
  return setmetatable({
    accounts = accounts,
    by_login = login_throttle.new(options.login_failures, options.login_window),
    by_address = login_throttle.new(options.address_failures, options.login_window),
    busy = 0,
    waiting = {},
  }, Logins)
end

-- A turn, held at once or to wait for; nil: the queue is full.
function Logins:turn()
  local turn = setmetatable({ logins = self, held = self.busy < AT_ONCE }, Turn)
  if turn.held then
    self.busy = self.busy + 1
  elseif #self.waiting < MAX_WAITING then
    turn.over = core.waiter()
    table.insert(self.waiting, turn)
  else
    return nil
  end
  return turn
end

---@async
---@return boolean held false: it did not come in time
function Turn:wait()
  if not self.held then self.over:wait(PATIENCE) end
  return self.held
end

-- Pass the turn on, or stop waiting for it.
function Turn:__close()
  local waiting = self.logins.waiting
  if self.held then
    local next_turn = table.remove(waiting, 1)
    if not next_turn then
      self.logins.busy = self.logins.busy - 1
    else
      next_turn.held = true
      next_turn.over:wake()
    end
    return
  end
  for index, turn in ipairs(waiting) do
    if turn == self then return table.remove(waiting, index) end
  end
end

-- Seconds until the next try is allowed.
function Logins:pause(key, address)
  local by_login = key and self.by_login:pause(key) or 0
  local by_address = self.by_address:pause(address) or 0
  local pause = math.max(by_login, by_address)
  return pause > 0 and pause or nil
end

function Logins:check(key, address, username, password)
  local pause = self:pause(key, address)        -- earlier checks in the queue may have used up the attempts
  if pause then return nil, "limited", pause end
  local account, err = self.accounts:authenticate(username, password)
  if account then
    self.by_login:clear(key)
    self.by_login:clear(account.key)
  elseif not err then
    if key then self.by_login:add(key) end
    self.by_address:add(address)
  end
  return account, err or not account and "refused" or nil
end

---Check a login and its password, unless there were too many failures.
---@async
---@param username string
---@param password string
---@param address string of the client
---@return trueconf.bridge.Account? account
---@return "refused"|"limited"|"busy"|trueconf.Error|nil reason an error: the directory does not answer
---@return number? seconds if limited: until the next try is allowed
function Logins:try(username, password, address)
  local key = self.accounts:key_of(username)
  local pause = self:pause(key, address)
  if pause then return nil, "limited", pause end
  local turn <close> = self:turn()
  if not turn or not turn:wait() then return nil, "busy" end
  return self:check(key, address, username, password)
end

return { new = new }
