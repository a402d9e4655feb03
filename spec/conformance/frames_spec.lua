-- SPDX-License-Identifier: MIT
-- The rows of RFC 6455 about frames, each at each end it is for.

local groups = require "spec.conformance.cases"

for _, group in ipairs(groups "frames") do
  describe(group.title .. ":", function()
    setup(function() group:run() end)

    for _, row in ipairs(group.rows) do
      for _, at in ipairs(row.ends) do
        it(("%s (%s)"):format(row.name, at), function() group:check(row, at) end)
      end
    end
  end)
end
