-- SPDX-License-Identifier: MIT
-- A growable run of bytes, in C. The tables are in spec/support/c/buffer_test.c.
local c_program = require "spec.support.c_program"

describe("buffer.c", function()
  local check, remove

  setup(function() check, remove = c_program.unit "spec/support/c/buffer_test.c csrc/base/buffer.c" end)
  teardown(function() remove() end)

  it("takes bytes and grows", function() check "append" end)
  it("makes room, or stays as it is", function() check "reserve" end)
  it("takes formatted text", function() check "printf" end)
  it("takes numbers", function() check "number" end)
  it("drops its first bytes", function() check "consume" end)
  it("gives large memory back", function() check "reset" end)
end)
