-- SPDX-License-Identifier: MIT
-- Acts on accounts and tokens, as an administrator does them.

local accounts = require "trueconf.bridge.accounts"
local act = require "trueconf.bridge.control.act"
local refusal = require("trueconf.bridge.control.fields").refusal

local account_of = act.account_of

---@type table<string, trueconf.bridge.Act>
local acts = {}

local function account_refusal(login, complaint)
  local field = complaint:match "^(%w+)"
  local expected = complaint:match "must be (.-),? got" or complaint:match "must be (.*)$"
  local got = field == "login" and ("'%s'"):format(login:sub(1, 64)) or "one that will not do"
  return refusal(field, expected or "an account", got)
end

acts.accounts = {
  fields = { login = "text", password = "text?", display_name = "text?", disabled = "boolean?" },
  lua = { "Server:add_account", "Server:disable" },
  perform = function(control, input)
    local spec = { password = input.password, display_name = input.display_name, disabled = input.disabled }
    local wrong = accounts.complaint(input.login, spec)
    if wrong then return nil, account_refusal(input.login, wrong) end
    control.bridge:add_account(input.login, spec)
    return act.account(control.bridge.accounts:by_login(input.login))
  end,
}

acts.mint_token = {
  fields = { login = "text", expires_in = "seconds?" },
  lua = { "Server:mint_token" },
  perform = function(control, input)
    local account, wrong = account_of(control.bridge, "login", input.login)
    if not account then return nil, wrong end
    local token, expires_at = control.bridge:mint_token(account.login, { expires_in = input.expires_in })
    return { token = token, expires_at = expires_at }
  end,
}

-- An act on one account, or on all.
local function of_accounts(lua, perform)
  return {
    fields = { login = "text?" },
    lua = { lua },
    perform = function(control, input)
      if input.login then
        local account, wrong = account_of(control.bridge, "login", input.login)
        if not account then return nil, wrong end
      end
      perform(control.bridge, input.login)
      return { done = true }
    end,
  }
end

acts.expire_tokens = of_accounts("Server:expire_tokens", function(bridge, login) bridge:expire_tokens(login) end)
acts.drop = of_accounts("Server:drop", function(bridge, login) bridge:drop(login) end)

acts.upload_limits = {
  fields = { max_size = "bytes?", mode = "extension_mode?", extensions = "texts?" },
  lua = { "Server:set_upload_limits", "Server:upload_limits" },
  perform = function(control, input)
    if (input.mode == nil) ~= (input.extensions == nil) then
      return nil, refusal("extensions", "mode and extensions, or neither", "one of them")
    end
    control.bridge:set_upload_limits {
      max_size = input.max_size,
      extensions = input.mode and { mode = input.mode, list = input.extensions },
    }
    return control.bridge:upload_limits()
  end,
}

acts.unread = {
  http = "GET unread",
  fields = { login = "text" },
  lua = { "Server:unread" },
  perform = function(control, input)
    local account, wrong = account_of(control.bridge, "login", input.login)
    if not account then return nil, wrong end
    return act.messages(control.bridge:unread(account.login))
  end,
}

return acts
