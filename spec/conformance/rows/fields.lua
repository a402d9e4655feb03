-- SPDX-License-Identifier: MIT
-- RFC 9110, 5.1: a field that a server has no use for changes nothing, whatever other name its name begins. The names
-- are those of IANA's registry of HTTP fields that matter here, and some that are in use without being in it.

local bytes = require "spec.conformance.bytes"

local NAMES = [[
A-IM Accept Accept-Additions Accept-CH Accept-Charset Accept-Datetime Accept-Encoding Accept-Features Accept-Language
Accept-Patch Accept-Post Accept-Ranges Accept-Signature Access-Control-Allow-Credentials Access-Control-Allow-Headers
Access-Control-Allow-Methods Access-Control-Allow-Origin Access-Control-Expose-Headers Access-Control-Max-Age
Access-Control-Request-Headers Access-Control-Request-Method Age Allow ALPN Alt-Svc Alt-Used Alternates
Authentication-Control Authentication-Info Authorization Available-Dictionary Cache-Control Cache-Status Cal-Managed-ID
CalDAV-Timezones Capsule-Protocol CDN-Cache-Control CDN-Loop Clear-Site-Data Client-Cert Client-Cert-Chain Close
Connection Content-Digest Content-Disposition Content-Encoding Content-Language Content-Length Content-Location
Content-MD5 Content-Range Content-Security-Policy Content-Type Cookie Cookie2 Cross-Origin-Embedder-Policy
Cross-Origin-Opener-Policy Cross-Origin-Resource-Policy DASL Date DAV Delta-Base Depth Deprecation Destination
Dictionary-ID Digest DNT DPoP Early-Data ETag Expect Expect-CT Expires Forwarded From Host HTTP2-Settings If If-Match
If-Modified-Since If-None-Match If-Range If-Schedule-Tag-Match If-Unmodified-Since IM Keep-Alive Label Last-Event-ID
Last-Modified Link Location Lock-Token Max-Forwards Memento-Datetime Meter MIME-Version Negotiate NEL OData-Version
Ordering-Type Origin Origin-Agent-Cluster OSCORE Overwrite P3P Permissions-Policy Ping-From Ping-To Position Pragma
Prefer Preference-Applied Priority Proxy-Authenticate Proxy-Authentication-Info Proxy-Authorization Proxy-Connection
Proxy-Status Public-Key-Pins Range Redirect-Ref Referer Referrer-Policy Refresh Replay-Nonce Reporting-Endpoints
Repr-Digest Retry-After Safe Schedule-Tag Sec-CH-UA Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-GPC
Sec-Purpose Sec-Token-Binding Sec-WebSocket-Accept Sec-WebSocket-Extensions Sec-WebSocket-Key Sec-WebSocket-Protocol
Sec-WebSocket-Version Security-Scheme Server Server-Timing Set-Cookie Set-Cookie2 Signature Signature-Input SLUG
SoapAction Strict-Transport-Security Sunset Surrogate-Capability Surrogate-Control TCN TE Timeout Timing-Allow-Origin
Topic Traceparent Tracestate Trailer Transfer-Encoding TTL Upgrade Upgrade-Insecure-Requests Upload-Task-Id Urgency URI
User-Agent Variant-Vary Vary Via Want-Content-Digest Want-Digest Want-Repr-Digest Warning WWW-Authenticate X-Auth-Token
X-Content-Type-Options X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Frame-Options X-Real-IP X-Request-ID
X-Requested-With
]]

-- Fields that say where the body ends, or that must be right: only their beginnings are tried.
local FRAMING = { ["content-length"] = true, ["transfer-encoding"] = true, host = true, expect = true }
local PATH = "/bridge/api/fields"      -- nginx lets it through

local rows, known = {}, {}

local function request(name)
  return bytes.head(("POST %s HTTP/1.1"):format(PATH), "Host: localhost", name .. ": x", "Content-Length: 2") .. "ok"
end

-- The name and what it begins with, except for what is a beginning of a name before it.
local function beginnings(name)
  local list = {}
  for length = 1, #name do
    local beginning = name:sub(1, length):lower()
    if not known[beginning] and not FRAMING[beginning] then list[#list + 1] = name:sub(1, length) end
    known[beginning] = true
  end
  return list
end

for name in NAMES:gmatch "%S+" do
  local list, send, statuses = beginnings(name), {}, {}
  for place, beginning in ipairs(list) do
    send[#send + 1], send[#send + 2], statuses[place] = request(beginning), place, 200
  end
  if list[1] then
    local whole = list[#list] == name and "and what its name begins with, change" or "with half a name changes"
    rows[#rows + 1] = {
      section = "9110, 5.1", rule = ("A field %s, %s nothing"):format(name, whole), send = send, statuses = statuses,
      body = ("POST %s ok"):format(PATH), alike = true,
    }
  end
end

return { kind = "http", at = { "server", "nginx" }, title = "Names of fields", rows = rows }
