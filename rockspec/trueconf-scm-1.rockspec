rockspec_format = "3.0"
package = "trueconf"
version = "scm-1"
source = {
  url = "git+https://github.com/trueconf-lua/trueconf.git",
}
description = {
  summary = "Chat bots on TrueConf Server",
  detailed = [[
A module for writing chat bots on TrueConf Server. A C core does all network I/O and runs the connection and
authorization state machine; every request reads like a plain call because the coroutine waits, never the process.
It comes with the Bridge, a local server that speaks the same API.]],
  homepage = "https://github.com/trueconf-lua/trueconf",
  license = "MIT",
  labels = { "chat", "bot", "trueconf", "websocket", "libuv" },
}
supported_platforms = { "unix" }
dependencies = {
  "lua >= 5.4, < 5.5",
  "lua-cjson >= 2.1.0",
}
external_dependencies = {
  UV = { header = "uv.h", library = "uv" },
  WEBSOCKETS = { header = "libwebsockets.h", library = "websockets" },
  -- No header: Debian keeps it under /usr/include/<architecture>, where the compiler looks and LuaRocks does not.
  CURL = { library = "curl" },
  OPENSSL = { header = "openssl/ssl.h", library = "ssl" },
  CRYPTO = { header = "openssl/crypto.h", library = "crypto" },
  CRYPT = { header = "crypt.h", library = "crypt" },
}
build = {
  type = "builtin",
  install = {
    bin = { "bin/trueconf" },
  },
  -- The two lists of files are kept by tools/rockspec.lua (make format).
  modules = {
    ["trueconf.core"] = {
      incdirs = { "$(UV_INCDIR)", "$(WEBSOCKETS_INCDIR)", "$(CURL_INCDIR)", "$(OPENSSL_INCDIR)", "$(CRYPT_INCDIR)" },
      libdirs = { "$(UV_LIBDIR)", "$(WEBSOCKETS_LIBDIR)", "$(CURL_LIBDIR)", "$(OPENSSL_LIBDIR)", "$(CRYPT_LIBDIR)" },
      libraries = { "uv", "websockets", "curl", "ssl", "crypto", "crypt", "dl" },
      sources = {
        -- sources
        "csrc/buffer.c",
        "csrc/calls.c",
        "csrc/clock.c",
        "csrc/connection.c",
        "csrc/core.c",
        "csrc/crypto.c",
        "csrc/directory.c",
        "csrc/errors.c",
        "csrc/http.c",
        "csrc/http_lua.c",
        "csrc/listener.c",
        "csrc/multipart.c",
        "csrc/offload.c",
        "csrc/password.c",
        "csrc/pause.c",
        "csrc/private_file.c",
        "csrc/queue.c",
        "csrc/random.c",
        "csrc/rawsocket.c",
        "csrc/request.c",
        "csrc/runtime.c",
        "csrc/scan.c",
        "csrc/served_file.c",
        "csrc/server_tls.c",
        "csrc/session.c",
        "csrc/session_lua.c",
        "csrc/signals.c",
        "csrc/socket.c",
        "csrc/tidy.c",
        "csrc/tls.c",
        "csrc/token.c",
        "csrc/upgrade.c",
        "csrc/upload.c",
        "csrc/url.c",
        "csrc/wait.c",
        "csrc/wire.c",
        -- end of sources
      },
    },
    -- modules
    ["trueconf.bot"] = "lua/trueconf/bot.lua",
    ["trueconf.bridge.accounts"] = "lua/trueconf/bridge/accounts.lua",
    ["trueconf.bridge.chats"] = "lua/trueconf/bridge/chats.lua",
    ["trueconf.bridge.connection"] = "lua/trueconf/bridge/connection.lua",
    ["trueconf.bridge.delivery"] = "lua/trueconf/bridge/delivery.lua",
    ["trueconf.bridge.envelopes"] = "lua/trueconf/bridge/envelopes.lua",
    ["trueconf.bridge.fields"] = "lua/trueconf/bridge/fields.lua",
    ["trueconf.bridge.http"] = "lua/trueconf/bridge/http.lua",
    ["trueconf.bridge"] = "lua/trueconf/bridge/init.lua",
    ["trueconf.bridge.messages"] = "lua/trueconf/bridge/messages.lua",
    ["trueconf.bridge.methods.chats"] = "lua/trueconf/bridge/methods/chats.lua",
    ["trueconf.bridge.methods"] = "lua/trueconf/bridge/methods/init.lua",
    ["trueconf.bridge.methods.messages"] = "lua/trueconf/bridge/methods/messages.lua",
    ["trueconf.bridge.methods.participants"] = "lua/trueconf/bridge/methods/participants.lua",
    ["trueconf.bridge.news"] = "lua/trueconf/bridge/news.lua",
    ["trueconf.bridge.people"] = "lua/trueconf/bridge/people.lua",
    ["trueconf.bridge.profile"] = "lua/trueconf/bridge/profile.lua",
    ["trueconf.bridge.server"] = "lua/trueconf/bridge/server.lua",
    ["trueconf.bridge.settings"] = "lua/trueconf/bridge/settings.lua",
    ["trueconf.bridge.store"] = "lua/trueconf/bridge/store.lua",
    ["trueconf.bridge.tokens"] = "lua/trueconf/bridge/tokens.lua",
    ["trueconf.bridge.unread"] = "lua/trueconf/bridge/unread.lua",
    ["trueconf.cli.bridge"] = "lua/trueconf/cli/bridge.lua",
    ["trueconf.cli.flags"] = "lua/trueconf/cli/flags.lua",
    ["trueconf.cli"] = "lua/trueconf/cli/init.lua",
    ["trueconf.client"] = "lua/trueconf/client.lua",
    ["trueconf.config"] = "lua/trueconf/config.lua",
    ["trueconf.error"] = "lua/trueconf/error.lua",
    ["trueconf"] = "lua/trueconf/init.lua",
    ["trueconf.json"] = "lua/trueconf/json.lua",
    ["trueconf.log"] = "lua/trueconf/log.lua",
    ["trueconf.message"] = "lua/trueconf/message.lua",
    ["trueconf.options"] = "lua/trueconf/options.lua",
    ["trueconf.protocol.arguments"] = "lua/trueconf/protocol/arguments.lua",
    ["trueconf.protocol.check"] = "lua/trueconf/protocol/check.lua",
    ["trueconf.protocol.codes"] = "lua/trueconf/protocol/codes.lua",
    ["trueconf.protocol.enums"] = "lua/trueconf/protocol/enums.lua",
    ["trueconf.protocol.field"] = "lua/trueconf/protocol/field.lua",
    ["trueconf.protocol"] = "lua/trueconf/protocol/init.lua",
    ["trueconf.protocol.limits"] = "lua/trueconf/protocol/limits.lua",
    ["trueconf.protocol.methods"] = "lua/trueconf/protocol/methods.lua",
    ["trueconf.protocol.names"] = "lua/trueconf/protocol/names.lua",
    ["trueconf.protocol.normalise"] = "lua/trueconf/protocol/normalise.lua",
    ["trueconf.protocol.notifications"] = "lua/trueconf/protocol/notifications.lua",
    ["trueconf.protocol.objects"] = "lua/trueconf/protocol/objects.lua",
    ["trueconf.protocol.rights"] = "lua/trueconf/protocol/rights.lua",
    ["trueconf.protocol.versions"] = "lua/trueconf/protocol/versions.lua",
    ["trueconf.queue"] = "lua/trueconf/queue.lua",
    ["trueconf.text"] = "lua/trueconf/text.lua",
    ["trueconf.url"] = "lua/trueconf/url.lua",
    -- end of modules
  },
}
