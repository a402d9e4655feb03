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
}
build = {
  type = "builtin",
  install = {
    bin = { "bin/trueconf" },
  },
  -- The two lists of files are kept by tools/rockspec.lua (make format).
  modules = {
    ["trueconf.core"] = {
      incdirs = { "$(UV_INCDIR)", "$(WEBSOCKETS_INCDIR)", "$(CURL_INCDIR)", "$(OPENSSL_INCDIR)" },
      libdirs = { "$(UV_LIBDIR)", "$(WEBSOCKETS_LIBDIR)", "$(CURL_LIBDIR)", "$(OPENSSL_LIBDIR)" },
      libraries = { "uv", "websockets", "curl", "ssl", "crypto" },
      sources = {
        -- sources
        -- end of sources
      },
    },
    -- modules
    -- end of modules
  },
}
