-- SPDX-License-Identifier: MIT
-- RFC 9110, 8.8, 13 and 14: validators, preconditions and ranges, at the files of a Bridge. {file} is the address of
-- one of 16 bytes, {tag} what its entity tag has between the quotes.

local bytes = require "spec.conformance.bytes"

local rows = {}

local FILE = "0123456789abcdef"
local HOST = "Host: localhost"

local function get(...) return bytes.head("GET {file} HTTP/1.1", HOST, ...) end

local function row(section, rule, send, status, fields)
  fields = fields or {}
  fields.section, fields.rule, fields.send, fields.statuses = "9110, " .. section, rule, send, { status }
  if status == 200 and not fields.heads then fields.body = fields.body or FILE end
  if status == 304 or status == 412 then fields.lacks = { "content-range" } end
  rows[#rows + 1] = fields
end

row("8.8.3", "A file has an entity tag in quotes", get(), 200, { has = { etag = '^"%x+"$' } })
row("8.3", "A file has a type", get(), 200, { has = { ["content-type"] = "^text/plain" } })
row("9.3.2", "HEAD is answered as GET, without the bytes", bytes.head("HEAD {file} HTTP/1.1", HOST), 200,
  { heads = { 0 }, has = { ["content-length"] = "^16$" } })

-- 13.1.2: If-None-Match
for _, case in ipairs { { "the tag of the file", '"{tag}"' }, { "the tag of the file, marked as weak", 'W/"{tag}"' },
  { "*", "*" }, { "a list with the tag", '"a", "{tag}", "b"' }, { "a list with empty elements", ', "{tag}" ,' },
  { "a list without blanks", '"a","{tag}"' }, { "a tag with a comma before it", '"a, b", "{tag}"' } } do
  row("13.1.2", ("If-None-Match with %s is answered with 304"):format(case[1]), get("If-None-Match: " .. case[2]), 304,
    { has = { etag = '^"%x+"$' } })
end
row("13.1.2", "Two fields If-None-Match count as one list", get('If-None-Match: "a"', 'If-None-Match: "{tag}"'), 304)
row("13.1.2", "If-None-Match with another tag gives the file", get 'If-None-Match: "other"', 200)
row("13.1.2", "If-None-Match with the tag inside another gives the file", get 'If-None-Match: "x{tag}"', 200)
row("13.1.2", "If-None-Match with the tag but without quotes gives the file", get "If-None-Match: {tag}", 200)
row("13.1.2", "If-None-Match with HEAD is answered with 304", bytes.head("HEAD {file} HTTP/1.1", HOST,
  'If-None-Match: "{tag}"'), 304, { heads = { 0 } })
row("15.4.5", "A 304 has the Cache-Control that a 200 would have", get 'If-None-Match: "{tag}"', 304,
  { has = { ["cache-control"] = "private" } })
row("13.2.1", "Preconditions do not change an answer that is no success", bytes.head(
  "GET /bridge/api/client/v1/files/00 HTTP/1.1", HOST, "If-None-Match: *", 'If-Match: "x"'), 404)

-- 13.1.1: If-Match
row("13.1.1", "If-Match with the tag gives the file", get 'If-Match: "{tag}"', 200)
row("13.1.1", "If-Match with * gives the file", get "If-Match: *", 200)
row("13.1.1", "If-Match with a list that has the tag gives the file", get 'If-Match: "a", "{tag}"', 200)
row("13.1.1", "If-Match with another tag is answered with 412", get 'If-Match: "other"', 412)
row("13.1.1", "If-Match with a weak tag is answered with 412", get 'If-Match: W/"{tag}"', 412)
row("13.2.2", "If-Match comes before If-None-Match", get('If-Match: "other"', 'If-None-Match: "{tag}"'), 412)
row("13.2.2", "If-None-Match counts when If-Match holds", get('If-Match: "{tag}"', 'If-None-Match: "{tag}"'), 304)

-- 13.1.3 and 13.1.4: dates, which the files have none of
local PAST, FUTURE = "Sat, 29 Oct 1994 19:43:31 GMT", "Fri, 29 Oct 2094 19:43:31 GMT"
row("13.1.3", "If-Modified-Since is passed over where there is no date", get("If-Modified-Since: " .. PAST), 200)
row("13.1.3", "If-Modified-Since that is no date is passed over", get "If-Modified-Since: yesterday", 200)
row("13.1.3", "If-Modified-Since is passed over beside If-None-Match", get("If-Modified-Since: " .. FUTURE,
  'If-None-Match: "other"'), 200)
row("13.1.4", "If-Unmodified-Since is passed over where there is no date", get("If-Unmodified-Since: " .. PAST), 200)
row("13.1.4", "If-Unmodified-Since is passed over beside If-Match", get("If-Unmodified-Since: " .. PAST,
  'If-Match: "{tag}"'), 200)

-- 14: ranges
local function part(rule, range, from, to)
  row("14.2", rule, get("Range: " .. range), 206, { body = FILE:sub(from + 1, to + 1),
    has = { ["content-range"] = ("^bytes %d%%-%d/16$"):format(from, to), etag = '^"%x+"$' } })
end
part("A range from one byte to another gives these", "bytes=2-5", 2, 5)
part("A range of one byte gives it", "bytes=0-0", 0, 0)
part("A range without an end gives all that follows", "bytes=10-", 10, 15)
part("A range of the last bytes gives them", "bytes=-4", 12, 15)
part("A range of more last bytes than there are gives all", "bytes=-100", 0, 15)
part("A range that goes beyond the end is cut", "bytes=10-100", 10, 15)
part("The end of a range does not overflow", "bytes=10-" .. ("9"):rep(40), 10, 15)
part("The number of last bytes does not overflow", "bytes=-" .. ("9"):rep(40), 0, 15)
for _, case in ipairs { { "beyond the end", "bytes=16-" }, { "far beyond the end", "bytes=100-200" },
  { "beyond all numbers", "bytes=" .. ("9"):rep(40) .. "-" }, { "of the last 0 bytes", "bytes=-0" } } do
  row("15.5.17", ("A range %s is answered with 416 and the length"):format(case[1]), get("Range: " .. case[2]), 416,
    { has = { ["content-range"] = "^bytes %*/16$" } })
end
for _, unit in ipairs { "items=0-5", "byte=0-5", "x", "=0-5" } do
  row("14.2", ("A range of an unknown unit is passed over: %s"):format(unit), get("Range: " .. unit), 200)
end
for _, range in ipairs { "bytes=5-2", "bytes=a-b", "bytes=-", "bytes=1", "bytes=", "bytes=+1-2", "bytes=1--2",
  "bytes=0x1-2", "bytes 0-5" } do
  row("14.2", ("A range that is none is passed over or refused: %s"):format(range), get("Range: " .. range),
    { 200, 400, 416 })
end
row("14.2", "Several ranges are given in parts, or all is", get "Range: bytes=0-1,4-5", { 200, 206 })
row("14.2", "A range is for GET alone: HEAD is answered as if there were none", bytes.head("HEAD {file} HTTP/1.1", HOST,
  "Range: bytes=0-1"), 200, { heads = { 0 }, has = { ["content-length"] = "^16$" } })
row("14.3", "A file says that it has ranges", get(), 200, { has = { ["accept-ranges"] = "^bytes$" } })
row("15.3.7", "A 206 has the Cache-Control that a 200 would have", get "Range: bytes=0-1", 206,
  { has = { ["cache-control"] = "private" } })

-- 13.1.5: If-Range
row("13.1.5", "If-Range with the tag gives the range", get("Range: bytes=0-1", 'If-Range: "{tag}"'), 206,
  { body = FILE:sub(1, 2) })
row("13.1.5", "If-Range with another tag gives all", get("Range: bytes=0-1", 'If-Range: "other"'), 200)
row("13.1.5", "If-Range with a weak tag gives all", get("Range: bytes=0-1", 'If-Range: W/"{tag}"'), 200)
row("13.1.5", "If-Range with a date gives all where there is none", get("Range: bytes=0-1", "If-Range: " .. PAST), 200)
row("13.1.5", "If-Range without a range is passed over", get 'If-Range: "other"', 200)
row("13.2.2", "If-None-Match comes before a range", get("Range: bytes=0-1", 'If-None-Match: "{tag}"'), 304)

return { kind = "http", at = { "bridge" }, title = "Downloads", rows = rows }
