-- SPDX-License-Identifier: MIT
-- trueconf version.

---@type trueconf.cli.Command
return {
  describe = function() end,
  run = function()
    print("trueconf " .. require("trueconf.core")._VERSION)
    return 0
  end,
}
