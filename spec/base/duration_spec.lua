-- SPDX-License-Identifier: MIT

local duration = require "trueconf.duration"

describe("duration.parse", function()
  it("reads numbers with units", function()
    for text, seconds in pairs {
      ["90s"] = 90, ["2h"] = 7200, ["2h30m"] = 9000, ["1d"] = 86400, ["1w2d"] = 777600, ["1.5h"] = 5400,
      ["0s"] = 0, [" 1d 12 h "] = 129600, ["0.25s"] = 0.25, ["365d"] = 31536000,
    } do
      assert.equal(seconds, duration.parse(text), text)
    end
    assert.equal("integer", math.type(duration.parse "1.5h"))
  end)

  it("refuses what is no span of time", function()
    for _, text in ipairs { "", " ", "h", "2", "2x", "-2h", "2h-", "30m2h", "2h2h", "2h 30", "two hours", "2H" } do
      local seconds, complaint = duration.parse(text)
      assert.is_nil(seconds, text)
      assert.equal("expected a time such as 90s, 2h30m or 1d", complaint)
    end
    assert.is_nil((duration.parse(nil)))
    assert.same({ nil, "expected at most 1653w3d1h46m40s" }, { duration.parse "99999w" })
  end)
end)

describe("duration.format", function()
  it("writes what parse reads", function()
    for seconds, text in pairs {
      [0] = "0s", [90] = "1m30s", [7200] = "2h", [9000] = "2h30m", [86400] = "1d", [0.25] = "0.25s", [61.5] = "1m1.5s",
      [694861] = "1w1d1h1m1s",
    } do
      assert.equal(text, duration.format(seconds))
      assert.equal(seconds, duration.parse(text))
    end
  end)
end)
