-- SPDX-License-Identifier: MIT
-- A multipart body, read as it comes, in C. The tables are in spec/support/c/multipart_test.c.
local c_program = require "spec.support.c_program"

describe("multipart.c", function()
  local check, remove

  setup(function() check, remove = c_program.unit "spec/support/c/multipart_test.c csrc/server/multipart.c" end)
  teardown(function() remove() end)

  it("finds the parts, however the body is cut", function() check "bodies" end)
  it("reads their headers", function() check "headers" end)
  it("keeps zero bytes", function() check "zeros" end)
  it("takes any boundary", function() check "boundaries" end)
  it("bounds the headers, and ends when told to", function() check "limits" end)
  it("passes random data through", function() check "data" end)
  it("makes the same of random bodies, however they are cut", function() check "fuzz" end)
end)
