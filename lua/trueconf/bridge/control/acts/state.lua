-- SPDX-License-Identifier: MIT
-- Acts on faults, and acts that show the state of the Bridge.

local json = require "trueconf.base.json"
local act = require "trueconf.bridge.control.act"
local faults = require "trueconf.bridge.faults"

local of_person = act.of_person
local DEFAULT_WAIT = 20

---@type table<string, trueconf.bridge.Act>
local acts = {}

local function faults_answer(bridge)
  return { faults = bridge.faults, struck = bridge.fault_injector.struck }
end

acts.faults = {
  lua = { "Server:fault" },
  perform = function(control, input)
    local wrong = faults.complaint(input)
    if wrong then return nil, wrong end
    control.bridge:fault(input)
    return faults_answer(control.bridge)
  end,
}

acts.clear_faults = {
  http = "DELETE faults",
  fields = {},
  lua = { "Server:fault" },
  perform = function(control)
    control.bridge:fault()
    return faults_answer(control.bridge)
  end,
}

local function account_state(bridge, account)
  local state = act.account(account)
  state.connections, state.unread = bridge:connections(account.login), #bridge:unread(account.login)
  return state
end

acts.state = {
  http = "GET state",
  fields = {},
  lua = { "Server:connections", "Server:url", "Server:port" },
  perform = function(control)
    local bridge, list = control.bridge, json.array()
    for index, account in ipairs(bridge.store:account_list()) do list[index] = account_state(bridge, account) end
    local state = faults_answer(bridge)
    state.url, state.version, state.server_name = bridge:url(), bridge.options.version, bridge.store.server_name
    state.accounts, state.connections, state.upload_limits = list, bridge:connections(), bridge:upload_limits()
    return state
  end,
}

acts.events = of_person {
  http = "GET events",
  fields = { timeout = "wait?" },
  lua = { "Person:events", "Person:on_event" },
  perform = function(person, input, control)
    local events, dropped = control:events(person, input.timeout or DEFAULT_WAIT)
    local list = json.array()
    for index, event in ipairs(events) do list[index] = { method = event.method, payload = event.payload } end
    return { events = list, dropped = dropped }
  end,
}

-- Only by WebSocket: control/socket.lua carries it out.
acts.watch = {
  http = false,
  fields = { people = "texts?", frames = "boolean?", connections = "boolean?", faults = "boolean?" },
  lua = { "Server:watch", "Person:on_message" },
  perform = function(control, input, more)
    for _, login in ipairs(input.people or {}) do
      local account, wrong = act.account_of(control.bridge, "people", login)
      if not account then return nil, wrong end
    end
    return more.client:watch(input)
  end,
}

return acts
