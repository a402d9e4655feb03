-- SPDX-License-Identifier: MIT
-- The rows of RFC 6455 about frames, each at each end it is for.

local parts = require "spec.conformance.cases"

for _, part in ipairs(parts "frames") do
  describe(part.title, function()
    setup(function() part:run() end)

    for _, row in ipairs(part.rows) do
      it(row.name, function() part:check(row) end)
    end
  end)
end
