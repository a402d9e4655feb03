-- SPDX-License-Identifier: MIT
-- luacheck: no max line length
-- The rows that are not kept today, at which ends, and why. The specs hold it to the truth in both directions.

return {
  ["6455, 10.4: A text of more than the end takes is refused with 1009"] = { ["server"] = "at times not kept: the connection stays", ["bridge"] = "at times not kept: the connection stays" },
  ["6455, 10.4: A text of more than the end takes, in fragments, is refused with 1009"] = { ["server"] = "at times not kept: the connection stays", ["bridge"] = "at times not kept: the connection stays" },
}
