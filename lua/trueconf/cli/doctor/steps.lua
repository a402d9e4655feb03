-- SPDX-License-Identifier: MIT
-- The steps of the doctor, in this order. A step returns its finding, or fails; it is skipped when a step that it needs
-- has failed.

local connection = require "trueconf.cli.connection"
local core = require "trueconf.core"
local exit_codes = require "trueconf.cli.exit_codes"
local grant = require "trueconf.cli.grant"
local remedies = require "trueconf.cli.doctor.remedies"
local server_version = require "trueconf.api.server_version"
local url = require "trueconf.base.url"
local web = require "trueconf.base.web"

local DAY = 86400                       -- seconds
local SOON = 21 * DAY                   -- a certificate that expires within this time is mentioned
local OWN_MESSAGE = 2                   -- seconds to wait for the notification of our own message
local TEST = "trueconf doctor was here; this message is removed at once."

---@class trueconf.cli.Patient
---@field options trueconf.ClientOptions
---@field settings trueconf.Settings
---@field sources table<string, string> where each setting came from
---@field timeout number
---@field address trueconf.Url
---@field web trueconf.Web
---@field report trueconf.core.ProbeReport?
---@field proxy trueconf.core.Proxy? on the way to the server
---@field port integer? to which the first connection goes
---@field token string?
---@field client trueconf.Client?
---@field heard table<string, boolean> ids of messages that the server has sent
---@field listening trueconf.core.Waiter?

---@class trueconf.cli.Failure
---@field problem any an error or a text
---@field remedy string
---@field code integer

---@class trueconf.cli.Step
---@field name string
---@field needs string[]
---@field run fun(patient: trueconf.cli.Patient): string|false|nil, any, number? the finding and the seconds it took, if
---they were measured elsewhere; false and why there was nothing to do; nil and a Failure

local function failed(problem, remedy, code)
  return nil, { problem = problem, remedy = remedy, code = code or exit_codes.of(problem) }
end

-- The way to the server -----------------------------------------------------------------------

-- Host and port of the first connection: of the proxy, if there is one.
local function target(patient)
  local proxy, err = core.proxy_for(patient.web.endpoints.socket, patient.options.proxy)
  if proxy == nil then return nil, err end
  patient.proxy = proxy or nil
  if proxy then return { host = proxy.host, port = proxy.port, tls = false } end
  return patient.address
end

-- The failure to reach the server, or the proxy in front of it.
local function way_failed(patient, err)
  return failed(err, patient.proxy and remedies.proxy(err) or remedies.connection(err))
end

local function dns(patient)
  local there, err = target(patient)
  if not there then return failed(err, remedies.connection(err)) end
  local host = there.host:gsub("%.$", "") -- certificates are for names without the dot
  local report = core.probe(host, there.port, there.tls, patient.web.tls.ca_file, patient.timeout)
  patient.report, patient.port = report, there.port
  if not report.dns then return way_failed(patient, report.error) end
  local addresses = table.concat(report.addresses, ", ")
  local proxy = patient.proxy and (", a proxy: %s"):format(patient.proxy.source) or ""
  return (addresses == host and "an address" or host .. " is " .. addresses) .. proxy, nil, report.dns
end

local function tcp(patient)
  local report = patient.report
  if not report.tcp then return way_failed(patient, report.error) end
  local proxy = patient.proxy and " (the proxy)" or ""
  return ("%s, port %d%s"):format(report.address, patient.port, proxy), nil, report.tcp
end

local function date(seconds)
  return os.date("!%Y-%m-%d", seconds)
end

local DOUBTS = {
  missing = function(doubt)
    return ("the certificate of '%s', which has signed '%s', is missing"):format(doubt.issuer, doubt.subject)
  end,
  untrusted = function(doubt) return ("'%s' is self-signed and not trusted"):format(doubt.subject) end,
  expired = function(doubt) return ("'%s' expired on %s"):format(doubt.subject, date(doubt.expires)) end,
  early = function(doubt) return ("'%s' is not valid before %s"):format(doubt.subject, date(doubt.from)) end,
  host = function(_, report, host)
    local names = report.names ~= "" and report.names or "no host"
    return ("the certificate is for %s, not for %s"):format(names, host)
  end,
}

