-- SPDX-License-Identifier: MIT
-- The head of a request and a chunked body, read strictly, in C. The tables are in spec/support/c/head_test.c.
local c_program = require "spec.support.c_program"

describe("head.c", function()
  local check, remove

  setup(function()
    check, remove = c_program.unit(
      "spec/support/c/head_test.c csrc/server/head.c csrc/server/chunked.c csrc/base/field.c")
  end)
  teardown(function() remove() end)

  it("reads request lines, targets in their forms, hosts and fields, in any pieces", function() check "lines" end)
  it("settles in one place where the body ends and whether the connection goes on", function() check "framing" end)
  it("refuses everything else", function() check "refused" end)
  it("treats all names of fields alike, and their beginnings", function() check "names" end)
  it("bounds the request line with 414 and the head with 431", function() check "bounds" end)
  it("makes the same of random heads, however they are cut", function() check "random" end)
  it("reads chunked bodies, however they are cut, and nothing else", function() check "chunks" end)
  it("bounds extensions and trailers", function() check "beside" end)
  it("gives random bodies back as they went in", function() check "bodies" end)
end)
