-- SPDX-License-Identifier: MIT
-- A remedy for each failure that the doctor finds, in one line.

local remedies = {}

local BY_NAME = {
  DNS = "check the spelling of the host in --url, and whether this machine has a name server (/etc/resolv.conf)",
  REFUSED = "nothing listens on this port: is the server running, and is it its port? 4309 on the server itself, 443 "
    .. "or the web port from elsewhere",
  UNREACHABLE = "no route to this address: check the network, VPN and firewall of this machine",
  TIMEOUT = "no answer, mostly because a firewall drops the packets: open the port, or use --proxy",
  TLS = "this port does not speak TLS correctly: try http:// or ws://, or another port",
  PROTOCOL = "the program that answers is no TrueConf server: check host and port in --url",
  CONFIG = "correct this setting; docs/server.md explains proxies and certificates",
  LIMIT = "the web server in front sends more than a bot accepts: let it send fewer headers and cookies",
  DISCONNECTED = "the server or a firewall closes connections: look at the log of the web server in front",
}

-- These errors have the names TLS and IO, but need another remedy than other errors of that name.
local BY_MESSAGE = {
  ["wants a certificate of the client"] = "bots have no certificate of their own: let the web server ask for "
    .. "none under the paths of TrueConf Bridge (nginx: ssl_verify_client off)",
  ["no file descriptor is left"] = "raise the limit of this shell or service (ulimit -n; systemd: LimitNOFILE=)",
}

local PROXY = "look at the setting of the proxy: --proxy, or https_proxy, http_proxy, all_proxy and no_proxy"

local BY_PROXY = {
  DNS = "the proxy's name is not known here: ",
  REFUSED = "nothing listens on this port of the proxy: ",
  UNREACHABLE = "no route to the proxy: ",
  TIMEOUT = "the proxy does not answer: ",
}

---The remedy when the proxy itself cannot be reached.
---@param err trueconf.Error
---@return string
function remedies.proxy(err)
  return (BY_PROXY[err.name] or "") .. PROXY
end

---@param err trueconf.Error
---@return string
function remedies.connection(err)
  for text, remedy in pairs(BY_MESSAGE) do
    if err.message:find(text, 1, true) then return remedy end
  end
  return BY_NAME[err.name] or "look at the log of the server"
end

-- Certificates --------------------------------------------------------------------------------

local BY_DOUBT = {
  missing = function(doubt)
    if doubt.place > 1 then -- only the root is missing, which a server need not send
      return ("if '%s' is an authority of your own, name its file with --ca-file"):format(doubt.issuer)
    end
    return ("if '%s' is an authority of your own, name its file with --ca-file; else let the server show its whole "
      .. "chain (nginx: ssl_certificate with that authority's certificate appended)"):format(doubt.issuer)
  end,
  untrusted = function() return "if this is an authority of your own, name its file with --ca-file" end,
  expired = function() return "renew the certificate on the server, and reload the web server" end,
  early = function() return "check the clock of this machine (timedatectl)" end,
  host = function(_, names)
    return names == "" and "get a certificate that names the host" or
      "use one of these names in --url, or get a certificate for this one"
  end,
}

---@param doubt trueconf.core.Doubt
---@param names string
---@return string
function remedies.certificate(doubt, names)
  local remedy = BY_DOUBT[doubt.kind]
  return remedy and remedy(doubt, names) or "get a new certificate"
end

-- Token, WebSocket, login, message ------------------------------------------------------------------

local BY_TOKEN_STATUS = {
  [400] = "check user name and password by logging in with an app of TrueConf; the login is the part before '@'",
  [403] = "login by password is switched off on the server: use --oauth-client-id; or this is not the web port",
  [404] = "there is no TrueConf Bridge behind this port: is the service running, and is it the web port of the server?",
  [429] = "there were too many failed logins: wait a minute, and use the right password",
}
BY_TOKEN_STATUS[401] = BY_TOKEN_STATUS[400]

---@param err trueconf.Error
---@return string
function remedies.token(err)
  local status = err.code
  if err.name == "HTTP" and err.message:find "^the proxy" then return PROXY end
  if BY_TOKEN_STATUS[status] then return BY_TOKEN_STATUS[status] end
  if err.name == "HTTP" and status and status >= 500 then
    return "TrueConf Bridge, or the directory of users behind it (LDAP), is down: look at the services on the server"
  end
  return remedies.connection(err)
end

local BY_WEBSOCKET_STATUS = {
  [403] = "the web server in front refuses upgrades: let it pass on those of TrueConf Bridge; or it requires a "
    .. "header of its own, which --header sends",
  [502] = "the web server in front does not reach TrueConf Bridge (502): is the service running, and is its port the "
    .. "one that the web server passes on to?",
  [503] = "the server has no room for another connection, or is being maintained: stop bots that are not needed",
  [504] = "TrueConf Bridge does not answer the web server in front (504): look at the service and its log",
}

---@param origin string
---@return string
function remedies.origin(origin)
  return ('give the bot the option headers = { Origin = "%s" }, and commands --header "Origin: %s"'):format(origin,
    origin)
end

---@param err trueconf.Error
---@return string
function remedies.websocket(err)
  if err.name == "HTTP" and err.message:find "^the proxy" then return PROXY end
  if err.name == "HTTP" and BY_WEBSOCKET_STATUS[err.code] then return BY_WEBSOCKET_STATUS[err.code] end
  if err.name == "HTTP" or err.name == "PROTOCOL" then
    return "the web server in front must pass upgrades on: see docs/tls.md; or this is not the web port of the server"
  end
  return remedies.connection(err)
end

local BY_NAME_OF_AUTH = {
  TOKEN_EXPIRED = "the token has expired: get a new one with trueconf token",
  AUTH_FAILED = "get a new token with trueconf token; is it of this server?",
}

---@param err trueconf.Error
---@return string
function remedies.auth(err)
  return BY_NAME_OF_AUTH[err.name] or remedies.connection(err)
end

---@param err trueconf.Error
---@return string
function remedies.echo(err)
  if err.name == "TIMEOUT" then return "the server accepts requests but does not answer: look at its log" end
  return "the account may lack the right to write: check it on the server"
end

return remedies
