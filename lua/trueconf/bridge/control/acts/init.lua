-- SPDX-License-Identifier: MIT
-- The acts of the control endpoint: one list for HTTP and WebSocket, by subject in the files beside this one. Each act
-- calls the same function as a Lua program, named in `lua`, and has no rules of its own.

---@type table<string, trueconf.bridge.Act>
local acts = {}

for _, subject in ipairs { "accounts", "chats", "messages", "files", "state" } do
  for name, act in pairs(require("trueconf.bridge.control.acts." .. subject)) do
    if act.http == nil then act.http = "POST " .. name end
    acts[name] = act
  end
end

return acts
