-- SPDX-License-Identifier: MIT
-- trueconf doctor: checks the connection to a server, and the account, step by step.

local connection = require "trueconf.cli.connection"
local core = require "trueconf.core"
local exit_codes = require "trueconf.cli.exit_codes"
local json = require "trueconf.base.json"
local printable = require "trueconf.base.printable"
local steps = require "trueconf.cli.doctor.steps"
local terminal = require "trueconf.cli.terminal"

local NAME = "doctor"
local TIMEOUT = 10                      -- seconds of a step

local HELP = "Check the connection to a server and the account, step by step: DNS, TCP, TLS certificates, token, "
  .. "WebSocket, login, a message that the account writes to itself and removes, version. Each step shows how long it "
  .. "took; a failed step says what you can do about it. Messages that wait for the account stay unread."

local EXAMPLES = [[
Examples:
  trueconf doctor
  trueconf doctor --url https://chat.acme.test --username herald --password-file secret
  trueconf doctor --json | jq '.steps[] | select(.status == "failed")'

]]

---@class trueconf.cli.Finding
---@field name string
---@field status "ok"|"failed"|"skipped"
---@field seconds number?
---@field detail string
---@field remedy string?

local COLOURS = { ok = "green", failed = "red", skipped = "dim" }

local function print_finding(finding, paint)
  local time = finding.seconds and ("%.1f ms"):format(finding.seconds * 1000) or ""
  local status = paint(COLOURS[finding.status], ("%-7s"):format(finding.status))
  print(("%s  %-9s %10s  %s"):format(status, finding.name, time, terminal.line(finding.detail)))
  if finding.remedy then print(("%31s%s"):format("", paint("yellow", "-> " .. terminal.line(finding.remedy)))) end
end

-- The first step that this one needs and that has failed or was skipped.
local function obstacle(step, broken)
  for _, name in ipairs(step.needs) do
    if broken[name] then return broken[name] end
  end
end

---@return trueconf.cli.Finding finding
---@return integer? code of a failed step
local function examine(step, patient)
  local begun = core.monotonic()
  local found, more, seconds = step.run(patient)
  seconds = seconds or core.monotonic() - begun
  local finding = { name = step.name, seconds = math.floor(seconds * 1e6) / 1e6 }
  if found then
    finding.status, finding.detail = "ok", found
  elseif found == false then
    finding.status, finding.detail, finding.seconds = "skipped", more, nil
  else
    finding.status, finding.detail, finding.remedy = "failed", tostring(more.problem), more.remedy
    return finding, more.code
  end
  return finding
end

---@param patient trueconf.cli.Patient
---@param tell fun(finding: trueconf.cli.Finding)
---@return integer code of the first failed step
local function examine_all(patient, tell)
  local broken, first = {}, nil
  for _, step in ipairs(steps.STEPS) do
    local cause = obstacle(step, broken)
    if cause then
      broken[step.name] = cause
      tell { name = step.name, status = "skipped", detail = cause .. " failed" }
    else
      local finding, code = examine(step, patient)
      if code then broken[step.name], first = step.name, first or code end
      tell(finding)
    end
  end
  if patient.client then patient.client:stop() end
  return first or exit_codes.DONE
end

local function whose(patient)
  local settings, sources = patient.settings, patient.sources
  local account = settings.username and (" as %s (%s)"):format(settings.username, sources.username) or ""
  return ("%s (%s)%s"):format(settings.url, sources.url, account)
end

local function report(given, patient)
  if not given.json then
    local paint = terminal.painter()
    print(paint("bold", terminal.line(whose(patient))))
    io.stdout:setvbuf "line"
    return examine_all(patient, function(finding) print_finding(finding, paint) end)
  end
  local findings = {}
  local code = examine_all(patient, function(finding) findings[#findings + 1] = finding end)
  print(printable.json(json.encode {
    ok = code == exit_codes.DONE, url = patient.settings.url, username = patient.settings.username, steps = findings,
  }))
  return code
end

---@type trueconf.cli.Command
return {
  describe = function(command)
    command:description(HELP):epilog(EXAMPLES .. exit_codes.HELP)
    command:flag("--json", "Print an object: ok, and steps with name, status, seconds, detail and remedy.")
    connection.describe(command, "token-file")
  end,
  run = function(given)
    given.timeout = given.timeout or TIMEOUT
    local options, why = connection.options(given)
    local settings = options
    if options then settings, why = connection.settings(options) end
    if not settings then return exit_codes.complain(NAME, why, exit_codes.MISUSE) end
    return report(given, steps.patient_of(options, settings, why))
  end,
}
