-- SPDX-License-Identifier: MIT
-- The first statement of every public file requires this one, and all of them use only syntax that Lua 5.1 reads too.
-- So a user of another Lua version learns that, and does not get a syntax error or a missing symbol.

if _VERSION ~= "Lua 5.4" then
  local jit = rawget(_G, "jit")
  error("trueconf needs Lua 5.4; this is " .. (jit and jit.version or _VERSION), 0)
end

return true
