-- SPDX-License-Identifier: MIT
-- The MIME type of a file by the extension of its name, and back, for the common types in chats. Apps decide by the
-- type whether they show a picture, play a sound or offer a file.

local mime = {}

---The type of a file with an unknown extension.
mime.UNKNOWN = "application/octet-stream"

---Apps show a picture of this type without a frame and a background (protocol: upload sequence).
mime.STICKER = "sticker/webp"

local TYPES = {
  ["7z"] = "application/x-7z-compressed", aac = "audio/aac", apk = "application/vnd.android.package-archive",
  avi = "video/x-msvideo", avif = "image/avif", bmp = "image/bmp", bz2 = "application/x-bzip2", c = "text/x-csrc",
  css = "text/css", csv = "text/csv", doc = "application/msword",
  docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document", eml = "message/rfc822",
  epub = "application/epub+zip", flac = "audio/flac", gif = "image/gif", gz = "application/gzip", heic = "image/heic",
  htm = "text/html", html = "text/html", ico = "image/vnd.microsoft.icon", ics = "text/calendar", jpeg = "image/jpeg",
  jpg = "image/jpeg", js = "text/javascript", json = "application/json", log = "text/plain", lua = "text/x-lua",
  m4a = "audio/mp4", md = "text/markdown", mid = "audio/midi", mkv = "video/x-matroska", mov = "video/quicktime",
  mp3 = "audio/mpeg", mp4 = "video/mp4", mpeg = "video/mpeg", odp = "application/vnd.oasis.opendocument.presentation",
  ods = "application/vnd.oasis.opendocument.spreadsheet", odt = "application/vnd.oasis.opendocument.text",
  oga = "audio/ogg", ogg = "audio/ogg", ogv = "video/ogg", opus = "audio/ogg", patch = "text/x-diff",
  pdf = "application/pdf", png = "image/png", ppt = "application/vnd.ms-powerpoint",
  pptx = "application/vnd.openxmlformats-officedocument.presentationml.presentation", py = "text/x-python",
  rar = "application/vnd.rar", rtf = "application/rtf", sh = "application/x-sh", svg = "image/svg+xml",
  tar = "application/x-tar", tgz = "application/gzip", tif = "image/tiff", tiff = "image/tiff",
  toml = "application/toml",
  txt = "text/plain", vcf = "text/vcard", wav = "audio/wav", webm = "video/webm", webp = "image/webp",
  xls = "application/vnd.ms-excel", xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  xml = "application/xml", xz = "application/x-xz", yaml = "application/yaml", yml = "application/yaml",
  zip = "application/zip", zst = "application/zstd",
}

-- Of several extensions the one that is usual.
local USUAL = {
  ["application/gzip"] = "gz", ["application/yaml"] = "yaml", ["audio/ogg"] = "ogg", ["image/jpeg"] = "jpg",
  ["image/tiff"] = "tiff", ["text/html"] = "html", ["text/plain"] = "txt", [mime.STICKER] = "webp",
}

local extensions = {}
for extension, kind in pairs(TYPES) do extensions[kind] = USUAL[kind] or extension end
extensions[mime.STICKER] = USUAL[mime.STICKER]

---The extension of a file name in lower case, without its dot (protocol: UploadLimits).
---@param name string
---@return string? extension nil: it has none; a name that begins with its only dot has none either
function mime.extension(name)
  local extension = name:match "^.+%.([^.]+)$"
  return extension and extension:lower()
end

---@param name string a file name
---@return string type
function mime.of_name(name)
  return TYPES[mime.extension(name) or ""] or mime.UNKNOWN
end

---@param kind string a MIME type, parameters allowed
---@return string? extension
function mime.extension_of(kind)
  return extensions[kind:lower():match "^[^;%s]*"]
end

---A file name with the extension of its type, if it has none: lists of allowed extensions refuse names without one
---(protocol: upload sequence).
---@param name string
---@param kind string a MIME type
---@return string
function mime.complete(name, kind)
  local extension = not mime.extension(name) and mime.extension_of(kind)
  return extension and name .. "." .. extension or name
end

---True if a text can be a type in a header; fit to be the `check` of an option.
---@param text string
---@return boolean
---@return string expected
function mime.is_type(text)
  local parameters = text:match "^[%w!#$&^_.+-]+/[%w!#$&^_.+-]+(.*)$"
  local fits = parameters == "" or parameters ~= nil and parameters:find "^; ?[ -~]+$" ~= nil
  return fits, "must be a MIME type such as 'image/png'"
end

return mime
