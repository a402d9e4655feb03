-- SPDX-License-Identifier: MIT
-- The parts of an address, in C. The tables are in spec/support/c/url_test.c.
local c_program = require "spec.support.c_program"

describe("url.c", function()
  local check, remove

  setup(function() check, remove = c_program.unit "spec/support/c/url_test.c csrc/base/url.c csrc/base/host.c" end)
  teardown(function() remove() end)

  it("takes addresses apart", function() check "good" end)
  it("says what is wrong with others, and nothing of what they hold", function() check "bad" end)
  it("bounds host and path", function() check "long" end)
end)
