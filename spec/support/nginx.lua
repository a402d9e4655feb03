-- SPDX-License-Identifier: MIT
-- nginx with the configuration in docs/nginx.conf, in a directory of its own.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local SHIPPED = "docs/nginx.conf"
local PROGRAM = system.output "command -v nginx || echo /usr/sbin/nginx" -- not in everybody's PATH

-- The configuration around a site, as in Debian's nginx.conf, with all files inside the directory.
local MAIN = [[
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events { worker_connections 256; }
http {
  log_format spec '$request $status';
  access_log access.log spec;
  client_body_temp_path temp;
  proxy_temp_path temp;
  fastcgi_temp_path temp;
  uwsgi_temp_path temp;
  scgi_temp_path temp;
  include site.conf;
}
]]

local nginx = {}

---@class trueconf.spec.Nginx
---@field port integer
---@field private directory table
---@field private child trueconf.spec.Child?
---@field private frozen boolean?
local Nginx = {}
Nginx.__index = Nginx

-- Put something in the place of a part of the shipped configuration that must be there.
local function substitute(text, part, replacement)
  local first, last = text:find(part, 1, true)
  assert(first, SHIPPED .. " has no " .. part)
  return text:sub(1, first - 1) .. replacement .. text:sub(last + 1)
end

local function site(directory, port, bridge_port)
  local text = assert(system.read(SHIPPED))
  text = substitute(text, "127.0.0.1:4309", "127.0.0.1:" .. bridge_port)
  text = substitute(text, "listen 443 ssl", ("listen 127.0.0.1:%d ssl"):format(port))
  text = substitute(text, "server_name chat.example.org", "server_name localhost")
  text = substitute(text, "/etc/ssl/certs/chat.example.org.pem", directory:file "localhost.crt")
  return substitute(text, "/etc/ssl/private/chat.example.org.key", directory:file "localhost.key")
end

---Make an authority, NAME.pem.
function nginx.make_authority(directory, name)
  system.output([[cd '%s' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout %s.key -out %s.pem -days 2 -subj '/CN=Authority %s']], directory.path, name, name, name)
end

---Make a certificate for a host, NAME.crt with NAME.key, signed by ca.pem.
function nginx.make_certificate(directory, name, host, days)
  system.output([[sign=$PWD/spec/support/sign.sh && cd '%s' &&
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout %s.key -out %s.csr \
      -subj '/CN=%s' -addext 'subjectAltName=DNS:%s' &&
    $sign %s.csr ca %d %s.crt]],
    directory.path, name, name, host, host, name, days, name)
end

---Install the shipped configuration into a directory and start nginx.
---@async
---@param directory table gets the configuration and the certificates
---@param bridge_port integer
---@param change? fun(text: string): string of the configuration
---@return trueconf.spec.Nginx
function nginx.start(directory, bridge_port, change)
  local self = setmetatable({ directory = directory, port = system.free_port() }, Nginx)
  nginx.make_authority(directory, "ca")
  nginx.make_certificate(directory, "localhost", "localhost", 2)
  system.write(directory:file "nginx.conf", MAIN)
  local text = site(directory, self.port, bridge_port)
  system.write(directory:file "site.conf", change and change(text) or text)
  local complaints = system.output("%s -t -q -p '%s/' -e stderr -c nginx.conf", PROGRAM, directory.path)
  assert(complaints == "", complaints)
  self:begin()
  return self
end

---Start it, again after stop().
---@async
function Nginx:begin()
  self.child = system.launch(("%s -p %s/ -e error.log -c nginx.conf"):format(PROGRAM, self.directory.path))
  helper.eventually(function()
    if self.child:status() then error("nginx did not start: " .. self.child:log() .. self:error_log()) end
    local response = core.http { url = self:url "https", tls = { verify = false }, timeout = 5 }
    return response and response.status == 404
  end)
end

---@async
function Nginx:stop()
  if not self.child then return end
  if self.frozen then self:freeze(false) end
  self.child:kill "TERM"
  self.child:__close()
  self.child = nil
end

---Let it stand still, or go on.
---@param still boolean
function Nginx:freeze(still)
  self.frozen = still
  system.output("kill -%s %s", still and "STOP" or "CONT", self.child.pid)
end

---@param scheme "https"|"wss"
---@return string
function Nginx:url(scheme)
  return ("%s://localhost:%d"):format(scheme, self.port)
end

---Method, path and status of each request.
---@return string
function Nginx:access_log()
  return system.read(self.directory:file "access.log") or ""
end

---@return string
function Nginx:error_log()
  return system.read(self.directory:file "error.log") or ""
end

return nginx
