-- SPDX-License-Identifier: MIT

local bridge = require "trueconf.bridge"
local support = require "spec.support.bridge"

local function refused(options, message)
  local ok, err = pcall(function()
    bridge.start(options)
    return true                         -- no tail call: the line of this function is to be blamed
  end)
  assert.is_false(ok)
  assert.matches("settings_spec%.lua:%d+: ", err)
  assert.is_truthy(err:find(message, 1, true), err)
end

describe("the options of a Bridge", function()
  it("have the defaults a real server shows", function()
    local server = support.server()
    local options = server.options
    assert.equal("127.0.0.1", options.host)
    assert.equal(128, options.max_connections)
    assert.equal(5, options.ping_interval)
    assert.equal(30 * 86400, options.token_lifetime)
    assert.equal("all", options.echo)
    assert.is_false(options.strict)
  end)

  it("are refused by name when they are wrong", function()
    refused("x", "bridge.start: options must be a table, got a string")
    refused({ prt = 1 }, "bridge.start: unknown option 'prt', did you mean 'port'?")
    refused({ port = "4309" }, "option 'port' must be an integer, got a string")
    refused({ port = 70000 }, "option 'port' must be at most 65535, got 70000")
    refused({ echo = "none" }, "option 'echo' must be one of 'all', 'others'")
    refused({ token_status = 204 }, "option 'token_status' must be one of 200, 201")
    refused({ tls = { cert_file = "a.pem" } }, "bridge.start: tls: option 'key_file' is required")
    refused({ accounts = { herald = 4711 } }, "accounts: account 'herald' must be a password or a table, got number")
  end)

  it("refuse a state that is in use or belongs to another server", function()
    local state = support.server():state()
    refused({ state = state, server_name = "other.test" }, "it belongs to server 'chat.acme.test', not 'other.test'")
    state.in_use = true
    refused({ state = state }, "state: the Bridge it belongs to is still running")
  end)

  it("take the name of the server from the state", function()
    local again = support.server { state = support.server():state() }
    assert.equal("herald@chat.acme.test", again.accounts:by_login("herald").id)
  end)
end)

describe("faults", function()
  it("are refused by name when they are wrong", function()
    local server = support.server()
    assert.error_matches(function() server:fault { flood = true } end, "unknown fault 'flood'")
    assert.error_matches(function() server:fault { silent = 1 } end, "fault 'silent' must be a boolean, got number")
    assert.error_matches(function() server:fault { drop_at = "noon" } end, "fault 'drop_at' must be one of")
  end)
end)
