-- SPDX-License-Identifier: MIT
-- Certificates for servers of specs, made once per file in a directory of their own:
--   good  for localhost      address  for 127.0.0.1     other    for elsewhere.test
--   expired  for localhost, until yesterday             alone    for localhost, signed by itself
--   visible  with a name that tells a terminal something
--   short    for localhost, signed by an authority in the middle that ca.pem has signed; whole  with that one's

local certificates = {}

local Certificates = {}
Certificates.__index = Certificates

-- Other programs are not for the sanitizer that may be preloaded here.
local ALONE = "unset LD_PRELOAD;"

local function output(command, ...)
  local pipe = assert(io.popen(ALONE .. command:format(...)))
  local text = pipe:read "a"
  assert(pipe:close(), command)
  return (text:gsub("%s+$", ""))
end

local MAKE = [[
  set -e
  sign=$PWD/spec/support/sign.sh
  cd '%s'
  exec 2>/dev/null
  new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
  openssl req -x509 $new -keyout ca.key -out ca.pem -days 2 -subj '/CN=Authority of the specs'
  openssl req -x509 $new -keyout alone.key -out alone.pem -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost
  certify() {
    openssl req -utf8 $new -keyout $1.key -out $1.csr -subj "/CN=$2" -addext "subjectAltName=$3"
    $sign $1.csr ca $4 $1.pem
  }
  certify good localhost DNS:localhost 2
  certify other elsewhere.test DNS:elsewhere.test 2
  certify expired localhost DNS:localhost -1
  certify address address IP:127.0.0.1 2
  certify visible "$(printf 'a\033[31m\302\233b\303\251')" "DNS:$(printf 'a\033[31m.test')" 2
  echo basicConstraints=critical,CA:TRUE >middle.ext
  openssl req $new -keyout middle.key -out middle.csr -subj '/CN=Authority in the middle'
  openssl x509 -req -in middle.csr -CA ca.pem -CAkey ca.key -days 2 -extfile middle.ext -out middle.pem
  openssl req $new -keyout short.key -out short.csr -subj /CN=localhost -addext subjectAltName=DNS:localhost
  $sign short.csr middle 2 short.pem
  cat short.pem middle.pem >whole.pem
  cp short.key whole.key
]]

---@return table
function certificates.make()
  local self = setmetatable({ directory = output "mktemp -d" }, Certificates)
  output(MAKE, self.directory)
  self.ca_file = self.directory .. "/ca.pem"
  return self
end

---The TLS options of a listener with the certificate of this name.
function Certificates:server(name)
  return { cert_file = self:file(name .. ".pem"), key_file = self:file(name .. ".key") }
end

function Certificates:file(name)
  return self.directory .. "/" .. name
end

---The pin of a certificate's public key.
function Certificates:pin(name)
  return "sha256//" .. output([[openssl x509 -in '%s/%s.pem' -noout -pubkey |
    openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64 -A]], self.directory, name)
end

function Certificates:remove()
  output("rm -rf '%s'", self.directory)
end

return certificates
