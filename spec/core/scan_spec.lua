-- SPDX-License-Identifier: MIT
-- Just enough JSON, in C. The tables are in spec/support/c/scan_test.c.
local c_program = require "spec.support.c_program"

describe("scan.c", function()
  local check, remove

  setup(function()
    check, remove = c_program.unit "spec/support/c/scan_test.c csrc/base/scan.c csrc/base/buffer.c csrc/base/utf8.c"
  end)
  teardown(function() remove() end)

  it("finds the parts of a frame, however odd", function() check "frames" end)
  it("takes nothing else for a frame", function() check "no frames" end)
  it("takes no beginning of a frame for a frame", function() check "truncated" end)
  it("goes as deep as the text", function() check "deep" end)
  it("finds a field at the top level, the last of its name", function() check "fields" end)
  it("reads numbers as JSON spells them", function() check "numbers" end)
  it("reads strings with every escape", function() check "strings" end)
  it("writes strings that can be read back", function() check "quote" end)
  it("stays within the text, whatever it is", function() check "random" end)
end)
