-- SPDX-License-Identifier: MIT
-- OpenLDAP's slapd as a plain process with a configuration and a database of its own. In it are people, each with
-- a password and a displayName, under ou=people,dc=acme,dc=test; they may read their own entries.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local PROGRAM = "/usr/sbin/slapd"       -- not in everybody's PATH
local PEOPLE = "ou=people,dc=acme,dc=test"

local CONFIGURATION = [[
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %s/slapd.pid
%s
database mdb
suffix "dc=acme,dc=test"
directory %s
maxsize 10485760
dbnosync
access to attrs=userPassword by anonymous auth by * none
%s
]]
local ACCESS = "access to * by self read by * none"

local ROOT = [[
dn: dc=acme,dc=test
objectClass: domain
dc: acme

dn: ou=people,dc=acme,dc=test
objectClass: organizationalUnit
ou: people

]]

local PERSON = [[
dn:: %s
objectClass: inetOrgPerson
cn: %s
sn: %s
%s
%s

]]

local slapd = { BIND_DN = "uid=%s," .. PEOPLE }

---@class trueconf.spec.Slapd
---@field port integer of ldap://, with StartTLS if there are certificates
---@field tls_port integer of ldaps://
local Slapd = {}
Slapd.__index = Slapd

local function entry(login, person)
  local dn = ("uid=%s,%s"):format(login:gsub("[^%w]", function(sign) return ("\\%02X"):format(sign:byte()) end), PEOPLE)
  local password = person.password and "userPassword:: " .. helper.base64(person.password) or "description: locked"
  local name = person.display_name and "displayName:: " .. helper.base64(person.display_name) or "description: nameless"
  return PERSON:format(helper.base64(dn), "x", "x", password, name)
end

local function tls_lines(certificates)
  if not certificates then return "" end
  local lines = "TLSCACertificateFile %s\nTLSCertificateFile %s\nTLSCertificateKeyFile %s"
  return lines:format(certificates.ca_file, certificates:file "address.pem", certificates:file "address.key")
end

local function fill(directory, people, certificates, access)
  local database = directory:file "database"
  local text = { ROOT }
  for login, person in pairs(people) do text[#text + 1] = entry(login, person) end
  system.output("mkdir '%s'", database)
  system.write(directory:file "slapd.conf", CONFIGURATION:format(directory.path, tls_lines(certificates),
    database, access))
  system.write(directory:file "people.ldif", table.concat(text))
  system.output("/usr/sbin/slapadd -f '%s/slapd.conf' -l '%s/people.ldif'", directory.path, directory.path)
end

---Start a directory.
---@async
---@param people table<string, { password: string?, display_name: string? }>
---@param certificates? table of spec.support.certificates; its certificate "address" is shown
---@param access? string who may read what
---@return trueconf.spec.Slapd
function slapd.start(people, certificates, access)
  local self = setmetatable({ directory = system.directory() }, Slapd)
  self.port, self.tls_port = system.free_port(), system.free_port()
  fill(self.directory, people, certificates, access or ACCESS)
  self:resume()
  return self
end

---Start again what was stopped, on the same ports.
---@async
function Slapd:resume()
  local urls = ("ldap://127.0.0.1:%d/ ldaps://127.0.0.1:%d/"):format(self.port, self.tls_port)
  local command = ("%s -d 0 -f %s/slapd.conf -h '%s'"):format(PROGRAM, self.directory.path, urls)
  -- Inside the quotes of sh -c the urls must stand without quotes of their own.
  self.child = system.launch((command:gsub("'", '"')))
  helper.eventually(function()
    local _, err = core.ldap_bind { url = self:url(), dn = "uid=nobody," .. PEOPLE, password = "x" }
    return err.name == "AUTH_FAILED"
  end)
end

---@return string
function Slapd:url()
  return "ldap://127.0.0.1:" .. self.port
end

---@return string
function Slapd:tls_url()
  return "ldaps://127.0.0.1:" .. self.tls_port
end

---Stop it; the ports are free afterwards.
---@async
function Slapd:stop()
  self.child:kill "KILL"
  self.child:__close()
end

---Remove it.
---@async
function Slapd:remove()
  self:stop()
  self.directory:__close()
end

return slapd
