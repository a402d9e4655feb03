-- SPDX-License-Identifier: MIT
-- The first statement of every public file requires this one, and they all are written in what Lua 5.1 reads too: who
-- runs another Lua is told so, and not of a syntax error or a symbol that is missing.

if _VERSION ~= "Lua 5.4" then
  local jit = rawget(_G, "jit")
  error("trueconf needs Lua 5.4; this is " .. (jit and jit.version or _VERSION), 0)
end

return true
