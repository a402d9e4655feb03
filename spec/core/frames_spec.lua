-- SPDX-License-Identifier: MIT
-- WebSocket frames, read strictly, in C. The tables are in spec/support/c/frames_test.c.
local c_program = require "spec.support.c_program"

describe("frames.c", function()
  local check, remove

  setup(function()
    check, remove = c_program.unit("spec/support/c/frames_test.c " ..
      "csrc/ws/frames.c csrc/base/utf8.c csrc/base/buffer.c")
  end)
  teardown(function() remove() end)

  it("finds messages, also in fragments, however they are cut into reads", function() check "messages" end)
  it("refuses what no head may say", function() check "heads" end)
  it("refuses a message above the limit before it is there", function() check "limits" end)
  it("bounds a message of fragments without a byte, and keeps none of them", function() check "floods" end)
  it("refuses text that is not UTF-8, and joins characters over fragments", function() check "utf8" end)
  it("takes any text where it is told to", function() check "any text" end)
  it("refuses closes that must not be sent", function() check "closes" end)
  it("finds the same in any pieces", function() check "random" end)
end)
