-- SPDX-License-Identifier: MIT
-- Output handler for busted, used by tools/run-specs: prints what failed or was skipped, and notes each case in
-- the file named by TRUECONF_SPEC_NOTES as it ends, so that the totals are true even if the process then crashes.
local base = require "busted.outputHandlers.base"

local notes = assert(io.open(assert(os.getenv "TRUECONF_SPEC_NOTES", "TRUECONF_SPEC_NOTES is not set"), "w"))
notes:setvbuf "line"

local function indented(text)
  return "    " .. tostring(text):gsub("\n", "\n    ")
end

local function note(kind, name, detail)
  notes:write(kind, "\n")
  if kind == "pass" then return end
  io.write("  ", kind, ": ", name, "\n", indented(detail), "\n")
  io.flush()
end

local function place(element)
  local trace = element.trace
  return trace and ("%s:%d"):format(trace.short_src, trace.currentline) or "unknown place"
end

---The failure of the case that has just ended, with the traceback of errors.
local function why(list, name)
  local last = list[#list]
  if not last or last.name ~= name then return "no message" end
  local traceback = last.isError and last.trace and last.trace.traceback or ""
  return (type(last.message) == "string" and last.message or "no message") .. traceback
end

return function()
  local handler = base()

  local function skipped(name, element)
    local last = handler.pendings[#handler.pendings]
    local reason = last and type(last.message) == "string" and last.message
    if reason then
      note("skip", name, reason)
    else
      note("fail", name, place(element) .. ": skipped without a reason")
    end
  end

  ---Names the case that is to be blamed if the process dies in it.
  function handler.testStart(element)
    notes:write("case ", (handler.getFullName(element):gsub("\n", " ")), "\n")
    return nil, true
  end

  function handler.testEnd(element, _, status)
    local name = handler.getFullName(element)
    if status == "success" then
      note("pass", name)
    elseif status == "pending" then
      skipped(name, element)
    else
      note("fail", name, why(status == "failure" and handler.failures or handler.errors, name))
    end
    return nil, true
  end

  ---An error outside a case: while the file loads, in a setup or a teardown.
  function handler.outside(element, _, message, trace)
    if element.descriptor ~= "it" then
      note("fail", handler.getFullName(element), tostring(message) .. (trace and trace.traceback or ""))
    end
    return nil, true
  end

  function handler.suiteEnd()
    notes:write "case (after the last case)\nend\n"
    return nil, true
  end

  local busted = require "busted"
  busted.subscribe({ "test", "start" }, handler.testStart)
  busted.subscribe({ "test", "end" }, handler.testEnd)
  busted.subscribe({ "error" }, handler.outside)
  busted.subscribe({ "failure" }, handler.outside)
  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  return handler
end
