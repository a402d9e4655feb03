-- SPDX-License-Identifier: MIT
-- The rooms of the code: which folder may use which. spec/project/rooms_spec.lua holds the code to it, and
-- docs/architecture.md shows it.

local rooms = {}

-- C: folders of csrc/. Of another room only its doors may be included. Beside them a room has at most one private
-- header, and those of its parts: files that stand on nothing else of the room.
rooms.c = {
  base = { may = {}, doors = "all" },
  loop = { may = { "base" }, doors = { "runtime.h", "offload.h", "lookup.h" } },
  http = { may = { "base", "loop" }, doors = { "http.h" } },
  ws = { may = { "base", "loop" }, doors = { "wire.h", "socket.h", "handshake.h" },
    parts = { "frames.h", "received.h", "tunnel.h" } },
  system = { may = { "base", "loop" }, doors = { "system.h" } },
  session = { may = { "base", "loop", "http", "ws" }, doors = { "session.h" } },
  server = { may = { "base", "loop", "ws" }, doors = { "listener.h" },
    parts = { "multipart.h", "head.h", "chunked.h" } },
  core = { may = { "base", "loop", "http", "ws", "system", "session", "server" }, doors = {} },
}

-- The folders that may see libwebsockets.
rooms.lws = { ws = true, server = true }

-- Lua: folders of lua/trueconf/, and the public modules at its top, each a room of its own.
rooms.lua = {
  base = {},
  text = { "base" },
  protocol = { "base", "text", "text.lua" },
  api = { "base", "text", "protocol" },
  files = { "base", "protocol", "api" },
  client = { "base", "protocol", "api", "files", "log.lua" },
  bot = { "base", "text", "protocol", "api", "client", "duration.lua", "filter.lua", "store.lua", "text.lua" },
  bridge = { "base", "text", "protocol", "api", "log.lua", "text.lua" },
  testing = { "base", "protocol", "bridge", "init.lua", "text.lua" },
  cli = { "base", "text", "protocol", "api", "client", "bot", "bridge", "init.lua", "log.lua", "testing.lua",
    "text.lua" },
  ["duration.lua"] = { "base" },
  ["log.lua"] = { "base" },
  ["store.lua"] = { "base" },
  ["text.lua"] = { "base", "text" },
  ["filter.lua"] = { "base", "protocol", "api" },
  ["middleware.lua"] = { "base", "protocol", "filter.lua" },
  ["dialog.lua"] = { "base", "bot" },
  ["init.lua"] = { "base", "files", "client", "bot", "log.lua" },
  ["testing.lua"] = { "base", "bridge", "testing", "duration.lua", "log.lua" },
}

-- The modules that a program may require. All others are private.
rooms.public = {
  "trueconf", "trueconf.bridge", "trueconf.dialog", "trueconf.duration", "trueconf.filter", "trueconf.log",
  "trueconf.middleware", "trueconf.store", "trueconf.testing", "trueconf.text",
}

return rooms