local function tls(patient)
  if patient.proxy then return false, "TLS begins behind the proxy; the step token checks it" end
  if not patient.address.tls then return false, "the address is ws:// or http://" end
  local report = patient.report
  if not report.tls then return failed(report.error, remedies.connection(report.error)) end
  local doubt = report.doubt
  if doubt then
    local tell = DOUBTS[doubt.kind]
    local problem = tell and tell(doubt, report, patient.address.host) or doubt.text
    return failed(problem, remedies.certificate(doubt, report.names), exit_codes.UNREACHABLE)
  end
  local left = report.chain[1].expires - core.now() // 1000
  local soon = left < SOON and (", in %d days: renew it soon"):format(left // DAY) or ""
  local expiry = "certificate valid until " .. date(report.chain[1].expires) .. soon
  return ("%s, %s"):format(report.version, expiry), nil, report.tls
end

-- The account ---------------------------------------------------------------------------------

local SETTING = "set %s, the environment variable TRUECONF_%s, or a config file"
local FLAG = { username = "--username", password = "--password-file" }

local function token(patient)
  local settings = patient.settings
  if settings.token then
    patient.token = settings.token
    return false, "a token is set: " .. patient.sources.token
  end
  for _, name in ipairs { "username", "password" } do
    if not settings[name] then
      return failed("no " .. name, SETTING:format(FLAG[name], name:upper()), exit_codes.MISUSE)
    end
  end
  local made, complaint = connection.client(patient.options)
  if not made then return failed(complaint, "correct the setting", exit_codes.MISUSE) end
  local got, expires = grant.ask(patient.web, settings, patient.timeout)
  if not got then return failed(expires, remedies.token(expires)) end
  patient.token = got
  return ("for %s, valid until %s"):format(settings.username, date(expires // 1000))
end

local function has_origin(headers)
  for name in pairs(headers) do
    if name:lower() == "origin" then return true end
  end
end

-- Some web servers refuse an upgrade without their own Origin: try it, and return the Origin that works.
local function missing_origin(patient, err)
  if err.name ~= "HTTP" or err.code ~= 403 or has_origin(patient.web.headers) then return nil end
  local origin = patient.web.endpoints.socket:gsub("^ws", "http"):match "^%a+://[^/]+"
  local socket = patient.web:socket { headers = { Origin = origin }, connect_timeout = patient.timeout }
  if not socket then return nil end
  socket:close()
  return origin
end

local function websocket(patient)
  local socket, err = patient.web:socket { connect_timeout = patient.timeout }
  local origin = not socket and missing_origin(patient, err)
  if origin then
    return failed(("%s; with the header Origin: %s it lets bots in"):format(err, origin), remedies.origin(origin),
      exit_codes.of(err))
  end
  if not socket then return failed(err, remedies.websocket(err)) end
  local protocol = socket:protocol()
  socket:close()
  return "protocol " .. (protocol or "not named; json.v1 is meant")
end

-- Messages of others are not acknowledged: they are for the bot of this account.
local function on_request(patient, client, method, payload, id, epoch)
  local message_id = method == "sendMessage" and type(payload) == "table" and payload.messageId
  if method ~= "sendMessage" then client.session:ack(id, epoch) end
  if type(message_id) ~= "string" then return end
  patient.heard[message_id] = true
  if patient.listening then patient.listening:wake() end
end

local function auth(patient)
  local options = { token = patient.token, receive_unread = false }
  for name, value in pairs(patient.options) do
    if name ~= "username" and name ~= "password" then options[name] = value end
  end
  local client, err = connection.open(options, {
    on_request = function(...) on_request(patient, ...) end,
    on_state = function() end,
  }, patient.timeout)
  if type(err) == "string" then return failed(err, "correct the setting", exit_codes.MISUSE) end
  if not client then return failed(err, remedies.auth(err)) end
  patient.client = client
  return "as " .. client:user_id()
end

-- Talking to itself ---------------------------------------------------------------------------

-- A chat without other people: Favorites, or on servers before 5.5.2 a temporary group.
local function own_chat(client)
  local chat_id = client:create_favorites_chat()
  if chat_id then return chat_id, "Favorites", false end
  local err
  chat_id, err = client:create_group_chat "trueconf doctor"
  if chat_id then return chat_id, "a group made for it", true end
  return nil, err
end

local function clean_up(client, chat_id, message_id, is_temporary)
  local ok, err = client:remove_message(message_id, true)
  if is_temporary then ok, err = client:remove_chat(chat_id) end
  return ok, err
end

-- Wait for the server's notification of the message; without one, look for the message in the chat.
local function came_back(patient, message_id)
  local stop = core.monotonic() + OWN_MESSAGE
  while not patient.heard[message_id] and core.monotonic() < stop do
    patient.listening = core.waiter()
    patient.listening:wait(stop - core.monotonic())
  end
  if patient.heard[message_id] then return "it came back" end
  local found, err = patient.client:get_message_by_id(message_id)
  return found and "it is there, but did not come by itself,", err
end

local function echo(patient)
  local client = patient.client
  local chat_id, where, is_temporary = own_chat(client)
  if not chat_id then return failed(where, remedies.echo(where)) end
  local sent, err = client:send_message(chat_id, TEST)
  if not sent then return failed(err, remedies.echo(err)) end
  local how, lost = came_back(patient, sent.id)
  local removed, kept = clean_up(client, chat_id, sent.id, is_temporary)
  if not how then return failed(lost, remedies.echo(lost)) end
  if not removed then return failed(kept, ("remove the test message in %s by hand"):format(where)) end
  return ("a message in %s: %s and was removed"):format(where, how)
end

local function version(patient)
  local told, why = server_version.ask(patient.web)
  if not told then return false, "the server does not tell its version: " .. why end
  return "TrueConf Server " .. told
end

---@type trueconf.cli.Step[]
local STEPS = {
  { name = "dns", needs = {}, run = dns },
  { name = "tcp", needs = { "dns" }, run = tcp },
  { name = "tls", needs = { "tcp" }, run = tls },
  { name = "token", needs = { "tls" }, run = token },
  { name = "websocket", needs = { "tls" }, run = websocket },
  { name = "auth", needs = { "token", "websocket" }, run = auth },
  { name = "echo", needs = { "auth" }, run = echo },
  { name = "version", needs = { "tls" }, run = version },
}

---@param options trueconf.ClientOptions
---@param settings trueconf.Settings
---@param sources table<string, string>
---@return trueconf.cli.Patient
local function patient_of(options, settings, sources)
  local address = assert(url.parse(settings.url))
  return {
    options = options, settings = settings, sources = sources, timeout = options.call_timeout, address = address,
    heard = {}, web = web.new(settings, options),
  }
end

return { STEPS = STEPS, patient_of = patient_of }
