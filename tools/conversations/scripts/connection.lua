-- SPDX-License-Identifier: MIT
-- Tokens, the version of the server, and `auth`.

return {
  tokens = {
    title = "Tokens",
    offline = true,
    bridge = { oauth_applications = { ["8b1e"] = { scopes = { "version:read" } }, ["5a20"] = { scopes = {} } } },
    { "With login and password. The token is valid for a month, whatever `expires_in` says.",
      lua = "bot:start()", only = "http" },
    { "A wrong password, at a server that answers 400 to it; others answer 401.",
      act = 'stranger = make_bot { password = "wrong", max_denials = 1, on_trace = false }; stranger:start()' },
    { "The error of a script that waits for such a bot.",
      lua = "stranger:wait_ready(5)", as = "ok", fails = "AUTH_FAILED" },
    { "By the OAuth2 exchange, with the id of an application that the administrator has made: three requests. In the "
      .. "answers to the last two `expires_in` is a time in UNIX milliseconds.",
      act = 'visitor = make_bot { oauth_client_id = "8b1e", on_trace = false }; visitor:start()' },
    { "The administrator has given the application no scope.",
      act = 'lost = make_bot { oauth_client_id = "5a20", on_trace = false }; lost:start()' },
  },

  version = {
    title = "The version of the server",
    text = "Asked at the web server beside the Bridge, once, before a method that not every server has. A server "
      .. "without an answer is no failure.",
    bot = { server_version = false },
    { lua = "bot:server_version()", as = "version" },
  },

  auth = {
    text = "The first frame of a connection.",
    offline = true,
    before = {
      { "Mira writes while the bot is away.", act = 'mira:chat_with("herald"):say "Are you there?"' },
    },
    { "The bot asks for the messages it missed. The server also sends the upload limits.",
      lua = "bot:start()", only = "frame" },
    { lua = "bot:user_id()", as = "user_id" },
    { "All tokens expire; only the next `auth` notices. The bot gets another token and connects again.",
      act = "server:expire_tokens(); server:drop(); wait(2)" },
  },
}
