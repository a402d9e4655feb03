-- SPDX-License-Identifier: MIT
-- Numbers that both sides keep to (protocol: limits; text length; buttons).

---@class trueconf.protocol.limits
return {
  TEXT = 4096,                          -- visible characters of a text or caption
  TITLE = 255,                          -- characters of a chat's title, as a client counts
  TITLE_AT_SERVER = 256,                -- the sources disagree by one: a server is the milder side
  CONNECTIONS = 128,                    -- WebSocket connections of a server, since 5.5.3
  UNREAD = 1000,                        -- messages delivered after auth
  HISTORY_PAGE = 100,                   -- the true maxima are unknown; these are known to work
  CHATS_PAGE = 50,
  PARTICIPANTS_PAGE = 100,
  BUTTON_ROWS = 8,
  BUTTONS_IN_ROW = 8,
  BUTTON_LABEL = 32,                    -- characters
  BUTTON_COMMAND = 255,                 -- ASCII characters
  BUTTON_CUSTOM_DATA = 4096,            -- ASCII characters
  BUTTON_URL_MIN = 8,                   -- ASCII characters
  BUTTON_URL = 8095,                    -- ASCII characters
  BUTTON_COPY_DATA = 4095,              -- characters
  ANSWER_TEXT = 255,                    -- ASCII characters
  TYPING_REFRESH = 6000,                -- milliseconds until an activity fades, about
  TOKEN_LIFETIME = 30 * 24 * 3600,      -- seconds
  EDIT_WINDOW = 48 * 3600,              -- seconds; the administrator may set another
  MAX_ID = 0xFFFFFFFF,                  -- of a frame
}
