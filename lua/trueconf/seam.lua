-- Where trueconf.testing takes hold of the bots of its process, so that a bot's script runs in a test as it stands.
-- Nothing is set in ordinary life.
-- SPDX-License-Identifier: MIT

---@class trueconf.Seam
---@field settings? fun(given: table): table options of a client in the place of those it was given; then neither the
---environment nor a config file is read, and signals are not watched
---@field made? fun(client: trueconf.Client) a client was made
---@field failed? fun(failure: { err: any, traceback: string }, what: string) a handler of a bot has raised an error
local seam = {}

return seam
